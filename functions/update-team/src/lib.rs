//! `PATCH /v1/teams/{team_id}`: changes a team's name or description.

use axum::extract::State;
use serde::Deserialize;
use shared::access::{AuthorizedTeam, Scope};
use shared::body::TeamBody;
use shared::model::{Author, Description, Role, TeamChange, TeamName};
use shared::precondition::{IfMatch, Versioned};
use shared::{App, Endpoint, ErrorCode, InitError, Result, Route, extract};

/// The contract of the endpoint. The pipeline enforces it, and the templates and the OpenAPI document follow from it.
pub const ROUTE: Route = Route::patch(env!("CARGO_PKG_NAME"), "/v1/teams/{team_id}")
    .takes_body()
    .requires(Scope::TeamsWrite)
    .by(Role::Admin)
    .refuses_with(&[ErrorCode::NameTaken])
    .compares_etag();

/// Returns the endpoint with the app as its state.
pub fn endpoint(app: &App) -> Result<Endpoint, InitError> {
    Ok(Endpoint::new(ROUTE, update_team, app.clone()))
}

/// The fields to change. An absent field keeps its value.
#[derive(Debug, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct TeamPatch {
    #[serde(default, deserialize_with = "extract::given")]
    #[schema(required = false, nullable = false)]
    name: Option<TeamName>,
    #[serde(default, deserialize_with = "extract::given")]
    #[schema(required = false, nullable = false)]
    description: Option<Description>,
}

/// Update a team
///
/// Changes the given fields.
#[utoipa::path(
    patch, path = ROUTE.path, tag = "Teams", request_body = TeamPatch,
    responses((status = 200, body = TeamBody))
)]
pub async fn update_team(
    State(app): State<App>,
    author: Author,
    team: AuthorizedTeam,
    expected: IfMatch,
    extract::Json(TeamPatch { name, description }): extract::Json<TeamPatch>,
) -> Result<Versioned<u64, TeamBody>> {
    let tenant = team.tenant().clone();
    let (change, now) = (TeamChange { name, description }, app.clock().now());
    let expected = |team: &shared::model::Team| expected.check(team.revision);
    let changed = team.into_inner().change(app.table(), &tenant, change, expected, &author, now).await?;
    Ok(Versioned(changed.revision, changed.into()))
}
