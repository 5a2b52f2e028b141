//! The user names with which git servers know somebody.

use super::find_unseen;

name! {
    /// The user name of a credential for a git server: 1 to 255 characters that can be seen, without a colon.
    GitUsername: 1 to 255 characters,
    pattern "^[^:\\x00-\\x1f\\x7f-\\x9f]+$",
    example "deploy-bot",
    else InvalidGitUsername
        "must be 1 to 255 characters, without a colon and without characters that can't be seen, such as control characters",
    |text| !text.contains(':') && find_unseen(text).is_none()
}

impl GitUsername {
    /// Returns the user name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}
