//! `POST /v1/repositories`: registers a git repository, after reading its refs.

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderName, StatusCode, header};
use connections::{Connections, OpenFailed, Source};
use serde::Deserialize;
use shared::access::{Scope, Tenant};
use shared::body::RepositoryBody;
use shared::id::{ConnectionId, RepositoryId};
use shared::model::{
    Author, BuildImage, BuildMachine, BuildPolicy, BuildspecPath, ComputeType, DeployRule, DeployRules,
    DeploymentCounts, FetchDepth, Grants, Repository, RepositoryName, Role, RootFolder, SourceSettings, Visibility,
};
use shared::{App, Endpoint, Error, ErrorCode, InitError, Result, Route, With, extract};

/// The contract of the endpoint. The pipeline enforces it, and the templates and the OpenAPI document follow from it.
pub const ROUTE: Route = Route::post(env!("CARGO_PKG_NAME"), "/v1/repositories")
    .takes_body()
    .requires(Scope::RepositoriesWrite)
    .by(Role::Admin)
    .refuses_with(&[
        ErrorCode::InvalidCloneUrl,
        ErrorCode::InvalidRef,
        ErrorCode::NameTaken,
        ErrorCode::RemoteUnavailable,
    ])
    .takes_idempotency_key()
    .sends_location();

/// Returns the endpoint with its clients.
///
/// # Errors
/// Fails if a setting is missing or malformed.
pub fn endpoint(app: &App) -> Result<Endpoint, InitError> {
    let policy = BuildPolicy::of(app.settings())?;
    let clients = With(app.clone(), (Connections::new(app)?, policy));
    Ok(Endpoint::new(ROUTE, create_repository, clients))
}

/// The repository to register.
#[derive(Debug, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewRepository {
    name: RepositoryName,
    /// An https URL, without credentials in it.
    #[schema(examples("https://git.example.com/acme/frontend-app.git"))]
    clone_url: String,
    /// The connection to the host of `clone_url` whose credential reads the repository. Default: none, for a repository that
    /// everybody may read.
    connection_id: Option<ConnectionId>,
    #[serde(default = "private")]
    #[schema(default = "private")]
    visibility: Visibility,
    /// The default branch. Default: the branch that the repository's HEAD names.
    #[schema(examples("main"))]
    default_branch: Option<String>,
    #[serde(default)]
    root_folder: RootFolder,
    #[serde(default)]
    #[schema(default = "buildspec.yml")]
    buildspec_path: BuildspecPath,
    /// The number of commits of the history that a build has.
    #[serde(default)]
    #[schema(value_type = Option<u16>, minimum = 1, maximum = 1000, default = 1)]
    fetch_depth: Option<FetchDepth>,
    /// Whether a build has the cache that its buildspec asks for, if the operator allows caches.
    #[schema(default = true)]
    cache: Option<bool>,
    /// The image of a build in AWS CodeBuild, for the architecture of the operator's machines and within what the operator allows.
    /// Default: the operator's. Other runners ignore it.
    image: Option<BuildImage>,
    /// The size of the machine of a build in AWS CodeBuild, within what the operator allows. Default: the operator's. Other runners
    /// ignore it.
    compute_type: Option<ComputeType>,
    /// Whether a build in AWS CodeBuild may run Docker, and so do anything on its machine, if the operator allows it. Other runners
    /// ignore it.
    #[serde(default)]
    #[schema(default = false)]
    privileged: bool,
    /// The rules that say which pushes are deployed, and to which environment, at most 20. The first rule whose `refs` match
    /// decides.
    #[serde(default)]
    #[schema(value_type = Vec<DeployRule>, max_items = 20, default = json!([]))]
    deploy_rules: DeployRules,
}

fn private() -> Visibility {
    Visibility::Private
}

/// Create a repository
///
/// Registers a git repository in the account. Contacts its git host at once, and refuses a URL that can't be cloned or
/// a default branch that does not exist. A repository without commits may have any default branch.
#[utoipa::path(post, path = ROUTE.path, tag = "Repositories", request_body = NewRepository, responses((status = 201, body = RepositoryBody)))]
pub async fn create_repository(
    State(With(app, (connections, policy))): State<With<(Connections, BuildPolicy)>>,
    author: Author,
    tenant: Tenant,
    extract::Json(new): extract::Json<NewRepository>,
) -> Result<(StatusCode, [(HeaderName, String); 1], Json<RepositoryBody>)> {
    // A new repository has no other environments yet.
    let unknown = new.deploy_rules.environments().filter(|(_, name)| !name.is_built_in());
    let refused = |(field, name): (String, _)| Err(DeploymentCounts::default().invalid_environment(&field, name));
    let environments = Error::all(unknown.map(refused));
    let machine = BuildMachine { image: new.image, compute_type: new.compute_type, privileged: new.privileged };
    let settings = Error::all([environments, policy.check(&machine, new.cache)]);
    let (account, connection) = (&tenant.account().id, new.connection_id.as_ref());
    let source = Source { account, clone_url: &new.clone_url, connection };
    let place = at_remote(&connections, source, new.default_branch).await;
    let ((clone_url, default_branch), ()) = Error::both(place, settings)?;
    let defaults = SourceSettings::default();
    let source = SourceSettings {
        root_folder: new.root_folder,
        buildspec_path: new.buildspec_path,
        fetch_depth: new.fetch_depth.map_or(defaults.fetch_depth, FetchDepth::get),
        cache: new.cache.unwrap_or(defaults.cache),
    };
    let now = app.clock().now();
    let repository = Repository {
        id: RepositoryId::random(),
        account_id: tenant.account().id.clone(),
        account_slug: tenant.account().slug.clone(),
        name: new.name,
        visibility: new.visibility,
        clone_url,
        connection_id: new.connection_id,
        default_branch,
        source,
        machine,
        deploy_rules: new.deploy_rules,
        revision: 0,
        created_at: now,
        updated_at: now,
        grants: Grants::default(),
    };
    repository.create(app.table(), &author).await?;
    let location = app.url(&format!("/v1/repositories/{}", repository.id));
    Ok((StatusCode::CREATED, [(header::LOCATION, location)], Json(RepositoryBody::new(&repository, &tenant)?)))
}

/// Checks the place of a repository and its default branch at the git host. Returns both as the host has them.
async fn at_remote(connections: &Connections, source: Source<'_>, wanted: Option<String>) -> Result<(String, String)> {
    let remote = connections.remote(source).await.map_err(OpenFailed::in_body)?;
    let default_branch = git::default_branch(&remote, wanted, git::unreadable_field).await?;
    Ok((remote.url().to_string(), default_branch))
}
