//! Failures that pass.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use git::{RemoteError, Revision};

use crate::origin::Origin;
use crate::server::{Answer, Request, Server};
use crate::{LIMITS, at, remote};

/// Answers a request in a way that passes.
type Failure = fn(&Request) -> Answer;

fn answer(status: &str, headers: &str) -> Answer {
    Answer::Raw(format!("HTTP/1.1 {status}\r\n{headers}Content-Length: 0\r\n\r\n").into_bytes())
}

/// Serves the repository, but answers the first requests that match in another way.
fn failing(
    origin: &Origin,
    times: usize,
    matches: impl Fn(&Request) -> bool + Send + Sync + 'static,
    failure: impl Fn(&Request) -> Answer + Send + Sync + 'static,
) -> Server {
    let left = Arc::new(AtomicUsize::new(times));
    Server::answering(origin.root(), move |request| {
        let fails =
            matches(request) && left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |n| n.checked_sub(1)).is_ok();
        if fails { failure(request) } else { Answer::Git(request.path.clone()) }
    })
}

fn asks(request: &Request, command: &str) -> bool {
    match command {
        "refs" => request.method == "GET",
        _ => String::from_utf8_lossy(&request.body).contains(&format!("command={command}")),
    }
}

#[tokio::test]
async fn what_fails_once_is_tried_again() {
    let origin = Origin::new();
    origin.write("file", "x".repeat(10_000));
    let sha = origin.commit();
    let failures: [(&str, Failure); 5] = [
        ("429", |_| answer("429 Too Many Requests", "Retry-After: 0\r\n")),
        ("502", |_| answer("502 Bad Gateway", "")),
        ("503", |_| answer("503 Service Unavailable", "Retry-After: soon\r\n")),
        ("no answer", |_| Answer::Raw(Vec::new())),
        ("half an answer", |request| Answer::CutGit(request.path.clone())),
    ];
    for (failure, fail) in failures {
        for command in ["refs", "ls-refs", "fetch"] {
            let server = failing(&origin, 1, move |request| asks(request, command), fail);
            let found = remote(&server.url("/app/.git")).resolve(&Revision::parse("main").unwrap()).await;
            assert_eq!(found.unwrap().unwrap().0.sha, sha, "{failure} {command}");
        }
        let server = failing(&origin, 1, |request| asks(request, "fetch"), fail);
        let folder = tempfile::tempdir().unwrap();
        remote(&server.url("/app/.git")).fetch_commit(&at(sha), folder.path(), LIMITS).await.unwrap();
        assert_eq!(std::fs::read_to_string(folder.path().join("file")).unwrap().len(), 10_000, "{failure}");
        assert_eq!(server.requests().iter().filter(|request| asks(request, "fetch")).count(), 2, "{failure}");
    }
}

#[tokio::test]
async fn what_fails_for_long_is_told_after_few_attempts() {
    let origin = Origin::new();
    origin.commit();
    for (status, message) in [
        ("429 Too Many Requests", "the repository's server answered 429 Too Many Requests"),
        ("503 Service Unavailable", "the repository's server answered 503 Service Unavailable"),
    ] {
        let server = failing(&origin, usize::MAX, |_| true, move |_| answer(status, "Retry-After: 0\r\n"));
        let error = remote(&server.url("/app/.git")).list_refs().await.unwrap_err();
        assert_eq!((error.to_string().as_str(), server.requests().len()), (message, 4));
    }
    let server = failing(&origin, usize::MAX, |request| asks(request, "ls-refs"), |_| Answer::Raw(Vec::new()));
    let error = remote(&server.url("/app/.git")).list_refs().await.unwrap_err();
    assert!(matches!(error, RemoteError::Cut(_)), "{error:?}");
    assert_eq!(error.to_string(), "the connection to the repository's server was cut off");
}

#[tokio::test]
async fn a_server_is_not_waited_for_beyond_the_time_that_is_left() {
    let origin = Origin::new();
    origin.commit();
    let server = failing(&origin, 1, |_| true, |_| answer("429 Too Many Requests", "Retry-After: 3600\r\n"));
    let error = remote(&server.url("/app/.git")).list_refs().await.unwrap_err();
    // A look-up that waits as long as it may ends as timed out.
    assert!(matches!(error, RemoteError::Failed(status, _) if status == 429), "{error:?}");
    assert_eq!(server.requests().len(), 1);
}

#[tokio::test]
async fn a_server_is_given_the_time_that_it_asks_for() {
    let origin = Origin::new();
    origin.commit();
    let server = failing(&origin, 1, |_| true, |_| answer("429 Too Many Requests", "Retry-After: 2\r\n"));
    let started = Instant::now();
    remote(&server.url("/app/.git")).list_refs().await.unwrap();
    assert!(started.elapsed() >= Duration::from_secs(2), "{:?}", started.elapsed());
}

#[tokio::test]
async fn what_will_not_pass_is_told_at_once() {
    let origin = Origin::new();
    for status in ["401 Unauthorized", "404 Not Found", "400 Bad Request", "500 Internal Server Error"] {
        let server = failing(&origin, usize::MAX, |_| true, move |_| answer(status, ""));
        remote(&server.url("/app/.git")).list_refs().await.unwrap_err();
        assert_eq!(server.requests().len(), 1, "{status}");
    }
}
