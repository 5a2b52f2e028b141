use std::time::Duration;

use git::{CommitSha, RemoteError, RemoteRef, RemoteRefs, Revision};
use shared::hosts::Hosts;

use crate::origin::Origin;
use crate::server::{Answer, Server};
use crate::{everywhere, remote};

fn named(name: &str, target: CommitSha) -> RemoteRef {
    RemoteRef { name: name.to_owned(), target, tag: None }
}

#[tokio::test]
async fn lists_branches_and_peeled_tags_and_the_default_branch() {
    let origin = Origin::new();
    let first = origin.commit();
    origin.git(&["tag", "light"]);
    origin.git(&["tag", "--annotate", "--message=x", "v1.0"]);
    origin.git(&["tag", "--annotate", "--message=x", "v1.0-again", "v1.0"]);
    origin.git(&["tag", "both"]);
    origin.git(&["update-ref", "refs/pull/1/head", "HEAD"]);
    origin.git(&["pack-refs", "--all"]);
    let second = origin.commit();
    origin.git(&["branch", "both"]);
    origin.git(&["branch", "feature/x"]);
    let server = Server::new(origin.root());

    let annotated = |name: &str, target| RemoteRef { tag: Some(origin.sha(name)), ..named(name, target) };
    for url in everywhere(&origin, &server) {
        let mut found = remote(&url).list_refs().await.unwrap();
        found.refs.sort_by(|a, b| a.name.cmp(&b.name));
        let expected = RemoteRefs {
            default_branch: Some("main".to_owned()),
            head: Some(second),
            refs: vec![
                named("refs/heads/both", second),
                named("refs/heads/feature/x", second),
                named("refs/heads/main", second),
                named("refs/tags/both", first),
                named("refs/tags/light", first),
                annotated("refs/tags/v1.0", first),
                annotated("refs/tags/v1.0-again", first),
            ],
        };
        assert_eq!(found, expected, "{url}");

        let resolved = found.resolve(&Revision::parse("both").unwrap()).unwrap();
        assert_eq!((resolved.name.as_deref(), resolved.sha), (Some("refs/heads/both"), second));
    }
}

#[tokio::test]
async fn an_empty_repository_and_a_detached_head() {
    let origin = Origin::new();
    let server = Server::new(origin.root());
    for url in everywhere(&origin, &server) {
        let empty = RemoteRefs { default_branch: Some("main".to_owned()), head: None, refs: vec![] };
        assert_eq!(remote(&url).list_refs().await.unwrap(), empty, "{url}");
    }
    let sha = origin.commit();
    origin.git(&["checkout", "--quiet", "--detach"]);
    for url in everywhere(&origin, &server) {
        let detached = RemoteRefs { default_branch: None, head: Some(sha), refs: vec![named("refs/heads/main", sha)] };
        assert_eq!(remote(&url).list_refs().await.unwrap(), detached, "{url}");
    }
}

#[tokio::test]
async fn a_symbolic_branch_is_listed_with_its_commit() {
    let origin = Origin::new();
    let sha = origin.commit();
    origin.git(&["symbolic-ref", "refs/heads/alias", "refs/heads/main"]);
    let server = Server::new(origin.root());
    for url in everywhere(&origin, &server) {
        let refs = remote(&url).list_refs().await.unwrap().refs;
        assert_eq!(refs, [named("refs/heads/alias", sha), named("refs/heads/main", sha)], "{url}");
    }
}

#[tokio::test]
async fn find_commit_knows_commits_from_other_objects() {
    let origin = Origin::new();
    let root = origin.commit();
    let old = origin.commit();
    origin.write("a", "a");
    let tip = origin.commit();
    origin.git(&["tag", "--annotate", "--message=x", "v1.0"]);
    let dropped = origin.commit();
    origin.git(&["reset", "--quiet", "--hard", "HEAD~"]);
    let others = ["HEAD^{tree}", "HEAD:a", "refs/tags/v1.0"].map(|other| origin.sha(other));
    let absent: CommitSha = "0123456789abcdef0123456789abcdef01234567".parse().unwrap();

    for filter in ["false", "true"] {
        origin.git(&["config", "uploadpack.allowFilter", filter]);
        let server = Server::new(origin.root());
        for url in everywhere(&origin, &server) {
            for sha in [root, old, tip, dropped] {
                assert!(remote(&url).find_commit(sha).await.unwrap().is_some(), "{url} {sha}");
            }
            for sha in others.into_iter().chain([absent]) {
                assert!(remote(&url).find_commit(sha).await.unwrap().is_none(), "{url} {sha}");
            }
        }
        let asked = server.requests().into_iter().rfind(|request| request.method == "POST").unwrap();
        let asked = String::from_utf8_lossy(&asked.body).into_owned();
        assert!(asked.contains(&format!("want {absent}")) && asked.contains("deepen 1"), "{asked}");
        assert_eq!(asked.contains("filter tree:0"), filter == "true", "{asked}");
    }
}

#[tokio::test]
async fn names_itself_and_sends_no_credentials() {
    let origin = Origin::new();
    origin.commit();
    let server = Server::new(origin.root());
    remote(&server.url("/app/.git")).list_refs().await.unwrap();
    let requests = server.requests();
    assert_eq!(requests.len(), 2);
    for request in requests {
        assert!(request.headers["user-agent"].starts_with("git/dotgit-"), "{request:?}");
        assert_eq!(request.headers["git-protocol"], "version=2");
        assert!(!request.headers.contains_key("authorization"));
    }
}

