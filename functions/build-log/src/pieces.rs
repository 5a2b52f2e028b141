//! The lines of a batch, in the pieces in which they are stored.

use archive::{HEAD_BYTES, LogLine, MAX_LINE_BYTES, Stream, TAIL_BYTES};
use shared::capability::conceal;
use shared::model::TailPart;

use crate::event::LogEvent;

/// The size at which a piece ends.
const PIECE_BYTES: usize = 512 * 1024;
/// The size up to which pieces are removed together.
const PART_BYTES: u64 = 64 * 1024;
/// The beginning of a line that CodeBuild writes itself. CodeBuild does not tell stdout and stderr apart.
const OWN: &str = "[Container] ";

/// Consecutive lines that are stored as one chunk.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Piece {
    pub lines: Vec<LogLine>,
    bytes: usize,
    /// Whether the lines are after those that a log keeps from its beginning.
    pub is_tail: bool,
}

/// The pieces of a batch.
pub(crate) struct Pieces {
    pub pieces: Vec<Piece>,
    pub last_number: u64,
    /// The size of the log's beginning after the batch. It exceeds [`HEAD_BYTES`] if the beginning is full.
    pub head_bytes: u64,
}

impl Pieces {
    /// Numbers the lines of a batch. The same batch always becomes the same pieces.
    pub(crate) fn of(events: &[LogEvent], after: u64, head_bytes: u64) -> Self {
        let mut all = Self { pieces: vec![Piece::default()], last_number: after, head_bytes };
        for event in events {
            for text in event.message.trim_end_matches(['\r', '\n']).split('\n') {
                let stream = if text.starts_with(OWN) { Stream::System } else { Stream::Stdout };
                for part in split(&conceal(text.trim_end_matches('\r'))) {
                    all.push(event.timestamp, stream, part);
                }
            }
        }
        all.pieces.retain(|piece| !piece.lines.is_empty());
        all
    }

    fn push(&mut self, at_ms: i64, stream: Stream, text: &str) {
        if self.has_room() {
            self.head_bytes += text.len() as u64 + 1;
            if !self.has_room() {
                let (head, tail) = (HEAD_BYTES >> 20, TAIL_BYTES >> 20);
                let notice = format!("The log has reached {head} MiB. Its last {tail} MiB follow when the run ends.");
                self.append(at_ms, Stream::System, notice, false);
            }
        }
        self.append(at_ms, stream, text.to_owned(), !self.has_room());
    }

    fn has_room(&self) -> bool {
        self.head_bytes <= HEAD_BYTES as u64
    }

    fn append(&mut self, at_ms: i64, stream: Stream, text: String, is_tail: bool) {
        self.last_number += 1;
        let last = self.pieces.last_mut().filter(|piece| piece.bytes < PIECE_BYTES && piece.is_tail == is_tail);
        let piece = match last {
            Some(piece) => piece,
            None => {
                self.pieces.push(Piece { is_tail, ..Piece::default() });
                self.pieces.last_mut().expect("one was pushed")
            }
        };
        piece.bytes += text.len() + 1;
        piece.lines.push(LogLine { number: self.last_number, at_ms, stream, text });
    }

    /// Adds the pieces to the parts after the log's beginning. Returns the parts that are kept, and those that are not.
    pub(crate) fn added_to(&self, tail: &[TailPart]) -> (Vec<TailPart>, Vec<TailPart>) {
        let mut tail = tail.to_vec();
        for piece in self.pieces.iter().filter(|piece| piece.is_tail) {
            let part = piece.part();
            match tail.last_mut().filter(|last| last.to == part.after && last.bytes < PART_BYTES) {
                Some(last) => (last.to, last.bytes) = (part.to, last.bytes + part.bytes),
                None => tail.push(part),
            }
        }
        let mut newer: u64 = tail.iter().map(|part| part.bytes).sum();
        let is_old = |part: &&TailPart| {
            newer -= part.bytes;
            newer >= TAIL_BYTES as u64
        };
        let old = tail.iter().take_while(is_old).count();
        let kept = tail.split_off(old);
        (kept, tail)
    }
}

impl Piece {
    /// Returns whether the piece is stored: it belongs to the log's beginning, or to a part that is kept.
    pub(crate) fn is_kept(&self, tail: &[TailPart]) -> bool {
        let TailPart { after, to, .. } = self.part();
        !self.is_tail || tail.iter().any(|part| part.after <= after && to <= part.to)
    }

