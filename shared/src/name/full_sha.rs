//! The full SHAs of commits.

name! {
    /// The full SHA of a commit, in lower case.
    FullSha: 40 to 64 characters,
    pattern "^([0-9a-f]{40}|[0-9a-f]{64})$",
    example "3f786850e387550fdab836ed7e6dc881de23001b",
    else InvalidFullSha "must be the full SHA of a commit in lower case",
    |text| [40, 64].contains(&text.len()) && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

impl FullSha {
    /// Returns the digits.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sha_is_full_and_in_lower_case() {
        for digits in [40, 64] {
            assert!("a0".repeat(digits / 2).parse::<FullSha>().is_ok());
            assert!("A0".repeat(digits / 2).parse::<FullSha>().is_err());
            assert!("a".repeat(digits - 1).parse::<FullSha>().is_err());
        }
        for text in [String::new(), "main".to_owned(), "a".repeat(50), "é".repeat(40)] {
            assert!(text.parse::<FullSha>().is_err(), "{text}");
        }
    }
}
