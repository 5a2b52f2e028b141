//! `DELETE /v1/connections/{connection_id}`: deletes a connection that no repository uses.

use axum::Json;
use axum::extract::State;
use shared::access::{AuthorizedConnection, Scope};
use shared::body::Deleted;
use shared::model::{Author, Connection, Role};
use shared::precondition::IfMatch;
use shared::{App, Endpoint, ErrorCode, InitError, Result, Route};

/// The contract of the endpoint. The pipeline enforces it, and the templates and the OpenAPI document follow from it.
pub const ROUTE: Route = Route::delete(env!("CARGO_PKG_NAME"), "/v1/connections/{connection_id}")
    .requires(Scope::RepositoriesWrite)
    .by(Role::Admin)
    .refuses_with(&[ErrorCode::ConnectionInUse])
    .compares_etag();

/// Returns the endpoint with the app as its state.
pub fn endpoint(app: &App) -> Result<Endpoint, InitError> {
    Ok(Endpoint::new(ROUTE, delete_connection, app.clone()))
}

/// Delete a connection
///
/// Deletes a connection with its password or private key. A connection that repositories use is not deleted: the error names
/// them.
#[utoipa::path(delete, path = ROUTE.path, tag = "Connections", responses((status = 200, body = Deleted)))]
pub async fn delete_connection(
    State(app): State<App>,
    author: Author,
    connection: AuthorizedConnection,
    expected: IfMatch,
) -> Result<Json<Deleted>> {
    let (id, tenant, now) = (connection.id.clone(), connection.tenant().clone(), app.clock().now());
    let expected = |connection: &Connection| expected.check(connection.revision);
    connection.into_inner().delete(app.table(), &tenant, expected, &author, now).await?;
    Ok(Json(Deleted::new(&id)))
}
