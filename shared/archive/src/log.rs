//! The log of a deployment, in chunks of JSON lines.

mod chunk;
mod line;
mod reader;
mod tail;
mod text;
mod writer;

pub use line::{LogLine, Stream};
pub use reader::{Gaps, LogPage, MAX_READ_BYTES};
pub use writer::{HEAD_BYTES, LogWriter, MAX_LINE_BYTES, TAIL_BYTES};

#[cfg(test)]
mod tests {
    use object_store::ObjectStoreExt;
    use url::Url;

    use super::*;
    use crate::store::{Archive, key};

    const PREFIX: &str = "deployments/d1";

    async fn write(writer: &mut LogWriter, numbers: std::ops::RangeInclusive<u64>) {
        for number in numbers {
            writer.push(1_700_000_000_000 + number as i64, Stream::Stdout, &format!("line {number}")).await.unwrap();
        }
    }

    async fn chunk_names(archive: &Archive) -> Vec<String> {
        let chunks = archive.chunks(&key(PREFIX, "log").unwrap(), 0).await.unwrap();
        chunks.iter().map(|chunk| chunk.location.filename().unwrap().to_owned()).collect()
    }

    async fn read(archive: &Archive, after: u64, limit: usize) -> Vec<LogLine> {
        archive.read_log(PREFIX, after, limit, Gaps::Wait).await.unwrap().lines
    }

    fn numbers(lines: &[LogLine]) -> Vec<u64> {
        lines.iter().map(|line| line.number).collect()
    }

    #[tokio::test]
    async fn lines_after_a_position_are_read_while_the_log_grows() {
        let folder = tempfile::tempdir().unwrap();
        let on_disk = Archive::folder(Url::from_file_path(folder.path()).unwrap().as_str()).unwrap();
        for archive in [Archive::in_memory(), on_disk] {
            assert_eq!(read(&archive, 0, 100).await, []);

            let mut writer = LogWriter::resume(&archive, PREFIX).await.unwrap();
            write(&mut writer, 1..=3).await;
            assert_eq!(read(&archive, 0, 100).await, [], "not flushed yet");

            writer.flush().await.unwrap();
            write(&mut writer, 4..=10).await;
            writer.flush().await.unwrap();
            writer.flush().await.unwrap();
            write(&mut writer, 11..=11).await;
            writer.flush().await.unwrap();
            assert_eq!(chunk_names(&archive).await, ["000000000003", "000000000010", "000000000011"]);

            let all = read(&archive, 0, 100).await;
            assert_eq!(numbers(&all), (1..=11).collect::<Vec<_>>());
            assert_eq!(
                all[4],
                LogLine { number: 5, at_ms: 1_700_000_000_005, stream: Stream::Stdout, text: "line 5".to_owned() }
            );
            for (after, limit, expected) in [
                (0, 2, 1..=2),
                (1, 2, 2..=3),
                (2, 100, 3..=11),
                (3, 1, 4..=4),
                (3, 8, 4..=11),
                (9, 2, 10..=11),
                (10, 1, 11..=11),
            ] {
                let lines = read(&archive, after, limit).await;
                assert_eq!(numbers(&lines), expected.collect::<Vec<_>>(), "{limit} lines after {after}");
            }
            for (after, limit) in [(11, 100), (999_999_999_999, 100), (u64::MAX, 100), (0, 0)] {
                assert_eq!(read(&archive, after, limit).await, [], "{limit} lines after {after}");
            }
        }
    }

    #[tokio::test]
    async fn a_writer_resumes_after_the_last_stored_line() {
        let archive = Archive::in_memory();
        let mut first = LogWriter::resume(&archive, PREFIX).await.unwrap();
        write(&mut first, 1..=5).await;
        first.flush().await.unwrap();
        write(&mut first, 6..=7).await;
        drop(first);

        let mut second = LogWriter::resume(&archive, PREFIX).await.unwrap();
        assert_eq!(second.last_number(), 5, "lines 6 and 7 died with their writer");
        second.push(9, Stream::System, "again").await.unwrap();
        second.flush().await.unwrap();

        let lines = read(&archive, 4, 100).await;
        assert_eq!(
            lines.iter().map(|line| (line.number, line.text.as_str())).collect::<Vec<_>>(),
            [(5, "line 5"), (6, "again")]
        );
    }

