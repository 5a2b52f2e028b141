//! `GET /v1/applications`: lists the account's OAuth2 applications, newest first.

use axum::extract::State;
use axum::response::Response;
use futures_util::future::try_join;
use shared::access::{Caller, Scope};
use shared::body::ApplicationBody;
use shared::extract::Query;
use shared::model::Application;
use shared::page::{Page, PageQuery, Sort};
use shared::route::List;
use shared::{App, Endpoint, InitError, Result, Route};

/// The contract of the endpoint. The pipeline enforces it, and the templates and the OpenAPI document follow from it.
pub const ROUTE: Route =
    Route::get(env!("CARGO_PKG_NAME"), "/v1/applications").requires(Scope::AccountRead).lists(LIST);

const LIST: List = List { name: "applications", sorts: &[Sort::Created] };

/// Returns the endpoint with the app as its state.
pub fn endpoint(app: &App) -> Result<Endpoint, InitError> {
    Ok(Endpoint::new(ROUTE, list_applications, app.clone()))
}

/// List applications
///
/// Returns a paginated list of the account's OAuth2 applications. The only sort is `created`.
#[utoipa::path(get, path = ROUTE.path, tag = "Applications", params(PageQuery), responses((status = 200, body = Page<ApplicationBody>)))]
pub async fn list_applications(
    State(app): State<App>,
    caller: Caller,
    Query(page): Query<PageQuery>,
) -> Result<Response> {
    let page = page.of(LIST)?;
    let account = &caller.account().id;
    let rows = page.read::<Application>(app.table(), Application::listed(account));
    let (rows, total) = try_join(rows, Application::total(app.table(), account)).await?;
    Ok(page.respond(rows, total, &app.url(ROUTE.path), ApplicationBody::from))
}
