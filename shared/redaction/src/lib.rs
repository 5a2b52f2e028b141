//! Removes the values of a deployment's secret variables from texts.

mod base32;
mod dump;
mod reading;

use std::borrow::Cow;
use std::ops::Range;

use aho_corasick::AhoCorasick;
use base64::Engine;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};
use shared::hex::hex;

use self::base32::base32;
use self::dump::Pieces;
use self::reading::{MOST_BYTES_FOR_ONE, Reading};

/// The text in the place of a secret.
pub const REDACTED: &str = "***";

/// The minimum length of a redacted value. Shorter values such as `1`, `dev` or `no` are in every log. Replacing them
/// would hide the log, and the places of the asterisks would still reveal the value.
const SHORTEST: usize = 4;

/// The minimum number of characters from the inside of a base64 or base32 form. Fewer characters could be anything.
pub const SHORTEST_INSIDE: usize = 8;

/// The line lengths into which PEM (RFC 7468), MIME (RFC 2045) and `base32` break their text.
const ENCODED_LINES: [usize; 2] = [64, 76];

/// An encoding of RFC 4648 without padding, each of whose characters has the same number of bits.
type Encoding = fn(&[u8]) -> String;
const ENCODINGS: [(usize, Encoding); 4] = [
    (6, |bytes| STANDARD_NO_PAD.encode(bytes)),
    (6, |bytes| URL_SAFE_NO_PAD.encode(bytes)),
    (5, |bytes| base32(bytes, b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567")),
    (5, |bytes| base32(bytes, b"0123456789ABCDEFGHIJKLMNOPQRSTUV")),
];

/// The line length into which `xxd -p` breaks hexadecimal digits.
const HEX_LINE: usize = 60;

/// Replaces secret values in a text, line by line.
///
/// Redacts these forms of a value: the value itself; each line of a value of several lines; its base64 and base32 forms in
/// both alphabets, with and without padding; those of the value and a line end, as from `echo "$VALUE" | base64`;
/// the lines of 64 and 76 characters into which their text is broken; and its hexadecimal digits. If a value is encoded
/// together with its surroundings, as in `Authorization: Basic`, redacts the characters that depend on the value alone,
/// provided that there are at least [`SHORTEST_INSIDE`] of them. In dumps, as of `xxd` and `od`, redacts what a line has of a value.
///
/// Each form is found in the text as it is, and as whoever undoes the escapes of a common format would read it: backslashes
/// (JSON, programming languages, `printf %q`, `$'…'`), the quotes of shells, doubled quotes (CSV, YAML, SQL), percent-encoding (URLs and
/// forms), and the entities of HTML. Escapes can be nested once, such as JSON in JSON.
///
/// Redaction guards against accidents. It can't stop a build that intends to print its variables, because values can be
/// encoded in countless ways.
#[derive(Clone)]
pub struct Redaction {
    forms: AhoCorasick,
    pieces: Pieces,
    /// Whether a format can have an escape in a form. None escapes ASCII letters and digits.
    can_be_escaped: bool,
    longest: usize,
}

impl Redaction {
    /// Returns the redaction of these values. Those of fewer than four characters stay visible.
    pub fn new<'a>(secrets: impl IntoIterator<Item = &'a str>) -> Self {
        let secrets: Vec<_> = secrets.into_iter().collect();
        let pieces = Pieces::of(secrets.iter().map(|secret| without_line_end(secret)));
        let mut forms: Vec<String> =
            secrets.into_iter().flat_map(forms).filter(|form| form.len() >= SHORTEST).collect();
        forms.sort();
        forms.dedup();
        let is_escaped_by_some =
            |form: &String| !form.trim_end_matches('=').bytes().all(|byte| byte.is_ascii_alphanumeric());
        let can_be_escaped = forms.iter().any(is_escaped_by_some);
        let escaped = |byte: u8| if byte.is_ascii_alphanumeric() { 1 } else { MOST_BYTES_FOR_ONE };
        let length = |form: &String| if can_be_escaped { form.bytes().map(escaped).sum() } else { form.len() };
        let longest = forms.iter().map(length).max().map_or(0, |longest| longest.max(dump::LONGEST));
        let forms = AhoCorasick::new(forms)
            .expect("the variables of a deployment are far smaller than the 2 GiB that an automaton can take");
        Self { forms, pieces, can_be_escaped, longest }
    }

    /// Returns the text with each secret in it replaced by `***`. Secrets that overlap are replaced together.
    pub fn redact<'a>(&self, text: &'a str) -> Cow<'a, str> {
        let secrets = self.secrets_in(text.as_bytes());
        if secrets.is_empty() {
            return Cow::Borrowed(text);
        }
        let (mut redacted, mut done) = (String::with_capacity(text.len()), 0);
        for Range { start, end } in secrets {
            let (start, end) = (text.floor_char_boundary(start).max(done), text.ceil_char_boundary(end));
            redacted.push_str(&text[done..start]);
            redacted.push_str(REDACTED);
            done = end;
        }
        redacted.push_str(&text[done..]);
        Cow::Owned(redacted)
    }

    /// Returns the number of bytes past an offset that decide whether a secret spans it.
    pub fn longest(&self) -> usize {
        self.longest
    }

    /// Returns the bounds of the secret that spans the offset `at`, if there is one. The text must reach
    /// [`longest`](Self::longest) bytes past `at`, unless it ends before.
    pub fn across(&self, text: &[u8], at: usize) -> Option<Range<usize>> {
        self.secrets_in(text).into_iter().find(|found| found.start < at && found.end > at)
    }

    /// Returns the bounds of the secrets in a text, in order and apart from each other.
    fn secrets_in(&self, text: &[u8]) -> Vec<Range<usize>> {
        let mut found: Vec<_> = match self.forms.is_match(text) {
            true => self.forms.find_overlapping_iter(text).map(|found| found.range()).collect(),
            false => Vec::new(),
        };
        if self.can_be_escaped {
            Reading::each(text, |reading| {
                let forms = self.forms.find_overlapping_iter(reading.bytes());
                found.extend(forms.map(|found| reading.place(found.range())).filter(|found| !found.is_empty()));
            });
        }
        found.extend(self.pieces.in_line(text));
        found.sort_unstable_by_key(|found| (found.start, found.end));
        found.dedup_by(|next, kept| {
            let overlaps = next.start < kept.end;
            if overlaps {
                kept.end = kept.end.max(next.end);
            }
            overlaps
        });
        found
    }
}

