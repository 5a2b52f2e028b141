use aws_sdk_dynamodb::types::AttributeValue;
use serde_json::{Value, json};
use shared::model::Role;
use tests::{Actor, Answer, GitRepository, World};

async fn change(by: &Actor, if_match: Option<&str>, body: Value) -> Answer {
    let request = by.request(reqwest::Method::PATCH, "/v1/account").json(&body);
    by.send(if_match.into_iter().fold(request, |request, tag| request.header("if-match", tag))).await
}

/// Returns the version in the ETag after the account's ID.
fn version(answer: &Answer) -> &str {
    let version = answer.header("etag").trim_start_matches('"').split_once('.').unwrap().0;
    version.strip_prefix(answer.body["id"].as_str().unwrap()).unwrap().trim_start_matches('-')
}

/// Returns an ETag of a version of the actor's account.
fn tag(by: &Actor, version: u32) -> Option<String> {
    Some(format!("\"{}-{version}.seen\"", by.account_id.as_ref().unwrap()))
}

#[tokio::test]
async fn every_member_sees_the_account_and_an_owner_changes_it() {
    let world = World::start().await;
    let owner = world.owner_with(90, 30, "acme").await;
    let (member, admin) = (world.member(&owner, Role::Member).await, world.member(&owner, Role::Admin).await);
    let mut account = json!({
        "id": owner.account_id, "slug": "acme", "plan": "enterprise",
        "rate_limit": {"per_minute": 90, "burst": 30}, "audit_retention_days": 400,
        "concurrent_builds": {"running": 0, "limit": 1_000_000},
        "build_minutes": {"used": 0, "limit": null, "resets_at": "2026-02-01T00:00:00Z"},
        "base_permission": "read", "permanent_tokens": true, "created_at": "2026-01-01T12:00:00Z",
    });
    let seen = member.get("/v1/account").await;
    assert_eq!((seen.status, &seen.body, version(&seen)), (200, &account, "1"));

    for somebody in [&member, &admin] {
        change(somebody, None, json!({"base_permission": "admin"})).await.refused(403, "insufficient_permission");
    }
    assert_eq!(owner.get("/v1/account").await.body, account);

    let changed = change(&owner, None, json!({"base_permission": "deploy"})).await;
    account["base_permission"] = json!("deploy");
    assert_eq!((changed.status, &changed.body, version(&changed)), (200, &account, "2"));
    let changed = change(&owner, None, json!({"permanent_tokens": false})).await;
    account["permanent_tokens"] = json!(false);
    assert_eq!((&changed.body, version(&changed)), (&account, "3"));
    for nothing_new in [json!({}), json!({"base_permission": "deploy", "permanent_tokens": false})] {
        let unchanged = change(&owner, None, nothing_new).await;
        assert_eq!((unchanged.status, &unchanged.body, version(&unchanged)), (200, &account, "3"));
    }
    assert_eq!(member.get("/v1/account").await.body, account, "what is seen is what is stored, at once");
    // On Starter, the plan's limits apply.
    let stranger = world.owner_on("starter", "globex").await.get("/v1/account").await.body;
    assert_eq!((&stranger["slug"], &stranger["base_permission"]), (&json!("globex"), &json!("read")));
    assert_eq!(stranger["rate_limit"], json!({"per_minute": 60, "burst": 20}));
    assert_eq!(stranger["audit_retention_days"], 400);
}

#[tokio::test]
async fn only_enterprise_accounts_have_their_own_time_for_audit_events_within_bounds() {
    let world = World::start_without_queue().await;
    let of = |plan: &str, days: u32| {
        let mut event = json!({
            "account": "initech", "plan": plan, "owner_email": "owner@example.com", "audit_retention_days": days,
        });
        if plan == "enterprise" {
            event["rate_limit"] = json!({"per_minute": 60, "burst": 20});
        }
        world.stack.bootstrap(event)
    };
    for (plan, days, reason) in [
        ("starter", 400, "audit_retention_days is for Enterprise accounts only"),
        ("pro", 90, "audit_retention_days is for Enterprise accounts only"),
        ("enterprise", 29, "audit events can be kept for 30 to 3653 days"),
        ("enterprise", 3654, "audit events can be kept for 30 to 3653 days"),
    ] {
        let refused = format!("{:?}", of(plan, days).await.unwrap_err());
        assert!(refused.contains(reason), "{plan} {days}: {refused}");
    }
    of("enterprise", 30).await.unwrap();
}

