//! The writer of a log.

use std::fmt;

use object_store::{ObjectStoreExt, path::Path};

use super::line::{LOG_CUT, LogLine, Stream};
use super::reader::chunk_name;
use crate::store::{Archive, Result, key};

/// The size of the waiting lines at which a chunk is written.
const CHUNK_BYTES: usize = 64 * 1024;

/// The maximum text of a line, in bytes. Longer lines are cut.
pub const MAX_LINE_BYTES: usize = 16 * 1024;

/// The maximum size of a stored log in bytes, without the line that marks the cut.
pub const MAX_LOG_BYTES: usize = 10 * 1024 * 1024;

const LINE_CUT: &str = " [line cut]";

/// Appends lines to one log. A prefix must have at most one writer at a time.
pub struct LogWriter {
    archive: Archive,
    pub(super) folder: Path,
    /// Lines that are not stored yet, as JSON lines.
    pub(super) waiting: Vec<u8>,
    last_number: u64,
    stored_bytes: usize,
    cut: bool,
}

impl LogWriter {
    /// Creates a writer that continues after the last stored line, or with line 1 if nothing is stored.
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

    /// Appends one line, without its line end. The next [`flush`](Self::flush) makes it readable, and happens
    /// automatically once 64 KiB are waiting. After an error the line is kept and stored by the next flush.
    ///
    /// Cuts text beyond [`MAX_LINE_BYTES`] and marks the cut. Drops lines beyond [`MAX_LOG_BYTES`], after a last system
    /// line that says so.
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

    /// Stores the waiting lines. After an error they are still waiting.
    pub async fn flush(&mut self) -> Result<()> {
        if self.waiting.is_empty() {
            return Ok(());
        }
        let key = self.folder.clone().join(chunk_name(self.last_number));
        self.archive.store.put(&key, self.waiting.clone().into()).await?;
        self.stored_bytes += self.waiting.len();
        self.waiting.clear();
        Ok(())
    }

    /// Returns the number of the last line, whether stored or waiting.
    pub fn last_number(&self) -> u64 {
        self.last_number
    }
}

impl fmt::Debug for LogWriter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LogWriter").field("folder", &self.folder).field("last_number", &self.last_number).finish()
    }
}
