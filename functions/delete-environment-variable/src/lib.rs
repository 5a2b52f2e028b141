//! `DELETE /v1/repositories/{repo_id}/environments/{environment}/variables/{name}`: deletes a variable of an environment.

use axum::Json;
use axum::extract::State;
use shared::access::{AuthorizedRepository, Permission, Scope};
use shared::body::Deleted;
use shared::extract::{PathEnvironment, PathVariable};
use shared::model::{Author, VariableScope, VariableSet};
use shared::{App, Endpoint, InitError, Result, Route};

/// The contract of the endpoint. The pipeline enforces it, and the templates and the OpenAPI document follow from it.
pub const ROUTE: Route =
    Route::delete(env!("CARGO_PKG_NAME"), "/v1/repositories/{repo_id}/environments/{environment}/variables/{name}")
        .requires(Scope::RepositoriesWrite)
        .needs(Permission::Admin);

/// Returns the endpoint with the app as its state.
pub fn endpoint(app: &App) -> Result<Endpoint, InitError> {
    Ok(Endpoint::new(ROUTE, delete_environment_variable, app.clone()))
}

/// Delete a variable of an environment
///
/// Deployments that are created from now on do not get the variable. Deployments that have it keep it, and so do retries and rollbacks.
#[utoipa::path(
    delete, path = ROUTE.path, tag = "Variables", responses((status = 200, body = Deleted))
)]
pub async fn delete_environment_variable(
    State(app): State<App>,
    author: Author,
    repository: AuthorizedRepository,
    PathEnvironment(environment): PathEnvironment,
    PathVariable(name): PathVariable,
) -> Result<Json<Deleted>> {
    let scope = VariableScope::of_environment(&repository, environment);
    VariableSet::delete(app.table(), &scope, &name, &author, app.clock().now()).await?;
    Ok(Json(Deleted::new(&name)))
}
