//! The paths of a tree, which are checked and measured before anything is written.

use gix::Repository;
use gix::bstr::{BStr, BString, ByteSlice};
use gix::objs::tree::EntryKind;
use gix::validate::path::component;

use crate::allowance::Allowance;
use crate::checkout::corrupt;
use crate::error::RemoteError;

/// Git's protections of a path, with those for file systems that ignore invisible characters in names.
const PROTECTIONS: component::Options =
    component::Options { protect_windows: false, protect_hfs: true, protect_ntfs: true };

/// The folders of a tree, and its submodules.
#[derive(Default)]
pub(crate) struct Plan {
    /// The folders, each after its parent. A submodule is a folder too.
    pub(crate) folders: Vec<BString>,
    pub(crate) submodules: Vec<Gitlink>,
}

/// A tree's entry for a submodule.
pub(crate) struct Gitlink {
    pub(crate) path: BString,
    pub(crate) commit: gix::ObjectId,
}

/// Walks a tree. A few small objects can expand to any number of files, so the walk takes each from the allowance.
pub(crate) fn plan(
    repository: &Repository,
    root: gix::ObjectId,
    allowance: &mut Allowance,
) -> Result<Plan, RemoteError> {
    let mut plan = Plan::default();
    let mut trees = vec![(root, BString::default())];
    while let Some((id, folder)) = trees.pop() {
        let tree = repository.find_tree(id).map_err(corrupt)?;
        for entry in tree.iter() {
            let entry = entry.map_err(corrupt)?;
            let path = join(&folder, entry.filename());
            let kind = entry.mode().kind();
            check(path.as_bstr(), entry.filename(), kind == EntryKind::Link)?;
            let content = match kind {
                EntryKind::Tree | EntryKind::Commit => 0,
                _ => repository.find_header(entry.object_id()).map_err(corrupt)?.size(),
            };
            allowance.take_file(path.len() as u64 + 1, content)?;
            match kind {
                EntryKind::Tree => {
                    trees.push((entry.object_id(), path.clone()));
                    plan.folders.push(path);
                }
                EntryKind::Commit => {
                    plan.submodules.push(Gitlink { path: path.clone(), commit: entry.object_id() });
                    plan.folders.push(path);
                }
                EntryKind::Blob | EntryKind::BlobExecutable | EntryKind::Link => {}
            }
        }
    }
    Ok(plan)
}

fn join(folder: &BString, name: &BStr) -> BString {
    let mut path = folder.clone();
    if !path.is_empty() {
        path.push(b'/');
    }
    path.extend_from_slice(name);
    path
}

/// Fails if git would not check out a path that ends with `name`: `.git` in any spelling, `..`, or a link called `.gitmodules`.
fn check(path: &BStr, name: &BStr, is_link: bool) -> Result<(), RemoteError> {
    let mode = is_link.then_some(component::Mode::Symlink);
    // Git's trees may contain names with a NUL byte or a slash only if no git made them.
    match name.contains(&0) || gix::validate::path::component(name, mode, PROTECTIONS).is_err() {
        true => Err(RemoteError::UnsafePath(path.to_str_lossy().into_owned())),
        false => Ok(()),
    }
}
