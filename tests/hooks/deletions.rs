//! Branches and tags that were deleted.

use serde_json::{Value, json};

use super::{Acme, ZEROS};

async fn statuses(acme: &Acme, deployments: &[&Value]) -> Vec<String> {
    let mut statuses = Vec::new();
    for deployment in deployments {
        statuses.push(acme.owner.deployment(deployment).await["status"].as_str().unwrap().to_owned());
    }
    statuses
}

#[tokio::test]
async fn queued_deployments_of_a_deleted_branch_that_a_hook_created_are_canceled() {
    let acme = Acme::start().await;
    let sha = acme.head().await;
    for branch in ["feature/x", "feature/y"] {
        acme.source.git(&["branch", branch]);
    }
    let deployed = async |id: &str, branch: &str| {
        let handled = acme.push(id, &format!("refs/heads/{branch}"), &sha).await;
        json!({"id": handled["deployments"][0]})
    };
    let (of_x, of_y) = (deployed("1", "feature/x").await, deployed("2", "feature/y").await);
    let by_hand = acme.owner.deploy("app", json!({"ref": "feature/x", "environment": "staging"})).await;
    acme.source.git(&["branch", "-D", "feature/x"]);

    let handled = acme.push("3", "refs/heads/feature/x", ZEROS).await;
    let reason = "'feature/x' was deleted: deployment 1 was canceled";
    assert_eq!((&handled["outcome"], &handled["reason"]), (&json!("canceled"), &json!(reason)));
    assert_eq!((&handled["sha"], &handled["deployments"]), (&json!(null), &json!([])));
    assert_eq!(statuses(&acme, &[&of_x, &of_y, &by_hand]).await, ["canceled", "queued", "queued"]);
    let events = acme.owner.get("/v1/audit_events?action=deployment.canceled").await;
    assert_eq!(events.body["data"][0]["actor"]["type"], "hook", "{events:?}");

    // The event that comes again, or that of a branch that nothing has deployed, finds nothing to cancel.
    for (id, branch) in [("4", "feature/x"), ("5", "feature/z")] {
        let handled = acme.push(id, &format!("refs/heads/{branch}"), ZEROS).await;
        let reason = format!("'{branch}' was deleted, and none of its pushes waits to be deployed");
        assert_eq!((&handled["outcome"], &handled["reason"]), (&json!("skipped"), &json!(reason)));
    }
}

#[tokio::test]
async fn a_branch_that_exists_again_is_not_canceled_by_a_late_delivery() {
    let acme = Acme::start().await;
    let sha = acme.head().await;
    acme.source.git(&["branch", "feature/x"]);
    let first = acme.push("1", "refs/heads/feature/x", &sha).await;
    acme.source.git(&["branch", "-D", "feature/x"]);
    assert_eq!(acme.push("2", "refs/heads/feature/x", ZEROS).await["outcome"], "canceled");
    // The branch comes back with the same commit, which is deployed again.
    acme.source.git(&["branch", "feature/x"]);
    let again = acme.push("3", "refs/heads/feature/x", &sha).await;
    assert_eq!(again["outcome"], "deployed", "{again}");
    assert_ne!(again["deployments"], first["deployments"]);
    let late = acme.push("4", "refs/heads/feature/x", ZEROS).await;
    let reason = "'feature/x' was deleted, and exists again";
    assert_eq!((&late["outcome"], &late["reason"]), (&json!("skipped"), &json!(reason)));
    assert_eq!(statuses(&acme, &[&json!({"id": again["deployments"][0]})]).await, ["queued"]);
}

#[tokio::test]
async fn a_push_of_a_branch_that_is_gone_deploys_nothing() {
    let acme = Acme::start().await;
    let late = acme.push("1", "refs/heads/feature/x", &acme.head().await).await;
    let reason = "'feature/x' does not exist any more";
    assert_eq!((&late["outcome"], &late["reason"]), (&json!("skipped"), &json!(reason)));
    assert_eq!(acme.deployments().await.len(), 0);
}
