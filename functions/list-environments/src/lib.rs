//! `GET /v1/repositories/{repo_id}/environments`: lists the environments of a repository.

use axum::Json;
use axum::extract::State;
use futures_util::future::try_join_all;
use serde::Serialize;
use shared::access::{AuthorizedRepository, Scope};
use shared::body::EnvironmentBody;
use shared::model::{Environment, EnvironmentState};
use shared::{App, Endpoint, InitError, Result, Route};

/// The contract of the endpoint. The pipeline enforces it, and the templates and the OpenAPI document follow from it.
pub const ROUTE: Route =
    Route::get(env!("CARGO_PKG_NAME"), "/v1/repositories/{repo_id}/environments").requires(Scope::DeploymentsRead);

/// Returns the endpoint with the app as its state.
pub fn endpoint(app: &App) -> Result<Endpoint, InitError> {
    Ok(Endpoint::new(ROUTE, list_environments, app.clone()).calls_at_once(5))
}

/// The environments of a repository.
#[derive(Debug, Serialize, utoipa::ToSchema)]
#[schema(as = Environments)]
pub struct EnvironmentsBody {
    /// The environments.
    data: Vec<EnvironmentBody>,
}

/// List environments
///
/// Returns the repository's three environments: `preview`, `staging` and `production`.
#[utoipa::path(get, path = ROUTE.path, tag = "Environments", responses((status = 200, body = EnvironmentsBody)))]
pub async fn list_environments(
    State(app): State<App>,
    repository: AuthorizedRepository,
) -> Result<Json<EnvironmentsBody>> {
    let environments = Environment::BUILT_IN.map(|name| EnvironmentState::load(app.table(), &repository, name));
    let data = try_join_all(environments).await?.into_iter().map(Into::into).collect();
    Ok(Json(EnvironmentsBody { data }))
}