#[tokio::test]
async fn a_status_tells_what_is_wrong_and_not_in_the_servers_words() {
    let origin = Origin::new();
    for (status, message) in [
        ("401 Unauthorized", "the repository does not exist, or is private and needs a connection (connection_id)"),
        ("403 Forbidden", "the repository does not exist, or is private and needs a connection (connection_id)"),
        ("404 Not Found", "the repository does not exist, or is private and needs a connection (connection_id)"),
        ("500 Internal Server Error", "the repository's server answered 500 Internal Server Error"),
        ("400 Bad Request", "the repository's server sent an invalid response"),
        ("200 OK", "the repository's server sent an invalid response"),
    ] {
        let server = Server::answering(origin.root(), move |_| Answer::Status(status));
        let error = remote(&server.url("/app")).list_refs().await.unwrap_err();
        assert_eq!(error.to_string(), message, "{status}");
        assert_eq!(server.requests().len(), 1, "{status}");
    }
}

#[tokio::test]
async fn a_status_in_the_second_request_counts_too() {
    let origin = Origin::new();
    let server = Server::answering(origin.root(), |request| match request.method.as_str() {
        "GET" => Answer::Git(request.path.clone()),
        _ => Answer::Status("403 Forbidden"),
    });
    let error = remote(&server.url("/app/.git")).list_refs().await.unwrap_err();
    assert!(matches!(error, RemoteError::NotARepository), "{error:?}");
}

#[tokio::test]
async fn a_path_arrives_as_it_was_written() {
    let origin = Origin::new();
    let server = Server::new(origin.root());
    remote(&server.url("/a%20b/%C3%A9/~x+y")).list_refs().await.unwrap_err();
    assert_eq!(server.requests()[0].path, "/a%20b/%C3%A9/~x+y/info/refs");
}

#[tokio::test]
async fn what_is_no_repository_is_told() {
    let origin = Origin::new();
    origin.write("folder/file", "text");
    let server = Server::new(origin.root());
    let folder = origin.path().join("folder");
    for url in [
        git::CloneUrl::parse("/nowhere/at/all", Hosts::AlsoLocal).unwrap(),
        git::CloneUrl::parse(folder.to_str().unwrap(), Hosts::AlsoLocal).unwrap(),
        server.url("/app/folder"),
        server.url("/other"),
    ] {
        let error = remote(&url).list_refs().await.unwrap_err();
        assert!(matches!(error, RemoteError::NotARepository), "{url}: {error:?}");
    }
}

/// The time that a busy machine may need for the largest list of refs.
const A_BUSY_MACHINE: Duration = Duration::from_secs(600);

#[tokio::test]
async fn a_list_that_does_not_end_is_cut() {
    let origin = Origin::new();
    let reference = format!("003d{} refs/heads/main\n", "0a".repeat(20));
    for (method, content_type, start, again) in [
        ("GET", "application/x-git-upload-pack-advertisement", "000eversion 2\n", "000cls-refs\n"),
        ("POST", "application/x-git-upload-pack-result", "", reference.as_str()),
    ] {
        let (start, again) = (start.to_owned(), again.to_owned());
        let server = Server::answering(origin.root(), move |request| {
            if request.method == method {
                Answer::Endless(content_type, start.clone(), again.clone())
            } else {
                Answer::Git(request.path.clone())
            }
        });
        let error = remote(&server.url("/app/.git")).list_refs_within(A_BUSY_MACHINE).await.unwrap_err();
        assert!(matches!(error, RemoteError::TooLarge("bytes of refs", git::MAX_LOOKUP_BYTES)), "{error:?}");
    }
}

#[tokio::test]
async fn a_page_that_does_not_end_is_no_repository() {
    let origin = Origin::new();
    let server = Server::answering(origin.root(), |_| Answer::Endless("text/html", String::new(), "<br>".to_owned()));
    let error = remote(&server.url("/app")).list_refs().await.unwrap_err();
    assert!(matches!(error, RemoteError::WebPage), "{error:?}");
}

#[tokio::test]
async fn too_many_refs_are_an_error() {
    let origin = Origin::new();
    let sha = origin.commit();
    let tags: String = (1..git::MAX_REFS).map(|n| format!("{sha} refs/tags/{n:06}\n")).collect();
    let packed = origin.path().join(".git/packed-refs");
    std::fs::write(&packed, format!("# pack-refs with: peeled fully-peeled sorted \n{tags}")).unwrap();
    let server = Server::new(origin.root());
    for url in everywhere(&origin, &server) {
        assert_eq!(
            remote(&url).list_refs_within(A_BUSY_MACHINE).await.unwrap().refs.len() as u64,
            git::MAX_REFS,
            "{url}"
        );
    }
    origin.git(&["tag", "one-more"]);
    for url in everywhere(&origin, &server) {
        let error = remote(&url).list_refs_within(A_BUSY_MACHINE).await.unwrap_err();
        assert_eq!(error.to_string(), "the repository is too large: it may have at most 50000 branches and tags");
    }
}
