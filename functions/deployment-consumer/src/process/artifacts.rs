//! The artifacts of a run.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crate::beneath::{Folder, Found};
use crate::buildspec::Selection;

/// A file that a run has produced.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Artifact {
    /// The path of a regular file in the source folder, from this folder.
    pub path: PathBuf,
    /// The file's path among the artifacts, separated by slashes.
    pub name: String,
}

/// Returns the regular files in `source` that are artifacts, sorted by name, and a sentence about each exclusion.
/// Symbolic links are not followed, so no file outside of `source` is taken.
pub(super) fn collect(source: &Folder, artifacts: &Selection) -> (Vec<Artifact>, Vec<String>) {
    let mut found: BTreeMap<String, PathBuf> = BTreeMap::new();
    let (mut left_out, mut links) = (Vec::new(), 0);
    source.walk(&mut |relative, entry| {
        if let Found::Unreadable(error) = entry {
            return left_out.push(format!("Left out of the artifacts: {}: {error}", relative.display()));
        }
        if is_of_git(relative) && !artifacts.names_git() {
            return;
        }
        let Some(name) = artifacts.place(relative) else { return };
        if let Found::Special = entry {
            links += 1;
            return;
        }
        let shown = relative.display();
        let why = match name.to_str() {
            None => format!("{shown}, because its name is not UTF-8"),
            Some(name) if name.contains(|c: char| c.is_ascii_control()) => {
                format!("{name:?}, because its name has a control character")
            }
            Some(name) if found.contains_key(name) => {
                format!("{shown}, because another file has the name {name}")
            }
            Some(name) => {
                found.insert(name.to_owned(), relative.to_owned());
                return;
            }
        };
        left_out.push(format!("Left out of the artifacts: {why}"));
    });
    if links > 0 {
        left_out.push(format!("Left out of the artifacts: {links} symbolic link(s) or special file(s)"));
    }
    (found.into_iter().map(|(name, path)| Artifact { path, name }).collect(), left_out)
}

/// Returns whether git made the file, in the `.git` of the source or of a submodule.
fn is_of_git(relative: &Path) -> bool {
    relative.components().any(|name| name.as_os_str() == ".git")
}
