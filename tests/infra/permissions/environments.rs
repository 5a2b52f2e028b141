//! Environments of patterns.

use serde_json::json;
use tests::{Actor, GitRepository};

use super::walk::Walk;

/// Creates an environment from a pattern, which the sweep of the next day removes.
pub(super) async fn leave_one_idle(walk: &Walk, owner: &Actor, source: &GitRepository) {
    let repository = owner.repository("idle", source).await;
    let environments = format!("/v1/repositories/{}/environments", repository["id"].as_str().unwrap());
    let pattern = json!({"name": "review-*", "removed_after_days": 1});
    walk.take("create-environment", owner.post(&environments, pattern).await, 201);
    let deployments = "/v1/repositories/idle/deployments";
    let new = json!({"ref": "main", "environment": "review-*"});
    let created = walk.take("create-deployment", owner.post(deployments, new).await, 201);
    walk.take("cancel-deployment", owner.act(&created, "cancel", json!({})).await, 200);
}
