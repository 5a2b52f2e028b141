use std::fmt;

use futures_util::TryStreamExt;
use object_store::{ObjectMeta, ObjectStore, ObjectStoreExt, path::Path};
use serde::{Deserialize, Serialize};

use crate::{Archive, Result, key};

/// A chunk is written when this many bytes are waiting.
const CHUNK_BYTES: usize = 64 * 1024;

/// Text past this many bytes of a line is cut off.
pub const MAX_LINE_BYTES: usize = 16 * 1024;

/// A log does not grow past this many bytes as stored, apart from the line that says so.
pub const MAX_LOG_BYTES: usize = 10 * 1024 * 1024;

/// One read returns about this many bytes of text at most, so that an answer fits in what a Lambda function can
/// return (6 MB).
pub const MAX_READ_BYTES: usize = 1024 * 1024;

const LINE_CUT: &str = " [line cut]";
const LOG_CUT: &str = "The log reached 10 MiB; what follows is not kept.";

#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct LogLine {
    /// Counted from 1 without gaps.
    pub number: u64,
    /// Unix time in milliseconds.
    pub at_ms: i64,
    pub stream: Stream,
    pub text: String,
}

/// Where a line comes from: a command's output, or the pipeline itself.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Stream {
    Stdout,
    Stderr,
    System,
}

impl Stream {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Stdout => "stdout",
            Self::Stderr => "stderr",
            Self::System => "system",
        }
    }
}

/// Appends to one log. There must be one writer at a time for a prefix.
pub struct LogWriter {
    archive: Archive,
    folder: Path,
    /// Lines that are not stored yet, as JSON lines.
    waiting: Vec<u8>,
    last_number: u64,
    stored_bytes: usize,
    cut: bool,
}

impl LogWriter {
    /// A writer that goes on after the last stored line, which is line 0 where nothing is stored.
    pub async fn resume(archive: &Archive, prefix: &str) -> Result<Self> {
        let folder = key(prefix, "log")?;
        let chunks = archive.chunks(&folder, 0).await?;
        let stored_bytes = chunks.iter().map(|chunk| usize::try_from(chunk.size).unwrap_or(usize::MAX)).sum();
        let last = match chunks.last() {
            Some(chunk) => archive.read_chunk(&chunk.location).await?.pop(),
            None => None,
        };
        let (last_number, cut) = last.map_or((0, false), |line| (line.number, line.is_log_cut()));
        Ok(Self { archive: archive.clone(), folder, waiting: Vec::new(), last_number, stored_bytes, cut })
    }

    /// Takes one line, without its line end. It is readable after the next [`flush`](Self::flush), which happens by
    /// itself when 64 KiB are waiting. When an error is returned the line is kept and stored with the next flush.
    ///
    /// Text past [`MAX_LINE_BYTES`] is cut off with a marker. Lines past [`MAX_LOG_BYTES`] are dropped, and a last
    /// system line says so.
    pub async fn push(&mut self, at_ms: i64, stream: Stream, text: &str) -> Result<()> {
        if self.cut {
            return Ok(());
        }
        let text = match text.len() {
            0..=MAX_LINE_BYTES => text.to_owned(),
            _ => format!("{}{LINE_CUT}", &text[..text.floor_char_boundary(MAX_LINE_BYTES)]),
        };
        let number = self.last_number + 1;
        let mut line = LogLine { number, at_ms, stream, text };
        let mut encoded = serde_json::to_vec(&line)?;
        if self.stored_bytes + self.waiting.len() + encoded.len() >= MAX_LOG_BYTES {
            self.cut = true;
            line = LogLine { stream: Stream::System, text: LOG_CUT.to_owned(), ..line };
            encoded = serde_json::to_vec(&line)?;
        }
        self.waiting.append(&mut encoded);
        self.waiting.push(b'\n');
        self.last_number = number;
        if self.waiting.len() >= CHUNK_BYTES { self.flush().await } else { Ok(()) }
    }

    /// Stores the lines that are waiting. After an error they are still waiting.
    pub async fn flush(&mut self) -> Result<()> {
        if self.waiting.is_empty() {
            return Ok(());
        }
        let key = self.folder.clone().join(padded(self.last_number));
        self.archive.store.put(&key, self.waiting.clone().into()).await?;
        self.stored_bytes += self.waiting.len();
        self.waiting.clear();
        Ok(())
    }

    /// The number of the last line taken, stored or waiting.
    pub fn last_number(&self) -> u64 {
        self.last_number
    }
}

impl fmt::Debug for LogWriter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LogWriter").field("folder", &self.folder).field("last_number", &self.last_number).finish()
    }
}

impl Archive {
    /// At most `limit` lines that follow line `after`, in order; none if there are none yet. Fewer than `limit` do not
    /// mean the end: a read also ends after about [`MAX_READ_BYTES`].
    ///
    /// Costs one listing of the chunks after `after`, and one read for each chunk that the lines are in.
    pub async fn read_log(&self, prefix: &str, after: u64, limit: usize) -> Result<Vec<LogLine>> {
        let mut lines: Vec<LogLine> = Vec::new();
        let mut bytes = 0;
        if limit == 0 {
            return Ok(lines);
        }
        for chunk in self.chunks(&key(prefix, "log")?, after).await? {
            for line in self.read_chunk(&chunk.location).await? {
                let expected = lines.last().map_or(after, |line| line.number).saturating_add(1);
                // A chunk whose writing was reported as failed may be stored all the same, and its lines again in the next.
                if line.number < expected {
                    continue;
                }
                // A folder's listing may show a chunk and not yet the one that was written before it.
                if line.number > expected {
                    return Ok(lines);
                }
                bytes += line.text.len();
                lines.push(line);
                if lines.len() == limit || bytes >= MAX_READ_BYTES {
                    return Ok(lines);
                }
            }
        }
        Ok(lines)
    }

    /// The chunks with lines after `after`, in order. The first of them holds line `after + 1`.
    async fn chunks(&self, folder: &Path, after: u64) -> Result<Vec<ObjectMeta>> {
        let offset = folder.clone().join(padded(after));
        let mut chunks: Vec<ObjectMeta> = self.store.list_with_offset(Some(folder), &offset).try_collect().await?;
        // S3 lists in order, a folder does not.
        chunks.sort_by(|a, b| a.location.cmp(&b.location));
        Ok(chunks)
    }

    async fn read_chunk(&self, key: &Path) -> Result<Vec<LogLine>> {
        let bytes = self.store.get(key).await?.bytes().await?;
        let lines = serde_json::Deserializer::from_slice(&bytes).into_iter().collect::<Result<_, _>>()?;
        Ok(lines)
    }
}

impl LogLine {
    fn is_log_cut(&self) -> bool {
        self.stream == Stream::System && self.text == LOG_CUT
    }
}

/// Padded, so that the order of keys is the order of lines.
fn padded(number: u64) -> String {
    format!("{number:012}")
}

#[cfg(test)]
mod tests {
    use url::Url;

    use super::*;

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
            (Stream::System, "The log reached 10 MiB; what follows is not kept.")
        );

        let page = archive.read_log(PREFIX, 0, 1000).await.unwrap();
        assert_eq!(page.len(), 64, "one read is bounded by its bytes too");
    }

    #[tokio::test]
    async fn a_chunk_that_was_stored_twice_is_read_once_and_a_gap_ends_the_read() {
        let archive = Archive::in_memory();
        let mut writer = LogWriter::resume(&archive, PREFIX).await.unwrap();
        write(&mut writer, 1..=2).await;
        // As if the store had kept the chunk and lost its answer.
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
