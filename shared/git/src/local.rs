//! Repositories on this machine.

use std::path::Path;

use gix::Repository;
use gix::bstr::ByteSlice;
use gix::objs::Kind;

use shared::model::CommitTexts;

use crate::commit;
use crate::error::RemoteError;
use crate::revision::{CommitSha, RemoteRef, RemoteRefs};

/// Opens the repository at `path`, bare or with a worktree, without the machine's or the user's configuration.
pub(crate) fn open(path: &Path) -> Result<Repository, RemoteError> {
    gix::open_opts(path, gix::open::Options::isolated()).map_err(|_| RemoteError::NotARepository)
}

pub(crate) fn list_refs(path: &Path) -> Result<RemoteRefs, RemoteError> {
    let corrupt = |error: gix::Error| RemoteError::Protocol(error.into());
    let repository = open(path)?;
    let head = repository.head_name().map_err(corrupt)?;
    let default_branch = head.map(|name| name.shorten().to_string());
    let mut refs = Vec::new();
    let platform = repository.references().map_err(corrupt)?;
    for prefix in ["refs/heads/", "refs/tags/"] {
        let prefixed = platform.prefixed(prefix).map_err(corrupt)?;
        // Names that are not UTF-8 and dangling refs are left out, as in git's own listing.
        for mut reference in prefixed.flatten() {
            let Ok(name) = reference.name().as_bstr().to_str().map(str::to_owned) else { continue };
            let Ok(target) = reference.peel_to_id().map(gix::Id::detach) else { continue };
            let target = CommitSha::new(target);
            refs.push(RemoteRef { name, target });
        }
    }
    Ok(RemoteRefs { default_branch, refs })
}

pub(crate) fn find_commit(repository: &Repository, sha: CommitSha) -> Option<CommitTexts> {
    let object = repository.find_object(sha.id()).ok().filter(|object| object.kind == Kind::Commit)?;
    Some(commit::texts(&object.data))
}

/// Shares the objects of the repository at `path` with the object database in the folder `objects`, without a copy.
pub(crate) fn share_objects(path: &Path, objects: &Path) -> Result<(), RemoteError> {
    let source = open(path)?;
    let source = std::path::absolute(source.objects.store_ref().path())?;
    let mut line = source.into_os_string().into_encoded_bytes();
    line.push(b'\n');
    std::fs::create_dir_all(objects.join("info"))?;
    std::fs::write(objects.join("info/alternates"), line)?;
    Ok(())
}
