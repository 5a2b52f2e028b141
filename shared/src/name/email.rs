//! Email addresses.

use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// An email address. Two addresses that differ only in case are equal.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(try_from = "String")]
#[schema(value_type = String, examples("ada@example.com"))]
pub struct Email(String);

#[derive(Debug, thiserror::Error)]
#[error("must be an email address of at most 254 characters")]
pub struct InvalidEmail;

impl Email {
    /// Returns the form that is unique in an account.
    pub(crate) fn folded(&self) -> String {
        self.0.to_lowercase()
    }
}

impl FromStr for Email {
    type Err = InvalidEmail;

    fn from_str(text: &str) -> Result<Self, InvalidEmail> {
        let is_one = match text.split_once('@') {
            Some((local, domain)) => !local.is_empty() && !domain.is_empty() && !domain.contains('@'),
            None => false,
        };
        let is_clean = !text.chars().any(|char| char.is_whitespace() || char.is_control());
        // RFC 3696, erratum 1690.
        if is_one && is_clean && text.len() <= 254 { Ok(Self(text.to_owned())) } else { Err(InvalidEmail) }
    }
}

string_conversions!(Email, InvalidEmail);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn malformed_addresses_are_rejected() {
        for text in ["a@b", "Ada.Lovelace+x@example.com", "ü@例え.jp"] {
            assert!(text.parse::<Email>().is_ok(), "{text}");
        }
        let long = format!("{}@example.com", "a".repeat(243));
        for text in ["", "@", "a@", "@b", "a", "a@b@c", "a b@c", "a@b\n", &long] {
            assert!(text.parse::<Email>().is_err(), "{text}");
        }
    }
}
