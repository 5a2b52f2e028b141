//! `DELETE /v1/teams/{team_id}/repositories/{repo_id}`: removes a team's permission on a repository.

use axum::Json;
use axum::extract::State;
use shared::access::{AuthorizedRepository, AuthorizedTeam, Scope};
use shared::body::Deleted;
use shared::model::{Author, Role, TeamGrant};
use shared::{App, Endpoint, Error, InitError, Result, Route};

/// The contract of the endpoint. The pipeline enforces it, and the templates and the OpenAPI document follow from it.
pub const ROUTE: Route = Route::delete(env!("CARGO_PKG_NAME"), "/v1/teams/{team_id}/repositories/{repo_id}")
    .requires(Scope::TeamsWrite)
    .by(Role::Admin);

/// Returns the endpoint with the app as its state.
pub fn endpoint(app: &App) -> Result<Endpoint, InitError> {
    Ok(Endpoint::new(ROUTE, remove_team_repository, app.clone()))
}

/// Remove a repository from a team
///
/// Removes the team's permission on the repository. The repository itself is not changed.
#[utoipa::path(delete, path = ROUTE.path, tag = "Teams", responses((status = 200, body = Deleted)))]
pub async fn remove_team_repository(
    State(app): State<App>,
    author: Author,
    team: AuthorizedTeam,
    repository: AuthorizedRepository,
) -> Result<Json<Deleted>> {
    if !TeamGrant::remove(app.table(), &team, &repository, &author, app.clock().now()).await? {
        return Err(Error::not_found("Team repository"));
    }
    Ok(Json(Deleted::new(&repository.id)))
}
