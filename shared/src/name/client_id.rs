//! Identifiers of OAuth2 clients.

use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// An OAuth2 client's identifier: 1 to 128 characters of A-Z, a-z, 0-9, `.`, `_`, `~` and `-`. None of them needs
/// encoding in a path.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(try_from = "String")]
#[schema(value_type = String, examples("7l8q2n3c4v5b6m7k8j9h0g1f2d"))]
pub struct ClientId(String);

#[derive(Debug, thiserror::Error)]
#[error("must be 1 to 128 characters of A-Z, a-z, 0-9, '.', '_', '~' and '-'")]
pub struct InvalidClientId;

impl ClientId {
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for ClientId {
    type Err = InvalidClientId;

    fn from_str(text: &str) -> Result<Self, InvalidClientId> {
        let chars_are_fine = text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._~-".contains(&byte));
        if (1..=128).contains(&text.len()) && chars_are_fine { Ok(Self(text.to_owned())) } else { Err(InvalidClientId) }
    }
}

string_conversions!(ClientId, InvalidClientId);
