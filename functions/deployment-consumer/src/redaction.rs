//! Keeps the values of a deployment's variables out of its log.

use std::borrow::Cow;

use aho_corasick::{AhoCorasick, AhoCorasickBuilder, MatchKind};
use base64::{
    Engine,
    engine::general_purpose::{STANDARD, STANDARD_NO_PAD, URL_SAFE, URL_SAFE_NO_PAD},
};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

const REDACTED: &str = "***";

/// Shorter values are left as they are: `1`, `dev` or `no` are in every log, so that replacing them would hide the log
/// and, by where it is full of asterisks, tell the value all the same.
const SHORTEST: usize = 4;

/// RFC 3986, section 2.3: the characters that are never percent-encoded.
const RESERVED: AsciiSet = NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// Replaces secret values in text that is looked at line by line.
///
/// Known are a value as it is, each line of a value of several lines, the base64 form (both alphabets, with and
/// without padding, as well as that of the value and a line end, which `echo "$VALUE" | base64` gives), and the
/// percent-encoded forms of URLs and of forms. It guards against accidents, not against a build that means to print
/// its variables: that can spell them in ways without number.
#[derive(Clone)]
pub struct Redaction {
    forms: AhoCorasick,
}

impl Redaction {
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

    /// The text with each secret in it replaced by `***`; of several that begin at one place, the longest.
    pub fn redact<'a>(&self, text: &'a str) -> Cow<'a, str> {
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

    /// The length in bytes of the longest form that is looked for.
    pub fn longest(&self) -> usize {
        self.forms.max_pattern_len()
    }

    /// The bounds of the secret that lies across the offset `at`, if one does. The text must reach
    /// [`longest`](Self::longest) bytes past `at`, unless that is all there is.
    pub fn across(&self, text: &[u8], at: usize) -> Option<std::ops::Range<usize>> {
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
            forms.push(base64.encode(plain));
        }
    }
    let percent_encoded = utf8_percent_encode(secret, &RESERVED).to_string();
    forms.push(percent_encoded.replace("%20", "+"));
    forms.push(percent_encoded);
    forms
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
