//! The endpoints that manage webhooks.

use serde_json::{Value, json};
use shared::model::{MAX_WEBHOOKS, Role};
use shared::settings::CLONE_HOSTS;
use tests::{GitRepository, World};

use super::{create, path_of};

const WEBHOOKS: &str = "/v1/webhooks";

#[tokio::test]
async fn a_webhook_shows_its_secret_once_and_no_row_has_it_in_clear() {
    let world = World::start().await;
    let owner = world.owner("acme").await;
    let created = owner
        .post(WEBHOOKS, json!({"name": "Board", "url": "https://ops.example.com/in?key=k", "events": ["deployment.*"]}))
        .await;
    assert_eq!(created.status, 201, "{created:?}");
    let mut webhook = created.body.clone();
    let secret = webhook.as_object_mut().unwrap().remove("secret").unwrap();
    assert!(secret.as_str().unwrap().starts_with("whsec_") && secret.as_str().unwrap().len() == 50, "{secret}");
    assert_eq!(created.header("location"), format!("{}{}", world.stack.url(), path_of(&webhook)));
    for (field, value) in [
        ("format", json!("standard")),
        ("enabled", json!(true)),
        ("repositories", json!([])),
        ("environments", json!([])),
        ("disabled_at", Value::Null),
        ("previous_secret_expires_at", Value::Null),
    ] {
        assert_eq!(webhook[field], value, "{field}");
    }
    assert_eq!(owner.get(&path_of(&webhook)).await.body, webhook);
    let listed = owner.get(WEBHOOKS).await;
    assert_eq!((&listed.body["data"], &listed.body["meta"]["total"]), (&json!([webhook]), &json!(1)));
    let key = secret.as_str().unwrap().strip_prefix("whsec_").unwrap();
    assert!(!world.items_in_clear().await.contains(key));
    let events = owner.get("/v1/audit_events?action=webhook.created").await.body["data"].clone();
    let url = events[0]["changes"].as_array().unwrap().iter().find(|change| change["field"] == "url").unwrap();
    assert_eq!(url["to"], "https://ops.example.com", "the rest may be a secret");
}

#[tokio::test]
async fn a_url_is_at_a_host_that_events_may_be_sent_to() {
    let world = World::start().await;
    let owner = world.owner("acme").await;
    let new = |url: &str| json!({"name": "Board", "url": url, "events": ["*"]});
    for url in ["http://ops.example.com", "https://10.0.0.1/", "https://user:pass@ops.example.com", "ops.example.com"] {
        let refused = owner.post(WEBHOOKS, new(url)).await;
        refused.refused(400, "invalid_request");
        assert_eq!(refused.body["error"]["details"][0]["field"], "url", "{url}");
    }
    let webhook = create(&owner, "http://127.0.0.1:1/", json!({"events": ["*"]})).await;
    owner.patch(&path_of(&webhook), json!({"url": "https://169.254.169.254/"})).await.refused(400, "invalid_request");
    // Outside of the local stack, this machine is no receiver either.
    let mut settings = world.stack.environment().settings.clone();
    settings.set(CLONE_HOSTS, "public".to_owned());
    let gateway = world.gateway(settings).await;
    let outside = owner.at(gateway.endpoint());
    for url in ["http://127.0.0.1:1/", "https://127.0.0.1/", "https://[::1]/"] {
        outside.post(WEBHOOKS, new(url)).await.refused(400, "invalid_request");
    }
    assert_eq!(outside.post(WEBHOOKS, new("https://ops.example.com/")).await.status, 201);
}

