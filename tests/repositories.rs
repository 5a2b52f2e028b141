use serde_json::json;
use tests::{GitRepository, World};

#[tokio::test]
async fn a_registered_repository_is_listed() {
    let world = World::start().await;
    let owner = world.owner("acme").await;
    let source = GitRepository::new(&[("README", "")]);
    let created = owner.post("/v1/repositories", json!({"name": "frontend-app", "clone_url": source.url()})).await;
    assert_eq!(created.status, 201, "{created:?}");
    assert_eq!(created.body["full_name"], "acme/frontend-app");

    let listed = owner.get("/v1/repositories").await;
    assert_eq!(listed.status, 200, "{listed:?}");
    assert_eq!(listed.body["data"], json!([created.body]));
    assert_eq!(listed.body["meta"], json!({"total": 1, "page": 1, "per_page": 10}));
}
