//! `DELETE /v1/teams/{team_id}`: deletes a team with its memberships and permissions.

use axum::Json;
use axum::extract::State;
use shared::access::{AuthorizedTeam, Scope};
use shared::body::Deleted;
use shared::model::{Author, Role, Team};
use shared::precondition::IfMatch;
use shared::{App, Endpoint, InitError, Result, Route};

/// The contract of the endpoint. The pipeline enforces it, and the templates and the OpenAPI document follow from it.
pub const ROUTE: Route = Route::delete(env!("CARGO_PKG_NAME"), "/v1/teams/{team_id}")
    .requires(Scope::TeamsWrite)
    .by(Role::Admin)
    .compares_etag();

/// Returns the endpoint with the app as its state.
pub fn endpoint(app: &App) -> Result<Endpoint, InitError> {
    Ok(Endpoint::new(ROUTE, delete_team, app.clone()).calls_at_once(3))
}

/// Delete a team
///
/// Deletes a team. Its members lose the permissions that the team gave them.
#[utoipa::path(delete, path = ROUTE.path, tag = "Teams", responses((status = 200, body = Deleted)))]
pub async fn delete_team(
    State(app): State<App>,
    author: Author,
    team: AuthorizedTeam,
    expected: IfMatch,
) -> Result<Json<Deleted>> {
    let expected = |team: &Team| expected.check(team.revision);
    team.delete(app.table(), expected, &author, app.clock().now()).await?;
    Ok(Json(Deleted::new(&team.id)))
}
