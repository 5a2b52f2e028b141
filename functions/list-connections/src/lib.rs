//! `GET /v1/connections`: lists the account's connections, newest first.

use axum::extract::State;
use axum::response::Response;
use futures_util::future::try_join;
use shared::access::{Scope, Tenant};
use shared::body::ConnectionBody;
use shared::extract::Query;
use shared::model::{Connection, Role};
use shared::page::{Page, PageQuery, Sort};
use shared::route::List;
use shared::{App, Endpoint, InitError, Result, Route};

/// The contract of the endpoint. The pipeline enforces it, and the templates and the OpenAPI document follow from it.
pub const ROUTE: Route =
    Route::get(env!("CARGO_PKG_NAME"), "/v1/connections").requires(Scope::RepositoriesRead).by(Role::Admin).lists(LIST);

const LIST: List = List { name: "connections", sorts: &[Sort::Created] };

/// Returns the endpoint with the app as its state.
pub fn endpoint(app: &App) -> Result<Endpoint, InitError> {
    Ok(Endpoint::new(ROUTE, list_connections, app.clone()))
}

/// List connections
///
/// Returns a paginated list of the account's connections to git hosts. The only sort is `created`.
#[utoipa::path(
    get, path = ROUTE.path, tag = "Connections", params(PageQuery), responses((status = 200, body = Page<ConnectionBody>))
)]
pub async fn list_connections(
    State(app): State<App>,
    tenant: Tenant,
    Query(page): Query<PageQuery>,
) -> Result<Response> {
    let page = page.of(LIST)?;
    let rows = page.read::<Connection>(app.table(), Connection::listed(&tenant));
    let (rows, total) = try_join(rows, Connection::total(app.table(), &tenant)).await?;
    Ok(page.respond(rows, total, &app.url(ROUTE.path), ConnectionBody::from))
}
