//! The endpoints that manage hooks.

use std::time::Duration;

use serde_json::{Value, json};
use shared::model::{MAX_HOOKS, Role};
use tests::{GitRepository, World};

use super::{Acme, new_hook, path_of};

const HOOKS: &str = "/v1/repositories/app/hooks";

#[tokio::test]
async fn a_hook_shows_its_secret_once() {
    let acme = Acme::start().await;
    let created = acme.owner.post(HOOKS, json!({"provider": "gitlab"})).await;
    assert_eq!(created.status, 201, "{created:?}");
    let mut hook = created.body;
    let id = hook["id"].as_str().unwrap().to_owned();
    let secret = hook.as_object_mut().unwrap().remove("secret").unwrap();
    assert!(secret.as_str().unwrap().starts_with("whsec_") && secret.as_str().unwrap().len() == 50, "{secret}");
    assert_eq!(hook["url"], format!("{}/v1/hooks/{id}", acme.world.stack.url()));
    assert_eq!((&hook["provider"], &hook["created_at"]), (&json!("gitlab"), &json!("2026-01-01T12:00:00Z")));
    assert_eq!(hook["created_by"], acme.owner.user_id.as_ref().unwrap().as_str());
    for field in ["environment", "ref", "last_delivery_at", "previous_secret_expires_at"] {
        assert_eq!(hook[field], Value::Null, "{field}");
    }
    let listed = acme.owner.get(HOOKS).await;
    assert_eq!(listed.body["meta"]["total"], 2);
    assert!(listed.body["data"].as_array().unwrap().contains(&hook), "without the secret: {listed:?}");
}

#[tokio::test]
async fn only_a_deploy_hook_has_an_environment_and_a_ref() {
    let acme = Acme::start().await;
    for (new, field) in [
        (json!({"provider": "github", "environment": "production"}), "environment"),
        (json!({"provider": "gitea", "ref": "main"}), "ref"),
        (json!({"provider": "deploy", "ref": ""}), "ref"),
        (json!({"provider": "deploy", "ref": "x".repeat(256)}), "ref"),
        (json!({"provider": "deploy", "ref": "a\u{202e}b"}), "ref"),
        (json!({"provider": "svn"}), "provider"),
        (json!({}), "provider"),
    ] {
        let refused = acme.owner.post(HOOKS, new.clone()).await;
        refused.refused(400, "invalid_request");
        assert_eq!(refused.body["error"]["details"][0]["field"], field, "{new}");
    }
}

#[tokio::test]
async fn a_repository_has_a_bounded_number_of_hooks() {
    let acme = Acme::start().await;
    for _ in 1..MAX_HOOKS {
        new_hook(&acme.owner, json!({"provider": "github"})).await;
    }
    let refused = acme.owner.post(HOOKS, json!({"provider": "github"})).await;
    refused.refused(409, "limit_reached");
    assert_eq!(acme.owner.delete(&path_of(&acme.hook)).await.status, 200);
    new_hook(&acme.owner, json!({"provider": "github"})).await;
    assert_eq!(acme.owner.get(HOOKS).await.body["meta"]["total"], MAX_HOOKS);
}

#[tokio::test]
async fn the_old_secret_works_until_the_overlap_is_over() {
    let mut acme = Acme::start().await;
    let (path, ping) = (format!("{}/rotate", path_of(&acme.hook)), json!({"zen": "x"}));
    let first = acme.secret.clone();
    let rotated = acme.owner.post(&path, json!({})).await;
    assert_eq!(rotated.status, 200, "{rotated:?}");
    let rotated = rotated.body;
    assert_eq!(rotated["previous_secret_expires_at"], "2026-01-02T12:00:00Z");
    let second = rotated["secret"].as_str().unwrap().to_owned();
    for (id, secret) in [("1", &first), ("2", &second)] {
        acme.secret.clone_from(secret);
        assert_eq!(acme.send("ping", id, &ping).await.status, 202, "{id}");
    }
    acme.world.clock.advance(Duration::from_secs(24 * 60 * 60));
    acme.secret = first.clone();
    acme.send("ping", "late", &ping).await.refused(404, "not_found");
    let listed = acme.owner.get(HOOKS).await;
    assert_eq!(listed.body["data"][0]["previous_secret_expires_at"], Value::Null, "{listed:?}");

    // Another rotation ends the secret before the replaced one. Without an overlap, the replaced one ends too.
    let third = acme.owner.post(&path, json!({"overlap_seconds": 600})).await.body;
    let fourth = acme.owner.post(&path, json!({"overlap_seconds": 60})).await.body;
    for (secret, works) in [(json!(second), false), (third["secret"].clone(), true), (fourth["secret"].clone(), true)] {
        acme.secret = secret.as_str().unwrap().to_owned();
        assert_eq!(acme.send("ping", "3", &ping).await.status == 202, works);
    }
    let fifth = acme.owner.post(&path, json!({"overlap_seconds": 0})).await.body;
    assert_eq!(fifth["previous_secret_expires_at"], Value::Null);
    acme.send("ping", "last", &ping).await.refused(404, "not_found");
    for overlap in [json!(-1), json!(604_801), json!("1")] {
        acme.owner.post(&path, json!({"overlap_seconds": overlap})).await.refused(400, "invalid_request");
    }
}

