//! Writes a commit's tree to a folder.

use std::fs;
use std::io;
use std::path::{Component, Path};
use std::sync::atomic::AtomicBool;

use gix::Repository;
use gix::bstr::ByteSlice;
use gix::create::Kind;
use gix::index::entry::Mode;
use gix::objs::tree::EntryKind;
use gix::progress::Discard;
use gix::worktree::stack::state::attributes::Source;

use crate::error::RemoteError;
use crate::limits::FetchLimits;
use crate::revision::CommitSha;

/// Creates an empty bare repository in `folder`, without the machine's or the user's configuration.
pub(crate) fn scratch(folder: &Path) -> Result<Repository, RemoteError> {
    let options = gix::open::Options::isolated();
    gix::ThreadSafeRepository::init_opts(folder, Kind::Bare, gix::create::Options::default(), options)
        .map(|repository| repository.to_thread_local())
        .map_err(local)
}

/// Writes the commit's tree into the folder `into`, which is created and must be empty.
///
/// Keeps modes and symbolic links. Submodules become empty folders. Only filters built into git run, such as the
/// conversion of line ends by `.gitattributes`.
pub(crate) fn write(
    repository: &Repository,
    sha: CommitSha,
    into: &Path,
    limits: FetchLimits,
    interrupt: &AtomicBool,
) -> Result<(), RemoteError> {
    let object = repository.find_object(sha.id()).map_err(|_| RemoteError::NoSuchCommit)?;
    let commit = object.try_into_commit().map_err(|_| RemoteError::NoSuchCommit)?;
    let tree = commit.tree_id().map_err(corrupt)?.detach();
    measure(repository, tree, limits)?;

    let mut index = repository.index_from_tree(&tree).map_err(|error| RemoteError::UnsafePath(error.to_string()))?;
    let mut options = repository.checkout_options(Source::IdMapping).map_err(local)?;
    options.destination_is_initially_empty = true;
    let objects = repository.objects.clone().into_arc()?;
    fs::create_dir_all(into)?;
    let outcome = gix::worktree::state::checkout(&mut index, into, objects, &Discard, &Discard, interrupt, options)
        .map_err(local)?;
    if let Some(collision) = outcome.collisions.first() {
        return Err(RemoteError::UnsafePath(collision.path.to_string()));
    }

    let root = fs::canonicalize(into)?;
    for entry in index.entries().iter().filter(|entry| entry.mode == Mode::SYMLINK) {
        let path = entry.path(&index);
        if leads_outside(&root, &gix::path::from_bstr(path).map_err(local)?)? {
            return Err(RemoteError::UnsafePath(path.to_str_lossy().into_owned()));
        }
    }
    Ok(())
}

/// Measures a checkout before it takes memory or disk. A few small objects can expand to any number of files.
fn measure(repository: &Repository, root: gix::ObjectId, limits: FetchLimits) -> Result<(), RemoteError> {
    let too_many = RemoteError::TooLarge("files and folders", limits.files);
    let (mut entries, mut bytes) = (0, 0u64);
    let mut trees = vec![(root, 0)];
    while let Some((id, prefix)) = trees.pop() {
        let tree = repository.find_tree(id).map_err(corrupt)?;
        for entry in tree.iter() {
            let entry = entry.map_err(corrupt)?;
            let path_length = prefix + 1 + entry.filename().len() as u64;
            let content = match entry.mode().kind() {
                EntryKind::Tree => {
                    trees.push((entry.object_id(), path_length));
                    0
                }
                EntryKind::Commit => 0,
                _ => repository.find_header(entry.object_id()).map_err(corrupt)?.size(),
            };
            entries += 1;
            bytes = bytes.saturating_add(path_length).saturating_add(content);
            if entries > limits.files {
                return Err(too_many);
            }
            if bytes > limits.tree_bytes {
                return Err(RemoteError::TooLarge("bytes of files", limits.tree_bytes));
            }
        }
    }
    Ok(())
}

/// Returns whether the link at `path` leads out of the folder `root`, now or once its target exists.
fn leads_outside(root: &Path, path: &Path) -> io::Result<bool> {
    let link = root.join(path);
    match fs::canonicalize(&link) {
        Ok(target) => Ok(!target.starts_with(root)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let target = fs::read_link(&link)?;
            let mut depth = path.components().count() - 1;
            for component in target.components() {
                match component {
                    Component::Normal(_) => depth += 1,
                    Component::CurDir => {}
                    Component::ParentDir if depth > 0 => depth -= 1,
                    Component::ParentDir | Component::RootDir | Component::Prefix(_) => return Ok(true),
                }
            }
            Ok(false)
        }
        // A loop of links can't be followed.
        Err(_) => Ok(false),
    }
}

fn corrupt(error: impl Into<crate::error::Cause>) -> RemoteError {
    RemoteError::Protocol(error.into())
}

fn local(error: gix::Error) -> RemoteError {
    RemoteError::Local(error.into())
}
