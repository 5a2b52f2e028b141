//! `GET /v1/webhooks`: lists the account's webhooks, newest first.

use axum::extract::State;
use axum::response::Response;
use futures_util::future::try_join;
use shared::access::{Scope, Tenant};
use shared::body::WebhookBody;
use shared::extract::Query;
use shared::model::{Role, Webhook};
use shared::page::{Page, PageQuery, Sort};
use shared::route::List;
use shared::{App, Endpoint, InitError, Result, Route};

/// The contract of the endpoint. The pipeline enforces it, and the templates and the OpenAPI document follow from it.
pub const ROUTE: Route =
    Route::get(env!("CARGO_PKG_NAME"), "/v1/webhooks").requires(Scope::AccountRead).by(Role::Admin).lists(LIST);

const LIST: List = List { name: "webhooks", sorts: &[Sort::Created] };

/// Returns the endpoint with the app as its state.
pub fn endpoint(app: &App) -> Result<Endpoint, InitError> {
    Ok(Endpoint::new(ROUTE, list_webhooks, app.clone()))
}

/// List webhooks
///
/// Returns a paginated list of the account's webhooks. The only sort is `created`.
#[utoipa::path(
    get, path = ROUTE.path, tag = "Webhooks", params(PageQuery), responses((status = 200, body = Page<WebhookBody>))
)]
pub async fn list_webhooks(State(app): State<App>, tenant: Tenant, Query(page): Query<PageQuery>) -> Result<Response> {
    let page = page.of(LIST)?;
    let now = app.clock().now();
    let rows = page.read::<Webhook>(app.table(), Webhook::listed(&tenant));
    let (rows, total) = try_join(rows, Webhook::total(app.table(), &tenant)).await?;
    Ok(page.respond(rows, total, &app.url(ROUTE.path), |row| WebhookBody::new(row, now)))
}
