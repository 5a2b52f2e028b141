//! Failures of a remote repository.

use std::error::Error;
use std::io;

pub(crate) type Cause = Box<dyn Error + Send + Sync>;

/// The reason why a remote repository could not be used. The message is meant for API clients. Details that are not,
/// such as a server's own messages, are in the [`source`](Error::source).
#[derive(Debug, thiserror::Error)]
pub enum RemoteError {
    /// The name could not be looked up, the connection or its TLS failed, or the server answered with a 429 or 5xx.
    #[error("the repository's server could not be reached")]
    Unreachable(#[source] Cause),
    /// DNS says that the host, or the target of a redirect, does not exist.
    #[error("the repository's host does not exist")]
    NoSuchHost,
    /// The host, or the target of a redirect, has an address that [`Hosts`](shared::hosts::Hosts) does not allow.
    #[error("the repository's host does not have a public address")]
    ForbiddenAddress,
    /// The repository does not exist, is not public (401, 403, 404), or is not served by smart HTTP.
    #[error("the repository does not exist or is not public")]
    NotARepository,
    /// The repository has no such commit, or the SHA names another kind of object.
    #[error("the repository has no such commit")]
    NoSuchCommit,
    /// The repository exceeds a limit: its unit and its value.
    #[error("the repository is too large: it may have at most {1} {0}")]
    TooLarge(&'static str, u64),
    /// The operation exceeded its time limit.
    #[error("the repository's server took too long to answer")]
    TimedOut,
    /// A path in the tree is not safe to create, or a symbolic link leads out of the tree.
    #[error("the commit has an unsafe path or symbolic link: {0}")]
    UnsafePath(String),
    /// The server does not support git's protocol version 2, or its response is invalid.
    #[error("the repository's server sent an invalid response")]
    Protocol(#[source] Cause),
    /// This machine's disk failed.
    #[error("the source could not be stored")]
    Local(#[source] Cause),
}

impl From<io::Error> for RemoteError {
    fn from(error: io::Error) -> Self {
        RemoteError::Local(error.into())
    }
}
