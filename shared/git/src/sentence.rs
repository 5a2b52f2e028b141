//! The words of a server that its client passes on.

use shared::name::shown;

/// The maximum length of a sentence, in characters.
const MAX_LENGTH: usize = 200;

/// The text in place of a secret.
const REDACTED: &str = "***";

/// Returns a server's words as one short line of characters that can be seen, without these secrets.
pub(crate) fn sentence(words: &[u8], secrets: &[String]) -> String {
    let mut words = String::from_utf8_lossy(words).into_owned();
    for secret in secrets.iter().filter(|secret| !secret.is_empty()) {
        words = words.replace(secret, REDACTED);
    }
    let line: Vec<_> = words.split(|char: char| char.is_whitespace() || char.is_control()).collect();
    let line = line.into_iter().filter(|word| !word.is_empty()).collect::<Vec<_>>().join(" ");
    shown(&line, MAX_LENGTH)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sentence_is_one_short_line_that_can_be_seen() {
        assert_eq!(sentence(b" access\r\n  denied\x1b[31m: \0 /app\t\n", &[]), "access denied [31m: /app");
        assert_eq!(sentence("a\u{202e}b\u{200b}".as_bytes(), &[]), "a\u{fffd}b\u{fffd}");
        assert_eq!(sentence(b"\xff", &[]), "\u{fffd}");
        let long = sentence(&b"x".repeat(10_000), &[]);
        assert_eq!((long.chars().count(), long.ends_with("x…")), (MAX_LENGTH, true));
    }

    #[test]
    fn a_sentence_repeats_no_secret() {
        let secrets = ["s3cret", "YWRhOnMzY3JldA==", ""].map(str::to_owned);
        let words = b"no access for ada:s3cret (YWRhOnMzY3JldA==)";
        assert_eq!(sentence(words, &secrets), "no access for ada:*** (***)");
        let cut = format!("{}s3cret", "x".repeat(MAX_LENGTH - 3));
        assert!(!sentence(cut.as_bytes(), &secrets).contains("s3"));
    }
}
