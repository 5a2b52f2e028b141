//! Repositories on this machine.

use std::path::Path;

use gix::Repository;
use gix::bstr::ByteSlice;
use gix::objs::Kind;

use shared::model::CommitTexts;

use crate::commit;
use crate::error::RemoteError;
use crate::refs::{RemoteRef, RemoteRefs};
use crate::revision::CommitSha;

/// Opens the repository at `path`, bare or with a worktree, without the machine's or the user's configuration.
pub(crate) fn open(path: &Path) -> Result<Repository, RemoteError> {
    gix::open_opts(path, gix::open::Options::isolated()).map_err(|_| RemoteError::NotARepository)
}

/// Lists HEAD and the refs whose full names start with one of these.
pub(crate) fn list_refs(repository: &Repository, prefixes: &[String]) -> Result<RemoteRefs, RemoteError> {
    let corrupt = |error: gix::Error| RemoteError::Protocol(error.into());
    let default_branch = repository.head_name().map_err(corrupt)?.map(|name| name.shorten().to_string());
    let head = repository.head_id().ok().map(|id| CommitSha::new(id.detach()));
    let mut refs = Vec::new();
    let platform = repository.references().map_err(corrupt)?;
    // Names that are not UTF-8 and dangling refs are left out, as in git's own listing.
    for mut reference in platform.all().map_err(corrupt)?.flatten() {
        let Ok(name) = reference.name().as_bstr().to_str().map(str::to_owned) else { continue };
        if !prefixes.iter().any(|prefix| name.starts_with(prefix)) {
            continue;
        }
        let own = reference.follow_to_object().map(gix::Id::detach).ok();
        let Ok(target) = reference.peel_to_id().map(gix::Id::detach) else { continue };
        let tag = own.filter(|own| *own != target).map(CommitSha::new);
        refs.push(RemoteRef { name, target: CommitSha::new(target), tag });
    }
    Ok(RemoteRefs { default_branch, head, refs })
}

/// Returns a commit's SHA and texts, if the repository has it. The SHA of an annotated tag is peeled.
pub(crate) fn find_commit(repository: &Repository, sha: CommitSha) -> Option<(CommitSha, CommitTexts)> {
    let object = repository.find_object(sha.id()).ok()?.peel_to_kind(Kind::Commit).ok()?;
    Some((CommitSha::new(object.id), commit::texts(&object.data)))
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
