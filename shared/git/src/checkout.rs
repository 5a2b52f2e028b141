//! Writes a commit's tree to a folder, as `git checkout` does.

mod conversion;
mod encoding;
mod ident;
mod plan;
mod write;

use gix::Repository;
use gix_pack::cache::lru::MemoryCappedHashmap;

use crate::error::RemoteError;

pub(crate) use plan::{Gitlink, Plan, plan};
pub(crate) use write::{LfsFile, create_file, create_folders, inside, write};

/// The bytes of objects that each thread keeps as bases of others. Git stores an object as the last of up to 50 deltas.
const DELTA_CACHE_BYTES: usize = 16 << 20;

/// Opens the repository whose `.git` is this folder, without the machine's or the user's configuration.
pub(crate) fn open(git_dir: &std::path::Path) -> Result<Repository, RemoteError> {
    let options = gix::open::Options::isolated().open_path_as_is(true);
    let mut repository = gix::open_opts(git_dir, options).map_err(local)?;
    repository.objects.set_pack_cache(|| Box::new(MemoryCappedHashmap::new(DELTA_CACHE_BYTES)));
    Ok(repository)
}

/// Returns the failure of an object that git could not read either.
pub(crate) fn corrupt(error: impl Into<crate::error::Cause>) -> RemoteError {
    RemoteError::Protocol(error.into())
}

pub(crate) fn local(error: gix::Error) -> RemoteError {
    RemoteError::Local(error.into())
}
