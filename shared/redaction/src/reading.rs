//! A text without the escapes of a format.

use std::borrow::Cow;
use std::ops::Range;

/// The maximum number of bytes that stand for one, with two escapes in one another.
pub(super) const MOST_BYTES_FOR_ONE: usize = 20;

/// A text as whoever undoes the escapes of a format reads it. It knows the place of each byte.
#[derive(Clone, Debug)]
pub(super) struct Reading<'a> {
    bytes: Cow<'a, [u8]>,
    /// The offset in the text of each byte, and the end of the text.
    places: Vec<usize>,
}

/// The formats, by the character without which a text has none of their escapes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Format {
    /// JSON, programming languages, `printf %q`, `$'…'`. `\xe9` is a byte.
    Backslashes,
    /// Backslashes as Python and JavaScript print text: `\xe9` is a character.
    BackslashesOfText,
    /// `'it'\''s'` and `'it'"'"'s'`, and the `'a'$'\n''b'` of GNU's tools.
    ShellQuotes,
    /// `'it''s'` and `"say ""yes"""`.
    DoubledQuotes,
    /// `%20` is a space.
    Percent,
    /// `+` is a space too.
    PercentOfForms,
    /// `&quot;`, `&#34;` and `&#x22;`.
    Entities,
}

impl Format {
    const ALL: [Self; 7] = [
        Self::Backslashes,
        Self::BackslashesOfText,
        Self::ShellQuotes,
        Self::DoubledQuotes,
        Self::Percent,
        Self::PercentOfForms,
        Self::Entities,
    ];

    fn is_in(self, text: &[u8]) -> bool {
        let has = |bytes: &[u8]| text.windows(bytes.len()).any(|window| window == bytes);
        match self {
            Self::Backslashes => text.contains(&b'\\'),
            Self::BackslashesOfText => has(b"\\x"),
            Self::ShellQuotes => has(b"'\\''") || has(b"'\"'") || has(b"'$'"),
            Self::DoubledQuotes => has(b"''") || has(b"\"\""),
            Self::Percent => text.contains(&b'%'),
            Self::PercentOfForms => text.contains(&b'+'),
            Self::Entities => text.contains(&b'&') && text.contains(&b';'),
        }
    }

    /// Adds the bytes that the start of a text stands for, and returns the length of that start. `None` if it is no escape.
    fn unescape(self, text: &[u8], into: &mut Vec<u8>) -> Option<usize> {
        match self {
            Self::Backslashes => backslash(text, false, into),
            Self::BackslashesOfText => backslash(text, true, into),
            Self::ShellQuotes => shell_quote(text, into),
            Self::DoubledQuotes => match text {
                [b'\'', b'\'', ..] | [b'"', b'"', ..] => add(text[0], 2, into),
                _ => None,
            },
            Self::PercentOfForms if text.first() == Some(&b'+') => add(b' ', 1, into),
            Self::Percent | Self::PercentOfForms => percent(text, into),
            Self::Entities => entity(text, into),
        }
    }
}

impl<'a> Reading<'a> {
    /// Visits the readings of a text other than the text itself.
    pub(super) fn each(text: &'a [u8], mut visit: impl FnMut(&Self)) {
        for once in (Self { bytes: text.into(), places: Vec::new() }).others() {
            visit(&once);
            once.others().for_each(|twice| visit(&twice));
        }
    }

    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Returns the place in the text of some bytes.
    pub(super) fn place(&self, bytes: Range<usize>) -> Range<usize> {
        self.places[bytes.start]..self.places[bytes.end]
    }

    fn others<'b>(&'b self) -> impl Iterator<Item = Reading<'a>> + 'b {
        let formats = Format::ALL.into_iter().filter(|format| format.is_in(&self.bytes));
        formats.map(|format| self.without(format))
    }

    fn without(&self, format: Format) -> Reading<'a> {
        let (mut bytes, mut places) = (Vec::with_capacity(self.bytes.len()), Vec::with_capacity(self.bytes.len() + 1));
        // The places of the text itself are the offsets.
        let place = |at: usize| if self.places.is_empty() { at } else { self.places[at] };
        let mut at = 0;
        while at < self.bytes.len() {
            let length = format.unescape(&self.bytes[at..], &mut bytes).unwrap_or_else(|| {
                bytes.push(self.bytes[at]);
                1
            });
            places.resize(bytes.len(), place(at));
            at += length;
        }
        places.push(place(at));
        Reading { bytes: bytes.into(), places }
    }
}

fn add(byte: u8, length: usize, into: &mut Vec<u8>) -> Option<usize> {
    into.push(byte);
    Some(length)
}

