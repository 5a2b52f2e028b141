//! Deployments: their states, events, numbers and variables.

use std::collections::HashMap;
use std::time::Duration;

use aws_sdk_dynamodb::types::AttributeValue;
use serde::{Deserialize, Serialize};
use serde_bytes::ByteBuf;

use crate::access::{AuthorizedRepository, Tenant};
use crate::clock::Timestamp;
use crate::id::{AccountId, DeploymentId, RepositoryId, UserId};
use crate::model::repository::repository_partition;
use crate::model::{BuildId, KnownRef, Repository};
use crate::page::{Position, Sort};
use crate::table::{
    Change, Consistency, IndexKey, Item, Key, Order, Query, Source, Table, TableError, TransactFailed, Write,
};

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Environment {
    #[default]
    Preview,
    Staging,
    Production,
}

impl Environment {
    pub const ALL: [Environment; 3] = [Self::Preview, Self::Staging, Self::Production];

    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Preview => "preview",
            Self::Staging => "staging",
            Self::Production => "production",
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    Queued,
    InProgress,
    Succeeded,
    Failed,
    Canceled,
    Superseded,
}

impl Status {
    pub const ALL: [Status; 6] =
        [Self::Queued, Self::InProgress, Self::Succeeded, Self::Failed, Self::Canceled, Self::Superseded];

    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::InProgress => "in_progress",
            Self::Succeeded => "succeeded",
            Self::Failed => "failed",
            Self::Canceled => "canceled",
            Self::Superseded => "superseded",
        }
    }

    /// The table of transitions: what a state may become. In progress may become itself: a runner that was lost is
    /// followed by another.
    pub const fn successors(self) -> &'static [Status] {
        match self {
            Self::Queued => &[Self::InProgress, Self::Failed, Self::Canceled, Self::Superseded],
            Self::InProgress => &[Self::InProgress, Self::Succeeded, Self::Failed, Self::Canceled],
            Self::Succeeded | Self::Failed | Self::Canceled | Self::Superseded => &[],
        }
    }

    pub const fn is_final(self) -> bool {
        self.successors().is_empty()
    }
}

/// Why a deployment did not succeed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Failure {
    /// A stable name to program against.
    #[schema(examples("command_failed"))]
    pub code: String,
    /// A sentence for a person.
    #[schema(examples("Command 'make test' in phase build exited with status 2"))]
    pub message: String,
}

impl Failure {
    /// A message may quote a command of 64 KiB, and each of the five copies of the row has it.
    const MAX_MESSAGE_BYTES: usize = 1000;

    fn shorten(&mut self) {
        if self.message.len() > Self::MAX_MESSAGE_BYTES {
            const ELLIPSIS: char = '…';
            self.message.truncate(self.message.floor_char_boundary(Self::MAX_MESSAGE_BYTES - ELLIPSIS.len_utf8()));
            self.message.push(ELLIPSIS);
        }
    }
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Deployment {
    pub id: DeploymentId,
    pub account_id: AccountId,
    pub repository_id: RepositoryId,
    /// 1, 2, 3, … in its repository.
    pub number: u64,
    pub status: Status,
    pub environment: Environment,
    /// The ref as the client wrote it.
    pub git_ref: String,
    /// The full commit id that the ref stood for at creation, and that is deployed.
    pub sha: String,
    /// The repository's clone URL at creation.
    pub clone_url: String,
    pub created_by: UserId,
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started_at: Option<Timestamp>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub finished_at: Option<Timestamp>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure: Option<Failure>,
    /// Events so far. Every transition adds one, so this is also the version that each conditional write names.
    pub events: u64,
    /// How often a runner has claimed it.
    pub attempt: u32,
    /// Until when the runner that claimed it is taken to be alive.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lease_until: Option<Timestamp>,
    /// The build that runs it, when its runner has handed it to CodeBuild. Then there is no lease: CodeBuild tells the end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub build: Option<BuildId>,
    /// When the sweep looks at it, unless its state changes before. Nothing that has ended has it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub due_at: Option<Timestamp>,
}

/// A deployment's place in the index of what is due.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Due {
    pub at: Timestamp,
    pub account_id: AccountId,
    pub deployment_id: DeploymentId,
}

