//! Failures of a remote repository.

use std::error::Error;
use std::fmt;
use std::io;
use std::time::Duration;

use http::StatusCode;

use crate::retry::Passing;

pub(crate) type Cause = Box<dyn Error + Send + Sync>;

/// The reason why a remote repository could not be used. The message is meant for API clients. Details that are not
/// are in the [`source`](Error::source).
#[derive(Debug, thiserror::Error)]
pub enum RemoteError {
    /// The name could not be looked up, or the connection or its TLS failed.
    #[error("the repository's server could not be reached")]
    Unreachable(#[source] Cause),
    /// The server answered with a 429 or 5xx, and may have asked to wait.
    #[error("the repository's server answered {0}")]
    Failed(StatusCode, Option<Duration>),
    /// The connection ended before the answer did.
    #[error("the connection to the repository's server was cut off")]
    Cut(#[source] Cause),
    /// DNS says that the host, or the target of a redirect, does not exist.
    #[error("the repository's host does not exist")]
    NoSuchHost,
    /// The host, or the target of a redirect, has an address that [`Hosts`](shared::hosts::Hosts) does not allow.
    #[error("the repository's host does not have a public address")]
    ForbiddenAddress,
    /// The repository does not exist, or asks for a credential although there is none (401, 403, 404).
    #[error("the repository does not exist, or is private and needs a connection (connection_id)")]
    NotARepository,
    /// The server refused the credential (401, 403), whose source it names.
    #[error(
        "the repository's server refused the credential of {0}; it may have expired, or may not read the repository"
    )]
    CredentialRefused(String),
    /// The server has no such repository for whoever has the credential (404), whose source it names.
    #[error("the repository does not exist, or {0} may not read it")]
    NotVisible(String),
    /// Nothing was pushed to the repository yet.
    #[error("the repository has no commit yet; push one first")]
    NoCommits,
    /// The repository has no such commit, or the SHA names another kind of object.
    #[error("the repository has no such commit")]
    NoSuchCommit,
    /// The ref of this name points to a tree or a blob.
    #[error("'{0}' names no commit, but a file or a folder")]
    NotACommit(String),
    /// The repository exceeds a limit: its unit and its value.
    #[error("the repository is too large: it may have at most {1} {0}")]
    TooLarge(&'static str, u64),
    /// The operation exceeded its time limit.
    #[error("the repository's server took too long to answer")]
    TimedOut,
    /// The host has not answered several look-ups in a row, and is left alone for this time.
    #[error("the repository's server has not answered lately, and is asked again in {} seconds", .0.as_secs() + 1)]
    Resting(Duration),
    /// Too many look-ups of the account are slow. Another slow one is waited for after this time.
    #[error("the repository's server is slow, and so are too many that the account has asked lately; ask again in {} seconds", .0.as_secs())]
    TooManySlow(Duration),
    /// Git refuses to check out a path of the tree, or two paths are one for the file system.
    #[error("the commit has a path that git does not check out: {0}")]
    UnsafePath(String),
    /// A submodule can't be fetched: its path, and the reason.
    #[error("submodule {0}: {1}")]
    Submodule(String, String, #[source] Option<Box<RemoteError>>),
    /// A file that Git LFS keeps can't be fetched.
    #[error("Git LFS: {0}")]
    Lfs(String),
    /// The server refused in its own words, which are cleaned.
    #[error("the repository's server says: {0}")]
    Refused(String),
    /// The server answered with a page for people.
    #[error("the URL leads to a web page and not to a git repository; it may be a page to sign in")]
    WebPage,
    /// The server offers the files of the repository and does not run git.
    #[error("the repository's server offers only files (dumb HTTP); it must support git's smart HTTP")]
    DumbHttp,
    /// The repository names its objects by another hash.
    #[error("the repository uses {0}; only repositories that use SHA-1 are supported")]
    ObjectFormat(String),
    /// The server redirected a request in a way that is not followed.
    #[error("the repository's server redirects {0}")]
    Redirect(&'static str),
    /// The server's response is invalid, or it lacks something that is needed.
    #[error("the repository's server sent an invalid response")]
    Protocol(#[source] Cause),
    /// This machine's disk failed.
    #[error("the source could not be stored")]
    Local(#[source] Cause),
}

impl Passing for RemoteError {
    fn may_pass(&self) -> bool {
        match self {
            Self::Failed(status, _) => matches!(
                *status,
                StatusCode::TOO_MANY_REQUESTS
                    | StatusCode::BAD_GATEWAY
                    | StatusCode::SERVICE_UNAVAILABLE
                    | StatusCode::GATEWAY_TIMEOUT
            ),
            Self::Cut(_) => true,
            _ => false,
        }
    }

    fn is_silence(&self) -> bool {
        matches!(self, Self::TimedOut | Self::Unreachable(_))
    }

    fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Failed(_, retry_after) => *retry_after,
            _ => None,
        }
    }
}

impl RemoteError {
    /// Returns the failure of a submodule. A failure of this machine, and the end of the time or of another limit, are no fault of
    /// the submodule.
    pub(crate) fn of_submodule(self, path: &dyn fmt::Display) -> Self {
        match self {
            Self::Local(_) | Self::TimedOut | Self::TooLarge(..) | Self::Submodule(..) => self,
            other => Self::Submodule(path.to_string(), other.to_string(), Some(Box::new(other))),
        }
    }
}

impl From<io::Error> for RemoteError {
    fn from(error: io::Error) -> Self {
        RemoteError::Local(error.into())
    }
}
