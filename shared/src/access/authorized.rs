//! Resources that the caller may use.

use std::ops::Deref;

use super::resource::Resource;
use super::tenant::Tenant;
use crate::error::{Error, Result};
use crate::model::{Connection, Deployment, Hook, Invitation, Repository, Team, TokenRecord, Trust, User, Webhook};
use crate::permitted::Permitted;
use crate::table::Table;

/// A resource that the caller may use as the endpoint's [`Route`](crate::Route) demands.
#[derive(Clone, Debug)]
pub struct Authorized<T> {
    resource: Permitted<T>,
    tenant: Tenant,
}

/// A repository on which the caller has the permission that the route needs.
pub type AuthorizedRepository = Authorized<Repository>;

/// A deployment on whose repository the caller has the permission that the route needs.
pub type AuthorizedDeployment = Authorized<Deployment>;

/// A team that the caller may see.
pub type AuthorizedTeam = Authorized<Team>;

/// A member of the caller's account.
pub type AuthorizedMember = Authorized<User>;

/// An invitation to the caller's account.
pub type AuthorizedInvitation = Authorized<Invitation>;

/// A trust of the caller's account.
pub type AuthorizedTrust = Authorized<Trust>;

/// A connection of the caller's account.
pub type AuthorizedConnection = Authorized<Connection>;

/// A hook of a repository on which the caller has the permission that the route needs.
pub type AuthorizedHook = Authorized<Hook>;

/// A webhook of the caller's account.
pub type AuthorizedWebhook = Authorized<Webhook>;

/// A token that the caller may see and revoke: their own, or for owners and admins any of the account.
pub type AuthorizedToken = Authorized<TokenRecord>;

impl<T> Authorized<T> {
    pub(super) fn new(resource: T, tenant: Tenant) -> Self {
        Self { resource: Permitted::new(resource), tenant }
    }

    /// Returns the account that the resource was read from, with its caller.
    pub fn tenant(&self) -> &Tenant {
        &self.tenant
    }

    /// Returns the resource without the proof that the caller may use it.
    pub fn into_inner(self) -> T {
        self.resource.into_inner()
    }
}

impl<T> Deref for Authorized<T> {
    type Target = Permitted<T>;

    fn deref(&self) -> &Permitted<T> {
        &self.resource
    }
}

impl AuthorizedDeployment {
    /// Returns the repository of the deployment.
    pub async fn repository(&self, table: &Table) -> Result<AuthorizedRepository> {
        let repository = Repository::by_id(table, &self.tenant, &self.repository_id).await?;
        let resource = repository.ok_or_else(|| Error::not_found(Repository::KIND))?;
        Ok(Authorized::new(resource, self.tenant.clone()))
    }
}
