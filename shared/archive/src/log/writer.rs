//! The writer of a log.

use std::fmt;

use object_store::{ObjectStoreExt, path::Path};

use super::line::{LogLine, Stream};
use super::reader::chunk_name;
use super::tail::{Tail, TailLine};
use crate::store::{Archive, Result, key};

/// The size of the waiting lines at which a chunk is written.
const CHUNK_BYTES: usize = 64 * 1024;

/// The size of the chunks of the tail, which nobody follows: large, so that the end of a run waits for few writes.
const TAIL_CHUNK_BYTES: usize = 512 * 1024;

/// The maximum text of a line, in bytes. Longer lines are cut.
pub const MAX_LINE_BYTES: usize = 16 * 1024;

/// The text that a writer keeps from its first lines, in bytes. A line end counts as one byte.
pub const HEAD_BYTES: usize = 8 * 1024 * 1024;

/// The text that a writer keeps from its last lines, in bytes. A line end counts as one byte.
pub const TAIL_BYTES: usize = 2 * 1024 * 1024;

const LINE_CUT: &str = " [line cut]";

/// Appends lines to one log. A prefix must have at most one writer at a time.
///
/// Stores the first [`HEAD_BYTES`] as they come and keeps the last [`TAIL_BYTES`] in memory until
/// [`finish`](Self::finish). Both bounds are for one writer, so each attempt of a deployment has them anew.
pub struct LogWriter {
    archive: Archive,
    pub(super) folder: Path,
    /// Lines that are not stored yet, as JSON lines.
    pub(super) waiting: Vec<u8>,
    last_number: u64,
    head_bytes: usize,
    /// The lines after the head. `None` while the head has room.
    tail: Option<Tail>,
}

impl LogWriter {
    /// Creates a writer that continues after the last stored line, or with line 1 if nothing is stored.
    pub async fn resume(archive: &Archive, prefix: &str) -> Result<Self> {
        let folder = key(prefix, "log")?;
        let last = match archive.chunks(&folder, 0).await?.last() {
            Some(chunk) => archive.read_chunk(&chunk.location).await?.pop(),
            None => None,
        };
        let last_number = last.map_or(0, |line| line.number);
        Ok(Self { archive: archive.clone(), folder, waiting: Vec::new(), last_number, head_bytes: 0, tail: None })
    }

    /// Appends one line, without its line end. The next [`flush`](Self::flush) makes it readable, and happens
    /// automatically once 64 KiB are waiting. After an error the line is kept and stored by the next flush.
    ///
    /// Cuts text beyond [`MAX_LINE_BYTES`] and marks the cut. The first line beyond [`HEAD_BYTES`] and all lines after it
    /// become readable by [`finish`](Self::finish), if they are among the last [`TAIL_BYTES`].
    pub async fn push(&mut self, at_ms: i64, stream: Stream, text: &str) -> Result<()> {
        let text = match text.len() {
            0..=MAX_LINE_BYTES => text.to_owned(),
            _ => format!("{}{LINE_CUT}", &text[..text.floor_char_boundary(MAX_LINE_BYTES)]),
        };
        let line = TailLine { at_ms, stream, text };
        if let Some(tail) = &mut self.tail {
            tail.push(line);
            return Ok(());
        }
        self.head_bytes += size(&line.text);
        if self.head_bytes <= HEAD_BYTES {
            self.append(line)?;
        } else {
            let (head, tail) = (HEAD_BYTES >> 20, TAIL_BYTES >> 20);
            let text = format!("The log has reached {head} MiB. Its last {tail} MiB follow when the run ends.");
            self.append(TailLine { at_ms, stream: Stream::System, text })?;
            self.tail.get_or_insert_default().push(line);
        }
        if self.waiting.len() >= CHUNK_BYTES { self.flush().await } else { Ok(()) }
    }

    /// Stores the waiting lines. After an error they are still waiting.
    pub async fn flush(&mut self) -> Result<()> {
        if self.waiting.is_empty() {
            return Ok(());
        }
        let key = self.folder.clone().join(chunk_name(self.last_number));
        self.archive.store.put(&key, self.waiting.clone().into()).await?;
        self.waiting.clear();
        Ok(())
    }

    /// Stores the waiting lines and the tail. If lines were left out between head and tail, a system line says how many.
    pub async fn finish(mut self) -> Result<()> {
        for line in self.tail.take().into_iter().flat_map(Tail::into_lines) {
            self.append(line)?;
            if self.waiting.len() >= TAIL_CHUNK_BYTES {
                self.flush().await?;
            }
        }
        self.flush().await
    }

    /// Returns the number of the last line, whether stored or waiting.
    pub fn last_number(&self) -> u64 {
        self.last_number
    }

    fn append(&mut self, TailLine { at_ms, stream, text }: TailLine) -> Result<()> {
        let number = self.last_number + 1;
        serde_json::to_writer(&mut self.waiting, &LogLine { number, at_ms, stream, text })?;
        self.waiting.push(b'\n');
        self.last_number = number;
        Ok(())
    }
}

/// Returns the size by which a line counts: that of its text and of its line end.
pub(super) fn size(text: &str) -> usize {
    text.len() + 1
}

impl fmt::Debug for LogWriter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LogWriter").field("folder", &self.folder).field("last_number", &self.last_number).finish()
    }
}
