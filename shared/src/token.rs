//! Tokens of this API and secrets of sessions: the prefix of their kind, 30 random base62 characters (178 bits) and a CRC32 of
//! all that in 6 base62 characters. Personal access tokens start with `dgp_`, tokens that trusts issue with `dgt_`, and secrets
//! of sessions with `dgs_`.
//!
//! The checksum lets the API refuse a mistyped or made-up secret without reading the database. The fixed prefix lets
//! secret scanners find leaked secrets. The table stores only the SHA-256.

use std::fmt;
use std::str::FromStr;

use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

/// The prefix of every personal access token.
pub const PREFIX: &str = "dgp_";
/// The prefix of the secret of every session.
pub const SESSION_PREFIX: &str = "dgs_";
/// The prefix of every token that a trust issues.
pub const EXCHANGED_PREFIX: &str = "dgt_";
const RANDOM_CHARS: usize = 30;
const CHECKSUM_CHARS: usize = 6;
const BASE62: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

/// The secret of a token. `Debug` does not show it.
#[derive(Clone, Debug)]
pub struct TokenSecret(SecretString);

/// The error for a text that is not a well-formed token.
#[derive(Debug, thiserror::Error)]
#[error("not a token: the form or the checksum is wrong")]
pub struct MalformedToken;

impl TokenSecret {
    /// Returns the secret of a new personal access token.
    pub fn random() -> Self {
        Self(random(PREFIX).into())
    }

    /// Returns the secret of a new token of a trust.
    pub fn exchanged() -> Self {
        Self(random(EXCHANGED_PREFIX).into())
    }

    /// Returns whether a trust issued the token.
    pub(crate) fn is_exchanged(&self) -> bool {
        self.reveal().starts_with(EXCHANGED_PREFIX)
    }

    /// Returns the hash of the token, the only form that is stored.
    pub fn hash(&self) -> TokenHash {
        TokenHash::of(self.reveal())
    }

    /// Returns the secret itself, to be shown once to its owner.
    pub fn reveal(&self) -> &str {
        self.0.expose_secret()
    }

    /// Returns the last four characters, which lists show so that users can tell tokens apart.
    pub fn last_four(&self) -> &str {
        &self.reveal()[self.reveal().len() - 4..]
    }
}

impl FromStr for TokenSecret {
    type Err = MalformedToken;

    fn from_str(text: &str) -> Result<Self, MalformedToken> {
        check(PREFIX, text).or_else(|_| check(EXCHANGED_PREFIX, text))?;
        Ok(Self(text.into()))
    }
}

/// The secret of a session, which only the session's cookie has. `Debug` does not show it.
#[derive(Clone, Debug)]
pub struct SessionSecret(SecretString);

impl SessionSecret {
    /// Returns a new secret from random bits, with its checksum.
    pub fn random() -> Self {
        Self(random(SESSION_PREFIX).into())
    }

    /// Returns the hash of the secret, the only form that is stored.
    pub fn hash(&self) -> TokenHash {
        TokenHash::of(self.reveal())
    }

    /// Returns the secret itself, for the cookie.
    pub fn reveal(&self) -> &str {
        self.0.expose_secret()
    }
}

impl FromStr for SessionSecret {
    type Err = MalformedToken;

    fn from_str(text: &str) -> Result<Self, MalformedToken> {
        check(SESSION_PREFIX, text)?;
        Ok(Self(text.into()))
    }
}

/// Returns a new secret with the prefix and its checksum.
fn random(prefix: &str) -> String {
    let length = prefix.len() + RANDOM_CHARS;
    let mut secret = String::with_capacity(length + CHECKSUM_CHARS);
    secret.push_str(prefix);
    while secret.len() < length {
        let mut bytes = [0u8; RANDOM_CHARS];
        getrandom::fill(&mut bytes).expect("the operating system gives random bytes");
        // Only the first 248 of 256 values spread evenly over 62 characters.
        let chars = bytes.iter().filter(|byte| **byte < 248).map(|byte| char::from(BASE62[usize::from(byte % 62)]));
        secret.extend(chars.take(length - secret.len()));
    }
    secret.push_str(&checksum(&secret));
    secret
}

