//! The branches and tags whose history has a commit.

use std::time::Duration;

use git::{CloneUrl, CommitSha, MAX_TIPS, Reach, RemoteError};

use crate::origin::Origin;
use crate::server::{Answer, Server};
use crate::{everywhere, remote};

const TIME: Duration = Duration::from_secs(60);

/// Commits of a repository: two on `main`, one on each of `release/1`, the tag `v1` and a fork's pull request, and one that a push by
/// force has left behind.
struct Commits {
    origin: Origin,
    older: CommitSha,
    tip: CommitSha,
    released: CommitSha,
    tagged: CommitSha,
    forked: CommitSha,
    lost: CommitSha,
}

impl Commits {
    fn new() -> Self {
        let origin = Origin::new();
        let older = origin.commit();
        let beside = |text: &str| {
            origin.git(&["checkout", "--quiet", "--detach", &older.to_string()]);
            origin.write(text, text);
            (origin.commit(), origin.commit())
        };
        let (released, newest) = beside("released");
        origin.git(&["branch", "release/1", &newest.to_string()]);
        let (tagged, newest) = beside("tagged");
        origin.git(&["tag", "--annotate", "--message=x", "v1", &newest.to_string()]);
        let (forked, newest) = beside("forked");
        origin.git(&["update-ref", "refs/pull/7/head", &newest.to_string()]);
        let (lost, _) = beside("lost");
        origin.git(&["checkout", "--quiet", "main"]);
        let tip = origin.commit();
        Self { origin, older, tip, released, tagged, forked, lost }
    }
}

async fn reach(url: &CloneUrl, sha: CommitSha) -> Reach {
    remote(url).reach(sha, TIME, |_| true).await.unwrap()
}

fn on(name: &str) -> Reach {
    Reach::On(name.to_owned())
}

#[tokio::test]
async fn a_commit_is_on_the_branches_and_tags_whose_history_has_it() {
    let Commits { origin, older, tip, released, tagged, forked, lost } = Commits::new();
    for filter in ["false", "true"] {
        origin.git(&["config", "uploadpack.allowFilter", filter]);
        let server = Server::new(origin.root());
        for url in everywhere(&origin, &server) {
            for (sha, expected) in [
                (tip, on("refs/heads/main")),
                (older, on("refs/heads/main")),
                (released, on("refs/heads/release/1")),
                (tagged, on("refs/tags/v1")),
                (forked, Reach::Nowhere),
                (lost, Reach::Nowhere),
            ] {
                assert_eq!(reach(&url, sha).await, expected, "{url} {filter} {sha}");
            }
        }
    }
}

#[tokio::test]
async fn only_the_branches_and_tags_that_are_meant_count() {
    let Commits { origin, older, tip, released, .. } = Commits::new();
    let server = Server::new(origin.root());
    for url in everywhere(&origin, &server) {
        let reach = async |sha, meant: &'static str| {
            remote(&url).reach(sha, TIME, move |name| name.starts_with(meant)).await.unwrap()
        };
        assert_eq!(reach(older, "refs/tags/").await, on("refs/tags/v1"), "{url}");
        assert_eq!(reach(older, "refs/heads/release/").await, on("refs/heads/release/1"), "{url}");
        assert_eq!(reach(tip, "refs/tags/").await, Reach::Nowhere, "{url}");
        assert_eq!(reach(released, "refs/heads/main").await, Reach::Nowhere, "{url}");
        assert_eq!(reach(released, "refs/heads/absent").await, Reach::Nowhere, "{url}");
    }
}

#[tokio::test]
async fn a_server_of_an_old_protocol_tells_it_too() {
    let Commits { origin, older, released, forked, lost, .. } = Commits::new();
    origin.git(&["update-ref", "refs/pull/8/head", &forked.to_string()]);
    for protocol in ["", "version=1"] {
        let server = Server::answering(origin.root(), move |request| Answer::OldGit(request.path.clone(), protocol));
        let url = server.url("/app/.git");
        for (sha, expected) in
            [(older, on("refs/heads/main")), (released, on("refs/heads/release/1")), (forked, Reach::Nowhere)]
        {
            assert_eq!(reach(&url, sha).await, expected, "{protocol:?} {sha}");
        }
        let error = remote(&url).reach(lost, TIME, |_| true).await.unwrap_err();
        assert!(matches!(error, RemoteError::NoSuchCommit), "{protocol:?}: {error:?}");
    }
}

#[tokio::test]
async fn what_is_no_commit_is_on_nothing_and_hides_nothing() {
    let Commits { origin, older, forked, .. } = Commits::new();
    origin.git(&["tag", "file", "release/1:released"]);
    origin.git(&["tag", "--annotate", "--message=x", "folder", "HEAD^{tree}"]);
    origin.git(&["tag", "--annotate", "--message=x", "again", &older.to_string()]);
    let tag = origin.sha("refs/tags/again");
    origin.git(&["update-ref", "-d", "refs/tags/again"]);
    let server = Server::new(origin.root());
    for url in everywhere(&origin, &server) {
        assert_eq!(reach(&url, older).await, on("refs/heads/main"), "{url}");
        assert_eq!(reach(&url, forked).await, Reach::Nowhere, "{url}");
        assert_eq!(reach(&url, tag).await, Reach::Nowhere, "{url}: the commit is on a branch, and the tag is not");
    }
}

