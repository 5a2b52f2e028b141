//! Names of teams.

use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// The name of a team: 1 to 100 characters of letters, digits, `.`, `_`, `-` and single spaces inside. Two names that
/// differ only in case are equal.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(try_from = "String")]
#[schema(value_type = String, pattern = "^[A-Za-z0-9._-]+( [A-Za-z0-9._-]+)*$", examples("Platform"))]
pub struct TeamName(String);

#[derive(Debug, thiserror::Error)]
#[error("must be 1 to 100 characters of A-Z, a-z, 0-9, '.', '_', '-' and single spaces inside")]
pub struct InvalidTeamName;

impl TeamName {
    /// Returns the form that is unique in an account.
    pub(crate) fn folded(&self) -> String {
        self.0.to_ascii_lowercase()
    }
}

impl FromStr for TeamName {
    type Err = InvalidTeamName;

    fn from_str(text: &str) -> Result<Self, InvalidTeamName> {
        let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
        let words_are_fine = text.split(' ').all(|word| !word.is_empty() && word.bytes().all(fits));
        if words_are_fine && text.len() <= 100 { Ok(Self(text.to_owned())) } else { Err(InvalidTeamName) }
    }
}

string_conversions!(TeamName, InvalidTeamName);
