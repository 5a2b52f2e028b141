//! Calls of deploy hooks.

use aws_sdk_dynamodb::types::AttributeValue;
use serde_json::json;
use tests::eventually;

use super::{Acme, path_of, post};

#[tokio::test]
async fn a_call_with_the_secret_deploys_the_ref_of_the_hook_each_time() {
    let acme = Acme::of(json!({"provider": "deploy", "environment": "staging", "ref": "main"})).await;
    assert_eq!((&acme.hook["environment"], &acme.hook["ref"]), (&json!("staging"), &json!("main")));
    let (plain, query) = acme.url().split_once('?').unwrap();
    assert!(query.starts_with("key=whsec_"), "{query}");
    let bearer = format!("Bearer {}", acme.secret);
    for (url, headers) in [(acme.url(), &[][..]), (plain, &[("authorization", bearer.as_str())])] {
        let accepted = post(&acme.world, url, headers, "anything".to_owned()).await;
        assert_eq!((accepted.status, &accepted.body["event"]), (202, &json!("deploy")), "{accepted:?}");
        let handled = acme.handled(&accepted.body).await;
        assert_eq!((&handled["outcome"], &handled["sha"]), (&json!("deployed"), &json!(acme.head().await)));
        assert_eq!(handled["reason"], "'main' was deployed to staging");
    }
    let deployments = acme.deployments().await;
    assert_eq!(deployments.len(), 2, "the commit need not be new");
    for deployment in &deployments {
        assert_eq!((&deployment["environment"], &deployment["created_by"]), (&json!("staging"), &acme.hook["user_id"]));
    }
}

#[tokio::test]
async fn a_call_that_is_repeated_with_its_key_deploys_once() {
    let acme = Acme::of(json!({"provider": "deploy"})).await;
    assert_eq!((&acme.hook["environment"], &acme.hook["ref"]), (&json!("preview"), &json!(null)));
    let mut ids = Vec::new();
    for key in ["a", "a", "b"] {
        let accepted = post(&acme.world, acme.url(), &[("idempotency-key", key)], String::new()).await;
        assert_eq!((accepted.status, &accepted.body["provider_delivery_id"]), (202, &json!(key)), "{accepted:?}");
        let handled = acme.handled(&accepted.body).await;
        assert_eq!(
            (&handled["outcome"], &handled["reason"]),
            (&json!("deployed"), &json!("'main' was deployed to preview"))
        );
        ids.push(handled["deployments"][0].clone());
    }
    assert_eq!((&ids[0], ids[1] == ids[2]), (&ids[1], false));
    assert_eq!(acme.deployments().await.len(), 2);
}

#[tokio::test]
async fn a_call_for_a_ref_that_does_not_exist_tells_so_in_its_delivery() {
    let acme = Acme::of(json!({"provider": "deploy", "ref": "nothing"})).await;
    let accepted = post(&acme.world, acme.url(), &[], String::new()).await;
    let handled = acme.handled(&accepted.body).await;
    assert_eq!((&handled["outcome"], &handled["reason"]), (&json!("skipped"), &json!("Branch 'nothing' not found")));
}

/// The account's bound is 0 minutes.
#[tokio::test]
async fn a_push_and_a_call_without_build_minutes_tell_so_in_their_deliveries_and_deploy_once_there_are_minutes() {
    let acme = Acme::start().await;
    let (call, _) = super::new_hook(&acme.owner, json!({"provider": "deploy", "environment": "staging"})).await;
    let account = format!("ACCT#{}", acme.owner.account_id.as_ref().unwrap());
    let minutes = |number: u32| {
        let bound = AttributeValue::N(number.to_string());
        acme.world.set_attribute((&account, "ACCOUNT"), "custom_build_minutes", bound)
    };
    minutes(0).await;
    let head = acme.head().await;
    let pushed = acme.push("1", "refs/heads/main", &head).await;
    let message =
        "The account has used its 0 build minutes of this month; the next month begins at 2026-02-01T00:00:00Z";
    assert_eq!((&pushed["outcome"], &pushed["reason"]), (&json!("failed"), &json!(message)));
    assert_eq!((&pushed["sha"], &pushed["deployments"]), (&json!(head), &json!([])));
    let accepted = post(&acme.world, call["url"].as_str().unwrap(), &[], String::new()).await;
    assert_eq!(accepted.status, 202, "the caller need not know: {accepted:?}");
    let path = format!("{}/deliveries", path_of(&call));
    let called = eventually("the result of the call", async || {
        let delivery = acme.owner.get(&path).await.body["data"][0].take();
        (delivery["outcome"] != "queued").then_some(delivery)
    })
    .await;
    assert_eq!((&called["outcome"], &called["reason"]), (&json!("failed"), &json!(message)));
    assert!(acme.deployments().await.is_empty());
    let failed = acme.owner.get(&format!("{}/deliveries?outcome=failed", path_of(&acme.hook))).await;
    assert_eq!(failed.column("provider_delivery_id"), ["1"], "an owner finds what was not deployed");

    // The commit does not count as deployed, so that the delivery brings it when the host sends it again.
    minutes(1000).await;
    let again = acme.push("1", "refs/heads/main", &head).await;
    assert_eq!((&again["outcome"], &again["sha"]), (&json!("deployed"), &json!(head)));
    assert_eq!(acme.deployments().await.len(), 1);
}
