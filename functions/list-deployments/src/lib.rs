//! `GET /v1/repositories/{repo_id}/deployments`: lists a repository's deployments, newest first.

use axum::extract::State;
use axum::response::Response;
use futures_util::future::try_join;
use serde::{Deserialize, Serialize};
use shared::access::{Requested, Scope};
use shared::body::DeploymentBody;
use shared::extract::Filtered;
use shared::model::{
    Actors, Deployment, DeploymentCounts, Environment, Filter, Repository, RepositoryPartition, Status,
};
use shared::page::{Meta, PageQuery, Sort};
use shared::route::List;
use shared::{App, Endpoint, Error, InitError, Result, Route};

/// The contract of the endpoint. The pipeline enforces it, and the templates and the OpenAPI document follow from it.
pub const ROUTE: Route = Route::get(env!("CARGO_PKG_NAME"), "/v1/repositories/{repo_id}/deployments")
    .requires(Scope::DeploymentsRead)
    .lists(LIST)
    .takes(&["environment", "status"]);

const LIST: List = List { name: "deployments", sorts: &[Sort::Created] };

/// Returns the endpoint with the app as its state.
pub fn endpoint(app: &App) -> Result<Endpoint, InitError> {
    Ok(Endpoint::new(ROUTE, list_deployments, app.clone()).calls_at_once(4))
}

/// The properties of the listed deployments.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
pub struct DeploymentFilter {
    /// Returns only deployments to this environment.
    environment: Option<Environment>,
    /// Returns only deployments in this state.
    status: Option<Status>,
}

/// A page of the repository's deployments.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct Deployments {
    /// The deployments of the page.
    data: Vec<DeploymentBody>,
    /// The names of the users and applications that have acted on these deployments, by their IDs.
    actors: Actors,
    meta: Meta,
}

/// List deployments
///
/// Returns a paginated list of the repository's deployments. The only sort is `created`.
#[utoipa::path(
    get, path = ROUTE.path, tag = "Deployments", params(PageQuery, DeploymentFilter),
    responses((status = 200, body = Deployments))
)]
pub async fn list_deployments(
    State(app): State<App>,
    Filtered(page, filter): Filtered<PageQuery, DeploymentFilter>,
    repository: Requested<Repository>,
) -> Result<Response> {
    let (table, page) = (app.table(), &page.of(LIST)?);
    let filter = Filter { environment: filter.environment, status: filter.status };
    let read = |repository: RepositoryPartition| async move {
        let rows = page.read::<Deployment>(table, Deployment::listed(&repository, filter));
        try_join(rows, DeploymentCounts::matching(table, &repository, filter)).await.map_err(Error::from)
    };
    let (repository, (rows, total)) = repository.authorize_and_read(read).await?;
    let url = app.url(&format!("/v1/repositories/{}/deployments{}", repository.id, query(filter)));
    let body = |rows: Vec<Deployment>, meta| {
        let mut actors = Actors::default();
        let data = rows.into_iter().map(|row| DeploymentBody::new(&app, row).listed(&mut actors)).collect();
        Deployments { data, actors, meta }
    };
    Ok(page.respond_with(rows, total, &url, body))
}

fn query(filter: Filter) -> String {
    let environment = filter.environment.map(|environment| format!("environment={environment}"));
    let status = filter.status.map(|status| format!("status={}", status.as_str()));
    let parameters: Vec<String> = environment.into_iter().chain(status).collect();
    if parameters.is_empty() { String::new() } else { format!("?{}", parameters.join("&")) }
}
