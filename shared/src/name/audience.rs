//! Audiences of the tokens that trusts accept.

name! {
    /// The audience that a token must have in `aud`: 1 to 256 printable ASCII characters without spaces.
    Audience: 1 to 256 characters,
    pattern "^[!-~]+$",
    example "https://api.git.dev",
    else InvalidAudience "must be 1 to 256 printable ASCII characters without spaces",
    |text| text.bytes().all(|byte| byte.is_ascii_graphic())
}

impl Audience {
    /// Returns the audience as in the claim `aud`.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}
