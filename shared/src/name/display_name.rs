//! Names of tokens and applications.

use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// The display name of a token or an application: 1 to 100 characters, without control characters and surrounding
/// spaces.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(try_from = "String")]
#[schema(value_type = String, examples("ci"))]
pub struct DisplayName(String);

#[derive(Debug, thiserror::Error)]
#[error("must be 1 to 100 characters without control characters and without spaces around them")]
pub struct InvalidDisplayName;

impl FromStr for DisplayName {
    type Err = InvalidDisplayName;

    fn from_str(text: &str) -> Result<Self, InvalidDisplayName> {
        let fits = (1..=100).contains(&text.chars().count()) && text.trim() == text;
        if fits && !text.chars().any(char::is_control) { Ok(Self(text.to_owned())) } else { Err(InvalidDisplayName) }
    }
}

string_conversions!(DisplayName, InvalidDisplayName);
