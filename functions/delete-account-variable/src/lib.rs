//! `DELETE /v1/account/variables/{name}`: deletes a variable of an account.

use axum::Json;
use axum::extract::State;
use shared::access::{Scope, Tenant};
use shared::body::Deleted;
use shared::extract::PathVariable;
use shared::model::{Author, Role, VariableScope, VariableSet};
use shared::{App, Endpoint, InitError, Result, Route};

/// The contract of the endpoint. The pipeline enforces it, and the templates and the OpenAPI document follow from it.
pub const ROUTE: Route =
    Route::delete(env!("CARGO_PKG_NAME"), "/v1/account/variables/{name}").requires(Scope::AccountWrite).by(Role::Admin);

/// Returns the endpoint with the app as its state.
pub fn endpoint(app: &App) -> Result<Endpoint, InitError> {
    Ok(Endpoint::new(ROUTE, delete_account_variable, app.clone()))
}

/// Delete a variable of the account
///
/// Deployments that are created from now on do not get the variable. Deployments that have it keep it, and so do retries and rollbacks.
#[utoipa::path(
    delete, path = ROUTE.path, tag = "Variables", responses((status = 200, body = Deleted))
)]
pub async fn delete_account_variable(
    State(app): State<App>,
    author: Author,
    tenant: Tenant,
    PathVariable(name): PathVariable,
) -> Result<Json<Deleted>> {
    let scope = VariableScope::of_account(&tenant);
    VariableSet::delete(app.table(), &scope, &name, &author, app.clock().now()).await?;
    Ok(Json(Deleted::new(&name)))
}
