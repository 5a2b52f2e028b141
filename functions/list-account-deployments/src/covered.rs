//! The repositories that a list covers.

use std::collections::BTreeSet;

use shared::access::{Tenant, VisibleRepository};
use shared::id::RepositoryId;
use shared::model::{DeploymentCounts, ListedDeployment, Repository, RepositorySlug, WantedDeployments};
use shared::page::Sort;
use shared::table::Partition;
use shared::{App, Result};

/// The maximum number of repositories whose counters are read for the total: one BatchGetItem.
const COUNTED: usize = 100;

/// The repositories that a list covers.
#[derive(Debug)]
pub(crate) enum Covered {
    /// All repositories of the account.
    All,
    /// The repositories that a member without a base permission can see.
    Visible(BTreeSet<RepositoryId>),
    /// The one that the client asks for.
    One(Box<Repository>),
}

impl Covered {
    /// Returns the repositories that the caller can see, or the one that the client asks for.
    pub(crate) async fn by(app: &App, tenant: &Tenant, repository: Option<RepositorySlug>) -> Result<Self> {
        if let Some(slug) = repository {
            return Ok(Self::One(Box::new(VisibleRepository::named(app, tenant, slug).await?)));
        }
        if tenant.permission_everywhere().is_some() {
            return Ok(Self::All);
        }
        let visible = VisibleRepository::all(app.table(), tenant, Sort::Created).await?;
        Ok(Self::Visible(visible.into_iter().map(|repository| repository.id).collect()))
    }

    pub(crate) fn has(&self, repository: &RepositoryId) -> bool {
        match self {
            Self::All => true,
            Self::Visible(visible) => visible.contains(repository),
            Self::One(one) => one.id == *repository,
        }
    }

    /// Returns the partitions that have the deployments of these repositories.
    pub(crate) fn lists(&self, tenant: &Tenant, wanted: &WantedDeployments) -> Vec<Partition> {
        match self {
            Self::Visible(visible) if visible.is_empty() => Vec::new(),
            Self::All | Self::Visible(_) => ListedDeployment::of_account(tenant, &wanted.statuses),
            Self::One(one) => ListedDeployment::of_repository(&one.partition(), wanted.environment, &wanted.statuses),
        }
    }

    /// Returns whether the partitions have nothing but the wanted deployments.
    pub(crate) fn is_answered_by_index(&self, wanted: &WantedDeployments) -> bool {
        wanted.is_counted()
            && match self {
                Self::All => wanted.environment.is_none(),
                Self::Visible(_) => false,
                Self::One(_) => true,
            }
    }

    /// Returns the number of wanted deployments, if the counters of at most 100 repositories tell it.
    pub(crate) async fn total(&self, app: &App, tenant: &Tenant, wanted: &WantedDeployments) -> Result<Option<u64>> {
        if !wanted.is_counted() {
            return Ok(None);
        }
        let table = app.table();
        let all;
        let ids: Vec<&RepositoryId> = match self {
            Self::All => match Repository::ids(table, tenant, COUNTED).await? {
                Some(ids) => {
                    all = ids;
                    all.iter().collect()
                }
                None => return Ok(None),
            },
            Self::Visible(visible) if visible.len() > COUNTED => return Ok(None),
            Self::Visible(visible) => visible.iter().collect(),
            Self::One(one) => vec![&one.id],
        };
        Ok(Some(DeploymentCounts::sum(table, tenant, ids, wanted.counted()).await?))
    }
}
