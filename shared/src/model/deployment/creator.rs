//! The creators that lists of deployments are searched for.

use serde::Deserialize;

use crate::id::UserId;

/// `me`, or the ID of the creator.
#[derive(Clone, Debug, Deserialize, utoipa::ToSchema)]
#[serde(try_from = "String")]
#[schema(value_type = String, pattern = "^(me|user_[a-z2-7]{16})$", examples("me"))]
pub struct Creator(Option<UserId>);

impl Creator {
    /// Returns the ID of the creator for this caller.
    pub fn of(self, caller: &UserId) -> UserId {
        self.0.unwrap_or_else(|| caller.clone())
    }
}

impl TryFrom<String> for Creator {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, &'static str> {
        match text.as_str() {
            "me" => Ok(Self(None)),
            _ => text.parse().map(|id| Self(Some(id))).map_err(|_| "must be 'me' or the ID of a user"),
        }
    }
}
