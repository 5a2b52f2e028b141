//! `POST /v1/deployments/{deployment_id}/retry`: repeats a deployment that has ended.

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderName, StatusCode, header};
use redeploy::{Redeployer, StoredVersions};
use serde::Deserialize;
use shared::access::{AuthorizedDeployment, Scope};
use shared::body::DeploymentBody;
use shared::extract::Query;
use shared::model::{Author, OriginKind};
use shared::{App, Endpoint, Error, ErrorCode, InitError, Result, Route};

/// The contract of the endpoint. The pipeline enforces it, and the templates and the OpenAPI document follow from it.
pub const ROUTE: Route = Route::post(env!("CARGO_PKG_NAME"), "/v1/deployments/{deployment_id}/retry")
    .requires(Scope::DeploymentsWrite)
    .takes(&["stored_variables"])
    .refuses_with(&[
        ErrorCode::NotFinished,
        ErrorCode::EnvironmentFrozen,
        ErrorCode::RefNotAllowed,
        ErrorCode::RequirementNotMet,
        ErrorCode::MachineNotAllowed,
        ErrorCode::LimitReached,
        ErrorCode::BuildMinutesExhausted,
    ])
    .takes_idempotency_key()
    .sends_location();

/// Returns the endpoint with its clients.
///
/// # Errors
/// Fails if a setting is missing or malformed.
pub fn endpoint(app: &App) -> Result<Endpoint, InitError> {
    Ok(Endpoint::new(ROUTE, retry_deployment, Redeployer::new(app)?).calls_at_once(3))
}

/// The choice of variables.
#[derive(Clone, Copy, Debug, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
pub struct RetryOptions {
    /// The versions of the variables of the account, the repository and the environment: those of the earlier deployment (`frozen`), or
    /// the `current` ones.
    #[serde(default)]
    #[param(inline)]
    stored_variables: StoredVersions,
}

/// Retry a deployment
///
/// Creates a deployment that repeats an earlier one: its commit, its environment and its variables, in the versions that they had then.
/// The earlier deployment must have ended, in any final state. `origin` names it.
#[utoipa::path(
    post, path = ROUTE.path, tag = "Deployments", params(RetryOptions), responses((status = 201, body = DeploymentBody))
)]
pub async fn retry_deployment(
    State(redeployer): State<Redeployer>,
    author: Author,
    Query(RetryOptions { stored_variables }): Query<RetryOptions>,
    deployment: AuthorizedDeployment,
) -> Result<(StatusCode, [(HeaderName, String); 1], Json<DeploymentBody>)> {
    if !deployment.status.is_final() {
        let message = format!("The deployment is {}; wait for its end or cancel it", deployment.status.as_str());
        return Err(Error::new(ErrorCode::NotFinished, message));
    }
    let repository = deployment.repository(redeployer.app.table()).await?;
    let retried =
        redeployer.repeat(&repository, &deployment, OriginKind::Retry, stored_variables, None, &author).await?;
    let body = DeploymentBody::new(&redeployer.app, retried);
    Ok((StatusCode::CREATED, [(header::LOCATION, body.url.clone())], Json(body)))
}
