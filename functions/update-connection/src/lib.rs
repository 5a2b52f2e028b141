//! `PATCH /v1/connections/{connection_id}`: changes a connection, or replaces its secret.

use std::sync::Arc;

use axum::extract::State;
use providers::AppKey;
use serde::Deserialize;
use shared::access::{AuthorizedConnection, Scope};
use shared::body::ConnectionBody;
use shared::extract::{self, LARGEST, Whole};
use shared::model::{
    Author, Connection, ConnectionChange, DisplayName, GitPassword, GitUsername, Login, Provider, Role,
};
use shared::precondition::{IfMatch, Versioned};
use shared::{App, Endpoint, Error, ErrorCode, InitError, Result, Route, With};
use vault::Vault;

/// The contract of the endpoint. The pipeline enforces it, and the templates and the OpenAPI document follow from it.
pub const ROUTE: Route = Route::patch(env!("CARGO_PKG_NAME"), "/v1/connections/{connection_id}")
    .takes_body()
    .requires(Scope::RepositoriesWrite)
    .by(Role::Admin)
    .compares_etag();

/// Returns the endpoint with its dependencies.
///
/// # Errors
/// Fails if a setting is missing or malformed.
pub fn endpoint(app: &App) -> Result<Endpoint, InitError> {
    Ok(Endpoint::new(ROUTE, update_connection, With(app.clone(), Arc::new(Vault::new(app)?))))
}

/// The fields to change. An absent field keeps its value. The host and the kind can't be changed, because a credential is for its
/// host.
#[derive(Debug, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ConnectionPatch {
    #[serde(default, deserialize_with = "extract::given")]
    #[schema(required = false, nullable = false)]
    name: Option<DisplayName>,
    /// The software of the host. `null` resets it to the default. That of a `github_app` is always `github`.
    #[serde(default, deserialize_with = "extract::given")]
    #[schema(value_type = Option<Provider>)]
    provider: Option<Option<Provider>>,
    /// The user name. Only for `basic`.
    #[serde(default, deserialize_with = "extract::given")]
    #[schema(required = false, nullable = false)]
    username: Option<GitUsername>,
    /// The new password or token. Only for `basic`.
    #[serde(default, deserialize_with = "extract::given")]
    #[schema(required = false, nullable = false, write_only)]
    password: Option<GitPassword>,
    /// The new private key. Only for `github_app`.
    #[serde(default, deserialize_with = "extract::given")]
    #[schema(required = false, nullable = false, write_only)]
    private_key: Option<AppKey>,
    /// The app's installation. `null` lets it be found by each repository. Only for `github_app`.
    #[serde(default, deserialize_with = "extract::given")]
    #[schema(value_type = Option<u64>, minimum = 1, examples(987654))]
    installation_id: Option<Option<Whole<u64, 1, LARGEST>>>,
}

/// Update a connection
///
/// Changes the given fields. A new password or private key is used from now on, also by deployments that are queued.
#[utoipa::path(
    patch, path = ROUTE.path, tag = "Connections", request_body = ConnectionPatch,
    responses((status = 200, body = ConnectionBody))
)]
pub async fn update_connection(
    State(With(app, vault)): State<With<Arc<Vault>>>,
    author: Author,
    connection: AuthorizedConnection,
    expected: IfMatch,
    extract::Json(patch): extract::Json<ConnectionPatch>,
) -> Result<Versioned<u64, ConnectionBody>> {
    patch.check(&connection)?;
    let secret = patch.password.as_ref().map(GitPassword::reveal).or(patch.private_key.as_ref().map(AppKey::reveal));
    let sealed = match secret {
        None => None,
        Some(secret) => {
            let context = Connection::sealing_context(&connection.account_id, &connection.id);
            let sealed = vault.seal(&context, secret.as_bytes()).await;
            let unavailable = "The credential can't be encrypted at the moment; try again";
            Some(sealed.map_err(|error| Error::new(ErrorCode::ServiceUnavailable, unavailable).because(error))?)
        }
    };
    let change = ConnectionChange {
        name: patch.name,
        provider: patch.provider.map(|given| given.unwrap_or_else(|| connection.default_provider())),
        username: patch.username,
        installation_id: patch.installation_id.map(|given| given.map(Whole::get)),
        sealed,
    };
    let (tenant, now) = (connection.tenant().clone(), app.clock().now());
    let expected = |connection: &Connection| expected.check(connection.revision);
    let changed = connection.into_inner().change(app.table(), &tenant, change, expected, &author, now).await?;
    let repositories = changed.repositories(app.table(), &tenant).await?;
    Ok(Versioned(changed.revision, ConnectionBody::with_repositories(changed, repositories)))
}

impl ConnectionPatch {
    /// Checks that each field belongs to the connection's kind.
    fn check(&self, connection: &Connection) -> Result<()> {
        let foreign = match &connection.login {
            Login::Basic { .. } => [
                ("private_key", self.private_key.is_some()),
                ("installation_id", self.installation_id.is_some()),
                ("provider", false),
            ],
            Login::GithubApp { .. } => [
                ("username", self.username.is_some()),
                ("password", self.password.is_some()),
                ("provider", self.provider.flatten().is_some_and(|provider| provider != Provider::Github)),
            ],
        };
        Error::given(foreign, &format!("can't be set in a connection of the kind `{}`", connection.login.kind()))
    }
}
