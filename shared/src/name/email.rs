//! Email addresses.

name! {
    /// An email address. Addresses that differ only in case are equal.
    Email: 3 to 254 characters,
    pattern "^[^@\\s\\x00-\\x1f\\x7f-\\x9f]+@[^@\\s\\x00-\\x1f\\x7f-\\x9f]+$",
    example "ada@example.com",
    else InvalidEmail "must be an email address of at most 254 characters",
    |text| {
        let is_one = match text.split_once('@') {
            Some((local, domain)) => !local.is_empty() && !domain.is_empty() && !domain.contains('@'),
            None => false,
        };
        let is_clean = !text.chars().any(|char| char.is_whitespace() || char.is_control());
        // RFC 3696, erratum 1690, counts bytes.
        is_one && is_clean && text.len() <= 254
    }
}

impl Email {
    /// Returns the form that is unique in an account.
    pub(crate) fn folded(&self) -> String {
        self.0.to_lowercase()
    }
}

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
