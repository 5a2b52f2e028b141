//! Descriptions of teams.

use serde::{Deserialize, Serialize};

/// The purpose of a team: at most 300 characters.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(try_from = "String")]
#[schema(value_type = String, examples("Builds and runs the shop"))]
pub struct Description(String);

#[derive(Debug, thiserror::Error)]
#[error("must have at most 300 characters")]
pub struct TooLong;

impl TryFrom<String> for Description {
    type Error = TooLong;

    fn try_from(text: String) -> Result<Self, TooLong> {
        if text.chars().count() <= 300 { Ok(Self(text)) } else { Err(TooLong) }
    }
}
