//! `DELETE /v1/applications/{application_id}`: revokes an OAuth2 client's access to the account.

use axum::Json;
use axum::extract::State;
use shared::access::{Caller, NamedApplication, Scope};
use shared::body::Deleted;
use shared::model::{Application, Author, Role};
use shared::{App, Endpoint, Error, InitError, Result, Route};

/// The contract of the endpoint. The pipeline enforces it, and the templates and the OpenAPI document follow from it.
pub const ROUTE: Route = Route::delete(env!("CARGO_PKG_NAME"), "/v1/applications/{application_id}")
    .requires(Scope::AccountWrite)
    .by(Role::Owner);

/// Returns the endpoint with the app as its state.
pub fn endpoint(app: &App) -> Result<Endpoint, InitError> {
    Ok(Endpoint::new(ROUTE, delete_application, app.clone()))
}

/// Delete an application
///
/// Removes an application. Its tokens stop working within 30 seconds. Only an owner may remove an application.
#[utoipa::path(delete, path = ROUTE.path, tag = "Applications", responses((status = 200, body = Deleted)))]
pub async fn delete_application(
    State(app): State<App>,
    author: Author,
    caller: Caller,
    NamedApplication(id): NamedApplication,
) -> Result<Json<Deleted>> {
    let deleted = Application::delete(app.table(), &caller.account().id, &id, &author, app.clock().now()).await?;
    if deleted { Ok(Json(Deleted::new(&id))) } else { Err(Error::not_found("Application")) }
}
