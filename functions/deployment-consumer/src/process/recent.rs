//! The last lines that a command has printed.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

/// The text that is kept, in bytes.
const MAX_BYTES: usize = 256 * 1024;

/// The last lines of the running command's output, redacted, which an `on-failure` can match. Clones share the lines.
#[derive(Clone, Default)]
pub(super) struct Recent(Arc<Mutex<Kept>>);

#[derive(Default)]
struct Kept {
    lines: VecDeque<String>,
    bytes: usize,
}

impl Recent {
    pub(super) fn push(&self, line: &str) {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        kept.bytes += line.len() + 1;
        kept.lines.push_back(line.to_owned());
        while kept.bytes > MAX_BYTES
            && let Some(oldest) = kept.lines.pop_front()
        {
            kept.bytes -= oldest.len() + 1;
        }
    }

    /// Returns the lines, and keeps none.
    pub(super) fn take(&self) -> VecDeque<String> {
        std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner)).lines
    }
}
