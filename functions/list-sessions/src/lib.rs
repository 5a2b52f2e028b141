//! `GET /v1/sessions`: lists the caller's sessions of the dashboard, newest first.

use axum::extract::State;
use axum::response::Response;
use shared::access::{Caller, Scope};
use shared::body::SessionBody;
use shared::extract::Query;
use shared::model::Session;
use shared::page::{Page, PageQuery, Sort};
use shared::route::List;
use shared::{App, Endpoint, InitError, Result, Route};

/// The contract of the endpoint. The pipeline enforces it, and the templates and the OpenAPI document follow from it.
pub const ROUTE: Route = Route::get(env!("CARGO_PKG_NAME"), "/v1/sessions").requires(Scope::TokensRead).lists(LIST);

const LIST: List = List { name: "sessions", sorts: &[Sort::Created] };

/// Returns the endpoint with the app as its state.
pub fn endpoint(app: &App) -> Result<Endpoint, InitError> {
    Ok(Endpoint::new(ROUTE, list_sessions, app.clone()).calls_at_once(2))
}

/// List sessions
///
/// Returns a paginated list of the caller's sessions of the dashboard. The only sort is `created`. Ended sessions are not listed.
#[utoipa::path(
    get, path = ROUTE.path, tag = "Sessions", params(PageQuery), responses((status = 200, body = Page<SessionBody>))
)]
pub async fn list_sessions(State(app): State<App>, caller: Caller, Query(page): Query<PageQuery>) -> Result<Response> {
    let page = page.of(LIST)?;
    let sessions = Session::of_user(app.table(), caller.user(), app.clock().now()).await?;
    let total = sessions.len() as u64;
    let body = |session| SessionBody::new(session, caller.session_id());
    Ok(page.respond(page.cut(sessions), total, &app.url(ROUTE.path), body))
}