/// How long a queued deployment may wait before the sweep sends its message again. It takes a second to be picked up
/// when a runner is free, and one that waits behind others gains nothing from a second message.
pub const PICKED_UP_WITHIN: Duration = Duration::from_secs(300);
/// What a lease that is over has for its last renewal to become visible, before its deployment is sent again.
pub const LEASE_GRACE: Duration = Duration::from_secs(15);
/// How long CodeBuild may be silent about a build before it is asked. Its events take seconds.
pub const BUILD_REPORTS_WITHIN: Duration = Duration::from_secs(300);

/// One change of a deployment's state.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct DeploymentEvent {
    pub number: u64,
    pub at: Timestamp,
    pub status: Status,
    pub actor: Actor,
    pub reason: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Actor {
    User(UserId),
    Runner,
}

/// What creation asks for, before the deployment has its number.
pub struct NewDeployment {
    pub id: DeploymentId,
    pub environment: Environment,
    pub git_ref: String,
    pub sha: String,
    /// Variables, encrypted.
    pub sealed_variables: Option<Vec<u8>>,
    /// The ref that was read from the remote just now, to be kept.
    pub tip: Option<KnownRef>,
}

/// A change of state that another writer came before.
#[derive(Debug)]
pub enum TransitionFailed {
    /// The deployment is no longer as it was read.
    Stale,
    Table(TableError),
}

/// Rivals for the same repository's next number that one creation gives way to.
const MAX_NUMBERING_ATTEMPTS: u32 = 64;

impl Deployment {
    pub(crate) async fn find(table: &Table, tenant: &Tenant, id: &DeploymentId) -> Result<Option<Self>, TableError> {
        Self::load(table, &tenant.account().id, id).await
    }

    /// The deployment that a queue message names; the queue's policy, and not a token, is what vouches for it.
    pub async fn load(table: &Table, account: &AccountId, id: &DeploymentId) -> Result<Option<Self>, TableError> {
        table.get(deployment_key(account, id, "DEPLOY"), Consistency::Strong).await
    }

    /// Writes the deployment with the repository's next number, its first event, its variables and the counts at once.
    /// Creations in the same repository compete for the number; the loser takes the one after.
    pub async fn create(
        table: &Table,
        repository: &AuthorizedRepository,
        counts: &DeploymentCounts,
        new: NewDeployment,
        by: &UserId,
        now: Timestamp,
    ) -> Result<Self, TransactFailed> {
        let mut deployment = Self {
            id: new.id,
            account_id: repository.account_id.clone(),
            repository_id: repository.id.clone(),
            number: counts.last_number() + 1,
            status: Status::Queued,
            environment: new.environment,
            git_ref: new.git_ref,
            sha: new.sha,
            clone_url: repository.clone_url.clone(),
            created_by: by.clone(),
            created_at: now,
            updated_at: now,
            started_at: None,
            finished_at: None,
            failure: None,
            events: 1,
            attempt: 0,
            lease_until: None,
            build: None,
            due_at: Some(now.plus(PICKED_UP_WITHIN)),
        };
        let event = DeploymentEvent {
            number: 1,
            at: now,
            status: Status::Queued,
            actor: Actor::User(by.clone()),
            reason: "created".to_owned(),
        };
        for _ in 0..MAX_NUMBERING_ATTEMPTS {
            let writes = || {
                let mut writes = vec![
                    deployment.count_creation(),
                    Write::create(deployment.key("DEPLOY"), &deployment, deployment.index_keys())?,
                    event.write(&deployment)?,
                ];
                if let Some(sealed) = &new.sealed_variables {
                    let row = SealedVariables { sealed: ByteBuf::from(sealed.as_slice()) };
                    writes.push(Write::create(deployment.key("VARS"), &row, Vec::new())?);
                }
                if let Some(tip) = &new.tip {
                    writes.push(tip.write(repository)?);
                }
                Ok(writes)
            };
            match table.transact(writes().map_err(TransactFailed::Table)?).await {
                Ok(()) => return Ok(deployment),
                Err(TransactFailed::Conditions(failed)) => match failed.into_iter().next().flatten() {
                    Some(counter) => {
                        let counts = counter.current.map(DeploymentCounts::from_item).transpose();
                        deployment.number =
                            counts.map_err(TransactFailed::Table)?.unwrap_or_default().last_number() + 1;
                    }
                    None => return Err(TransactFailed::Table(TableError::Contended)),
                },
                Err(error) => return Err(error),
            }
        }
        Err(TransactFailed::Conflict)
    }

