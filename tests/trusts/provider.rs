//! ID tokens of the OpenID provider in `tests/oidc`.

use serde_json::json;
use shared::clock::Clock;
use tests::World;

use super::{exchange, new_trust};
use crate::oauth::provider::Provider;

#[tokio::test]
async fn an_id_token_of_a_real_provider_is_exchanged() {
    let github = "repo:acme/app:ref:refs/heads/main";
    let gitlab = "project_path:acme/app:ref_type:branch:ref:main";
    let jobs = json!({
        github: {"repository": "acme/app", "ref": "refs/heads/main"},
        gitlab: {"project_path": "acme/app", "ref": "main", "ref_type": "branch", "ref_protected": "true"},
    });
    let Some(provider) = Provider::start(jobs).await else { return };
    let world = World::start_with(|options| options.clock = Clock::system()).await;
    let owner = world.owner("acme").await;
    let create = async |claims: serde_json::Value| {
        let new = new_trust(&world, json!({"issuer": provider.issuer, "audience": "web", "claims": claims}));
        let created = owner.post("/v1/trusts", new).await;
        assert_eq!(created.status, 201, "{created:?}");
        created.body
    };
    for (job, claims, others) in [
        (
            github,
            json!({"sub": github, "repository": "acme/app", "ref": "refs/heads/*"}),
            json!({"sub": github, "ref": "refs/tags/*"}),
        ),
        (
            gitlab,
            json!({"project_path": "acme/app", "ref_type": "branch", "ref": "main", "ref_protected": "true"}),
            json!({"project_path": "acme/app", "ref_type": "tag"}),
        ),
    ] {
        let (trusted, other) = (create(claims).await, create(others).await);
        let answer = provider.log_in(job, "openid").await;
        let (id_token, access_token) = (answer["id_token"].as_str().unwrap(), answer["access_token"].as_str().unwrap());
        exchange(&world, &other, id_token).await.refused(400, "invalid_grant");
        exchange(&world, &trusted, access_token).await.refused(400, "invalid_grant");
        let issued = exchange(&world, &trusted, id_token).await;
        assert_eq!(issued.status, 200, "{job}: {issued:?}");
        let program = owner.holding(issued.body["access_token"].as_str().unwrap());
        assert_eq!(program.get("/v1/user").await.body["trust"]["id"], trusted["id"]);
        exchange(&world, &trusted, id_token).await.refused(400, "invalid_grant");
    }
}
