//! Email addresses.

name! {
    /// An email address, in ASCII: the domain of an international address is given in its `xn--` form. Addresses that differ
    /// only in the case of ASCII letters are equal.
    Email: 3 to 254 characters,
    pattern "^[A-Za-z0-9.!#$%&'*+/=?^_`{|}~-]+@[A-Za-z0-9-]+(\\.[A-Za-z0-9-]+)*$",
    example "ada@example.com",
    else InvalidEmail
        "must be an email address of at most 254 ASCII characters; give an international domain in its 'xn--' form",
    |text| {
        let Some((local, domain)) = text.split_once('@') else { return false };
        // RFC 5321 lets only the domain fold, and says that hosts should not depend on the case before the '@'. Other
        // letters than ASCII's fold differently at each host, so they could make two mailboxes one.
        let is_local = |byte: u8| byte.is_ascii_alphanumeric() || b".!#$%&'*+/=?^_`{|}~-".contains(&byte);
        let is_label = |label: &str| {
            !label.is_empty() && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
        };
        !local.is_empty() && local.bytes().all(is_local) && domain.split('.').all(is_label)
    }
}

name! {
    /// The start of email addresses, regardless of case.
    EmailPrefix: 1 to 254 characters,
    pattern "^[A-Za-z0-9.!#$%&'*+/=?^_`{|}~@-]+$",
    example "ada@",
    else InvalidEmailPrefix
        "must be 1 to 254 characters that an email address can have",
    |text| text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b".!#$%&'*+/=?^_`{|}~@-".contains(&byte))
}

impl EmailPrefix {
    /// Returns whether the address starts with the prefix.
    pub fn starts(&self, email: &Email) -> bool {
        email.folded().starts_with(&self.0.to_ascii_lowercase())
    }
}

impl Email {
    /// Returns the form that is unique in an account.
    pub(crate) fn folded(&self) -> String {
        self.0.to_ascii_lowercase()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn malformed_addresses_are_rejected() {
        for text in ["a@b", "Ada.Lovelace+x@example.com", "o'hara@example.com", "ada@xn--r8jz45g.jp", "a.@b-c.example"]
        {
            assert!(text.parse::<Email>().is_ok(), "{text}");
        }
        let long = format!("{}@example.com", "a".repeat(243));
        for text in
            ["", "@", "a@", "@b", "a", "a@b@c", "a b@c", "a@b\n", "a@b..c", "a@b.", "a@[127.0.0.1]", "a@b_c", &long]
        {
            assert!(text.parse::<Email>().is_err(), "{text}");
        }
    }

    #[test]
    fn addresses_that_can_be_taken_for_others_are_rejected() {
        for text in [
            "ü@example.com",
            "ada@例え.jp",
            "a\u{430}a@example.com",
            "ada\u{200b}@example.com",
            "ada@example\u{ad}.com",
            "\u{202e}ada@example.com",
            "ada@example\u{3002}com",
            "\"ada\"@example.com",
        ] {
            assert!(text.parse::<Email>().is_err(), "{text}");
        }
    }

    #[test]
    fn only_ascii_letters_fold() {
        let folded = |text: &str| text.parse::<Email>().map(|email| email.folded()).ok();
        assert_eq!(folded("Ada@Example.COM"), folded("ada@example.com"));
        // Unicode folds these to k and to i with a dot.
        assert_eq!((folded("\u{212a}ate@example.com"), folded("\u{130}da@example.com")), (None, None));
    }
}
