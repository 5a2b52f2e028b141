//! Environments: their settings, approvals and freezes, and those that are created by name.

mod names;
mod patterns;
mod races;
mod variables;

use std::collections::BTreeSet;

use aws_sdk_dynamodb::primitives::Blob;
use aws_sdk_dynamodb::types::AttributeValue;
use serde_json::{Value, json};
use shared::model::Role;
use tests::{Actor, GitRepository, World};

const PRODUCTION: &str = "/v1/repositories/app/environments/production";

async fn deploy_to_production(owner: &Actor) -> Value {
    owner.deploy("app", json!({"ref": "main", "environment": "production"})).await
}

#[tokio::test]
async fn an_environment_has_defaults_and_what_was_changed() {
    let world = World::start_without_queue().await;
    let (owner, _source) = world.app().await;
    let environment = |name: &str, concurrency: &str| {
        json!({
            "name": name, "pattern": null, "removed_after_days": null, "created_at": null, "live": null, "in_progress": [],
            "queued": [], "concurrency": concurrency,
            "required_approvals": 0, "reviewers": null, "approval_timeout_seconds": 604_800, "wait_seconds": 0,
            "refs": [], "requires": [], "freeze_windows": [], "frozen": false, "frozen_until": null, "time_limit_seconds": null,
            "image": null, "compute_type": null, "privileged": null, "root_folder": null, "buildspec_path": null,
            "cache": null,
            "updated_at": null,
        })
    };
    let listed = owner.get("/v1/repositories/app/environments").await;
    let expected =
        [environment("preview", "supersede"), environment("staging", "queue"), environment("production", "queue")];
    assert_eq!(listed.body, json!({"data": expected, "meta": {"total": 3, "page": 1, "per_page": 10}}));

    let changed = owner.set("app", "production", json!({"required_approvals": 6, "time_limit_seconds": 60})).await;
    let mut expected = environment("production", "queue");
    for (field, value) in [("required_approvals", json!(6)), ("time_limit_seconds", json!(60))] {
        expected[field] = value;
    }
    expected["updated_at"] = json!("2026-01-01T12:00:00Z");
    assert_eq!(changed, expected);
    let changed = owner.set("app", "production", json!({"concurrency": "supersede"})).await;
    expected["concurrency"] = json!("supersede");
    assert_eq!(changed, expected, "what is not given stays");
    assert_eq!(owner.get(PRODUCTION).await.body, expected);
    assert_eq!(owner.get("/v1/repositories/app/environments").await.body["data"][1], environment("staging", "queue"));

    let reset = owner.set("app", "production", json!({"time_limit_seconds": null})).await;
    expected["time_limit_seconds"] = json!(null);
    assert_eq!(reset, expected, "null resets the time limit");
    let whole = owner.set("app", "production", json!({"time_limit_seconds": 60.0})).await;
    expected["time_limit_seconds"] = json!(60);
    assert_eq!(whole, expected, "a fraction of zero does not count");

    for (body, field, message) in [
        (json!({"required_approvals": 7}), "required_approvals", "must be a whole number from 0 to 6"),
        (json!({"required_approvals": -1}), "required_approvals", "must be a whole number from 0 to 6"),
        (json!({"time_limit_seconds": 59}), "time_limit_seconds", "must be a whole number from 60 to 28800"),
        (json!({"time_limit_seconds": 28801}), "time_limit_seconds", "must be a whole number from 60 to 28800"),
        (json!({"concurrency": "parallel"}), "concurrency", "must be `queue` or `supersede`"),
        (json!({"frozen": "yes"}), "frozen", "must be a boolean"),
        (json!({"freeze": true}), "freeze", "is not one of"),
    ] {
        let refused = owner.patch(PRODUCTION, body).await;
        refused.refused(400, "invalid_request");
        let detail = &refused.body["error"]["details"][0];
        assert_eq!(detail["field"], field, "{detail}");
        assert!(detail["message"].as_str().unwrap().starts_with(message), "{detail}");
    }
    assert_eq!(owner.get(PRODUCTION).await.body, expected, "nothing has changed");
}

