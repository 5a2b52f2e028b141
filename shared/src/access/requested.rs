//! Resources that a path names, read together with rows that belong to them.
//!
//! To read such rows, a request needs the place of the resource: the id of the repository, or the lane of the deployment.
//! [`Places`](super::Places) remembers it from earlier requests, so that the resource and its rows are read at once.
//!
//! # Invariant: a speculative read proves nothing
//!
//! A remembered place is a guess. It may be out of date, and it may be the place of a resource that the caller can't see. So
//! rows that were read by a guess, or the error of that read, leave this module only if
//!
//! 1. this request has read the resource and authorized the caller to use it, and
//! 2. the place of that resource is the place of the rows.
//!
//! If the caller is not authorized, the request fails as it would without a guess. If the place is a different one, the
//! rows are read again from the place of the resource.

use axum::extract::{FromRef, FromRequestParts};
use http::request::Parts;

use super::authorized::{Authorized, AuthorizedDeployment, AuthorizedRepository};
use super::resource::{Resource, needed};
use super::tenant::Tenant;
use crate::app::App;
use crate::error::{Error, Result};
use crate::model::{Deployment, DeploymentPlace, Repository, RepositoryPartition, RepositorySlug};
use crate::permission::Permission;

/// The resource that the path names, before it is read.
#[derive(Clone, Debug)]
pub struct Requested<T: Resource> {
    app: App,
    tenant: Tenant,
    name: T::Name,
    needed: Permission,
}

impl<S, T> FromRequestParts<S> for Requested<T>
where
    S: Send + Sync,
    App: FromRef<S>,
    T: Resource,
{
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self> {
        let tenant = Tenant::from_request_parts(parts, state).await?;
        let name = T::name(parts)?.ok_or_else(|| Error::not_found(T::KIND))?;
        Ok(Self { app: App::from_ref(state), tenant, name, needed: needed(parts)? })
    }
}

impl<T: Resource> Requested<T> {
    /// Returns the resource if the caller has the permission that the route needs.
    async fn authorize(self) -> Result<Authorized<T>> {
        let Self { app, tenant, name, needed } = self;
        let found = T::authorize(&app, &tenant, name, needed).await?;
        let resource = found.ok_or_else(|| Error::not_found(T::KIND))?;
        Ok(Authorized::new(resource, tenant))
    }
}

impl Requested<Repository> {
    /// Returns the repository, if the caller has the permission that the route needs, with the output of `read`. Reads both at
    /// once if the path has the id or a remembered name.
    pub async fn authorize_and_read<R, F>(
        self,
        read: impl Fn(RepositoryPartition) -> F,
    ) -> Result<(AuthorizedRepository, R)>
    where
        F: Future<Output = Result<R>>,
    {
        let Self { app, tenant, name, needed } = self;
        let account = tenant.account().id.clone();
        if let Some(id) = app.places().of_repository(&account, &name) {
            let found = Repository::authorize(&app, &tenant, RepositorySlug::Id(id.clone()), needed);
            let read = read(RepositoryPartition::new(&account, &id));
            let (found, read) = futures_util::future::join(found, read).await;
            if let Some(resource) = found?.filter(|found| name.names(found)) {
                return Ok((Authorized::new(resource, tenant), read?));
            }
        }
        let found = Repository::authorize(&app, &tenant, name.clone(), needed).await?;
        let resource = found.ok_or_else(|| Error::not_found(Repository::KIND))?;
        app.places().remember_repository(account, name, &resource.id);
        let read = read(resource.partition()).await?;
        Ok((Authorized::new(resource, tenant), read))
    }
}

impl Requested<Deployment> {
    /// Returns the deployment, if the caller has the permission that the route needs, with the output of `read`. Reads both at
    /// once if the place of the deployment is remembered.
    pub async fn authorize_and_read<R, F>(
        self,
        read: impl Fn(DeploymentPlace) -> F,
    ) -> Result<(AuthorizedDeployment, R)>
    where
        F: Future<Output = Result<R>>,
    {
        let Self { app, tenant, name, needed } = self;
        let found = Deployment::authorize(&app, &tenant, name.clone(), needed);
        let (found, read_before) = match app.places().of_deployment(&name) {
            Some(place) => {
                let (found, read) = futures_util::future::join(found, read(place.clone())).await;
                (found?, Some((place, read)))
            }
            None => (found.await?, None),
        };
        let resource = found.ok_or_else(|| Error::not_found(Deployment::KIND))?;
        app.places().remember_deployment(&resource);
        let read = match read_before {
            Some((place, read)) if place == resource.place() => read?,
            _ => read(resource.place()).await?,
        };
        Ok((Authorized::new(resource, tenant), read))
    }
}

impl<S, T> FromRequestParts<S> for Authorized<T>
where
    S: Send + Sync,
    App: FromRef<S>,
    T: Resource,
{
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self> {
        if let Some(Early(found)) = parts.extensions.remove() {
            return Ok(found);
        }
        Requested::from_request_parts(parts, state).await?.authorize().await
    }
}

/// A resource that was authorized before its extractor asked for it.
#[derive(Clone)]
struct Early<T>(T);

/// Authorizes the resource for its extractor. If that fails, the extractor tries again and returns the error.
pub(crate) async fn find_early<T: Resource>(parts: &mut Parts, app: &App) {
    if let Ok(found) = Authorized::<T>::from_request_parts(parts, app).await {
        parts.extensions.insert(Early(found));
    }
}
