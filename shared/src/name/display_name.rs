//! Names of tokens, applications and trusts.

use super::find_unseen;

name! {
    /// The display name of a token, an application or a trust: 1 to 100 characters that can be seen, without surrounding spaces. It
    /// has no control, zero-width, bidirectional or private-use characters.
    DisplayName: 1 to 100 characters,
    pattern "^[^\\s\\x00-\\x1f\\x7f-\\x9f]([^\\x00-\\x1f\\x7f-\\x9f]*[^\\s\\x00-\\x1f\\x7f-\\x9f])?$",
    example "ci",
    else InvalidDisplayName
        "must be 1 to 100 characters, without surrounding spaces and without characters that can't be seen, such as \
         control and zero-width characters",
    |text| text.trim() == text && find_unseen(text).is_none()
}

name! {
    /// The start of display names, regardless of case.
    DisplayNamePrefix: 1 to 100 characters,
    example "ci",
    else InvalidDisplayNamePrefix
        "must be 1 to 100 characters",
    |_| true
}

impl DisplayNamePrefix {
    /// Returns whether the name starts with the prefix.
    pub fn starts(&self, name: &DisplayName) -> bool {
        name.0.to_lowercase().starts_with(&self.0.to_lowercase())
    }
}
