//! Files in Git LFS, from a server of the batch API and from a repository on this machine.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};

use git::{CloneUrl, CommitSha, Credential, FetchLimits, Remote, RemoteError};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::origin::{Origin, isolated_git};
use crate::server::{Answer, Request, Server};
use crate::trees::entry::{COMMITTED, Entry, commit, executable, file};
use crate::{LIMITS, at, remote};

const ATTRIBUTES: &str = "*.bin filter=lfs diff=lfs merge=lfs -text\n";
const JSON: &str = "application/vnd.git-lfs+json";

fn oid(content: &[u8]) -> String {
    Sha256::digest(content).iter().map(|byte| format!("{byte:02x}")).collect()
}

fn pointer(content: &[u8]) -> String {
    format!("version https://git-lfs.github.com/spec/v1\noid sha256:{}\nsize {}\n", oid(content), content.len())
}

fn large() -> Vec<u8> {
    (0u32..300_000).flat_map(|n| n.wrapping_mul(2_654_435_761).to_be_bytes()).collect()
}

/// Commits files in Git LFS, two of which are the same, and one that is in the repository.
fn commit_files(origin: &Origin) -> CommitSha {
    let entries: [Entry; 5] = [
        file(".gitattributes", ATTRIBUTES),
        file("a.bin", pointer(&large())),
        file("sub/again.bin", pointer(&large())),
        executable("run.bin", pointer(b"#!/bin/sh\n")),
        file("plain.bin", "no pointer"),
    ];
    commit(origin, &entries)
}

/// Answers the batch API with the places that `place` returns, and serves objects at `/objects/<oid>`.
fn answer(request: &Request, place: impl Fn(&str) -> Value) -> Answer {
    if request.path.ends_with("/info/lfs/objects/batch") {
        let asked: Value = serde_json::from_slice(&request.body).unwrap();
        assert_eq!((&asked["operation"], &asked["hash_algo"]), (&json!("download"), &json!("sha256")));
        let objects = asked["objects"].as_array().unwrap().iter().map(|object| {
            let mut answer = place(object["oid"].as_str().unwrap());
            answer["oid"] = object["oid"].clone();
            answer["size"] = object["size"].clone();
            answer
        });
        let body = json!({"transfer": "basic", "objects": objects.collect::<Vec<_>>()});
        return Answer::Content(JSON, body.to_string().into_bytes());
    }
    match request.path.strip_prefix("/objects/") {
        Some(asked) => {
            let found = [large(), b"#!/bin/sh\n".to_vec()].into_iter().find(|content| oid(content) == asked);
            found
                .map_or(Answer::Status("404 Not Found"), |content| Answer::Content("application/octet-stream", content))
        }
        None => Answer::Git(request.path.clone()),
    }
}

fn check(folder: &Path) {
    let read = |path: &str| fs::read(folder.join(path)).unwrap();
    assert!(read("a.bin") == large() && read("sub/again.bin") == large());
    assert_eq!(read("run.bin"), b"#!/bin/sh\n");
    assert_eq!(read("plain.bin"), b"no pointer");
    assert_eq!(fs::metadata(folder.join("run.bin")).unwrap().permissions().mode() & 0o111, 0o111);
    for path in ["a.bin", "sub/again.bin", "run.bin"] {
        assert_eq!(fs::metadata(folder.join(path)).unwrap().mtime(), COMMITTED, "{path}");
    }
    let status = isolated_git().args(["status", "--porcelain"]).current_dir(folder).output().unwrap();
    assert_eq!(String::from_utf8_lossy(&status.stdout), "");
}

#[tokio::test]
async fn files_are_fetched_from_where_the_server_says_with_the_headers_for_there() {
    let origin = Origin::new();
    let sha = commit_files(&origin);
    let store = Server::answering(origin.root(), |request| answer(request, |_| json!({})));
    let place = format!("http://{}/objects", store.host());
    let server = Server::answering(origin.root(), move |request| {
        if !request.headers.contains_key("authorization") {
            return Answer::Status("401 Unauthorized");
        }
        answer(request, |oid| {
            let download =
                json!({"href": format!("{place}/{oid}?signed=1"), "header": {"X-Signature": "s", "Host": "evil"}});
            json!({"actions": {"download": download}})
        })
    });
    let credential = Credential::new(server.host().parse().unwrap(), "robot", "secret", "the credential");
    let remote = Remote::new(server.url("/app"), Some(credential));
    let folder = tempfile::tempdir().unwrap();
    remote.fetch_commit(&at(sha), folder.path(), LIMITS).await.unwrap();
    check(folder.path());
    let asked = store.requests();
    assert_eq!(asked.len(), 2, "one for each object: {asked:?}");
    for request in asked {
        assert_eq!(request.headers["x-signature"], "s");
        assert_eq!(request.headers["host"], store.host());
        assert!(!request.headers.contains_key("authorization"));
    }
    let batches: Vec<_> = server.requests().into_iter().filter(|request| request.path.contains("lfs")).collect();
    assert_eq!(batches.len(), 1);
    assert_eq!(batches[0].path, "/app.git/info/lfs/objects/batch");
}

