//! `POST /v1/repositories/{repo_id}/rollback`: deploys again a commit that succeeded before.

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderName, StatusCode, header};
use redeploy::{Redeployer, StoredVersions};
use serde::Deserialize;
use shared::access::{AuthorizedRepository, Scope};
use shared::body::{DeploymentBody, OverrideBody};
use shared::id::DeploymentId;
use shared::model::{
    Author, Deployment, DeploymentCounts, Destination, Environment, Lane, LaneKey, OriginKind, Status,
};
use shared::{App, Endpoint, Error, ErrorCode, InitError, Result, Route, extract};

/// The contract of the endpoint. The pipeline enforces it, and the templates and the OpenAPI document follow from it.
pub const ROUTE: Route = Route::post(env!("CARGO_PKG_NAME"), "/v1/repositories/{repo_id}/rollback")
    .takes_body()
    .requires(Scope::DeploymentsWrite)
    .refuses_with(&[
        ErrorCode::NothingToRollBack,
        ErrorCode::EnvironmentFrozen,
        ErrorCode::MachineNotAllowed,
        ErrorCode::LimitReached,
        ErrorCode::BuildMinutesExhausted,
    ])
    .takes_idempotency_key()
    .sends_location();

/// Returns the endpoint with its clients.
///
/// # Errors
/// Fails if a setting is missing or malformed.
pub fn endpoint(app: &App) -> Result<Endpoint, InitError> {
    Ok(Endpoint::new(ROUTE, create_rollback, Redeployer::new(app)?).calls_at_once(3))
}

/// The environment to roll back, and the deployment to return to.
#[derive(Debug, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = NewRollback)]
pub struct RollbackRequest {
    environment: Environment,
    /// The deployment to roll back to. Default: the last one that succeeded before the live one. If the live one is
    /// itself a rollback, the last one that succeeded before its origin. Required in preview, where each ref has its
    /// own live deployment.
    #[schema(examples("deploy_k3vyq2w7x5m4n6pa"))]
    deployment_id: Option<DeploymentId>,
    /// The versions of the variables of the account, the repository and the environment: those of the earlier deployment (`frozen`), or
    /// the `current` ones.
    #[serde(default)]
    #[schema(default = "frozen")]
    stored_variables: StoredVersions,
    /// Lets the rollback through a freeze and the wait timer. Needs the permission `admin` on the repository and the scope
    /// `repositories:write`. Approvals are needed all the same.
    r#override: Option<OverrideBody>,
}

/// Roll back
///
/// Creates a deployment that repeats an earlier, successful deployment to the environment: its commit and its
/// variables, in the versions that they had then. `origin` names the earlier deployment.
#[utoipa::path(
    post, path = ROUTE.path, tag = "Deployments", request_body = RollbackRequest,
    responses((status = 201, body = DeploymentBody))
)]
pub async fn create_rollback(
    State(redeployer): State<Redeployer>,
    author: Author,
    repository: AuthorizedRepository,
    extract::Json(request): extract::Json<RollbackRequest>,
) -> Result<(StatusCode, [(HeaderName, String); 1], Json<DeploymentBody>)> {
    repository.tenant().check_environment(request.environment)?;
    if request.r#override.is_some() {
        repository.tenant().check_override(&repository)?;
    }
    let app = &redeployer.app;
    exists(app, &repository, request.environment).await?;
    let target = match &request.deployment_id {
        Some(id) => named(app, &repository, request.environment, id).await?,
        None if request.environment.has_lane_per_ref() => {
            let message = "is required in preview, because each ref has its own live deployment";
            return Err(Error::invalid("deployment_id", message));
        }
        None => before_live(app, &repository, request.environment).await?,
    };
    let (stored, given) = (request.stored_variables, request.r#override);
    let rollback = redeployer.repeat(&repository, &target, OriginKind::Rollback, stored, given, &author).await?;
    let body = DeploymentBody::new(app, rollback);
    Ok((StatusCode::CREATED, [(header::LOCATION, body.url.clone())], Json(body)))
}

/// Fails if the repository neither has the environment nor can create it from a pattern.
async fn exists(app: &App, repository: &AuthorizedRepository, environment: Environment) -> Result<()> {
    if environment.is_pattern() {
        return Err(Error::invalid("environment", "must name one environment, such as 'review-42', and no pattern"));
    }
    if environment.is_built_in() || Destination::load(app.table(), repository, environment).await?.is_some() {
        return Ok(());
    }
    let counts = DeploymentCounts::load(app.table(), &repository.partition()).await?;
    Err(counts.invalid_environment("environment", environment))
}

async fn named(
    app: &App,
    repository: &AuthorizedRepository,
    environment: Environment,
    id: &DeploymentId,
) -> Result<Deployment> {
    let found = Deployment::load(app.table(), &repository.account_id, id).await?;
    match found.filter(|found| found.repository_id == repository.id && found.environment == environment) {
        Some(found) if found.status == Status::Succeeded => Ok(found),
        Some(_) => Err(Error::invalid("deployment_id", "must name a deployment that succeeded")),
        None => Err(Error::invalid("deployment_id", "must name a deployment of this repository to this environment")),
    }
}

async fn before_live(app: &App, repository: &AuthorizedRepository, environment: Environment) -> Result<Deployment> {
    let nothing = |message: &str| Error::new(ErrorCode::NothingToRollBack, message.to_owned());
    let lane = LaneKey::new(&repository.account_id, &repository.id, environment, "");
    let lane = Lane::load(app.table(), &lane).await?;
    let live = lane.lock.live.ok_or_else(|| nothing("No deployment to the environment has succeeded yet"))?;
    let current = Deployment::load(app.table(), &repository.account_id, &live.deployment_id).await?;
    let went_back_to = current.and_then(|current| current.origin).filter(|origin| origin.kind == OriginKind::Rollback);
    let before = went_back_to.map_or(live.number, |origin| origin.number);
    let found = Deployment::last_succeeded_before(app.table(), repository, environment, Some(before)).await?;
    found.ok_or_else(|| nothing("No deployment to the environment succeeded before the live one"))
}
