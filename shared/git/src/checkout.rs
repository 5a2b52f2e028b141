//! Writes a commit's tree to a folder, as `git checkout` does.

mod conversion;
mod encoding;
mod ident;
mod plan;
mod write;

use gix::Repository;

use crate::error::RemoteError;

pub(crate) use plan::{Gitlink, Plan, plan};
pub(crate) use write::{LfsFile, create_file, create_folders, inside, write};

/// Opens the repository whose `.git` is this folder, without the machine's or the user's configuration.
pub(crate) fn open(git_dir: &std::path::Path) -> Result<Repository, RemoteError> {
    gix::open_opts(git_dir, gix::open::Options::isolated().open_path_as_is(true)).map_err(local)
}

/// Returns the failure of an object that git could not read either.
pub(crate) fn corrupt(error: impl Into<crate::error::Cause>) -> RemoteError {
    RemoteError::Protocol(error.into())
}

pub(crate) fn local(error: gix::Error) -> RemoteError {
    RemoteError::Local(error.into())
}