    /// Changes the state, if the deployment is still as `self` has it, appends the event and moves the counts.
    /// Gives the deployment as it is now.
    ///
    /// # Panics
    /// When the table of transitions has no such change: the caller must know the state that it changes.
    pub async fn transition(
        &self,
        table: &Table,
        next: Transition,
        actor: Actor,
        now: Timestamp,
    ) -> Result<Self, TransitionFailed> {
        assert!(
            self.status.successors().contains(&next.status()),
            "{:?} can't become {:?}",
            self.status,
            next.status()
        );
        let mut changed = Self { status: next.status(), updated_at: now, events: self.events + 1, ..self.clone() };
        let reason = match next {
            Transition::Claim { lease_until } => {
                changed.attempt += 1;
                changed.started_at = Some(self.started_at.unwrap_or(now));
                changed.lease_until = Some(lease_until);
                changed.due_at = Some(lease_until.plus(LEASE_GRACE));
                format!("claimed, attempt {}", changed.attempt)
            }
            Transition::HandOver { build } => {
                changed.lease_until = None;
                changed.due_at = Some(now.plus(BUILD_REPORTS_WITHIN));
                let reason = format!("build {build} was started");
                changed.build = Some(build);
                reason
            }
            Transition::Succeed => {
                changed.finished_at = Some(now);
                changed.due_at = None;
                "all phases succeeded".to_owned()
            }
            Transition::Fail(mut failure) => {
                failure.shorten();
                changed.finished_at = Some(now);
                changed.due_at = None;
                let reason = failure.message.clone();
                changed.failure = Some(failure);
                reason
            }
        };
        let event = DeploymentEvent { number: changed.events, at: now, status: changed.status, actor, reason };
        let writes = || {
            let mut writes = vec![
                Write::replace(
                    changed.key("DEPLOY"),
                    &changed,
                    changed.index_keys(),
                    "events = :version",
                    self.events,
                )?,
                event.write(&changed)?,
            ];
            if self.status != changed.status {
                writes.push(changed.count_move(self.status));
            }
            Ok(writes)
        };
        let writes = writes().map_err(TransitionFailed::Table)?;
        match table.transact(writes).await {
            Ok(()) => Ok(changed),
            Err(TransactFailed::Conditions(_)) => Err(TransitionFailed::Stale),
            Err(TransactFailed::Conflict) => Err(TransitionFailed::Table(TableError::Contended)),
            Err(TransactFailed::Table(error)) => Err(TransitionFailed::Table(error)),
        }
    }

    /// Says that the runner of this attempt is alive. `false`: it no longer has the deployment.
    pub async fn renew_lease(&self, table: &Table, until: Timestamp) -> Result<bool, TableError> {
        let due_at = until.plus(LEASE_GRACE);
        let change = Change {
            expression: format!("SET lease_until = :until, due_at = :due, {} = :position", due_sort_attribute()),
            condition: Some("events = :version"),
            names: None,
            values: Item::from([
                (":until".to_owned(), AttributeValue::N(until.as_millis().to_string())),
                (":due".to_owned(), AttributeValue::N(due_at.as_millis().to_string())),
                (":position".to_owned(), AttributeValue::S(self.due(due_at).position())),
                (":version".to_owned(), AttributeValue::N(self.events.to_string())),
            ]),
        };
        Ok(table.update(self.key("DEPLOY"), change).await?.is_ok())
    }

