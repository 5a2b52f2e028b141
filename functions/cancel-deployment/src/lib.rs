//! `POST /v1/deployments/{deployment_id}/cancel`: cancels a queued deployment, and asks the runner to stop one in
//! progress.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use shared::access::{AuthorizedDeployment, Scope};
use shared::body::DeploymentBody;
use shared::model::Author;
use shared::queue::Queue;
use shared::{App, Endpoint, Error, ErrorCode, InitError, Result, Route, With};

/// The contract of the endpoint. The pipeline enforces it, and the templates and the OpenAPI document follow from it.
pub const ROUTE: Route = Route::post(env!("CARGO_PKG_NAME"), "/v1/deployments/{deployment_id}/cancel")
    .requires(Scope::DeploymentsWrite)
    .refuses_with(&[ErrorCode::AlreadyFinished]);

/// Returns the endpoint with its clients.
///
/// # Errors
/// Fails if a setting is missing or malformed.
pub fn endpoint(app: &App) -> Result<Endpoint, InitError> {
    Ok(Endpoint::new(ROUTE, cancel_deployment, With(app.clone(), Queue::new(app)?)))
}

/// Cancel a deployment
///
/// Cancels a queued deployment at once and returns 200. Asks a deployment in progress to stop and returns 202; the
/// deployment becomes `canceled` when its build has stopped. If the build ends before that, its result stands.
#[utoipa::path(
    post, path = ROUTE.path, tag = "Deployments",
    responses(
        (status = 200, description = "OK: the deployment was queued and is canceled", body = DeploymentBody),
        (
            status = 202, description = "Accepted: the deployment is in progress until its build has stopped",
            body = DeploymentBody
        )
    )
)]
pub async fn cancel_deployment(
    State(With(app, queue)): State<With<Queue>>,
    author: Author,
    deployment: AuthorizedDeployment,
) -> Result<(StatusCode, Json<DeploymentBody>)> {
    let canceled = deployment.into_inner().cancel(app.table(), &author, app.clock().now()).await?;
    let canceled = canceled.map_err(|ended| {
        Error::new(ErrorCode::AlreadyFinished, format!("The deployment has already ended as {}", ended.as_str()))
    })?;
    // A process runner polls for the request. A build by CodeBuild is stopped by the consumer.
    if canceled.build.is_some()
        && let Err(error) = queue.send(&canceled).await
    {
        app.log().warn("a build could not be stopped at once; the sweep will stop it", &error);
    }
    let status = if canceled.status.is_final() { StatusCode::OK } else { StatusCode::ACCEPTED };
    Ok((status, Json(DeploymentBody::new(&app, canceled))))
}
