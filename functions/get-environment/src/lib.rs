//! `GET /v1/repositories/{repo_id}/environments/{environment}`: returns one environment of a repository.

use axum::extract::State;
use shared::access::{AuthorizedRepository, Scope};
use shared::body::EnvironmentBody;
use shared::extract::PathEnvironment;
use shared::model::EnvironmentState;
use shared::precondition::Versioned;
use shared::{App, Endpoint, InitError, Result, Route};

/// The contract of the endpoint. The pipeline enforces it, and the templates and the OpenAPI document follow from it.
pub const ROUTE: Route = Route::get(env!("CARGO_PKG_NAME"), "/v1/repositories/{repo_id}/environments/{environment}")
    .requires(Scope::DeploymentsRead)
    .sends_etag();

/// Returns the endpoint with the app as its state.
pub fn endpoint(app: &App) -> Result<Endpoint, InitError> {
    Ok(Endpoint::new(ROUTE, get_environment, app.clone()).calls_at_once(3))
}

/// Get an environment
///
/// Returns the environment's settings, its live deployment, and the deployments that are in progress or queued.
#[utoipa::path(get, path = ROUTE.path, tag = "Environments", responses((status = 200, body = EnvironmentBody)))]
pub async fn get_environment(
    State(app): State<App>,
    repository: AuthorizedRepository,
    PathEnvironment(name): PathEnvironment,
) -> Result<Versioned<String, EnvironmentBody>> {
    let state = EnvironmentState::load(app.table(), &repository, name).await?;
    Ok(Versioned(state.settings.version(&repository), EnvironmentBody::new(state, app.clock().now())))
}
