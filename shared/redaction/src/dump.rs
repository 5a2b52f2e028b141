//! Dumps: bytes as numbers or as characters with spaces between them, as `xxd`, `od`, `hexdump` and programming languages print them.
//!
//! A dump breaks its lines at any byte of a secret, so a secret is found in it by pieces.

use std::collections::HashSet;
use std::ops::Range;
use std::sync::Arc;

use aho_corasick::AhoCorasick;

/// The number of bytes of a secret, in a row, that are found in a dump wherever they begin.
const PIECE: usize = 8;
/// The minimum number of bytes that are found as the end of a secret, or of a line of a dump that begins with the secret.
const SHORTEST: usize = 4;
/// The numbers of bytes in a line of `xxd -b`, `xxd -i`, and `xxd`, `od` and `hexdump`.
const LINES: [usize; 3] = [6, 12, 16];
/// The maximum number of characters that stand for a byte, with its separator.
const MOST_CHARACTERS: usize = 20;

/// The number of characters past an offset in a dump that decide whether a piece spans it.
pub(super) const LONGEST: usize = PIECE * MOST_CHARACTERS;

/// The pieces of secrets. Clones share them.
#[derive(Clone)]
pub(super) struct Pieces {
    pieces: Arc<HashSet<[u8; PIECE]>>,
    /// Pieces that are shorter because the secret or a line of a dump ends.
    short: AhoCorasick,
}

/// The bytes that a line stands for, and the place in the line of each.
#[derive(Default)]
struct Dump {
    bytes: Vec<u8>,
    places: Vec<Range<usize>>,
}

#[derive(Clone, Copy)]
enum Notation {
    /// `517a 48`, `51:7a:48`, `0x51, 0x7a`: words of hexadecimal digits, in their order.
    Hexadecimal,
    /// `7a51`: words of 2, 4 or 8 bytes with the last byte first, as `hexdump` and `od -x` print them.
    Swapped,
    /// `121 172`, and `075121` with the last byte first, as `od` prints it.
    Octal,
    /// `[81, 122]`.
    Decimal,
    /// `01010001 01111010`.
    Binary,
    /// Cells of four characters, as of `od -c`.
    Cells,
}

impl Pieces {
    pub(super) fn of<'a>(secrets: impl Iterator<Item = &'a str>) -> Self {
        let (mut pieces, mut short) = (HashSet::new(), Vec::new());
        for secret in secrets {
            let bytes = secret.as_bytes();
            // Beside the numbers, a dump shows a point for what it can't show.
            let shown: Vec<_> =
                bytes.iter().map(|byte| if matches!(byte, b' '..=b'~') { *byte } else { b'.' }).collect();
            for bytes in [bytes, &shown[..]] {
                pieces.extend(bytes.array_windows().copied());
                let lines = LINES.into_iter().flat_map(|length| bytes.chunks(length)).chain([bytes]);
                short.extend(lines.filter(|line| (SHORTEST..PIECE).contains(&line.len())).map(<[u8]>::to_vec));
            }
        }
        let short = AhoCorasick::new(short).expect("they are fewer than the bytes of a deployment's variables");
        Self { pieces: Arc::new(pieces), short }
    }

    /// Returns the places of pieces in a line, if it is a dump.
    pub(super) fn in_line(&self, line: &[u8]) -> Vec<Range<usize>> {
        let mut found = Vec::new();
        let is_empty = self.pieces.is_empty() && self.short.patterns_len() == 0;
        if is_empty || !may_be_dump(line) {
            return found;
        }
        for notation in Notation::ALL {
            let Dump { bytes, places } = notation.read(line);
            self.visit(&bytes, |piece| found.push(places[piece.start].start..places[piece.end - 1].end));
        }
        if !found.is_empty() {
            // The characters beside the numbers.
            self.visit(line, |piece| found.push(piece));
        }
        found
    }

    fn visit(&self, bytes: &[u8], mut visit: impl FnMut(Range<usize>)) {
        for (at, window) in bytes.windows(PIECE).enumerate() {
            if self.pieces.contains(window) {
                visit(at..at + PIECE);
            }
        }
        for found in self.short.find_overlapping_iter(bytes) {
            visit(found.range());
        }
    }
}

/// Decides whether a line can have a dump of four bytes. Each byte of ASCII has a digit in every notation of numbers.
fn may_be_dump(line: &[u8]) -> bool {
    let digits = line.iter().filter(|byte| byte.is_ascii_digit()).take(SHORTEST).count();
    digits == SHORTEST || line.starts_with(b"  ")
}