    #[tokio::test]
    async fn a_chunk_is_written_when_64_kib_are_waiting() {
        let archive = Archive::in_memory();
        let mut writer = LogWriter::resume(&archive, PREFIX).await.unwrap();
        let text = "x".repeat(1000);
        while chunk_names(&archive).await.is_empty() {
            writer.push(0, Stream::Stderr, &text).await.unwrap();
        }
        // 64 lines of 1,000 bytes and about 55 of JSON around each are over 65,536 bytes; 62 are not.
        assert_eq!(writer.last_number(), 63);
        assert_eq!(chunk_names(&archive).await, ["000000000063"]);
    }

    #[tokio::test]
    async fn a_line_that_is_too_long_is_cut_between_characters() {
        let archive = Archive::in_memory();
        let mut writer = LogWriter::resume(&archive, PREFIX).await.unwrap();
        writer.push(0, Stream::Stdout, &"x".repeat(MAX_LINE_BYTES)).await.unwrap();
        writer.push(0, Stream::Stdout, &format!("x{}", "é".repeat(MAX_LINE_BYTES))).await.unwrap();
        writer.flush().await.unwrap();

        let lines = read(&archive, 0, 10).await;
        assert_eq!(lines[0].text, "x".repeat(MAX_LINE_BYTES));
        assert_eq!(lines[1].text, format!("x{} [line cut]", "é".repeat(MAX_LINE_BYTES / 2 - 1)));
    }

    #[tokio::test]
    async fn a_page_is_at_the_end_if_it_has_the_last_line() {
        let archive = Archive::in_memory();
        let mut writer = LogWriter::resume(&archive, PREFIX).await.unwrap();
        write(&mut writer, 1..=2).await;
        writer.flush().await.unwrap();
        write(&mut writer, 3..=5).await;
        writer.finish().await.unwrap();
        for (after, limit, at_end) in [
            (0, 1, false),
            (0, 2, false),
            (0, 4, false),
            (0, 5, true),
            (0, 100, true),
            (3, 1, false),
            (4, 1, true),
            (5, 1, true),
            (u64::MAX, 1, true),
        ] {
            let page = archive.read_log(PREFIX, after, limit, Gaps::Wait).await.unwrap();
            assert_eq!(page.at_end, at_end, "{limit} lines after {after}");
        }
    }

