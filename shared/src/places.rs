//! A cache of the places of resources in one execution environment.

use std::num::NonZeroUsize;

use crate::cache::Cache;
use crate::id::{AccountId, DeploymentId, RepositoryId};
use crate::model::{Deployment, DeploymentPlace, RepositorySlug};

/// The maximum number of cached places of each kind, about 300 bytes each.
const REMEMBERED: NonZeroUsize = NonZeroUsize::new(2_000).unwrap();

/// A cache of the places of resources. A cached place may be out of date, so each use checks it.
#[derive(Debug)]
pub(crate) struct Places {
    deployments: Cache<DeploymentId, DeploymentPlace>,
    names: Cache<(AccountId, RepositorySlug), RepositoryId>,
}

impl Places {
    pub(crate) fn new() -> Self {
        Self { deployments: Cache::new(REMEMBERED), names: Cache::new(REMEMBERED) }
    }

    pub(crate) fn of_deployment(&self, id: &DeploymentId) -> Option<DeploymentPlace> {
        self.deployments.get(id)
    }

    pub(crate) fn remember_deployment(&self, deployment: &Deployment) {
        self.deployments.insert(deployment.id.clone(), deployment.place());
    }

    pub(crate) fn of_repository(&self, account: &AccountId, slug: &RepositorySlug) -> Option<RepositoryId> {
        match slug {
            RepositorySlug::Id(id) => Some(id.clone()),
            _ => self.names.get(&(account.clone(), slug.clone())),
        }
    }

    pub(crate) fn remember_repository(&self, account: AccountId, slug: RepositorySlug, id: &RepositoryId) {
        self.names.insert((account, slug), id.clone());
    }
}
