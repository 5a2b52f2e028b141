//! `GET /v1/account/variables`: lists the variables of an account.

use axum::Json;
use axum::extract::State;
use shared::access::{Scope, Tenant};
use shared::body::VariablesBody;
use shared::model::{VariableScope, VariableSet};
use shared::{App, Endpoint, InitError, Result, Route};

/// The contract of the endpoint. The pipeline enforces it, and the templates and the OpenAPI document follow from it.
pub const ROUTE: Route = Route::get(env!("CARGO_PKG_NAME"), "/v1/account/variables").requires(Scope::AccountRead);

/// Returns the endpoint with the app as its state.
pub fn endpoint(app: &App) -> Result<Endpoint, InitError> {
    Ok(Endpoint::new(ROUTE, list_account_variables, app.clone()))
}

/// List the account's variables
///
/// Returns the variables that every deployment of the account gets, by name. Variables of a repository, an environment or a deployment
/// override those of the same name. Secret values are not returned.
#[utoipa::path(
    get, path = ROUTE.path, tag = "Variables", responses((status = 200, body = VariablesBody))
)]
pub async fn list_account_variables(State(app): State<App>, tenant: Tenant) -> Result<Json<VariablesBody>> {
    let set = VariableSet::load(app.table(), &VariableScope::of_account(&tenant)).await?;
    Ok(Json(set.into()))
}
