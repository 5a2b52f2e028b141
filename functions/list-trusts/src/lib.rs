//! `GET /v1/trusts`: lists the account's trusts, newest first.

use axum::extract::State;
use axum::response::Response;
use futures_util::future::try_join;
use shared::access::{Caller, Scope};
use shared::body::TrustBody;
use shared::extract::Query;
use shared::model::Trust;
use shared::page::{Page, PageQuery, Sort};
use shared::route::List;
use shared::{App, Endpoint, InitError, Result, Route};

/// The contract of the endpoint. The pipeline enforces it, and the templates and the OpenAPI document follow from it.
pub const ROUTE: Route = Route::get(env!("CARGO_PKG_NAME"), "/v1/trusts").requires(Scope::AccountRead).lists(LIST);

const LIST: List = List { name: "trusts", sorts: &[Sort::Created] };

/// Returns the endpoint with the app as its state.
pub fn endpoint(app: &App) -> Result<Endpoint, InitError> {
    Ok(Endpoint::new(ROUTE, list_trusts, app.clone()))
}

/// List trusts
///
/// Returns a paginated list of the account's trusts in the tokens of issuers. The only sort is `created`.
#[utoipa::path(get, path = ROUTE.path, tag = "Trusts", params(PageQuery), responses((status = 200, body = Page<TrustBody>)))]
pub async fn list_trusts(State(app): State<App>, caller: Caller, Query(page): Query<PageQuery>) -> Result<Response> {
    let page = page.of(LIST)?;
    let account = &caller.account().id;
    let rows = page.read::<Trust>(app.table(), Trust::listed(account));
    let (rows, total) = try_join(rows, Trust::total(app.table(), account)).await?;
    Ok(page.respond(rows, total, &app.url(ROUTE.path), TrustBody::from))
}
