//! `GET /v1/repositories/{repo_id}/deployments`: lists a repository's deployments, newest first.

mod filter;

use std::collections::HashMap;

use axum::extract::{RawQuery, State};
use axum::response::Response;
use futures_util::future::try_join;
use serde::Serialize;
use shared::access::{Requested, Scope, Tenant};
use shared::body::DeploymentBody;
use shared::extract::Filtered;
use shared::model::{
    Actors, Deployment, DeploymentCounts, ListedDeployment, Repository, RepositoryPartition, WantedDeployments,
};
use shared::page::{Found, PageQuery, Rows, Search, SearchMeta, Sort};
use shared::route::List;
use shared::{App, Endpoint, Error, InitError, Result, Route};

use crate::filter::DeploymentFilter;

/// The contract of the endpoint. The pipeline enforces it, and the templates and the OpenAPI document follow from it.
pub const ROUTE: Route = Route::get(env!("CARGO_PKG_NAME"), "/v1/repositories/{repo_id}/deployments")
    .requires(Scope::DeploymentsRead)
    .lists(LIST)
    .takes(&DeploymentFilter::PARAMETERS);

const LIST: List = List { name: "deployments", sorts: &[Sort::Created] };

/// Returns the endpoint with the app as its state.
pub fn endpoint(app: &App) -> Result<Endpoint, InitError> {
    Ok(Endpoint::new(ROUTE, list_deployments, app.clone()).calls_at_once(4))
}

/// A page of the repository's deployments.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct Deployments {
    /// The deployments of the page.
    data: Vec<DeploymentBody>,
    /// The names of the users and applications that have acted on these deployments, by their IDs.
    actors: Actors,
    meta: SearchMeta,
}

/// The deployments of a page.
enum Read {
    /// The deployments of an index that has no others, with their number.
    Counted(Rows<Deployment>, u64),
    /// The deployments that a search found.
    Searched(Found<Deployment>),
}

/// List deployments
///
/// Returns a paginated list of the repository's deployments. The only sort is `created`.
///
/// The filters narrow the list together. With `ref`, `sha` or `created_by`, a page is the result of a search through at least 1,000
/// deployments: it can be short, or even empty, although more follow. Follow `next` in `Link` until it is absent. `meta.total` is null
/// then, unless the first page already has all of the deployments.
#[utoipa::path(
    get, path = ROUTE.path, tag = "Deployments", params(PageQuery, DeploymentFilter),
    responses((status = 200, body = Deployments))
)]
pub async fn list_deployments(
    State(app): State<App>,
    tenant: Tenant,
    RawQuery(query): RawQuery,
    Filtered(page, filter): Filtered<PageQuery, DeploymentFilter>,
    repository: Requested<Repository>,
) -> Result<Response> {
    let (app, tenant, page, wanted) = (&app, &tenant, &page.of(LIST)?, &filter.of(&tenant));
    let read = |repository: RepositoryPartition| async move {
        if wanted.is_counted() {
            let rows = page.read::<Deployment>(app.table(), Deployment::listed(&repository, wanted.counted()));
            let number = DeploymentCounts::matching(app.table(), &repository, wanted.counted());
            let (rows, total) = try_join(rows, number).await?;
            return Ok(Read::Counted(rows, total));
        }
        let search = Search {
            lists: ListedDeployment::of_repository(&repository, wanted.environment, &wanted.statuses),
            attributes: Some(ListedDeployment::ATTRIBUTES),
            matches: Some(|item: &ListedDeployment| wanted.matches(item)),
            rows_decide: false,
            is_visible: true,
        };
        let found = page.search(app.table(), search, |items| load(app, tenant, wanted, items)).await?;
        Ok::<_, Error>(Read::Searched(found))
    };
    let (repository, read) = repository.authorize_and_read(read).await?;
    let url = app.url(&ROUTE.path_with_filters(query.as_deref()).replace("{repo_id}", repository.id.as_str()));
    let body = |rows: Vec<Deployment>, meta| {
        let mut actors = Actors::default();
        let data = rows.into_iter().map(|row| DeploymentBody::new(app, row).listed(&mut actors)).collect();
        Deployments { data, actors, meta }
    };
    Ok(match read {
        Read::Counted(rows, total) => page.respond_with(rows, total, &url, |rows, meta| body(rows, meta.into())),
        Read::Searched(found) => page.respond_to_search(found, None, &url, body),
    })
}

/// Reads the rows of listed deployments. Leaves out those that have changed since the index was written.
async fn load(
    app: &App,
    tenant: &Tenant,
    wanted: &WantedDeployments,
    items: Vec<ListedDeployment>,
) -> Result<Vec<Option<Deployment>>> {
    let rows = Deployment::by_ids(app.table(), tenant, items.iter().map(|item| &item.id)).await?;
    let mut rows: HashMap<_, _> = rows.into_iter().map(|row| (row.id.clone(), row)).collect();
    Ok(items.into_iter().map(|item| rows.remove(&item.id).filter(|row| wanted.has(row))).collect())
}