    #[tokio::test]
    async fn a_gap_is_waited_for_or_marked() {
        let archive = Archive::in_memory();
        let line = |number| LogLine { number, at_ms: 5, stream: Stream::Stdout, text: format!("line {number}") };
        let store = async |numbers: std::ops::RangeInclusive<u64>| {
            archive.store_chunk(PREFIX, &numbers.map(line).collect::<Vec<_>>()).await.unwrap();
        };
        assert_eq!(archive.last_log_number(PREFIX).await.unwrap(), 0);
        store(7..=8).await;
        store(1..=3).await;
        store(9..=9).await;
        assert_eq!(archive.last_log_number(PREFIX).await.unwrap(), 9);
        let page = archive.read_log(PREFIX, 0, 100, Gaps::Wait).await.unwrap();
        assert_eq!((numbers(&page.lines), page.at_end), (vec![1, 2, 3], true));
        let text = "Lines left out here: 3. A log keeps its first 8 MiB and its last 2 MiB.".to_owned();
        let cut = LogLine { number: 6, at_ms: 5, stream: Stream::System, text };
        for (after, limit, expected, at_end) in [
            (0, 100, vec![1, 2, 3, 6, 7, 8, 9], true),
            (0, 3, vec![1, 2, 3], false),
            (3, 1, vec![6], false),
            (6, 1, vec![7], false),
            (5, 100, vec![6, 7, 8, 9], true),
        ] {
            let page = archive.read_log(PREFIX, after, limit, Gaps::Mark).await.unwrap();
            assert_eq!((numbers(&page.lines), page.at_end), (expected, at_end), "{limit} lines after {after}");
        }
        assert_eq!(archive.read_log(PREFIX, 3, 1, Gaps::Mark).await.unwrap().lines, std::slice::from_ref(&cut));
        for (limit, expected) in [(3, vec![7, 8, 9]), (4, vec![6, 7, 8, 9]), (5, vec![3, 6, 7, 8, 9])] {
            let page = archive.read_log_tail(PREFIX, limit, Gaps::Mark).await.unwrap();
            assert_eq!(numbers(&page.lines), expected);
        }
        assert_eq!(archive.read_log_tail(PREFIX, 4, Gaps::Mark).await.unwrap().lines[0], cut);

        store(4..=6).await;
        assert_eq!(numbers(&read(&archive, 0, 100).await), (1..=9).collect::<Vec<_>>());
        archive.remove_chunks(PREFIX, 3, 8).await.unwrap();
        assert_eq!(chunk_names(&archive).await, ["000000000003", "000000000009"]);
        archive.remove_chunks(PREFIX, 3, 8).await.unwrap();
    }

    #[tokio::test]
    async fn the_last_lines_are_read_whatever_the_chunks() {
        let archive = Archive::in_memory();
        assert_eq!(archive.read_log_tail(PREFIX, 10, Gaps::Wait).await.unwrap().lines, []);
        let mut writer = LogWriter::resume(&archive, PREFIX).await.unwrap();
        for end in [3, 4, 9] {
            let start = writer.last_number() + 1;
            write(&mut writer, start..=end).await;
            writer.flush().await.unwrap();
        }
        for (limit, first) in [(1, 9), (5, 5), (6, 4), (7, 3), (9, 1), (100, 1)] {
            let page = archive.read_log_tail(PREFIX, limit, Gaps::Wait).await.unwrap();
            assert_eq!(numbers(&page.lines), (first..=9).collect::<Vec<_>>(), "{limit}");
        }
        let long = "x".repeat(MAX_LINE_BYTES);
        for _ in 0..200 {
            writer.push(0, Stream::Stdout, &long).await.unwrap();
        }
        writer.finish().await.unwrap();
        let page = archive.read_log_tail(PREFIX, 1000, Gaps::Wait).await.unwrap();
        assert_eq!(numbers(&page.lines), (209 - 63..=209).collect::<Vec<_>>(), "1 MiB of the end");
    }

    /// Returns all lines, and the size of their text with line ends.
    async fn whole(archive: &Archive) -> (Vec<LogLine>, usize) {
        let mut lines = Vec::new();
        loop {
            let page = archive.read_log(PREFIX, lines.len() as u64, usize::MAX, Gaps::Wait).await.unwrap();
            lines.extend(page.lines);
            if page.at_end {
                let bytes = lines.iter().map(|line| line.text.len() + 1).sum();
                return (lines, bytes);
            }
        }
    }

    #[tokio::test]
    async fn text_up_to_the_bound_is_kept_whole_however_short_its_lines() {
        let archive = Archive::in_memory();
        let mut writer = LogWriter::resume(&archive, PREFIX).await.unwrap();
        let (count, text) = (200_000, "short");
        for _ in 0..count {
            writer.push(0, Stream::Stdout, text).await.unwrap();
        }
        writer.finish().await.unwrap();
        let (lines, bytes) = whole(&archive).await;
        assert_eq!((lines.len(), bytes), (count, count * 6));
    }

