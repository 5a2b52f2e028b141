//! `PUT /v1/teams/{team_id}/repositories/{repo_id}`: gives a team a permission on a repository.

use axum::Json;
use axum::extract::State;
use serde::Deserialize;
use shared::access::{AuthorizedRepository, AuthorizedTeam, Permission, Scope};
use shared::body::{RepositoryBody, TeamRepositoryBody};
use shared::model::{Author, Role, TeamGrant};
use shared::{App, Endpoint, ErrorCode, InitError, Result, Route, extract};

/// The contract of the endpoint. The pipeline enforces it, and the templates and the OpenAPI document follow from it.
pub const ROUTE: Route = Route::put(env!("CARGO_PKG_NAME"), "/v1/teams/{team_id}/repositories/{repo_id}")
    .takes_body()
    .requires(Scope::TeamsWrite)
    .by(Role::Admin)
    .refuses_with(&[ErrorCode::LimitReached]);

/// Returns the endpoint with the app as its state.
pub fn endpoint(app: &App) -> Result<Endpoint, InitError> {
    Ok(Endpoint::new(ROUTE, add_team_repository, app.clone()))
}

/// The permission that the team gets.
#[derive(Debug, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Grant {
    permission: Permission,
}

/// Add a repository to a team
///
/// Grants the team's members a permission on the repository. Replaces the team's earlier permission. A team can have at
/// most 1,000 repositories. At most 50 teams can have the same permission on a repository.
#[utoipa::path(
    put, path = ROUTE.path, tag = "Teams", request_body = Grant, responses((status = 200, body = TeamRepositoryBody))
)]
pub async fn add_team_repository(
    State(app): State<App>,
    author: Author,
    team: AuthorizedTeam,
    repository: AuthorizedRepository,
    extract::Json(Grant { permission }): extract::Json<Grant>,
) -> Result<Json<TeamRepositoryBody>> {
    let grant = TeamGrant::set(app.table(), &team, &repository, permission, &author, app.clock().now()).await?;
    Ok(Json((grant, RepositoryBody::new(&repository, repository.tenant())?).into()))
}
