//! Connections to git hosts.

mod check;
mod github;
mod hostile;
mod private;

use aws_sdk_dynamodb::types::AttributeValue;
use serde_json::{Value, json};
use shared::model::{MAX_CONNECTIONS, Role};
use shared::settings::CLONE_HOSTS;
use tests::git_server::GitServer;
use tests::{Actor, GitRepository, World};

/// The user name and the password of a private git host.
const USER: &str = "deploy-bot";
const PASSWORD: &str = "7d1c0a9b5e3f48c2a6b4d8e0f1937c5a";

/// The private key of a GitHub App that only these tests know, and another one in the other form of PEM.
const APP_KEY: &str = include_str!("connections/github-app.pem");
const ANOTHER_APP_KEY: &str = include_str!("connections/another-github-app.pem");

/// Returns the path of a connection.
fn path(connection: &Value) -> String {
    format!("/v1/connections/{}", connection["id"].as_str().unwrap())
}

/// Fails the test unless the connection tells of so many repositories.
async fn uses_of(owner: &Actor, connection: &Value, count: usize) {
    let found = owner.get(&path(connection)).await.body;
    assert_eq!(found["repository_count"], count);
    assert_eq!(found["repositories"].as_array().unwrap().len(), count);
}

/// Registers a repository that is read with a connection.
async fn register(owner: &Actor, name: &str, clone_url: &str, connection: &Value) -> tests::Answer {
    let new = json!({"name": name, "clone_url": clone_url, "connection_id": connection["id"]});
    owner.post("/v1/repositories", new).await
}

#[tokio::test]
async fn a_connection_is_created_listed_read_changed_and_deleted_without_its_secret() {
    let world = World::start_without_queue().await;
    let owner = world.owner("acme").await;
    let admin = world.member(&owner, Role::Admin).await;
    for secret in [PASSWORD, "a new password"] {
        world.hide(secret);
    }
    let created = admin.connection("codeberg.org", USER, PASSWORD).await;
    let now = "2026-01-01T12:00:00Z";
    let email = admin.get("/v1/user").await.body["user"]["email"].clone();
    let actor = json!({"type": "user", "id": admin.user_id, "name": email});
    let mut expected = json!({
        "id": created["id"], "name": "Deploy bot", "kind": "basic", "host": "codeberg.org", "provider": "gitea",
        "username": USER, "app_id": null, "installation_id": null, "repository_count": 0, "created_by": actor,
        "created_at": now, "updated_at": now, "secret_updated_at": now,
    });
    let list = owner.get("/v1/connections").await;
    assert_eq!(list.body["data"], json!([expected]));
    assert_eq!(list.body["meta"]["total"], 1);
    expected["repositories"] = json!([]);
    assert_eq!(created, expected);
    assert_eq!(owner.get(&path(&created)).await.body, expected);

    world.clock.advance(std::time::Duration::from_secs(60));
    let change = json!({"name": "Robot", "provider": "other", "username": "robot", "password": "a new password"});
    let changed = owner.patch(&path(&created), change).await;
    assert_eq!(changed.status, 200, "{changed:?}");
    for (field, value) in [
        ("name", "Robot"),
        ("provider", "other"),
        ("username", "robot"),
        ("updated_at", "2026-01-01T12:01:00Z"),
        ("secret_updated_at", "2026-01-01T12:01:00Z"),
    ] {
        assert_eq!(changed.body[field], value, "{field}");
    }
    assert_eq!(owner.patch(&path(&created), json!({"provider": null})).await.body["provider"], "gitea");

    let deleted = owner.delete(&path(&created)).await;
    assert_eq!((deleted.status, &deleted.body), (200, &json!({"id": created["id"], "deleted": true})));
    owner.get(&path(&created)).await.refused(404, "not_found");
    assert_eq!(owner.get("/v1/connections").await.body["meta"]["total"], 0);

    let events = owner.get(&format!("/v1/audit_events?target={}", created["id"].as_str().unwrap())).await;
    let action = |event: &Value| event["action"].as_str().unwrap().to_owned();
    let mut actions: Vec<_> = events.body["data"].as_array().unwrap().iter().map(action).collect();
    actions.sort();
    let expected = ["connection.created", "connection.deleted", "connection.updated", "connection.updated"];
    assert_eq!(actions, expected);
}

