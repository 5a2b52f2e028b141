//! Names of teams.

name! {
    /// The name of a team: 1 to 100 letters, digits, `.`, `_` and `-`, with single spaces between them. Names that
    /// differ only in case are equal.
    TeamName: 1 to 100 characters,
    pattern "^[A-Za-z0-9._-]+( [A-Za-z0-9._-]+)*$",
    example "Platform",
    else InvalidTeamName "must be 1 to 100 characters: A-Z, a-z, 0-9, '.', '_', '-', and single spaces between them",
    |text| {
        let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
        text.split(' ').all(|word| !word.is_empty() && word.bytes().all(fits))
    }
}

impl TeamName {
    /// Returns the form that is unique in an account.
    pub(crate) fn folded(&self) -> String {
        self.0.to_ascii_lowercase()
    }
}
