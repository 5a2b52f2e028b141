//! API errors for the failures of a remote, shared by the endpoints that read remotes.

use shared::{Error, ErrorCode};

use crate::clone_url::{CloneUrl, InvalidCloneUrl};
use crate::error::RemoteError;
use crate::refs::{DefaultBranch, HEAD};
use crate::remote::Remote;
use crate::revision::{InvalidRevision, Revision};

/// Returns the error for a revision that the repository does not have.
pub fn not_found(revision: &Revision) -> Error {
    let text = revision.to_string();
    let is_digits = text.bytes().all(|byte| byte.is_ascii_hexdigit());
    let name = text.strip_prefix("refs/").unwrap_or(&text);
    let message = if revision.sha().is_some() {
        format!("Commit '{text}' not found")
    } else if revision.is_head() {
        format!("The repository's {HEAD} names no commit; name a branch, a tag or a commit")
    } else if let Some(tag) = name.strip_prefix("tags/") {
        format!("Tag '{tag}' not found")
    } else if let Some(branch) = name.strip_prefix("heads/") {
        format!("Branch '{branch}' not found")
    } else if name != text {
        format!("Ref '{text}' not found")
    } else if is_digits && (7..40).contains(&text.len()) {
        format!("Branch '{text}' not found; to name a commit, send all 40 digits of its SHA")
    } else if is_digits && text.len() == 64 {
        format!("Branch '{text}' not found; a commit of SHA-256 can't be named, because only SHA-1 is supported")
    } else {
        format!("Branch '{text}' not found")
    };
    Error::new(ErrorCode::InvalidRef, message)
}

/// Chooses the repository's default branch: the wanted one, or else the one that the remote's HEAD names.
///
/// # Errors
/// Fails with `invalid_ref` if the branch does not exist, with `invalid_clone_url` if HEAD names none, or with the error that
/// `unreadable` makes if the remote can't be read.
pub async fn default_branch(
    remote: &Remote,
    wanted: Option<String>,
    unreadable: impl FnOnce(RemoteError) -> Error,
) -> Result<String, Error> {
    let invalid = |error: InvalidRevision| Error::invalid("default_branch", error.to_string());
    let branch = |name: &str| Revision::parse(&format!("refs/heads/{name}")).map_err(invalid);
    if let Some(wanted) = &wanted {
        branch(wanted)?;
    }
    match remote.default_branch(wanted).await.map_err(unreadable)? {
        DefaultBranch::Named(name) => branch(&name).map(|_| name),
        DefaultBranch::Missing(name) => Err(not_found(&branch(&name)?)),
        DefaultBranch::Unnamed => {
            Err(Error::new(ErrorCode::InvalidCloneUrl, "The repository has no default branch; set default_branch"))
        }
    }
}

impl CloneUrl {
    /// Returns the error for a registered repository that can't be read, or in which a ref names no commit. If the repository is to
    /// blame, the message names its URL, which is not in the request.
    pub fn unreadable(&self, error: RemoteError) -> Error {
        let message = match code(&error) {
            ErrorCode::InvalidRef => sentence(&error),
            _ => format!("Can't read {self}: {error}"),
        };
        refused(error, message)
    }
}

/// Returns the error for the `clone_url` in a body, if it is malformed or not allowed.
pub fn invalid_field(invalid: InvalidCloneUrl) -> Error {
    Error::new(ErrorCode::InvalidCloneUrl, format!("clone_url {invalid}")).with_detail("clone_url", invalid.to_string())
}

/// Returns the error for the `clone_url` in a body, if the repository there can't be read.
pub fn unreadable_field(error: RemoteError) -> Error {
    let text = error.to_string();
    let message = sentence(&error);
    let error = refused(error, message);
    if error.code() == ErrorCode::InvalidCloneUrl { error.with_detail("clone_url", text) } else { error }
}

/// Returns the text of an error as a sentence of its own.
fn sentence(error: &RemoteError) -> String {
    capitalized(error.to_string())
}

/// Returns a text with a capital letter at its start.
pub fn capitalized(mut text: String) -> String {
    if let Some(first) = text.get_mut(..1) {
        first.make_ascii_uppercase();
    }
    text
}

/// Returns the error for a host that can't be read, with this message.
pub fn refused(error: RemoteError, message: String) -> Error {
    match error {
        RemoteError::Local(_) => Error::internal(error),
        RemoteError::Resting(wait) | RemoteError::TooManySlow(wait) => {
            Error::new(code(&error), message).retry_after(wait.as_secs() + 1).because(error)
        }
        _ => Error::new(code(&error), message).because(error),
    }
}

fn code(error: &RemoteError) -> ErrorCode {
    match error {
        RemoteError::Unreachable(_)
        | RemoteError::Failed(..)
        | RemoteError::Cut(_)
        | RemoteError::TimedOut
        | RemoteError::Resting(_)
        | RemoteError::TooManySlow(_) => ErrorCode::RemoteUnavailable,
        RemoteError::Local(_) => ErrorCode::InternalError,
        RemoteError::NoSuchCommit | RemoteError::NoCommits | RemoteError::NotACommit(_) => ErrorCode::InvalidRef,
        RemoteError::NoSuchHost
        | RemoteError::ForbiddenAddress
        | RemoteError::NotARepository
        | RemoteError::CredentialRefused(_)
        | RemoteError::NotVisible(_)
        | RemoteError::TooLarge(..)
        | RemoteError::UnsafePath(_)
        | RemoteError::Refused(_)
        | RemoteError::WebPage
        | RemoteError::DumbHttp
        | RemoteError::ObjectFormat(_)
        | RemoteError::Redirect(_)
        | RemoteError::Submodule(..)
        | RemoteError::Lfs(_)
        | RemoteError::Protocol(_) => ErrorCode::InvalidCloneUrl,
    }
}
