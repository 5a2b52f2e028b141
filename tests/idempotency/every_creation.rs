//! Every endpoint that creates something takes an idempotency key.

use std::collections::BTreeSet;
use std::time::Duration;

use aws_sdk_dynamodb::types::AttributeValue;
use reqwest::Method;
use serde_json::{Value, json};
use shared::Route;
use shared::route::IdempotencyKeys;
use tests::estate::{self, Estate};
use tests::{Actor, Answer, GitRepository, World};

fn takes_keys() -> Vec<Route> {
    estate::in_order().into_iter().filter(|route| route.idempotency != IdempotencyKeys::Ignored).collect()
}

#[test]
fn a_creation_takes_a_key() {
    let functions = |routes: Vec<Route>| routes.into_iter().map(|route| route.function).collect::<BTreeSet<_>>();
    let creations = functions(estate::in_order().into_iter().filter(|route| route.location).collect());
    let with_keys = functions(takes_keys());
    assert!(creations.is_subset(&with_keys), "{:?}", creations.difference(&with_keys));
    // These return a secret beside the resource, make a new secret, or send an event.
    let further: Vec<_> = with_keys.difference(&creations).copied().collect();
    let expected = [
        "create-application",
        "create-hook",
        "create-invitation",
        "create-trust",
        "redeliver-webhook",
        "rotate-hook",
        "rotate-token",
        "rotate-webhook",
        "test-webhook",
    ];
    assert_eq!(further, expected);
}

#[tokio::test]
async fn a_repetition_changes_nothing_and_has_the_first_response() {
    let world = World::start().await;
    let source = GitRepository::with_commands(&["true"]);
    let estate = Estate::new(&world, "acme", &source).await;
    // A rollback returns to a deployment that succeeded.
    let deployed = estate.owner.ended(&json!({"id": estate.parameters["deployment_id"]})).await;
    assert_eq!(deployed["status"], "succeeded");
    for route in takes_keys() {
        let (function, parameters) = (route.function, estate.ready(&world, route.function).await);
        let actor = estate.caller(&route.key());
        let send = async || {
            let request = estate::request(actor, &route.key(), &parameters);
            actor.send(request.header("idempotency-key", "k")).await
        };
        let first = send().await;
        assert!((200..300).contains(&first.status), "{function}: {first:?}");
        assert!(first.headers.get("idempotent-replayed").is_none(), "{function}");
        let before = changes(&estate.owner).await;
        let again = send().await;
        assert_eq!(
            (again.status, again.header("idempotent-replayed")),
            (first.status, "true"),
            "{function}: {again:?}"
        );
        for header in ["location", "content-type"] {
            assert_eq!(again.headers.get(header), first.headers.get(header), "{function}");
        }
        // A deployment goes on, and its creation is repeated with the deployment as it is.
        match route.idempotency {
            IdempotencyKeys::ByHandler => assert_eq!(again.body["id"], first.body["id"], "{function}"),
            _ => assert_eq!(again.body, first.body, "{function}"),
        }
        let other = match route.function {
            "create-deployment" => json!({"ref": "other"}),
            _ => json!({"name": "another request"}),
        };
        let other = estate.request_with(&route.key(), &other).header("idempotency-key", "k");
        actor.send(other).await.refused(422, "idempotency_key_reused");
        assert_eq!(changes(&estate.owner).await, before, "{function}");
    }
}

/// Returns the changes that somebody asked for.
async fn changes(owner: &Actor) -> Vec<Value> {
    let log = owner.get("/v1/audit_events?per_page=100").await;
    let rows = log.body["data"].as_array().unwrap().iter();
    rows.filter(|row| row["actor"]["type"] != "system").map(|row| row["id"].clone()).collect()
}

#[tokio::test]
async fn of_many_equal_requests_at_once_one_creates_a_token() {
    let world = World::start().await;
    let owner = world.owner("acme").await;
    let mut requests = tokio::task::JoinSet::new();
    for _ in 0..12 {
        let owner = owner.clone();
        requests.spawn(async move { create_token(&owner, "k", "CI").await });
    }
    let mut secrets = BTreeSet::new();
    for answer in requests.join_all().await {
        match answer.status {
            201 => drop(secrets.insert(answer.body["token"].to_string())),
            _ => drop(answer.refused(409, "idempotency_key_in_use")),
        }
    }
    assert_eq!((secrets.len(), tokens_called(&owner, "CI").await), (1, 1));
    let again = create_token(&owner, "k", "CI").await;
    assert!(secrets.contains(&again.body["token"].to_string()), "the secret comes again: {again:?}");
}