#[tokio::test]
async fn a_deployment_waits_for_as_many_approvals_of_others_as_its_environment_asks_for() {
    let world = World::start().await;
    let (owner, _source) = world.app().await;
    let (ann, bob) = (world.member(&owner, Role::Admin).await, world.member(&owner, Role::Admin).await);
    owner.set("app", "production", json!({"required_approvals": 2})).await;
    let created = deploy_to_production(&owner).await;
    assert_eq!(created["approvals"], json!({"required": 2, "given_by": []}));
    let approval = tests::approval(&created);
    let queue = owner.deployment(&created).await["queue"].clone();
    assert_eq!(
        queue["blocked_by"],
        json!({"kind": "approval", "deployment_id": null, "position": null, "until": null, "reason": null})
    );
    world.deliver(&owner, &created).await;
    world.queue_is_empty().await;
    assert_eq!(owner.deployment(&created).await["status"], "queued", "no message starts it");

    owner.act(&created, "approve", approval.clone()).await.refused(409, "self_approval");
    let other = |field: &str, value: String| {
        let mut other = approval.clone();
        other[field] = json!(value);
        other
    };
    ann.act(&created, "approve", other("sha", "0".repeat(40))).await.refused(409, "sha_mismatch");
    let another = other("approval_digest", "0".repeat(64));
    ann.act(&created, "approve", another).await.refused(409, "approval_digest_mismatch");
    for _ in 0..2 {
        let once = ann.act(&created, "approve", approval.clone()).await;
        assert_eq!((once.status, &once.body["approvals"]["given_by"]), (200, &json!([ann.user_id])), "{once:?}");
    }
    assert_eq!(owner.deployment(&created).await["status"], "queued");
    let both = bob.act(&created, "approve", approval.clone()).await;
    assert_eq!(both.body["approvals"], json!({"required": 2, "given_by": [ann.user_id, bob.user_id]}));
    assert_eq!(owner.ended(&created).await["status"], "succeeded");
    let sha = created["sha"].as_str().unwrap();
    assert_eq!(owner.events(&created).await[1], format!("2 queued user: approved {sha} (1 of 2 approvals)"));
    ann.act(&created, "approve", approval.clone()).await.refused(409, "not_awaiting_approval");
    ann.act(&created, "reject", json!({})).await.refused(409, "not_awaiting_approval");
}

#[tokio::test]
async fn an_approval_covers_all_that_the_build_gets() {
    let world = World::start_without_queue().await;
    let (owner, _source) = world.app().await;
    let ann = world.member(&owner, Role::Admin).await;
    owner.set("app", "production", json!({"required_approvals": 1})).await;
    let deploy = async |variables: Value| {
        owner.deploy("app", json!({"ref": "main", "environment": "production", "variables": variables})).await
    };
    let variables = json!({"LOG_LEVEL": "debug", "API_KEY": {"value": "hunter22", "secret": true}});
    let created = deploy(variables.clone()).await;
    assert_eq!(created["variable_names"], json!(["API_KEY", "LOG_LEVEL"]));
    let others = [deploy(variables).await, deploy(json!({"LOG_LEVEL": "trace"})).await, deploy(json!({})).await];
    assert_eq!(others[2]["variable_names"], json!([]));
    let digest = |deployment: &Value| deployment["approval_digest"].as_str().unwrap().to_owned();
    for other in &others {
        assert_eq!(other["sha"], created["sha"]);
        ann.act(&created, "approve", tests::approval(other)).await.refused(409, "approval_digest_mismatch");
    }
    let different: BTreeSet<_> = others.iter().chain([&created]).map(digest).collect();
    assert!(different.len() == 4 && different.iter().all(|digest| digest.len() == 64), "{different:?}");

    // The settings that the deployment keeps do not change, and neither does the digest.
    owner.set("app", "production", json!({"time_limit_seconds": 60, "required_approvals": 2})).await;
    let read = owner.deployment(&created).await;
    assert_eq!((digest(&read), &read["variable_names"]), (digest(&created), &created["variable_names"]));
    let approved = ann.act(&created, "approve", tests::approval(&read)).await;
    assert_eq!((approved.status, digest(&approved.body)), (200, digest(&created)));
    let claimed = world.lose_a_runner(&owner, &created).await;
    assert_eq!((claimed.time_limit_seconds, claimed.approval_digest()), (None, digest(&created)));
    let limited = deploy(json!({})).await;
    assert_eq!(world.stored(&owner, &limited).await.time_limit_seconds, Some(60));
}

/// Whatever changes after the approvals, no command of the build runs.
#[tokio::test]
async fn a_build_that_would_get_something_else_than_was_approved_does_not_start() {
    let world = World::start_without_queue().await;
    let (owner, source) = world.app().await;
    let ann = world.member(&owner, Role::Admin).await;
    owner.set("app", "production", json!({"required_approvals": 1})).await;
    let first = source.git(&["rev-parse", "HEAD"]);
    source.commit(&[("more", "")]);
    let elsewhere = GitRepository::new(&[]);
    elsewhere.git(&["fetch", "--quiet", &source.url(), "main:copy"]);
    let text = |text: &str| AttributeValue::S(text.to_owned());
    let stored = owner.put(&format!("{PRODUCTION}/variables/STORED"), json!({"value": "1"})).await;
    assert_eq!(stored.status, 200, "{stored:?}");
    let tampered = [
        ("DEPLOY", "clone_url", text(&elsewhere.url())),
        ("DEPLOY", "sha", text(&first)),
        ("DEPLOY", "git_ref", text("other")),
        ("DEPLOY", "time_limit_seconds", AttributeValue::N("60".to_owned())),
        ("DEPLOY", "required_approvals", AttributeValue::N("0".to_owned())),
        ("DEPLOY", "variable_names", AttributeValue::L(Vec::new())),
        ("DEPLOY", "approved_by", AttributeValue::L(Vec::new())),
        ("DEPLOY", "approved_digest", text(&"0".repeat(64))),
        ("VARS", "sealed", AttributeValue::B(Blob::new("other"))),
        ("VARS", "plain", AttributeValue::M([("LOG_LEVEL".to_owned(), text("trace"))].into())),
        ("VARS", "sets", AttributeValue::L(Vec::new())),
    ];
    for (sk, attribute, value) in tampered {
        let new = json!({"ref": "main", "environment": "production", "variables": {"LOG_LEVEL": "debug"}});
        let created = owner.deploy("app", new).await;
        assert_eq!(ann.act(&created, "approve", tests::approval(&created)).await.status, 200);
        let account = owner.account_id.as_ref().unwrap();
        let pk = format!("ACCT#{account}#DEPLOY#{}", created["id"].as_str().unwrap());
        world.set_attribute((&pk, sk), attribute, value).await;
        world.deliver(&owner, &created).await;
        let ended = owner.ended(&created).await;
        assert_eq!(ended["failure"]["code"], "approval_mismatch", "{attribute}: {ended}");
        let log = owner.log(&created).await;
        assert!(log.iter().all(|line| !line.contains("Entering phase")), "{attribute}: {log:?}");
    }
}

