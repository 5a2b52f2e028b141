//! Variables of environments that are created and deleted.

use serde_json::{Value, json};
use tests::World;

const ENVIRONMENTS: &str = "/v1/repositories/app/environments";

#[tokio::test]
async fn variables_go_with_their_environment() {
    let world = World::start_without_queue().await;
    let (owner, _source) = world.app().await;
    let variables = format!("{ENVIRONMENTS}/qa/variables");
    let set = async |value: Value| owner.put(&format!("{variables}/KEY"), value).await;
    owner.get(&variables).await.refused(404, "not_found");
    set(json!({"value": "1"})).await.refused(404, "not_found");

    assert_eq!(owner.post(ENVIRONMENTS, json!({"name": "qa"})).await.status, 201);
    assert_eq!(owner.get(&variables).await.body["data"], json!([]));
    assert_eq!(set(json!({"value": "hunter2", "secret": true})).await.status, 200);
    assert_eq!(owner.delete(&format!("{ENVIRONMENTS}/qa")).await.status, 200);
    owner.get(&variables).await.refused(404, "not_found");
    set(json!({"value": "1"})).await.refused(404, "not_found");

    // Another environment of the name does not inherit them, and has versions of its own.
    assert_eq!(owner.post(ENVIRONMENTS, json!({"name": "qa"})).await.status, 201);
    assert_eq!(owner.get(&variables).await.body["data"], json!([]));
    let deployed = owner.deploy("app", json!({"ref": "main", "environment": "qa"})).await;
    let deployed = owner.get(&format!("/v1/deployments/{}", deployed["id"].as_str().unwrap())).await;
    assert_eq!(deployed.body["variables"], json!([]), "{deployed:?}");
    let again = set(json!({"value": "1"})).await;
    assert_eq!((again.status, &again.body["version"]), (200, &json!(1)));
}

#[tokio::test]
async fn a_pattern_has_no_variables() {
    let world = World::start_without_queue().await;
    let (owner, _source) = world.app().await;
    assert_eq!(owner.post(ENVIRONMENTS, json!({"name": "review-*"})).await.status, 201);
    let refused = owner.put(&format!("{ENVIRONMENTS}/review-*/variables/A"), json!({"value": "1"})).await;
    refused.refused(400, "invalid_request");
    assert_eq!(refused.body["error"]["details"][0]["field"], "environment", "{refused:?}");
    owner.deploy("app", json!({"ref": "main", "environment": "review-1"})).await;
    let set = owner.put(&format!("{ENVIRONMENTS}/review-1/variables/A"), json!({"value": "1"})).await;
    assert_eq!(set.status, 200, "{set:?}");
}
