//! Recognizes the shapes of well-known secrets.

/// A prefix, the characters that follow it, and their minimum number.
struct Shape {
    kind: &'static str,
    prefix: &'static str,
    allows: fn(u8) -> bool,
    length: usize,
}

const fn shape(kind: &'static str, prefix: &'static str, allows: fn(u8) -> bool, length: usize) -> Shape {
    Shape { kind, prefix, allows, length }
}

fn upper(byte: u8) -> bool {
    byte.is_ascii_uppercase() || byte.is_ascii_digit()
}

fn alphanumeric(byte: u8) -> bool {
    byte.is_ascii_alphanumeric()
}

fn word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_'
}

/// The shapes that the issuers document: AWS IAM "unique identifiers", GitHub "token formats", Stripe "API keys".
const SHAPES: [Shape; 11] = [
    shape("a token of this API", "dgp_", alphanumeric, 36),
    shape("an AWS access key", "AKIA", upper, 16),
    shape("an AWS access key", "ASIA", upper, 16),
    shape("a GitHub token", "ghp_", alphanumeric, 36),
    shape("a GitHub token", "gho_", alphanumeric, 36),
    shape("a GitHub token", "ghu_", alphanumeric, 36),
    shape("a GitHub token", "ghs_", alphanumeric, 36),
    shape("a GitHub token", "ghr_", alphanumeric, 36),
    shape("a GitHub token", "github_pat_", word, 22),
    shape("a Stripe key", "sk_live_", alphanumeric, 16),
    shape("a Stripe key", "rk_live_", alphanumeric, 16),
];

/// Returns the kind of secret that a text contains, if any: the noun for it with an article.
pub fn kind(text: &str) -> Option<&'static str> {
    let private_key = text.split_once("-----BEGIN ").is_some_and(|(_, rest)| {
        rest.lines().next().is_some_and(|label| label.trim_end().ends_with("PRIVATE KEY-----"))
    });
    if private_key {
        return Some("a private key");
    }
    let is_in = |shape: &&Shape| {
        text.match_indices(shape.prefix).any(|(at, prefix)| {
            let starts_a_word = !text[..at].bytes().next_back().is_some_and(word);
            let following = text[at + prefix.len()..].bytes().take_while(|byte| (shape.allows)(*byte)).count();
            starts_a_word && following >= shape.length
        })
    };
    SHAPES.iter().find(is_in).map(|shape| shape.kind)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn well_known_secrets_are_recognized() {
        let of = |prefix: &str, length: usize| format!("{prefix}{}", "A1".repeat(length)[..length].to_owned());
        for (text, found) in [
            (of("dgp_", 36), "a token of this API"),
            (of("AKIA", 16), "an AWS access key"),
            (of("key=ASIA", 16), "an AWS access key"),
            (of("https://x:ghp_", 36), "a GitHub token"),
            (of("github_pat_", 22), "a GitHub token"),
            (of("sk_live_", 24), "a Stripe key"),
            ("-----BEGIN RSA PRIVATE KEY-----\nMII\n".to_owned(), "a private key"),
            ("x\n-----BEGIN PRIVATE KEY-----\r\nMII".to_owned(), "a private key"),
        ] {
            assert_eq!(kind(&text), Some(found), "{text}");
        }
    }

    #[test]
    fn what_only_resembles_one_is_none() {
        let of = |prefix: &str, length: usize| format!("{prefix}{}", "A".repeat(length));
        for text in [
            of("dgp_", 35),
            of("AKIA", 15),
            of("SAKIA", 16),
            of("sk_test_", 24),
            of("ghp_", 35),
            "-----BEGIN PUBLIC KEY-----".to_owned(),
            "debug".to_owned(),
            String::new(),
        ] {
            assert_eq!(kind(&text), None, "{text}");
        }
    }
}