#[tokio::test]
async fn a_filter_names_known_events_and_repositories_of_the_account() {
    let world = World::start().await;
    let owner = world.owner("acme").await;
    let stranger = world.owner("initech").await;
    let source = GitRepository::with_commands(&["true"]);
    let (ours, theirs) = (owner.repository("app", &source).await, stranger.repository("app", &source).await);
    let new = |fields: Value| {
        let mut new = json!({"name": "Board", "url": "https://ops.example.com/", "events": ["team.*"]});
        new.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
        new
    };
    for (fields, field) in [
        (json!({"events": []}), "events"),
        (json!({"events": ["deployment.exploded"]}), "events[0]"),
        (json!({"events": vec!["*"; 101]}), "events"),
        (json!({"repositories": [ours["id"], theirs["id"]]}), "repositories[1]"),
        (json!({"environments": ["Production"]}), "environments[0]"),
        (json!({"format": "irc"}), "format"),
    ] {
        let refused = owner.post(WEBHOOKS, new(fields.clone())).await;
        refused.refused(400, "invalid_request");
        assert_eq!(refused.body["error"]["details"][0]["field"], field, "{fields}");
    }
    let webhook =
        owner.post(WEBHOOKS, new(json!({"repositories": [ours["id"]], "environments": ["production"]}))).await;
    assert_eq!(webhook.status, 201, "{webhook:?}");
    let reset = owner.patch(&path_of(&webhook.body), json!({"repositories": null})).await.body;
    assert_eq!((&reset["repositories"], &reset["environments"]), (&json!([]), &json!(["production"])));
}

#[tokio::test]
async fn a_change_is_in_the_audit_log_and_one_that_changes_nothing_is_not() {
    let world = World::start().await;
    let owner = world.owner("acme").await;
    let webhook = create(&owner, "https://ops.example.com/", json!({"events": ["*"]})).await;
    let path = path_of(&webhook);
    let changed = owner.patch(&path, json!({"name": "Ops", "enabled": false, "url": "https://new.example.com/"})).await;
    assert_eq!((changed.status, &changed.body["enabled"]), (200, &json!(false)), "{changed:?}");
    assert_eq!(changed.body["disabled_reason"], "Disabled by owner@example.com");
    assert_eq!(owner.patch(&path, json!({"enabled": false})).await.body, changed.body);
    for action in ["test", "rotate"] {
        let answer = owner.post(&format!("{path}/{action}"), json!({})).await;
        assert_eq!(answer.status, if action == "test" { 409 } else { 200 }, "{answer:?}");
    }
    assert_eq!(owner.delete(&path).await.body, json!({"id": webhook["id"], "deleted": true}));
    owner.delete(&path).await.refused(404, "not_found");
    let log = owner.get(&format!("/v1/audit_events?target={}", webhook["id"].as_str().unwrap())).await;
    assert_eq!(log.column("action").len(), 4, "{log:?}");
    let updated =
        log.body["data"].as_array().unwrap().iter().find(|event| event["action"] == "webhook.updated").unwrap();
    let fields: Vec<_> = updated["changes"].as_array().unwrap().iter().map(|change| change["field"].clone()).collect();
    assert_eq!(json!(fields), json!(["name", "url", "enabled"]));
}

#[tokio::test]
async fn an_account_has_a_bounded_number_of_webhooks() {
    let world = World::start().await;
    let owner = world.owner("acme").await;
    let new = json!({"name": "Board", "url": "https://ops.example.com/", "events": ["*"]});
    for _ in 1..MAX_WEBHOOKS {
        assert_eq!(owner.post(WEBHOOKS, new.clone()).await.status, 201);
    }
    let last = owner.post(WEBHOOKS, new.clone()).await.body;
    owner.post(WEBHOOKS, new.clone()).await.refused(409, "limit_reached");
    assert_eq!(owner.delete(&path_of(&last)).await.status, 200);
    assert_eq!(owner.post(WEBHOOKS, new).await.status, 201);
}

#[tokio::test]
async fn members_and_other_accounts_have_no_webhooks() {
    let world = World::start().await;
    let owner = world.owner("acme").await;
    let webhook = create(&owner, "https://ops.example.com/", json!({"events": ["*"]})).await;
    let member = world.member(&owner, Role::Member).await;
    member.get(WEBHOOKS).await.refused(403, "insufficient_permission");
    member.get(&path_of(&webhook)).await.refused(403, "insufficient_permission");
    let admin = world.member(&owner, Role::Admin).await;
    assert_eq!(admin.get(&path_of(&webhook)).await.status, 200);
    world.owner("initech").await.get(&path_of(&webhook)).await.refused(404, "not_found");
}
