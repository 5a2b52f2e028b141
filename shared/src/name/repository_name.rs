//! Names of repositories.

use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::id::RepositoryId;

/// The name of a repository: 1 to 100 characters of letters, digits, `.`, `_` and `-`. It does not start with a dot and
/// does not look like an id. Two names that differ only in case are equal.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(try_from = "String")]
#[schema(value_type = String, pattern = "^[A-Za-z0-9_-][A-Za-z0-9._-]{0,99}$", examples("frontend-app"))]
pub struct RepositoryName(String);

#[derive(Debug, thiserror::Error)]
#[error("must be 1 to 100 characters of A-Z, a-z, 0-9, '.', '_' and '-', and must not start with '.' or 'repo_'")]
pub struct InvalidName;

impl RepositoryName {
    /// Returns the form that is unique in an account.
    pub(crate) fn folded(&self) -> String {
        self.0.to_ascii_lowercase()
    }
}

impl FromStr for RepositoryName {
    type Err = InvalidName;

    fn from_str(text: &str) -> Result<Self, InvalidName> {
        let chars_are_fine = text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte));
        let reserved = text.starts_with('.') || text.to_ascii_lowercase().starts_with(RepositoryId::PREFIX);
        if (1..=100).contains(&text.len()) && chars_are_fine && !reserved {
            Ok(Self(text.to_owned()))
        } else {
            Err(InvalidName)
        }
    }
}

string_conversions!(RepositoryName, InvalidName);
