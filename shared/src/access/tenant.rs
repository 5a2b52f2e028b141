//! The tenant of a request.

use std::ops::Deref;

use axum::extract::FromRequestParts;
use http::request::Parts;

use crate::authentication::Caller;
use crate::error::{Error, Result};
use crate::id::{RepositoryId, TeamId, UserId};
use crate::model::{Account, Environment, Repository, User};
use crate::permission::{Permission, Role, Visibility, check_permission, check_role, permission};
use crate::permitted::TenantId;
use crate::scope::Scope;

/// The caller's account, on an endpoint whose [`Route`](crate::Route) admits the caller.
#[derive(Clone, Debug)]
pub struct Tenant(Caller);

impl Tenant {
    pub(super) fn caller(&self) -> &Caller {
        &self.0
    }

    /// Returns the caller's account as it was when the token was last read.
    pub fn account(&self) -> &Account {
        self.0.account()
    }

    /// Returns the id of the calling user, or of the user that stands for the calling application or trust.
    pub fn user_id(&self) -> &UserId {
        self.0.user_id()
    }

    /// Returns the caller's user as of the last look-up of the token.
    pub fn user(&self) -> &User {
        self.0.user()
    }

    /// Returns the caller's permission on a repository.
    pub fn permission_on(&self, repository: &Repository) -> Option<Permission> {
        if let Some(trust) = self.0.trust() {
            return trust.terms.permission_on(&repository.id);
        }
        let granted = repository.grants.highest(&self.user().teams);
        permission(self.user().role, self.account().base_permission.permission(), granted, repository.visibility)
    }

    /// Returns whether a person calls, and not a program that has a right of its own.
    pub fn is_person(&self) -> bool {
        self.0.is_a_person()
    }

    /// Returns the caller's permission on every repository of the account.
    pub fn permission_everywhere(&self) -> Option<Permission> {
        if let Some(trust) = self.0.trust() {
            return trust.terms.repository_id.is_none().then_some(Permission::Deploy);
        }
        permission(self.user().role, self.account().base_permission.permission(), None, Visibility::Private)
    }

    /// Returns the only repository that the caller's token may touch, if a trust issued it for one.
    pub(super) fn only_repository(&self) -> Option<&RepositoryId> {
        self.0.trust().and_then(|trust| trust.terms.repository_id.as_ref())
    }

    /// Fails with `insufficient_permission` if the caller may not deploy to the environment, whatever their permission on the
    /// repository is.
    pub fn check_environment(&self, environment: Environment) -> Result<()> {
        self.0.trust().map_or(Ok(()), |trust| trust.terms.check_environment(environment))
    }

    /// Fails unless the caller may change the settings of the repository, and may therefore let a deployment through their rules:
    /// with `insufficient_permission` without the permission, and with `insufficient_scope` without the scope.
    pub fn check_override(&self, repository: &Repository) -> Result<()> {
        check_permission(self.permission_on(repository), Permission::Admin, "Repository")?;
        self.0.check_grant(&[Scope::RepositoriesWrite])
    }

    /// Returns whether the caller may see a team: owners and admins see all teams, members see their own.
    pub(crate) fn sees(&self, team: &TeamId) -> bool {
        self.sees_all_teams() || self.user().teams.contains(team)
    }

    /// Returns whether the caller is an owner or an admin. Members see only the teams that they are in.
    pub fn sees_all_teams(&self) -> bool {
        self.user().role >= Role::Admin
    }

    /// Fails with `insufficient_permission` if the caller may not grant or withdraw the role. Only owners may grant or
    /// withdraw the role `owner`.
    pub fn may_assign(&self, role: Role) -> Result<()> {
        if role == Role::Owner { check_role(self.user().role, Role::Owner) } else { Ok(()) }
    }
}

/// Passes a tenant to the model's functions.
impl Deref for Tenant {
    type Target = TenantId;

    fn deref(&self) -> &TenantId {
        self.0.tenant()
    }
}

impl<S: Sync> FromRequestParts<S> for Tenant {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self> {
        Caller::from_request_parts(parts, state).await.map(Self)
    }
}

/// Returns whether the caller may see and revoke all tokens of the account.
pub fn oversees_tokens(caller: &Caller) -> bool {
    caller.is_a_person() && caller.user().role >= Role::Admin
}
