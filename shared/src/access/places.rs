//! The places of resources that the execution environment has cached.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Mutex, PoisonError};

use crate::id::{AccountId, DeploymentId, RepositoryId};
use crate::model::{Deployment, DeploymentPlace, RepositorySlug};

/// A cache of the places of resources. A cached place may be out of date, so each use checks it.
#[derive(Debug, Default)]
pub(crate) struct Places {
    deployments: Remembered<DeploymentId, DeploymentPlace>,
    names: Remembered<(AccountId, RepositorySlug), RepositoryId>,
}

impl Places {
    pub(super) fn of_deployment(&self, id: &DeploymentId) -> Option<DeploymentPlace> {
        self.deployments.get(id)
    }

    pub(super) fn remember_deployment(&self, deployment: &Deployment) {
        self.deployments.insert(deployment.id.clone(), deployment.place());
    }

    pub(super) fn of_repository(&self, account: &AccountId, slug: &RepositorySlug) -> Option<RepositoryId> {
        match slug {
            RepositorySlug::Id(id) => Some(id.clone()),
            _ => self.names.get(&(account.clone(), slug.clone())),
        }
    }

    pub(super) fn remember_repository(&self, account: AccountId, slug: RepositorySlug, id: &RepositoryId) {
        self.names.insert((account, slug), id.clone());
    }
}

/// The maximum number of cached places of each kind, about 300 bytes each.
const REMEMBERED: usize = 2_000;

#[derive(Debug)]
struct Remembered<K, V>(Mutex<HashMap<K, V>>);

impl<K, V> Default for Remembered<K, V> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<K: Eq + Hash, V: Clone> Remembered<K, V> {
    fn get(&self, key: &K) -> Option<V> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(key).cloned()
    }

    fn insert(&self, key: K, value: V) {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if known.len() >= REMEMBERED {
            known.clear();
        }
        known.insert(key, value);
    }
}
