//! Opens repositories with the credential of their connection.
//!
//! [`Connections::remote`] is the only way from a repository or a deployment to a [`git::Remote`]. It reads the connection's row
//! each time, so that a connection that was deleted or changed is not used any more. Only tokens that expire within the hour are
//! kept in memory.

mod error;
mod question;
mod secret;
mod source;

use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::FromRef;
use git::{Breakers, CloneUrl, Credential, LookUps, Patience, Remote};
use providers::{Api, GithubApp, InstallationToken};
use secrecy::{ExposeSecret, SecretString};
use shared::cache::Cache;
use shared::clock::Timestamp;
use shared::hosts::Hosts;
use shared::id::{AccountId, ConnectionId};
use shared::model::{Connection, Login, SealedConnection};
use shared::{App, InitError};
use vault::Vault;

pub use error::OpenFailed;
pub use question::{AskFailed, TimeLimit};
pub use secret::Secret;
pub use source::Source;

/// The user name with which GitHub takes a token of an installation.
const TOKEN_USER: &str = "x-access-token";
/// The maximum number of tokens in the memory of one execution environment.
const MAX_TOKENS: NonZeroUsize = NonZeroUsize::new(1000).unwrap();
/// The time for which a token must still be valid when it is used. A fetch takes less.
const MARGIN: Duration = Duration::from_secs(5 * 60);

/// Opens repositories. Clones share everything.
#[derive(Clone, Debug)]
pub struct Connections {
    app: App,
    hosts: Hosts,
    vault: Arc<Vault>,
    tokens: Arc<Cache<TokenKey, InstallationToken>>,
    breakers: Breakers,
}

/// The use that a token was made for. A changed connection has another revision.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct TokenKey {
    connection: ConnectionId,
    revision: u64,
    installation: Installation,
}

/// An installation of a GitHub App.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Installation {
    Id(u64),
    /// The installation that may read this repository of this owner.
    Of(String, String),
}

impl Connections {
    /// # Errors
    /// Fails if a setting is missing or malformed.
    pub fn new(app: &App) -> Result<Self, InitError> {
        Ok(Self {
            hosts: Hosts::of(app.settings())?,
            vault: Arc::new(Vault::new(app)?),
            tokens: Arc::new(Cache::new(MAX_TOKENS)),
            breakers: Breakers::default(),
            app: app.clone(),
        })
    }

    /// Returns the hosts that users may name.
    pub fn hosts(&self) -> Hosts {
        self.hosts
    }

    /// Returns the time by which tokens are signed.
    pub fn now(&self) -> Timestamp {
        self.app.clock().now()
    }

    /// Returns a repository's remote, with the credential of its connection if it has one, for a request.
    ///
    /// # Errors
    /// Fails if the URL is not allowed, or if the connection is gone, is for another host, or can't be used.
    pub async fn remote(&self, source: impl Into<Source<'_>>) -> Result<Remote, OpenFailed> {
        self.remote_within(TimeLimit::of_request(), source).await
    }

    /// Returns a repository's remote like [`remote`](Self::remote), within another time limit.
    ///
    /// # Errors
    /// Fails if the URL is not allowed, or if the connection is gone, is for another host, or can't be used.
    pub async fn remote_within(&self, limit: TimeLimit, source: impl Into<Source<'_>>) -> Result<Remote, OpenFailed> {
        let Source { account, clone_url, connection } = source.into();
        let url = CloneUrl::parse(clone_url, self.hosts)?;
        let Some(id) = connection else { return Ok(self.at(url, None, account)) };
        let sealed = Connection::load_sealed(self.app.table(), account, id).await?;
        self.remote_with(&sealed.ok_or_else(|| OpenFailed::Gone(id.clone()))?, url, limit).await
    }

