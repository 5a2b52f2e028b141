//! The results of deployments: what their builds have made and reported.

mod artifacts;
mod download;
mod log;
mod outputs;
mod phases;
mod test_reports;
mod zip;

use serde_json::{Value, json};
use tests::{Actor, GitRepository, World};

/// A stack with a repository whose build is given.
struct Results {
    world: World,
    owner: Actor,
    source: GitRepository,
}

impl Results {
    async fn of(buildspec: &str) -> Self {
        let world = World::start().await;
        let owner = world.owner("acme").await;
        let source = GitRepository::new(&[("buildspec.yml", buildspec)]);
        owner.repository("app", &source).await;
        Self { world, owner, source }
    }

    /// Deploys the repository and returns the deployment at its end.
    async fn deployed(&self, variables: Value) -> Value {
        let created = self.owner.deploy("app", json!({"ref": "main", "variables": variables})).await;
        self.owner.ended(&created).await
    }

    /// Returns the first page of a deployment's artifacts.
    async fn artifacts(&self, deployment: &Value) -> Value {
        let listed = self.owner.get(&format!("{}/artifacts?per_page=100", path(deployment))).await;
        assert_eq!(listed.status, 200, "{listed:?}");
        listed.body
    }
}

/// Returns the path of a deployment.
fn path(deployment: &Value) -> String {
    format!("/v1/deployments/{}", deployment["id"].as_str().unwrap())
}
