//! `GET /v1/teams/{team_id}/members`: lists the members of a team, newest first.

use std::collections::HashMap;

use axum::extract::State;
use axum::response::Response;
use futures_util::future::try_join;
use shared::access::{AuthorizedTeam, Scope};
use shared::body::TeamMemberBody;
use shared::extract::Query;
use shared::model::{TeamMember, TeamSizes, User};
use shared::page::{Page, PageQuery, Sort};
use shared::route::List;
use shared::{App, Endpoint, InitError, Result, Route};

/// The contract of the endpoint. The pipeline enforces it, and the templates and the OpenAPI document follow from it.
pub const ROUTE: Route =
    Route::get(env!("CARGO_PKG_NAME"), "/v1/teams/{team_id}/members").requires(Scope::TeamsRead).lists(LIST);

const LIST: List = List { name: "team members", sorts: &[Sort::Created] };

/// Returns the endpoint with the app as its state.
pub fn endpoint(app: &App) -> Result<Endpoint, InitError> {
    Ok(Endpoint::new(ROUTE, list_team_members, app.clone()).calls_at_once(2))
}

/// List a team's members
///
/// Returns a paginated list of the team's members. The only sort is `created`, the time at which each member was added.
#[utoipa::path(
    get, path = ROUTE.path, tag = "Teams", params(PageQuery), responses((status = 200, body = Page<TeamMemberBody>))
)]
pub async fn list_team_members(
    State(app): State<App>,
    Query(page): Query<PageQuery>,
    team: AuthorizedTeam,
) -> Result<Response> {
    let page = page.of(LIST)?;
    let rows = page.read::<TeamMember>(app.table(), TeamMember::listed(&team));
    let (rows, sizes) = try_join(rows, TeamSizes::load(app.table(), &team)).await?;
    let users = User::by_ids(app.table(), team.tenant(), rows.iter().map(|row| &row.user_id)).await?;
    let mut users: HashMap<_, _> = users.into_iter().map(|user| (user.id.clone(), user)).collect();
    let rows = rows.with(|row| users.remove(&row.user_id));
    let url = app.url(&format!("/v1/teams/{}/members", team.id));
    Ok(page.respond(rows, sizes.members, &url, TeamMemberBody::from))
}
