//! API errors for the failures of a remote, shared by the endpoints that read remotes.

use shared::settings::{CLONE_HOSTS, Settings};
use shared::{Error, ErrorCode};

use crate::clone_url::{Hosts, InvalidCloneUrl};
use crate::error::RemoteError;
use crate::revision::Revision;

/// The error for a `CLONE_HOSTS` that is neither `public` nor `local`.
#[derive(Debug, thiserror::Error)]
#[error("CLONE_HOSTS must be 'public' or 'local'")]
pub struct UnknownHosts;

/// Reads the setting `CLONE_HOSTS`, which defaults to public hosts.
///
/// # Errors
/// Fails for an unknown value.
pub fn hosts(settings: &Settings) -> Result<Hosts, UnknownHosts> {
    match settings.get(CLONE_HOSTS) {
        None | Some("public") => Ok(Hosts::PublicHttps),
        Some("local") => Ok(Hosts::AlsoLocal),
        Some(_) => Err(UnknownHosts),
    }
}

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

impl From<InvalidCloneUrl> for Error {
    fn from(invalid: InvalidCloneUrl) -> Self {
        Error::new(ErrorCode::InvalidCloneUrl, format!("clone_url {invalid}"))
    }
}

impl From<RemoteError> for Error {
    fn from(error: RemoteError) -> Self {
        let code = match &error {
            RemoteError::Unreachable(_) | RemoteError::TimedOut => ErrorCode::RemoteUnavailable,
            RemoteError::Local(_) => return Error::internal(error),
            RemoteError::NoSuchCommit => ErrorCode::InvalidRef,
            RemoteError::ForbiddenAddress
            | RemoteError::NotARepository
            | RemoteError::TooLarge(..)
            | RemoteError::UnsafePath(_)
            | RemoteError::Protocol(_) => ErrorCode::InvalidCloneUrl,
        };
        let mut message = error.to_string();
        if let Some(first) = message.get_mut(..1) {
            first.make_ascii_uppercase();
        }
        Error::new(code, message).because(error)
    }
}