#[tokio::test]
async fn what_is_no_change_of_an_account_is_named() {
    let world = World::start().await;
    let owner = world.owner("acme").await;
    let before = owner.get("/v1/account").await;
    for (body, field) in [
        (json!({"slug": "other"}), "slug"),
        (json!({"plan": "enterprise"}), "plan"),
        (json!({"base_permission": "write"}), "base_permission"),
        (json!({"permanent_tokens": "no"}), "permanent_tokens"),
    ] {
        let refused = change(&owner, None, body).await;
        assert_eq!(refused.refused(400, "invalid_request").body["error"]["details"][0]["field"], field);
    }
    let after = owner.get("/v1/account").await;
    assert_eq!((after.body.clone(), after.header("etag")), (before.body.clone(), before.header("etag")));
}

#[tokio::test]
async fn of_changes_by_the_same_etag_one_is_made() {
    let world = World::start().await;
    let owner = world.owner("acme").await;
    let mut calls = tokio::task::JoinSet::new();
    for _ in 0..6 {
        let owner = owner.clone();
        calls.spawn(async move { change(&owner, tag(&owner, 1).as_deref(), json!({"permanent_tokens": false})).await });
    }
    let (made, refused): (Vec<_>, Vec<_>) = calls.join_all().await.into_iter().partition(|answer| answer.status == 200);
    assert_eq!((made.len(), refused.len()), (1, 5));
    for answer in &refused {
        answer.refused(412, "precondition_failed");
    }
    let now = owner.get("/v1/account").await;
    assert_eq!((&now.body, version(&now)), (&made[0].body, "2"));

    // Without `If-Match`, every change is made, and none undoes another's.
    let other = owner.clone();
    let both = tokio::join!(
        change(&owner, None, json!({"base_permission": "none"})),
        change(&other, None, json!({"permanent_tokens": true})),
    );
    assert_eq!((both.0.status, both.1.status), (200, 200));
    let now = owner.get("/v1/account").await;
    assert_eq!((&now.body["base_permission"], &now.body["permanent_tokens"]), (&json!("none"), &json!(true)));
    assert_eq!(version(&now), "4");
}

#[tokio::test]
async fn an_account_from_before_revisions_were_kept_can_be_changed() {
    let world = World::start().await;
    let owner = world.owner("acme").await;
    let table = world.stack.app().table();
    let key = |text: String| AttributeValue::S(text);
    let update = table.client().update_item().table_name(table.name());
    let update = update.key("pk", key(format!("ACCT#{}", owner.account_id.as_ref().unwrap())));
    let update = update.key("sk", key("ACCOUNT".to_owned())).update_expression("REMOVE revision, permanent_tokens");
    update.send().await.unwrap();

    let seen = owner.get("/v1/account").await;
    assert_eq!((&seen.body["permanent_tokens"], version(&seen)), (&json!(true), "0"));
    change(&owner, tag(&owner, 1).as_deref(), json!({"permanent_tokens": false}))
        .await
        .refused(412, "precondition_failed");
    let changed = change(&owner, tag(&owner, 0).as_deref(), json!({"permanent_tokens": false})).await;
    assert_eq!((changed.status, version(&changed)), (200, "1"), "{changed:?}");
    change(&owner, tag(&owner, 0).as_deref(), json!({"permanent_tokens": true}))
        .await
        .refused(412, "precondition_failed");
}

#[tokio::test]
async fn a_change_takes_effect_when_what_is_remembered_is_too_old() {
    let world = World::start().await;
    let owner = world.owner("acme").await;
    let member = world.member(&owner, Role::Member).await;
    let source = GitRepository::with_commands(&["true"]);
    let repository = owner.repository("app", &source).await;
    let path = format!("/v1/repositories/{}", repository["id"].as_str().unwrap());
    let permanent = json!({"name": "ci", "scopes": ["tokens:read"], "permanent": true});
    let token = member.post("/v1/tokens", permanent.clone()).await;
    assert_eq!((token.status, member.get(&path).await.status), (201, 200));
    let rotate = format!("/v1/tokens/{}/rotate", token.body["id"].as_str().unwrap());

    let new = json!({"base_permission": "none", "permanent_tokens": false});
    assert_eq!(change(&owner, None, new).await.status, 200);
    world.callers_are_forgotten();
    member.get(&path).await.refused(404, "not_found");
    assert_eq!(member.get("/v1/repositories").await.body["meta"]["total"], 0);
    assert_eq!(owner.get(&path).await.status, 200);
    for by in [&member, &owner] {
        by.post("/v1/tokens", permanent.clone()).await.refused(403, "insufficient_permission");
    }
    member.post(&rotate, json!({"permanent": true})).await.refused(403, "insufficient_permission");
    assert_eq!(member.post(&rotate, json!({"expires_in_days": 30})).await.status, 200);

    let new = json!({"base_permission": "read", "permanent_tokens": true});
    assert_eq!(change(&owner, None, new).await.status, 200);
    world.callers_are_forgotten();
    assert_eq!(member.get(&path).await.status, 200);
    assert_eq!(member.post("/v1/tokens", permanent).await.status, 201);
}
