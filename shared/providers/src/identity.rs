//! The account of a credential, and the repositories that it may read.

use serde::Deserialize;
use shared::model::Provider;
use shared::name::shown;

use crate::api::{Api, ApiError, Authorization};

/// The number of repositories that are named.
const NAMED: usize = 30;
/// The maximum number of characters of a name.
const MAX_CHARS: usize = 200;

/// The account of a credential.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// The name of the account at its host.
    pub login: String,
    /// The repositories that the credential may read. `None` if the host does not tell.
    pub repositories: Option<VisibleRepositories>,
}

/// The repositories that a credential may read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VisibleRepositories {
    /// The number of all of them.
    pub total: u64,
    /// The full names of the first 30.
    pub names: Vec<String>,
}

/// An account. GitHub names it in `login`, GitLab in `username`, and Gitea in both.
#[derive(Deserialize)]
struct Account {
    login: Option<String>,
    username: Option<String>,
}

/// A repository. GitLab has another name for its full name.
#[derive(Deserialize)]
struct Repository {
    full_name: Option<String>,
    path_with_namespace: Option<String>,
}

#[derive(Deserialize)]
struct OfInstallation {
    total_count: u64,
    repositories: Vec<Repository>,
}

impl Identity {
    /// Returns the account of a user's token or password.
    ///
    /// # Errors
    /// Fails if the host does not accept the credential.
    pub fn of(api: &Api, provider: Provider, authorization: &Authorization) -> Result<Self, ApiError> {
        let account = api.get::<Account>("/user", authorization)?.body;
        let login = shown(&account.login.or(account.username).unwrap_or_default(), MAX_CHARS);
        let list = match provider {
            Provider::Gitlab => {
                format!("/projects?membership=true&simple=true&order_by=path&sort=asc&per_page={NAMED}")
            }
            Provider::Gitea => format!("/user/repos?limit={NAMED}"),
            _ => format!("/user/repos?sort=full_name&per_page={NAMED}"),
        };
        // A token may be valid and not allowed to list.
        let Ok(list) = api.get::<Vec<Repository>>(&list, authorization) else {
            return Ok(Self { login, repositories: None });
        };
        let total = match provider {
            Provider::Gitlab => list.number("x-total"),
            Provider::Gitea => list.number("x-total-count"),
            _ if list.last_page().is_none() => None,
            // GitHub tells the number of pages, which is that of repositories if a page has one.
            _ => api.get::<Vec<Repository>>("/user/repos?per_page=1", authorization)?.last_page(),
        };
        let total = total.unwrap_or(list.body.len() as u64);
        Ok(Self { login, repositories: Some(VisibleRepositories { total, names: names(list.body) }) })
    }
}

impl VisibleRepositories {
    /// Returns the repositories that the token of an installation may read.
    ///
    /// # Errors
    /// Fails if the host does not accept the token.
    pub fn of_installation(api: &Api, token: &Authorization) -> Result<Self, ApiError> {
        let path = format!("/installation/repositories?per_page={NAMED}");
        let found = api.get::<OfInstallation>(&path, token)?.body;
        Ok(Self { total: found.total_count, names: names(found.repositories) })
    }
}

fn names(repositories: Vec<Repository>) -> Vec<String> {
    let named = repositories.into_iter().filter_map(|found| found.full_name.or(found.path_with_namespace));
    named.take(NAMED).map(|name| shown(&name, MAX_CHARS)).collect()
}
