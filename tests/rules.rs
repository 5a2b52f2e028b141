//! The rules that protect an environment.

mod approvals;
mod freezes;
mod overrides;
mod refs;
mod requirements;
mod waits;

use std::time::Duration;

use serde_json::{Value, json};
use shared::model::Role;
use tests::{Actor, Answer, World};

const PRODUCTION: &str = "/v1/repositories/app/environments/production";
const DEPLOYMENTS: &str = "/v1/repositories/app/deployments";
const HOUR: Duration = Duration::from_secs(60 * 60);
const MOMENT: Duration = Duration::from_millis(1);

fn to_production(git_ref: &str) -> Value {
    json!({"ref": git_ref, "environment": "production"})
}

async fn deploy_to_production(owner: &Actor) -> Value {
    owner.deploy("app", to_production("main")).await
}

/// Returns a gate of the preflight of a deployment to production, and the outcome.
async fn gate(owner: &Actor, body: Value, name: &str) -> (Value, Value) {
    let preflight = owner.post(&format!("{DEPLOYMENTS}/preflight"), body).await;
    assert_eq!(preflight.status, 200, "{preflight:?}");
    let gate = preflight.body["gates"].as_array().unwrap().iter().find(|gate| gate["gate"] == name);
    (gate.unwrap_or_else(|| panic!("no gate {name}: {preflight:?}")).clone(), preflight.body["outcome"].clone())
}

fn message(refused: &Answer) -> &str {
    refused.body["error"]["message"].as_str().unwrap()
}

async fn blocked_by(owner: &Actor, deployment: &Value) -> Value {
    owner.deployment(deployment).await["queue"]["blocked_by"].clone()
}

/// Runs the sweep. Returns the number of deployments whose messages it sent, and of those that it ended.
async fn swept(world: &World) -> (u64, u64) {
    let tally = world.sweep().await.unwrap();
    (tally["sent"].as_u64().unwrap(), tally["ended"].as_u64().unwrap())
}

#[tokio::test]
async fn each_rule_is_shown_and_null_resets_it() {
    let world = World::start_without_queue().await;
    let (owner, _source) = world.app().await;
    let team = owner.team("Release managers").await;
    let defaults = owner.get(PRODUCTION).await.body;
    let rules = json!({
        "concurrency": "supersede",
        "required_approvals": 2,
        "reviewers": {"users": [owner.user_id], "teams": [team["id"]]},
        "approval_timeout_seconds": 2_592_000,
        "wait_seconds": 600,
        "refs": ["main", "release/*", "!release/old"],
        "requires": ["preview", "staging"],
        "freeze_windows": [
            {"cron": "0 18 * * FRI", "duration_seconds": 216_000, "time_zone": "Europe/Berlin", "reason": "Weekend"},
            {"cron": "0 0 24 12 *", "duration_seconds": 259_200, "time_zone": "UTC", "reason": null},
        ],
        "frozen": true,
        "time_limit_seconds": 60,
    });
    let fields: Vec<&str> = rules.as_object().unwrap().keys().map(String::as_str).collect();
    let changed = owner.set("app", "production", rules.clone()).await;
    for field in &fields {
        assert_eq!(changed[field], rules[field], "{field}");
        assert_ne!(changed[field], defaults[field], "{field}");
    }
    assert_eq!(owner.get(PRODUCTION).await.body, changed);
    let listed = owner.get("/v1/repositories/app/environments").await;
    assert!(listed.body["data"].as_array().unwrap().contains(&changed), "{listed:?}");
    let default = |field: &str| defaults[field].clone();
    assert_eq!(
        (default("approval_timeout_seconds"), default("wait_seconds"), default("reviewers")),
        (json!(604_800), json!(0), Value::Null)
    );
    assert_eq!([default("refs"), default("requires"), default("freeze_windows")], [json!([]), json!([]), json!([])]);

    for field in &fields {
        let reset = owner.set("app", "production", json!({(*field): null})).await;
        assert_eq!(reset[field], defaults[field], "{field}");
    }
    let mut reset = owner.get(PRODUCTION).await.body;
    reset["updated_at"] = Value::Null;
    assert_eq!(reset, defaults);

    // A list replaces the whole list, and an empty one is the default.
    owner.set("app", "production", json!({"refs": ["main"], "requires": ["staging"]})).await;
    let replaced = owner.set("app", "production", json!({"refs": ["tags/v*"], "requires": []})).await;
    assert_eq!((&replaced["refs"], &replaced["requires"]), (&json!(["tags/v*"]), &json!([])));
}

