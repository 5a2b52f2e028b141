//! `POST /v1/repositories/{repo_id}/deployments`: resolves the ref, writes the deployment and puts it in the queue.

mod preflight;
mod secret;
mod variables;

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::{FromRef, State};
use axum::http::{HeaderMap, HeaderName, StatusCode, header};
use axum::response::{IntoResponse, Response};
use futures_util::future::{join, try_join3};
use git::{CloneUrl, Hosts, Revision};
use serde::Deserialize;
use shared::access::{AuthorizedRepository, Scope};
use shared::body::DeploymentBody;
use shared::extract::CanonicalJson;
use shared::id::DeploymentId;
use shared::model::{
    Deployment, DeploymentCounts, Environment, EnvironmentSettings, Fences, Idempotency, IdempotencyClaim,
    IdempotencyKey, KnownRef, NewDeployment, Repository,
};
use shared::queue::Queue;
use shared::table::TableError;
use shared::{App, Endpoint, Error, ErrorCode, InitError, Result, Route};
use vault::Vault;

use preflight::preflight;
pub use preflight::{GateBody, PreflightBody};
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

/// The longest time for which a ref that was read from the remote is reused. It is short, so that a push deploys a
/// second later, and spares the remote a burst of deployments.
const MAX_REF_AGE: Duration = Duration::from_secs(1);

pub fn endpoint(app: &App) -> Result<Endpoint, InitError> {
    let creation = Creation {
        hosts: git::hosts(app.settings())?,
        queue: Queue::new(app)?,
        vault: Arc::new(Vault::new(app)?),
        app: app.clone(),
    };
    Ok(Endpoint::new(ROUTE, create_deployment, creation).finds_early::<Repository>().calls_at_once(3))
}

#[derive(Clone)]
pub struct Creation {
    app: App,
    hosts: Hosts,
    queue: Queue,
    vault: Arc<Vault>,
}

impl FromRef<Creation> for App {
    fn from_ref(creation: &Creation) -> App {
        creation.app.clone()
    }
}

#[derive(Debug, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields, expecting = "an object")]
#[schema(as = NewDeployment)]
pub struct DeploymentRequest {
    /// A branch, a tag, a full commit SHA or a full ref name. A branch takes precedence over a tag of the same name.
    #[schema(examples("main"))]
    r#ref: String,
    #[serde(default)]
    #[schema(default = "preview")]
    environment: Environment,
    #[serde(default)]
    variables: Variables,
    /// The deployment that must be live in the environment (in preview: for this ref). If another one is live, the
    /// request is refused.
    #[schema(examples("deploy_k3vyq2w7x5m4n6pa"))]
    expected_current: Option<DeploymentId>,
    /// A number that the client increases with each deployment to the environment (in preview: of this ref). If it is
    /// not above the last one, the request is refused.
    #[schema(examples(42))]
    sequence: Option<u64>,
    /// Whether to return 200 with the outcome that the request would have, and change nothing.
    #[serde(default)]
    #[schema(default = false)]
    dry_run: bool,
}

