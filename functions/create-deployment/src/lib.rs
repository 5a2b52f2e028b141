//! `POST /v1/repositories/{repo_id}/deployments`: resolves the ref, writes the deployment and queues it.

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderName, StatusCode, header};
use axum::response::{IntoResponse, Response};
use deploy::{Creation, DeploymentRequest, Snapshot};
use futures_util::future::join;
use shared::access::{AuthorizedRepository, Scope};
use shared::body::DeploymentBody;
use shared::extract::CanonicalJson;
use shared::model::{
    Author, Completed, Deployment, Idempotency, IdempotencyClaim, IdempotencyKey, IdempotencyScope, Repository,
};
use shared::{App, Endpoint, Error, ErrorCode, InitError, Result, Route};

/// The contract of the endpoint. The pipeline enforces it, and the templates and the OpenAPI document follow from it.
pub const ROUTE: Route = Route::post(env!("CARGO_PKG_NAME"), "/v1/repositories/{repo_id}/deployments")
    .takes_body()
    .requires(Scope::DeploymentsWrite)
    .refuses_with(&[
        ErrorCode::InvalidCloneUrl,
        ErrorCode::InvalidRef,
        ErrorCode::EnvironmentFrozen,
        ErrorCode::RefNotAllowed,
        ErrorCode::RequirementNotMet,
        ErrorCode::MachineNotAllowed,
        ErrorCode::LimitReached,
        ErrorCode::BuildMinutesExhausted,
        ErrorCode::StaleRequest,
        ErrorCode::RemoteUnavailable,
    ])
    .claims_idempotency_key()
    .sends_location();

/// The refusal of a field that other deployment APIs have.
const DRY_RUN_MOVED: &str = "is not a field of this request; for the outcome without a deployment, send the rest of the body to \
    POST /v1/repositories/{repo_id}/deployments/preflight";

/// Returns the endpoint with its clients.
///
/// # Errors
/// Fails if a setting is missing or malformed.
pub fn endpoint(app: &App) -> Result<Endpoint, InitError> {
    let creation = Creation::new(app)?;
    Ok(Endpoint::new(ROUTE, create_deployment, creation).finds_early::<Repository>().calls_at_once(5))
}

/// Create a deployment
///
/// Triggers a new deployment pipeline for the specified repository. Returns immediately with a deployment ID. Resolves
/// the ref to a commit at once, and deploys that commit. A request that is repeated with the same `Idempotency-Key`
/// within 24 hours returns the deployment that the first request created. A key is the actor's own, for one repository: the
/// same key of another user or application, or for another repository, is another request.
#[utoipa::path(
    post, path = ROUTE.path, tag = "Deployments", request_body = DeploymentRequest,
    responses((status = 201, body = DeploymentBody))
)]
pub async fn create_deployment(
    State(creation): State<Creation>,
    author: Author,
    repository: AuthorizedRepository,
    headers: HeaderMap,
    body: Result<CanonicalJson<DeploymentRequest>>,
) -> Result<Response> {
    let app = &creation.app;
    let CanonicalJson { value: request, canonical } =
        body.map_err(|error| DeploymentRequest::explain(error.explain("dry_run", DRY_RUN_MOVED), &repository))?;
    let request = request.in_environment_of_ref();
    let key = IdempotencyKey::of(&headers)?;
    repository.tenant().check_environment(request.environment)?;
    request.check_override(&repository)?;
    let revision = request.revision()?;
    let snapshot = Snapshot::load(app, repository.tenant().account(), &repository, request.environment);
    let Some(key) = key else {
        let deployment = creation.create(&repository, request, &revision, snapshot.await?, None, &author).await?;
        return Ok(created(app, deployment));
    };
    let (account, actor) = (&repository.account_id, author.user_id());
    let scope = IdempotencyScope { account, actor, endpoint: ROUTE.function, resource: repository.id.as_str() };
    let claim = IdempotencyClaim::take(app.table(), scope, &key, &canonical, app.clock().now());
    let (claim, snapshot) = join(claim, snapshot).await;
    match claim? {
        Idempotency::New(claim) => {
            let deployment = creation.create_claimed(&repository, request, &revision, snapshot, claim, &author).await?;
            Ok(created(app, deployment))
        }
        Idempotency::Done(Completed { target_id, .. }) => {
            let id = target_id.and_then(|id| id.parse().ok());
            let id = id.ok_or_else(|| Error::internal("an idempotency key names no deployment"))?;
            let deployment = Deployment::load(app.table(), account, &id).await?;
            let deployment = deployment.ok_or_else(|| Error::internal("an idempotency key's deployment has no row"))?;
            Ok(([(HeaderName::from_static("idempotent-replayed"), "true")], created(app, deployment)).into_response())
        }
        Idempotency::InFlight(lease) => Err(Error::in_flight(lease)),
        Idempotency::Reused => Err(Error::key_reused()),
    }
}

fn created(app: &App, deployment: Deployment) -> Response {
    let body = DeploymentBody::new(app, deployment);
    (StatusCode::CREATED, [(header::LOCATION, body.url.clone())], Json(body)).into_response()
}
