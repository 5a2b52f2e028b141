//! The scopes of tokens, and the access that an endpoint requires.

use serde::{Deserialize, Serialize};

use crate::permission::Permission;

/// A right of a token. No scope includes another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, utoipa::ToSchema)]
pub enum Scope {
    /// Lists and reads repositories and their environments.
    #[serde(rename = "repositories:read")]
    RepositoriesRead,
    /// Creates repositories and changes the settings of their environments.
    #[serde(rename = "repositories:write")]
    RepositoriesWrite,
    /// Lists and reads deployments, with their logs and events.
    #[serde(rename = "deployments:read")]
    DeploymentsRead,
    /// Creates, cancels, retries, approves and rejects deployments, and rolls back.
    #[serde(rename = "deployments:write")]
    DeploymentsWrite,
    /// Lists and reads tokens, without their secrets.
    #[serde(rename = "tokens:read")]
    TokensRead,
    /// Creates, changes, rotates and revokes tokens.
    #[serde(rename = "tokens:write")]
    TokensWrite,
    /// The account with its members, invitations and applications.
    #[serde(rename = "account:read")]
    AccountRead,
    /// Changes the account, its members, invitations and applications.
    #[serde(rename = "account:write")]
    AccountWrite,
    /// Lists and reads teams, with their members and repositories.
    #[serde(rename = "teams:read")]
    TeamsRead,
    /// Creates, changes and deletes teams, and changes their members and repositories.
    #[serde(rename = "teams:write")]
    TeamsWrite,
}

impl Scope {
    /// Every scope, in the order in which responses list them.
    pub const ALL: [Scope; 10] = [
        Self::RepositoriesRead,
        Self::RepositoriesWrite,
        Self::DeploymentsRead,
        Self::DeploymentsWrite,
        Self::TokensRead,
        Self::TokensWrite,
        Self::AccountRead,
        Self::AccountWrite,
        Self::TeamsRead,
        Self::TeamsWrite,
    ];

    /// Returns the scope's name in bodies and in the issuer's tokens.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::RepositoriesRead => "repositories:read",
            Self::RepositoriesWrite => "repositories:write",
            Self::DeploymentsRead => "deployments:read",
            Self::DeploymentsWrite => "deployments:write",
            Self::TokensRead => "tokens:read",
            Self::TokensWrite => "tokens:write",
            Self::AccountRead => "account:read",
            Self::AccountWrite => "account:write",
            Self::TeamsRead => "teams:read",
            Self::TeamsWrite => "teams:write",
        }
    }

    /// Returns the permission that an endpoint with this scope needs on a repository, unless its route declares another.
    pub const fn permission(self) -> Permission {
        match self {
            Self::RepositoriesRead | Self::DeploymentsRead | Self::TeamsRead => Permission::Read,
            Self::DeploymentsWrite => Permission::Deploy,
            Self::RepositoriesWrite
            | Self::TeamsWrite
            | Self::TokensRead
            | Self::TokensWrite
            | Self::AccountRead
            | Self::AccountWrite => Permission::Admin,
        }
    }
}

/// Returns the requested scopes, each once and in the order of [`Scope::ALL`].
pub fn distinct(scopes: &[Scope]) -> Vec<Scope> {
    Scope::ALL.into_iter().filter(|scope| scopes.contains(scope)).collect()
}

/// The callers that an endpoint admits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Any caller, without a token. The request counts against its source address.
    Public,
    /// Any valid token.
    Authenticated,
    /// A valid token with the scope.
    Scope(Scope),
}