#[tokio::test]
async fn a_deleted_hook_takes_nothing_more() {
    let acme = Acme::start().await;
    let handled = acme.push("1", "refs/heads/main", &acme.head().await).await;
    let path = path_of(&acme.hook);
    acme.world.clock.advance(Duration::from_secs(1));
    let deleted = acme.owner.delete(&path).await;
    assert_eq!((deleted.status, &deleted.body["deleted"]), (200, &json!(true)), "{deleted:?}");
    acme.send("ping", "2", &json!({})).await.refused(404, "not_found");
    acme.owner.delete(&path).await.refused(404, "not_found");
    acme.owner.get(&format!("{path}/deliveries")).await.refused(404, "not_found");
    assert_eq!(acme.owner.get(HOOKS).await.body["meta"]["total"], 0);
    // What it has deployed stays, with its author.
    let deployment = acme.owner.deployment(&json!({"id": handled["deployments"][0]})).await;
    assert_eq!(deployment["created_by"], acme.hook["user_id"]);
    let events = acme.owner.get(&format!("/v1/audit_events?target={}", acme.hook["id"].as_str().unwrap())).await;
    assert_eq!(events.column("action"), ["hook.deleted", "hook.created"]);
}

#[tokio::test]
async fn a_hook_belongs_to_one_repository() {
    let acme = Acme::start().await;
    acme.owner.repository("other", &acme.source).await;
    let of_other = path_of(&acme.hook).replace("/app/", "/other/");
    for answer in [
        acme.owner.delete(&of_other).await,
        acme.owner.get(&format!("{of_other}/deliveries")).await,
        acme.owner.post(&format!("{of_other}/rotate"), json!({})).await,
    ] {
        answer.refused(404, "not_found");
    }
    assert_eq!(acme.owner.get("/v1/repositories/other/hooks").await.body["data"], json!([]));
    // By each name of its repository.
    for name in ["app", "acme%2Fapp", acme.repository["id"].as_str().unwrap()] {
        let path = path_of(&acme.hook).replace("/app/", &format!("/{name}/"));
        assert_eq!(acme.owner.get(&format!("{path}/deliveries")).await.status, 200, "{name}");
    }
}

#[tokio::test]
async fn hooks_are_for_those_who_administer_the_repository() {
    let world = World::start_without_queue().await;
    let owner = world.owner("acme").await;
    let source = GitRepository::new(&[]);
    owner.repository("app", &source).await;
    let member = world.member(&owner, Role::Member).await;
    let team = owner.team("team").await;
    owner.add_to_team(&team, &member).await;
    for (permission, status) in [("read", 403), ("deploy", 403), ("admin", 200)] {
        owner.grant(&team, "app", permission).await;
        assert_eq!(member.get(HOOKS).await.status, status, "{permission}");
        let created = member.post(HOOKS, json!({"provider": "github"})).await;
        assert_eq!(created.status, if status == 200 { 201 } else { status }, "{permission}");
    }
}

#[tokio::test]
async fn a_hook_is_handed_over_when_its_owner_goes() {
    let acme = Acme::start().await;
    let Acme { world, owner, .. } = &acme;
    for (role, remaining) in [(Role::Admin, None), (Role::Owner, None), (Role::Admin, Some("member"))] {
        let leaving = world.member(owner, role).await;
        let (hook, _) = new_hook(&leaving, json!({"provider": "gitea"})).await;
        assert_eq!((&hook["created_by"], &hook["owned_by"]), (&json!(leaving.user_id), &json!(leaving.user_id)));
        world.clock.advance(Duration::from_secs(1));
        let path = format!("/v1/members/{}", leaving.user_id.as_ref().unwrap());
        let left = match remaining {
            None => owner.delete(&path).await,
            Some(role) => owner.put(&path, json!({"role": role})).await,
        };
        assert_eq!(left.status, 200, "{left:?}");
        let mut expected = hook.clone();
        expected.as_object_mut().unwrap().remove("secret");
        expected["owned_by"] = json!(owner.user_id);
        assert_eq!(left.body["handed_over_hooks"], json!([expected]));
        let listed = owner.get("/v1/repositories/app/hooks").await;
        assert!(listed.body["data"].as_array().unwrap().contains(&expected), "{listed:?}");
        let events = owner.get(&format!("/v1/audit_events?target={}", hook["id"].as_str().unwrap())).await;
        assert_eq!(events.column("action"), ["hook.updated", "hook.created"]);
    }
    let staying = world.member(owner, Role::Owner).await;
    new_hook(&staying, json!({"provider": "gitea"})).await;
    let path = format!("/v1/members/{}", staying.user_id.as_ref().unwrap());
    let demoted = owner.put(&path, json!({"role": "admin"})).await;
    assert_eq!(demoted.body["handed_over_hooks"], json!([]), "an admin may have hooks");
}
