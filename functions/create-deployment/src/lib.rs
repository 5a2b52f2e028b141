//! `POST /v1/repositories/{repo_id}/deployments`: resolves the ref, writes the deployment and queues it.

mod creation;
mod preflight;
mod request;
mod resolved_ref;
mod secret;
mod variables;

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderName, StatusCode, header};
use axum::response::{IntoResponse, Response};
use futures_util::future::join;
use git::Revision;
use shared::access::{AuthorizedRepository, Scope};
use shared::body::DeploymentBody;
use shared::extract::CanonicalJson;
use shared::model::{Deployment, Idempotency, IdempotencyClaim, IdempotencyKey, Repository};
use shared::{App, Endpoint, Error, ErrorCode, InitError, Result, Route};

use crate::creation::Snapshot;
use crate::preflight::preflight;

pub use creation::Creation;
pub use preflight::{GateBody, PreflightBody};
pub use request::DeploymentRequest;
pub use variables::Variables;

pub const ROUTE: Route = Route::post(env!("CARGO_PKG_NAME"), "/v1/repositories/{repo_id}/deployments")
    .requires(Scope::DeploymentsWrite)
    .refuses_with(&[
        ErrorCode::InvalidCloneUrl,
        ErrorCode::InvalidRef,
        ErrorCode::EnvironmentFrozen,
        ErrorCode::StaleRequest,
        ErrorCode::IdempotencyKeyInUse,
        ErrorCode::IdempotencyKeyReused,
        ErrorCode::RemoteUnavailable,
    ])
    .sends_location();

pub fn endpoint(app: &App) -> Result<Endpoint, InitError> {
    let creation = Creation::new(app)?;
    Ok(Endpoint::new(ROUTE, create_deployment, creation).finds_early::<Repository>().calls_at_once(3))
}

/// Create a deployment
///
/// Triggers a new deployment pipeline for the specified repository. Returns immediately with a deployment ID. Resolves
/// the ref to a commit at once, and deploys that commit. A request that is repeated with the same `Idempotency-Key`
/// within 24 hours returns the deployment that the first request created.
#[utoipa::path(
    post, path = ROUTE.path, tag = "Deployments", request_body = DeploymentRequest,
    params((
        "Idempotency-Key" = Option<String>, Header,
        description = "A key of your choice for this request: 1 to 255 printable ASCII characters"
    )),
    responses((status = 201, body = DeploymentBody), (status = 200, body = PreflightBody))
)]
pub async fn create_deployment(
    State(creation): State<Creation>,
    repository: AuthorizedRepository,
    headers: HeaderMap,
    CanonicalJson { value: request, text }: CanonicalJson<DeploymentRequest>,
) -> Result<Response> {
    let app = &creation.app;
    let key = idempotency_key(&headers)?;
    let revision = Revision::parse(&request.r#ref).map_err(|error| Error::invalid("ref", error.to_string()))?;
    if request.dry_run {
        return Ok(Json(preflight(&creation, &repository, &request, &revision).await?).into_response());
    }
    let snapshot = Snapshot::load(app, &repository, request.environment);
    let Some(key) = key else {
        let deployment = creation.create(&repository, request, &revision, snapshot.await?, None).await?;
        return Ok(created(app, deployment));
    };
    let (account, content) = (&repository.account_id, format!("{} {text}", repository.id));
    let claim = IdempotencyClaim::take(app.table(), account, &key, content.as_bytes(), app.clock().now());
    let (claim, snapshot) = join(claim, snapshot).await;
    match claim? {
        Idempotency::New(claim) => {
            let deployment = creation.create_claimed(&repository, request, &revision, snapshot, claim).await?;
            Ok(created(app, deployment))
        }
        Idempotency::Done(id) => {
            let deployment = Deployment::load(app.table(), account, &id).await?;
            let deployment = deployment.ok_or_else(|| Error::internal("an idempotency key's deployment has no row"))?;
            Ok(([(HeaderName::from_static("idempotent-replayed"), "true")], created(app, deployment)).into_response())
        }
        Idempotency::InFlight => Err(Error::in_flight()),
        Idempotency::Reused => {
            let message = "A different request used this Idempotency-Key in the last 24 hours; use a new key";
            Err(Error::new(ErrorCode::IdempotencyKeyReused, message))
        }
    }
}

fn idempotency_key(headers: &HeaderMap) -> Result<Option<IdempotencyKey>> {
    let Some(value) = headers.get("idempotency-key") else { return Ok(None) };
    let key = String::from_utf8_lossy(value.as_bytes()).parse::<IdempotencyKey>();
    key.map(Some).map_err(|error| Error::invalid("Idempotency-Key", error.to_string()))
}

fn created(app: &App, deployment: Deployment) -> Response {
    let body = DeploymentBody::new(app, deployment);
    (StatusCode::CREATED, [(header::LOCATION, body.url.clone())], Json(body)).into_response()
}