/// Create a deployment
///
/// Triggers a new deployment pipeline for the specified repository. Returns immediately with a deployment ID. Resolves
/// the ref to a commit at once; that commit is deployed. A repeated request with the same `Idempotency-Key` within 24
/// hours returns the deployment that the first one created.
#[utoipa::path(
    post, path = ROUTE.path, tag = "Deployments", request_body = DeploymentRequest,
    params(("Idempotency-Key" = Option<String>, Header, description = "1 to 255 printable ASCII characters that stand for this request")),
    responses((status = 201, body = DeploymentBody), (status = 200, body = PreflightBody))
)]
pub async fn create_deployment(
    State(creation): State<Creation>,
    repository: AuthorizedRepository,
    headers: HeaderMap,
    CanonicalJson { value: request, text }: CanonicalJson<DeploymentRequest>,
) -> Result<Response> {
    let Creation { app, .. } = &creation;
    let key = idempotency_key(&headers)?;
    let revision = Revision::parse(&request.r#ref).map_err(|error| Error::invalid("ref", error.to_string()))?;
    if request.dry_run {
        let preflight = Box::pin(preflight(&creation, &repository, &request, &revision)).await?;
        return Ok(Json(preflight).into_response());
    }
    let basis = Basis::load(app, &repository, request.environment, &revision);
    let Some(key) = key else {
        let deployment = Box::pin(creation.create(&repository, request, &revision, basis.await, None)).await?;
        return Ok(created(app, deployment).into_response());
    };
    let asked = format!("{} {text}", repository.id);
    let (account, now) = (&repository.account_id, app.clock().now());
    let (claim, basis) = join(IdempotencyClaim::take(app.table(), account, &key, asked.as_bytes(), now), basis).await;
    match claim? {
        Idempotency::New(claim) => {
            let result = Box::pin(creation.create(&repository, request, &revision, basis, Some(claim.clone()))).await;
            if result.is_err()
                && let Err(error) = claim.release(app.table()).await
            {
                app.log().warn("an idempotency key could not be given back", &error);
            }
            Ok(created(app, result?).into_response())
        }
        Idempotency::Done(id) => {
            let deployment = Deployment::load(app.table(), account, &id).await?;
            let deployment = deployment.ok_or_else(|| Error::internal("a key's deployment is gone"))?;
            let replayed = [(HeaderName::from_static("idempotent-replayed"), "true")];
            Ok((replayed, created(app, deployment)).into_response())
        }
        Idempotency::InFlight => Err(Error::in_flight()),
        Idempotency::Reused => {
            let message = "Another request had this Idempotency-Key in the last 24 hours";
            Err(Error::new(ErrorCode::IdempotencyKeyReused, message))
        }
    }
}

fn idempotency_key(headers: &HeaderMap) -> Result<Option<IdempotencyKey>> {
    let Some(value) = headers.get("idempotency-key") else { return Ok(None) };
    let key = String::from_utf8_lossy(value.as_bytes()).parse::<IdempotencyKey>();
    key.map(Some).map_err(|error| Error::invalid("Idempotency-Key", error.to_string()))
}

fn created(app: &App, deployment: Deployment) -> (StatusCode, [(HeaderName, String); 1], Json<DeploymentBody>) {
    let body = DeploymentBody::new(app, deployment);
    (StatusCode::CREATED, [(header::LOCATION, body.url.clone())], Json(body))
}

/// The rows that decide a creation.
struct Basis {
    settings: EnvironmentSettings,
    counts: DeploymentCounts,
    known: Option<KnownRef>,
}

impl Basis {
    async fn load(
        app: &App,
        repository: &Repository,
        environment: Environment,
        revision: &Revision,
    ) -> Result<Self, TableError> {
        let (table, branch, partition) = (app.table(), revision.branch_name(), repository.partition());
        let (settings, counts, known) = try_join3(
            EnvironmentSettings::load(table, &repository.account_id, &repository.id, environment),
            DeploymentCounts::load(table, &partition),
            KnownRef::load(table, repository, &branch),
        )
        .await?;
        Ok(Self { settings, counts, known })
    }
}

impl Creation {
    async fn create(
        &self,
        repository: &AuthorizedRepository,
        request: DeploymentRequest,
        revision: &Revision,
        basis: Result<Basis, TableError>,
        idempotency: Option<IdempotencyClaim>,
    ) -> Result<Deployment> {
        let Self { app, hosts, queue, vault } = self;
        let (Basis { settings, counts, known }, environment) = (basis?, request.environment);
        settings.admit(environment)?;
        let resolved = resolve(app, *hosts, repository, revision, known).await?;

        let id = DeploymentId::random();
        let context = Deployment::sealing_context(&repository.account_id, &id);
        let new = NewDeployment {
            sealed_variables: request.variables.seal(vault, &context).await?,
            id,
            environment,
            git_ref: request.r#ref,
            ref_name: resolved.name,
            sha: resolved.sha,
            tip: resolved.tip,
            required_approvals: settings.required_approvals,
            origin: None,
            fences: Fences { expected_current: request.expected_current, sequence: request.sequence },
            idempotency,
        };
        let by = repository.tenant().user_id();
        let deployment = Deployment::create(app.table(), repository, &counts, new, by, app.clock().now()).await?;
        queue.announce(app, &deployment, &settings).await;
        Ok(deployment)
    }
}

/// The commit that a revision names.
struct Resolved {
    sha: String,
    /// The ref's full name, unless it is a commit.
    name: Option<String>,
    /// The ref to remember, if it was read from the remote.
    tip: Option<KnownRef>,
}

async fn resolve(
    app: &App,
    hosts: Hosts,
    repository: &AuthorizedRepository,
    revision: &Revision,
    known: Option<KnownRef>,
) -> Result<Resolved> {
    let now = app.clock().now();
    if let Some(known) = known.filter(|known| now.since(known.read_at) <= MAX_REF_AGE) {
        return Ok(Resolved { sha: known.sha, name: Some(known.name), tip: None });
    }
    let url = CloneUrl::parse(&repository.clone_url, hosts)?;
    if let Some(sha) = revision.sha() {
        let exists = git::has_commit(&url, sha).await?;
        let resolved = Resolved { sha: sha.to_string(), name: None, tip: None };
        return exists.then_some(resolved).ok_or_else(|| git::not_found(revision));
    }
    let refs = git::list_refs(&url).await?;
    let found = refs.resolve(revision).ok_or_else(|| git::not_found(revision))?;
    let sha = found.sha.to_string();
    let tip = found.name.map(|name| KnownRef { name, sha: sha.clone(), read_at: now });
    Ok(Resolved { sha, name: tip.as_ref().map(|tip| tip.name.clone()), tip })
}