fn forms(secret: &str) -> Vec<String> {
    let mut forms: Vec<String> = secret.lines().map(|line| line.trim().to_owned()).collect();
    let trimmed = without_line_end(secret);
    if trimmed.len() < SHORTEST {
        return forms;
    }
    forms.extend([secret, trimmed].map(str::to_owned));
    let with_line_end = format!("{secret}\n");
    for plain in [secret, trimmed, &with_line_end] {
        for (bits, encode) in ENCODINGS {
            let encoded = encode(plain.as_bytes());
            for text in [padded(&encoded, bits), encoded] {
                forms.extend(ENCODED_LINES.into_iter().flat_map(|length| lines_of(&text, length)));
                forms.push(text);
            }
        }
        let digits = hex(plain.as_bytes());
        for digits in [digits.to_ascii_uppercase(), digits] {
            forms.extend(lines_of(&digits, HEX_LINE));
            forms.push(digits);
        }
    }
    forms.extend(ENCODINGS.iter().flat_map(|(bits, encode)| insides(trimmed, *bits, *encode)));
    forms
}

/// Returns a secret as `$(…)` does, which takes line ends away. `echo` adds one.
fn without_line_end(secret: &str) -> &str {
    secret.trim_end_matches(['\r', '\n'])
}

/// Returns the text of an encoding with its padding.
fn padded(encoded: &str, bits: usize) -> String {
    let length = encoded.len().next_multiple_of(if bits == 6 { 4 } else { 8 });
    format!("{encoded:=<length$}")
}

/// Returns the lines into which a program breaks a long text of ASCII characters.
fn lines_of(encoded: &str, length: usize) -> impl Iterator<Item = String> {
    let lines = encoded.as_bytes().chunks(length).filter(move |_| encoded.len() > length);
    lines.filter(|line| line.len() >= SHORTEST_INSIDE).map(|line| String::from_utf8_lossy(line).into_owned())
}

