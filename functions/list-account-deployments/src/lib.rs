//! `GET /v1/deployments`: lists the deployments of all repositories that the caller can see, newest first.

mod covered;
mod filter;

use std::collections::{BTreeSet, HashMap};

use axum::extract::{RawQuery, State};
use axum::response::Response;
use futures_util::future::try_join;
use serde::Serialize;
use shared::access::{Permission, Scope, Tenant};
use shared::body::DeploymentBody;
use shared::extract::Filtered;
use shared::model::{Actors, Deployment, ListedDeployment, Repository, Reviewers, WantedDeployments};
use shared::page::{PageQuery, Search, SearchMeta, Sort};
use shared::route::List;
use shared::{App, Endpoint, ErrorCode, InitError, Result, Route};

use crate::covered::Covered;
use crate::filter::DeploymentsFilter;

/// The contract of the endpoint. The pipeline enforces it, and the templates and the OpenAPI document follow from it.
pub const ROUTE: Route = Route::get(env!("CARGO_PKG_NAME"), "/v1/deployments")
    .requires(Scope::DeploymentsRead)
    .lists(LIST)
    .takes(&DeploymentsFilter::PARAMETERS)
    .refuses_with(&[ErrorCode::NotFound]);

const LIST: List = List { name: "deployments of an account", sorts: &[Sort::Created] };
/// The list of one repository, whose positions are others.
const LIST_OF_REPOSITORY: List = List { name: "deployments", sorts: &[Sort::Created] };

/// Returns the endpoint with the app as its state.
pub fn endpoint(app: &App) -> Result<Endpoint, InitError> {
    // The limiter, a Query for each of the six states, and one of the repositories.
    Ok(Endpoint::new(ROUTE, list_account_deployments, app.clone()).calls_at_once(8))
}

/// A page of the account's deployments.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct AccountDeployments {
    /// The deployments of the page, each with its repository.
    data: Vec<DeploymentBody>,
    /// The names of the users and applications that have acted on these deployments, by their IDs.
    actors: Actors,
    meta: SearchMeta,
}

/// A deployment with its repository.
type Row = (Deployment, Repository);

/// List the account's deployments
///
/// Returns a paginated list of the deployments of all repositories that the caller can see. The only sort is `created`.
///
/// The filters narrow the list together. With any other filter than `repository` and `status`, or with `environment` without
/// `repository`, a page is the result of a search through at least 1,000 deployments: it can be short, or even empty, although
/// more follow. Follow `next` in `Link` until it is absent.
///
/// `meta.total` is exact if it is a number. It is null if the list covers more than 100 repositories, or is filtered by `ref`,
/// `sha`, `created_by` or `awaiting`, unless the first page already has all of the deployments.
#[utoipa::path(
    get, path = ROUTE.path, tag = "Deployments", params(PageQuery, DeploymentsFilter),
    responses((status = 200, body = AccountDeployments))
)]
pub async fn list_account_deployments(
    State(app): State<App>,
    tenant: Tenant,
    RawQuery(query): RawQuery,
    Filtered(page, filter): Filtered<PageQuery, DeploymentsFilter>,
) -> Result<Response> {
    let url = app.url(&ROUTE.path_with_filters(query.as_deref()));
    let (repository, wanted) = filter.of(&tenant);
    let page = page.of(if repository.is_some() { LIST_OF_REPOSITORY } else { LIST })?;
    let covered = Covered::by(&app, &tenant, repository).await?;
    let matches = |item: &ListedDeployment| covered.has(&item.repository_id) && wanted.matches(item);
    let search = Search {
        lists: covered.lists(&tenant, &wanted),
        attributes: Some(ListedDeployment::ATTRIBUTES),
        matches: (!covered.is_answered_by_index(&wanted)).then_some(matches),
        rows_decide: wanted.awaits.is_some(),
        is_visible: false,
    };
    let found = page.search(app.table(), search, |items| load(&app, &tenant, &wanted, items));
    let (found, total) = try_join(found, covered.total(&app, &tenant, &wanted)).await?;
    let body = |rows: Vec<Row>, meta| {
        let mut actors = Actors::default();
        let item =
            |(row, repository): Row| DeploymentBody::new(&app, row).listed(&mut actors).in_repository(&repository);
        AccountDeployments { data: rows.into_iter().map(item).collect(), actors, meta }
    };
    Ok(page.respond_to_search(found, total, &url, body))
}

/// Reads the rows of listed deployments and of their repositories. Leaves out what the caller may not see, and what has
/// changed since the index was written.
async fn load(
    app: &App,
    tenant: &Tenant,
    wanted: &WantedDeployments,
    items: Vec<ListedDeployment>,
) -> Result<Vec<Option<Row>>> {
    let ids: BTreeSet<_> = items.iter().map(|item| &item.repository_id).collect();
    let rows = Deployment::by_ids(app.table(), tenant, items.iter().map(|item| &item.id));
    let (rows, repositories) = try_join(rows, Repository::by_ids(app.table(), tenant, ids)).await?;
    // Only reviewers may approve, where an environment has some.
    let awaited = rows.iter().filter(|row| wanted.awaits.is_some() && wanted.has(row));
    let environments = awaited.map(|row| (row.repository_id.clone(), row.environment)).collect();
    let reviewers = Reviewers::of_environments(app.table(), tenant, &environments).await?;
    let mut rows: HashMap<_, _> = rows.into_iter().map(|row| (row.id.clone(), row)).collect();
    let repositories: HashMap<_, _> = repositories.into_iter().map(|row| (row.id.clone(), row)).collect();
    let row = |item: ListedDeployment| {
        let row = rows.remove(&item.id).filter(|row| wanted.has(row))?;
        let repository = repositories.get(&row.repository_id)?;
        let permission = tenant.permission_on(repository)?;
        let reviewers = reviewers.get(&(row.repository_id.clone(), row.environment));
        let may_approve = permission >= Permission::Deploy && reviewers.is_none_or(|all| all.include(tenant.user()));
        (wanted.awaits.is_none() || may_approve).then(|| (row, repository.clone()))
    };
    Ok(items.into_iter().map(row).collect())
}
