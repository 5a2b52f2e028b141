//! Private repositories, from their registration to their build.

use base64::Engine;
use base64::prelude::BASE64_STANDARD as BASE64;
use serde_json::json;
use tests::git_server::GitServer;
use tests::{GitRepository, World};

use super::{PASSWORD, USER, path, register};

/// Commands that print all that a build could find a credential in.
const PRINT_EVERYTHING: [&str; 3] =
    ["env", "cat /proc/self/environ | tr '\\0' '\\n'", "find . .. -name 'config*' -exec cat {} + 2>/dev/null || true"];

#[tokio::test]
async fn a_private_repository_is_registered_and_deployed_and_its_credential_is_nowhere_to_be_read() {
    let world = World::start().await;
    let owner = world.owner("acme").await;
    let source = GitRepository::with_commands(&PRINT_EVERYTHING);
    let server = GitServer::private(&source, USER, PASSWORD).await;
    world.hide(PASSWORD);
    let connection = owner.connection(&server.host(), USER, PASSWORD).await;
    let registered = register(&owner, "app", &server.url("/acme/app.git"), &connection).await;
    assert_eq!(registered.status, 201, "{registered:?}");
    let preflight = owner.post("/v1/repositories/app/deployments/preflight", json!({"ref": "main"})).await;
    assert_eq!(preflight.body["outcome"], "starts", "{preflight:?}");
    let deployment = owner.deploy("app", json!({"ref": "main", "variables": {"A": "greeting"}})).await;
    let ended = owner.ended(&deployment).await;
    assert_eq!(ended["status"], "succeeded", "{ended}");
    let retried = owner.act(&deployment, "retry", json!({})).await;
    assert_eq!(owner.ended(&retried.body).await["status"], "succeeded");

    // Each request had the credential, and git was asked by the registration, the preflight, the deployment and the consumer.
    let expected = format!("Basic {USER}:{PASSWORD}");
    assert!(server.seen().len() >= 8, "{:?}", server.seen());
    assert!(server.seen().iter().all(|seen| seen.authorization.as_ref() == Some(&expected)), "{:?}", server.seen());

    // The answers and the functions' log are searched for it anyway.
    let log = owner.log(&deployment).await.join("\n");
    assert!(log.contains("DEPLOYMENT_ID="), "{log}");
    let events = owner.get("/v1/audit_events?per_page=100").await.body.to_string();
    let rows = world.items_in_clear().await;
    assert!(rows.contains(USER), "the rows of connections are among {rows}");
    let files: String =
        world.files().iter().map(|(_, content)| String::from_utf8_lossy(content).into_owned()).collect();
    let encoded = BASE64.encode(format!("{USER}:{PASSWORD}"));
    for text in [log, events, rows, files] {
        assert!(!text.contains(PASSWORD) && !text.contains(&encoded), "{text}");
    }
}

#[tokio::test]
async fn a_private_repository_without_a_connection_says_how_to_add_one() {
    let world = World::start_without_queue().await;
    let owner = world.owner("acme").await;
    let source = GitRepository::with_commands(&["true"]);
    let server = GitServer::private(&source, USER, PASSWORD).await;
    let refused = register(&owner, "app", &server.url("/acme/app.git"), &json!({"id": null})).await;
    refused.refused(400, "invalid_clone_url");
    let message = "The repository does not exist, or is private and needs a connection (connection_id)";
    assert_eq!(refused.body["error"]["message"], message);
    assert_eq!(server.credentials(), Vec::<String>::new());
}

#[tokio::test]
async fn a_refused_credential_names_the_connection_and_a_new_one_is_used_at_once() {
    let world = World::start_without_queue().await;
    let owner = world.owner("acme").await;
    let source = GitRepository::with_commands(&["true"]);
    let server = GitServer::private(&source, USER, PASSWORD).await;
    for secret in [PASSWORD, "yesterday's password"] {
        world.hide(secret);
    }
    let connection = owner.connection(&server.host(), USER, "yesterday's password").await;
    let url = server.url("/acme/app.git");
    let refused = register(&owner, "app", &url, &connection).await;
    refused.refused(400, "invalid_clone_url");
    let named = format!("the connection 'Deploy bot' ({})", connection["id"].as_str().unwrap());
    let message = format!("epository's server refused the credential of {named}");
    assert!(refused.body["error"]["message"].as_str().unwrap().contains(&message), "{refused:?}");
    assert_eq!(server.seen().len(), 1, "a refused credential is sent once");

    owner.patch(&path(&connection), json!({"password": PASSWORD})).await;
    assert_eq!(register(&owner, "app", &url, &connection).await.status, 201);
    let deployment = owner.deploy("app", json!({"ref": "main"})).await;
    // The deployment is queued. It keeps its connection, and gets the credential that the connection has when it starts.
    owner.patch(&path(&connection), json!({"password": "yesterday's password"})).await;
    world.deliver(&owner, &deployment).await;
    let failure = owner.ended(&deployment).await["failure"].clone();
    assert_eq!(failure["code"], "source_unavailable");
    assert!(failure["message"].as_str().unwrap().contains(&named), "{failure}");
    owner.patch(&path(&connection), json!({"password": PASSWORD})).await;
    let retried = owner.act(&deployment, "retry", json!({})).await.body;
    world.deliver(&owner, &retried).await;
    assert_eq!(owner.ended(&retried).await["status"], "succeeded");
}

#[tokio::test]
async fn a_deployment_whose_connection_is_gone_fails_and_says_so() {
    let world = World::start_without_queue().await;
    let owner = world.owner("acme").await;
    let source = GitRepository::with_commands(&["true"]);
    let server = GitServer::private(&source, USER, PASSWORD).await;
    let connection = owner.connection(&server.host(), USER, PASSWORD).await;
    assert_eq!(register(&owner, "app", &server.url("/acme/app.git"), &connection).await.status, 201);
    let deployment = owner.deploy("app", json!({"ref": "main"})).await;
    let asked = server.seen().len();
    world.forget_uses(&owner, &connection).await;
    assert_eq!(owner.delete(&path(&connection)).await.status, 200);
    world.deliver(&owner, &deployment).await;
    let message = format!("the connection {} does not exist any more", connection["id"].as_str().unwrap());
    let expected = json!({"code": "source_unavailable", "message": message});
    assert_eq!(owner.ended(&deployment).await["failure"], expected);
    let refused = owner.post("/v1/repositories/app/deployments", json!({"ref": "main"})).await;
    refused.refused(400, "invalid_clone_url");
    assert_eq!(refused.body["error"]["message"], format!("Can't read {}: {message}", server.url("/acme/app.git")));
    assert_eq!(server.seen().len(), asked);
}
