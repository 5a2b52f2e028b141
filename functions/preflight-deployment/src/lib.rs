//! `POST /v1/repositories/{repo_id}/deployments/preflight`: finds the outcome that a creation would have.

mod preflight;

use axum::Json;
use axum::extract::State;
use connections::Connections;
use deploy::DeploymentRequest;
use shared::access::{AuthorizedRepository, Scope};
use shared::model::{BuildLimits, Repository};
use shared::{App, Endpoint, ErrorCode, InitError, Result, Route, With, extract};

pub use preflight::{Gate, GateBody, PreflightBody, PreflightOutcome};

/// The contract of the endpoint. The pipeline enforces it, and the templates and the OpenAPI document follow from it.
pub const ROUTE: Route = Route::post(env!("CARGO_PKG_NAME"), "/v1/repositories/{repo_id}/deployments/preflight")
    .takes_body()
    .requires(Scope::DeploymentsWrite)
    .refuses_with(&[ErrorCode::InvalidCloneUrl, ErrorCode::RemoteUnavailable]);

/// Returns the endpoint with its clients.
///
/// # Errors
/// Fails if a setting is missing or malformed.
pub fn endpoint(app: &App) -> Result<Endpoint, InitError> {
    let clients = With(app.clone(), (Connections::new(app)?, BuildLimits::of(app.settings())?));
    Ok(Endpoint::new(ROUTE, preflight_deployment, clients).finds_early::<Repository>().calls_at_once(6))
}

/// Preflight a deployment
///
/// Returns the outcome that `POST /v1/repositories/{repo_id}/deployments` would have with this body, and changes nothing.
/// Lists each condition that a deployment has to meet before it starts.
#[utoipa::path(
    post, path = ROUTE.path, tag = "Deployments", request_body = DeploymentRequest,
    responses((status = 200, body = PreflightBody))
)]
pub async fn preflight_deployment(
    State(With(app, (connections, limits))): State<With<(Connections, BuildLimits)>>,
    repository: AuthorizedRepository,
    body: Result<extract::Json<DeploymentRequest>>,
) -> Result<Json<PreflightBody>> {
    let extract::Json(request) = body.map_err(|error| DeploymentRequest::explain(error, &repository))?;
    let request = request.in_environment_of_ref();
    repository.tenant().check_environment(request.environment)?;
    request.check_override(&repository)?;
    let revision = request.revision()?;
    preflight::preflight(&app, &connections, &limits, &repository, &request, &revision).await.map(Json)
}
