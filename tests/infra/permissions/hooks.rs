//! Pushes to hooks, in the walk through the API.

use std::time::Duration;

use aws_sdk_dynamodb::types::AttributeValue;
use axum::http::Method;
use serde_json::{Value, json};
use tests::estate::Estate;
use tests::{Actor, GitRepository};

use super::super::{SWEEP, text};
use super::walk::Walk;

const HOOKS_OF_PUSHED: &str = "/v1/repositories/pushed/hooks";

/// Sends a push of a ref, with an ID of the sender and the commit, as GitLab does.
async fn push(walk: &Walk, owner: &Actor, hook: &Value, (id, ref_name, sha): (&str, &str, &str)) {
    let push = json!({"object_kind": "push", "ref": ref_name, "after": sha});
    let path = format!("/v1/hooks/{}", text(&hook["id"]));
    let request = walk.world.anonymous().at(walk.api.endpoint()).request(Method::POST, &path);
    let request = request.header("x-gitlab-event", "Push Hook").header("x-gitlab-token", text(&hook["secret"]));
    let answer = owner.send(request.header("idempotency-key", id).json(&push)).await;
    walk.take("receive-hook", answer, 202);
}

/// Reads a delivery by the ID that its sender gave it.
async fn delivery(walk: &Walk, owner: &Actor, hook: &Value, id: &str) -> Value {
    let deliveries = format!("{HOOKS_OF_PUSHED}/{}/deliveries", text(&hook["id"]));
    let page = walk.take("list-hook-deliveries", owner.get(&deliveries).await, 200);
    let mut all = page["data"].as_array().unwrap().iter().cloned();
    all.find(|found| found["provider_delivery_id"] == id).expect("the delivery is listed")
}

/// Sends pushes in every way that leads to another AWS call.
pub(super) async fn push_everything(walk: &Walk, estate: &Estate) {
    let (owner, source) = (&estate.owner, GitRepository::with_commands(&["true"]));
    let rules = json!([{"refs": ["*"], "environment": "preview"}]);
    let new = json!({"name": "pushed", "clone_url": source.url(), "deploy_rules": rules});
    walk.take("create-repository", owner.post("/v1/repositories", new).await, 201);
    let hook = walk.take("create-hook", owner.post(HOOKS_OF_PUSHED, json!({"provider": "gitlab"})).await, 201);
    let send = async |id: &str, ref_name: &str, sha: &str| {
        push(walk, owner, &hook, (id, ref_name, sha)).await;
        tests::eventually("the result of the delivery", async || {
            let refused = walk.gate.refused.lock().unwrap().clone();
            assert!(refused.is_empty(), "{refused:?}");
            Some(delivery(walk, owner, &hook, id).await).filter(|found| found["outcome"] != "queued")
        })
        .await
    };
    // By the repository's ID, which another call finds than its name.
    let spare = walk.take("create-hook", owner.post(HOOKS_OF_PUSHED, json!({"provider": "gitea"})).await, 201);
    let pushed = walk.take("get-repository", owner.get("/v1/repositories/pushed").await, 200);
    let path = format!("/v1/repositories/{}/hooks/{}", text(&pushed["id"]), text(&spare["id"]));
    walk.take("delete-hook", owner.delete(&path).await, 200);
    let sha = source.git(&["rev-parse", "HEAD"]);
    let deployed = send("1", "refs/heads/main", &sha).await;
    assert_eq!(deployed["outcome"], "deployed", "{deployed}");
    walk.ended(owner, &json!({"id": deployed["deployments"][0]})).await;
    // A deployment that waits for an approval is canceled with its branch.
    let body = json!({"ref": "main", "environment": "staging"});
    let staged = walk.take("create-deployment", owner.post("/v1/repositories/pushed/deployments", body).await, 201);
    walk.ended(owner, &staged).await;
    let environment = "/v1/repositories/pushed/environments/preview";
    let set = async |settings| walk.take("update-environment", owner.patch(environment, settings).await, 200);
    set(json!({"required_approvals": 1, "requires": ["staging"]})).await;
    source.git(&["branch", "x"]);
    assert_eq!(send("2", "refs/heads/x", &sha).await["outcome"], "deployed");
    set(json!({"requires": null})).await;
    source.git(&["commit", "--quiet", "--allow-empty", "--message=two"]);
    source.git(&["branch", "--force", "x", "HEAD"]);
    assert_eq!(send("3", "refs/heads/x", &sha).await["outcome"], "deployed", "supersedes the other one");
    source.git(&["branch", "-D", "x"]);
    let canceled = send("4", "refs/heads/x", &"0".repeat(40)).await;
    assert_eq!(canceled["outcome"], "canceled", "{canceled}");
}

/// Sends a push to the private repository, which is read with its connection.
pub(super) async fn push_to_private(walk: &Walk, owner: &Actor, source: &GitRepository) {
    let hooks = "/v1/repositories/private/hooks";
    let hook = walk.take("create-hook", owner.post(hooks, json!({"provider": "gitlab"})).await, 201);
    push(walk, owner, &hook, ("1", "refs/heads/main", &source.git(&["rev-parse", "HEAD"]))).await;
    let deliveries = format!("{hooks}/{}/deliveries", text(&hook["id"]));
    let deployment = tests::eventually("the result of the delivery", async || {
        let page = walk.take("list-hook-deliveries", owner.get(&deliveries).await, 200);
        page["data"][0]["deployments"].get(0).cloned()
    })
    .await;
    walk.ended(owner, &json!({"id": deployment})).await;
}

/// Sends a push whose commit no host tells, and lets the sweep send it again.
pub(super) async fn wait_for_the_sweep(walk: &Walk, owner: &Actor) {
    let account = format!("ACCT#{}", owner.account_id.as_ref().unwrap());
    let pushed = walk.take("get-repository", owner.get("/v1/repositories/pushed").await, 200);
    let down = AttributeValue::S("http://127.0.0.1:1/acme/app.git".to_owned());
    let row = format!("REPO#{}", text(&pushed["id"]));
    walk.world.set_attribute((&account, &row), "clone_url", down).await;
    let hook = walk.take("create-hook", owner.post(HOOKS_OF_PUSHED, json!({"provider": "gitlab"})).await, 201);
    push(walk, owner, &hook, ("5", "refs/heads/main", &"1".repeat(40))).await;
    tests::eventually("the attempt", async || {
        let found = delivery(walk, owner, &hook, "5").await;
        text(&found["reason"]).ends_with("is tried again").then_some(())
    })
    .await;
    walk.world.clock.advance(Duration::from_secs(61));
    let swept = walk.environment(SWEEP).sweep().unwrap().invoke(json!({})).await.unwrap();
    // The delivery's, and two about webhooks.
    assert_eq!((&swept["sent"], &swept["failed"]), (&json!(3), &json!(0)), "{swept}");
}
