//! The questions to a git host.

use connections::{AskFailed, Connections, OpenFailed, Secret, TimeLimit};
use git::CloneUrl;
use providers::{Api, Authorization, GithubApp, Identity, VisibleRepositories};
use shared::model::{Connection, Login, Provider, SealedConnection};
use shared::{Error, Result};

use crate::{CheckBody, CloneUrlCheckBody, VisibleRepositoriesBody};

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
    let known = ask(connections, sealed, url.as_ref()).await?;
    let clone_url = match url {
        None => None,
        Some(url) => Some(read(connections, sealed, url).await?),
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

/// Reads the default branch of a repository.
async fn read(connections: &Connections, sealed: &SealedConnection, url: CloneUrl) -> Result<CloneUrlCheckBody> {
    let failed = |message: String| CloneUrlCheckBody { ok: false, message: sentence(message) };
    let remote = match connections.remote_with(sealed, url, TimeLimit::of_request()).await {
        Ok(remote) => remote,
        Err(failure) if failure.is_temporary() => return Err(failure.in_body()),
        Err(failure) => return Ok(failed(failure.to_string())),
    };
    Ok(match remote.default_branch(None).await {
        Ok(_) => CloneUrlCheckBody { ok: true, message: "The repository can be read".to_owned() },
        Err(error) => failed(error.to_string()),
    })
}

/// Asks the host's API whose the credential is. All questions together have the time of one look-up.
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
    let limit = TimeLimit::of_request();
    let untold = |error: AskFailed| match error {
        AskFailed::Api(error) => Untold(format!("the API of {} {error}", connection.host)),
        error => Untold(error.to_string()),
    };
    match (&connection.login, secret) {
        (Login::Basic { username }, Secret::Password(password)) => {
            let authorization = match connection.provider {
                // Gitea takes passwords and tokens so.
                Provider::Gitea => Authorization::Basic(username.to_string(), password),
                _ => Authorization::Bearer(password),
            };
            let provider = connection.provider;
            let identity = move |api: &Api| Identity::of(api, provider, &authorization);
            let identity = connections.ask(connection, &api, limit, identity).await;
            Ok(identity
                .map_err(untold)
                .map(|found| Known { login: Some(found.login), repositories: found.repositories }))
        }
        (Login::GithubApp { app_id, installation_id }, Secret::AppKey(key)) => {
            let (app_id, now) = (*app_id, connections.now());
            let slug = move |api: &Api| GithubApp { api, app_id, key: &key, now }.slug();
            let login = match connections.ask(connection, &api, limit, slug).await {
                Ok(slug) => format!("{slug}[bot]"),
                Err(error) => return Ok(Err(untold(error))),
            };
            if installation_id.is_none() && url.is_none() {
                return Ok(Ok(Known { login: Some(login), repositories: None }));
            }
            let token = match connections.installation_token(sealed, url, limit).await {
                Ok(token) => Authorization::Bearer(token),
                Err(failure) if failure.is_temporary() => return Err(failure.in_body()),
                Err(failure) => return Ok(Err(Untold(failure.to_string()))),
            };
            let repositories = move |api: &Api| VisibleRepositories::of_installation(api, &token);
            let repositories = connections.ask(connection, &api, limit, repositories).await;
            Ok(repositories.map_err(untold).map(|found| Known { login: Some(login), repositories: Some(found) }))
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
