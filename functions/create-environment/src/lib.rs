//! `POST /v1/repositories/{repo_id}/environments`: creates an environment, or a pattern whose members deployments create.

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderName, StatusCode, header};
use serde::Deserialize;
use shared::access::{AuthorizedRepository, Permission, Scope};
use shared::body::EnvironmentBody;
use shared::extract::{self, Whole};
use shared::model::{
    Author, DEFAULT_REMOVED_AFTER_DAYS, Environment, EnvironmentState, NewEnvironment, REMOVED_AFTER_DAYS, Repository,
};
use shared::{App, Endpoint, Error, ErrorCode, InitError, Result, Route};

/// The contract of the endpoint. The pipeline enforces it, and the templates and the OpenAPI document follow from it.
pub const ROUTE: Route = Route::post(env!("CARGO_PKG_NAME"), "/v1/repositories/{repo_id}/environments")
    .takes_body()
    .requires(Scope::RepositoriesWrite)
    .needs(Permission::Admin)
    .refuses_with(&[ErrorCode::NameTaken, ErrorCode::LimitReached])
    .sends_location()
    .takes_idempotency_key();

/// Returns the endpoint with the app as its state.
pub fn endpoint(app: &App) -> Result<Endpoint, InitError> {
    Ok(Endpoint::new(ROUTE, create_environment, app.clone()).finds_early::<Repository>())
}

type Days = Whole<u16, { *REMOVED_AFTER_DAYS.start() as u64 }, { *REMOVED_AFTER_DAYS.end() as u64 }>;

/// The environment to create.
#[derive(Debug, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = NewEnvironment)]
pub struct EnvironmentRequest {
    name: Environment,
    /// The time without a deployment after which a member of the pattern is removed, in days. Default: 30. Only for a name that
    /// ends with `*`.
    #[schema(value_type = Option<u16>, minimum = 1, maximum = 365, examples(14))]
    removed_after_days: Option<Days>,
}

/// Create an environment
///
/// Creates an environment with the default settings, in which all deployments share one queue. A name that ends with `*` makes
/// a pattern: a deployment to an environment whose name begins like the pattern creates it with the settings that the pattern
/// has then, and it is removed if nothing is deployed to it for some days. A repository can have 100 environments besides
/// `preview`, `staging` and `production`, its patterns among them.
#[utoipa::path(
    post, path = ROUTE.path, tag = "Environments", request_body = EnvironmentRequest,
    responses((status = 201, body = EnvironmentBody))
)]
pub async fn create_environment(
    State(app): State<App>,
    author: Author,
    repository: AuthorizedRepository,
    extract::Json(new): extract::Json<EnvironmentRequest>,
) -> Result<(StatusCode, [(HeaderName, String); 1], Json<EnvironmentBody>)> {
    let (name, days) = (new.name, new.removed_after_days.map(Whole::get));
    if days.is_some() && !name.is_pattern() {
        let message = "must be null unless the name ends with '*'; other environments are never removed";
        return Err(Error::invalid("removed_after_days", message));
    }
    let removed_after_days = name.is_pattern().then(|| days.unwrap_or(DEFAULT_REMOVED_AFTER_DAYS));
    let new = NewEnvironment { name, removed_after_days };
    let now = app.clock().now();
    let settings = new.create(app.table(), &repository, &author, now).await?;
    let url = app.url(&format!("/v1/repositories/{}/environments/{name}", repository.id));
    let state = EnvironmentState::with_settings(app.table(), &repository, name, settings).await?;
    Ok((StatusCode::CREATED, [(header::LOCATION, url)], Json(EnvironmentBody::new(state, now))))
}