#[tokio::test]
async fn a_shallow_repository_tells_of_the_history_that_it_has() {
    let Commits { origin, older, forked, .. } = Commits::new();
    let shallow = origin.beside("shallow");
    let from = format!("file://{}", origin.path().display());
    let refs = ["main:refs/heads/main", "refs/pull/7/head:refs/pull/7/head"];
    shallow.git(&["fetch", "--quiet", "--depth=2", "--update-head-ok", &from, refs[0], refs[1]]);
    let server = Server::new(origin.root());
    let path = CloneUrl::parse(shallow.path().to_str().unwrap(), shared::hosts::Hosts::AlsoLocal).unwrap();
    for url in [path, server.url("/shallow/.git")] {
        assert_eq!(reach(&url, older).await, on("refs/heads/main"), "{url}");
        assert_eq!(reach(&url, forked).await, Reach::Nowhere, "{url}");
    }
}

/// Adds branches, each with a commit of its own after the tip of `main`.
fn add_branches(origin: &Origin, count: usize) {
    let tip = origin.sha("refs/heads/main");
    let branch = |number: usize| {
        let file = format!("M 100644 inline file\ndata 5\n{number:05}\n");
        format!("commit refs/heads/many/{number:05}\ncommitter A <a@b> 1700000000 +0000\ndata 1\nx\nfrom {tip}\n{file}")
    };
    let script: String = (0..count).map(branch).collect();
    origin.git_with_input(&["fast-import", "--quiet"], script.as_bytes());
}

#[tokio::test]
async fn one_of_many_branches_is_found_in_few_requests() {
    let Commits { origin, older, forked, .. } = Commits::new();
    add_branches(&origin, 5_000);
    origin.git(&["checkout", "--quiet", "many/04321"]);
    let sha = origin.commit();
    origin.commit();
    origin.git(&["checkout", "--quiet", "main"]);
    let server = Server::new(origin.root());
    let url = server.url("/app/.git");
    let asked = async |sha| {
        let before = server.requests().len();
        let found = reach(&url, sha).await;
        let requests = server.requests().split_off(before);
        let haves = |body: &[u8]| String::from_utf8_lossy(body).matches("have ").count();
        (found, requests.iter().map(|request| haves(&request.body)).filter(|haves| *haves > 0).collect::<Vec<_>>())
    };
    let (found, haves) = asked(older).await;
    assert_eq!((found, haves), (on("refs/heads/main"), vec![1]), "the default branch is asked for first");
    let (found, haves) = asked(sha).await;
    assert_eq!(found, on("refs/heads/many/04321"));
    assert_eq!(haves[..4], [1, 2_000, 2_000, 1_002]);
    assert!(haves.len() <= 4 + 10, "{haves:?}");
    let (found, haves) = asked(forked).await;
    assert_eq!((found, haves), (Reach::Nowhere, vec![1, 2_000, 2_000, 1_002, 1]));
}

#[tokio::test]
async fn of_too_many_branches_and_tags_some_are_left_out_and_nothing_is_known() {
    let Commits { origin, released, forked, tagged, .. } = Commits::new();
    add_branches(&origin, MAX_TIPS);
    let server = Server::new(origin.root());
    let url = server.url("/app/.git");
    assert_eq!(reach(&url, forked).await, Reach::Unknown);
    assert_eq!(reach(&url, tagged).await, Reach::Unknown, "tags come last");
    let meant = remote(&url).reach(tagged, TIME, |name| name.starts_with("refs/tags/")).await.unwrap();
    assert_eq!(meant, on("refs/tags/v1"));
    let meant = remote(&url).reach(released, TIME, |name| name.contains("release")).await.unwrap();
    assert_eq!(meant, on("refs/heads/release/1"));
}

#[tokio::test]
async fn a_server_that_takes_no_notice_of_what_clients_have_tells_nothing() {
    let Commits { origin, older, tip, forked, .. } = Commits::new();
    let server = Server::answering(origin.root(), |request| Answer::DeafGit(request.path.clone()));
    let url = server.url("/app/.git");
    assert_eq!(reach(&url, tip).await, on("refs/heads/main"), "the list of refs tells");
    for sha in [older, forked] {
        assert_eq!(reach(&url, sha).await, Reach::Unknown);
    }
}

#[tokio::test]
async fn an_answer_without_a_pack_is_no_consent() {
    let Commits { origin, older, .. } = Commits::new();
    let pack = |objects: &str| format!("000dpackfile\n0011\x01{objects}0000");
    for answer in
        [String::new(), "0000".to_owned(), pack("PACK\0\0\0\x09\0\0\0\0"), pack("JUNK\0\0\0\x02\0\0\0\0"), pack("PACK")]
    {
        let server = Server::answering(origin.root(), move |request| {
            match String::from_utf8_lossy(&request.body).contains("have ") {
                true => Answer::Content("application/x-git-upload-pack-result", answer.clone().into_bytes()),
                false => Answer::Git(request.path.clone()),
            }
        });
        remote(&server.url("/app/.git")).reach(older, TIME, |_| true).await.unwrap_err();
    }
}