/// Returns the characters that every encoded text with the secret contains, for each number of bytes that may precede the secret in the
/// text's groups of three or five. A character encodes so many bits, so the characters at the secret's ends that also encode bits of
/// its neighbors are left out.
fn insides(secret: &str, bits: usize, encode: Encoding) -> impl Iterator<Item = String> {
    let inside = move |before: usize| {
        let encoded = encode(&[&b"\0\0\0\0"[..before], secret.as_bytes()].concat());
        let (start, end) = ((before * 8).div_ceil(bits), (before + secret.len()) * 8 / bits);
        encoded[start..end].to_owned()
    };
    (0..if bits == 6 { 3 } else { 5 }).map(inside).filter(|inside| inside.len() >= SHORTEST_INSIDE)
}

#[cfg(test)]
mod tests {
    use base64::engine::general_purpose::{STANDARD, URL_SAFE};

    use super::*;

    #[test]
    fn a_secret_is_replaced_wherever_it_stands() {
        let redaction = Redaction::new(["hunter22", "p@ss word/1"]);
        for (text, redacted) in [
            ("hunter22", "***"),
            ("a hunter22, b hunter22!", "a ***, b ***!"),
            ("hunter2", "hunter2"),
            ("hunter22hunter22", "******"),
            ("éhunter22é", "é***é"),
            ("url?p=p%40ss%20word%2F1&x", "url?p=***&x"),
            ("body p%40ss+word%2F1", "body ***"),
            ("url?p=p%40ss%20word%2f1&x", "url?p=***&x"),
            ("Basic aHVudGVyMjI=", "Basic ***"),
            ("Basic aHVudGVyMjI.", "Basic ***."),
            ("echo gives aHVudGVyMjIK here", "echo gives *** here"),
            ("", ""),
        ] {
            assert_eq!(redaction.redact(text), redacted, "{text}");
        }
    }

    #[test]
    fn both_base64_alphabets_are_known() {
        let redaction = Redaction::new(["??>>~~"]);
        assert_eq!(redaction.redact("Pz8+Pn5+ Pz8-Pn5-"), "*** ***");
    }

    #[test]
    fn a_secret_is_known_inside_of_longer_base64() {
        let redaction = Redaction::new(["correct-horse??>>"]);
        for around in ["", "a", "ab", "user:", "user1:", "user12:"] {
            for after in ["", "x", "xy", "\n", "@example.com"] {
                for base64 in [STANDARD, STANDARD_NO_PAD, URL_SAFE, URL_SAFE_NO_PAD] {
                    let text = base64.encode(format!("{around}correct-horse??>>{after}"));
                    let redacted = redaction.redact(&text);
                    // At most the characters at the ends of the 17 bytes remain.
                    let left = redacted.replace("***", "").len();
                    let outside = (around.len() + after.len()) * 8 / 6;
                    assert!(redacted.contains("***") && left <= outside + 6, "{around} {after}: {redacted} of {text}");
                }
            }
        }
        assert!(!Redaction::new(["short"]).redact("eHNob3J0").contains("***"), "too little of it is its own");
    }

    #[test]
    fn base32_is_known_alone_and_inside_of_longer_base32() {
        let secret = "correct-horse??>>";
        let redaction = Redaction::new([secret]);
        let [_, _, (bits, standard), (_, of_hex)] = ENCODINGS;
        for encode in [standard, of_hex] {
            assert_eq!(redaction.redact(&padded(&encode(secret.as_bytes()), bits)), "***");
            for around in ["a", "ab", "abc", "user", "user:"] {
                let text = encode(format!("{around}{secret}@example").as_bytes());
                let redacted = redaction.redact(&text);
                let left = redacted.replace("***", "").len();
                assert!(redacted.contains("***") && left <= (around.len() + 8) * 8 / 5 + 2, "{redacted} of {text}");
            }
        }
    }

    #[test]
    fn base64_that_is_broken_into_lines_is_known() {
        let secret = "0123456789".repeat(20);
        let redaction = Redaction::new([secret.as_str()]);
        for length in ENCODED_LINES {
            let encoded = STANDARD.encode(&secret);
            for line in encoded.as_bytes().chunks(length) {
                assert_eq!(redaction.redact(std::str::from_utf8(line).unwrap()), "***");
            }
        }
    }