    fn part(&self) -> TailPart {
        let number = |line: Option<&LogLine>| line.map_or(0, |line| line.number);
        TailPart {
            after: number(self.lines.first()).saturating_sub(1),
            to: number(self.lines.last()),
            bytes: self.bytes as u64,
        }
    }
}

/// Splits a text into parts of at most [`MAX_LINE_BYTES`].
fn split(mut text: &str) -> Vec<&str> {
    let mut parts = Vec::new();
    while text.len() > MAX_LINE_BYTES {
        let (part, rest) = text.split_at(text.floor_char_boundary(MAX_LINE_BYTES));
        parts.push(part);
        text = rest;
    }
    parts.push(text);
    parts
}

#[cfg(test)]
mod tests {
    use super::*;

    fn events(count: usize, bytes: usize) -> Vec<LogEvent> {
        let event =
            |n: usize| LogEvent { id: n.to_string(), timestamp: 1, message: format!("{}\n", "x".repeat(bytes - 1)) };
        (0..count).map(event).collect()
    }

    fn texts(pieces: &Pieces) -> Vec<&str> {
        pieces.pieces.iter().flat_map(|piece| &piece.lines).map(|line| line.text.as_str()).collect()
    }

    #[test]
    fn events_become_lines_of_a_bounded_size_without_line_ends_and_names() {
        let long = format!("{}é", "x".repeat(MAX_LINE_BYTES - 1));
        let message = |message: &str| LogEvent { id: String::new(), timestamp: 5, message: message.to_owned() };
        let name = "cap_0123456789abcdef0123456789abcdef";
        let events = [message("a\r\nb\r\n"), message("[Container] c"), message("\n"), message(&long), message(name)];
        let of = Pieces::of(&events, 7, 0);
        assert_eq!(texts(&of), ["a", "b", "[Container] c", "", &long[..MAX_LINE_BYTES - 1], "é", "cap_***"]);
        let lines = &of.pieces[0].lines;
        assert_eq!((lines[0].number, lines[6].number, of.last_number), (8, 14, 14));
        assert_eq!((lines[1].stream, lines[2].stream, lines[2].at_ms), (Stream::Stdout, Stream::System, 5));
    }

    #[test]
    fn a_log_keeps_its_beginning_and_its_end() {
        // Lines of 1 KiB: 8,192 are the beginning, and 2,048 the end.
        let (mut tail, mut after, mut head_bytes, mut stored, mut removed) = (Vec::new(), 0, 0, Vec::new(), Vec::new());
        for _ in 0..13 {
            let of = Pieces::of(&events(1000, 1024), after, head_bytes);
            let (kept, old) = of.added_to(&tail);
            stored
                .extend(of.pieces.iter().filter(|piece| piece.is_kept(&kept)).flat_map(|piece| &piece.lines).cloned());
            removed.extend(old);
            (tail, after, head_bytes) = (kept, of.last_number, of.head_bytes);
        }
        let is_removed = |number: u64| removed.iter().any(|part| part.after < number && number <= part.to);
        stored.retain(|line| !is_removed(line.number));
        let numbers: Vec<_> = stored.iter().map(|line| line.number).collect();
        let head = numbers.iter().zip(1..).take_while(|(number, at)| *number == at).count();
        assert_eq!((head, stored[head - 1].text.starts_with("The log has reached 8 MiB.")), (8193, true));
        assert_eq!(*numbers.last().unwrap(), 13_001);
        let end = numbers.len() - head;
        assert!((2048..2048 + 1024).contains(&end), "{end} lines at the end");
        assert!(numbers[head..].windows(2).all(|pair| pair[0] + 1 == pair[1]));
    }

    #[test]
    fn a_batch_that_exceeds_the_whole_end_stores_only_its_own_end() {
        let of = Pieces::of(&events(10_000, 1024), 0, HEAD_BYTES as u64 + 1);
        let (kept, old) = of.added_to(&[TailPart { after: 0, to: 0, bytes: 5 }]);
        let bytes: u64 = kept.iter().map(|part| part.bytes).sum();
        assert!((TAIL_BYTES as u64..TAIL_BYTES as u64 + PIECE_BYTES as u64 + 1024).contains(&bytes), "{bytes}");
        assert_eq!(old.first().map(|part| part.bytes > 5), Some(true), "a small part grows first");
        assert_eq!(kept.last().unwrap().to, 10_000);
    }
}
