//! Who may do what, once. The rest of the code asks here.

use serde::{Deserialize, Serialize};

use super::Scope;
use crate::error::{Error, Result};
use crate::model::{Role, Visibility};

/// What somebody may do in a repository. Each includes those before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Permission {
    /// See it and its deployments, with their logs.
    Read,
    /// Start, stop and repeat deployments.
    Deploy,
    /// Change its settings.
    Admin,
}

impl Permission {
    pub const ALL: [Permission; 3] = [Self::Read, Self::Deploy, Self::Admin];

    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Deploy => "deploy",
            Self::Admin => "admin",
        }
    }
}

/// The table of permissions: what a caller may do in a repository of their account, or `None` when they may not see it.
/// `base` is the account's permission for every member, `granted` the highest of their teams'. The token's scopes narrow
/// it, and never widen it.
///
/// | role | private | public |
/// |---|---|---|
/// | owner, admin | admin | admin |
/// | member | the higher of `base` and `granted` | the same, and at least read |
pub const fn permission(
    role: Role,
    base: Option<Permission>,
    granted: Option<Permission>,
    visibility: Visibility,
) -> Option<Permission> {
    match (role, visibility) {
        (Role::Owner | Role::Admin, _) => Some(Permission::Admin),
        (Role::Member, Visibility::Private) => higher(base, granted),
        (Role::Member, Visibility::Public) => higher(Some(Permission::Read), higher(base, granted)),
    }
}

const fn higher(one: Option<Permission>, other: Option<Permission>) -> Option<Permission> {
    match (one, other) {
        (Some(a), Some(b)) => Some(if a as u8 >= b as u8 { a } else { b }),
        (Some(one), None) | (None, Some(one)) => Some(one),
        (None, None) => None,
    }
}

impl Scope {
    /// What an endpoint with this scope needs on a repository, unless its route says otherwise.
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

/// # Errors
/// `insufficient_permission` when the role is below the one that is needed.
pub(super) fn check_role(role: Role, needed: Role) -> Result<()> {
    if role < needed {
        return Err(Error::not_permitted(format!("This needs the role '{}' in the account", needed.as_str())));
    }
    Ok(())
}

/// # Errors
/// `not_found` when the caller may not see the repository, `insufficient_permission` when they may, but not do this.
pub(super) fn check_permission(has: Option<Permission>, needed: Permission, what: &str) -> Result<()> {
    match has {
        None => Err(Error::not_found(what)),
        Some(has) if has < needed => Err(Error::not_permitted(format!(
            "This needs the permission '{}' on the repository; yours is '{}'",
            needed.as_str(),
            has.as_str()
        ))),
        Some(_) => Ok(()),
    }
}
