use std::net::TcpListener;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use aws_sdk_dynamodb::types::AttributeValue;
use axum::body::Bytes;
use axum::http::{Method, Response};
use futures_util::future::join_all;
use serde_json::{Value, json};
use tests::git_server::{GitServer, Reply, Seen};
use tests::{Actor, Answer, GitRepository, World, buildspec};

async fn register(owner: &Actor, server: &GitServer) -> Answer {
    owner.post("/v1/repositories", json!({"name": "app", "clone_url": server.url("/app.git")})).await
}

fn answer(status: u16, content_type: &str, body: &str) -> Response<Bytes> {
    Response::builder().status(status).header("content-type", content_type).body(body.to_owned().into()).unwrap()
}

/// Returns an answer to each of the first requests for refs or for a pack, which are two of all.
fn at_first(
    times: usize,
    method: Method,
    answer: impl Fn() -> Response<Bytes> + Send + Sync + 'static,
) -> impl Fn(&Seen) -> Reply + Send + Sync + 'static {
    let left = Arc::new(AtomicUsize::new(times));
    move |seen| {
        let next = || left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1));
        if seen.method == method && next().is_ok() { Reply::Other(answer()) } else { Reply::Git }
    }
}

async fn runs(world: &World, owner: &Actor, git_ref: &str) -> Value {
    let created = owner.deploy("app", json!({"ref": git_ref})).await;
    world.deliver(owner, &created).await;
    owner.ended(&created).await
}

#[tokio::test]
async fn a_server_of_any_protocol_version_is_deployed_from() {
    let source = GitRepository::new(&[("buildspec.yml", &buildspec(&["cat file"])), ("file", "content")]);
    let sha = source.git(&["rev-parse", "HEAD"]);
    source.git(&["tag", "--annotate", "--message=x", "v1"]);
    source.commit(&[("file", "newer")]);
    for protocol in ["version=2", "version=1", "version=0", ""] {
        let world = World::start_without_queue().await;
        let owner = world.owner("acme").await;
        let server = GitServer::speaking(&source, protocol).await;
        let registered = register(&owner, &server).await;
        assert_eq!((registered.status, &registered.body["default_branch"]), (201, &json!("main")), "{protocol:?}");
        for (git_ref, line) in [("v1", "stdout: content"), (&sha, "stdout: content"), ("HEAD", "stdout: newer")] {
            let ended = runs(&world, &owner, git_ref).await;
            assert_eq!(ended["status"], "succeeded", "{protocol:?} {git_ref}: {ended}");
            assert!(owner.log(&ended).await.contains(&line.to_owned()), "{protocol:?} {git_ref}");
        }
    }
}

#[tokio::test]
async fn a_server_that_fails_once_fails_no_deployment() {
    let source = GitRepository::with_commands(&["true"]);
    for method in [Method::GET, Method::POST] {
        let failing = at_first(1, method.clone(), || {
            Response::builder().status(429).header("retry-after", "0").body(Bytes::new()).unwrap()
        });
        let server = GitServer::replying(&source, failing).await;
        let world = World::start_without_queue().await;
        let owner = world.owner("acme").await;
        assert_eq!(register(&owner, &server).await.status, 201, "{method}");
        let created = owner.deploy("app", json!({"ref": "main"})).await;

        let failing = at_first(1, method.clone(), || answer(502, "text/plain", ""));
        let server = GitServer::replying(&source, failing).await;
        let (account, id) = (owner.account_id.as_ref().unwrap(), created["id"].as_str().unwrap());
        let key = (&*format!("ACCT#{account}#DEPLOY#{id}"), "DEPLOY");
        world.set_attribute(key, "clone_url", AttributeValue::S(server.url("/app.git"))).await;
        world.deliver(&owner, &created).await;
        let ended = owner.ended(&created).await;
        assert_eq!(ended["status"], "succeeded", "{method}: {ended}");
    }
}

#[tokio::test]
async fn a_server_that_keeps_failing_is_unavailable() {
    let world = World::start_without_queue().await;
    let owner = world.owner("acme").await;
    let source = GitRepository::new(&[]);
    let server = GitServer::replying(&source, |_| {
        Reply::Other(Response::builder().status(503).header("retry-after", "3600").body(Bytes::new()).unwrap())
    })
    .await;
    let refused = register(&owner, &server).await;
    refused.refused(503, "remote_unavailable");
    let message = "The repository's server answered 503 Service Unavailable";
    assert_eq!(refused.body["error"]["message"], message);
}

