//! Deletions of repositories.
//!
//! One transaction deletes the repository's row, frees its name, ends its use of a connection and writes the row of its
//! deletion. From then on nothing finds the repository, and nothing can be created in it. The deletion's row is the outbox of
//! the rest: the request takes the first steps, and the sweep goes on until nothing of the repository is left. Each step may be
//! repeated and may stop anywhere.
//!
//! | step | nothing is missed because |
//! |---|---|
//! | take the repository from its teams | the row names the teams that had it: a grant changes the revision that the first transaction checks |
//! | free the former names | each is an item of the repository's partition |
//! | delete the hooks with their deliveries | the counter of the hooks is exact, and a creation fails if the repository's row is gone |
//! | end the deployments | the counter of those that have not ended is exact |
//! | delete the deployments | their numbers have no gap, and the row has the last number that was deleted |
//! | delete the stored variables | none can be set if the repository's row is gone |
//! | delete the counter, the settings and the row | no deployment is left that could change them |

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::Repository;
use super::name::FormerName;
use crate::clock::Timestamp;
use crate::error::{Error, Result};
use crate::id::{AccountId, DeploymentId, HookId, RepositoryId, TeamId, UserId};
use crate::model::counter::add;
use crate::model::deployment::sort_key;
use crate::model::{
    Action, Actor, Author, Deployment, DeploymentCounts, Filter, Hook, RepositoryPartition, Status, Transition,
    TransitionFailed, key,
};
use crate::permitted::TenantId;
use crate::sort::Position;
use crate::table::{
    Change, Index, Item, Key, Order, Partition, Query, Source, Table, TableError, Transaction, Values, Write,
    read_item, read_items,
};

/// The number of deployments in one read.
const PAGE: i32 = 50;
/// The maximum number of writes in a transaction that deletes items. DynamoDB takes 100.
const AT_ONCE: usize = 90;
/// The number of sets of variables that one transaction deletes. Its items may have 4 MB in all.
const SETS_AT_ONCE: usize = 25;
/// The range of all sort keys.
const ALL: (&str, &str) = ("A", "Z");

/// The deletion of a repository, until nothing of it is left.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct RepositoryDeletion {
    account_id: AccountId,
    repository_id: RepositoryId,
    /// The user who deleted the repository, or who stands for the application that did.
    deleted_by: UserId,
    deleted_at: Timestamp,
    /// The teams that had a permission on the repository.
    teams: BTreeSet<TeamId>,
    /// The number of the last deployment that was deleted.
    last_number: u64,
}

/// The outcome of taking some steps of a deletion.
#[derive(Debug, Default)]
pub struct Deleting {
    /// The deployments that run in CodeBuild and have been asked to stop.
    pub stopping: Vec<Deployment>,
    /// Whether nothing of the repository is left.
    pub complete: bool,
}

/// The refusal to delete what has changed or is gone.
struct Changed;

impl Repository {
    /// Deletes the repository if it meets the precondition `expected`, and returns the deletion of what belongs to it.
    ///
    /// # Errors
    /// Fails with the error of `expected`, or with `not_found` if the repository is gone.
    pub async fn delete(
        self,
        table: &Table,
        tenant: &TenantId,
        expected: impl Fn(&Self) -> Result<()>,
        author: &Author,
        now: Timestamp,
    ) -> Result<RepositoryDeletion> {
        let mut current = self;
        let mut attempts = table.attempts();
        while attempts.begin().await {
            expected(&current)?;
            let (account, id) = (&current.account_id, &current.id);
            let deletion = RepositoryDeletion {
                account_id: account.clone(),
                repository_id: id.clone(),
                deleted_by: author.user_id().clone(),
                deleted_at: now,
                teams: current.grants.all_teams(),
                last_number: 0,
            };
            let event = author
                .event(Action::RepositoryDeleted, current.target(), now)
                .in_repository(id)
                .changing("clone_url", &current.clone_url, serde_json::Value::Null)
                .changing("connection_id", &current.connection_id, serde_json::Value::Null);
            let row = Write::DeleteIf {
                key: current.key(),
                condition: "attribute_exists(pk) AND (revision = :was OR attribute_not_exists(revision))",
                names: None,
                values: Some(Values::new().set(":was", current.revision)),
            };
            let mut transaction = Transaction::new()
                .by(author, &event)?
                .write(row)
                .or(|_| Changed)
                .write(Write::Delete { key: key::repository_name(account, &current.name) })
                .write(add(key::repository_count(account), "repositories", -1))
                .write(Write::create(deletion.key(), &deletion, Vec::new())?);
            if let Some(used) = current.connection_use() {
                transaction = transaction.no_longer_using(used);
            }
            if let Ok(()) = transaction.commit(table).await? {
                return Ok(deletion);
            }
            let found = Self::by_id(table, tenant, &current.id).await?;
            current = found.ok_or_else(|| Error::not_found("Repository"))?;
        }
        Err(TableError::Contended.into())
    }
}

