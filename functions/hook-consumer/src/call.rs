//! Calls of deploy hooks. Each deploys the ref as it is now, also if its commit was deployed before: the caller may have changed
//! something else that a build reads.

use deploy::{Creation, DeploymentRequest, Snapshot, Variables};
use shared::InitError;
use shared::model::{
    Author, Completed, Delivery, Hook, Idempotency, IdempotencyClaim, IdempotencyKey, IdempotencyScope, Repository,
};
use shared::permitted::Permitted;

use crate::outcome::{Later, Part};

/// The endpoint among whose requests a delivery is unique.
const ENDPOINT: &str = "receive-hook";

/// Deploys what the hook says, once for each delivery.
pub(crate) async fn deploy(
    creation: &Creation,
    repository: &Permitted<Repository>,
    hook: &Hook,
    delivery: &Delivery,
    author: &Author,
) -> Result<Part, Later> {
    let app = &creation.app;
    let request = DeploymentRequest {
        r#ref: hook.git_ref.clone().unwrap_or_else(|| repository.default_branch.clone()),
        environment: hook.environment.unwrap_or_default(),
        variables: Variables::default(),
        expected_current: None,
        sequence: None,
        r#override: None,
    }
    .in_environment_of_ref();
    let (git_ref, environment) = (request.r#ref.clone(), request.environment);
    let revision = match request.revision() {
        Ok(revision) => revision,
        Err(error) => return Part::of_error(error),
    };
    let reason = format!("'{git_ref}' was deployed to {environment}");
    let key: IdempotencyKey = delivery.id.as_str().parse().map_err(infrastructure)?;
    let scope = IdempotencyScope {
        account: &repository.account_id,
        actor: author.user_id(),
        endpoint: ENDPOINT,
        resource: repository.id.as_str(),
    };
    let claim = match IdempotencyClaim::take(app.table(), scope, &key, b"", app.clock().now()).await? {
        Idempotency::New(claim) => claim,
        Idempotency::Done(Completed { target_id, .. }) => {
            let id = target_id.and_then(|id| id.parse().ok());
            return Ok(Part::made(
                id.ok_or_else(|| infrastructure("the claim of a delivery names no deployment"))?,
                reason,
            ));
        }
        Idempotency::InFlight(_) => return Err(infrastructure("another consumer handles the delivery")),
        Idempotency::Reused => return Err(infrastructure("the claim of a delivery has another content")),
    };
    let snapshot = Snapshot::load_by_id(app, repository, request.environment).await;
    match creation.create_claimed(repository, request, &revision, snapshot, claim, author).await {
        Ok(deployment) => Ok(Part::deployed(&deployment, reason)),
        Err(error) => Part::of_error(error),
    }
}

fn infrastructure(cause: impl Into<InitError>) -> Later {
    Later::Infrastructure(cause.into())
}
