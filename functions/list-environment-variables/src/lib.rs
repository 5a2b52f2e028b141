//! `GET /v1/repositories/{repo_id}/environments/{environment}/variables`: lists the variables of an environment.

use axum::Json;
use axum::extract::State;
use futures_util::future::try_join;
use shared::access::{AuthorizedRepository, Scope};
use shared::body::VariablesBody;
use shared::extract::PathEnvironment;
use shared::model::{VariableScope, VariableSet};
use shared::{App, Endpoint, InitError, Result, Route};

/// The contract of the endpoint. The pipeline enforces it, and the templates and the OpenAPI document follow from it.
pub const ROUTE: Route =
    Route::get(env!("CARGO_PKG_NAME"), "/v1/repositories/{repo_id}/environments/{environment}/variables")
        .requires(Scope::RepositoriesRead);

/// Returns the endpoint with the app as its state.
pub fn endpoint(app: &App) -> Result<Endpoint, InitError> {
    Ok(Endpoint::new(ROUTE, list_environment_variables, app.clone()))
}

/// List an environment's variables
///
/// Returns the variables that every deployment to the environment gets, by name. They override the repository's and the account's, and
/// variables of a deployment override them. Secret values are not returned.
#[utoipa::path(
    get, path = ROUTE.path, tag = "Variables", responses((status = 200, body = VariablesBody))
)]
pub async fn list_environment_variables(
    State(app): State<App>,
    repository: AuthorizedRepository,
    PathEnvironment(environment): PathEnvironment,
) -> Result<Json<VariablesBody>> {
    let scope = VariableScope::of_environment(&repository, environment);
    let set = async { Ok(VariableSet::load(app.table(), &scope).await?) };
    let (set, ()) = try_join(set, environment.must_be_of(app.table(), &repository)).await?;
    Ok(Json(set.into()))
}
