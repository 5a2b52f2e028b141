//! Repositories, with their names, refs and count.

mod source;

pub use source::*;

use std::collections::BTreeSet;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::clock::Timestamp;
use crate::error::{Error, ErrorCode, Result};
use crate::id::{AccountId, RepositoryId, TeamId};
use crate::model::{Action, Author, DeployRules, RepositoryPartition, Target, TargetKind, key};
use crate::name::{AccountSlug, InvalidName, RepositoryName};
use crate::permission::{Permission, Visibility};
use crate::permitted::TenantId;
use crate::sort::{Position, Sort};
use crate::table::{
    Change, Consistency, Index, IndexKey, Order, Partition, Query, Source, Table, TableError, Transaction, Values,
    Write,
};

/// The row of a repository.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Repository {
    /// The repository's ID, which stays when the name changes.
    pub id: RepositoryId,
    /// The account of the repository.
    pub account_id: AccountId,
    /// The account's slug at creation, the first half of the full name.
    pub account_slug: AccountSlug,
    /// The name, unique in the account regardless of case.
    pub name: RepositoryName,
    /// The visibility for the account's members.
    pub visibility: Visibility,
    /// The URL that the source is fetched from. It has no credentials.
    pub clone_url: String,
    /// The branch that `HEAD` named at creation, without `refs/heads/`.
    pub default_branch: String,
    /// The settings of the source, which each deployment keeps.
    #[serde(flatten)]
    pub source: SourceSettings,
    /// The rules that say which pushes are deployed.
    #[serde(default)]
    pub deploy_rules: DeployRules,
    /// The time at which the repository was created.
    pub created_at: Timestamp,
    /// The time at which the newest deployment was created, or else the repository.
    pub updated_at: Timestamp,
    /// The teams' permissions. They are in the repository's row so that one read decides who may use it.
    #[serde(flatten)]
    pub grants: Grants,
}

/// The teams that have a permission on a repository. A team is in at most one set.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Grants {
    #[serde(default, with = "serde_dynamo::string_set", skip_serializing_if = "BTreeSet::is_empty")]
    teams_read: BTreeSet<TeamId>,
    #[serde(default, with = "serde_dynamo::string_set", skip_serializing_if = "BTreeSet::is_empty")]
    teams_deploy: BTreeSet<TeamId>,
    #[serde(default, with = "serde_dynamo::string_set", skip_serializing_if = "BTreeSet::is_empty")]
    teams_admin: BTreeSet<TeamId>,
}

impl Grants {
    /// Returns the highest permission of these teams.
    pub(crate) fn highest(&self, teams: &BTreeSet<TeamId>) -> Option<Permission> {
        let given = |permission: &Permission| !self.teams(*permission).is_disjoint(teams);
        Permission::ALL.into_iter().rev().find(given)
    }

    fn teams(&self, permission: Permission) -> &BTreeSet<TeamId> {
        match permission {
            Permission::Read => &self.teams_read,
            Permission::Deploy => &self.teams_deploy,
            Permission::Admin => &self.teams_admin,
        }
    }
}

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

impl Repository {
    /// Returns the key of the partition that has the repository's counts and settings.
    pub fn partition(&self) -> RepositoryPartition {
        RepositoryPartition::new(&self.account_id, &self.id)
    }

