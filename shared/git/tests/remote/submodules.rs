//! Submodules that can't be fetched, and credentials.

use std::fs;

use git::{CloneUrl, Credential, FetchLimits, Fetched, Remote, RemoteError};
use shared::hosts::Hosts;

use crate::origin::{Origin, isolated_git};
use crate::server::{Answer, Server};
use crate::{LIMITS, at, remote};

const ABSENT: &str = "0123456789abcdef0123456789abcdef01234567";

/// Commits submodules as lines of `.gitmodules` and gitlinks.
fn commit(origin: &Origin, modules: &str, links: &[(&str, &str)]) -> git::CommitSha {
    let blob = origin.git_with_input(&["hash-object", "-w", "--stdin"], modules.as_bytes());
    let mut lines = vec![format!("100644 blob {blob}\t.gitmodules")];
    lines.extend(links.iter().map(|(path, sha)| format!("160000 commit {sha}\t{path}")));
    origin.commit_tree(&lines)
}

fn module(path: &str, url: &str) -> String {
    format!("[submodule \"{path}\"]\n\tpath = {path}\n\turl = {url}\n")
}

fn path(origin: &Origin) -> CloneUrl {
    CloneUrl::parse(origin.path().to_str().unwrap(), Hosts::AlsoLocal).unwrap()
}

async fn fetch(remote: &Remote, sha: git::CommitSha) -> Result<Fetched, RemoteError> {
    let folder = tempfile::tempdir().unwrap();
    remote.fetch_commit(&at(sha), folder.path(), LIMITS).await
}

#[tokio::test]
async fn what_is_wrong_with_a_submodule_is_told_with_its_path() {
    let origin = Origin::new();
    let lib = origin.beside("lib");
    lib.write("a", "a");
    let tip = lib.commit().to_string();
    let server = Server::new(origin.root());
    for (url, sha, message) in [
        ("../lib", ABSENT, "submodule lib: the repository has no such commit"),
        ("../gone", &*tip, "submodule lib: the repository does not exist, or is private and needs a connection"),
        ("ssh://git@git.example.com/lib", &tip, "submodule lib: its URL must be an https:// URL of a repository"),
        (
            "../../../../../../../../../../lib",
            &tip,
            "submodule lib: its URL ../../../../../../../../../../lib leads out of",
        ),
        ("https://169.254.169.254/lib", &tip, "submodule lib: its URL must name a host on the public internet"),
        ("\\\"\\\"", &tip, "submodule lib: its URL must be an https:// URL of a repository"),
    ] {
        let sha = commit(&origin, &module("lib", url), &[("lib", sha)]);
        for clone_url in [path(&origin), server.url("/app")] {
            let error = fetch(&remote(&clone_url), sha).await.unwrap_err().to_string();
            assert!(error.starts_with(message), "{clone_url} {url}: {error}");
        }
    }
    let malformed = commit(&origin, "[submodule \"lib\"", &[("lib", &tip)]);
    let error = fetch(&remote(&server.url("/app")), malformed).await.unwrap_err();
    assert_eq!(error.to_string(), "submodule lib: .gitmodules can't be read");
    let by_path = commit(&origin, &module("lib", lib.path().to_str().unwrap()), &[("lib", &tip)]);
    let error = fetch(&remote(&server.url("/app")), by_path).await.unwrap_err();
    assert_eq!(error.to_string(), "submodule lib: its URL must be an https:// URL of a repository");
}

#[tokio::test]
async fn names_that_leave_their_folder_or_collide_are_refused() {
    let origin = Origin::new();
    let lib = origin.beside("lib");
    lib.write("a", "a");
    let tip = lib.commit().to_string();
    let server = Server::new(origin.root());
    let named = |name: &str, path: &str| format!("[submodule \"{name}\"]\n\tpath = {path}\n\turl = ../lib\n");
    for (modules, links, path) in [
        (named("../../x", "lib"), vec!["lib"], "lib"),
        (named("/tmp/x", "lib"), vec!["lib"], "lib"),
        (named("a", "one") + &named("a/b", "two"), vec!["one", "two"], "t"),
        (named("a/b", "one") + &named("a", "two"), vec!["one", "two"], "t"),
        (named("lib", "lib") + "\tupdate = !touch x\n", vec!["lib"], "lib"),
    ] {
        let links: Vec<_> = links.into_iter().map(|path| (path, &*tip)).collect();
        let sha = commit(&origin, &modules, &links);
        let error = fetch(&remote(&server.url("/app")), sha).await.unwrap_err().to_string();
        assert!(error.starts_with(&format!("submodule {path}")), "{modules}: {error}");
        assert!(error.contains("in .gitmodules"), "{modules}: {error}");
    }
}