#[tokio::test]
async fn an_account_waits_for_few_slow_hosts_however_many_it_names() {
    let world = World::start_without_queue().await;
    let (owner, other) = (world.owner("acme").await, world.owner("globex").await);
    // Connections to them wait until somebody accepts them.
    let silent: Vec<_> = (0..15).map(|_| TcpListener::bind("127.0.0.1:0").unwrap()).collect();
    let register = |by: &Actor, host: &TcpListener| {
        let (by, address) = (by.clone(), host.local_addr().unwrap());
        let body = json!({"name": format!("app-{}", address.port()), "clone_url": format!("http://{address}/app.git")});
        async move { by.post("/v1/repositories", body).await }
    };
    let (of_owner, of_other) =
        tokio::join!(join_all(silent[1..].iter().map(|host| register(&owner, host))), register(&other, &silent[0]),);
    let message = |answer: &Answer| {
        answer.refused(503, "remote_unavailable");
        answer.body["error"]["message"].as_str().unwrap().to_owned()
    };
    let waited_for = "The repository's server took too long to answer";
    assert_eq!(message(&of_other), waited_for);
    let (waited, refused): (Vec<_>, Vec<_>) = of_owner.iter().partition(|answer| message(answer) == waited_for);
    assert_eq!((waited.len(), refused.len()), (10, 4));
    for answer in refused {
        assert!(message(answer).starts_with("The repository's server is slow, and so are too many"), "{answer:?}");
        assert!(answer.header("retry-after").parse::<u64>().unwrap() >= 1);
    }
    // A quick one is not held back.
    owner.repository("quick", &GitRepository::new(&[])).await;
}

#[tokio::test]
async fn a_silent_host_is_left_alone_for_a_while_and_asked_as_before_once_it_answers() {
    let world = World::start_without_queue().await;
    let owner = world.owner("acme").await;
    let source = GitRepository::new(&[]);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/app.git", listener.local_addr().unwrap());
    let register = |name: &'static str| {
        let (owner, body) = (owner.clone(), json!({"name": name, "clone_url": url}));
        async move { owner.post("/v1/repositories", body).await }
    };
    let message = |answer: &Answer| {
        answer.refused(503, "remote_unavailable");
        answer.body["error"]["message"].as_str().unwrap().to_owned()
    };
    for waited in join_all(["a", "b", "c"].map(register)).await {
        assert_eq!(message(&waited), "The repository's server took too long to answer");
    }
    let refused = join_all(["d", "e"].map(register)).await;
    for refused in &refused {
        assert!(message(refused).contains("has not answered lately"), "{refused:?}");
    }
    let _server = GitServer::at(listener, &source).await;
    let seconds = refused[0].header("retry-after").parse().unwrap();
    assert!(seconds >= 1, "{refused:?}");
    tokio::time::sleep(std::time::Duration::from_secs(seconds)).await;
    for name in ["f", "g"] {
        assert_eq!(register(name).await.status, 201, "{name}");
    }
}

#[tokio::test]
async fn an_answer_that_is_not_gits_is_told_for_what_it_is() {
    let world = World::start_without_queue().await;
    let owner = world.owner("acme").await;
    let source = GitRepository::new(&[]);
    let sha = source.git(&["rev-parse", "HEAD"]);
    let advertisement = "application/x-git-upload-pack-advertisement";
    for (content_type, body, message) in [
        (
            "text/html",
            "<html>Sign in</html>".to_owned(),
            "The URL leads to a web page and not to a git repository; it may be a page to sign in",
        ),
        (
            "text/plain",
            format!("{sha}\trefs/heads/main\n"),
            "The repository's server offers only files (dumb HTTP); it must support git's smart HTTP",
        ),
        (
            advertisement,
            "0025ERR the project is\n \x1b[1marchived\n".to_owned(),
            "The repository's server says: the project is [1marchived",
        ),
        (
            advertisement,
            "000eversion 2\n0019object-format=sha256\n0000".to_owned(),
            "The repository uses SHA-256; only repositories that use SHA-1 are supported",
        ),
        (advertisement, "000eversion 9\n0000".to_owned(), "The repository's server sent an invalid response"),
    ] {
        let server = GitServer::replying(&source, move |_| Reply::Other(answer(200, content_type, &body))).await;
        let refused = register(&owner, &server).await;
        refused.refused(400, "invalid_clone_url");
        assert_eq!(refused.body["error"]["message"], message);
    }
}
