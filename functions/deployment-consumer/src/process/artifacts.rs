//! The artifacts of a run.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use walkdir::WalkDir;

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
pub(super) fn collect(source: &Path, artifacts: &Selection) -> (Vec<Artifact>, Vec<String>) {
    let mut found: BTreeMap<String, PathBuf> = BTreeMap::new();
    let mut left_out = Vec::new();
    let mut links = 0;
    for entry in WalkDir::new(source).min_depth(1).sort_by_file_name() {
        let entry = match entry {
            Ok(entry) => entry,
            Err(error) => {
                left_out.push(format!("Left out of the artifacts: {error}"));
                continue;
            }
        };
        let relative = entry.path().strip_prefix(source).expect("a walk stays in its folder");
        if entry.file_type().is_dir() || (is_of_git(relative) && !artifacts.names_git()) {
            continue;
        }
        let Some(name) = artifacts.place(relative) else { continue };
        if !entry.file_type().is_file() {
            links += 1;
            continue;
        }
        let Some(name) = name.to_str() else {
            left_out.push(format!("Left out of the artifacts: {}, because its name is not UTF-8", relative.display()));
            continue;
        };
        if name.contains(|c: char| c.is_ascii_control()) {
            left_out.push(format!("Left out of the artifacts: {name:?}, because its name has a control character"));
            continue;
        }
        if found.contains_key(name) {
            left_out.push(format!(
                "Left out of the artifacts: {}, because another file has the name {name}",
                relative.display()
            ));
            continue;
        }
        found.insert(name.to_owned(), relative.to_owned());
    }
    if links > 0 {
        left_out.push(format!("Left out of the artifacts: {links} symbolic link(s) or special file(s)"));
    }
    (found.into_iter().map(|(name, path)| Artifact { path, name }).collect(), left_out)
}

/// Returns whether git made the file, in the `.git` of the source or of a submodule.
fn is_of_git(relative: &Path) -> bool {
    relative.components().any(|name| name.as_os_str() == ".git")
}