    /// Returns the account's slug and the repository's name, separated by a slash.
    pub fn full_name(&self) -> String {
        format!("{}/{}", self.account_slug, self.name)
    }

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
        // The index may lag behind a repository that was just created.
        match table.get::<NameClaim>(key::repository_name(tenant, name), Consistency::Strong).await? {
            Some(claim) => Self::by_id(table, tenant, &claim.repository_id).await,
            None => Ok(None),
        }
    }

    /// Returns the repository with this id, if the account has it.
    pub async fn by_id(table: &Table, tenant: &TenantId, id: &RepositoryId) -> Result<Option<Self>, TableError> {
        table.get(key::repository(tenant, id), Consistency::Strong).await
    }

    /// Returns those of the repositories that exist, in no order.
    pub async fn by_ids(
        table: &Table,
        tenant: &TenantId,
        ids: impl IntoIterator<Item = &RepositoryId>,
    ) -> Result<Vec<Self>, TableError> {
        table.batch_get(ids.into_iter().map(|id| key::repository(tenant, id)).collect()).await
    }

    /// Returns the ids of the account's repositories, or `None` if there are more than `limit`.
    pub async fn ids(table: &Table, tenant: &TenantId, limit: usize) -> Result<Option<Vec<RepositoryId>>, TableError> {
        #[derive(Deserialize)]
        struct Id {
            id: RepositoryId,
        }
        let Partition { source, key: partition } = Self::listed(tenant, Sort::Created);
        let at_most = i32::try_from(limit).expect("a page is small") + 1;
        let query = Query { source, partition, order: Order::Ascending, after: None, limit: at_most };
        let (ids, _) = table.query::<Id>(query, Some("id")).await?;
        Ok((ids.len() <= limit).then(|| ids.into_iter().map(|row| row.id).collect()))
    }

    /// Returns every public repository of the account.
    pub async fn public(table: &Table, tenant: &TenantId) -> Result<Vec<Self>, TableError> {
        table.query_all(Partition::of_index(Index::Public, key::public_repositories(tenant))).await
    }

    /// Writes the repository, its name and the account's number of repositories in one transaction.
    ///
    /// # Errors
    /// Fails with `name_taken` if the account has a repository with the name.
    pub async fn create(&self, table: &Table, author: &Author) -> Result<()> {
        let event = author
            .event(Action::RepositoryCreated, self.target(), self.created_at)
            .in_repository(&self.id)
            .setting("clone_url", &self.clone_url)
            .setting("default_branch", &self.default_branch)
            .setting("visibility", self.visibility)
            .setting("root_folder", &self.source.root_folder)
            .setting("buildspec_path", &self.source.buildspec_path)
            .setting("fetch_depth", self.source.fetch_depth)
            .setting("deploy_rules", &self.deploy_rules);
        let claim = NameClaim { repository_id: self.id.clone() };
        let one_more = Change {
            expression: "ADD repositories :one".to_owned(),
            values: Values::new().set(":one", 1),
            ..Change::default()
        };
        Transaction::new()
            .by(author, &event)?
            .write(Write::create(key::repository_name(&self.account_id, &self.name), &claim, Vec::new())?)
            .or(|_| self.name_taken())
            .write(Write::create(key::repository(&self.account_id, &self.id), self, self.index_keys())?)
            .write(Write::Update { key: key::repository_count(&self.account_id), change: one_more })
            .commit(table)
            .await?
    }

    /// Returns the write that makes this the time of the last update.
    pub(super) fn touch(&self, now: Timestamp) -> Write {
        let (_, position) = Index::ByUpdate.key_attributes();
        let touched = Self { updated_at: now, ..self.clone() };
        let change = Change {
            expression: format!("SET updated_at = :now, {position} = :position"),
            condition: Some("attribute_exists(pk)"),
            values: Values::new().set(":now", now).set(":position", touched.sort_key(Sort::Updated)),
            ..Change::default()
        };
        Write::Update { key: key::repository(&self.account_id, &self.id), change }
    }

    fn target(&self) -> Target {
        Target::new(TargetKind::Repository, &self.id, Some(&self.name))
    }

    fn name_taken(&self) -> Error {
        Error::new(ErrorCode::NameTaken, format!("The account already has a repository named '{}'", self.name))
    }

    /// Returns the exact number of an account's repositories, from a counter that the transaction of each creation
    /// updates.
    pub async fn total(table: &Table, tenant: &TenantId) -> Result<u64, TableError> {
        let total: Option<RepositoryTotal> = table.get(key::repository_count(tenant), Consistency::Strong).await?;
        Ok(total.map_or(0, |total| total.repositories))
    }

    /// Returns the index partition that lists an account's repositories in a sort order.
    pub fn listed(tenant: &TenantId, sort: Sort) -> Partition {
        let index = match sort {
            Sort::Created => Index::ByCreation,
            Sort::Updated => Index::ByUpdate,
            Sort::Name => Index::ByName,
        };
        Partition::of_index(index, key::repositories(tenant))
    }

    pub(super) fn sort_key(&self, sort: Sort) -> String {
        repository_sort_key(sort, &self.id, &self.name, self.created_at, self.updated_at)
    }

    fn index_keys(&self) -> Vec<IndexKey> {
        let sorts = [(Index::ByCreation, Sort::Created), (Index::ByUpdate, Sort::Updated), (Index::ByName, Sort::Name)];
        let key = |(index, sort)| IndexKey {
            index,
            partition: key::repositories(&self.account_id),
            sort: self.sort_key(sort),
        };
        let mut keys: Vec<_> = sorts.into_iter().map(key).collect();
        if self.visibility == Visibility::Public {
            let partition = key::public_repositories(&self.account_id);
            keys.push(IndexKey { index: Index::Public, partition, sort: self.sort_key(Sort::Created) });
        }
        keys
    }
}

