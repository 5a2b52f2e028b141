//! `PATCH /v1/repositories/{repo_id}`: changes a repository's settings.

use axum::extract::State;
use connections::{Connections, OpenFailed, Source};
use serde::Deserialize;
use shared::access::{AuthorizedRepository, Scope};
use shared::body::RepositoryBody;
use shared::id::ConnectionId;
use shared::model::{
    Author, BuildImage, BuildPolicy, BuildspecPath, ComputeType, DeployRule, DeployRules, FetchDepth, Repository,
    RepositoryChange, RepositoryName, RootFolder, SourceSettings, Visibility,
};
use shared::precondition::{IfMatch, Versioned};
use shared::{App, Endpoint, Error, ErrorCode, InitError, Result, Route, With, extract};

/// The contract of the endpoint. The pipeline enforces it, and the templates and the OpenAPI document follow from it.
pub const ROUTE: Route = Route::patch(env!("CARGO_PKG_NAME"), "/v1/repositories/{repo_id}")
    .takes_body()
    .requires(Scope::RepositoriesWrite)
    .refuses_with(&[
        ErrorCode::InvalidCloneUrl,
        ErrorCode::InvalidRef,
        ErrorCode::NameTaken,
        ErrorCode::RemoteUnavailable,
    ])
    .compares_etag();

/// Returns the endpoint with its clients.
///
/// # Errors
/// Fails if a setting is missing or malformed.
pub fn endpoint(app: &App) -> Result<Endpoint, InitError> {
    let policy = BuildPolicy::of(app.settings())?;
    let clients = With(app.clone(), (Connections::new(app)?, policy));
    Ok(Endpoint::new(ROUTE, update_repository, clients))
}

/// The settings to change. An absent field keeps its value.
#[derive(Debug, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = RepositoryUpdate)]
pub struct Update {
    /// The new name. Reads of the old one are redirected until another repository takes it.
    #[serde(default, deserialize_with = "extract::given")]
    #[schema(required = false, nullable = false)]
    name: Option<RepositoryName>,
    /// An https URL, without credentials in it. It must lead to a repository that has the default branch.
    #[serde(default, deserialize_with = "extract::given")]
    #[schema(required = false, nullable = false, examples("https://git.example.com/acme/frontend-app.git"))]
    clone_url: Option<String>,
    /// The connection to the host of the clone URL whose credential reads the repository. `null` removes it, from a repository that
    /// everybody may read.
    #[serde(default, deserialize_with = "extract::given")]
    #[schema(value_type = Option<ConnectionId>)]
    connection_id: Option<Option<ConnectionId>>,
    /// The default branch. `null` resets it to the branch that the repository's HEAD names.
    #[serde(default, deserialize_with = "extract::given")]
    #[schema(value_type = Option<String>, examples("main"))]
    default_branch: Option<Option<String>>,
    #[serde(default, deserialize_with = "extract::given")]
    #[schema(required = false, nullable = false)]
    visibility: Option<Visibility>,
    /// The folder in which a build starts. `null` resets it to the repository's top.
    #[serde(default, deserialize_with = "extract::given")]
    #[schema(value_type = Option<RootFolder>)]
    root_folder: Option<Option<RootFolder>>,
    /// The path of the buildspec. `null` resets it to `buildspec.yml`.
    #[serde(default, deserialize_with = "extract::given")]
    #[schema(value_type = Option<BuildspecPath>)]
    buildspec_path: Option<Option<BuildspecPath>>,
    /// The number of commits of the history that a build has. `null` resets it to 1.
    #[serde(default, deserialize_with = "extract::given")]
    #[schema(value_type = Option<u16>, minimum = 1, maximum = 1000, examples(1))]
    fetch_depth: Option<Option<FetchDepth>>,
    /// Whether a build has the cache that its buildspec asks for, if the operator allows caches. `null` resets it to true.
    #[serde(default, deserialize_with = "extract::given")]
    #[schema(value_type = Option<bool>, examples(true))]
    cache: Option<Option<bool>>,
    /// The image of a build in AWS CodeBuild, for the architecture of the operator's machines and within what the operator allows.
    /// Other runners ignore it. `null` resets it to the operator's.
    #[serde(default, deserialize_with = "extract::given")]
    #[schema(value_type = Option<BuildImage>)]
    image: Option<Option<BuildImage>>,
    /// The size of the machine of a build in AWS CodeBuild, within what the operator allows. Other runners ignore it. `null` resets it
    /// to the operator's.
    #[serde(default, deserialize_with = "extract::given")]
    #[schema(value_type = Option<ComputeType>)]
    compute_type: Option<Option<ComputeType>>,
    /// Whether a build in AWS CodeBuild may run Docker, and so do anything on its machine, if the operator allows it. Other runners
    /// ignore it. `null` resets it to false.
    #[serde(default, deserialize_with = "extract::given")]
    #[schema(value_type = Option<bool>)]
    privileged: Option<Option<bool>>,
    /// The rules that say which pushes are deployed, at most 20, in place of the current ones. `null` removes all of them.
    #[serde(default, deserialize_with = "extract::given")]
    #[schema(value_type = Option<Vec<DeployRule>>, max_items = 20)]
    deploy_rules: Option<Option<DeployRules>>,
}