#[tokio::test]
async fn a_change_that_changes_nothing_writes_nothing() {
    let world = World::start_without_queue().await;
    let owner = world.owner("acme").await;
    let connection = owner.connection("git.example.com", USER, PASSWORD).await;
    world.clock.advance(std::time::Duration::from_secs(60));
    for change in [json!({}), json!({"name": "Deploy bot", "username": USER, "provider": "other"})] {
        assert_eq!(owner.patch(&path(&connection), change).await.body, connection);
    }
    let events = owner.get("/v1/audit_events?action=connection.updated").await;
    assert_eq!(events.body["data"], json!([]));
}

#[tokio::test]
async fn a_body_that_does_not_fit_its_kind_is_refused_by_its_field() {
    let world = World::start_without_queue().await;
    let owner = world.owner("acme").await;
    let basic = json!({"name": "a", "kind": "basic", "host": "git.example.com", "username": "a", "password": "b"});
    let app = json!({"name": "a", "kind": "github_app", "host": "github.com", "app_id": 7, "private_key": APP_KEY});
    for (valid, change, field, message) in [
        (&basic, json!({"password": null}), "password", "is required for the kind `basic`"),
        (&basic, json!({"username": null}), "username", "is required for the kind `basic`"),
        (&basic, json!({"app_id": 7}), "app_id", "can't be combined with the kind `basic`"),
        (&basic, json!({"private_key": APP_KEY}), "private_key", "can't be combined with the kind `basic`"),
        (&basic, json!({"installation_id": 7}), "installation_id", "can't be combined with the kind `basic`"),
        (&basic, json!({"username": "a:b"}), "username", "must be 1 to 255 characters"),
        (&basic, json!({"password": "a\nb"}), "password", "must be 1 to 4096 characters"),
        (&basic, json!({"host": "https://git.example.com"}), "host", "must be the name of a host"),
        (&basic, json!({"host": "git.example.com/acme"}), "host", "must be the name of a host"),
        (&basic, json!({"host": "user@git.example.com"}), "host", "must be the name of a host"),
        (&basic, json!({"host": "10.0.0.1"}), "host", "must be a host on the public internet"),
        (&basic, json!({"kind": "ssh"}), "kind", "must be `basic` or `github_app`"),
        (&app, json!({"app_id": null}), "app_id", "is required for the kind `github_app`"),
        (&app, json!({"private_key": null}), "private_key", "is required for the kind `github_app`"),
        (&app, json!({"username": "a"}), "username", "can't be combined with the kind `github_app`"),
        (&app, json!({"password": "a"}), "password", "can't be combined with the kind `github_app`"),
        (&app, json!({"provider": "gitlab"}), "provider", "must be `github`"),
        (&app, json!({"private_key": "hunter2"}), "private_key", "must be an RSA private key"),
        (&app, json!({"private_key": &APP_KEY[..900]}), "private_key", "must be an RSA private key"),
    ] {
        let mut body = valid.clone();
        body.as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
        let refused = owner.post("/v1/connections", body).await;
        let detail = &refused.refused(400, "invalid_request").body["error"]["details"][0];
        assert_eq!(detail["field"], field, "{change}");
        assert!(detail["message"].as_str().unwrap().starts_with(message), "{change}: {detail}");
    }
    let [basic, app] = [basic, app].map(async |valid| owner.post("/v1/connections", valid).await.body);
    let (basic, app) = (basic.await, app.await);
    for (connection, change, field) in [
        (&basic, json!({"private_key": APP_KEY}), "private_key"),
        (&basic, json!({"installation_id": 7}), "installation_id"),
        (&app, json!({"username": "a"}), "username"),
        (&app, json!({"password": "a"}), "password"),
        (&app, json!({"provider": "gitlab"}), "provider"),
        (&basic, json!({"host": "evil.example"}), "host"),
        (&basic, json!({"kind": "basic"}), "kind"),
        (&basic, json!({"password": null}), "password"),
    ] {
        let refused = owner.patch(&path(connection), change).await;
        assert_eq!(refused.refused(400, "invalid_request").body["error"]["details"][0]["field"], field);
    }
}

