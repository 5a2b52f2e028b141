//! Places of repositories in lists.

use serde::Deserialize;

use super::Repository;
use crate::clock::Timestamp;
use crate::error::{Error, Result};
use crate::id::RepositoryId;
use crate::model::key;
use crate::name::{RepositoryName, RepositoryNamePrefix};
use crate::permitted::TenantId;
use crate::sort::{Position, Sort};
use crate::table::{Index, Partition, Table};

/// The maximum number of repositories that a list by a prefix sorts.
const MAX_FOUND: usize = 10_000;

/// The attributes of a repository that lists sort by.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct RepositoryPlace {
    pub(crate) id: RepositoryId,
    pub(crate) name: RepositoryName,
    pub(crate) created_at: Timestamp,
    updated_at: Timestamp,
}

impl Repository {
    /// Returns the index partition that lists an account's repositories in a sort order.
    pub fn listed(tenant: &TenantId, sort: Sort) -> Partition {
        let index = match sort {
            Sort::Created => Index::ByCreation,
            Sort::Updated => Index::ByUpdate,
            Sort::Name => Index::ByName,
        };
        Partition::of_index(index, key::repositories(tenant))
    }

    /// Returns the places of the repositories whose names start with a prefix, in one Query per 1 MB of rows.
    ///
    /// # Errors
    /// Fails with `invalid_request` if they are more than can be sorted.
    pub(crate) async fn starting_with(
        table: &Table,
        tenant: &TenantId,
        prefix: &RepositoryNamePrefix,
    ) -> Result<Vec<RepositoryPlace>> {
        let attributes = RepositoryPlace::ATTRIBUTES;
        let found =
            table.starting_with(Self::listed(tenant, Sort::Name), &prefix.folded(), MAX_FOUND, attributes).await?;
        found.ok_or_else(|| {
            Error::invalid("name", "starts the names of more than 10,000 repositories; send more of the name")
        })
    }
}

impl RepositoryPlace {
    const ATTRIBUTES: &str = "id, #name, created_at, updated_at";

    /// Returns the position in a list by creation.
    pub(crate) fn by_creation(id: &RepositoryId, created_at: Timestamp) -> String {
        format!("{:015}#{id}", created_at.as_millis())
    }
}

impl From<&Repository> for RepositoryPlace {
    fn from(row: &Repository) -> Self {
        Self { id: row.id.clone(), name: row.name.clone(), created_at: row.created_at, updated_at: row.updated_at }
    }
}

impl Position for RepositoryPlace {
    fn position(&self, sort: Sort) -> String {
        sort_key(sort, &self.id, &self.name, self.created_at, self.updated_at)
    }
}

/// Returns the sort key of a repository in a list.
pub(super) fn sort_key(
    sort: Sort,
    id: &RepositoryId,
    name: &RepositoryName,
    created_at: Timestamp,
    updated_at: Timestamp,
) -> String {
    match sort {
        Sort::Created => RepositoryPlace::by_creation(id, created_at),
        Sort::Updated => format!("{:015}#{id}", updated_at.as_millis()),
        Sort::Name => format!("{}#{id}", name.folded()),
    }
}