#[tokio::test]
async fn a_place_on_the_servers_own_host_gets_its_credential_unless_it_comes_with_an_authorization() {
    let origin = Origin::new();
    let sha = commit_files(&origin);
    let credential = "Basic cm9ib3Q6c2VjcmV0";
    for (of_place, sent) in [
        (json!({}), Some(credential)),
        (json!({"authenticated": true}), None),
        (json!({"header": {"Authorization": "Bearer of the place"}}), Some("Bearer of the place")),
    ] {
        let own = of_place.clone();
        let server = Server::answering(origin.root(), move |request| {
            let host = request.headers["host"].clone();
            answer(request, |oid| {
                let download = json!({"href": format!("http://{host}/objects/{oid}"), "header": own["header"]});
                json!({"authenticated": own["authenticated"] == true, "actions": {"download": download}})
            })
        });
        let known = Credential::new(server.host().parse().unwrap(), "robot", "secret", "the credential");
        let folder = tempfile::tempdir().unwrap();
        let remote = Remote::new(server.url("/app"), Some(known));
        remote.fetch_commit(&at(sha), folder.path(), LIMITS).await.unwrap();
        check(folder.path());
        for request in server.requests().into_iter().filter(|request| request.path.starts_with("/objects/")) {
            let found = request.headers.get("authorization").map(String::as_str);
            assert_eq!(found, sent, "{of_place}");
        }
    }
}

#[tokio::test]
async fn files_of_a_repository_on_this_machine_are_copied() {
    let origin = Origin::new();
    let sha = commit_files(&origin);
    let url = CloneUrl::parse(origin.path().to_str().unwrap(), shared::hosts::Hosts::AlsoLocal).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let error = remote(&url).fetch_commit(&at(sha), folder.path(), LIMITS).await.unwrap_err();
    assert_eq!(error.to_string(), "Git LFS: a.bin is not among the repository's Git LFS objects");
    for content in [large(), b"#!/bin/sh\n".to_vec()] {
        let oid = oid(&content);
        let path = format!(".git/lfs/objects/{}/{}/{oid}", &oid[..2], &oid[2..4]);
        origin.write(&path, content);
    }
    let folder = tempfile::tempdir().unwrap();
    remote(&url).fetch_commit(&at(sha), folder.path(), LIMITS).await.unwrap();
    check(folder.path());
}

#[tokio::test]
async fn what_is_wrong_with_a_file_is_told_with_its_path() {
    let origin = Origin::new();
    let sha = commit_files(&origin);
    for (place, message) in [
        (json!({"error": {"code": 404, "message": "secret words"}}), "a.bin is not on the server"),
        (json!({"error": {"code": 422, "message": "secret words"}}), "a.bin is refused by the server, with code 422"),
        (json!({}), "a.bin has no download on the server"),
        (
            json!({"actions": {"download": {"href": "ftp://example.com/x"}}}),
            "a.bin has a download that is not an https:// URL",
        ),
        (
            json!({"actions": {"download": {"href": "http://a:b@example.com/x"}}}),
            "a.bin has a download that is not an https:// URL",
        ),
        (
            json!({"actions": {"download": {"href": "https://169.254.169.254/x"}}}),
            "a.bin is on a host that does not have a public address",
        ),
        (
            json!({"actions": {"download": {"href": "SELF/objects/other"}}}),
            "a.bin can't be downloaded: its server answered 404 Not Found",
        ),
        (
            json!({"actions": {"download": {"href": format!("SELF/objects/{}", oid(b"#!/bin/sh\n"))}}}),
            "a.bin differs on the server from its pointer",
        ),
    ] {
        let store = Server::answering(origin.root(), |request| answer(request, |_| json!({})));
        let place: Value =
            serde_json::from_str(&place.to_string().replace("SELF", &format!("http://{}", store.host()))).unwrap();
        let server = Server::answering(origin.root(), move |request| answer(request, |_| place.clone()));
        let folder = tempfile::tempdir().unwrap();
        let error = remote(&server.url("/app")).fetch_commit(&at(sha), folder.path(), LIMITS).await.unwrap_err();
        assert_eq!(error.to_string(), format!("Git LFS: {message}"));
    }
    for (status, message) in [
        ("401 Unauthorized", "the server does not exist or is not public"),
        ("404 Not Found", "the server does not exist or is not public"),
        ("413 Payload Too Large", "the server answered 413 Payload Too Large"),
    ] {
        let server = Server::answering(origin.root(), move |request| match request.path.contains("lfs") {
            true => Answer::Status(status),
            false => Answer::Git(request.path.clone()),
        });
        let folder = tempfile::tempdir().unwrap();
        let error = remote(&server.url("/app")).fetch_commit(&at(sha), folder.path(), LIMITS).await.unwrap_err();
        assert_eq!(error.to_string(), format!("Git LFS: {message}"));
    }
}

