//! The last lines of a log whose head is full.

use std::collections::VecDeque;

use super::line::Stream;
use super::writer::{HEAD_BYTES, TAIL_BYTES, size};

/// The lines after the head. Holds at most [`TAIL_BYTES`] of text, and leaves out its oldest lines for newer ones.
#[derive(Default)]
pub(super) struct Tail {
    lines: VecDeque<TailLine>,
    bytes: usize,
    left_out: Option<LeftOut>,
}

pub(super) struct TailLine {
    pub at_ms: i64,
    pub stream: Stream,
    pub text: String,
}

#[derive(Clone, Copy)]
struct LeftOut {
    lines: u64,
    bytes: usize,
    /// The time of the last one.
    at_ms: i64,
}

impl Tail {
    pub(super) fn push(&mut self, line: TailLine) {
        self.bytes += size(&line.text);
        self.lines.push_back(line);
        while self.bytes > TAIL_BYTES
            && let Some(TailLine { at_ms, text, .. }) = self.lines.pop_front()
        {
            self.bytes -= size(&text);
            let (lines, bytes) = self.left_out.map_or((0, 0), |left_out| (left_out.lines, left_out.bytes));
            self.left_out = Some(LeftOut { lines: lines + 1, bytes: bytes + size(&text), at_ms });
        }
    }

    /// Returns the lines, after a line that marks the cut if any were left out.
    pub(super) fn into_lines(self) -> impl Iterator<Item = TailLine> {
        let cut = self.left_out.map(|LeftOut { lines, bytes, at_ms }| {
            let (head, tail) = (HEAD_BYTES >> 20, TAIL_BYTES >> 20);
            let text = format!(
                "Lines left out here: {lines} ({bytes} bytes). A log keeps its first {head} MiB and its last {tail} MiB."
            );
            TailLine { at_ms, stream: Stream::System, text }
        });
        cut.into_iter().chain(self.lines)
    }
}
