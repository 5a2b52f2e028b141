//! Names of tokens and applications.

name! {
    /// The display name of a token or an application: 1 to 100 characters, without control characters or surrounding
    /// spaces.
    DisplayName: 1 to 100 characters,
    pattern "^[^\\s\\x00-\\x1f\\x7f-\\x9f]([^\\x00-\\x1f\\x7f-\\x9f]*[^\\s\\x00-\\x1f\\x7f-\\x9f])?$",
    example "ci",
    else InvalidDisplayName "must be 1 to 100 characters, without control characters or surrounding spaces",
    |text| text.trim() == text && !text.chars().any(char::is_control)
}
