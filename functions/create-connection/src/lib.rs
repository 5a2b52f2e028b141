//! `POST /v1/connections`: keeps a credential for a git host.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderName, StatusCode, header};
use providers::AppKey;
use serde::Deserialize;
use shared::access::{Scope, Tenant};
use shared::body::{ConnectionBody, ConnectionKind};
use shared::extract::{self, LARGEST, Whole};
use shared::hosts::Hosts;
use shared::id::ConnectionId;
use shared::model::{Author, Connection, DisplayName, GitHost, GitPassword, GitUsername, Login, Provider, Role};
use shared::{App, Endpoint, Error, ErrorCode, InitError, Result, Route, With};
use vault::Vault;

/// The contract of the endpoint. The pipeline enforces it, and the templates and the OpenAPI document follow from it.
pub const ROUTE: Route = Route::post(env!("CARGO_PKG_NAME"), "/v1/connections")
    .takes_body()
    .requires(Scope::RepositoriesWrite)
    .by(Role::Admin)
    .refuses_with(&[ErrorCode::LimitReached])
    .takes_idempotency_key()
    .sends_location();

/// Returns the endpoint with its dependencies.
///
/// # Errors
/// Fails if a setting is missing or malformed.
pub fn endpoint(app: &App) -> Result<Endpoint, InitError> {
    let creation = With(app.clone(), (Hosts::of(app.settings())?, Arc::new(Vault::new(app)?)));
    Ok(Endpoint::new(ROUTE, create_connection, creation))
}

/// The connection to create. A `basic` one has `username` and `password`, and a `github_app` has `app_id` and `private_key`.
#[derive(Debug, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewConnection {
    name: DisplayName,
    kind: ConnectionKind,
    host: GitHost,
    /// The software of the host. Default: that of a well-known host, else `other`; for a `github_app`, `github`.
    provider: Option<Provider>,
    /// The user name that goes with the password. Only for `basic`, where it is required.
    username: Option<GitUsername>,
    /// The password, or a token that the host takes as one. Only for `basic`, where it is required.
    #[schema(write_only)]
    password: Option<GitPassword>,
    /// The ID of the GitHub App. Only for `github_app`, where it is required.
    #[schema(value_type = Option<u64>, minimum = 1, examples(123456))]
    app_id: Option<Whole<u64, 1, LARGEST>>,
    /// The private key of the GitHub App, in PEM as GitHub generates it. Only for `github_app`, where it is required.
    #[schema(write_only)]
    private_key: Option<AppKey>,
    /// The app's installation. Default: the one that may read the repository. Only for `github_app`.
    #[schema(value_type = Option<u64>, minimum = 1, examples(987654))]
    installation_id: Option<Whole<u64, 1, LARGEST>>,
}

/// Create a connection
///
/// Keeps a credential with which the account's repositories are read. It is encrypted, is in no response, and is sent only to
/// `host`, over TLS. Contacts nobody: `POST /v1/connections/{connection_id}/check` tries the credential.
#[utoipa::path(
    post, path = ROUTE.path, tag = "Connections", request_body = NewConnection,
    responses((status = 201, body = ConnectionBody))
)]
pub async fn create_connection(
    State(With(app, (hosts, vault))): State<With<(Hosts, Arc<Vault>)>>,
    author: Author,
    tenant: Tenant,
    extract::Json(new): extract::Json<NewConnection>,
) -> Result<(StatusCode, [(HeaderName, String); 1], Json<ConnectionBody>)> {
    let host = match new.host.is_allowed_by(hosts) {
        true => Ok(new.host.clone()),
        false => Err(Error::invalid("host", "must be a host on the public internet")),
    };
    let (name, provider) = (new.name.clone(), new.provider());
    let ((host, provider), (login, secret)) = Error::both(Error::both(host, provider), new.login())?;
    let (id, account_id, now) = (ConnectionId::random(), tenant.account().id.clone(), app.clock().now());
    let sealed = vault.seal(&Connection::sealing_context(&account_id, &id), secret.reveal().as_bytes()).await;
    let sealed = sealed.map_err(|error| {
        let unavailable = "The credential can't be encrypted at the moment; try again";
        Error::new(ErrorCode::ServiceUnavailable, unavailable).because(error)
    })?;
    let connection = Connection {
        id,
        account_id,
        name,
        host,
        provider,
        login,
        created_by: author.actor().clone(),
        created_at: now,
        updated_at: now,
        secret_updated_at: now,
        revision: 1,
        repository_count: 0,
    };
    connection.create(sealed, app.table(), &author).await?;
    let location = app.url(&format!("/v1/connections/{}", connection.id));
    Ok((
        StatusCode::CREATED,
        [(header::LOCATION, location)],
        Json(ConnectionBody::with_repositories(connection, Vec::new())),
    ))
}

/// The secret of a new connection.
enum NewSecret {
    Password(GitPassword),
    AppKey(AppKey),
}

impl NewSecret {
    fn reveal(&self) -> &str {
        match self {
            Self::Password(password) => password.reveal(),
            Self::AppKey(key) => key.reveal(),
        }
    }
}

impl NewConnection {
    /// Returns the provider: the one that is given, or else the one that follows from the kind and the host.
    fn provider(&self) -> Result<Provider> {
        match (self.kind, self.provider) {
            (ConnectionKind::Basic, given) => Ok(given.unwrap_or_else(|| Provider::of(&self.host))),
            (ConnectionKind::GithubApp, None | Some(Provider::Github)) => Ok(Provider::Github),
            (ConnectionKind::GithubApp, Some(_)) => {
                Err(Error::invalid("provider", "must be `github` for a connection of the kind `github_app`"))
            }
        }
    }

    /// Returns the parts that belong to the kind.
    fn login(self) -> Result<(Login, NewSecret)> {
        let Self { kind, username, password, app_id, private_key, installation_id, .. } = self;
        match kind {
            ConnectionKind::Basic => {
                let foreign = [
                    ("app_id", app_id.is_some()),
                    ("private_key", private_key.is_some()),
                    ("installation_id", installation_id.is_some()),
                ];
                let own = Error::both(required(username, "username", "basic"), required(password, "password", "basic"));
                let ((username, password), ()) =
                    Error::both(own, Error::given(foreign, "can't be combined with the kind `basic`"))?;
                Ok((Login::Basic { username }, NewSecret::Password(password)))
            }
            ConnectionKind::GithubApp => {
                let foreign = [("username", username.is_some()), ("password", password.is_some())];
                let own = Error::both(
                    required(app_id, "app_id", "github_app"),
                    required(private_key, "private_key", "github_app"),
                );
                let ((app_id, key), ()) =
                    Error::both(own, Error::given(foreign, "can't be combined with the kind `github_app`"))?;
                let installation_id = installation_id.map(Whole::get);
                Ok((Login::GithubApp { app_id: app_id.get(), installation_id }, NewSecret::AppKey(key)))
            }
        }
    }
}

/// Returns a field that a connection of the kind must have.
fn required<T>(value: Option<T>, field: &str, kind: &str) -> Result<T> {
    value.ok_or_else(|| Error::invalid(field, format!("is required for the kind `{kind}`")))
}
