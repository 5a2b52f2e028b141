//! The check of connections.

use std::sync::Arc;

use axum::http::{HeaderMap, StatusCode, Uri};
use axum::routing::get;
use axum::{Json, Router};
use serde_json::{Value, json};
use tests::git_server::{GitServer, Reply, authorization};
use tests::{Actor, GitRepository, World};

use super::github::{Github, connect};
use super::{APP_KEY, PASSWORD, USER, path};

/// Starts a host whose API knows one credential and who has it. Its lists have three repositories.
async fn host(source: &GitRepository, root: &str, expected: String) -> GitServer {
    let expected = Arc::new(expected);
    let api = move |headers: HeaderMap, uri: Uri| {
        let expected = Arc::clone(&expected);
        async move {
            if authorization(&headers).as_ref() != Some(&*expected) {
                return Err(StatusCode::UNAUTHORIZED);
            }
            let host = headers["host"].to_str().unwrap();
            let mut answer = HeaderMap::new();
            let named = ["acme/app", "acme/infra", "acme/site"]
                .map(|name| json!({"full_name": name, "path_with_namespace": name, "private": true}));
            let body = match uri.path().rsplit('/').next().unwrap() {
                "user" => json!({"id": 1, "login": USER, "username": USER}),
                // GitHub tells how many pages there are, GitLab and Gitea how many repositories.
                "repos" if uri.query() == Some("per_page=1") => {
                    let last = format!("<http://{host}{}?per_page=1&page=57>; rel=\"last\"", uri.path());
                    answer.insert("link", last.parse().unwrap());
                    json!(named[..1])
                }
                _ => {
                    answer.insert("x-total", "57".parse().unwrap());
                    answer.insert("x-total-count", "57".parse().unwrap());
                    answer.insert("link", format!("<http://{host}/x?page=2>; rel=\"last\"").parse().unwrap());
                    json!(named)
                }
            };
            Ok((answer, Json(body)))
        }
    };
    let router = ["/user", "/user/repos", "/projects"]
        .into_iter()
        .fold(Router::new(), |router, path| router.route(&format!("{root}{path}"), get(api.clone())));
    let of_git = format!("Basic {USER}:{PASSWORD}");
    GitServer::with_api(source, router, move |seen| match seen.authorization.as_ref() == Some(&of_git) {
        true => Reply::Git,
        false => Reply::Status(StatusCode::UNAUTHORIZED),
    })
    .await
}

async fn check(owner: &Actor, connection: &Value, body: Value) -> Value {
    let checked = owner.post(&format!("{}/check", path(connection)), body).await;
    assert_eq!(checked.status, 200, "{checked:?}");
    checked.body
}

#[tokio::test]
async fn a_check_tells_whose_the_credential_is_and_what_it_may_read() {
    let world = World::start_without_queue().await;
    let owner = world.owner("acme").await;
    let source = GitRepository::with_commands(&["true"]);
    world.hide(PASSWORD);
    for (provider, root, expected) in [
        ("github", "/api/v3", format!("Bearer {PASSWORD}")),
        ("gitlab", "/api/v4", format!("Bearer {PASSWORD}")),
        ("gitea", "/api/v1", format!("Basic {USER}:{PASSWORD}")),
    ] {
        let server = host(&source, root, expected).await;
        let connection = owner.connection(&server.host(), USER, PASSWORD).await;
        owner.patch(&path(&connection), json!({"provider": provider})).await;
        let checked = check(&owner, &connection, json!({})).await;
        let names = json!(["acme/app", "acme/infra", "acme/site"]);
        let message = format!("{} knows the credential as {USER}; it may read 57 repositories", server.host());
        let expected = json!({
            "ok": true, "host": server.host(), "provider": provider, "login": USER,
            "repositories": {"total": 57, "names": names}, "clone_url": null, "message": message,
        });
        assert_eq!(checked, expected);
        let read = check(&owner, &connection, json!({"clone_url": server.url("/acme/app.git")})).await;
        assert_eq!(read["clone_url"], json!({"ok": true, "message": "The repository can be read"}));

        owner.patch(&path(&connection), json!({"password": "wrong"})).await;
        let checked = check(&owner, &connection, json!({"clone_url": server.url("/acme/app.git")})).await;
        assert_eq!(
            (&checked["ok"], &checked["login"], &checked["repositories"]),
            (&json!(false), &json!(null), &json!(null))
        );
        assert_eq!(checked["clone_url"]["ok"], false);
        let message = checked["message"].as_str().unwrap();
        assert!(message.contains("refused the credential (HTTP status 401)"), "{message}");
    }
}

#[tokio::test]
async fn a_check_of_a_host_without_an_api_reads_the_repository() {
    let world = World::start_without_queue().await;
    let owner = world.owner("acme").await;
    let source = GitRepository::with_commands(&["true"]);
    let server = GitServer::private(&source, USER, PASSWORD).await;
    let connection = owner.connection(&server.host(), USER, PASSWORD).await;
    let checked = check(&owner, &connection, json!({})).await;
    let message = format!("{} has no API that this check knows; give a clone_url to try", server.host());
    assert_eq!((&checked["ok"], &checked["message"]), (&json!(false), &json!(message)));
    let checked = check(&owner, &connection, json!({"clone_url": server.url("/acme/app.git")})).await;
    assert_eq!((&checked["ok"], &checked["login"]), (&json!(true), &json!(null)));
    let other = check(&owner, &connection, json!({"clone_url": "https://git.example.com/acme/app.git"})).await;
    let message = format!("The connection is for {}, the only host that its credential is sent to", server.host());
    assert_eq!(other["clone_url"], json!({"ok": false, "message": message}));
    let malformed = owner.post(&format!("{}/check", path(&connection)), json!({"clone_url": "acme/app"})).await;
    malformed.refused(400, "invalid_clone_url");
    let nobody = owner.connection("127.0.0.1:1", USER, PASSWORD).await;
    owner.patch(&path(&nobody), json!({"provider": "gitlab"})).await;
    let checked = check(&owner, &nobody, json!({})).await;
    let message = "The API of 127.0.0.1:1 could not be reached";
    assert_eq!((&checked["ok"], &checked["message"]), (&json!(false), &json!(message)));
}

#[tokio::test]
async fn a_check_of_a_github_app_tells_its_name_and_the_repositories_of_its_installation() {
    let world = World::start_without_queue().await;
    let owner = world.owner("acme").await;
    let source = GitRepository::with_commands(&["true"]);
    let (_, server) = Github::start(&world, &source, false).await;
    let connection = connect(&owner, &server.host(), APP_KEY, None).await;
    let checked = check(&owner, &connection, json!({})).await;
    assert_eq!((&checked["ok"], &checked["login"]), (&json!(true), &json!("acme-deploys[bot]")));
    assert_eq!(checked["repositories"], json!(null), "no repository names the installation");
    let checked = check(&owner, &connection, json!({"clone_url": server.url("/acme/app.git")})).await;
    let expected = json!({"total": 2, "names": ["acme/app", "acme/site"]});
    assert_eq!((&checked["ok"], &checked["repositories"]), (&json!(true), &expected));
    let missing = check(&owner, &connection, json!({"clone_url": server.url("/globex/app.git")})).await;
    assert_eq!(missing["ok"], false);
    let message = missing["message"].as_str().unwrap();
    assert!(message.contains("the GitHub App is not installed for globex/app"), "{message}");
}
