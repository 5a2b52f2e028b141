//! The OpenAPI document as the API serves it.

use serde_json::{Value, json};
use tests::{World, read_file};

use super::document;

#[tokio::test]
async fn the_served_document_names_the_stack_and_may_be_cached() {
    let world = World::start().await;
    let anonymous = world.anonymous();
    let served = anonymous.get("/v1/openapi.json").await;
    assert_eq!((served.status, served.header("cache-control")), (200, "public, max-age=300"));
    let origin = served.body["servers"][0]["url"].as_str().unwrap();
    let local = world.stack.app().url("");
    assert_eq!((origin, served.body["servers"].as_array().unwrap().len()), (local.as_str(), 1));
    assert_eq!(served.body["externalDocs"]["url"], format!("{local}/docs"));
    let back: Value = serde_json::from_str(&served.body.to_string().replace(&local, "https://api.git.dev")).unwrap();
    assert_eq!(back, document(), "nothing else differs");

    let unchanged = anonymous.get_unless("/v1/openapi.json", served.header("etag")).await;
    assert_eq!((unchanged.status, unchanged.header("cache-control")), (304, "public, max-age=300"));
    for answer in [&served, &unchanged] {
        assert_eq!(world.line_of(answer)["dynamodb_calls"], json!(0), "it is not counted");
    }
    let limit = served.rate_limit();
    assert_eq!((limit.remaining, limit.limit), (60, 60));
}

#[test]
fn the_document_has_each_shared_response_once() {
    const LARGEST: usize = 720_000;
    let text = read_file("functions/get-openapi/openapi.json");
    let compact = serde_json::from_str::<Value>(&text).unwrap().to_string();
    assert!(compact.len() < LARGEST, "{} bytes", compact.len());
    let document = document();
    let shared = document["components"]["responses"].as_object().unwrap();
    let operations = super::operations(&document);
    for (route, operation) in operations {
        for response in operation["responses"].as_object().unwrap().values() {
            assert!(shared.values().all(|shared| shared != response), "{route} repeats {response}");
        }
    }
}
