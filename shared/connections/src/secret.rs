//! The secrets of connections.

use providers::AppKey;
use secrecy::SecretString;
use shared::model::Login;

/// The secret of a connection.
#[derive(Debug)]
pub enum Secret {
    /// The password or token of a `basic` connection.
    Password(SecretString),
    /// The private key of a GitHub App.
    AppKey(AppKey),
}

impl Secret {
    /// Reads a secret of the kind that belongs to the login. Returns `None` if it is no such secret.
    pub(crate) fn read(login: &Login, bytes: Vec<u8>) -> Option<Self> {
        let text = String::from_utf8(bytes).ok()?;
        match login {
            Login::Basic { .. } => Some(Self::Password(text.into())),
            Login::GithubApp { .. } => text.parse().ok().map(Self::AppKey),
        }
    }
}