impl RepositoryDeletion {
    /// Returns the deletions of all accounts that are not complete, up to 1 MB.
    pub async fn pending(table: &Table) -> Result<Vec<Self>, TableError> {
        let (items, _) = table.range(key::repository_deletions(), (" ", "~"), None).await?;
        read_items(items)
    }

    /// Takes steps until nothing of the repository is left, a build has to stop first, or the time is over.
    pub async fn advance(
        mut self,
        table: &Table,
        now: Timestamp,
        has_time: impl Fn() -> bool,
    ) -> Result<Deleting, TableError> {
        self.leave_teams(table).await?;
        self.free_former_names(table).await?;
        let without_hooks = self.delete_hooks(table).await?;
        let mut stopping = Vec::new();
        let counts = loop {
            let counts = DeploymentCounts::load(table, &self.partition()).await?;
            let live = [Status::Queued, Status::InProgress];
            if live.iter().all(|status| counts.total(Filter { environment: None, status: Some(*status) }) == 0) {
                break counts;
            }
            let asked_before = stopping.len();
            let ended = self.end_deployments(table, now, &mut stopping).await?;
            // The rest are builds that have to stop, or an index that lags.
            if !has_time() || (ended == 0 && stopping.len() == asked_before) {
                return Ok(Deleting { stopping, complete: false });
            }
        };
        while self.last_number < counts.last_number() {
            let next = self.next_deployments(table).await?;
            // The index lags behind, or another call deletes them too.
            if next.first().is_none_or(|first| first.number != self.last_number + 1) || !has_time() {
                return Ok(Deleting { stopping, complete: false });
            }
            for deployment in next {
                if !self.delete_deployment(table, &deployment).await? {
                    return Ok(Deleting { stopping, complete: false });
                }
            }
        }
        if without_hooks {
            self.delete_items(table).await?;
        }
        Ok(Deleting { stopping, complete: without_hooks })
    }

    async fn leave_teams(&self, table: &Table) -> Result<(), TableError> {
        for team in &self.teams {
            let grant = key::team_grant(&self.account_id, team, &self.repository_id);
            // An earlier step has done it, or the team is gone.
            let (Ok(()) | Err(Changed)) = Transaction::new()
                .write(Write::DeleteIf { key: grant, condition: "attribute_exists(pk)", names: None, values: None })
                .or(|_| Changed)
                .write(add(key::team_sizes(&self.account_id, team), "repositories", -1))
                .commit(table)
                .await?;
        }
        Ok(())
    }

    async fn free_former_names(&self, table: &Table) -> Result<(), TableError> {
        let (items, _) = table.range(self.partition().items(), key::FORMER_NAMES, None).await?;
        for FormerName { name } in read_items(items)? {
            let free = Write::DeleteIf {
                key: key::repository_name(&self.account_id, &name),
                condition: "former = :yes AND repository_id = :id",
                names: None,
                values: Some(Values::new().set(":yes", true).set(":id", self.repository_id.as_str())),
            };
            // Another repository may have taken the name.
            let (Ok(()) | Err(Changed)) = Transaction::new().write(free).or(|_| Changed).commit(table).await?;
        }
        Ok(())
    }

    /// Deletes the hooks with their deliveries. Returns whether none is left.
    async fn delete_hooks(&self, table: &Table) -> Result<bool, TableError> {
        let partition = self.partition();
        let source = Source::Index(Index::ByCreation);
        let query = Query { source, partition: partition.hooks(), order: Order::Ascending, after: None, limit: PAGE };
        for Listed { id } in table.query::<Listed<HookId>>(query, Some("id")).await?.0 {
            let row = key::hook(&id);
            let mut items = delete_most(table, key::hook_partition(&id), &row).await?;
            items.retain(|item| *item != row);
            // An earlier step has done it, and the index lags behind.
            let (Ok(()) | Err(Changed)) = Transaction::new()
                .write(Write::DeleteIf { key: row, condition: "attribute_exists(pk)", names: None, values: None })
                .or(|_| Changed)
                .write(Hook::counted(&partition, -1))
                .writes(items.into_iter().map(|key| Write::Delete { key }))
                .commit(table)
                .await?;
        }
        let is_last = Hook::count_of(table, &partition).await? == 0;
        if is_last {
            delete_all(table, [partition.hook_count()]).await?;
        }
        Ok(is_last)
    }

