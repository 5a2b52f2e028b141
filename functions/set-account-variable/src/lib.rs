//! `PUT /v1/account/variables/{name}`: sets a variable of an account.

use axum::Json;
use axum::extract::State;
use shared::access::{Scope, Tenant};
use shared::body::VariableBody;
use shared::extract::{self, PathVariable};
use shared::model::{Author, Role, VariableScope};
use shared::{App, Endpoint, ErrorCode, InitError, Result, Route};
use variables::{StoredVariables, VariableRequest};

/// The contract of the endpoint. The pipeline enforces it, and the templates and the OpenAPI document follow from it.
pub const ROUTE: Route = Route::put(env!("CARGO_PKG_NAME"), "/v1/account/variables/{name}")
    .takes_body()
    .requires(Scope::AccountWrite)
    .by(Role::Admin)
    .refuses_with(&[ErrorCode::LimitReached]);

/// Returns the endpoint with its dependencies.
///
/// # Errors
/// Fails if a setting is missing or malformed.
pub fn endpoint(app: &App) -> Result<Endpoint, InitError> {
    Ok(Endpoint::new(ROUTE, set_account_variable, StoredVariables::new(app)?))
}

/// Set a variable of the account
///
/// Creates the variable, or replaces its value. Deployments that are created from now on get it; others keep the version that they have.
/// An account can have at most 100 variables, with 64 KiB of names and values.
#[utoipa::path(
    put, path = ROUTE.path, tag = "Variables", request_body = VariableRequest, responses((status = 200, body = VariableBody))
)]
pub async fn set_account_variable(
    State(variables): State<StoredVariables>,
    author: Author,
    tenant: Tenant,
    PathVariable(name): PathVariable,
    extract::Json(request): extract::Json<VariableRequest>,
) -> Result<Json<VariableBody>> {
    let scope = VariableScope::of_account(&tenant);
    variables.set(&scope, &name, request, &author).await.map(Json)
}