    /// Lets the sweep look at it at another time. `false`: it is no longer as `self` has it, or another sweep has put
    /// it off already.
    pub async fn put_off(&self, table: &Table, until: Timestamp) -> Result<bool, TableError> {
        let Some(due_at) = self.due_at else { return Ok(false) };
        let change = Change {
            expression: format!("SET due_at = :until, {} = :position", due_sort_attribute()),
            condition: Some("events = :version AND due_at = :due"),
            names: None,
            values: Item::from([
                (":until".to_owned(), AttributeValue::N(until.as_millis().to_string())),
                (":due".to_owned(), AttributeValue::N(due_at.as_millis().to_string())),
                (":position".to_owned(), AttributeValue::S(self.due(until).position())),
                (":version".to_owned(), AttributeValue::N(self.events.to_string())),
            ]),
        };
        Ok(table.update(self.key("DEPLOY"), change).await?.is_ok())
    }

    pub async fn sealed_variables(&self, table: &Table) -> Result<Option<Vec<u8>>, TableError> {
        let row: Option<SealedVariables> = table.get(self.key("VARS"), Consistency::Strong).await?;
        Ok(row.map(|row| row.sealed.into_vec()))
    }

    /// What a deployment's variables are sealed to, so that they open for no other.
    pub fn sealing_context(account: &AccountId, id: &DeploymentId) -> String {
        format!("{account}/{id}")
    }

    /// Where the archive keeps the deployment's log.
    pub fn archive_prefix(&self) -> String {
        format!("deployments/{}/{}", self.account_id, self.id)
    }

    /// Where the archive keeps the artifacts. Each attempt has its own, so that what a lost runner left does not mix
    /// with what the last one made.
    pub fn artifacts_prefix(&self) -> String {
        format!("{}/attempts/{}", self.archive_prefix(), self.attempt)
    }

    /// Where a repository's deployments are listed, by number.
    pub fn listed(repository: &Repository, filter: Filter) -> (Source, String) {
        let repository = repository_partition(&repository.account_id, &repository.id);
        match filter {
            Filter { environment: None, status: None } => (Source::Index(1), repository),
            Filter { environment: Some(environment), status: None } => {
                (Source::Index(2), format!("{repository}#ENV#{}", environment.as_str()))
            }
            Filter { environment: None, status: Some(status) } => {
                (Source::Index(3), format!("{repository}#STATUS#{}", status.as_str()))
            }
            Filter { environment: Some(environment), status: Some(status) } => {
                (Source::Index(4), format!("{repository}#ENV#{}#STATUS#{}", environment.as_str(), status.as_str()))
            }
        }
    }

    fn sort_key(&self) -> String {
        format!("{:012}", self.number)
    }

    fn index_keys(&self) -> Vec<IndexKey> {
        let repository = repository_partition(&self.account_id, &self.repository_id);
        let (environment, status) = (self.environment.as_str(), self.status.as_str());
        let partitions = [
            repository.clone(),
            format!("{repository}#ENV#{environment}"),
            format!("{repository}#STATUS#{status}"),
            format!("{repository}#ENV#{environment}#STATUS#{status}"),
        ];
        let key = |(index, partition)| IndexKey { source: Source::Index(index), partition, sort: self.sort_key() };
        let due = self.due_at.map(|at| self.due(at).index_key());
        (1..).zip(partitions).map(key).chain(due).collect()
    }

    fn due(&self, at: Timestamp) -> Due {
        Due { at, account_id: self.account_id.clone(), deployment_id: self.id.clone() }
    }

    fn key(&self, sk: &str) -> Key {
        deployment_key(&self.account_id, &self.id, sk)
    }