    /// Returns the remote of a URL with the credential of a connection.
    ///
    /// # Errors
    /// Fails if the connection is for another host, or can't be used.
    pub async fn remote_with(
        &self,
        sealed: &SealedConnection,
        url: CloneUrl,
        limit: TimeLimit,
    ) -> Result<Remote, OpenFailed> {
        let connection = &sealed.connection;
        if !url.is_at(&connection.host) {
            return Err(OpenFailed::OtherHost(connection.host.clone()));
        }
        let host = connection.host.as_str().parse().map_err(OpenFailed::Host)?;
        let noun = format!("the connection '{}' ({})", connection.name, connection.id);
        let credential = match &connection.login {
            Login::Basic { username } => match self.open(sealed).await? {
                Secret::Password(password) => Credential::new(host, username.as_str(), password.expose_secret(), noun),
                Secret::AppKey(_) => unreachable!("the kind of a connection never changes"),
            },
            Login::GithubApp { .. } => {
                let token = self.installation_token(sealed, Some(&url), limit).await?;
                Credential::new(host, TOKEN_USER, token.expose_secret(), noun)
            }
        };
        if !credential.may_be_sent_to(&url) {
            return Err(OpenFailed::Insecure);
        }
        Ok(self.at(url, Some(credential), &connection.account_id))
    }

    fn at(&self, url: CloneUrl, credential: Option<Credential>, account: &AccountId) -> Remote {
        Remote::new(url, credential).with_look_ups(self.look_ups(account))
    }

    fn look_ups(&self, account: &AccountId) -> LookUps {
        LookUps::default().with_breakers(self.breakers.clone()).with_patience(Patience::of(&self.app, account))
    }

    /// Opens the secret of a connection.
    ///
    /// # Errors
    /// Fails if the vault fails.
    pub async fn open(&self, sealed: &SealedConnection) -> Result<Secret, OpenFailed> {
        let Connection { account_id, id, login, .. } = &sealed.connection;
        let secret = self.vault.open(&Connection::sealing_context(account_id, id), sealed.sealed()).await?;
        Secret::read(login, secret).ok_or(OpenFailed::Vault(vault::VaultError::Sealed))
    }

    /// Returns a token of a GitHub App's installation: the connection's own, or else that of the repository.
    ///
    /// # Errors
    /// Fails if the app has no installation for the repository, or its host does not answer.
    pub async fn installation_token(
        &self,
        sealed: &SealedConnection,
        repository: Option<&CloneUrl>,
        limit: TimeLimit,
    ) -> Result<SecretString, OpenFailed> {
        let connection = &sealed.connection;
        let installation = match (connection.login.installation_id(), repository) {
            (Some(id), _) => Installation::Id(id),
            (None, Some(url)) => {
                let (owner, name) = owner_and_name(url).ok_or(OpenFailed::NotOfGithub)?;
                Installation::Of(owner.to_owned(), name.to_owned())
            }
            (None, None) => return Err(OpenFailed::NotOfGithub),
        };
        let key = TokenKey { connection: connection.id.clone(), revision: connection.revision, installation };
        let now = self.now();
        if let Some(kept) = self.tokens.get(&key).filter(|kept| kept.expires_at > now.plus(MARGIN)) {
            return Ok(kept.token);
        }
        let (Some(app_id), Secret::AppKey(app_key)) = (connection.login.app_id(), self.open(sealed).await?) else {
            unreachable!("only a GitHub App has installations")
        };
        let api = Api::of(connection.provider, &connection.host, self.hosts).ok_or(OpenFailed::NotOfGithub)?;
        let installation = key.installation.clone();
        let mint = move |api: &Api| {
            let app = GithubApp { api, app_id, key: &app_key, now };
            let id = match &installation {
                Installation::Id(id) => *id,
                Installation::Of(owner, name) => app.installation(owner, name)?,
            };
            app.token(id)
        };
        let made = self.ask(connection, &api, limit, mint).await;
        let made = made.map_err(|error| OpenFailed::Asked(connection.name.clone(), error))?;
        self.tokens.insert(key, made.clone());
        Ok(made.token)
    }
}

impl FromRef<Connections> for App {
    fn from_ref(connections: &Connections) -> App {
        connections.app.clone()
    }
}

/// Returns the owner and the name in the path of a repository of GitHub.
fn owner_and_name(url: &CloneUrl) -> Option<(&str, &str)> {
    let (owner, name) = url.path()?.strip_prefix('/')?.split_once('/')?;
    let name = name.strip_suffix(".git").unwrap_or(name);
    let is_name = |text: &str| {
        let is_plain = text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte));
        is_plain && !matches!(text, "" | "." | "..")
    };
    (is_name(owner) && is_name(name)).then_some((owner, name))
}