#[tokio::test]
async fn submodules_are_bounded_in_number_and_depth() {
    let origin = Origin::new();
    let lib = origin.beside("lib");
    let tip = lib.commit().to_string();
    let paths: Vec<String> = (0..=git::MAX_SUBMODULES).map(|number| format!("m{number}")).collect();
    let modules: String = paths.iter().map(|path| module(path, "../lib")).collect();
    let links: Vec<_> = paths.iter().map(|path| (path.as_str(), tip.as_str())).collect();
    let sha = commit(&origin, &modules, &links);
    let error = fetch(&remote(&path(&origin)), sha).await.unwrap_err();
    assert_eq!(error.to_string(), "the repository is too large: it may have at most 100 submodules");

    let mut inner = tip;
    let mut url = "../lib".to_owned();
    for depth in 0..=git::MAX_SUBMODULE_DEPTH {
        let name = format!("level{depth}");
        let level = origin.beside(&name);
        inner = commit(&level, &module("inner", &url), &[("inner", &inner)]).to_string();
        url = format!("../{name}");
    }
    let outermost = origin.beside(url.trim_start_matches("../"));
    let error = fetch(&remote(&path(&outermost)), inner.parse().unwrap()).await.unwrap_err();
    assert!(error.to_string().ends_with("submodules may be nested 8 deep"), "{error}");
}

#[tokio::test]
async fn a_limit_counts_for_all_submodules_together() {
    let origin = Origin::new();
    let lib = origin.beside("lib");
    lib.write("zeros", vec![0; 1_000_000]);
    let tip = lib.commit().to_string();
    let modules = module("a", "../lib") + &module("b", "../lib");
    let sha = commit(&origin, &modules, &[("a", &tip), ("b", &tip)]);
    let path = path(&origin);
    let folder = tempfile::tempdir().unwrap();
    let small = FetchLimits { tree_bytes: 1_900_000, ..LIMITS };
    let error = remote(&path).fetch_commit(&at(sha), folder.path(), small).await.unwrap_err();
    assert!(matches!(error, RemoteError::TooLarge("bytes of files", 1_900_000)), "{error:?}");
}

#[tokio::test]
async fn a_submodule_on_the_own_host_gets_the_credential_and_another_does_not() {
    let origin = Origin::new();
    let lib = origin.beside("lib");
    lib.write("a", "a");
    let tip = lib.commit().to_string();
    let elsewhere = Server::new(origin.root());
    let server = Server::answering(origin.root(), |request| match request.headers.contains_key("authorization") {
        true => Answer::Git(request.path.clone()),
        false => Answer::Status("401 Unauthorized"),
    });
    let modules = module("own", "../lib") + &module("other", elsewhere.url("/lib").to_string().as_str());
    let sha = commit(&origin, &modules, &[("other", &tip), ("own", &tip)]);
    let credential = Credential::new(server.host().parse().unwrap(), "robot", "secret", "the credential");
    let remote = Remote::new(server.url("/app"), Some(credential));
    let folder = tempfile::tempdir().unwrap();
    let fetched = remote.fetch_commit(&at(sha), folder.path(), LIMITS).await.unwrap();
    assert_eq!(fetched.notes.len(), 2, "{fetched:?}");
    for path in ["own/a", "other/a"] {
        assert_eq!(fs::read_to_string(folder.path().join(path)).unwrap(), "a", "{path}");
    }
    assert!(server.requests().iter().any(|request| request.path.starts_with("/lib")));
    assert!(!elsewhere.requests().is_empty());
    assert!(elsewhere.requests().iter().all(|request| !request.headers.contains_key("authorization")));
}

