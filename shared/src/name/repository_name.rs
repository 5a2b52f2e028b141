//! Names of repositories.

use crate::id::RepositoryId;

name! {
    /// The name of a repository: 1 to 100 letters, digits, `.`, `_` and `-`. It must not start with a dot or with
    /// `repo_`. Names that differ only in case are equal.
    RepositoryName: 1 to 100 characters,
    pattern "^[A-Za-z0-9_-][A-Za-z0-9._-]*$",
    example "frontend-app",
    else InvalidName
        "must be 1 to 100 characters of A-Z, a-z, 0-9, '.', '_' and '-', and must not start with '.' or 'repo_'",
    |text| {
        let chars_are_fine = text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte));
        let reserved = text.starts_with('.') || text.to_ascii_lowercase().starts_with(RepositoryId::PREFIX);
        chars_are_fine && !reserved
    }
}

name! {
    /// The start of the names of repositories, regardless of case.
    RepositoryNamePrefix: 1 to 100 characters,
    pattern "^[A-Za-z0-9._-]+$",
    example "front",
    else InvalidNamePrefix
        "must be 1 to 100 characters of A-Z, a-z, 0-9, '.', '_' and '-'",
    |text| text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte))
}

impl RepositoryNamePrefix {
    pub(crate) fn folded(&self) -> String {
        self.0.to_ascii_lowercase()
    }

    /// Returns whether the name starts with the prefix.
    pub(crate) fn starts(&self, name: &RepositoryName) -> bool {
        name.folded().starts_with(&self.folded())
    }
}

impl RepositoryName {
    /// Returns the form that is unique in an account.
    pub(crate) fn folded(&self) -> String {
        self.0.to_ascii_lowercase()
    }
}
