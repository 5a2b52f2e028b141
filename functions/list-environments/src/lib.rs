//! `GET /v1/repositories/{repo_id}/environments`: lists the environments of a repository.

use std::collections::HashMap;

use axum::extract::State;
use axum::response::Response;
use futures_util::stream::{self, StreamExt, TryStreamExt};
use shared::access::{AuthorizedRepository, Scope};
use shared::body::EnvironmentBody;
use shared::extract::Query;
use shared::model::{DeploymentCounts, Environment, EnvironmentState};
use shared::page::{Page, PageQuery, Sort};
use shared::route::List;
use shared::{App, Endpoint, InitError, Result, Route};

/// The contract of the endpoint. The pipeline enforces it, and the templates and the OpenAPI document follow from it.
pub const ROUTE: Route = Route::get(env!("CARGO_PKG_NAME"), "/v1/repositories/{repo_id}/environments")
    .requires(Scope::DeploymentsRead)
    .lists(LIST);

const LIST: List = List { name: "environments", sorts: &[Sort::Name] };

/// The number of environments that are read at once.
const AT_ONCE: usize = 3;

/// Returns the endpoint with the app as its state.
pub fn endpoint(app: &App) -> Result<Endpoint, InitError> {
    Ok(Endpoint::new(ROUTE, list_environments, app.clone()).calls_at_once(5))
}

/// List environments
///
/// Returns a paginated list of the repository's environments and patterns: first `preview`, `staging` and `production`, and
/// then the others by name. The only sort is `name`.
#[utoipa::path(
    get, path = ROUTE.path, tag = "Environments", params(PageQuery), responses((status = 200, body = Page<EnvironmentBody>))
)]
pub async fn list_environments(
    State(app): State<App>,
    Query(page): Query<PageQuery>,
    repository: AuthorizedRepository,
) -> Result<Response> {
    let (table, page) = (app.table(), page.of(LIST)?);
    let names = DeploymentCounts::load(table, &repository.partition()).await?.environments();
    let total = names.len() as u64;
    let rows = page.cut(names);
    let read = |name: Environment| EnvironmentState::find(table, &repository, name);
    let states: Vec<_> = stream::iter(rows.iter().copied().map(read)).buffered(AT_ONCE).try_collect().await?;
    let mut states: HashMap<_, _> = states.into_iter().flatten().map(|state| (state.name, state)).collect();
    let url = app.url(&format!("/v1/repositories/{}/environments", repository.id));
    let now = app.clock().now();
    Ok(page.respond(rows.with(|name| states.remove(name)), total, &url, |(_, state)| EnvironmentBody::new(state, now)))
}