    fn count_creation(&self) -> Write {
        let number = |n: u64| AttributeValue::N(n.to_string());
        let condition = match self.number {
            1 => "attribute_not_exists(last_number)",
            _ => "last_number = :last",
        };
        let mut values = Item::from([(":number".to_owned(), number(self.number)), (":one".to_owned(), number(1))]);
        if self.number > 1 {
            values.insert(":last".to_owned(), number(self.number - 1));
        }
        let change = Change {
            expression: "SET last_number = :number ADD #to :one".to_owned(),
            condition: Some(condition),
            names: Some(HashMap::from([("#to".to_owned(), count_name(self.environment, self.status))])),
            values,
        };
        Write::Update { key: counts_key(&self.account_id, &self.repository_id), change }
    }

    fn count_move(&self, from: Status) -> Write {
        let names = [("#from", from), ("#to", self.status)];
        let change = Change {
            expression: "ADD #from :minus, #to :one".to_owned(),
            condition: None,
            names: Some(names.map(|(name, status)| (name.to_owned(), count_name(self.environment, status))).into()),
            values: [(":minus", "-1"), (":one", "1")]
                .map(|(name, value)| (name.to_owned(), AttributeValue::N(value.to_owned())))
                .into(),
        };
        Write::Update { key: counts_key(&self.account_id, &self.repository_id), change }
    }
}

impl Due {
    /// The partitions of the index. One takes 1,000 writes a second; a deployment writes there about five times.
    pub const SHARDS: u8 = 4;

    /// One page of what is due in a shard by `now`, the longest overdue first, from behind `after`. An empty page is the
    /// end.
    pub async fn page(
        table: &Table,
        shard: u8,
        now: Timestamp,
        after: Option<&Self>,
        limit: i32,
    ) -> Result<Vec<Self>, TableError> {
        let after = after.map(Self::position);
        let query = Query {
            source: DUE,
            partition: due_partition(shard),
            order: Order::Ascending,
            after: after.as_deref(),
            limit,
        };
        let (positions, _) = table.query_sort_keys(query, due_sort_attribute()).await?;
        let all = positions.iter().map(|position| Self::parse(position).ok_or(TableError::Position));
        let all = all.collect::<Result<Vec<_>, _>>()?;
        Ok(all.into_iter().take_while(|due| due.at <= now).collect())
    }

    /// The deployment, if there still is one.
    pub async fn load(&self, table: &Table) -> Result<Option<Deployment>, TableError> {
        Deployment::load(table, &self.account_id, &self.deployment_id).await
    }

    fn position(&self) -> String {
        format!("{:015}#{}#{}", self.at.as_millis(), self.account_id, self.deployment_id)
    }

    fn parse(position: &str) -> Option<Self> {
        let mut parts = position.split('#');
        let at = Timestamp::from_millis(parts.next()?.parse().ok()?);
        Some(Self { at, account_id: parts.next()?.parse().ok()?, deployment_id: parts.next()?.parse().ok()? })
    }

    fn index_key(&self) -> IndexKey {
        let hash = crc32fast::hash(self.deployment_id.as_str().as_bytes());
        let shard = u8::try_from(hash % u32::from(Self::SHARDS)).expect("the remainder of a u8");
        IndexKey { source: DUE, partition: due_partition(shard), sort: self.position() }
    }
}

impl Position for Deployment {
    fn position(&self, _: Sort) -> String {
        self.sort_key()
    }
}

impl DeploymentEvent {
    fn write(&self, deployment: &Deployment) -> Result<Write, TableError> {
        Write::create(deployment.key(&format!("EVENT#{:06}", self.number)), self, Vec::new())
    }
}

/// The changes of state that code makes, each with what it brings.
#[derive(Clone, Debug)]
pub enum Transition {
    /// A runner takes the deployment.
    Claim {
        lease_until: Timestamp,
    },
    /// The runner has started a build that goes on without it.
    HandOver {
        build: BuildId,
    },
    Succeed,
    Fail(Failure),
}

impl Transition {
    pub const fn status(&self) -> Status {
        match self {
            Self::Claim { .. } | Self::HandOver { .. } => Status::InProgress,
            Self::Succeed => Status::Succeeded,
            Self::Fail(_) => Status::Failed,
        }
    }
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    pub environment: Option<Environment>,
    pub status: Option<Status>,
}

