//! Calls of deploy hooks.

use serde_json::json;

use super::{Acme, post};

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
