//! `POST /v1/teams`: creates an empty team.

use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use serde::Deserialize;
use shared::access::{Scope, Tenant};
use shared::body::TeamBody;
use shared::id::TeamId;
use shared::model::{Author, Description, Role, Team, TeamName};
use shared::precondition::Versioned;
use shared::{App, Endpoint, ErrorCode, InitError, Result, Route, extract};

/// The contract of the endpoint. The pipeline enforces it, and the templates and the OpenAPI document follow from it.
pub const ROUTE: Route = Route::post(env!("CARGO_PKG_NAME"), "/v1/teams")
    .takes_body()
    .requires(Scope::TeamsWrite)
    .by(Role::Admin)
    .refuses_with(&[ErrorCode::NameTaken])
    .sends_etag()
    .takes_idempotency_key()
    .sends_location();

/// Returns the endpoint with the app as its state.
pub fn endpoint(app: &App) -> Result<Endpoint, InitError> {
    Ok(Endpoint::new(ROUTE, create_team, app.clone()))
}

/// The team to create.
#[derive(Debug, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewTeam {
    name: TeamName,
    #[serde(default)]
    #[schema(default = "")]
    description: Description,
}

/// Create a team
///
/// Creates a team without members or repositories.
#[utoipa::path(post, path = ROUTE.path, tag = "Teams", request_body = NewTeam, responses((status = 201, body = TeamBody)))]
pub async fn create_team(
    State(app): State<App>,
    author: Author,
    tenant: Tenant,
    extract::Json(new): extract::Json<NewTeam>,
) -> Result<impl IntoResponse> {
    let now = app.clock().now();
    let team = Team {
        id: TeamId::random(),
        account_id: tenant.account().id.clone(),
        name: new.name,
        description: new.description,
        revision: 1,
        created_at: now,
        updated_at: now,
        deleting: false,
    };
    team.create(app.table(), &author).await?;
    let location = app.url(&format!("/v1/teams/{}", team.id));
    let body = Versioned(team.revision, TeamBody::from(team));
    Ok((StatusCode::CREATED, [(header::LOCATION, location)], body))
}
