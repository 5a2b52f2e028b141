//! The `.git` of a fetched commit, as the real git sees it.

use std::fs;
use std::path::Path;

use git::{CloneUrl, Credential, FetchLimits, Remote, Resolved};

use crate::origin::{Origin, isolated_git};
use crate::server::Server;
use crate::{LIMITS, everywhere, remote};

/// Runs git in a checkout, and returns what it says, or `None` if it fails.
fn git(folder: &Path, arguments: &[&str]) -> Option<String> {
    let output = isolated_git().args(arguments).current_dir(folder).output().unwrap();
    output.status.success().then(|| String::from_utf8(output.stdout).unwrap().trim().to_owned())
}

async fn fetch(url: &CloneUrl, name: Option<&str>, sha: git::CommitSha, depth: u32) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let commit = Resolved { name: name.map(str::to_owned), sha };
    remote(url).fetch_commit(&commit, folder.path(), FetchLimits { depth, ..LIMITS }).await.unwrap();
    folder
}

fn some(text: &str) -> Option<String> {
    Some(text.to_owned())
}

#[tokio::test]
async fn a_build_finds_the_commit_its_branch_or_its_tag() {
    let origin = Origin::new();
    origin.write("a", "1");
    origin.commit();
    origin.write("a", "2");
    let sha = origin.commit();
    origin.git(&["tag", "light"]);
    origin.git(&["tag", "--annotate", "--message=release", "v1.0"]);
    origin.git(&["tag", "--annotate", "--message=again", "v1.0-again", "v1.0"]);
    origin.git(&["branch", "feature/x"]);
    let server = Server::new(origin.root());
    for url in everywhere(&origin, &server) {
        for (name, head, describe) in [
            (Some("refs/heads/main"), Some("main"), None),
            (Some("refs/heads/feature/x"), Some("feature/x"), None),
            (Some("refs/tags/light"), None, Some("light")),
            (Some("refs/tags/v1.0"), None, Some("v1.0")),
            (Some("refs/tags/v1.0-again"), None, Some("v1.0-again")),
            (Some("refs/pull/7/head"), None, None),
            (None, None, None),
        ] {
            let folder = fetch(&url, name, sha, 1).await;
            let git = |arguments: &[&str]| git(folder.path(), arguments);
            let case = format!("{url} {name:?}");
            assert_eq!(git(&["rev-parse", "HEAD"]), some(&sha.to_string()), "{case}");
            assert_eq!(git(&["symbolic-ref", "--quiet", "--short", "HEAD"]).as_deref(), head, "{case}");
            assert_eq!(git(&["describe", "--tags"]).as_deref(), describe, "{case}");
            assert_eq!(git(&["log", "--format=%s %an"]), some("change Ada"), "{case}");
            assert_eq!(git(&["rev-list", "--count", "HEAD"]), some("1"), "{case}");
            assert_eq!(git(&["rev-parse", "--is-shallow-repository"]), some("true"), "{case}");
            assert_eq!(git(&["status", "--porcelain"]), some(""), "{case}");
            assert_eq!(git(&["diff", "HEAD"]), some(""), "{case}");
            assert!(git(&["fsck", "--strict", "--no-progress"]).is_some(), "{case}");
        }
        let annotated = fetch(&url, Some("refs/tags/v1.0"), sha, 1).await;
        assert_eq!(git(annotated.path(), &["cat-file", "-t", "v1.0"]), some("tag"), "{url}");
        assert_eq!(git(annotated.path(), &["describe"]), some("v1.0"), "{url}");
    }
}

#[tokio::test]
async fn a_tag_that_moved_names_the_commit_that_is_deployed() {
    let origin = Origin::new();
    let sha = origin.commit();
    origin.git(&["commit", "--quiet", "--allow-empty", "--message=later"]);
    origin.git(&["tag", "--annotate", "--message=moved", "v1.0"]);
    let server = Server::new(origin.root());
    for url in everywhere(&origin, &server) {
        let folder = fetch(&url, Some("refs/tags/v1.0"), sha, 1).await;
        assert_eq!(git(folder.path(), &["rev-parse", "v1.0"]), some(&sha.to_string()), "{url}");
        assert_eq!(git(folder.path(), &["describe", "--tags"]), some("v1.0"), "{url}");
    }
}

#[tokio::test]
async fn history_is_as_deep_as_asked_and_has_its_tags() {
    let origin = Origin::new();
    for number in 1..=5 {
        origin.write("number", number.to_string());
        origin.commit();
        origin.git(&["tag", "--annotate", "--message=x", &format!("v{number}")]);
    }
    origin.git(&["checkout", "--quiet", "-b", "side", "HEAD~2"]);
    origin.write("side", "side");
    origin.commit();
    origin.git(&["tag", "beside"]);
    origin.git(&["checkout", "--quiet", "main"]);
    origin.git(&["commit", "--quiet", "--allow-empty", "--message=tip"]);
    let sha = origin.sha("HEAD");
    let server = Server::new(origin.root());
    for url in everywhere(&origin, &server) {
        for (depth, count, tags) in [(1, "1", ""), (3, "3", "v4\nv5"), (0, "6", "v1\nv2\nv3\nv4\nv5")] {
            let folder = fetch(&url, Some("refs/heads/main"), sha, depth).await;
            let git = |arguments: &[&str]| git(folder.path(), arguments);
            assert_eq!(git(&["rev-list", "--count", "HEAD"]), some(count), "{url} {depth}");
            assert_eq!(git(&["tag", "--list"]), some(tags), "{url} {depth}");
            let is_shallow = if count == "6" { "false" } else { "true" };
            assert_eq!(git(&["rev-parse", "--is-shallow-repository"]), some(is_shallow), "{url} {depth}");
            assert!(git(&["fsck", "--no-progress"]).is_some(), "{url} {depth}");
            if depth != 1 {
                assert!(git(&["describe"]).unwrap().starts_with("v5-1-g"), "{url} {depth}");
            }
        }
    }
}

#[tokio::test]
async fn no_file_has_a_credential_or_needs_the_other_repository() {
    let origin = Origin::new();
    origin.write("a", "a");
    let sha = origin.commit();
    let server = Server::new(origin.root());
    let url = server.url("/app/.git");
    let credential = Credential::new(server.host().parse().unwrap(), "robot", "hunter22", "the credential");
    let folder = tempfile::tempdir().unwrap();
    let commit = Resolved { name: Some("refs/heads/main".to_owned()), sha };
    Remote::new(url.clone(), Some(credential)).fetch_commit(&commit, folder.path(), LIMITS).await.unwrap();
    let dot_git = folder.path().join(".git");
    for file in fs::read_dir(&dot_git).unwrap().map(Result::unwrap).filter(|file| file.path().is_file()) {
        let content = String::from_utf8_lossy(&fs::read(file.path()).unwrap()).into_owned();
        assert!(!content.contains("hunter22") && !content.contains("aHVudGVyMjI"), "{file:?}");
    }
    assert_eq!(git(folder.path(), &["remote", "get-url", "origin"]), some(&url.to_string()));

    let path = everywhere(&origin, &server)[0].clone();
    let folder = fetch(&path, Some("refs/heads/main"), sha, 1).await;
    drop(origin);
    assert!(git(folder.path(), &["fsck", "--no-progress"]).is_some());
    assert_eq!(git(folder.path(), &["show", "HEAD:a"]), some("a"));
}
