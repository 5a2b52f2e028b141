//! Domains of email addresses.

use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// The domain of an email address: lower case, with a dot, without `@`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String")]
pub struct EmailDomain(String);

/// The error for a text that is not a domain in lower case.
#[derive(Debug, thiserror::Error)]
#[error("must be a domain in lower case, such as 'example.com'")]
pub struct InvalidDomain;

impl EmailDomain {
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for EmailDomain {
    type Err = InvalidDomain;

    fn from_str(text: &str) -> Result<Self, InvalidDomain> {
        let is_label = |label: &str| {
            let is_fine = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
            !label.is_empty() && label.bytes().all(is_fine)
        };
        let is_one = text.len() <= 253 && text.contains('.') && text.split('.').all(is_label);
        if is_one { Ok(Self(text.to_owned())) } else { Err(InvalidDomain) }
    }
}

string_conversions!(EmailDomain, InvalidDomain);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn malformed_domains_are_rejected() {
        for text in ["example.com", "mail.example.co.uk", "xn--r8jz45g.jp"] {
            assert!(text.parse::<EmailDomain>().is_ok(), "{text}");
        }
        for text in
            ["", "example", "Example.com", "@example.com", "a@example.com", "example..com", ".com", "example.com."]
        {
            assert!(text.parse::<EmailDomain>().is_err(), "{text}");
        }
    }
}
