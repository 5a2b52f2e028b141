//! Repositories on this machine.

mod pack;

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::time::Instant;

use gix::Repository;
use gix::bstr::ByteSlice;
use gix::objs::Kind;

use shared::model::CommitTexts;

use crate::commit;
use crate::error::RemoteError;
use crate::objects::Tag;
use crate::reach::Reach;
use crate::refs::{RemoteRef, RemoteRefs, TAGS};
use crate::revision::CommitSha;

pub(crate) use pack::pack;

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
    // Each object is read once, however many refs point to it.
    let mut kinds = HashMap::new();
    let platform = repository.references().map_err(corrupt)?;
    // Names that are not UTF-8 and dangling refs are left out, as in git's own listing.
    for mut reference in platform.all().map_err(corrupt)?.flatten() {
        let Ok(name) = reference.name().as_bstr().to_str().map(str::to_owned) else { continue };
        if !prefixes.iter().any(|prefix| name.starts_with(prefix)) {
            continue;
        }
        let Ok(own) = reference.follow_to_object().map(gix::Id::detach) else { continue };
        let kind = *kinds.entry(own).or_insert_with(|| Some(repository.find_header(own).ok()?.kind()));
        let (target, tag) = match kind {
            None => continue,
            Some(Kind::Tag) => {
                let Ok(target) = reference.peel_to_id().map(gix::Id::detach) else { continue };
                (target, Some(CommitSha::new(own)))
            }
            Some(_) => (own, None),
        };
        refs.push(RemoteRef { name, target: CommitSha::new(target), tag });
    }
    Ok(RemoteRefs { default_branch, head, refs })
}

/// Returns a commit's SHA and texts, if the repository has it. The SHA of an annotated tag is peeled.
pub(crate) fn find_commit(repository: &Repository, sha: CommitSha) -> Option<(CommitSha, CommitTexts)> {
    let object = repository.find_object(sha.id()).ok()?.peel_to_kind(Kind::Commit).ok()?;
    Some((CommitSha::new(object.id), commit::texts(&object.data)))
}

/// Finds one of these branches and tags that has the commit in its history.
pub(crate) fn reach(
    repository: &Repository,
    sha: CommitSha,
    tips: &[(String, CommitSha)],
    deadline: Instant,
) -> Result<Reach, RemoteError> {
    let mut seen = HashSet::new();
    for (name, tip) in tips {
        let mut next = vec![tip.id()];
        while let Some(id) = next.pop() {
            if id == sha.id() {
                return Ok(Reach::On(name.clone()));
            }
            if Instant::now() >= deadline {
                return Err(RemoteError::TimedOut);
            }
            // A tag may point to a file, and a shallow repository lacks the parents of some commits.
            let commit = seen.insert(id).then(|| repository.find_commit(id).ok()).flatten();
            next.extend(commit.iter().flat_map(|commit| commit.parent_ids().map(gix::Id::detach)));
        }
    }
    Ok(Reach::Nowhere)
}

/// Shares the objects of the repository at `path` with the object database in the folder `objects`, without a copy. Returns the
/// file that does, which ends it when it is deleted.
pub(crate) fn share_objects(path: &Path, objects: &Path) -> Result<PathBuf, RemoteError> {
    let source = open(path)?;
    let source = std::path::absolute(source.objects.store_ref().path())?;
    let mut line = source.into_os_string().into_encoded_bytes();
    line.push(b'\n');
    let alternates = objects.join("info/alternates");
    std::fs::write(&alternates, line)?;
    Ok(alternates)
}

/// Lists the tag of this name, or all tags if there is more history than one commit.
pub(crate) fn tags(path: &Path, name: Option<&str>, depth: u32) -> Result<Vec<Tag>, RemoteError> {
    let corrupt = |error: gix::Error| RemoteError::Protocol(error.into());
    let repository = open(path)?;
    let mut tags = Vec::new();
    for mut reference in repository.references().map_err(corrupt)?.prefixed(TAGS).map_err(corrupt)?.flatten() {
        let Ok(found) = reference.name().as_bstr().to_str().map(str::to_owned) else { continue };
        if depth == 1 && name != Some(&*found) {
            continue;
        }
        let Some(id) = reference.target().try_id().map(ToOwned::to_owned) else { continue };
        let Ok(peeled) = reference.peel_to_id().map(gix::Id::detach) else { continue };
        tags.push(Tag { name: found, id, peeled: Some(peeled).filter(|peeled| *peeled != id) });
    }
    Ok(tags)
}