    #[tokio::test]
    async fn of_text_beyond_the_head_the_last_lines_are_kept_after_a_mark_of_the_cut() {
        let text = |n: usize| format!("{n:>1023}");
        for (count, left_out) in [(8 * 1024, 0), (10 * 1024, 0), (10 * 1024 + 1, 1), (12 * 1024, 2 * 1024)] {
            let archive = Archive::in_memory();
            let mut writer = LogWriter::resume(&archive, PREFIX).await.unwrap();
            for n in 1..=count {
                writer.push(n as i64, Stream::Stdout, &text(n)).await.unwrap();
            }
            writer.flush().await.unwrap();
            let reached = "The log has reached 8 MiB. Its last 2 MiB follow when the run ends.";
            let (followed, _) = whole(&archive).await;
            let last = followed.last().unwrap();
            assert_eq!(last.text == reached, count > 8 * 1024, "{}", last.text);

            writer.finish().await.unwrap();
            let (lines, bytes) = whole(&archive).await;
            assert_eq!(numbers(&lines), (1..=lines.len() as u64).collect::<Vec<_>>());
            assert!(lines.is_sorted_by_key(|line| line.at_ms));
            let (system, printed): (Vec<_>, Vec<_>) = lines.iter().partition(|line| line.stream == Stream::System);
            let kept = (1..=(8 * 1024).min(count)).chain(8 * 1024 + 1 + left_out..=count);
            assert!(printed.iter().map(|line| &line.text).eq(&kept.map(text).collect::<Vec<_>>()));
            let cut = format!(
                "Lines left out here: {left_out} ({} bytes). A log keeps its first 8 MiB and its last 2 MiB.",
                left_out * 1024
            );
            let said: Vec<_> = system.iter().map(|line| line.text.as_str()).collect();
            assert_eq!(said, [reached, &cut][..usize::from(count > 8 * 1024) + usize::from(left_out > 0)]);
            assert!(bytes <= 10 * 1024 * 1024 + 200, "{bytes} bytes");
        }
    }

    #[tokio::test]
    async fn a_read_is_bounded_by_its_bytes() {
        let archive = Archive::in_memory();
        let mut writer = LogWriter::resume(&archive, PREFIX).await.unwrap();
        for _ in 0..100 {
            writer.push(0, Stream::Stdout, &"x".repeat(MAX_LINE_BYTES)).await.unwrap();
        }
        writer.finish().await.unwrap();
        assert_eq!(read(&archive, 0, 1000).await.len(), 64);
    }

    #[tokio::test]
    async fn each_writer_has_the_whole_bound() {
        let archive = Archive::in_memory();
        for _ in 0..2 {
            let mut writer = LogWriter::resume(&archive, PREFIX).await.unwrap();
            for n in 0..9 * 64 {
                writer.push(n, Stream::Stdout, &"x".repeat(MAX_LINE_BYTES - 1)).await.unwrap();
            }
            writer.finish().await.unwrap();
        }
        assert_eq!(whole(&archive).await.0.iter().filter(|line| line.stream == Stream::Stdout).count(), 2 * 9 * 64);
    }

    #[tokio::test]
    async fn a_chunk_that_was_stored_twice_is_read_once_and_a_gap_ends_the_read() {
        let archive = Archive::in_memory();
        let mut writer = LogWriter::resume(&archive, PREFIX).await.unwrap();
        write(&mut writer, 1..=2).await;
        // The state after the store has kept the chunk but its response was lost.
        let key = key(PREFIX, "log/000000000002").unwrap();
        archive.store.put(&key, writer.waiting.clone().into()).await.unwrap();
        write(&mut writer, 3..=4).await;
        writer.flush().await.unwrap();
        write(&mut writer, 5..=6).await;
        writer.flush().await.unwrap();
        assert_eq!(chunk_names(&archive).await, ["000000000002", "000000000004", "000000000006"]);
        assert_eq!(numbers(&read(&archive, 0, 100).await), [1, 2, 3, 4, 5, 6]);

        archive.store.delete(&writer.folder.clone().join("000000000004")).await.unwrap();
        assert_eq!(numbers(&read(&archive, 0, 100).await), [1, 2]);
        assert_eq!(read(&archive, 3, 100).await, []);
    }
}