impl Notation {
    const ALL: [Self; 6] = [Self::Hexadecimal, Self::Swapped, Self::Octal, Self::Decimal, Self::Binary, Self::Cells];

    fn read(self, line: &[u8]) -> Dump {
        let mut dump = Dump::default();
        if let Self::Cells = self {
            dump.read_cells(line);
            return dump;
        }
        let mut at = 0;
        for word in line.split(|byte| !byte.is_ascii_alphanumeric()) {
            let place = at..at + word.len();
            at = place.end + 1;
            let digits = word.strip_prefix(b"0x").unwrap_or(word);
            let Some((radix, size)) = self.word(digits.len()) else { continue };
            let number = str::from_utf8(digits).ok().and_then(|digits| u64::from_str_radix(digits, radix).ok());
            let Some(number) = number.filter(|number| size == 8 || number >> (8 * size) == 0) else { continue };
            let bytes = &number.to_le_bytes()[..size];
            match self {
                Self::Swapped | Self::Octal => dump.bytes.extend(bytes),
                _ => dump.bytes.extend(bytes.iter().rev()),
            }
            dump.places.resize(dump.bytes.len(), place);
        }
        dump
    }

    /// Returns the radix of a word of so many digits, and the number of bytes that the word stands for.
    fn word(self, digits: usize) -> Option<(u32, usize)> {
        match (self, digits) {
            (Self::Hexadecimal, 2 | 4 | 6 | 8 | 10 | 12 | 14 | 16) | (Self::Swapped, 4 | 8 | 16) => {
                Some((16, digits / 2))
            }
            (Self::Octal, 3 | 6) => Some((8, digits / 3)),
            (Self::Decimal, 1..=3) => Some((10, 1)),
            (Self::Binary, 8) => Some((2, 1)),
            _ => None,
        }
    }
}

impl Dump {
    /// Reads cells of four characters, one for each byte, after an offset.
    fn read_cells(&mut self, line: &[u8]) {
        let offset = line.iter().take_while(|byte| byte.is_ascii_hexdigit()).count();
        for (at, cell) in line[offset..].chunks(4).enumerate() {
            let byte = match cell.trim_ascii() {
                b"" | b"sp" => b' ',
                b"\\n" | b"nl" => b'\n',
                b"\\t" | b"ht" => b'\t',
                b"\\r" | b"cr" => b'\r',
                [byte] => *byte,
                digits => match str::from_utf8(digits).ok().and_then(|digits| u8::from_str_radix(digits, 8).ok()) {
                    Some(byte) => byte,
                    None => continue,
                },
            };
            let start = offset + 4 * at;
            self.bytes.push(byte);
            self.places.push(start..start + cell.len());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The output of the tools themselves is in tests/process/masking.rs.
    #[test]
    fn pieces_are_found_in_each_notation_wherever_a_line_begins() {
        let pieces = Pieces::of(["correct horse battery staple"].into_iter());
        for (line, found) in [
            ("00000000: 636f 7272 6563 7420 686f 7273 6520 6261  correct horse ba", Some(10)),
            ("0000000 6f63 7272 6365 2074 6f68 7372 2065 6162", Some(8)),
            ("0000000 067543 071162 061545 020164 067550 071562 020145 060542", Some(8)),
            ("<Buffer 63 6f 72 72 65 63 74 20 68 6f 72 73 65>", Some(8)),
            ("[99, 111, 114, 114, 101, 99, 116, 32, 104]", Some(1)),
            ("x  0x63, 0x6f, 0x72, 0x72, 0x65, 0x63, 0x74, 0x20,", Some(3)),
            ("0000000   c   o   r   r   e   c   t       h   o   r   s   e", Some(7)),
            // The secret begins elsewhere in the line, and the line elsewhere in the secret.
            ("00000010: 7573 6572 3a63 6f72 7265 6374 2068 6f72  user:correct hor", Some(20)),
            ("00000020: 6f72 7365 2062 6174 7465 7279 2073 7461  orse battery sta", Some(10)),
            // The last line of a dump of the secret alone.
            ("00000010: 7474 6572 7920 7374 6170 6c65            ttery staple", Some(10)),
            // Too little of it is its own.
            ("00000010: 7465 7279 2073                           tery s", None),
            ("correct horse battery sta", None),
            ("0000000 0000 0000", None),
        ] {
            assert_eq!(pieces.in_line(line.as_bytes()).iter().map(|place| place.start).min(), found, "{line}");
        }
        let empty = Pieces::of(std::iter::empty());
        assert!(empty.in_line(b"00000000: 636f 7272 6563 7420 686f 7273 6520 6261").is_empty());
    }
}
