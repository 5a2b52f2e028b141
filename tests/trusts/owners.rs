//! Whoever creates a trust and answers for it.

use aws_sdk_dynamodb::types::AttributeValue;
use serde_json::json;
use shared::access::Scope;
use shared::model::{MAX_TRUSTS, Role};
use tests::{Actor, GitRepository, World};

use super::{new_trust, program, trust};

fn path(actor: &Actor) -> String {
    format!("/v1/members/{}", actor.user_id.as_ref().unwrap())
}

#[tokio::test]
async fn a_trust_is_created_listed_and_deleted() {
    let world = World::start_without_queue().await;
    let owner = world.owner("acme").await;
    let source = GitRepository::new(&[]);
    let repository = owner.repository("app", &source).await;
    let admin = world.member(&owner, Role::Admin).await;
    let new = json!({
        "name": "CI", "issuer": "https://token.actions.githubusercontent.com", "claims": {"repository": "acme/app"},
        "scopes": ["deployments:write", "deployments:write"], "repository_id": repository["id"],
        "environments": ["production", "preview", "production"],
    });
    let created = admin.post("/v1/trusts", new.clone()).await;
    let body = &created.body;
    let by = admin.user_id.as_ref().unwrap().as_str();
    let expected = json!({
        "id": body["id"], "name": "CI", "issuer": "https://token.actions.githubusercontent.com",
        "audience": world.stack.url(), "claims": {"repository": "acme/app"}, "scopes": ["deployments:write"],
        "repository_id": repository["id"], "environments": ["preview", "production"], "user_id": body["user_id"],
        "created_by": by, "owned_by": by, "created_at": "2026-01-01T12:00:00Z",
    });
    assert_eq!((created.status, body), (201, &expected));
    let page = owner.get("/v1/trusts").await;
    assert_eq!((&page.body["data"], &page.body["meta"]["total"]), (&json!([body]), &json!(1)));
    let deleted = owner.delete(&format!("/v1/trusts/{}", body["id"].as_str().unwrap())).await;
    assert_eq!(deleted.body, json!({"id": body["id"], "deleted": true}));
    assert_eq!(owner.get("/v1/trusts").await.body["data"], json!([]));
    let events = owner.get(&format!("/v1/audit_events?target={}", body["id"].as_str().unwrap())).await;
    let actions: Vec<_> = events.body["data"].as_array().unwrap().iter().map(|event| event["action"].clone()).collect();
    assert_eq!(actions.len(), 2, "{actions:?}");
    assert!(actions.contains(&json!("trust.created")) && actions.contains(&json!("trust.deleted")));
}

#[tokio::test]
async fn a_trust_that_says_too_much_is_refused() {
    let world = World::start_without_queue().await;
    let owner = world.owner("acme").await;
    for (changes, field) in [
        (json!({"scopes": []}), "scopes"),
        (json!({"scopes": ["repositories:write"]}), "scopes[0]"),
        (json!({"scopes": ["deployments:read", "tokens:write"]}), "scopes[1]"),
        (json!({"environments": []}), "environments"),
        (json!({"environments": ["Moon"]}), "environments[0]"),
        (json!({"repository_id": "repo_aaaaaaaaaaaaaaaa"}), "repository_id"),
        (json!({"issuer": "http://ci.example"}), "issuer"),
        (json!({"issuer": "https://10.0.0.1"}), "issuer"),
        (json!({"issuer": "https://169.254.169.254/latest"}), "issuer"),
        (json!({"issuer": "https://user:secret@ci.example"}), "issuer"),
        (json!({"issuer": "https://ci.example/?a=b"}), "issuer"),
        (json!({"audience": ""}), "audience"),
        (json!({"audience": "two words"}), "audience"),
        (json!({"name": ""}), "name"),
    ] {
        let refused = owner.post("/v1/trusts", new_trust(&world, changes.clone())).await;
        refused.refused(400, "invalid_request");
        assert_eq!(refused.body["error"]["details"][0]["field"], field, "{changes}: {refused:?}");
    }
    let narrow =
        |token: &mut shared::model::AccessToken| token.scopes = vec![Scope::AccountWrite, Scope::DeploymentsRead];
    let narrow = world.with_token(&owner, narrow).await;
    narrow.post("/v1/trusts", new_trust(&world, json!({}))).await.refused(403, "insufficient_scope");
    let own = narrow.post("/v1/trusts", new_trust(&world, json!({"scopes": ["deployments:read"]}))).await;
    assert_eq!(own.status, 201, "{own:?}");
}

#[tokio::test]
async fn the_number_of_trusts_is_bounded_and_exact() {
    let world = World::start_without_queue().await;
    let owner = world.owner("acme").await;
    let first = trust(&world, &owner, json!({})).await;
    let count = format!("ACCT#{}#TRUSTS", owner.account_id.as_ref().unwrap());
    let set = async |trusts: u64| {
        world.set_attribute((&count, "TOTAL"), "trusts", AttributeValue::N(trusts.to_string())).await
    };
    set(MAX_TRUSTS).await;
    let refused = owner.post("/v1/trusts", new_trust(&world, json!({}))).await;
    refused.refused(409, "limit_reached");
    assert_eq!(owner.delete(&format!("/v1/trusts/{}", first["id"].as_str().unwrap())).await.status, 200);
    trust(&world, &owner, json!({})).await;
    owner.post("/v1/trusts", new_trust(&world, json!({}))).await.refused(409, "limit_reached");
    assert_eq!(owner.get("/v1/trusts").await.body["meta"]["total"], MAX_TRUSTS);
}

#[tokio::test]
async fn a_trust_is_handed_over_when_its_owner_goes_and_its_tokens_stay() {
    let world = World::start_without_queue().await;
    let owner = world.owner("acme").await;
    for (role, remaining) in [(Role::Admin, None), (Role::Owner, None), (Role::Owner, Some("member"))] {
        let leaving = world.member(&owner, role).await;
        let trusted = trust(&world, &leaving, json!({})).await;
        let program = program(&world, &owner, &trusted).await;
        let left = match remaining {
            None => owner.delete(&path(&leaving)).await,
            Some(role) => owner.put(&path(&leaving), json!({"role": role})).await,
        };
        assert_eq!(left.status, 200, "{left:?}");
        let mut expected = trusted.clone();
        expected["owned_by"] = json!(owner.user_id);
        assert_eq!(left.body["handed_over_trusts"], json!([expected]));
        assert!(owner.get("/v1/trusts").await.body["data"].as_array().unwrap().contains(&expected));
        let refused = program.post("/v1/repositories/nothing/deployments", json!({"ref": "main"})).await;
        refused.refused(404, "not_found");
        world.clock.advance(std::time::Duration::from_secs(1));
    }
    let staying = world.member(&owner, Role::Owner).await;
    trust(&world, &staying, json!({})).await;
    let demoted = owner.put(&path(&staying), json!({"role": "admin"})).await;
    assert_eq!(demoted.body["handed_over_trusts"], json!([]), "an admin may have trusts");
}
