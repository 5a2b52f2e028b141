//! `DELETE /v1/teams/{team_id}/members/{user_id}`: removes a user from a team.

use axum::Json;
use axum::extract::State;
use shared::access::{AuthorizedMember, AuthorizedTeam, Scope};
use shared::body::Deleted;
use shared::model::{Author, Role, TeamMember};
use shared::{App, Endpoint, Error, InitError, Result, Route};

/// The contract of the endpoint. The pipeline enforces it, and the templates and the OpenAPI document follow from it.
pub const ROUTE: Route = Route::delete(env!("CARGO_PKG_NAME"), "/v1/teams/{team_id}/members/{user_id}")
    .requires(Scope::TeamsWrite)
    .by(Role::Admin);

/// Returns the endpoint with the app as its state.
pub fn endpoint(app: &App) -> Result<Endpoint, InitError> {
    Ok(Endpoint::new(ROUTE, remove_team_member, app.clone()))
}

/// Remove a member from a team
///
/// Removes a user from a team. The user stays in the account.
#[utoipa::path(delete, path = ROUTE.path, tag = "Teams", responses((status = 200, body = Deleted)))]
pub async fn remove_team_member(
    State(app): State<App>,
    author: Author,
    team: AuthorizedTeam,
    member: AuthorizedMember,
) -> Result<Json<Deleted>> {
    if !TeamMember::remove(app.table(), &team.id, &member, &author, app.clock().now()).await? {
        return Err(Error::not_found("Team member"));
    }
    Ok(Json(Deleted::new(&member.id)))
}
