//! Reads of a log.

use std::collections::VecDeque;

use futures_util::TryStreamExt;
use object_store::{ObjectMeta, ObjectStore, ObjectStoreExt, path::Path};

use super::line::{LogLine, Stream};
use super::writer::{HEAD_BYTES, TAIL_BYTES};
use crate::store::{Archive, Result, key};

/// The approximate maximum size of the text that one read returns, in bytes. The response must fit into a Lambda
/// response (6 MB).
pub const MAX_READ_BYTES: usize = 1024 * 1024;

/// Consecutive lines of a log.
#[derive(Debug)]
pub struct LogPage {
    /// The lines, in order.
    pub lines: Vec<LogLine>,
    /// Whether no more lines were stored at the time of the read.
    pub at_end: bool,
}

/// The treatment of numbers without a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Gaps {
    /// A page ends at a gap, because the lines are on their way: a folder's listing may show a chunk before an earlier one, and a build's
    /// lines are stored in any order.
    Wait,
    /// A line says how many are left out: nothing is on its way any more.
    Mark,
}

impl Archive {
    /// Reads at most `limit` lines after line `after`, in order. May return fewer lines before the end of the log: a read
    /// also ends after about [`MAX_READ_BYTES`].
    ///
    /// Costs one listing of the chunks after `after`, and one read for each chunk of the lines.
    pub async fn read_log(&self, prefix: &str, after: u64, limit: usize, gaps: Gaps) -> Result<LogPage> {
        let mut page = LogPage { lines: Vec::new(), at_end: false };
        let mut bytes = 0;
        let is_full = |lines: &[LogLine], bytes| lines.len() >= limit || bytes >= MAX_READ_BYTES;
        for chunk in self.chunks(&key(prefix, "log")?, after).await? {
            // A chunk has at least one line that those before it have not.
            if is_full(&page.lines, bytes) {
                return Ok(page);
            }
            for line in self.read_chunk(&chunk.location).await? {
                let expected = page.lines.last().map_or(after, |line| line.number).saturating_add(1);
                // A chunk may be stored although its write was reported as failed. The next chunk then repeats its lines.
                if line.number < expected {
                    continue;
                }
                if line.number > expected && gaps == Gaps::Wait {
                    return Ok(LogPage { at_end: true, ..page });
                }
                if line.number > expected && !is_full(&page.lines, bytes) {
                    page.lines.push(cut(expected, &line));
                }
                if is_full(&page.lines, bytes) {
                    return Ok(page);
                }
                bytes += line.text.len();
                page.lines.push(line);
            }
        }
        Ok(LogPage { at_end: true, ..page })
    }

    /// Reads the last lines, in order: at most `limit`, and about [`MAX_READ_BYTES`].
    pub async fn read_log_tail(&self, prefix: &str, limit: usize, gaps: Gaps) -> Result<LogPage> {
        let mut lines: VecDeque<LogLine> = VecDeque::new();
        let mut bytes = 0;
        for chunk in self.chunks(&key(prefix, "log")?, 0).await?.into_iter().rev() {
            for line in self.read_chunk(&chunk.location).await?.into_iter().rev() {
                // A later chunk may repeat lines of this one.
                if lines.front().is_some_and(|first| first.number <= line.number) {
                    continue;
                }
                if let Some(next) = lines.front()
                    && next.number > line.number + 1
                    && gaps == Gaps::Mark
                    && lines.len() < limit
                {
                    let cut = cut(line.number + 1, next);
                    lines.push_front(cut);
                }
                if lines.len() >= limit || bytes >= MAX_READ_BYTES {
                    return Ok(LogPage { lines: lines.into(), at_end: true });
                }
                bytes += line.text.len();
                lines.push_front(line);
            }
        }
        Ok(LogPage { lines: lines.into(), at_end: true })
    }

    /// Lists the chunks with lines after `after`, in order. The first one contains line `after + 1`.
    pub(super) async fn chunks(&self, folder: &Path, after: u64) -> Result<Vec<ObjectMeta>> {
        let offset = folder.clone().join(chunk_name(after));
        let mut chunks: Vec<ObjectMeta> = self.store.list_with_offset(Some(folder), &offset).try_collect().await?;
        // S3 lists in order, but a folder does not.
        chunks.sort_by(|a, b| a.location.cmp(&b.location));
        Ok(chunks)
    }

    pub(super) async fn read_chunk(&self, key: &Path) -> Result<Vec<LogLine>> {
        let bytes = self.store.get(key).await?.bytes().await?;
        let lines = serde_json::Deserializer::from_slice(&bytes).into_iter().collect::<Result<_, _>>()?;
        Ok(lines)
    }
}

/// Returns the line that stands for those from `from` to the one before `next`.
pub(super) fn cut(from: u64, next: &LogLine) -> LogLine {
    let (head, tail) = (HEAD_BYTES >> 20, TAIL_BYTES >> 20);
    let lines = next.number - from;
    let text = format!("Lines left out here: {lines}. A log keeps its first {head} MiB and its last {tail} MiB.");
    LogLine { number: next.number - 1, at_ms: next.at_ms, stream: Stream::System, text }
}

/// Returns the name of the chunk whose last line has this number, padded so that chunks sort like their lines.
pub(super) fn chunk_name(last_line: u64) -> String {
    format!("{last_line:012}")
}
