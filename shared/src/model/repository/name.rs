//! Names of repositories: in paths, and as claims that keep them unique in an account.
//!
//! The claim of a name that a repository had before leads to the repository, until another one takes the name. Such a claim is
//! also an item of the repository's own partition, so that the deletion finds it.

use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::Repository;
use crate::error::{Error, ErrorCode};
use crate::id::RepositoryId;
use crate::model::key;
use crate::name::{InvalidName, RepositoryName};
use crate::permitted::TenantId;
use crate::sort::Position;
use crate::table::{Consistency, Index, Order, Query, Source, Table, TableError, Values, Write};

/// The name of a repository in a path: `repo_…`, `name`, or `account/name`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum RepositorySlug {
    /// The repository's ID.
    Id(RepositoryId),
    /// The name of a repository of the caller's account.
    Name(RepositoryName),
    /// The account's slug and the repository's name.
    FullName(String, RepositoryName),
}

impl FromStr for RepositorySlug {
    type Err = InvalidName;

    fn from_str(text: &str) -> Result<Self, InvalidName> {
        if let Ok(id) = text.parse() {
            return Ok(Self::Id(id));
        }
        match text.split_once('/') {
            Some((account, name)) => Ok(Self::FullName(account.to_owned(), name.parse()?)),
            None => Ok(Self::Name(text.parse()?)),
        }
    }
}

impl RepositorySlug {
    /// Returns whether the slug names this repository of the caller's account.
    pub(crate) fn names(&self, repository: &Repository) -> bool {
        match self {
            Self::Id(id) => *id == repository.id,
            Self::Name(name) => name.folded() == repository.name.folded(),
            Self::FullName(account, name) => {
                repository.account_slug.is(account) && name.folded() == repository.name.folded()
            }
        }
    }
}

/// The claim on a name.
#[derive(Serialize, Deserialize)]
struct NameClaim {
    repository_id: RepositoryId,
    /// Whether the repository has another name now.
    #[serde(default)]
    former: bool,
}

/// A name that a repository had, in the repository's own partition.
#[derive(Serialize, Deserialize)]
pub(super) struct FormerName {
    pub(super) name: RepositoryName,
}

impl Repository {
    /// Returns the repository that has this name, or else the one that had it last. [`RepositorySlug::names`] tells them apart.
    pub(crate) async fn by_name(
        table: &Table,
        tenant: &TenantId,
        name: &RepositoryName,
    ) -> Result<Option<Self>, TableError> {
        let by_name = Query {
            source: Source::Index(Index::ByName),
            partition: key::repositories(tenant),
            order: Order::Ascending,
            after: Some(&name.folded()),
            limit: 1,
        };
        // The sort key is the folded name and the id. So the first row after the bare name is the repository, if it
        // exists.
        let (rows, _) = table.query::<Repository>(by_name, Self::ATTRIBUTES).await?;
        if let Some(row) = rows.into_iter().find(|row| row.name.folded() == name.folded()) {
            return Ok(Some(row));
        }
        // The index may lag behind a repository that was just created, and it has no former names.
        match table.get::<NameClaim>(key::repository_name(tenant, name), Consistency::Strong).await? {
            Some(claim) => Self::by_id(table, tenant, &claim.repository_id).await,
            None => Ok(None),
        }
    }

    /// Returns the writes of a transaction that gives the repository the name of `after`. The first fails if another repository
    /// has the name.
    pub(super) fn rename(&self, after: &Self) -> Result<[Write; 4], TableError> {
        let (account, partition) = (&self.account_id, self.partition());
        let former = NameClaim { repository_id: self.id.clone(), former: true };
        let former_name = FormerName { name: self.name.clone() };
        Ok([
            after.claim_name()?,
            Write::put(key::repository_name(account, &self.name), &former)?,
            Write::put(partition.former_name(&self.name), &former_name)?,
            Write::Delete { key: partition.former_name(&after.name) },
        ])
    }

    /// Returns the write that claims the name. It fails if another repository has it.
    pub(super) fn claim_name(&self) -> Result<Write, TableError> {
        let claim = NameClaim { repository_id: self.id.clone(), former: false };
        let condition = "attribute_not_exists(pk) OR former = :yes";
        let values = Values::new().set(":yes", true);
        Write::put_if(key::repository_name(&self.account_id, &self.name), &claim, Vec::new(), condition, values)
    }

    pub(super) fn name_taken(&self) -> Error {
        Error::new(ErrorCode::NameTaken, format!("The account already has a repository named '{}'", self.name))
    }
}
