//! `GET /v1/repositories/{repo_id}/variables`: lists the variables of a repository.

use axum::Json;
use axum::extract::State;
use shared::access::{AuthorizedRepository, Scope};
use shared::body::VariablesBody;
use shared::model::{VariableScope, VariableSet};
use shared::{App, Endpoint, InitError, Result, Route};

/// The contract of the endpoint. The pipeline enforces it, and the templates and the OpenAPI document follow from it.
pub const ROUTE: Route =
    Route::get(env!("CARGO_PKG_NAME"), "/v1/repositories/{repo_id}/variables").requires(Scope::RepositoriesRead);

/// Returns the endpoint with the app as its state.
pub fn endpoint(app: &App) -> Result<Endpoint, InitError> {
    Ok(Endpoint::new(ROUTE, list_repository_variables, app.clone()))
}

/// List a repository's variables
///
/// Returns the variables that every deployment of the repository gets, by name. They override the account's, and variables of an
/// environment or a deployment override them. Secret values are not returned.
#[utoipa::path(
    get, path = ROUTE.path, tag = "Variables", responses((status = 200, body = VariablesBody))
)]
pub async fn list_repository_variables(
    State(app): State<App>,
    repository: AuthorizedRepository,
) -> Result<Json<VariablesBody>> {
    let set = VariableSet::load(app.table(), &VariableScope::of_repository(&repository)).await?;
    Ok(Json(set.into()))
}
