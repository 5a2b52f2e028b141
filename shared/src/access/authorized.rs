//! What a caller may use, as extractors.

use std::ops::Deref;

use axum::extract::{FromRef, FromRequestParts};
use http::request::Parts;

use super::Caller;
use crate::app::App;
use crate::error::{Error, Result};
use crate::extract::{path_parameter, repository_parameter};
use crate::id::{DeploymentId, UserId};
use crate::model::{Account, Deployment, Repository, RepositorySlug};

/// The caller's account, on an endpoint whose [`Access`] let the caller in.
#[derive(Clone, Debug)]
pub struct Tenant(Caller);

impl Tenant {
    pub fn account(&self) -> &Account {
        self.0.account()
    }

    pub fn user_id(&self) -> &UserId {
        self.0.user_id()
    }
}

impl<S: Sync> FromRequestParts<S> for Tenant {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self> {
        let caller = parts.extensions.get::<Caller>().cloned();
        caller.map(Tenant).ok_or_else(|| Error::internal("a public endpoint asked for its caller"))
    }
}

/// The repository in the path, which the caller may use as the endpoint's [`Access`] says.
#[derive(Clone, Debug)]
pub struct AuthorizedRepository {
    repository: Repository,
    tenant: Tenant,
}

impl AuthorizedRepository {
    pub fn tenant(&self) -> &Tenant {
        &self.tenant
    }

    pub fn into_inner(self) -> Repository {
        self.repository
    }
}

impl Deref for AuthorizedRepository {
    type Target = Repository;

    fn deref(&self) -> &Repository {
        &self.repository
    }
}

impl<S> FromRequestParts<S> for AuthorizedRepository
where
    S: Send + Sync,
    App: FromRef<S>,
{
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self> {
        let tenant = Tenant::from_request_parts(parts, state).await?;
        let not_found = || Error::not_found("Repository");
        // A name that no repository can have is one that does not exist.
        let slug: RepositorySlug = repository_parameter(parts)?.parse().map_err(|_| not_found())?;
        let repository = Repository::find(App::from_ref(state).table(), &tenant, &slug).await?;
        Ok(Self { repository: repository.ok_or_else(not_found)?, tenant })
    }
}

/// The deployment in the path, which the caller may use as the endpoint's [`Access`] says.
#[derive(Clone, Debug)]
pub struct AuthorizedDeployment(Deployment);

impl AuthorizedDeployment {
    pub fn into_inner(self) -> Deployment {
        self.0
    }
}

impl Deref for AuthorizedDeployment {
    type Target = Deployment;

    fn deref(&self) -> &Deployment {
        &self.0
    }
}

impl<S> FromRequestParts<S> for AuthorizedDeployment
where
    S: Send + Sync,
    App: FromRef<S>,
{
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self> {
        let tenant = Tenant::from_request_parts(parts, state).await?;
        let not_found = || Error::not_found("Deployment");
        let id: DeploymentId = path_parameter(parts, "deployment_id")?.parse().map_err(|_| not_found())?;
        let found = Deployment::find(App::from_ref(state).table(), &tenant, &id).await?;
        found.map(Self).ok_or_else(not_found)
    }
}
