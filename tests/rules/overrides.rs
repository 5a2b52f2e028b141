//! Overrides of the rules, by those who may change them.

use shared::access::Scope;

use super::*;

fn with_an_override(git_ref: &str) -> Value {
    let mut body = to_production(git_ref);
    body["override"] = json!({"reason": "Hotfix for the payment outage"});
    body
}

#[tokio::test]
async fn an_override_passes_every_rule_but_approvals_and_is_recorded() {
    let world = World::start().await;
    let (owner, source) = world.app().await;
    let ann = world.member(&owner, Role::Admin).await;
    source.git(&["branch", "hotfix"]);
    let window = json!({"cron": "0 12 * * *", "duration_seconds": 7200});
    let rules = json!({
        "wait_seconds": 3600, "refs": ["main"], "requires": ["staging"], "freeze_windows": [window], "required_approvals": 1,
    });
    owner.set("app", "production", rules).await;
    for rule in ["refs", "requires", "freeze", "wait"] {
        assert_eq!(gate(&owner, to_production("hotfix"), rule).await.0["passes"], false, "{rule}");
        let (gate, outcome) = gate(&owner, with_an_override("hotfix"), rule).await;
        assert_eq!((&gate["passes"], outcome), (&json!(true), json!("waits")), "{gate}");
    }
    let created = owner.deploy("app", with_an_override("hotfix")).await;
    let given = json!({"reason": "Hotfix for the payment outage"});
    assert_eq!((&created["override"], &created["wait_until"]), (&given, &Value::Null));
    assert_eq!(blocked_by(&owner, &created).await["kind"], "approval", "approvals are not skipped");
    ann.act(&created, "approve", tests::approval(&created)).await;
    assert_eq!(owner.ended(&created).await["status"], "succeeded", "in the window");

    let path = format!("/v1/audit_events?action=deployment.created&target={}", created["id"].as_str().unwrap());
    let event = owner.get(&path).await.body["data"][0].clone();
    let recorded = json!({"field": "override", "from": null, "to": given["reason"]});
    assert!(event["changes"].as_array().unwrap().contains(&recorded), "{event}");
}

#[tokio::test]
async fn an_override_overtakes_what_the_freeze_holds_back() {
    let world = World::start().await;
    let (owner, _source) = world.app().await;
    let ann = world.member(&owner, Role::Admin).await;
    owner.set("app", "production", json!({"required_approvals": 1})).await;
    let waiting = deploy_to_production(&owner).await;
    for frozen in
        [json!({"frozen": true}), json!({"freeze_windows": [{"cron": "0 12 * * *", "duration_seconds": 7200}]})]
    {
        owner.set("app", "production", frozen).await;
        ann.act(&waiting, "approve", tests::approval(&waiting)).await;
        let urgent = owner.deploy("app", with_an_override("main")).await;
        assert_eq!(ann.act(&urgent, "approve", tests::approval(&urgent)).await.status, 200);
        assert_eq!(owner.ended(&urgent).await["status"], "succeeded");
        assert_eq!(owner.deployment(&waiting).await["status"], "queued");
    }
    let body = json!({"environment": "production", "override": {"reason": "Back"}});
    let rollback = owner.post("/v1/repositories/app/rollback", body).await;
    assert_eq!((rollback.status, &rollback.body["override"]["reason"]), (201, &json!("Back")), "{rollback:?}");
}

#[tokio::test]
async fn only_those_override_who_may_change_the_rules() {
    let world = World::start_without_queue().await;
    let (owner, _source) = world.app().await;
    let somebody = deployer(&world, &owner).await;
    let narrow =
        world.with_token(&owner, |token| token.scopes = vec![Scope::DeploymentsWrite, Scope::DeploymentsRead]).await;
    owner.set("app", "production", json!({"frozen": true})).await;
    for path in [DEPLOYMENTS.to_owned(), format!("{DEPLOYMENTS}/preflight")] {
        somebody.post(&path, with_an_override("main")).await.refused(403, "insufficient_permission");
        narrow.post(&path, with_an_override("main")).await.refused(403, "insufficient_scope");
    }
    let rollback = json!({"environment": "production", "override": {"reason": "x"}});
    somebody.post("/v1/repositories/app/rollback", rollback).await.refused(403, "insufficient_permission");
    assert_eq!(owner.post(DEPLOYMENTS, with_an_override("main")).await.status, 201);
    for reason in
        [json!({}), json!({"reason": " "}), json!({"reason": "a\u{202e}b"}), json!({"reason": "x", "by": "me"})]
    {
        let mut body = to_production("main");
        body["override"] = reason;
        owner.post(DEPLOYMENTS, body).await.refused(400, "invalid_request");
    }
}