    /// Cancels queued deployments, and asks those in progress to stop. Returns the number of those that have ended.
    async fn end_deployments(
        &self,
        table: &Table,
        now: Timestamp,
        stopping: &mut Vec<Deployment>,
    ) -> Result<usize, TableError> {
        let mut ended = 0;
        for status in [Status::Queued, Status::InProgress] {
            let Partition { source, key: partition } =
                Deployment::listed(&self.partition(), Filter { environment: None, status: Some(status) });
            let query = Query { source, partition, order: Order::Ascending, after: None, limit: PAGE };
            for Listed { id } in table.query::<Listed<DeploymentId>>(query, Some("id")).await?.0 {
                let Some(found) = Deployment::load(table, &self.account_id, &id).await? else { continue };
                let by = self.deleted_by.clone();
                let transition = match found.status {
                    Status::Queued => Transition::Cancel,
                    Status::InProgress if found.cancel_requested_by.is_none() => Transition::RequestCancel(by.clone()),
                    _ => continue,
                };
                match found.transition(table, transition, Actor::User(by), now).await {
                    Ok(canceled) if canceled.status.is_final() => ended += 1,
                    Ok(asked) if asked.build.is_some() => stopping.push(asked),
                    // Its runner polls for the request. A deployment that changed meanwhile is met again.
                    Ok(_) | Err(TransitionFailed::Stale | TransitionFailed::Blocked | TransitionFailed::NoPermit) => {}
                    Err(TransitionFailed::Table(error)) => return Err(error),
                }
            }
        }
        Ok(ended)
    }

    /// Returns the next deployments by number.
    async fn next_deployments(&self, table: &Table) -> Result<Vec<Deployment>, TableError> {
        let Partition { source, key: partition } = Deployment::listed(&self.partition(), Filter::default());
        let after = sort_key(self.last_number);
        let query = Query { source, partition, order: Order::Ascending, after: Some(&after), limit: PAGE };
        Ok(table.query(query, Deployment::ATTRIBUTES).await?.0)
    }

    /// Deletes the items of a deployment and the lock of its lane, and records its number. Returns `false` if another call came
    /// first.
    async fn delete_deployment(&mut self, table: &Table, deployment: &Deployment) -> Result<bool, TableError> {
        let partition = key::deployment_partition(&self.account_id, &deployment.id);
        // The events are more than a transaction takes only after hundreds of attempts.
        let items = delete_most(table, partition, &key::deployment(&self.account_id, &deployment.id)).await?;
        let change = Change {
            expression: "SET last_number = :number".to_owned(),
            condition: Some("last_number = :last"),
            values: Values::new().set(":number", deployment.number).set(":last", self.last_number),
            ..Change::default()
        };
        let deleted = Transaction::new()
            .write(Write::Update { key: self.key(), change })
            .or(|_| Changed)
            .writes(items.into_iter().chain([deployment.lane().lock()]).map(|key| Write::Delete { key }))
            .commit(table)
            .await?;
        self.last_number = deployment.number;
        Ok(deleted.is_ok())
    }

    async fn delete_items(&self, table: &Table) -> Result<(), TableError> {
        let partition = self.partition();
        for (items, at_once) in [(key::repository_variables(&partition), SETS_AT_ONCE), (partition.items(), AT_ONCE)] {
            loop {
                let left = keys(table, items.clone()).await?;
                if left.is_empty() {
                    break;
                }
                delete_all(table, left.into_iter().take(at_once)).await?;
            }
        }
        delete_all(table, [self.key()]).await
    }

    fn partition(&self) -> RepositoryPartition {
        RepositoryPartition::new(&self.account_id, &self.repository_id)
    }

    fn key(&self) -> Key {
        key::repository_deletion(&self.account_id, &self.repository_id)
    }
}

#[derive(Deserialize)]
struct Listed<Id> {
    id: Id,
}

/// Deletes the items of a partition but the last that fit into a transaction. Returns those, among which is the row that leads to the
/// partition.
async fn delete_most(table: &Table, partition: String, row: &Key) -> Result<Vec<Key>, TableError> {
    loop {
        let items = keys(table, partition.clone()).await?;
        if items.len() <= AT_ONCE {
            return Ok(items);
        }
        delete_all(table, items.into_iter().filter(|item| item != row).take(AT_ONCE)).await?;
    }
}

/// Returns the keys of the items in a partition, up to 1 MB.
async fn keys(table: &Table, partition: String) -> Result<Vec<Key>, TableError> {
    let (items, _): (Vec<Item>, _) = table.range(partition, ALL, None).await?;
    items.into_iter().map(read_item).collect()
}

async fn delete_all(table: &Table, keys: impl IntoIterator<Item = Key>) -> Result<(), TableError> {
    let deletions = keys.into_iter().map(|key| Write::Delete { key });
    match Transaction::<std::convert::Infallible>::new().writes(deletions).commit(table).await? {
        Ok(()) => Ok(()),
    }
}
