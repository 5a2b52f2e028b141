//! Identifiers of OAuth2 clients.

name! {
    /// An OAuth2 client's identifier: 1 to 128 characters of A-Z, a-z, 0-9, `.`, `_`, `~` and `-`, none of which need
    /// encoding in a path.
    ClientId: 1 to 128 characters,
    pattern "^[A-Za-z0-9._~-]+$",
    example "7l8q2n3c4v5b6m7k8j9h0g1f2d",
    else InvalidClientId "must be 1 to 128 characters of A-Z, a-z, 0-9, '.', '_', '~' and '-'",
    |text| text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._~-".contains(&byte))
}

impl ClientId {
    /// Returns the identifier as the issuer's tokens have it in `client_id`.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}
