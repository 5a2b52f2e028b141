//! The passwords of connections.

use std::str::FromStr;

use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;

const MAX_CHARS: usize = 4096;

/// The password or token of a credential for a git server: 1 to 4,096 characters without control characters.
#[derive(Clone, Debug, Deserialize, utoipa::ToSchema)]
#[serde(try_from = "String")]
#[schema(value_type = String, min_length = 1, max_length = 4096, pattern = "^[^\\x00-\\x1f\\x7f-\\x9f]+$")]
pub struct GitPassword(SecretString);

/// The error for a text that can't be a password.
#[derive(Debug, thiserror::Error)]
#[error("must be 1 to {MAX_CHARS} characters, without control characters such as line breaks")]
pub struct InvalidGitPassword;

impl GitPassword {
    /// Returns the password itself.
    pub fn reveal(&self) -> &str {
        self.0.expose_secret()
    }
}

impl FromStr for GitPassword {
    type Err = InvalidGitPassword;

    fn from_str(text: &str) -> Result<Self, InvalidGitPassword> {
        let fits = (1..=MAX_CHARS).contains(&text.chars().count());
        if fits && !text.contains(char::is_control) { Ok(Self(text.into())) } else { Err(InvalidGitPassword) }
    }
}

impl TryFrom<String> for GitPassword {
    type Error = InvalidGitPassword;

    fn try_from(text: String) -> Result<Self, InvalidGitPassword> {
        text.parse()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_has_no_control_characters_and_is_not_shown() {
        for text in ["", "a\nb", "token\n", "a\0b", &"a".repeat(MAX_CHARS + 1)] {
            assert!(text.parse::<GitPassword>().is_err(), "{text:?}");
        }
        for text in ["hunter2", "pass word: ü", &"a".repeat(MAX_CHARS)] {
            let password: GitPassword = text.parse().unwrap();
            assert_eq!(password.reveal(), text);
            assert!(!format!("{password:?}").contains(text));
        }
    }
}
