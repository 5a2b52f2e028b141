//! The proof that a connection gives to its host.

use std::num::NonZeroUsize;
use std::time::Duration;

use providers::{Api, AppKey, Authorization, GithubApp, InstallationToken};
use secrecy::SecretString;
use shared::cache::Cache;
use shared::clock::Timestamp;
use shared::id::ConnectionId;
use shared::model::{Connection, Login, Provider, SealedConnection};
use vault::Vault;

use crate::failure::Failure;

/// The time before the end of a token in which it is not used any more.
const RENEWED_BEFORE: Duration = Duration::from_secs(5 * 60);
/// Bitbucket's user name for the token of a repository, which is sent without it.
const BITBUCKET_TOKEN_USER: &str = "x-token-auth";

/// The owner and the name of a repository, as its URL spells them.
type Repository = (String, String);

/// The tokens of GitHub Apps that an execution environment has made, by connection, its revision, and repository.
#[derive(Debug)]
pub(crate) struct Tokens(Cache<(ConnectionId, u64, Repository), InstallationToken>);

impl Tokens {
    pub(crate) fn new(capacity: NonZeroUsize) -> Self {
        Self(Cache::new(capacity))
    }

    /// Returns the proof with which statuses of a repository are reported.
    ///
    /// # Errors
    /// Fails if the secret can't be opened, or the host makes no token.
    pub(crate) async fn authorization(
        &self,
        vault: &Vault,
        api: &Api,
        sealed: &SealedConnection,
        clone_url: &str,
        now: Timestamp,
    ) -> Result<Authorization, Failure> {
        let connection = &sealed.connection;
        let app = match &connection.login {
            Login::GithubApp { app_id, installation_id } => Some((*app_id, *installation_id)),
            Login::Basic { .. } => None,
        };
        let known = app.map(|_| (connection.id.clone(), connection.revision, owner_and_name(clone_url)));
        if let Some(token) = known.as_ref().and_then(|known| self.0.get(known))
            && token.expires_at > now.plus(RENEWED_BEFORE)
        {
            return Ok(Authorization::Bearer(token.token));
        }
        let secret = open(vault, sealed).await?;
        let (Some((app_id, installation_id)), Some(known)) = (app, known) else {
            return Ok(of_user(connection, secret));
        };
        let key: AppKey =
            secret.parse().map_err(|_| Failure::Never("The GitHub App's private key can't be read".to_owned()))?;
        let (api, repository) = (api.clone(), known.2.clone());
        let made = tokio::task::spawn_blocking(move || {
            let app = GithubApp { api: &api, app_id, key: &key, now };
            let installation = match installation_id {
                Some(installation) => installation,
                None => app.installation(&repository.0, &repository.1)?,
            };
            app.status_token(installation)
        });
        let made = made.await.map_err(|panic| Failure::Infrastructure("the request panicked", panic.into()))?;
        let token = made.map_err(|error| Failure::of_app(&error))?;
        self.0.insert(known, token.clone());
        Ok(Authorization::Bearer(token.token))
    }
}

async fn open(vault: &Vault, sealed: &SealedConnection) -> Result<String, Failure> {
    let Connection { account_id, id, .. } = &sealed.connection;
    let opened = vault.open(&Connection::sealing_context(account_id, id), sealed.sealed()).await;
    let opened = opened.map_err(|error| Failure::Infrastructure("a connection could not be opened", error.into()))?;
    String::from_utf8(opened).map_err(|error| Failure::Infrastructure("a connection has no text", error.into()))
}

/// Returns the proof of a user. Where a password is a token, the user's name adds nothing, and GitLab takes no name.
fn of_user(connection: &Connection, secret: String) -> Authorization {
    let secret = SecretString::from(secret);
    let username = match &connection.login {
        Login::Basic { username } => username.to_string(),
        Login::GithubApp { .. } => String::new(),
    };
    match connection.provider {
        Provider::Github | Provider::Gitlab => Authorization::Bearer(secret),
        Provider::Bitbucket if username == BITBUCKET_TOKEN_USER => Authorization::Bearer(secret),
        _ => Authorization::Basic(username, secret),
    }
}

fn owner_and_name(clone_url: &str) -> Repository {
    let path = clone_url.trim_end_matches('/').trim_end_matches(".git");
    let mut segments = path.rsplit('/').map(str::to_owned);
    let (name, owner) = (segments.next(), segments.next());
    (owner.unwrap_or_default(), name.unwrap_or_default())
}
