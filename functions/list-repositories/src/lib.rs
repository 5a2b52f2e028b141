//! `GET /v1/repositories`: lists the repositories that the caller can see.

use std::collections::HashMap;

use axum::extract::State;
use axum::response::Response;
use futures_util::future::try_join;
use shared::access::{Scope, Tenant, VisibleRepository};
use shared::body::RepositoryBody;
use shared::extract::Query;
use shared::model::Repository;
use shared::page::{Page, PageQuery, Sort};
use shared::route::List;
use shared::{App, Endpoint, InitError, Result, Route};

/// The contract of the endpoint. The pipeline enforces it, and the templates and the OpenAPI document follow from it.
pub const ROUTE: Route =
    Route::get(env!("CARGO_PKG_NAME"), "/v1/repositories").requires(Scope::RepositoriesRead).lists(LIST);

const LIST: List = List { name: "repositories", sorts: &[Sort::Created, Sort::Updated, Sort::Name] };

/// Returns the endpoint with the app as its state.
pub fn endpoint(app: &App) -> Result<Endpoint, InitError> {
    Ok(Endpoint::new(ROUTE, list_repositories, app.clone()))
}

/// List repositories
///
/// Returns a paginated list of repositories accessible to the authenticated user.
#[utoipa::path(get, path = ROUTE.path, tag = "Repositories", params(PageQuery), responses((status = 200, body = Page<RepositoryBody>)))]
pub async fn list_repositories(
    State(app): State<App>,
    tenant: Tenant,
    Query(page): Query<PageQuery>,
) -> Result<Response> {
    let page = page.of(LIST)?;
    let url = app.url(ROUTE.path);
    if tenant.permission_everywhere().is_none() {
        let visible = VisibleRepository::all(app.table(), &tenant, page.sort()).await?;
        let total = visible.len() as u64;
        let rows = page.cut(visible);
        let repositories = VisibleRepository::load(app.table(), &tenant, rows.iter()).await?;
        let repositories: HashMap<_, _> = repositories.iter().map(|row| (&row.id, row)).collect();
        let rows = rows.with(|row| RepositoryBody::new(repositories.get(&row.id)?, &tenant).ok());
        return Ok(page.respond(rows, total, &url, |(_, body)| body));
    }
    let rows = page.read::<Repository>(app.table(), Repository::listed(&tenant, page.sort()));
    let (rows, total) = try_join(rows, Repository::total(app.table(), &tenant)).await?;
    let rows = rows.with(|row| RepositoryBody::new(row, &tenant).ok());
    Ok(page.respond(rows, total, &url, |(_, body)| body))
}
