//! `PUT /v1/teams/{team_id}/members/{user_id}`: adds a user to a team.

use axum::Json;
use axum::extract::State;
use shared::access::{AuthorizedMember, AuthorizedTeam, Scope};
use shared::body::TeamMemberBody;
use shared::model::{Author, Role, TeamMember};
use shared::{App, Endpoint, ErrorCode, InitError, Result, Route};

/// The contract of the endpoint. The pipeline enforces it, and the templates and the OpenAPI document follow from it.
pub const ROUTE: Route = Route::put(env!("CARGO_PKG_NAME"), "/v1/teams/{team_id}/members/{user_id}")
    .requires(Scope::TeamsWrite)
    .by(Role::Admin)
    .refuses_with(&[ErrorCode::LimitReached]);

/// Returns the endpoint with the app as its state.
pub fn endpoint(app: &App) -> Result<Endpoint, InitError> {
    Ok(Endpoint::new(ROUTE, add_team_member, app.clone()))
}

/// Add a member to a team
///
/// Adds a user to a team. Changes nothing if the user is already a member. A team can have at most 1,000 members. A
/// user can be in at most 100 teams.
#[utoipa::path(put, path = ROUTE.path, tag = "Teams", responses((status = 200, body = TeamMemberBody)))]
pub async fn add_team_member(
    State(app): State<App>,
    author: Author,
    team: AuthorizedTeam,
    member: AuthorizedMember,
) -> Result<Json<TeamMemberBody>> {
    let added = TeamMember::add(app.table(), &team, &member.id, &author, app.clock().now()).await?;
    Ok(Json((added, member.into_inner()).into()))
}