#[tokio::test]
async fn a_server_that_refuses_the_credential_is_not_called_missing() {
    let origin = Origin::new();
    let sha = commit_files(&origin);
    for status in ["401 Unauthorized", "403 Forbidden", "404 Not Found"] {
        let server = Server::answering(origin.root(), move |request| match request.path.contains("lfs") {
            true => Answer::Status(status),
            false => Answer::Git(request.path.clone()),
        });
        let credential = Credential::new(server.host().parse().unwrap(), "robot", "secret", "the credential");
        let remote = Remote::new(server.url("/app"), Some(credential));
        let folder = tempfile::tempdir().unwrap();
        let error = remote.fetch_commit(&at(sha), folder.path(), LIMITS).await.unwrap_err();
        let message = "Git LFS: the server does not exist, or the connection's credential may not read it";
        assert_eq!(error.to_string(), message, "{status}");
    }
}

#[tokio::test]
async fn a_server_may_move_on_its_own_origin_only() {
    let origin = Origin::new();
    let sha = commit_files(&origin);
    let other = Server::new(origin.root());
    let elsewhere = format!("http://{}/moved", other.host());
    for (status, to, result) in [
        ("307 Temporary Redirect", "/moved".to_owned(), Ok(())),
        ("308 Permanent Redirect", "/moved".to_owned(), Ok(())),
        ("307 Temporary Redirect", elsewhere, Err("Git LFS: the server redirects away from its host")),
        ("307 Temporary Redirect", "/app.git/info/lfs".to_owned(), Err("Git LFS: the server redirects too often")),
        ("302 Found", "/moved".to_owned(), Err("Git LFS: the server answered 302 Found")),
    ] {
        let server = Server::answering(origin.root(), move |request| {
            if request.path == "/app.git/info/lfs/objects/batch" {
                return Answer::Redirect(status, format!("{to}/objects/batch"));
            }
            let mut request = request.clone();
            request.path = request.path.replace("/moved/", "/info/lfs/");
            let host = request.headers["host"].clone();
            answer(&request, |oid| json!({"actions": {"download": {"href": format!("http://{host}/objects/{oid}")}}}))
        });
        let credential = Credential::new(server.host().parse().unwrap(), "robot", "secret", "the credential");
        let remote = Remote::new(server.url("/app"), Some(credential));
        let folder = tempfile::tempdir().unwrap();
        let fetched = remote.fetch_commit(&at(sha), folder.path(), LIMITS).await.map(drop);
        assert_eq!(fetched.map_err(|error| error.to_string()), result.map_err(str::to_owned), "{status}");
        let batches: Vec<_> = server.requests().into_iter().filter(|request| request.path.ends_with("batch")).collect();
        assert!(batches.iter().all(|asked| asked.method == "POST" && asked.body == batches[0].body), "{batches:?}");
        assert!(batches.iter().all(|asked| asked.headers["authorization"] == "Basic cm9ib3Q6c2VjcmV0"));
    }
    assert!(other.requests().is_empty());
}

