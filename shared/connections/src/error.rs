//! Failures to open a repository.

use git::{InvalidCloneUrl, Passing, capitalized};
use http::uri::InvalidUri;
use shared::id::ConnectionId;
use shared::model::{Connection, DisplayName, GitHost};
use shared::table::TableError;
use shared::{Error, ErrorCode};
use vault::VaultError;

use crate::question::AskFailed;

/// The reason why a repository could not be opened. The message is meant for API clients.
#[derive(Debug, thiserror::Error)]
pub enum OpenFailed {
    /// The clone URL is malformed or not allowed.
    #[error("clone_url {0}")]
    InvalidUrl(#[from] InvalidCloneUrl),
    /// The account has no such connection.
    #[error("the connection {0} does not exist any more")]
    Gone(ConnectionId),
    /// The connection is for another host, which this is.
    #[error("the connection is for {0}, the only host that its credential is sent to")]
    OtherHost(GitHost),
    /// The connection's host can't be part of a URL.
    #[error("the connection's host is malformed")]
    Host(#[source] InvalidUri),
    /// The URL would send the credential without TLS.
    #[error("the connection's credential is sent by https only")]
    Insecure,
    /// The clone URL is not one of GitHub's, so no installation can be found.
    #[error("the connection is a GitHub App, and clone_url has not the form https://host/owner/repository")]
    NotOfGithub,
    /// The connection of this name is a GitHub App that can't be used.
    #[error("the connection '{0}' can't be used: {1}")]
    Asked(DisplayName, #[source] AskFailed),
    /// The vault could not open the secret.
    #[error("the connection's credential can't be decrypted at the moment")]
    Vault(#[from] VaultError),
    /// The row could not be read.
    #[error("the connection can't be read at the moment")]
    Table(#[from] TableError),
}

impl OpenFailed {
    /// Returns whether the failure is one of the infrastructure, which another attempt may not meet.
    pub fn is_temporary(&self) -> bool {
        matches!(self, Self::Vault(_) | Self::Table(_))
    }

    /// Returns the error for a body with `clone_url` and `connection_id`.
    pub fn in_body(self) -> Error {
        match self {
            Self::InvalidUrl(invalid) => git::invalid_field(invalid),
            Self::Gone(_) => Connection::unknown(),
            Self::OtherHost(host) => Error::invalid(
                "connection_id",
                format!("must be the ID of a connection to the host of clone_url; this one is for {host}"),
            ),
            Self::Insecure => Error::invalid("clone_url", "must start with https:// to be read with a connection"),
            other => {
                let message = other.to_string();
                other.into_error(message, |error, text| error.with_detail("connection_id", text))
            }
        }
    }

    /// Returns the error for a registered repository. Its message names the URL, which is not in the request.
    pub fn of_repository(self, clone_url: &str) -> Error {
        let message = match &self {
            Self::InvalidUrl(invalid) => format!("Can't read {clone_url}: the repository's clone_url {invalid}"),
            other => format!("Can't read {clone_url}: {other}"),
        };
        self.into_error(message, |error, _| error)
    }

    fn into_error(self, message: String, detailed: impl FnOnce(Error, String) -> Error) -> Error {
        match self {
            Self::Vault(error) => {
                let unavailable = "The connection's credential can't be decrypted at the moment; try again";
                Error::new(ErrorCode::ServiceUnavailable, unavailable).because(error)
            }
            Self::Table(error) => error.into(),
            Self::Host(error) => Error::internal(error),
            Self::Asked(_, AskFailed::Host(error)) => git::refused(error, capitalized(message)),
            Self::Asked(_, ref error) if error.is_of_host() => {
                let unavailable = Error::new(ErrorCode::RemoteUnavailable, capitalized(message));
                match error.retry_after() {
                    Some(wait) => unavailable.retry_after(wait.as_secs().max(1)).because(self),
                    None => unavailable.because(self),
                }
            }
            other => {
                let text = other.to_string();
                let error = Error::new(ErrorCode::InvalidCloneUrl, capitalized(message)).because(other);
                detailed(error, text)
            }
        }
    }
}
