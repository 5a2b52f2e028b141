//! The questions to a git host.

use std::time::Duration;

use connections::{Connections, OpenFailed, Secret};
use git::CloneUrl;
use providers::{Api, ApiError, Authorization, GithubApp, Identity, VisibleRepositories};
use shared::model::{Connection, Login, Provider, SealedConnection};
use shared::{Error, Result};
use tokio::task::spawn_blocking;
use tokio::time::timeout;

use crate::{CheckBody, CloneUrlCheckBody, VisibleRepositoriesBody};

/// The time limit of all questions to the host's API.
const API_TIME: Duration = Duration::from_secs(12);
/// The time limit of reading the repository, with the token that it may take.
const READ_TIME: Duration = Duration::from_secs(14);

/// The host's knowledge of a credential.
struct Known {
    login: Option<String>,
    repositories: Option<VisibleRepositories>,
}

/// The reason why the host's API did not tell. The text is for clients.
struct Untold(String);

pub(crate) async fn check(
    connections: &Connections,
    sealed: &SealedConnection,
    url: Option<CloneUrl>,
) -> Result<CheckBody> {
    let connection = &sealed.connection;
    let asked = timeout(API_TIME, ask(connections, sealed, url.as_ref())).await;
    let known =
        asked.unwrap_or_else(|_| Ok(Err(Untold(format!("the API of {} took too long to answer", connection.host)))))?;
    let clone_url = match url {
        None => None,
        Some(url) => Some(timeout(READ_TIME, read(connections, sealed, url)).await.unwrap_or_else(|_| {
            let message = format!("{} took too long to answer", connection.host);
            Ok(CloneUrlCheckBody { ok: false, message })
        })?),
    };
    let ok = clone_url.as_ref().map_or(known.is_ok(), |clone_url| clone_url.ok);
    let told = match &known {
        Ok(known) => summary(connection, known),
        Err(Untold(why)) => sentence(why.clone()),
    };
    let message = match &clone_url {
        None => told,
        Some(CloneUrlCheckBody { message, .. }) => format!("{message}. {told}"),
    };
    let (login, repositories) = known.map_or((None, None), |known| (known.login, known.repositories));
    Ok(CheckBody {
        ok,
        host: connection.host.clone(),
        provider: connection.provider,
        login,
        repositories: repositories.map(|found| VisibleRepositoriesBody { total: found.total, names: found.names }),
        clone_url,
        message,
    })
}

/// Reads the refs of a repository.
async fn read(connections: &Connections, sealed: &SealedConnection, url: CloneUrl) -> Result<CloneUrlCheckBody> {
    let failed = |message: String| CloneUrlCheckBody { ok: false, message: sentence(message) };
    let remote = match connections.remote_with(sealed, url).await {
        Ok(remote) => remote,
        Err(failure) if failure.is_temporary() => return Err(failure.in_body()),
        Err(failure) => return Ok(failed(failure.to_string())),
    };
    Ok(match remote.list_refs().await {
        Ok(_) => CloneUrlCheckBody { ok: true, message: "The repository can be read".to_owned() },
        Err(error) => failed(error.to_string()),
    })
}

/// Asks the host's API whose the credential is.
async fn ask(
    connections: &Connections,
    sealed: &SealedConnection,
    url: Option<&CloneUrl>,
) -> Result<Result<Known, Untold>> {
    let connection = &sealed.connection;
    let Some(api) = Api::of(connection.provider, &connection.host, connections.hosts()) else {
        let why = format!("{} has no API that this check knows; give a clone_url to try", connection.host);
        return Ok(Err(Untold(why)));
    };
    let secret = connections.open(sealed).await.map_err(OpenFailed::in_body)?;
    let untold = |error: ApiError| Untold(format!("the API of {} {error}", connection.host));
    match (&connection.login, secret) {
        (Login::Basic { username }, Secret::Password(password)) => {
            let authorization = match connection.provider {
                // Gitea takes passwords and tokens so.
                Provider::Gitea => Authorization::Basic(username.to_string(), password),
                _ => Authorization::Bearer(password),
            };
            let provider = connection.provider;
            let identity = spawn_blocking(move || Identity::of(&api, provider, &authorization)).await;
            let identity = identity.map_err(Error::internal)?.map_err(untold);
            Ok(identity.map(|found| Known { login: Some(found.login), repositories: found.repositories }))
        }
        (Login::GithubApp { app_id, installation_id }, Secret::AppKey(key)) => {
            let (app_id, now, asked) = (*app_id, connections.now(), api.clone());
            let slug = spawn_blocking(move || GithubApp { api: &asked, app_id, key: &key, now }.slug()).await;
            let login = match slug.map_err(Error::internal)? {
                Ok(slug) => format!("{slug}[bot]"),
                Err(error) => return Ok(Err(Untold(error.to_string()))),
            };
            if installation_id.is_none() && url.is_none() {
                return Ok(Ok(Known { login: Some(login), repositories: None }));
            }
            let token = match connections.installation_token(sealed, url).await {
                Ok(token) => Authorization::Bearer(token),
                Err(failure) if failure.is_temporary() => return Err(failure.in_body()),
                Err(failure) => return Ok(Err(Untold(failure.to_string()))),
            };
            let found = spawn_blocking(move || VisibleRepositories::of_installation(&api, &token)).await;
            let repositories = found.map_err(Error::internal)?.map_err(untold);
            Ok(repositories.map(|found| Known { login: Some(login), repositories: Some(found) }))
        }
        _ => Err(Error::internal("the secret of a connection is of another kind than the connection")),
    }
}

fn summary(connection: &Connection, known: &Known) -> String {
    let login = known.login.as_deref().unwrap_or("somebody");
    let seen = match &known.repositories {
        None => String::new(),
        Some(VisibleRepositories { total: 1, .. }) => "; it may read 1 repository".to_owned(),
        Some(VisibleRepositories { total, .. }) => format!("; it may read {total} repositories"),
    };
    sentence(format!("{} knows the credential as {login}{seen}", connection.host))
}

/// Returns a text with a capital letter at its start. The name of a host has none.
fn sentence(text: String) -> String {
    let is_word = text.split(' ').next().is_some_and(|first| first.bytes().all(|byte| byte.is_ascii_lowercase()));
    match text.chars().next() {
        Some(first) if is_word => first.to_ascii_uppercase().to_string() + &text[first.len_utf8()..],
        _ => text,
    }
}