/// Update a repository
///
/// Changes the given settings. Contacts the git host at once if the clone URL, the connection or the default branch is among
/// them. A new clone URL, connection or build machine applies to deployments created afterwards. So do a new root folder, buildspec
/// path, fetch depth and cache, but a retry or a rollback keeps those of the deployment that it repeats. After a change of the name, a
/// `GET` with the old name is redirected to the repository, and other requests with it get 404.
#[utoipa::path(
    patch, path = ROUTE.path, tag = "Repositories", request_body = Update, responses((status = 200, body = RepositoryBody))
)]
pub async fn update_repository(
    State(With(app, (connections, policy))): State<With<(Connections, BuildPolicy)>>,
    author: Author,
    repository: AuthorizedRepository,
    expected: IfMatch,
    extract::Json(update): extract::Json<Update>,
) -> Result<Versioned<String, RepositoryBody>> {
    let environments = match &update.deploy_rules {
        Some(Some(rules)) => repository.check_environments(app.table(), rules.environments()).await,
        _ => Ok(()),
    };
    let defaults = SourceSettings::default();
    let mut change = RepositoryChange {
        name: update.name,
        visibility: update.visibility,
        root_folder: update.root_folder.map(Option::unwrap_or_default),
        buildspec_path: update.buildspec_path.map(Option::unwrap_or_default),
        fetch_depth: update.fetch_depth.map(|depth| depth.map_or(defaults.fetch_depth, FetchDepth::get)),
        cache: update.cache.map(|cache| cache.unwrap_or(defaults.cache)),
        image: update.image,
        compute_type: update.compute_type,
        privileged: update.privileged.map(Option::unwrap_or_default),
        deploy_rules: update.deploy_rules.map(Option::unwrap_or_default),
        ..RepositoryChange::default()
    };
    let settings = Error::all([environments, policy.check(&change.machine(), update.cache.flatten())]);
    let place = Place { clone_url: update.clone_url, connection_id: update.connection_id };
    let place = at_remote(&connections, &repository, place, update.default_branch).await;
    let ((place, default_branch), ()) = Error::both(place, settings)?;
    (change.clone_url, change.connection_id, change.default_branch) =
        (place.clone_url, place.connection_id, default_branch);
    let tenant = repository.tenant().clone();
    let expected = |repository: &Repository| expected.check(repository.version());
    let now = app.clock().now();
    let changed = repository.into_inner().change(app.table(), &tenant, change, expected, &author, now).await?;
    Ok(Versioned(changed.version(), RepositoryBody::new(&changed, &tenant)?))
}

/// The new place of a repository, with the connection that opens it. Absent parts stay as they are.
#[derive(Default)]
struct Place {
    clone_url: Option<String>,
    connection_id: Option<Option<ConnectionId>>,
}

/// Checks a new place and a new default branch at the git host. Returns those that the change needs. A clone URL and a connection
/// that were checked together are changed together, whatever another request does meanwhile.
async fn at_remote(
    connections: &Connections,
    repository: &Repository,
    place: Place,
    default_branch: Option<Option<String>>,
) -> Result<(Place, Option<String>)> {
    let unchanged = Source::from(repository);
    match (place, default_branch) {
        (Place { clone_url: None, connection_id: None }, None) => Ok((Place::default(), None)),
        (Place { clone_url: None, connection_id: None }, Some(wanted)) => {
            let remote = connections.remote(unchanged).await;
            let remote = remote.map_err(|failed| failed.of_repository(&repository.clone_url))?;
            let branch = git::default_branch(&remote, wanted, |error| remote.url().unreadable(error)).await?;
            Ok((Place::default(), Some(branch)))
        }
        (Place { clone_url, connection_id }, wanted) => {
            let connection = connection_id.unwrap_or_else(|| repository.connection_id.clone());
            let url = clone_url.as_deref().unwrap_or(unchanged.clone_url);
            let source = Source { clone_url: url, connection: connection.as_ref(), ..unchanged };
            let remote = connections.remote(source).await.map_err(OpenFailed::in_body)?;
            let wanted = wanted.unwrap_or_else(|| Some(repository.default_branch.clone()));
            let branch = git::default_branch(&remote, wanted, |error| match clone_url {
                Some(_) => git::unreadable_field(error),
                None => remote.url().unreadable(error),
            });
            let branch = branch.await?;
            let place = Place { clone_url: Some(remote.url().to_string()), connection_id: Some(connection) };
            Ok((place, Some(branch)))
        }
    }
}
