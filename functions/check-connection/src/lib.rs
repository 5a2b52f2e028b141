//! `POST /v1/connections/{connection_id}/check`: tries the credential of a connection.

mod check;

use axum::Json;
use axum::extract::State;
use connections::Connections;
use git::CloneUrl;
use serde::{Deserialize, Serialize};
use shared::access::{AuthorizedConnection, Scope};
use shared::model::{Connection, GitHost, Provider, Role};
use shared::{App, Endpoint, Error, ErrorCode, InitError, Result, Route, extract};

/// The contract of the endpoint. The pipeline enforces it, and the templates and the OpenAPI document follow from it.
pub const ROUTE: Route = Route::post(env!("CARGO_PKG_NAME"), "/v1/connections/{connection_id}/check")
    .takes_body()
    .requires(Scope::RepositoriesWrite)
    .by(Role::Admin)
    .refuses_with(&[ErrorCode::InvalidCloneUrl]);

/// Returns the endpoint with its clients.
///
/// # Errors
/// Fails if a setting is missing or malformed.
pub fn endpoint(app: &App) -> Result<Endpoint, InitError> {
    Ok(Endpoint::new(ROUTE, check_connection, Connections::new(app)?))
}

/// The repository to try.
#[derive(Debug, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CheckRequest {
    /// The clone URL of a repository that the credential should read. Default: none is tried.
    #[schema(examples("https://git.example.com/acme/frontend-app.git"))]
    clone_url: Option<String>,
}

/// The outcome of a check.
#[derive(Debug, Serialize, utoipa::ToSchema)]
#[schema(as = ConnectionCheck)]
pub struct CheckBody {
    /// Whether the credential works: for the repository if one is given, or else for the API of the host.
    pub(crate) ok: bool,
    pub(crate) host: GitHost,
    pub(crate) provider: Provider,
    /// The account of the credential, as the host names it. Null if the host did not tell.
    #[schema(required, examples("deploy-bot"))]
    pub(crate) login: Option<String>,
    /// The repositories that the credential may read. Null if the host did not tell.
    #[schema(required)]
    pub(crate) repositories: Option<VisibleRepositoriesBody>,
    /// The outcome for the repository. Null if none was given.
    #[schema(required)]
    pub(crate) clone_url: Option<CloneUrlCheckBody>,
    /// A human-readable summary.
    #[schema(examples("git.example.com knows the credential as deploy-bot; it may read 12 repositories"))]
    pub(crate) message: String,
}

/// The repositories that a credential may read.
#[derive(Debug, Serialize, utoipa::ToSchema)]
#[schema(as = VisibleRepositories)]
pub struct VisibleRepositoriesBody {
    /// The number of all of them.
    #[schema(examples(12))]
    pub(crate) total: u64,
    /// The full names of the first 30.
    #[schema(examples("acme/frontend-app"))]
    pub(crate) names: Vec<String>,
}

/// The outcome of reading a repository.
#[derive(Debug, Serialize, utoipa::ToSchema)]
#[schema(as = CloneUrlCheck)]
pub struct CloneUrlCheckBody {
    /// Whether the repository can be read.
    pub(crate) ok: bool,
    /// A human-readable explanation.
    #[schema(examples("The repository can be read"))]
    pub(crate) message: String,
}

/// Check a connection
///
/// Tries the credential: asks the host's API whose it is and which repositories it may read, and reads the repository at
/// `clone_url` if one is given. A credential that does not work is an outcome and no error. Changes nothing.
#[utoipa::path(
    post, path = ROUTE.path, tag = "Connections", request_body = CheckRequest, responses((status = 200, body = CheckBody))
)]
pub async fn check_connection(
    State(app): State<App>,
    State(connections): State<Connections>,
    connection: AuthorizedConnection,
    extract::Json(request): extract::Json<CheckRequest>,
) -> Result<Json<CheckBody>> {
    let url = request.clone_url.map(|url| CloneUrl::parse(&url, connections.hosts())).transpose();
    let url = url.map_err(git::invalid_field)?;
    let sealed = Connection::load_sealed(app.table(), &connection.account_id, &connection.id).await?;
    let sealed = sealed.ok_or_else(|| Error::not_found("Connection"))?;
    check::check(&connections, &sealed, url).await.map(Json)
}