#[tokio::test]
async fn a_connection_is_to_a_public_host_outside_of_the_local_stack() {
    let world = World::start_with(|options| options.overrides.push((CLONE_HOSTS, "public".to_owned()))).await;
    let owner = world.owner("acme").await;
    for host in ["127.0.0.1:8080", "[::1]", "10.0.0.1", "169.254.169.254"] {
        let new = json!({"name": "a", "kind": "basic", "host": host, "username": "a", "password": "b"});
        owner.post("/v1/connections", new).await.refused(400, "invalid_request");
    }
    // A name is resolved when it is connected to.
    let connection = owner.connection("localhost", USER, PASSWORD).await;
    let registered = register(&owner, "app", "https://localhost/acme/app.git", &connection).await;
    registered.refused(400, "invalid_clone_url");
    let message = "The repository's host does not have a public address";
    assert_eq!(registered.body["error"]["message"], message);
}

#[tokio::test]
async fn a_repository_takes_only_a_connection_of_its_account_to_its_host() {
    let world = World::start_without_queue().await;
    let (owner, rival) = (world.owner("acme").await, world.owner("rival").await);
    let source = GitRepository::with_commands(&["true"]);
    let server = GitServer::private(&source, USER, PASSWORD).await;
    let url = server.url("/acme/app.git");
    let foreign = rival.connection(&server.host(), USER, PASSWORD).await;
    let (missing, unknown) = (json!({"id": "conn_aaaaaaaaaaaaaaaa"}), "must be the ID of a connection of the account");
    for connection in [&foreign, &missing] {
        let refused = register(&owner, "app", &url, connection).await;
        refused.refused(400, "invalid_request");
        let expected = json!([{"field": "connection_id", "message": unknown}]);
        assert_eq!(refused.body["error"]["details"], expected);
        for answer in [
            owner.get(&path(connection)).await,
            owner.patch(&path(connection), json!({"name": "mine"})).await,
            owner.delete(&path(connection)).await,
            owner.post(&format!("{}/check", path(connection)), json!({})).await,
        ] {
            answer.refused(404, "not_found");
        }
    }
    let elsewhere = owner.connection("git.example.com", USER, PASSWORD).await;
    let refused = register(&owner, "app", &url, &elsewhere).await;
    let detail = &refused.refused(400, "invalid_request").body["error"]["details"][0];
    let message = "must be the ID of a connection to the host of clone_url; this one is for git.example.com";
    assert_eq!((detail["field"].as_str(), detail["message"].as_str()), (Some("connection_id"), Some(message)));
    let of_folder = register(&owner, "app", &source.url(), &elsewhere).await;
    of_folder.refused(400, "invalid_request");
    assert_eq!(server.seen(), [], "nobody was asked");
}

#[tokio::test]
async fn a_connection_in_use_is_not_deleted_and_names_its_repositories() {
    let world = World::start_without_queue().await;
    let owner = world.owner("acme").await;
    let source = GitRepository::with_commands(&["true"]);
    let server = GitServer::private(&source, USER, PASSWORD).await;
    let connection = owner.connection(&server.host(), USER, PASSWORD).await;
    let mut repositories = Vec::new();
    for name in ["web", "api"] {
        let registered = register(&owner, name, &server.url(&format!("/acme/{name}.git")), &connection).await;
        assert_eq!((registered.status, &registered.body["connection_id"]), (201, &connection["id"]), "{registered:?}");
        repositories.push(json!({"id": registered.body["id"], "name": name}));
    }
    let refused = owner.delete(&path(&connection)).await;
    refused.refused(409, "connection_in_use");
    let id = |at: usize| repositories[at]["id"].as_str().unwrap();
    let message = format!(
        "Repositories use the connection: api ({}), web ({}); give each of them another connection, or none, first",
        id(1),
        id(0)
    );
    assert_eq!(refused.body["error"]["message"], message);
    repositories.sort_by_key(|repository| repository["id"].to_string());
    let found = owner.get(&path(&connection)).await.body;
    assert_eq!((&found["repositories"], &found["repository_count"]), (&json!(repositories), &json!(2)));
}

