//! `POST /v1/repositories/{repo_id}/deployments`: resolves the ref, writes the deployment and puts it in the queue.

mod variables;

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::{FromRef, State};
use axum::http::{HeaderName, StatusCode, header};
use futures_util::future::try_join;
use git::{CloneUrl, Hosts, Revision};
use serde::Deserialize;
use shared::access::{AuthorizedRepository, Scope};
use shared::body::DeploymentBody;
use shared::id::DeploymentId;
use shared::model::{Deployment, DeploymentCounts, Environment, KnownRef, NewDeployment};
use shared::queue::Queue;
use shared::{App, Endpoint, Error, ErrorCode, InitError, Result, Route, extract};
use vault::Vault;

pub use variables::Variables;

pub const ROUTE: Route = Route::post(env!("CARGO_PKG_NAME"), "/v1/repositories/{repo_id}/deployments")
    .requires(Scope::DeploymentsWrite)
    .refuses_with(&[ErrorCode::InvalidCloneUrl, ErrorCode::InvalidRef, ErrorCode::RemoteUnavailable]);

/// A ref that was read from the remote longer ago is read again, so that what was pushed a second ago deploys. It only
/// saves the remote from a burst of deployments.
const MAX_REF_AGE: Duration = Duration::from_secs(1);

pub fn endpoint(app: &App) -> Result<Endpoint, InitError> {
    let creation = Creation {
        hosts: git::hosts(app.settings())?,
        queue: Queue::new(app)?,
        vault: Arc::new(Vault::new(app)?),
        app: app.clone(),
    };
    Ok(Endpoint::new(ROUTE, create_deployment, creation))
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
    /// Branch, tag, full commit SHA, or a full ref name. A branch wins over a tag of the same name.
    #[schema(examples("main"))]
    r#ref: String,
    #[serde(default)]
    #[schema(default = "preview")]
    environment: Environment,
    #[serde(default)]
    variables: Variables,
}

/// Create a deployment
///
/// Triggers a new deployment pipeline for the specified repository. Returns immediately with a deployment ID. The ref is
/// resolved now, and that commit is what gets deployed.
#[utoipa::path(
    post, path = ROUTE.path, tag = "Deployments", request_body = DeploymentRequest, responses((status = 201, body = DeploymentBody))
)]
pub async fn create_deployment(
    State(Creation { app, hosts, queue, vault }): State<Creation>,
    repository: AuthorizedRepository,
    extract::Json(request): extract::Json<DeploymentRequest>,
) -> Result<(StatusCode, [(HeaderName, String); 1], Json<DeploymentBody>)> {
    let revision = Revision::parse(&request.r#ref).map_err(|error| Error::invalid("ref", error.to_string()))?;
    let branch = revision.branch_name();
    let known = KnownRef::load(app.table(), &repository, &branch);
    let (known, counts) = try_join(known, DeploymentCounts::load(app.table(), &repository)).await?;
    let (sha, tip) = resolve(&app, hosts, &repository, &revision, known).await?;

    let id = DeploymentId::random();
    let context = Deployment::sealing_context(&repository.account_id, &id);
    let new = NewDeployment {
        sealed_variables: request.variables.seal(&vault, &context).await?,
        id,
        environment: request.environment,
        git_ref: request.r#ref,
        sha,
        tip,
    };
    let by = repository.tenant().user_id();
    let deployment = Deployment::create(app.table(), &repository, &counts, new, by, app.clock().now()).await?;
    // From here on the deployment exists. A message that is lost only makes it wait.
    if let Err(error) = queue.send(&deployment).await {
        app.log().warn("a deployment was created and could not be queued", &error);
    }
    let body = DeploymentBody::new(&app, deployment);
    Ok((StatusCode::CREATED, [(header::LOCATION, body.url.clone())], Json(body)))
}

/// The commit that a revision stands for, and the ref to remember if the remote was asked.
async fn resolve(
    app: &App,
    hosts: Hosts,
    repository: &AuthorizedRepository,
    revision: &Revision,
    known: Option<KnownRef>,
) -> Result<(String, Option<KnownRef>)> {
    let now = app.clock().now();
    if let Some(known) = known.filter(|known| now.since(known.read_at) <= MAX_REF_AGE) {
        return Ok((known.sha, None));
    }
    let url = CloneUrl::parse(&repository.clone_url, hosts)?;
    if let Some(sha) = revision.sha() {
        let exists = git::has_commit(&url, sha).await?;
        return exists.then(|| (sha.to_string(), None)).ok_or_else(|| git::not_found(revision));
    }
    let refs = git::list_refs(&url).await?;
    let found = refs.resolve(revision).ok_or_else(|| git::not_found(revision))?;
    let sha = found.sha.to_string();
    let tip = found.name.map(|name| KnownRef { name, sha: sha.clone(), read_at: now });
    Ok((sha, tip))
}
