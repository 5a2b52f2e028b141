//! Roles and permissions, and the table that combines them.

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};

/// A permission on a repository. Each includes those before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Permission {
    /// Allows reading the repository and its deployments with their logs.
    Read,
    /// Allows creating, canceling and repeating deployments.
    Deploy,
    /// Allows changing the repository's settings.
    Admin,
}

impl Permission {
    /// Every permission, the lowest first.
    pub const ALL: [Permission; 3] = [Self::Read, Self::Deploy, Self::Admin];

    /// Returns the permission's name in bodies and rows.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Deploy => "deploy",
            Self::Admin => "admin",
        }
    }
}

/// A role in the account. Each includes the rights of those before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Sees their own teams, and has the permissions on repositories that the account and their teams grant.
    Member,
    /// Manages members, invitations, teams and repositories.
    Admin,
    /// Manages owners, applications and the account's settings as well.
    Owner,
}

impl Role {
    /// Every role, the lowest first.
    pub const ALL: [Role; 3] = [Self::Member, Self::Admin, Self::Owner];

    /// Returns the role's name in bodies and rows.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Member => "member",
            Self::Admin => "admin",
            Self::Owner => "owner",
        }
    }

    /// Returns whether somebody with this role may invite others to a role: an owner to any, an admin to all but `owner`.
    pub const fn may_give(self, given: Role) -> bool {
        match self {
            Self::Owner => true,
            Self::Admin => !matches!(given, Self::Owner),
            Self::Member => false,
        }
    }
}

/// The permission of every member on every repository of the account.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum BasePermission {
    /// Members have only the permissions that their teams grant.
    None,
    /// Every member may read every repository.
    #[default]
    Read,
    /// Every member may deploy every repository.
    Deploy,
    /// Every member may change every repository.
    Admin,
}

impl BasePermission {
    /// Returns the base permission's name in bodies and rows.
    pub const fn as_str(self) -> &'static str {
        match self.permission() {
            None => "none",
            Some(permission) => permission.as_str(),
        }
    }

    /// Returns the permission, or `None` if the account grants none.
    pub const fn permission(self) -> Option<Permission> {
        match self {
            Self::None => None,
            Self::Read => Some(Permission::Read),
            Self::Deploy => Some(Permission::Deploy),
            Self::Admin => Some(Permission::Admin),
        }
    }
}

/// The visibility of a repository in its account: members see `public` repositories even without a permission on them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Visibility {
    /// Only members with a permission on the repository see it.
    Private,
    /// Every member of the account may read the repository.
    Public,
}

/// Returns the permission of a user on a repository of their account, or `None` if they can't see it. `base` is the
/// account's permission for every member, `granted` the highest of the user's teams. A token's scopes narrow the permission
/// and never widen it.
///
/// | role | private | public |
/// |---|---|---|
/// | owner, admin | admin | admin |
/// | member | the higher of `base` and `granted` | the higher of `base` and `granted`, and at least read |
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

/// Fails with `insufficient_permission` if the role is below the needed one.
pub(crate) fn check_role(role: Role, needed: Role) -> Result<()> {
    if role < needed {
        return Err(Error::not_permitted(format!(
            "The request requires the role '{}' in the account",
            needed.as_str()
        )));
    }
    Ok(())
}

/// Fails with `not_found` if the caller can't see the repository, and with `insufficient_permission` if the caller can see it
/// but lacks the needed permission.
pub(crate) fn check_permission(has: Option<Permission>, needed: Permission, what: &str) -> Result<()> {
    match has {
        None => Err(Error::not_found(what)),
        Some(has) if has < needed => Err(Error::not_permitted(format!(
            "The request requires the permission '{}' on the repository; the caller has '{}'",
            needed.as_str(),
            has.as_str()
        ))),
        Some(_) => Ok(()),
    }
}
