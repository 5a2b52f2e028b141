//! `PUT /v1/repositories/{repo_id}/environments/{environment}/variables/{name}`: sets a variable of an environment.

use axum::Json;
use axum::extract::State;
use shared::access::{AuthorizedRepository, Permission, Scope};
use shared::body::VariableBody;
use shared::extract::{self, PathEnvironment, PathVariable};
use shared::model::{Author, VariableScope};
use shared::{App, Endpoint, ErrorCode, InitError, Result, Route};
use variables::{StoredVariables, VariableRequest};

/// The contract of the endpoint. The pipeline enforces it, and the templates and the OpenAPI document follow from it.
pub const ROUTE: Route =
    Route::put(env!("CARGO_PKG_NAME"), "/v1/repositories/{repo_id}/environments/{environment}/variables/{name}")
        .takes_body()
        .requires(Scope::RepositoriesWrite)
        .needs(Permission::Admin)
        .refuses_with(&[ErrorCode::LimitReached]);

/// Returns the endpoint with its dependencies.
///
/// # Errors
/// Fails if a setting is missing or malformed.
pub fn endpoint(app: &App) -> Result<Endpoint, InitError> {
    Ok(Endpoint::new(ROUTE, set_environment_variable, StoredVariables::new(app)?))
}

/// Set a variable of an environment
///
/// Creates the variable, or replaces its value. Deployments that are created from now on get it; others keep the version that they have.
/// An environment can have at most 100 variables, with 64 KiB of names and values. Only an environment can have the variables with
/// which builds act in AWS, such as `AWS_ACCESS_KEY_ID`.
#[utoipa::path(
    put, path = ROUTE.path, tag = "Variables", request_body = VariableRequest, responses((status = 200, body = VariableBody))
)]
pub async fn set_environment_variable(
    State(variables): State<StoredVariables>,
    author: Author,
    repository: AuthorizedRepository,
    PathEnvironment(environment): PathEnvironment,
    PathVariable(name): PathVariable,
    extract::Json(request): extract::Json<VariableRequest>,
) -> Result<Json<VariableBody>> {
    environment.must_be_no_pattern()?;
    let scope = VariableScope::of_environment(&repository, environment);
    variables.set(&scope, &name, request, &author).await.map(Json)
}