fn add_character(code: u32, length: usize, into: &mut Vec<u8>) -> Option<usize> {
    into.extend_from_slice(char::from_u32(code)?.encode_utf8(&mut [0; 4]).as_bytes());
    Some(length)
}

fn backslash(text: &[u8], is_of_text: bool, into: &mut Vec<u8>) -> Option<usize> {
    let [b'\\', kind, rest @ ..] = text else { return None };
    let byte = match kind {
        b'a' => 7,
        b'b' => 8,
        b't' => b'\t',
        b'n' => b'\n',
        b'v' => 11,
        b'f' => 12,
        b'r' => b'\r',
        b'e' | b'E' => 27,
        b'0'..=b'7' => {
            let (code, length) = number(&text[1..], 8, 3)?;
            return add(u8::try_from(code).ok()?, 1 + length, into);
        }
        b'x' | b'u' | b'U' => {
            if let Some(length) = hexadecimal(*kind, rest, is_of_text, into) {
                return Some(length + 2);
            }
            *kind
        }
        other => *other,
    };
    add(byte, 2, into)
}

/// Adds the character of `\x41`, `\u0041`, `\U00000041`, `\u{41}` or two surrogates. Returns the length without the first two bytes.
fn hexadecimal(kind: u8, rest: &[u8], is_of_text: bool, into: &mut Vec<u8>) -> Option<usize> {
    if let [b'{', inner @ ..] = rest {
        let (code, length) = number(inner, 16, 6)?;
        let is_closed = inner.get(length) == Some(&b'}');
        return is_closed.then(|| add_character(code, length + 2, into)).flatten();
    }
    let most = match kind {
        b'x' => 2,
        b'u' => 4,
        _ => 8,
    };
    let (code, length) = number(rest, 16, most)?;
    if kind == b'x' && !is_of_text {
        return add(u8::try_from(code).ok()?, length, into);
    }
    if let (0xd800..0xdc00, [b'\\', b'u', low @ ..]) = (code, &rest[length..])
        && let (low @ 0xdc00..0xe000, low_length) = number(low, 16, 4)?
    {
        let code = 0x10000 + ((code - 0xd800) << 10) + (low - 0xdc00);
        return add_character(code, length + 2 + low_length, into);
    }
    add_character(code, length, into)
}

/// Returns the number at the start of a text, which has at most so many digits, and the number of its digits.
fn number(text: &[u8], radix: u32, most: usize) -> Option<(u32, usize)> {
    let digits = text.iter().take(most).map_while(|byte| char::from(*byte).to_digit(radix));
    let (number, length) = digits.fold((0, 0), |(number, length), digit| (number * radix + digit, length + 1));
    (length > 0).then_some((number, length))
}

fn shell_quote(text: &[u8], into: &mut Vec<u8>) -> Option<usize> {
    match text {
        [b'\'', b'\\', b'\'', b'\'', ..] => add(b'\'', 4, into),
        [b'\'', b'"', b'\'', rest @ ..] => {
            let more = rest.iter().take_while(|byte| **byte == b'\'').count();
            let [b'"', b'\'', ..] = &rest[more..] else { return None };
            into.resize(into.len() + 1 + more, b'\'');
            Some(5 + more)
        }
        [b'\'', b'$', b'\'', b'\\', ..] => {
            let mut length = 3;
            while let Some(escape) = backslash(&text[length..], false, into) {
                length += escape;
            }
            // The quote that ends it, and the one that begins the next part.
            let quotes = text[length..].iter().take(2).take_while(|byte| **byte == b'\'').count();
            Some(length + quotes)
        }
        _ => None,
    }
}

fn percent(text: &[u8], into: &mut Vec<u8>) -> Option<usize> {
    let (b'%', (code, 2)) = (text.first()?, number(&text[1..], 16, 2)?) else { return None };
    add(u8::try_from(code).ok()?, 3, into)
}

fn entity(text: &[u8], into: &mut Vec<u8>) -> Option<usize> {
    const NAMES: [(&[u8], u8); 5] =
        [(b"&amp;", b'&'), (b"&lt;", b'<'), (b"&gt;", b'>'), (b"&quot;", b'"'), (b"&apos;", b'\'')];
    if let Some((name, byte)) = NAMES.into_iter().find(|(name, _)| text.starts_with(name)) {
        return add(byte, name.len(), into);
    }
    let (start, (code, length)) = match text {
        [b'&', b'#', b'x' | b'X', digits @ ..] => (3, number(digits, 16, 6)?),
        [b'&', b'#', digits @ ..] => (2, number(digits, 10, 7)?),
        _ => return None,
    };
    let end = start + length;
    (text.get(end) == Some(&b';')).then(|| add_character(code, end + 1, into)).flatten()
}
