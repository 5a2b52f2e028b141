//! Removes the values of a deployment's variables from its log.

use std::borrow::Cow;

use aho_corasick::{AhoCorasick, AhoCorasickBuilder, MatchKind};
use base64::{
    Engine,
    engine::general_purpose::{STANDARD, STANDARD_NO_PAD, URL_SAFE, URL_SAFE_NO_PAD},
};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

const REDACTED: &str = "***";

/// The minimum length of a redacted value. Shorter values such as `1`, `dev` or `no` are in every log. Replacing them
/// would hide the log, and the places of the asterisks would still reveal the value.
const SHORTEST: usize = 4;

/// The minimum number of characters from the inside of a base64 form. Fewer characters could be anything.
pub const SHORTEST_INSIDE: usize = 8;

/// The line lengths into which PEM (RFC 7468) and MIME (RFC 2045) break base64.
const BASE64_LINES: [usize; 2] = [64, 76];

/// The characters that need percent-encoding: all but those of RFC 3986, section 2.3.
const RESERVED: AsciiSet = NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// Replaces secret values in a text, line by line.
///
/// Redacts these forms of a value: the value itself; each line of a value of several lines; its base64 form in both
/// alphabets, with and without padding; the base64 form of the value and a line end, as from `echo "$VALUE" | base64`;
/// the lines of 64 and 76 characters into which long base64 is broken; and the percent-encoded forms of URLs and of
/// forms. If a value is encoded together with its surroundings, as in `Authorization: Basic`, redacts the characters
/// that depend on the value alone, provided that there are at least [`SHORTEST_INSIDE`] of them. Redaction guards
/// against accidents. It can't stop a build that intends to print its variables, because values can be encoded in
/// countless ways.
#[derive(Clone)]
pub struct Redaction {
    forms: AhoCorasick,
}

impl Redaction {
    /// Returns the redaction of these values. Those of fewer than four characters stay visible.
    pub fn new<'a>(secrets: impl IntoIterator<Item = &'a str>) -> Self {
        let mut forms: Vec<String> =
            secrets.into_iter().flat_map(forms).filter(|form| form.len() >= SHORTEST).collect();
        forms.sort();
        forms.dedup();
        let forms = AhoCorasickBuilder::new()
            .match_kind(MatchKind::LeftmostLongest)
            .build(forms)
            .expect("the variables of a deployment are far smaller than the 2 GiB that an automaton can take");
        Self { forms }
    }

    /// Returns the text with each secret in it replaced by `***`. Of several secrets that begin at one place, replaces
    /// the longest.
    pub(crate) fn redact<'a>(&self, text: &'a str) -> Cow<'a, str> {
        if !self.forms.is_match(text) {
            return Cow::Borrowed(text);
        }
        let mut redacted = String::with_capacity(text.len());
        self.forms.replace_all_with(text, &mut redacted, |_, _, into| {
            into.push_str(REDACTED);
            true
        });
        Cow::Owned(redacted)
    }

    /// Returns the length in bytes of the longest redacted form.
    pub fn longest(&self) -> usize {
        self.forms.max_pattern_len()
    }

    /// Returns the bounds of the secret that spans the offset `at`, if there is one. The text must reach
    /// [`longest`](Self::longest) bytes past `at`, unless it ends before.
    pub(crate) fn across(&self, text: &[u8], at: usize) -> Option<std::ops::Range<usize>> {
        self.forms
            .find_iter(text)
            .map(|found| found.range())
            .take_while(|found| found.start < at)
            .find(|found| found.end > at)
    }
}

fn forms(secret: &str) -> Vec<String> {
    let mut forms: Vec<String> = secret.lines().map(|line| line.trim().to_owned()).collect();
    if secret.len() < SHORTEST {
        return forms;
    }
    let with_line_end = format!("{secret}\n");
    for plain in [secret, &with_line_end] {
        for base64 in [STANDARD, STANDARD_NO_PAD, URL_SAFE, URL_SAFE_NO_PAD] {
            let encoded = base64.encode(plain);
            for length in BASE64_LINES.into_iter().filter(|length| encoded.len() > *length) {
                // Base64 is ASCII, so every cut is between characters.
                let lines = encoded.as_bytes().chunks(length).map(|line| String::from_utf8_lossy(line).into_owned());
                forms.extend(lines.filter(|line| line.len() >= SHORTEST_INSIDE));
            }
            forms.push(encoded);
        }
    }
    forms.extend([STANDARD_NO_PAD, URL_SAFE_NO_PAD].iter().flat_map(|base64| insides(secret, base64)));
    let percent_encoded = utf8_percent_encode(secret, &RESERVED).to_string();
    forms.push(percent_encoded.replace("%20", "+"));
    forms.push(with_lower_case_escapes(&percent_encoded));
    forms.push(percent_encoded);
    forms
}

/// Returns the characters that every base64 form of a text with the secret contains, for each number of bytes that may
/// precede the secret in the text's groups of three. A character encodes six bits, so the characters at the secret's
/// ends that also encode bits of its neighbors are left out.
fn insides<'a>(secret: &'a str, base64: &'a impl Engine) -> impl Iterator<Item = String> + 'a {
    let inside = move |before: usize| {
        let encoded = base64.encode([&b"\0\0"[..before], secret.as_bytes()].concat());
        let (start, end) = ((before * 8).div_ceil(6), (before + secret.len()) * 8 / 6);
        encoded[start..end].to_owned()
    };
    (0..3).map(inside).filter(|inside| inside.len() >= SHORTEST_INSIDE)
}

fn with_lower_case_escapes(percent_encoded: &str) -> String {
    let mut escapes = percent_encoded.split('%');
    let mut text = escapes.next().unwrap_or_default().to_owned();
    for escape in escapes {
        let (digits, rest) = escape.split_at(2);
        text.push('%');
        text.push_str(&digits.to_ascii_lowercase());
        text.push_str(rest);
    }
    text
}

#[cfg(test)]
mod tests {
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
    fn base64_that_is_broken_into_lines_is_known() {
        let secret = "0123456789".repeat(20);
        let redaction = Redaction::new([secret.as_str()]);
        for length in BASE64_LINES {
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
        assert_eq!(redaction.redact("secret-longer-still"), "***-still");
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
        assert_eq!(redaction.longest(), 12, "c2VjcmV0Cg== is the longest form");
        for (at, found) in [(3, None), (4, None), (5, Some(4..10)), (9, Some(4..10)), (10, None), (13, None)] {
            assert_eq!(redaction.across(text, at), found, "at {at}");
        }
    }
}