/// How many deployments a repository has, by environment and status. Each transition's transaction keeps it exact.
#[derive(Debug, Default, Deserialize)]
#[serde(transparent)]
pub struct DeploymentCounts(HashMap<String, serde_json::Value>);

impl DeploymentCounts {
    pub async fn load(table: &Table, repository: &Repository) -> Result<Self, TableError> {
        let key = counts_key(&repository.account_id, &repository.id);
        Ok(table.get(key, Consistency::Strong).await?.unwrap_or_default())
    }

    fn from_item(item: Item) -> Result<Self, TableError> {
        Ok(serde_dynamo::from_item(item)?)
    }

    /// The highest number given out, which is also the number of deployments.
    pub fn last_number(&self) -> u64 {
        self.number("last_number")
    }

    pub fn total(&self, filter: Filter) -> u64 {
        let environments =
            Environment::ALL.into_iter().filter(|one| filter.environment.is_none_or(|only| only == *one));
        let statuses = || Status::ALL.into_iter().filter(|one| filter.status.is_none_or(|only| only == *one));
        environments.flat_map(|e| statuses().map(move |s| count_name(e, s))).map(|name| self.number(&name)).sum()
    }

    fn number(&self, name: &str) -> u64 {
        self.0.get(name).and_then(serde_json::Value::as_u64).unwrap_or(0)
    }
}

#[derive(Serialize, Deserialize)]
struct SealedVariables {
    sealed: ByteBuf,
}

/// The index of what is due.
const DUE: Source = Source::Index(5);

fn due_partition(shard: u8) -> String {
    format!("DUE#{shard}")
}

fn due_sort_attribute() -> &'static str {
    DUE.key_attributes().1
}

fn count_name(environment: Environment, status: Status) -> String {
    format!("{}.{}", environment.as_str(), status.as_str())
}

fn deployment_key(account: &AccountId, id: &DeploymentId, sk: &str) -> Key {
    Key { pk: format!("ACCT#{account}#DEPLOY#{id}"), sk: sk.to_owned() }
}

fn counts_key(account: &AccountId, repository: &RepositoryId) -> Key {
    Key { pk: repository_partition(account, repository), sk: "DEPLOYS".to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_position_in_the_index_of_what_is_due_is_ordered_by_time_and_read_again() {
        let due = |at| Due {
            at: Timestamp::from_millis(at),
            account_id: "acct_b5jnd3s7uyg2kq4v".parse().unwrap(),
            deployment_id: "deploy_t6mwz4hq2c7rfx3e".parse().unwrap(),
        };
        assert!(due(999).position() < due(1_767_268_800_000).position());
        assert_eq!(Due::parse(&due(1_767_268_800_000).position()), Some(due(1_767_268_800_000)));
        for malformed in ["", "1", "x#acct_b5jnd3s7uyg2kq4v#deploy_t6mwz4hq2c7rfx3e", "1#acct_b5jnd3s7uyg2kq4v#x"] {
            assert_eq!(Due::parse(malformed), None, "{malformed}");
        }
    }

    #[test]
    fn final_states_are_left_by_nothing() {
        let finals: Vec<_> = Status::ALL.into_iter().filter(|status| status.is_final()).collect();
        assert_eq!(finals, [Status::Succeeded, Status::Failed, Status::Canceled, Status::Superseded]);
        assert!(!Status::InProgress.successors().contains(&Status::Queued));
    }

    #[test]
    fn totals_add_up_over_the_filter() {
        let counts = r#"{"last_number": 6, "preview.queued": 1, "preview.failed": 2, "production.queued": 3}"#;
        let counts: DeploymentCounts = serde_json::from_str(counts).unwrap();
        let total = |environment, status| counts.total(Filter { environment, status });
        assert_eq!(total(None, None), 6);
        assert_eq!(total(Some(Environment::Preview), None), 3);
        assert_eq!(total(None, Some(Status::Queued)), 4);
        assert_eq!(total(Some(Environment::Production), Some(Status::Failed)), 0);
    }
}