    #[test]
    fn the_longest_secret_is_replaced() {
        let redaction = Redaction::new(["secret", "secret-longer", "longer-still"]);
        assert_eq!(redaction.redact("secret-longer secret-long"), "*** ***-long");
        assert_eq!(redaction.redact("secret-longer-still"), "***", "no tail of an overlapping one is left");
        assert_eq!(redaction.redact("x-secret-longer-stillsecret-y"), "x-******-y");
    }

    #[test]
    fn short_values_are_left_as_they_are() {
        let redaction = Redaction::new(["", "1", "dev", "abcd"]);
        assert_eq!(redaction.redact("1 dev abcd MQ== ZGV2"), "1 dev *** MQ== ZGV2");
        assert_eq!(Redaction::new([]).redact("anything"), "anything");
    }

    #[test]
    fn each_line_of_a_longer_value_is_replaced() {
        let key = "-----BEGIN KEY-----\r\n  MIIEvQIBADAN\n}\n-----END KEY-----\n";
        let redaction = Redaction::new([key]);
        let printed: Vec<_> = key.lines().map(|line| redaction.redact(line)).collect();
        assert_eq!(printed, ["***", "  ***", "}", "***"]);
        assert_eq!(redaction.redact(&STANDARD.encode(key)), "***");
    }

    #[test]
    fn a_secret_across_an_offset_is_found() {
        let redaction = Redaction::new(["secret"]);
        let text = b"0123secret0123";
        assert_eq!(redaction.longest(), dump::LONGEST);
        for (at, found) in [(3, None), (4, None), (5, Some(4..10)), (9, Some(4..10)), (10, None), (13, None)] {
            assert_eq!(redaction.across(text, at), found, "at {at}");
        }
    }

    /// The output of the tools themselves is in functions/deployment-consumer/tests/process/masking.rs.
    #[test]
    fn a_secret_is_known_under_the_escapes_of_each_format() {
        let redaction = Redaction::new(["it's \"50%\" & <é>\n\\\t1"]);
        for text in [
            r#"{"x":"it's \"50%\" & <é>\n\\\t1"}"#,
            r#"{"x":"it\u0027s \"50%\" \u0026 \u003c\u00e9\u003e\n\\\t1"}"#,
            r#""{\"x\":\"it's \\\"50%\\\" & <é>\\n\\\\\\t1\"}""#,
            r#"'it\'s "50%" & <é>\n\\\t1'"#,
            r"$'it\'s \x2250%\042 & <\303\251>\n\\\t1'",
            "it%27s%20%2250%25%22%20%26%20%3C%C3%A9%3E%0A%5C%091",
            "it's+%2250%25%22+%26+%3c%c3%a9%3e%0a%5c%091",
            "it%2527s%2520%252250%2525%2522%2520%2526%2520%253C%25C3%25A9%253E%250A%255C%25091",
            "it&#39;s &quot;50%&quot; &amp; &lt;&#xe9;&gt;&#10;\\&#9;1",
            r#"'it'\''s "50%" & <é>'$'\n''\'$'\t''1'"#,
        ] {
            let redacted = redaction.redact(text);
            assert!(redacted.contains("***") && redacted.len() < 20, "{text}: {redacted}");
        }
        for text in [
            "it's \"50%\" & <e>",
            r"\",
            "%",
            "&",
            "'",
            "%2",
            r"\u",
            r"\u{",
            r"\ud83d",
            r"\x",
            "&#;",
            "'$'",
            "&#x110000;",
        ] {
            assert_eq!(redaction.redact(text), text);
        }
    }

    #[test]
    fn a_secret_in_a_surrogate_pair_or_among_other_escapes_is_replaced_and_nothing_else() {
        let redaction = Redaction::new(["🔑/key"]);
        assert_eq!(redaction.redact(r#"{"a":"\ud83d\udd11\/key","b":"\u00e9"}"#), r#"{"a":"***","b":"\u00e9"}"#);
        assert_eq!(redaction.redact(r#"é\u{1f511}/key é"#), "é*** é");
        assert_eq!(redaction.redact("x=%F0%9F%94%91%2Fkey&y=%20"), "x=***&y=%20");
    }
}