#[tokio::test]
async fn one_that_lacks_approvals_holds_up_nobody_and_overtakes_nobody() {
    let world = World::start().await;
    let (owner, _source) = world.app().await;
    let ann = world.member(&owner, Role::Admin).await;
    owner.set("app", "production", json!({"required_approvals": 1})).await;
    let older = deploy_to_production(&owner).await;
    let newer = deploy_to_production(&owner).await;
    ann.act(&newer, "approve", tests::approval(&newer)).await;
    assert_eq!(owner.ended(&newer).await["status"], "succeeded");
    assert_eq!(owner.deployment(&older).await["status"], "queued");
    ann.act(&older, "approve", tests::approval(&older)).await;
    let ended = owner.ended(&older).await;
    assert_eq!(ended["status"], "superseded", "a newer one has gone live");
    assert_eq!(owner.get(PRODUCTION).await.body["live"]["deployment_id"], newer["id"]);
}

#[tokio::test]
async fn a_rejected_deployment_has_failed() {
    let world = World::start().await;
    let (owner, _source) = world.app().await;
    let ann = world.member(&owner, Role::Admin).await;
    let free = deploy_to_production(&owner).await;
    owner.ended(&free).await;
    owner.set("app", "production", json!({"required_approvals": 1})).await;
    let created = deploy_to_production(&owner).await;
    let long = json!({"reason": "x".repeat(501)});
    ann.act(&created, "reject", long).await.refused(400, "invalid_request");
    for unseen in ['\u{202e}', '\u{200b}', '\u{1b}', '\u{e000}'] {
        let refused = ann.act(&created, "reject", json!({"reason": format!("not{unseen}now")})).await;
        let message = format!("must not contain characters that can't be seen, such as U+{:04X}", u32::from(unseen));
        let detail = json!([{"field": "reason", "message": message}]);
        assert_eq!(refused.refused(400, "invalid_request").body["error"]["details"], detail);
    }
    let rejected = ann.act(&created, "reject", json!({"reason": "not before the release"})).await;
    let message = format!("Rejected by {}: not before the release", ann.user_id.as_ref().unwrap());
    assert_eq!(rejected.body["failure"], json!({"code": "rejected", "message": message}), "{rejected:?}");
    assert_eq!((rejected.status, &rejected.body["status"]), (200, &json!("failed")));
    assert_eq!(owner.get(PRODUCTION).await.body["queued"], json!([]));
}

#[tokio::test]
async fn nothing_new_starts_in_a_frozen_environment() {
    let world = World::start_without_queue().await;
    let (owner, _source) = world.app().await;
    let waiting = deploy_to_production(&owner).await;
    owner.set("app", "production", json!({"frozen": true})).await;
    world.deliver(&owner, &waiting).await;
    world.queue_is_empty().await;
    assert_eq!(owner.deployment(&waiting).await["status"], "queued");
    let body = json!({"ref": "main", "environment": "production"});
    let refused = owner.post("/v1/repositories/app/deployments", body).await;
    refused.refused(409, "environment_frozen");
    assert_eq!(refused.body["error"]["message"], "The environment production is frozen");
    owner.deploy("app", json!({"ref": "main", "environment": "staging"})).await;
}

#[tokio::test]
async fn the_end_of_a_freeze_starts_what_waited() {
    let world = World::start().await;
    let (owner, _source) = world.app().await;
    let ann = world.member(&owner, Role::Admin).await;
    owner.set("app", "production", json!({"required_approvals": 1})).await;
    let waiting = deploy_to_production(&owner).await;
    owner.set("app", "production", json!({"frozen": true})).await;
    ann.act(&waiting, "approve", tests::approval(&waiting)).await;
    world.queue_is_empty().await;
    assert_eq!(owner.deployment(&waiting).await["status"], "queued");
    owner.set("app", "production", json!({"frozen": false})).await;
    assert_eq!(owner.ended(&waiting).await["status"], "succeeded");
}
