//! `GET /v1/connections/{connection_id}`: returns one connection with the repositories that use it.

use axum::extract::State;
use shared::access::{AuthorizedConnection, Scope};
use shared::body::ConnectionBody;
use shared::model::Role;
use shared::precondition::Versioned;
use shared::{App, Endpoint, InitError, Result, Route};

/// The contract of the endpoint. The pipeline enforces it, and the templates and the OpenAPI document follow from it.
pub const ROUTE: Route = Route::get(env!("CARGO_PKG_NAME"), "/v1/connections/{connection_id}")
    .requires(Scope::RepositoriesRead)
    .by(Role::Admin)
    .sends_etag();

/// Returns the endpoint with the app as its state.
pub fn endpoint(app: &App) -> Result<Endpoint, InitError> {
    Ok(Endpoint::new(ROUTE, get_connection, app.clone()))
}

/// Get a connection
///
/// Returns the connection with the repositories that use it, at most 100 of them. The password or private key is in no
/// response.
#[utoipa::path(get, path = ROUTE.path, tag = "Connections", responses((status = 200, body = ConnectionBody)))]
pub async fn get_connection(
    State(app): State<App>,
    connection: AuthorizedConnection,
) -> Result<Versioned<u64, ConnectionBody>> {
    let repositories = connection.repositories(app.table(), connection.tenant()).await?;
    let connection = connection.into_inner();
    Ok(Versioned(connection.revision, ConnectionBody::with_repositories(connection, repositories)))
}
