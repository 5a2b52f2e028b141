//! `GET /v1/teams/{team_id}`: returns one team with its ETag.

use axum::extract::State;
use shared::access::{AuthorizedTeam, Scope};
use shared::body::TeamBody;
use shared::precondition::Versioned;
use shared::{App, Endpoint, InitError, Route};

/// The contract of the endpoint. The pipeline enforces it, and the templates and the OpenAPI document follow from it.
pub const ROUTE: Route =
    Route::get(env!("CARGO_PKG_NAME"), "/v1/teams/{team_id}").requires(Scope::TeamsRead).sends_etag();

/// Returns the endpoint with the app as its state.
pub fn endpoint(app: &App) -> Result<Endpoint, InitError> {
    Ok(Endpoint::new(ROUTE, get_team, app.clone()))
}

/// Get a team
///
/// Returns the team.
#[utoipa::path(get, path = ROUTE.path, tag = "Teams", responses((status = 200, body = TeamBody)))]
pub async fn get_team(State(_): State<App>, team: AuthorizedTeam) -> Versioned<u64, TeamBody> {
    Versioned(team.revision, team.into_inner().into())
}
