//! Connections.

use serde::Serialize;

use super::ActorBody;
use crate::clock::Rfc3339;
use crate::id::{ConnectionId, RepositoryId};
use crate::model::{Connection, Login, Provider, Repository};
use crate::name::{DisplayName, GitHost, GitUsername, RepositoryName};

/// A connection to a git host. No response contains its password or private key.
#[derive(Debug, Serialize, utoipa::ToSchema)]
#[schema(as = Connection)]
pub struct ConnectionBody {
    pub(crate) id: ConnectionId,
    pub(crate) name: DisplayName,
    pub(crate) kind: ConnectionKind,
    /// The only host that the credential is sent to.
    pub(crate) host: GitHost,
    pub(crate) provider: Provider,
    /// The user name. Null unless the kind is `basic`.
    #[schema(required)]
    pub(crate) username: Option<GitUsername>,
    /// The ID of the GitHub App. Null unless the kind is `github_app`.
    #[schema(required, examples(123456))]
    pub(crate) app_id: Option<u64>,
    /// The app's installation. Null if it is found by each repository, or the kind is not `github_app`.
    #[schema(required, examples(987654))]
    pub(crate) installation_id: Option<u64>,
    /// The number of repositories that use the connection.
    #[schema(examples(1))]
    pub(crate) repository_count: u64,
    /// The repositories that use the connection, at most 100. Absent in a list.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub(crate) repositories: Option<Vec<ConnectedRepository>>,
    pub(crate) created_by: ActorBody,
    pub(crate) created_at: Rfc3339,
    /// The time of the last change.
    pub(crate) updated_at: Rfc3339,
    /// The time at which the password or the private key was last set.
    pub(crate) secret_updated_at: Rfc3339,
}

/// The kind of a connection's credential.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, serde::Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum ConnectionKind {
    /// A user name and a password or token.
    Basic,
    /// A GitHub App, from whose private key tokens are made that expire after an hour.
    GithubApp,
}

/// A repository that uses a connection.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct ConnectedRepository {
    pub(crate) id: RepositoryId,
    pub(crate) name: RepositoryName,
}

impl ConnectionBody {
    /// Returns the body with the repositories that use the connection.
    pub fn with_repositories(row: Connection, repositories: Vec<Repository>) -> Self {
        let named = |found: Repository| ConnectedRepository { id: found.id, name: found.name };
        Self { repositories: Some(repositories.into_iter().map(named).collect()), ..row.into() }
    }
}

impl From<Connection> for ConnectionBody {
    fn from(row: Connection) -> Self {
        let kind = match row.login {
            Login::Basic { .. } => ConnectionKind::Basic,
            Login::GithubApp { .. } => ConnectionKind::GithubApp,
        };
        Self {
            kind,
            username: row.login.username().cloned(),
            app_id: row.login.app_id(),
            installation_id: row.login.installation_id(),
            id: row.id,
            name: row.name,
            host: row.host,
            provider: row.provider,
            repository_count: row.repository_count,
            repositories: None,
            created_by: row.created_by.into(),
            created_at: row.created_at.into(),
            updated_at: row.updated_at.into(),
            secret_updated_at: row.secret_updated_at.into(),
        }
    }
}
