//! The values of variables.

use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use shared::model::MAX_STORED_BYTES;

/// The value of a variable: text of at most 64 KiB without a NUL character, which no variable of a process can have.
#[derive(Clone, Debug, Deserialize, utoipa::ToSchema)]
#[serde(try_from = "String")]
#[schema(
    value_type = String,
    max_length = 65536,
    pattern = "^[^\\x00]*$",
    examples("https://api.acme.example")
)]
pub struct VariableValue(SecretString);

impl VariableValue {
    /// Returns the value itself.
    pub fn reveal(&self) -> &str {
        self.0.expose_secret()
    }
}

impl TryFrom<String> for VariableValue {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        if text.contains('\0') {
            return Err("must not have a NUL character".to_owned());
        }
        if text.len() > MAX_STORED_BYTES {
            return Err(format!("must have at most {MAX_STORED_BYTES} bytes"));
        }
        Ok(Self(text.into()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_bounded_and_is_not_shown() {
        let value = |text: &str| VariableValue::try_from(text.to_owned());
        for text in ["a\0b", &"a".repeat(MAX_STORED_BYTES + 1)] {
            assert!(value(text).is_err());
        }
        for text in ["", "two\nlines", "ü", &"a".repeat(MAX_STORED_BYTES)] {
            let value = value(text).unwrap();
            assert_eq!(value.reveal(), text);
            assert!(text.is_empty() || !format!("{value:?}").contains(text));
        }
    }
}