#[tokio::test]
async fn a_repository_that_changes_its_connection_or_is_deleted_frees_the_old_one() {
    let world = World::start_without_queue().await;
    let owner = world.owner("acme").await;
    let source = GitRepository::with_commands(&["true"]);
    let (server, other) =
        (GitServer::private(&source, USER, PASSWORD).await, GitServer::private(&source, USER, PASSWORD).await);
    let old = owner.connection(&server.host(), USER, PASSWORD).await;
    let new = owner.connection(&other.host(), USER, PASSWORD).await;
    let registered = register(&owner, "app", &server.url("/acme/app.git"), &old).await.body;
    let repository = format!("/v1/repositories/{}", registered["id"].as_str().unwrap());
    uses_of(&owner, &old, 1).await;
    uses_of(&owner, &new, 0).await;
    let moved = json!({"clone_url": other.url("/acme/app.git"), "connection_id": new["id"]});
    for half in ["clone_url", "connection_id"] {
        let refused = owner.patch(&repository, json!({half: moved[half]})).await;
        let detail = &refused.refused(400, "invalid_request").body["error"]["details"][0];
        assert_eq!(detail["field"], "connection_id");
    }
    owner.patch(&repository, json!({"connection_id": null})).await.refused(400, "invalid_clone_url");
    owner.patch(&repository, json!({"connection_id": "conn_aaaaaaaaaaaaaaaa"})).await.refused(400, "invalid_request");
    assert_eq!(other.seen(), [], "the other host was not asked");
    uses_of(&owner, &old, 1).await;
    uses_of(&owner, &new, 0).await;

    for _ in 0..2 {
        let changed = owner.patch(&repository, moved.clone()).await;
        assert_eq!((changed.status, &changed.body["connection_id"]), (200, &new["id"]), "{changed:?}");
        uses_of(&owner, &old, 0).await;
        uses_of(&owner, &new, 1).await;
    }
    let refs = owner.get(&format!("{repository}/refs")).await;
    assert_eq!((refs.status, &refs.body["data"][0]["name"]), (200, &json!("main")), "{refs:?}");
    assert_eq!(owner.delete(&path(&old)).await.status, 200);
    owner.delete(&path(&new)).await.refused(409, "connection_in_use");

    let public = owner.patch(&repository, json!({"clone_url": source.url(), "connection_id": null})).await;
    assert_eq!((public.status, &public.body["connection_id"]), (200, &Value::Null), "{public:?}");
    uses_of(&owner, &new, 0).await;
    assert_eq!(owner.patch(&repository, moved).await.status, 200);
    uses_of(&owner, &new, 1).await;
    assert_eq!(owner.delete(&repository).await.status, 200);
    uses_of(&owner, &new, 0).await;
    assert_eq!(owner.delete(&path(&new)).await.status, 200);
}

#[tokio::test]
async fn an_account_has_a_bounded_number_of_connections() {
    let world = World::start_without_queue().await;
    let owner = world.owner("acme").await;
    owner.connection("git.example.com", USER, PASSWORD).await;
    let count = format!("ACCT#{}#CONNECTIONS", owner.account_id.as_ref().unwrap());
    world.set_attribute((&count, "TOTAL"), "connections", AttributeValue::N(MAX_CONNECTIONS.to_string())).await;
    let new = json!({"name": "a", "kind": "basic", "host": "git.example.com", "username": "a", "password": "b"});
    owner.post("/v1/connections", new).await.refused(409, "limit_reached");
}

#[tokio::test]
async fn a_sealed_secret_does_not_open_in_the_row_of_another_connection() {
    let world = World::start_without_queue().await;
    let owner = world.owner("acme").await;
    let source = GitRepository::with_commands(&["true"]);
    let server = GitServer::private(&source, USER, PASSWORD).await;
    let other = owner.connection("git.example.com", USER, PASSWORD).await;
    let connection = owner.connection(&server.host(), USER, PASSWORD).await;
    let account = owner.account_id.as_ref().unwrap();
    let key = |connection: &Value| format!("ACCT#{account}#CONNECTION#{}", connection["id"].as_str().unwrap());
    let mut own = world.item(key(&connection), "CONNECTION").await;
    let mut moved = world.item(key(&other), "CONNECTION").await;
    let check = async || {
        let url = json!({"clone_url": server.url("/acme/app.git")});
        owner.post(&format!("{}/check", path(&connection)), url).await
    };
    for (sealed, opens) in [(moved.remove("sealed"), false), (own.remove("sealed"), true)] {
        world.set_attribute((&key(&connection), "CONNECTION"), "sealed", sealed.unwrap()).await;
        let checked = check().await;
        match opens {
            true => assert_eq!((checked.status, &checked.body["ok"]), (200, &json!(true)), "{checked:?}"),
            false => {
                checked.refused(503, "service_unavailable");
                assert_eq!(server.seen(), [], "nothing is sent");
            }
        }
    }
}