impl Position for Repository {
    const ATTRIBUTES: Option<&'static str> = Some(
        "id, account_id, account_slug, #name, visibility, clone_url, default_branch, root_folder, buildspec_path, \
         fetch_depth, deploy_rules, created_at, updated_at, teams_read, teams_deploy, teams_admin",
    );

    fn position(&self, sort: Sort) -> String {
        self.sort_key(sort)
    }
}

#[derive(Serialize, Deserialize)]
struct NameClaim {
    repository_id: RepositoryId,
}

#[derive(Deserialize)]
struct RepositoryTotal {
    repositories: u64,
}

/// Returns the sort key of a repository in a list.
pub(crate) fn repository_sort_key(
    sort: Sort,
    id: &RepositoryId,
    name: &RepositoryName,
    created_at: Timestamp,
    updated_at: Timestamp,
) -> String {
    match sort {
        Sort::Created => format!("{:015}#{id}", created_at.as_millis()),
        Sort::Updated => format!("{:015}#{id}", updated_at.as_millis()),
        Sort::Name => format!("{}#{id}", name.folded()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::table::Item;

    #[test]
    fn a_list_reads_all_attributes() {
        let team = || BTreeSet::from([TeamId::random()]);
        let now = Timestamp::from_millis(0);
        let full = Repository {
            id: RepositoryId::random(),
            account_id: AccountId::random(),
            account_slug: "acme".parse().unwrap(),
            name: "app".parse().unwrap(),
            visibility: Visibility::Private,
            clone_url: String::new(),
            default_branch: String::new(),
            source: SourceSettings::default(),
            deploy_rules: DeployRules::default(),
            created_at: now,
            updated_at: now,
            grants: Grants { teams_read: team(), teams_deploy: team(), teams_admin: team() },
        };
        let written: Item = serde_dynamo::to_item(full).unwrap();
        assert_eq!(crate::sort::attributes_read::<Repository>(), written.into_keys().collect());
    }

    #[test]
    fn a_row_from_before_the_settings_of_the_source_has_their_defaults() {
        let row = serde_json::json!({
            "id": RepositoryId::random(), "account_id": AccountId::random(), "account_slug": "acme", "name": "app",
            "visibility": "private", "clone_url": "https://git.example.com/acme/app.git", "default_branch": "main",
            "created_at": 0, "updated_at": 0,
        });
        let item: Item = serde_dynamo::to_item(row).unwrap();
        let row: Repository = serde_dynamo::from_item(item).unwrap();
        assert_eq!((row.source, row.deploy_rules), (SourceSettings::default(), DeployRules::default()));
    }
}
