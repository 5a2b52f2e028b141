//! `GET /v1/repositories/{repo_id}/hooks`: lists a repository's hooks, newest first.

use axum::extract::State;
use axum::response::Response;
use futures_util::future::try_join;
use shared::access::{AuthorizedRepository, Permission, Scope};
use shared::body::HookBody;
use shared::extract::Query;
use shared::model::Hook;
use shared::page::{Page, PageQuery, Sort};
use shared::route::List;
use shared::{App, Endpoint, InitError, Result, Route};

/// The contract of the endpoint. The pipeline enforces it, and the templates and the OpenAPI document follow from it.
pub const ROUTE: Route = Route::get(env!("CARGO_PKG_NAME"), "/v1/repositories/{repo_id}/hooks")
    .requires(Scope::RepositoriesRead)
    .needs(Permission::Admin)
    .lists(LIST);

const LIST: List = List { name: "hooks", sorts: &[Sort::Created] };

/// Returns the endpoint with the app as its state.
pub fn endpoint(app: &App) -> Result<Endpoint, InitError> {
    Ok(Endpoint::new(ROUTE, list_hooks, app.clone()).calls_at_once(2))
}

/// List hooks
///
/// Returns a paginated list of the repository's hooks, without their secrets. The only sort is `created`.
#[utoipa::path(get, path = ROUTE.path, tag = "Hooks", params(PageQuery), responses((status = 200, body = Page<HookBody>)))]
pub async fn list_hooks(
    State(app): State<App>,
    Query(page): Query<PageQuery>,
    repository: AuthorizedRepository,
) -> Result<Response> {
    let page = page.of(LIST)?;
    let rows = page.read::<Hook>(app.table(), Hook::listed(&repository));
    let (rows, total) = try_join(rows, Hook::total(app.table(), &repository)).await?;
    let (url, now) = (app.url(&format!("/v1/repositories/{}/hooks", repository.id)), app.clock().now());
    Ok(page.respond(rows, total, &url, |row| HookBody::new(&app, row, now)))
}