#[tokio::test]
async fn a_download_that_fails_once_is_tried_again() {
    let origin = Origin::new();
    let sha = commit_files(&origin);
    let asked = AtomicUsize::new(0);
    let store = Server::answering(origin.root(), move |request| match asked.fetch_add(1, Ordering::Relaxed) {
        0 => Answer::Status("503 Service Unavailable"),
        _ => answer(request, |_| json!({})),
    });
    let place = format!("http://{}/objects", store.host());
    let server = Server::answering(origin.root(), move |request| {
        answer(request, |oid| json!({"actions": {"download": {"href": format!("{place}/{oid}")}}}))
    });
    let folder = tempfile::tempdir().unwrap();
    remote(&server.url("/app")).fetch_commit(&at(sha), folder.path(), LIMITS).await.unwrap();
    check(folder.path());
}

#[tokio::test]
async fn a_redirect_elsewhere_leaves_the_headers_behind() {
    let origin = Origin::new();
    let sha = commit_files(&origin);
    let store = Server::answering(origin.root(), |request| answer(request, |_| json!({})));
    let target = store.host();
    let place = Server::answering(origin.root(), move |request| {
        Answer::Redirect("301 Moved", format!("http://{target}{}", request.path))
    });
    let host = place.host();
    let server = Server::answering(origin.root(), move |request| {
        answer(request, |oid| {
            let download =
                json!({"href": format!("http://{host}/objects/{oid}"), "header": {"Authorization": "Bearer place"}});
            json!({"actions": {"download": download}})
        })
    });
    let folder = tempfile::tempdir().unwrap();
    remote(&server.url("/app")).fetch_commit(&at(sha), folder.path(), LIMITS).await.unwrap();
    check(folder.path());
    assert!(place.requests().iter().all(|request| request.headers["authorization"] == "Bearer place"));
    assert!(store.requests().iter().all(|request| !request.headers.contains_key("authorization")));
}

#[tokio::test]
async fn the_size_of_files_counts_before_anything_is_fetched() {
    let origin = Origin::new();
    let sha = commit_files(&origin);
    let server = Server::new(origin.root());
    let small = FetchLimits { tree_bytes: 2_000_000, ..LIMITS };
    let folder = tempfile::tempdir().unwrap();
    let error = remote(&server.url("/app")).fetch_commit(&at(sha), folder.path(), small).await.unwrap_err();
    assert!(matches!(error, RemoteError::TooLarge("bytes of files", 2_000_000)), "{error:?}");
    assert!(!server.requests().iter().any(|request| request.path.contains("lfs")));
}

#[tokio::test]
async fn the_repository_may_name_another_server_which_gets_no_credential() {
    let origin = Origin::new();
    let other = Server::answering(origin.root(), |request| {
        let host = request.headers["host"].clone();
        answer(request, move |oid| json!({"actions": {"download": {"href": format!("http://{host}/objects/{oid}")}}}))
    });
    let entries = |config: String| {
        [
            file(".gitattributes", ATTRIBUTES),
            file(".lfsconfig", config),
            file("a.bin", pointer(&large())),
            file("sub/again.bin", pointer(&large())),
            executable("run.bin", pointer(b"#!/bin/sh\n")),
            file("plain.bin", "no pointer"),
        ]
    };
    let sha = commit(&origin, &entries(format!("[lfs]\n\turl = http://{}/other/info/lfs\n", other.host())));
    let server = Server::new(origin.root());
    let credential = Credential::new(server.host().parse().unwrap(), "robot", "secret", "the credential");
    let remote = Remote::new(server.url("/app"), Some(credential));
    let folder = tempfile::tempdir().unwrap();
    remote.fetch_commit(&at(sha), folder.path(), LIMITS).await.unwrap();
    check(folder.path());
    assert!(other.requests().iter().any(|request| request.path == "/other/info/lfs/objects/batch"));
    assert!(other.requests().iter().all(|request| !request.headers.contains_key("authorization")));

    for url in ["file:///srv/lfs", "/srv/lfs", "ssh://git@example.com/lfs", "http://10.0.0.1/lfs"] {
        let sha = commit(&origin, &entries(format!("[lfs]\n\turl = {url}\n")));
        let folder = tempfile::tempdir().unwrap();
        let error = remote.fetch_commit(&at(sha), folder.path(), LIMITS).await.unwrap_err();
        assert!(error.to_string().starts_with("Git LFS: the URL in .lfsconfig must"), "{url}: {error}");
    }
}
