//! Short names of accounts.

use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// The short name of an account, the first half of a repository's full name: 1 to 39 characters of a-z and 0-9, with
/// single hyphens between them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String")]
pub struct AccountSlug(String);

impl AccountSlug {
    /// Returns whether the text is this slug, ignoring case.
    pub fn is(&self, text: &str) -> bool {
        self.0.eq_ignore_ascii_case(text)
    }
}

/// The error for a text that is not an account's slug.
#[derive(Debug, thiserror::Error)]
#[error("must be 1 to 39 characters: a-z, 0-9, and single hyphens between them")]
pub struct InvalidSlug;

impl FromStr for AccountSlug {
    type Err = InvalidSlug;

    fn from_str(text: &str) -> Result<Self, InvalidSlug> {
        let words_are_fine = text.split('-').all(|word| {
            !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit())
        });
        if words_are_fine && text.len() <= 39 { Ok(Self(text.to_owned())) } else { Err(InvalidSlug) }
    }
}

string_conversions!(AccountSlug, InvalidSlug);