#[tokio::test]
async fn a_response_is_repeated_to_the_token_of_the_first_request_only() {
    let world = World::start().await;
    let owner = world.owner("acme").await;
    let first = create_token(&owner, "k", "CI").await;
    assert_eq!(first.status, 201, "{first:?}");
    let secret = first.body["token"].as_str().unwrap();
    assert!(!format!("{:?}", world.items().await).contains(secret), "no row has the secret");

    let with_another_token = world.with_token(&owner, |_| {}).await;
    let refused = create_token(&with_another_token, "k", "CI").await;
    refused.refused(409, "response_not_kept");
    let message = refused.body["error"]["message"].as_str().unwrap();
    assert!(message.contains(first.body["id"].as_str().unwrap()) && !message.contains(secret), "{message}");

    // The write that keeps a response can fail after the change was made.
    let table = world.stack.app().table();
    let mut scanned = table.client().scan().table_name(table.name()).into_paginator().items().send();
    let mut lost = 0;
    while let Some(item) = scanned.try_next().await.unwrap() {
        if item["sk"] == AttributeValue::S("IDEM".to_owned()) {
            let key = ["pk", "sk"].map(|name| (name.to_owned(), item[name].clone())).into();
            let update = table.client().update_item().table_name(table.name()).set_key(Some(key));
            update.update_expression("REMOVE sealed_response").send().await.unwrap();
            lost += 1;
        }
    }
    assert_eq!(lost, 1);
    create_token(&owner, "k", "CI").await.refused(409, "idempotency_key_in_use");
    world.clock.advance(Duration::from_secs(30));
    create_token(&owner, "k", "CI").await.refused(409, "response_not_kept");
    assert_eq!(tokens_called(&owner, "CI").await, 1, "nothing is created again");
}

#[tokio::test]
async fn a_token_that_was_revoked_gets_no_response_again() {
    let world = World::start().await;
    let owner = world.owner("acme").await;
    let token = create_token(&owner, "k1", "CI").await;
    let program = owner.holding(token.body["token"].as_str().unwrap());
    assert_eq!(create_team(&program, "k2").await.status, 201);
    assert_eq!(create_team(&program, "k2").await.header("idempotent-replayed"), "true");
    let revoked = owner.delete(&format!("/v1/tokens/{}", token.body["id"].as_str().unwrap())).await;
    assert_eq!(revoked.status, 200, "{revoked:?}");
    create_team(&program, "k2").await.refused(401, "token_revoked");
}

#[tokio::test]
async fn a_request_that_changed_nothing_gives_its_key_back() {
    let world = World::start().await;
    let owner = world.owner("acme").await;
    assert_eq!(create_team(&owner, "k1").await.status, 201);
    create_team(&owner, "k2").await.refused(409, "name_taken");
    let teams = owner.get("/v1/teams").await;
    let path = format!("/v1/teams/{}", teams.body["data"][0]["id"].as_str().unwrap());
    assert_eq!(owner.delete(&path).await.status, 200);
    assert_eq!(create_team(&owner, "k2").await.status, 201);
    let request = owner.request(Method::POST, "/v1/teams").header("idempotency-key", "k3").json(&json!({"name": 5}));
    owner.send(request).await.refused(400, "invalid_request");
    assert_eq!(create_token(&owner, "k1", "CI").await.status, 201, "another endpoint has keys of its own");
}

#[tokio::test]
async fn one_key_at_several_endpoints_and_paths_makes_a_result_at_each() {
    let world = World::start_without_queue().await;
    let (owner, source) = world.app().await;
    owner.repository("shop", &source).await;
    let send = async |path: &str, body: &Value| {
        owner.send(owner.request(Method::POST, path).header("idempotency-key", "k").json(body)).await
    };
    let (deployment, named) = (json!({"ref": "main"}), json!({"name": "qa"}));
    let mut requests = vec![
        ("/v1/repositories/app/deployments".to_owned(), deployment.clone()),
        ("/v1/repositories/shop/deployments".to_owned(), deployment),
        ("/v1/repositories/app/environments".to_owned(), named.clone()),
        ("/v1/repositories/shop/environments".to_owned(), named.clone()),
        ("/v1/teams".to_owned(), named),
    ];
    let mut created = Vec::new();
    for (path, body) in &requests {
        let answer = send(path, body).await;
        assert_eq!((answer.status, answer.headers.get("idempotent-replayed")), (201, None), "{path}: {answer:?}");
        created.push(answer);
    }
    for at in 0..2 {
        let canceled = owner.act(&created[at].body, "cancel", json!({})).await;
        let path = format!("/v1/deployments/{}/retry", canceled.body["id"].as_str().unwrap());
        let answer = send(&path, &json!({})).await;
        assert_eq!((answer.status, answer.headers.get("idempotent-replayed")), (201, None), "{path}: {answer:?}");
        requests.push((path, json!({})));
        created.push(answer);
    }
    let locations: BTreeSet<_> = created.iter().map(|answer| answer.header("location").to_owned()).collect();
    assert_eq!(locations.len(), requests.len(), "{locations:?}");
    for ((path, body), first) in requests.iter().zip(&created) {
        let again = send(path, body).await;
        assert_eq!((again.status, again.header("idempotent-replayed")), (201, "true"), "{path}: {again:?}");
        assert_eq!(again.header("location"), first.header("location"), "{path}");
    }
}

async fn create_token(actor: &Actor, key: &str, name: &str) -> Answer {
    let body = json!({"name": name, "scopes": ["teams:write"]});
    actor.send(actor.request(Method::POST, "/v1/tokens").header("idempotency-key", key).json(&body)).await
}

async fn create_team(actor: &Actor, key: &str) -> Answer {
    let body = json!({"name": "platform"});
    actor.send(actor.request(Method::POST, "/v1/teams").header("idempotency-key", key).json(&body)).await
}

async fn tokens_called(owner: &Actor, name: &str) -> usize {
    let tokens = owner.get("/v1/tokens?per_page=100").await;
    tokens.column("name").iter().filter(|found| *found == name).count()
}