#[tokio::test]
async fn a_wrong_rule_is_named_by_its_path() {
    let world = World::start_without_queue().await;
    let (owner, _source) = world.app().await;
    let other = world.owner("other").await;
    let team = owner.team("Release managers").await;
    let window = |field: &str, value: Value| {
        let mut window = json!({"cron": "0 18 * * 5", "duration_seconds": 3600, "time_zone": "UTC"});
        window[field] = value;
        json!({"freeze_windows": [{"cron": "@daily", "duration_seconds": 60}, window]})
    };
    let seconds = |length: u64| format!("must be a whole number from 60 to {length}");
    let valid = json!({"cron": "@daily", "duration_seconds": 60});
    let unknown = "user_aaaaaaaaaaaaaaaa";
    for (body, field, message) in [
        (window("cron", json!("61 * * * *")), "freeze_windows[1].cron", "must be a cron expression of five fields"),
        (window("cron", json!("0 0 30 2 *")), "freeze_windows[1].cron", "must be a cron expression of five fields"),
        (window("cron", Value::Null), "freeze_windows[1].cron", "must be a string"),
        (
            window("time_zone", json!("Europe/Nowhere")),
            "freeze_windows[1].time_zone",
            "must be the name of a time zone",
        ),
        (window("duration_seconds", json!(59)), "freeze_windows[1].duration_seconds", &seconds(2_592_000)),
        (window("reason", json!("")), "freeze_windows[1].reason", "must be a line of 1 to 200 characters"),
        (window("end", json!("x")), "freeze_windows[1].end", "is not one of"),
        (json!({"freeze_windows": vec![valid; 11]}), "freeze_windows", "must have at most 10 entries"),
        (json!({"refs": ["main", "refs/heads/x"]}), "refs[1]", "must be 1 to 255 characters"),
        (json!({"refs": vec!["a"; 21]}), "refs", "must have at most 20 entries"),
        (json!({"requires": ["staging", "production"]}), "requires[1]", "must be another environment"),
        (json!({"requires": ["staging", "staging"]}), "requires", "must not have an environment twice"),
        (json!({"requires": ["Staging!"]}), "requires[0]", "must be"),
        (json!({"wait_seconds": 2_592_001}), "wait_seconds", "must be a whole number from 0 to 2592000"),
        (json!({"approval_timeout_seconds": 59}), "approval_timeout_seconds", &seconds(2_592_000)),
        (json!({"reviewers": {}}), "reviewers", "must have a user or a team"),
        (json!({"reviewers": {"users": ["ann"]}}), "reviewers.users[0]", "must be"),
        (json!({"reviewers": {"people": []}}), "reviewers.people", "is not one of `users` or `teams`"),
        (
            json!({"reviewers": {"users": [owner.user_id, unknown]}}),
            "reviewers.users[1]",
            "must be the ID of a user of the account",
        ),
        (
            json!({"reviewers": {"users": [other.user_id]}}),
            "reviewers.users[0]",
            "must be the ID of a user of the account",
        ),
        (
            json!({"reviewers": {"teams": [team["id"], "team_aaaaaaaaaaaaaaaa"]}}),
            "reviewers.teams[1]",
            "must be the ID of a team of the account",
        ),
        (json!({"reviewers": {"users": [owner.user_id, owner.user_id]}}), "reviewers", "must not have a user"),
        (
            json!({"reviewers": {"users": [owner.user_id]}, "required_approvals": 2}),
            "reviewers.users",
            "must have at least 2 users, the number of required approvals, or a team",
        ),
    ] {
        let refused = owner.patch(PRODUCTION, body.clone()).await;
        refused.refused(400, "invalid_request");
        let detail = &refused.body["error"]["details"][0];
        assert_eq!(detail["field"], field, "{body}: {detail}");
        assert!(detail["message"].as_str().unwrap().starts_with(message), "{body}: {detail}");
    }
    owner.set("app", "production", json!({"reviewers": {"users": [owner.user_id]}})).await;
    let refused = owner.patch(PRODUCTION, json!({"required_approvals": 2})).await;
    let detail = json!([{"field": "required_approvals", "message": "must be at most 1, the number of the environment's reviewers"}]);
    assert_eq!(refused.refused(400, "invalid_request").body["error"]["details"], detail);
    // The members of a team come and go.
    let reviewers = json!({"users": [owner.user_id], "teams": [team["id"]]});
    owner.set("app", "production", json!({"reviewers": reviewers, "required_approvals": 2})).await;
}

#[tokio::test]
async fn the_audit_log_has_each_changed_rule() {
    let world = World::start_without_queue().await;
    let (owner, _source) = world.app().await;
    let window = json!({"cron": "@daily", "duration_seconds": 60, "time_zone": "UTC", "reason": null});
    let rules = json!({
        "reviewers": {"users": [owner.user_id], "teams": []}, "approval_timeout_seconds": 60, "wait_seconds": 1,
        "refs": ["main"], "requires": ["staging"], "freeze_windows": [window],
    });
    owner.set("app", "production", rules.clone()).await;
    let event = owner.get("/v1/audit_events?action=environment.updated").await.body["data"][0].clone();
    let changes = event["changes"].as_array().unwrap();
    assert_eq!(changes.len(), rules.as_object().unwrap().len(), "{event}");
    for change in changes {
        assert_eq!(change["to"], rules[change["field"].as_str().unwrap()], "{event}");
    }
}

/// Returns a member who may deploy the repository, and change none of its settings.
async fn deployer(world: &World, owner: &Actor) -> Actor {
    let somebody = world.member(owner, Role::Member).await;
    let team = owner.team("Deployers").await;
    owner.add_to_team(&team, &somebody).await;
    owner.grant(&team, "app", "deploy").await;
    somebody
}
