//! API errors for the failures of a remote, shared by the endpoints that read remotes.

use shared::hosts::Hosts;
use shared::{Error, ErrorCode};

use crate::clone_url::{CloneUrl, InvalidCloneUrl};
use crate::error::RemoteError;
use crate::remote::Remote;
use crate::revision::Revision;

/// Returns the error for a revision that the repository does not have.
pub fn not_found(revision: &Revision) -> Error {
    let text = revision.to_string();
    let message = match (revision.sha(), text.strip_prefix("refs/tags/")) {
        (Some(_), _) => format!("Commit '{text}' not found"),
        (None, Some(tag)) => format!("Tag '{tag}' not found"),
        (None, None) if (7..40).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_hexdigit()) => {
            format!("Branch '{text}' not found; to name a commit, send all 40 digits of its SHA")
        }
        (None, None) => format!("Branch '{}' not found", text.strip_prefix("refs/heads/").unwrap_or(&text)),
    };
    Error::new(ErrorCode::InvalidRef, message)
}

/// Chooses the repository's default branch among the remote's refs: the wanted one, or else the one that HEAD names.
///
/// # Errors
/// Fails with `invalid_ref` if the branch does not exist, with `invalid_clone_url` if HEAD names none, or with the error that
/// `unreadable` makes if the remote can't be read.
pub async fn default_branch(
    remote: &Remote,
    wanted: Option<String>,
    unreadable: impl FnOnce(RemoteError) -> Error,
) -> Result<String, Error> {
    let refs = remote.list_refs().await.map_err(unreadable)?;
    let branch = wanted.or_else(|| refs.default_branch.clone()).ok_or_else(|| {
        Error::new(ErrorCode::InvalidCloneUrl, "The repository has no default branch; set default_branch")
    })?;
    let revision = Revision::parse(&format!("refs/heads/{branch}"));
    let revision = revision.map_err(|error| Error::invalid("default_branch", error.to_string()))?;
    refs.resolve(&revision).ok_or_else(|| not_found(&revision))?;
    Ok(branch)
}

impl CloneUrl {
    /// Parses the `clone_url` of a registered repository.
    ///
    /// # Errors
    /// Fails with `invalid_clone_url` and names the URL. It was valid when the repository was registered.
    pub fn of_repository(clone_url: &str, hosts: Hosts) -> Result<Self, Error> {
        Self::parse(clone_url, hosts).map_err(|invalid| {
            let message = format!("Can't read {clone_url}: the repository's clone_url {invalid}");
            Error::new(ErrorCode::InvalidCloneUrl, message)
        })
    }

    /// Returns the error for a registered repository that can't be read. Its message names the URL, which is not in the
    /// request.
    pub fn unreadable(&self, error: RemoteError) -> Error {
        let message = format!("Can't read {self}: {error}");
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
    let mut message = text.clone();
    if let Some(first) = message.get_mut(..1) {
        first.make_ascii_uppercase();
    }
    let error = refused(error, message);
    if error.code() == ErrorCode::InvalidCloneUrl { error.with_detail("clone_url", text) } else { error }
}

fn refused(error: RemoteError, message: String) -> Error {
    let code = match &error {
        RemoteError::Unreachable(_) | RemoteError::TimedOut => ErrorCode::RemoteUnavailable,
        RemoteError::Local(_) => return Error::internal(error),
        RemoteError::NoSuchCommit => ErrorCode::InvalidRef,
        RemoteError::NoSuchHost
        | RemoteError::ForbiddenAddress
        | RemoteError::NotARepository
        | RemoteError::TooLarge(..)
        | RemoteError::UnsafePath(_)
        | RemoteError::Protocol(_) => ErrorCode::InvalidCloneUrl,
    };
    Error::new(code, message).because(error)
}