#[tokio::test]
async fn git_takes_fetched_submodules_for_its_own() {
    let origin = Origin::new();
    let lib = origin.beside("lib");
    lib.write("a", "a");
    let tip = lib.commit().to_string();
    let sha = commit(&origin, &module("lib", "../lib"), &[("lib", &tip)]);
    let server = Server::new(origin.root());
    for url in [path(&origin), server.url("/app")] {
        let folder = tempfile::tempdir().unwrap();
        remote(&url).fetch_commit(&at(sha), folder.path(), LIMITS).await.unwrap();
        let git = |arguments: &[&str]| {
            let output = isolated_git().args(arguments).current_dir(folder.path()).output().unwrap();
            assert!(output.status.success(), "{url} {arguments:?}: {output:?}");
            String::from_utf8(output.stdout).unwrap().trim_end().to_owned()
        };
        assert!(git(&["submodule", "status"]).starts_with(&format!(" {tip} lib")), "{url}");
        assert_eq!(git(&["-C", "lib", "rev-parse", "HEAD"]), tip, "{url}");
        // Nothing is left to fetch.
        git(&["submodule", "update", "--init", "--recursive"]);
        assert_eq!(git(&["status", "--porcelain"]), "", "{url}");
        fs::write(folder.path().join("lib/a"), "changed").unwrap();
        assert_eq!(git(&["status", "--porcelain"]), " M lib", "{url}");
    }
}

#[tokio::test]
async fn submodules_of_a_folder_that_becomes_the_checkout_work_with_git() {
    let origin = Origin::new();
    let inner = origin.beside("inner");
    inner.write("a", "inner");
    let of_inner = inner.commit();
    let lib = origin.beside("lib");
    lib.git_with_input(&["update-index", "--add", "--cacheinfo", &format!("160000,{of_inner},deep/inner")], b"");
    lib.write(".gitmodules", module("deep/inner", "../inner"));
    lib.write("b", "lib");
    lib.git(&["add", ".gitmodules", "b"]);
    lib.git(&["commit", "--quiet", "--message=lib"]);
    let of_lib = lib.sha("HEAD");
    for path in ["apps/web/vendor/lib", "apps/other"] {
        origin.git(&["update-index", "--add", "--cacheinfo", &format!("160000,{of_lib},{path}")]);
    }
    let modules = module("apps/web/vendor/lib", "../lib") + &module("apps/other", "../lib");
    origin.write(".gitmodules", modules);
    origin.write("apps/web/page", "page");
    origin.git(&["add", ".gitmodules", "apps/web/page"]);
    origin.git(&["commit", "--quiet", "--message=app"]);
    let sha = origin.sha("HEAD");
    let server = Server::new(origin.root());
    let said = |folder: &std::path::Path, arguments: &[&str]| {
        let output = isolated_git().args(arguments).current_dir(folder).output().unwrap();
        assert!(output.status.success(), "{arguments:?} {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    };
    let inner_of = |folder: &std::path::Path| {
        assert_eq!(said(folder, &["rev-parse", "HEAD"]), of_lib.to_string());
        assert_eq!(said(folder, &["status", "--porcelain"]), "");
        let deep = folder.join("deep/inner");
        assert_eq!(said(&deep, &["rev-parse", "HEAD"]), of_inner.to_string());
        assert_eq!(said(&deep, &["status", "--porcelain"]), "");
        assert_eq!(said(&deep, &["rev-parse", "--show-toplevel"]), fs::canonicalize(&deep).unwrap().to_str().unwrap());
    };
    for (root, page) in [("apps/web", true), ("apps", true), ("apps/other", false)] {
        let folder = tempfile::tempdir().unwrap();
        let checkout = fs::canonicalize(folder.path()).unwrap().join("source");
        remote(&server.url("/app")).fetch_commit(&at(sha), &checkout, LIMITS).await.unwrap();
        git::make_root(&checkout, &checkout.join(root)).unwrap();
        assert_eq!(said(&checkout, &["status", "--porcelain"]), "", "{root}");
        assert_eq!(said(&checkout, &["rev-parse", "--show-toplevel"]), checkout.to_str().unwrap(), "{root}");
        match page {
            true => {
                assert_eq!(said(&checkout, &["rev-parse", "HEAD"]), sha.to_string());
                assert_eq!(
                    said(&checkout, &["describe", "--always", "--dirty"]),
                    said(&checkout, &["describe", "--always"])
                );
                let above = if root == "apps" { "web/vendor/lib" } else { "vendor/lib" };
                inner_of(&checkout.join(above));
            }
            false => inner_of(&checkout),
        }
        assert!(!checkout.with_file_name("root").exists());
    }
}
