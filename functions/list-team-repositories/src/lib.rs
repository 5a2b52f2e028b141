//! `GET /v1/teams/{team_id}/repositories`: lists a team's permissions on repositories, newest first.

use std::collections::HashMap;

use axum::extract::State;
use axum::response::Response;
use futures_util::future::try_join;
use shared::access::{AuthorizedTeam, Scope};
use shared::body::{RepositoryBody, TeamRepositoryBody};
use shared::extract::Query;
use shared::model::{Repository, TeamGrant, TeamSizes};
use shared::page::{Page, PageQuery, Sort};
use shared::route::List;
use shared::{App, Endpoint, InitError, Result, Route};

/// The contract of the endpoint. The pipeline enforces it, and the templates and the OpenAPI document follow from it.
pub const ROUTE: Route =
    Route::get(env!("CARGO_PKG_NAME"), "/v1/teams/{team_id}/repositories").requires(Scope::TeamsRead).lists(LIST);

const LIST: List = List { name: "team repositories", sorts: &[Sort::Created] };

/// Returns the endpoint with the app as its state.
pub fn endpoint(app: &App) -> Result<Endpoint, InitError> {
    Ok(Endpoint::new(ROUTE, list_team_repositories, app.clone()).calls_at_once(2))
}

/// List a team's repositories
///
/// Returns a paginated list of the team's repositories, each with the team's permission on it. The only sort is
/// `created`, the time at which each repository was added.
#[utoipa::path(
    get, path = ROUTE.path, tag = "Teams", params(PageQuery),
    responses((status = 200, body = Page<TeamRepositoryBody>))
)]
pub async fn list_team_repositories(
    State(app): State<App>,
    Query(page): Query<PageQuery>,
    team: AuthorizedTeam,
) -> Result<Response> {
    let page = page.of(LIST)?;
    let rows = page.read::<TeamGrant>(app.table(), TeamGrant::listed(&team));
    let (rows, sizes) = try_join(rows, TeamSizes::load(app.table(), &team)).await?;
    let ids = rows.iter().map(|row| &row.repository_id);
    let repositories = Repository::by_ids(app.table(), team.tenant(), ids).await?;
    let repositories: HashMap<_, _> = repositories.iter().map(|row| (&row.id, row)).collect();
    let body = |row: &TeamGrant| RepositoryBody::new(repositories.get(&row.repository_id)?, team.tenant()).ok();
    let rows = rows.with(body);
    let url = app.url(&format!("/v1/teams/{}/repositories", team.id));
    Ok(page.respond(rows, sizes.repositories, &url, TeamRepositoryBody::from))
}
