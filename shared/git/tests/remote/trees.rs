//! Trees of every kind, made by code and compared byte by byte with what git itself checks out.

mod attributes;
pub(crate) mod entry;
mod files;
mod links;
mod submodules;

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;
use std::time::Duration;

use git::{CloneUrl, CommitSha, FetchLimits, Remote, Resolved};
use shared::hosts::Hosts;

use crate::origin::{Origin, isolated_git};
use crate::server::Server;
use entry::Entry;

/// A kind of tree: its name, and what makes it beside the repositories that it needs.
type Case = (&'static str, fn(&Origin) -> Vec<Entry>);

const LIMITS: FetchLimits = FetchLimits {
    time: Duration::from_secs(60),
    depth: 1,
    pack_bytes: 50_000_000,
    tree_bytes: 50_000_000,
    files: 10_000,
};

/// Returns each path with its kind, its mode and its content or target, in bytes, without what git keeps for itself.
fn contents(folder: &Path) -> BTreeMap<Vec<u8>, String> {
    fn collect(root: &Path, folder: &Path, found: &mut BTreeMap<Vec<u8>, String>) {
        for entry in fs::read_dir(folder).unwrap() {
            let entry = entry.unwrap();
            if entry.file_name() == ".git" {
                continue;
            }
            let path = entry.path();
            let metadata = fs::symlink_metadata(&path).unwrap();
            let shown = if metadata.is_symlink() {
                format!("-> {}", fs::read_link(&path).unwrap().into_os_string().into_vec().escape_ascii())
            } else if metadata.is_dir() {
                collect(root, &path, found);
                "folder".to_owned()
            } else {
                format!("{:o} {}", metadata.permissions().mode(), fs::read(&path).unwrap().escape_ascii())
            };
            found.insert(path.strip_prefix(root).unwrap().as_os_str().as_bytes().to_vec(), shown);
        }
    }
    let mut found = BTreeMap::new();
    collect(folder, folder, &mut found);
    found
}

fn git(folder: &Path, arguments: &[&str]) -> String {
    let mut command = isolated_git();
    command.env("GIT_CEILING_DIRECTORIES", folder.parent().unwrap());
    let output = command.args(arguments).current_dir(folder).output().unwrap();
    assert!(output.status.success(), "git {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).trim_end().to_owned()
}

/// Returns what git checks out, with submodules.
fn checked_out_by_git(origin: &Origin, sha: CommitSha) -> BTreeMap<Vec<u8>, String> {
    let folder = tempfile::tempdir().unwrap();
    let into = folder.path().join("clone");
    let path = origin.path();
    git(folder.path(), &["clone", "--quiet", "--no-checkout", path.to_str().unwrap(), "clone"]);
    git(&into, &["checkout", "--quiet", "--force", &sha.to_string()]);
    // Fails for a submodule that .gitmodules does not describe, and leaves its folder empty.
    let mut update = isolated_git();
    update.args(["-c", "protocol.file.allow=always", "submodule", "--quiet", "update", "--init", "--recursive"]);
    update.current_dir(&into).output().unwrap();
    contents(&into)
}

/// Adds each path at which the source of a case is not what git checks out.
async fn compare((name, entries): Case, differences: &mut Vec<String>) {
    let origin = Origin::new();
    let entries = entries(&origin);
    let sha = entry::commit(&origin, &entries);
    let server = Server::new(origin.root());
    let by_git = checked_out_by_git(&origin, sha);
    let commit = Resolved { name: Some("refs/heads/main".to_owned()), sha };
    let path = CloneUrl::parse(origin.path().to_str().unwrap(), Hosts::AlsoLocal).unwrap();
    for url in [path, server.url("/app")] {
        let folder = tempfile::tempdir().unwrap();
        let into = folder.path().join("source");
        let fetched = Remote::new(url.clone(), None).fetch_commit(&commit, &into, LIMITS).await;
        fetched.unwrap_or_else(|error| panic!("{name} {url}: {error:?}"));
        let found = contents(&into);
        let paths: BTreeSet<_> = found.keys().chain(by_git.keys()).collect();
        let differing = paths.into_iter().filter(|path| found.get(*path) != by_git.get(*path));
        let shown = |path: &Vec<u8>| (path.escape_ascii().to_string(), found.get(path), by_git.get(path));
        differences.extend(differing.map(|path| format!("{name} {url}: {:?}", shown(path))));
        assert_eq!(git(&into, &["status", "--porcelain"]), "", "{name} {url}");
        assert_eq!(git(&into, &["rev-parse", "HEAD"]), sha.to_string(), "{name} {url}");
        assert_eq!(git(&into, &["log", "-1", "--format=%s"]), "tree", "{name} {url}");
        git(&into, &["fsck", "--no-dangling", "--no-progress"]);
        for (path, shown) in by_git.iter().filter(|(_, shown)| *shown != "folder") {
            let is_own = entries.iter().any(|entry| entry.path == *path);
            let time = fs::symlink_metadata(into.join(OsStr::from_bytes(path))).unwrap().mtime();
            assert!(!is_own || time == entry::COMMITTED, "{name} {url} {} {shown}", path.escape_ascii());
        }
    }
}

async fn compare_all(cases: &[Case]) {
    let mut differences = Vec::new();
    for case in cases {
        compare(*case, &mut differences).await;
    }
    assert!(differences.is_empty(), "{}", differences.join("\n"));
}

#[tokio::test]
async fn files_are_as_git_writes_them() {
    compare_all(files::CASES).await;
}

#[tokio::test]
async fn links_are_as_git_writes_them() {
    compare_all(links::CASES).await;
}

#[tokio::test]
async fn attributes_do_what_they_do_in_git() {
    compare_all(attributes::CASES).await;
}

#[tokio::test]
async fn submodules_are_as_git_fetches_them() {
    compare_all(submodules::CASES).await;
}

#[test]
fn there_are_many_kinds_of_trees_with_names_of_their_own() {
    let cases = [files::CASES, links::CASES, attributes::CASES, submodules::CASES].concat();
    let names: BTreeSet<_> = cases.iter().map(|(name, _)| name).collect();
    assert_eq!(names.len(), cases.len());
    assert!(cases.len() >= 60, "{}", cases.len());
}
