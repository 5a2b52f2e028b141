//! The log of a deployment, in chunks of JSON lines.

mod line;
mod reader;
mod writer;

pub use line::{LogLine, Stream};
pub use reader::MAX_READ_BYTES;
pub use writer::{LogWriter, MAX_LINE_BYTES, MAX_LOG_BYTES};

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

    fn numbers(lines: &[LogLine]) -> Vec<u64> {
        lines.iter().map(|line| line.number).collect()
    }

    #[tokio::test]
    async fn lines_after_a_position_are_read_while_the_log_grows() {
        let folder = tempfile::tempdir().unwrap();
        let on_disk = Archive::folder(Url::from_file_path(folder.path()).unwrap().as_str()).unwrap();
        for archive in [Archive::in_memory(), on_disk] {
            assert_eq!(archive.read_log(PREFIX, 0, 100).await.unwrap(), []);

            let mut writer = LogWriter::resume(&archive, PREFIX).await.unwrap();
            write(&mut writer, 1..=3).await;
            assert_eq!(archive.read_log(PREFIX, 0, 100).await.unwrap(), [], "not flushed yet");

            writer.flush().await.unwrap();
            write(&mut writer, 4..=10).await;
            writer.flush().await.unwrap();
            writer.flush().await.unwrap();
            write(&mut writer, 11..=11).await;
            writer.flush().await.unwrap();
            assert_eq!(chunk_names(&archive).await, ["000000000003", "000000000010", "000000000011"]);

            let all = archive.read_log(PREFIX, 0, 100).await.unwrap();
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
                let lines = archive.read_log(PREFIX, after, limit).await.unwrap();
                assert_eq!(numbers(&lines), expected.collect::<Vec<_>>(), "{limit} lines after {after}");
            }
            for (after, limit) in [(11, 100), (999_999_999_999, 100), (u64::MAX, 100), (0, 0)] {
                assert_eq!(archive.read_log(PREFIX, after, limit).await.unwrap(), [], "{limit} lines after {after}");
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

        let lines = archive.read_log(PREFIX, 4, 100).await.unwrap();
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

        let lines = archive.read_log(PREFIX, 0, 10).await.unwrap();
        assert_eq!(lines[0].text, "x".repeat(MAX_LINE_BYTES));
        assert_eq!(lines[1].text, format!("x{} [line cut]", "é".repeat(MAX_LINE_BYTES / 2 - 1)));
    }

    #[tokio::test]
    async fn a_log_that_is_too_long_ends_with_a_line_that_says_so_and_stays_cut() {
        let archive = Archive::in_memory();
        let mut writer = LogWriter::resume(&archive, PREFIX).await.unwrap();
        let text = "x".repeat(MAX_LINE_BYTES);
        for _ in 0..700 {
            writer.push(0, Stream::Stdout, &text).await.unwrap();
        }
        writer.flush().await.unwrap();
        let mut resumed = LogWriter::resume(&archive, PREFIX).await.unwrap();
        resumed.push(0, Stream::System, "more").await.unwrap();
        resumed.flush().await.unwrap();
        assert_eq!(resumed.last_number(), writer.last_number());

        let chunks = archive.chunks(&key(PREFIX, "log").unwrap(), 0).await.unwrap();
        let stored: u64 = chunks.iter().map(|chunk| chunk.size).sum();
        assert!((10_440_000..=10_485_760 + 200).contains(&stored), "{stored} bytes");

        let last = archive.read_log(PREFIX, writer.last_number() - 1, 10).await.unwrap();
        assert_eq!(last.len(), 1);
        assert_eq!(
            (last[0].stream, last[0].text.as_str()),
            (Stream::System, "The log reached 10 MiB; later lines are not kept.")
        );

        let page = archive.read_log(PREFIX, 0, 1000).await.unwrap();
        assert_eq!(page.len(), 64, "one read is bounded by its bytes too");
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
        assert_eq!(numbers(&archive.read_log(PREFIX, 0, 100).await.unwrap()), [1, 2, 3, 4, 5, 6]);

        archive.store.delete(&writer.folder.clone().join("000000000004")).await.unwrap();
        assert_eq!(numbers(&archive.read_log(PREFIX, 0, 100).await.unwrap()), [1, 2]);
        assert_eq!(archive.read_log(PREFIX, 3, 100).await.unwrap(), []);
    }
}
