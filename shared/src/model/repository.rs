//! Repositories, with their names, refs and count.

mod change;
mod deletion;
mod name;
mod place;
mod source;

pub use change::*;
pub use deletion::*;
pub use name::*;
pub(crate) use place::RepositoryPlace;
pub use source::*;

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use self::place::sort_key;
use crate::clock::Timestamp;
use crate::error::Result;
use crate::id::{AccountId, ConnectionId, RepositoryId, TeamId};
use crate::model::counter::add;
use crate::model::{
    Action, Author, BuildMachine, Connection, ConnectionUse, DeployRules, RepositoryPartition, Target, TargetKind, key,
};
use crate::name::{AccountSlug, RepositoryName};
use crate::permission::{Permission, Visibility};
use crate::permitted::TenantId;
use crate::sort::{Position, Sort};
use crate::table::{
    Change, Consistency, Index, IndexKey, Key, Order, Partition, Query, Table, TableError, Transaction, Values, Write,
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
    /// The connection whose credential the source is fetched with. `None` for a repository that everybody may read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub connection_id: Option<ConnectionId>,
    /// The default branch, without `refs/heads/`. An empty repository does not have it yet.
    pub default_branch: String,
    /// The settings of the source, which each deployment keeps.
    #[serde(flatten)]
    pub source: SourceSettings,
    /// The machine of builds in CodeBuild, unless the environment has its own.
    #[serde(flatten)]
    pub machine: BuildMachine,
    /// The rules that say which pushes are deployed.
    #[serde(default)]
    pub deploy_rules: DeployRules,
    /// The version that changes and the deletion check. Each change of the settings or the grants adds one.
    #[serde(default)]
    pub revision: u64,
    /// The time at which the repository was created.
    pub created_at: Timestamp,
    /// The time of the last change of the settings, of the newest deployment, or of the creation.
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

    /// Returns the teams with any permission.
    fn all_teams(&self) -> BTreeSet<TeamId> {
        Permission::ALL.into_iter().flat_map(|permission| self.teams(permission)).cloned().collect()
    }

    fn teams(&self, permission: Permission) -> &BTreeSet<TeamId> {
        match permission {
            Permission::Read => &self.teams_read,
            Permission::Deploy => &self.teams_deploy,
            Permission::Admin => &self.teams_admin,
        }
    }
}

impl Repository {
    /// Returns the key of the partition that has the repository's counts and settings.
    pub fn partition(&self) -> RepositoryPartition {
        RepositoryPartition::new(&self.account_id, &self.id)
    }

    /// Returns the version of the settings and the grants. Another repository of the same name has another one.
    pub fn version(&self) -> String {
        format!("{}-{}", self.id, self.revision)
    }

    /// Returns the account's slug and the repository's name, separated by a slash.
    pub fn full_name(&self) -> String {
        format!("{}/{}", self.account_slug, self.name)
    }

    /// Returns the repository with this id, if the account has it.
    pub async fn by_id(table: &Table, tenant: &TenantId, id: &RepositoryId) -> Result<Option<Self>, TableError> {
        table.get(key::repository(tenant, id), Consistency::Strong).await
    }

    /// Returns the full name of a repository, if it exists. An event of the account vouches for the ID.
    pub async fn name_of(table: &Table, account: &AccountId, id: &RepositoryId) -> Result<Option<String>, TableError> {
        let found: Option<Self> = table.get(key::repository(account, id), Consistency::Eventual).await?;
        Ok(found.map(|repository| repository.full_name()))
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

    /// Writes the repository, its name, its use of a connection and the account's number of repositories in one transaction.
    ///
    /// # Errors
    /// Fails with `name_taken` if the account has a repository with the name, and with `invalid_request` on `connection_id` if
    /// the connection was deleted meanwhile.
    pub async fn create(&self, table: &Table, author: &Author) -> Result<()> {
        let event = author
            .event(Action::RepositoryCreated, self.target(), self.created_at)
            .in_repository(&self.id)
            .setting("clone_url", &self.clone_url)
            .setting("connection_id", &self.connection_id)
            .setting("default_branch", &self.default_branch)
            .setting("visibility", self.visibility)
            .setting("root_folder", &self.source.root_folder)
            .setting("buildspec_path", &self.source.buildspec_path)
            .setting("fetch_depth", self.source.fetch_depth)
            .setting("cache", self.source.cache)
            .setting("image", &self.machine.image)
            .setting("compute_type", self.machine.compute_type)
            .setting("privileged", self.machine.privileged)
            .setting("deploy_rules", &self.deploy_rules);
        let mut transaction = Transaction::new()
            .by(author, &event)?
            .write(self.claim_name()?)
            .or(|_| self.name_taken())
            .write(Write::create(self.key(), self, self.index_keys())?)
            .write(add(key::repository_count(&self.account_id), "repositories", 1));
        if let Some(used) = self.connection_use() {
            transaction = transaction.using(used, |_| Connection::unknown())?;
        }
        transaction.commit(table).await?
    }

    /// Returns the repository's use of its connection, if it has one.
    fn connection_use(&self) -> Option<ConnectionUse<'_>> {
        let connection = self.connection_id.as_ref()?;
        Some(ConnectionUse { account: &self.account_id, connection, repository: &self.id })
    }

