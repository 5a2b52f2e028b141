//! Git hosts that try to get a credential that is not for them.

use axum::http::StatusCode;
use serde_json::json;
use tests::git_server::{GitServer, Reply};
use tests::{GitRepository, World};

use super::{PASSWORD, USER, register};

#[tokio::test]
async fn a_redirect_to_another_host_does_not_take_the_credential_along() {
    let world = World::start_without_queue().await;
    let owner = world.owner("acme").await;
    let source = GitRepository::with_commands(&["true"]);
    // The other host answers with the repository, or asks for the credential of its own accord.
    for reply in [Reply::Git, Reply::Status(StatusCode::UNAUTHORIZED), Reply::Status(StatusCode::FORBIDDEN)] {
        let other = GitServer::replying(&source, move |_| reply.clone()).await;
        let target = other.url("/acme/app.git/info/refs");
        let server = GitServer::replying(&source, move |_| Reply::Redirect(target.clone())).await;
        let connection = owner.connection(&server.host(), USER, PASSWORD).await;
        let name = format!("app-{}", server.host().rsplit(':').next().unwrap());
        let registered = register(&owner, &name, &server.url("/acme/app.git"), &connection).await;
        assert!(!other.seen().is_empty(), "{registered:?}");
        assert_eq!(other.credentials(), Vec::<String>::new());
        assert_eq!(server.credentials(), [format!("Basic {USER}:{PASSWORD}")]);
    }
}

#[tokio::test]
async fn a_host_that_asks_again_and_again_gets_the_credential_once() {
    let world = World::start_without_queue().await;
    let owner = world.owner("acme").await;
    let source = GitRepository::with_commands(&["true"]);
    for status in [StatusCode::UNAUTHORIZED, StatusCode::FORBIDDEN, StatusCode::PROXY_AUTHENTICATION_REQUIRED] {
        let server = GitServer::replying(&source, move |_| Reply::Status(status)).await;
        let connection = owner.connection(&server.host(), USER, PASSWORD).await;
        let refused = register(&owner, "app", &server.url("/acme/app.git"), &connection).await;
        refused.refused(400, "invalid_clone_url");
        assert_eq!(server.seen().len(), 1, "{status}");
    }
}

#[tokio::test]
async fn the_credential_of_a_connection_is_sent_by_the_name_of_its_host_only() {
    let world = World::start_without_queue().await;
    let owner = world.owner("acme").await;
    let source = GitRepository::with_commands(&["true"]);
    let server = GitServer::replying(&source, |_| Reply::Git).await;
    let connection = owner.connection(&server.host(), USER, PASSWORD).await;
    let port = server.host().rsplit(':').next().unwrap().to_owned();
    for url in [format!("http://localhost:{port}/app.git"), "http://127.0.0.1:1/app.git".to_owned()] {
        let refused = register(&owner, "app", &url, &connection).await;
        refused.refused(400, "invalid_request");
        assert_eq!(refused.body["error"]["details"][0]["field"], "connection_id");
    }
    assert_eq!(server.seen(), []);
    // A host that is not this machine gets nothing without TLS, whatever the stack allows.
    let remote = owner.connection("git.example.com", USER, PASSWORD).await;
    let refused = register(&owner, "app", "http://git.example.com/app.git", &remote).await;
    let expected = json!([{"field": "clone_url", "message": "must start with https:// to be read with a connection"}]);
    assert_eq!(refused.refused(400, "invalid_request").body["error"]["details"], expected);
}

#[tokio::test]
async fn a_check_follows_no_redirect_and_passes_on_no_words_of_the_host() {
    let world = World::start_without_queue().await;
    let owner = world.owner("acme").await;
    let source = GitRepository::with_commands(&["true"]);
    world.hide(PASSWORD);
    let other = GitServer::replying(&source, |_| Reply::Git).await;
    let (target, secret) = (other.url("/api/v4/user"), format!("/echo/{PASSWORD}"));
    let server = GitServer::replying(&source, move |seen| match seen.path.starts_with("/api/") {
        true => Reply::Redirect(target.clone()),
        false => Reply::Redirect(secret.clone()),
    })
    .await;
    let connection = owner.connection(&server.host(), USER, PASSWORD).await;
    owner.patch(&super::path(&connection), json!({"provider": "gitlab"})).await;
    let body = json!({"clone_url": server.url("/acme/app.git")});
    let checked = owner.post(&format!("{}/check", super::path(&connection)), body).await;
    assert_eq!((checked.status, &checked.body["ok"], &checked.body["login"]), (200, &json!(false), &json!(null)));
    assert_eq!(other.seen(), []);
}
