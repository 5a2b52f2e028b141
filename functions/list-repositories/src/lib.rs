//! `GET /v1/repositories`: lists the repositories that the caller can see.

use std::collections::HashMap;

use axum::extract::State;
use axum::response::Response;
use futures_util::future::try_join;
use serde::Deserialize;
use shared::access::{Scope, Tenant, VisibleRepository};
use shared::body::RepositoryBody;
use shared::extract::Filtered;
use shared::model::{Repository, RepositoryNamePrefix};
use shared::page::{Page, PageQuery, Sort};
use shared::route::List;
use shared::{App, Endpoint, InitError, Result, Route};

/// The contract of the endpoint. The pipeline enforces it, and the templates and the OpenAPI document follow from it.
pub const ROUTE: Route = Route::get(env!("CARGO_PKG_NAME"), "/v1/repositories")
    .requires(Scope::RepositoriesRead)
    .lists(LIST)
    .takes(&["name"]);

const LIST: List = List { name: "repositories", sorts: &[Sort::Created, Sort::Updated, Sort::Name] };
/// The list by a prefix, whose cursors are no cursors of the whole list.
const LIST_BY_NAME: List = List { name: "repositories by name", ..LIST };

/// Returns the endpoint with the app as its state.
pub fn endpoint(app: &App) -> Result<Endpoint, InitError> {
    Ok(Endpoint::new(ROUTE, list_repositories, app.clone()))
}

/// The property of the listed repositories.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
pub struct RepositoryFilter {
    /// Returns only repositories whose names start with this text, regardless of case.
    #[param(inline)]
    name: Option<RepositoryNamePrefix>,
}

/// List repositories
///
/// Returns a paginated list of repositories accessible to the authenticated user. `name` may start the names of at most 10,000
/// repositories.
#[utoipa::path(
    get, path = ROUTE.path, tag = "Repositories", params(PageQuery, RepositoryFilter),
    responses((status = 200, body = Page<RepositoryBody>))
)]
pub async fn list_repositories(
    State(app): State<App>,
    tenant: Tenant,
    Filtered(page, RepositoryFilter { name }): Filtered<PageQuery, RepositoryFilter>,
) -> Result<Response> {
    let (table, path) = (app.table(), ROUTE.path);
    let (page, visible, url) = match &name {
        Some(prefix) => {
            let visible = VisibleRepository::starting_with(table, &tenant, prefix).await?;
            (page.of(LIST_BY_NAME)?, visible, app.url(&format!("{path}?name={prefix}")))
        }
        None if tenant.permission_everywhere().is_none() => {
            let page = page.of(LIST)?;
            let visible = VisibleRepository::all(table, &tenant, page.sort()).await?;
            (page, visible, app.url(path))
        }
        None => {
            let page = page.of(LIST)?;
            let rows = page.read::<Repository>(table, Repository::listed(&tenant, page.sort()));
            let (rows, total) = try_join(rows, Repository::total(table, &tenant)).await?;
            let rows = rows.with(|row| RepositoryBody::new(row, &tenant).ok());
            return Ok(page.respond(rows, total, &app.url(path), |(_, body)| body));
        }
    };
    let total = visible.len() as u64;
    let rows = page.cut(visible);
    let repositories = VisibleRepository::load(table, &tenant, rows.iter()).await?;
    let repositories: HashMap<_, _> = repositories.iter().map(|row| (&row.id, row)).collect();
    let rows = rows.with(|row| RepositoryBody::new(repositories.get(&row.id)?, &tenant).ok());
    Ok(page.respond(rows, total, &url, |(_, body)| body))
}
