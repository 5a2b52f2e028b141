//! `GET /v1/members`: lists the account's users, newest first.

use axum::extract::State;
use axum::response::Response;
use futures_util::future::try_join;
use shared::access::{Scope, Tenant};
use shared::body::MemberBody;
use shared::extract::Query;
use shared::model::User;
use shared::page::{Page, PageQuery, Sort};
use shared::route::List;
use shared::{App, Endpoint, InitError, Result, Route};

/// The contract of the endpoint. The pipeline enforces it, and the templates and the OpenAPI document follow from it.
pub const ROUTE: Route = Route::get(env!("CARGO_PKG_NAME"), "/v1/members").requires(Scope::AccountRead).lists(LIST);

const LIST: List = List { name: "members", sorts: &[Sort::Created] };

/// Returns the endpoint with the app as its state.
pub fn endpoint(app: &App) -> Result<Endpoint, InitError> {
    Ok(Endpoint::new(ROUTE, list_members, app.clone()))
}

/// List members
///
/// Returns a paginated list of the account's users. The only sort is `created`, the time at which each user joined.
#[utoipa::path(get, path = ROUTE.path, tag = "Members", params(PageQuery), responses((status = 200, body = Page<MemberBody>)))]
pub async fn list_members(State(app): State<App>, tenant: Tenant, Query(page): Query<PageQuery>) -> Result<Response> {
    let page = page.of(LIST)?;
    let rows = page.read::<User>(app.table(), User::listed(&tenant));
    let (rows, total) = try_join(rows, User::total(app.table(), &tenant)).await?;
    Ok(page.respond(rows, total, &app.url(ROUTE.path), MemberBody::from))
}