    /// Returns the write that makes this the time of the last update. It fails if the repository is gone.
    pub(super) fn touch(&self, now: Timestamp) -> Write {
        let (_, position) = Index::ByUpdate.key_attributes();
        let touched = Self { updated_at: now, ..self.clone() };
        let change = Change {
            expression: format!("SET updated_at = :now, {position} = :position"),
            condition: Some("attribute_exists(pk)"),
            values: Values::new().set(":now", now).set(":position", touched.position(Sort::Updated)),
            ..Change::default()
        };
        Write::Update { key: self.key(), change }
    }

    /// Returns the condition that the repository still exists.
    pub(super) fn exists(&self) -> Write {
        Write::Check { key: self.key(), condition: "attribute_exists(pk)", names: None, values: None }
    }

    fn key(&self) -> Key {
        key::repository(&self.account_id, &self.id)
    }

    pub(super) fn target(&self) -> Target {
        Target::new(TargetKind::Repository, &self.id, Some(&self.name))
    }

    /// Returns the exact number of an account's repositories, from a counter that the transaction of each creation
    /// updates.
    pub async fn total(table: &Table, tenant: &TenantId) -> Result<u64, TableError> {
        let total: Option<RepositoryTotal> = table.get(key::repository_count(tenant), Consistency::Strong).await?;
        Ok(total.map_or(0, |total| total.repositories))
    }

    fn index_keys(&self) -> Vec<IndexKey> {
        let sorts = [(Index::ByCreation, Sort::Created), (Index::ByUpdate, Sort::Updated), (Index::ByName, Sort::Name)];
        let key = |(index, sort)| IndexKey {
            index,
            partition: key::repositories(&self.account_id),
            sort: self.position(sort),
        };
        let mut keys: Vec<_> = sorts.into_iter().map(key).collect();
        if self.visibility == Visibility::Public {
            let partition = key::public_repositories(&self.account_id);
            keys.push(IndexKey { index: Index::Public, partition, sort: self.position(Sort::Created) });
        }
        keys
    }
}

impl Position for Repository {
    const ATTRIBUTES: Option<&'static str> = Some(
        "id, account_id, account_slug, #name, visibility, clone_url, connection_id, default_branch, root_folder, buildspec_path, \
         fetch_depth, cache, image, compute_type, privileged, deploy_rules, revision, created_at, updated_at, teams_read, teams_deploy, teams_admin",
    );

    fn position(&self, sort: Sort) -> String {
        sort_key(sort, &self.id, &self.name, self.created_at, self.updated_at)
    }
}

#[derive(Deserialize)]
struct RepositoryTotal {
    repositories: u64,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::ComputeType;
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
            connection_id: Some(ConnectionId::random()),
            default_branch: String::new(),
            source: SourceSettings::default(),
            machine: BuildMachine {
                image: Some("aws/codebuild/standard:7.0".parse().unwrap()),
                compute_type: Some(ComputeType::Small),
                privileged: true,
            },
            deploy_rules: DeployRules::default(),
            revision: 1,
            created_at: now,
            updated_at: now,
            grants: Grants { teams_read: team(), teams_deploy: team(), teams_admin: team() },
        };
        let written: Item = serde_dynamo::to_item(full).unwrap();
        assert_eq!(crate::sort::attributes_read::<Repository>(), written.into_keys().collect());
    }

    #[test]
    fn a_row_from_before_the_settings_of_builds_has_their_defaults() {
        let row = serde_json::json!({
            "id": RepositoryId::random(), "account_id": AccountId::random(), "account_slug": "acme", "name": "app",
            "visibility": "private", "clone_url": "https://git.example.com/acme/app.git", "default_branch": "main",
            "created_at": 0, "updated_at": 0,
        });
        let item: Item = serde_dynamo::to_item(row).unwrap();
        let row: Repository = serde_dynamo::from_item(item).unwrap();
        assert_eq!((row.source, row.deploy_rules), (SourceSettings::default(), DeployRules::default()));
        assert!(row.machine.is_default());
    }
}