/// Refuses a text that is not the prefix, random characters and their checksum.
fn check(prefix: &str, text: &str) -> Result<(), MalformedToken> {
    let body = text.strip_prefix(prefix).ok_or(MalformedToken)?;
    if body.len() != RANDOM_CHARS + CHECKSUM_CHARS || !body.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
        return Err(MalformedToken);
    }
    let (covered, sum) = text.split_at(text.len() - CHECKSUM_CHARS);
    if checksum(covered) == sum { Ok(()) } else { Err(MalformedToken) }
}

/// The SHA-256 of a token or of a session's secret. It is hexadecimal in the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct TokenHash([u8; 32]);

impl TokenHash {
    pub(crate) fn of(token: &str) -> Self {
        Self(Sha256::digest(token.as_bytes()).into())
    }
}

impl fmt::Display for TokenHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl From<TokenHash> for String {
    fn from(hash: TokenHash) -> String {
        hash.to_string()
    }
}

impl TryFrom<String> for TokenHash {
    type Error = MalformedToken;

    fn try_from(text: String) -> Result<Self, MalformedToken> {
        let mut hash = [0; 32];
        if text.len() != 64 {
            return Err(MalformedToken);
        }
        for (at, byte) in hash.iter_mut().enumerate() {
            let digits = text.get(2 * at..2 * at + 2).ok_or(MalformedToken)?;
            *byte = u8::from_str_radix(digits, 16).map_err(|_| MalformedToken)?;
        }
        Ok(Self(hash))
    }
}

fn checksum(covered: &str) -> String {
    let mut rest = crc32fast::hash(covered.as_bytes());
    let mut chars = [b'0'; CHECKSUM_CHARS];
    for char in chars.iter_mut().rev() {
        *char = BASE62[(rest % 62) as usize];
        rest /= 62;
    }
    chars.iter().map(|byte| char::from(*byte)).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_token_parses_and_keeps_its_hash_and_its_kind() {
        for (token, is_exchanged) in [(TokenSecret::random(), false), (TokenSecret::exchanged(), true)] {
            let parsed: TokenSecret = token.reveal().parse().unwrap();
            assert_eq!((parsed.hash(), parsed.is_exchanged()), (token.hash(), is_exchanged));
            assert_eq!(token.reveal().len(), 40);
            assert!(!format!("{token:?}").contains(token.reveal()));
        }
    }

    #[test]
    fn a_token_of_one_kind_can_not_pass_for_one_of_the_other() {
        for (token, other) in [(TokenSecret::random(), EXCHANGED_PREFIX), (TokenSecret::exchanged(), PREFIX)] {
            let disguised = format!("{other}{}", &token.reveal()[4..]);
            assert!(disguised.parse::<TokenSecret>().is_err());
        }
    }

    #[test]
    fn the_checksum_is_stable() {
        // The format must stay the same, because issued tokens must stay valid: CRC32 (IEEE) of "dgp_" and thirty
        // zeros, in base62.
        assert_eq!(checksum("dgp_000000000000000000000000000000"), "3A6u5b");
    }

    #[test]
    fn the_secret_of_a_session_is_no_token_and_a_token_is_none_of_a_session() {
        let (token, session) = (TokenSecret::random(), SessionSecret::random());
        let parsed: SessionSecret = session.reveal().parse().unwrap();
        assert_eq!(parsed.hash(), session.hash());
        assert!(!format!("{session:?}").contains(session.reveal()));
        assert!(session.reveal().parse::<TokenSecret>().is_err() && token.reveal().parse::<SessionSecret>().is_err());
        // The checksum covers the prefix.
        assert!(token.reveal().replace(PREFIX, SESSION_PREFIX).parse::<SessionSecret>().is_err());
    }

    proptest! {
        #[test]
        fn any_text_is_parsed_or_refused(text in "\\PC*") {
            prop_assert!(text.parse::<TokenSecret>().is_err());
        }

        #[test]
        fn one_wrong_character_is_refused(position in 4usize..40, replacement in "[0-9A-Za-z]") {
            let token = TokenSecret::random();
            let mut text = token.reveal().to_owned();
            text.replace_range(position..=position, &replacement);
            prop_assert_eq!(text.parse::<TokenSecret>().is_ok(), text == token.reveal());
        }
    }
}
