//! Deployments: their states, events, numbers and variables.

mod environment;
mod idempotency;
mod lane;
mod turn;

pub use environment::*;
pub use idempotency::*;
pub use lane::*;
pub use turn::Terms;

use std::collections::HashMap;
use std::time::Duration;

use aws_sdk_dynamodb::types::AttributeValue;
use serde::{Deserialize, Serialize};
use serde_bytes::ByteBuf;

use crate::access::{AuthorizedRepository, Tenant};
use crate::clock::Timestamp;
use crate::error::{Error, ErrorCode};
use crate::id::{AccountId, DeploymentId, RepositoryId, UserId};
use crate::model::repository::repository_partition;
use crate::model::{BuildId, KnownRef, Repository, RepositoryPartition};
use crate::page::{Position, Sort};
use crate::table::{
    Change, Consistency, IndexKey, Item, Key, Order, Query, Source, Table, TableError, TransactFailed, Write,
};

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

    /// The table of transitions: what a state may become. Queued may become itself when it is approved, and in progress
    /// when a runner that was lost is followed by another or when it is asked to stop.
    pub const fn successors(self) -> &'static [Status] {
        match self {
            Self::Queued => &[Self::Queued, Self::InProgress, Self::Failed, Self::Canceled, Self::Superseded],
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
    /// The full name of the ref where one was found, else the ref as it was written.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ref_name: Option<String>,
    /// When it is ended in the state that it is in, whatever died.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deadline: Option<Timestamp>,
    /// The number under which it holds its lane's lock, or held it last; 0 before the first claim.
    #[serde(default)]
    pub fence: u64,
    /// What the environment gave it when it was claimed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub time_limit_seconds: Option<u32>,
    /// As the environment asked for them at creation.
    #[serde(default)]
    pub required_approvals: u8,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub approved_by: Vec<UserId>,
    /// Who asked it to stop while it was in progress.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cancel_requested_by: Option<UserId>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub origin: Option<Origin>,
}

/// Where to find what a deployment depends on. Only `queued` ever changes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeploymentPlace {
    pub(crate) account_id: AccountId,
    pub(crate) repository_id: RepositoryId,
    environment: Environment,
    lane: LaneKey,
    queued: bool,
}

/// What a queued deployment waits for.
#[derive(Debug)]
pub struct Waits {
    pub settings: EnvironmentSettings,
    pub lane: Lane,
}

impl Waits {
    /// `None` when it is not queued.
    pub async fn load(table: &Table, place: &DeploymentPlace) -> Result<Option<Self>, TableError> {
        let DeploymentPlace { account_id, repository_id, environment, lane, queued } = place;
        if !queued {
            return Ok(None);
        }
        let settings = EnvironmentSettings::load(table, account_id, repository_id, *environment);
        let (settings, lane) = futures_util::future::try_join(settings, Lane::load(table, lane)).await?;
        Ok(Some(Self { settings, lane }))
    }
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

/// The deployment that another one repeats.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Origin {
    pub kind: OriginKind,
    pub deployment_id: DeploymentId,
    /// Its number in the repository.
    #[schema(examples(6))]
    pub number: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum OriginKind {
    Retry,
    Rollback,
}

/// How long a deployment may be queued, approvals and a freeze included.
pub const QUEUE_LIMIT: Duration = Duration::from_secs(24 * 60 * 60);

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
    /// The ref's full name, if it has one.
    pub ref_name: Option<String>,
    pub sha: String,
    /// Variables, encrypted.
    pub sealed_variables: Option<Vec<u8>>,
    /// The ref that was read from the remote just now, to be kept.
    pub tip: Option<KnownRef>,
    pub required_approvals: u8,
    pub origin: Option<Origin>,
    pub fences: Fences,
    pub idempotency: Option<IdempotencyClaim>,
}

impl NewDeployment {
    /// Another deployment of what `earlier` deployed, for [`Deployment::create`] to be given its variables.
    pub fn repeating(earlier: &Deployment, kind: OriginKind, settings: &EnvironmentSettings) -> Self {
        Self {
            id: DeploymentId::random(),
            environment: earlier.environment,
            git_ref: earlier.git_ref.clone(),
            ref_name: earlier.ref_name.clone(),
            sha: earlier.sha.clone(),
            sealed_variables: None,
            tip: None,
            required_approvals: settings.required_approvals,
            origin: Some(Origin { kind, deployment_id: earlier.id.clone(), number: earlier.number }),
            fences: Fences::default(),
            idempotency: None,
        }
    }
}

/// Why a deployment was not created.
#[derive(Debug)]
pub enum CreateFailed {
    /// A newer request came before; the sentence names it.
    Stale(String),
    /// The idempotency key was claimed by a later request, because this one took too long.
    ClaimLost,
    Write(TransactFailed),
}

impl From<CreateFailed> for Error {
    fn from(failed: CreateFailed) -> Self {
        match failed {
            CreateFailed::Stale(winner) => Error::new(ErrorCode::StaleRequest, winner),
            CreateFailed::ClaimLost => Error::in_flight(),
            CreateFailed::Write(failed) => failed.into(),
        }
    }
}

/// A change of state that another writer came before.
#[derive(Debug, thiserror::Error)]
pub enum TransitionFailed {
    /// The deployment is no longer as it was read, or no longer holds its lane.
    #[error("another writer changed the deployment")]
    Stale,
    #[error("another deployment holds the lane")]
    Blocked,
    #[error("DynamoDB failed")]
    Table(#[source] TableError),
}

impl From<TransitionFailed> for Error {
    fn from(failed: TransitionFailed) -> Self {
        match failed {
            TransitionFailed::Stale | TransitionFailed::Blocked => TransactFailed::Conflict.into(),
            TransitionFailed::Table(error) => error.into(),
        }
    }
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
    ) -> Result<Self, CreateFailed> {
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
            ref_name: new.ref_name,
            deadline: Some(now.plus(QUEUE_LIMIT)),
            fence: 0,
            time_limit_seconds: None,
            required_approvals: new.required_approvals,
            approved_by: Vec::new(),
            cancel_requested_by: None,
            origin: new.origin,
        };
        let lane = deployment.lane();
        let failed = |error| CreateFailed::Write(TransactFailed::Table(error));
        let event = DeploymentEvent {
            number: 1,
            at: now,
            status: Status::Queued,
            actor: Actor::User(by.clone()),
            reason: "created".to_owned(),
        };
        for _ in 0..MAX_NUMBERING_ATTEMPTS {
            let (mut fence_at, mut claim_at) = (None, None);
            let mut writes = || {
                let mut writes = vec![
                    deployment.count_creation(),
                    Write::create(deployment.key("DEPLOY"), &deployment, deployment.index_keys())?,
                    event.write(&deployment)?,
                    lane.join(&deployment.waiting())?,
                ];
                if let Some(sealed) = &new.sealed_variables {
                    let row = SealedVariables { sealed: ByteBuf::from(sealed.as_slice()) };
                    writes.push(Write::create(deployment.key("VARS"), &row, Vec::new())?);
                }
                if let Some(tip) = &new.tip {
                    writes.push(tip.write(repository)?);
                }
                if let Some(check) = lane.check(&new.fences, &deployment.id) {
                    fence_at = Some(writes.len());
                    writes.push(check);
                }
                if let Some(claim) = &new.idempotency {
                    claim_at = Some(writes.len());
                    writes.push(claim.complete(&deployment.id));
                }
                Ok(writes)
            };
            let mut conditions = match Box::pin(table.transact(writes().map_err(failed)?)).await {
                Ok(()) => return Ok(deployment),
                Err(TransactFailed::Conditions(conditions)) => conditions,
                Err(error) => return Err(CreateFailed::Write(error)),
            };
            if claim_at.is_some_and(|at| conditions[at].is_some()) {
                return Err(CreateFailed::ClaimLost);
            }
            if let Some(refused) = fence_at.and_then(|at| conditions[at].take()) {
                let lock: Option<Lock> = refused.current.map(crate::table::read_item).transpose().map_err(failed)?;
                let winner = new.fences.stale(&lock.unwrap_or_default());
                return Err(CreateFailed::Stale(winner.unwrap_or_else(|| "The lane has changed".to_owned())));
            }
            let Some(counter) = conditions.swap_remove(0) else { return Err(failed(TableError::Contended)) };
            let counts = counter.current.map(DeploymentCounts::from_item).transpose().map_err(failed)?;
            deployment.number = counts.unwrap_or_default().last_number() + 1;
        }
        Err(CreateFailed::Write(TransactFailed::Conflict))
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
        // A lease is renewed without a new version, and whoever takes it or keeps it must know the last one.
        let keeps_lease = matches!(next, Transition::Claim(_) | Transition::RequestCancel(_));
        let lease = self.lease_until.filter(|_| keeps_lease && self.status == Status::InProgress);
        let reason = next.apply(&mut changed, now);
        let event = DeploymentEvent { number: changed.events, at: now, status: changed.status, actor, reason };
        let writes = || {
            let mut row = Write::replace(
                changed.key("DEPLOY"),
                &changed,
                changed.index_keys(),
                "events = :version",
                self.events,
            )?;
            if let (Some(lease), Write::Put { condition, values: Some(values), .. }) = (lease, &mut row) {
                *condition = Some("events = :version AND lease_until = :lease");
                values.insert(":lease".to_owned(), AttributeValue::N(lease.as_millis().to_string()));
            }
            let mut writes = vec![row, event.write(&changed)?];
            if self.status != changed.status {
                writes.push(changed.count_move(self.status));
            }
            writes.extend(changed.move_in_lane(self)?);
            Ok(writes)
        };
        let writes = writes().map_err(TransitionFailed::Table)?;
        match Box::pin(table.transact(writes)).await {
            Ok(()) => Ok(changed),
            Err(TransactFailed::Conditions(failed)) if failed[0].is_none() && self.status == Status::Queued => {
                Err(TransitionFailed::Blocked)
            }
            Err(TransactFailed::Conditions(_)) => Err(TransitionFailed::Stale),
            Err(TransactFailed::Conflict) => Err(TransitionFailed::Table(TableError::Contended)),
            Err(TransactFailed::Table(error)) => Err(TransitionFailed::Table(error)),
        }
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

    /// What a change of state does to the lane: who left the queue is not in it any more, who is in progress holds the
    /// lock, and who has ended does not.
    fn move_in_lane(&self, before: &Self) -> Result<Vec<Write>, TableError> {
        let lane = self.lane();
        let ready = before.required_approvals.saturating_sub(before.approvals()) > 0 && self.is_approved();
        Ok(match (before.status, self.status) {
            (Status::Queued, Status::Queued) if ready => vec![lane.make_ready(self.number)],
            (Status::Queued, Status::Queued) => vec![],
            (Status::Queued, Status::InProgress) => {
                vec![lane.take(&self.id, self.fence), lane.leave(self.number)]
            }
            (Status::Queued, _) => vec![lane.leave(self.number)],
            (_, Status::InProgress) if self.fence != before.fence => vec![lane.take_over(&self.id, self.fence)],
            (_, Status::InProgress) => vec![],
            (_, status) => {
                let live = (status == Status::Succeeded).then(|| Live {
                    deployment_id: self.id.clone(),
                    number: self.number,
                    sha: self.sha.clone(),
                    since: self.updated_at,
                });
                vec![lane.release(&self.id, self.fence, live.as_ref())?]
            }
        })
    }

    /// What a runner has to tell of the deployment that it claimed, unless another has claimed it since. That somebody
    /// asked it to stop meanwhile does not hold it up.
    pub async fn report(
        &self,
        table: &Table,
        news: Transition,
        actor: Actor,
        now: Timestamp,
    ) -> Result<Self, TransitionFailed> {
        let mut current = self.clone();
        loop {
            match current.transition(table, news.clone(), actor.clone(), now).await {
                Err(TransitionFailed::Stale) => {}
                ended => return ended,
            }
            let found = Self::load(table, &self.account_id, &self.id).await.map_err(TransitionFailed::Table)?;
            let Some(found) = found else { return Err(TransitionFailed::Stale) };
            let still_ours = found.status == self.status && found.fence == self.fence;
            if !still_ours || found.events == current.events {
                return Err(TransitionFailed::Stale);
            }
            current = found;
        }
    }

    /// Says that the runner of this attempt is alive, and gives the deployment as it is then. `None`: the runner no longer
    /// has it, because its lease was over or its time is.
    pub async fn renew_lease(
        &self,
        table: &Table,
        now: Timestamp,
        until: Timestamp,
    ) -> Result<Option<Self>, TableError> {
        let due_at = until.plus(LEASE_GRACE);
        let change = Change {
            expression: format!("SET lease_until = :until, due_at = :due, {} = :position", due_sort_attribute()),
            // Not the version: that somebody asks it to stop takes it from nobody.
            condition: Some("fence = :fence AND #status = :in_progress AND lease_until > :now AND deadline >= :until"),
            names: Some([("#status".to_owned(), "status".to_owned())].into()),
            values: Item::from([
                (":now".to_owned(), AttributeValue::N(now.as_millis().to_string())),
                (":until".to_owned(), AttributeValue::N(until.as_millis().to_string())),
                (":due".to_owned(), AttributeValue::N(due_at.as_millis().to_string())),
                (":position".to_owned(), AttributeValue::S(self.due(due_at).position())),
                (":fence".to_owned(), AttributeValue::N(self.fence.to_string())),
                (":in_progress".to_owned(), AttributeValue::S(Status::InProgress.as_str().to_owned())),
            ]),
        };
        let renewed = table.update(self.key("DEPLOY"), change).await?;
        renewed.ok().map(crate::table::read_item).transpose()
    }

    /// Where what has to do with it is.
    pub fn place(&self) -> DeploymentPlace {
        DeploymentPlace {
            account_id: self.account_id.clone(),
            repository_id: self.repository_id.clone(),
            environment: self.environment,
            lane: self.lane(),
            queued: self.status == Status::Queued,
        }
    }

    pub fn lane(&self) -> LaneKey {
        let ref_name = self.ref_name.as_ref().unwrap_or(&self.git_ref);
        LaneKey::new(&self.account_id, &self.repository_id, self.environment, ref_name)
    }

    /// How long its commands may take, where its environment sets no limit this long.
    pub fn time_limit(&self, otherwise: Duration) -> Duration {
        self.time_limit_seconds.map_or(otherwise, |seconds| Duration::from_secs(seconds.into()))
    }

    /// Approvals so far.
    pub fn approvals(&self) -> u8 {
        u8::try_from(self.approved_by.len()).unwrap_or(u8::MAX)
    }

    /// Whether it has the approvals that it needs.
    pub fn is_approved(&self) -> bool {
        self.approvals() >= self.required_approvals
    }

    /// Its place among those that wait.
    fn waiting(&self) -> Waiting {
        Waiting { deployment_id: self.id.clone(), number: self.number, ready: self.is_approved() }
    }

    /// Its events after a number, oldest first, `limit` of them at most.
    pub async fn events(&self, table: &Table, after: u64, limit: i32) -> Result<Vec<DeploymentEvent>, TableError> {
        let range = (event_sort_key(after.saturating_add(1)), event_sort_key(u64::MAX));
        let (items, _) = table.range(self.key("DEPLOY").pk, (&range.0, &range.1), Some(limit)).await?;
        items.into_iter().map(crate::table::read_item).collect()
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
        archive_prefix(&self.account_id, &self.id)
    }

    /// Where the archive has what it goes back to, if it is a rollback.
    pub fn rolled_back_prefix(&self) -> Option<String> {
        let origin = self.origin.as_ref().filter(|origin| origin.kind == OriginKind::Rollback)?;
        Some(archive_prefix(&self.account_id, &origin.deployment_id))
    }

    /// Where the archive keeps the artifacts. Each attempt has its own, so that what a lost runner left does not mix
    /// with what the last one made.
    pub fn artifacts_prefix(&self) -> String {
        format!("{}/attempts/{}", self.archive_prefix(), self.attempt)
    }

    /// Where a repository's deployments are listed, by number.
    pub fn listed(repository: &RepositoryPartition, filter: Filter) -> (Source, String) {
        let repository = repository.as_str();
        match filter {
            Filter { environment: None, status: None } => (Source::Index(1), repository.to_owned()),
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

    /// The newest deployment that succeeded, of those below a number if one is given.
    pub async fn last_succeeded_before(
        table: &Table,
        repository: &Repository,
        environment: Environment,
        before: Option<u64>,
    ) -> Result<Option<Self>, TableError> {
        let filter = Filter { environment: Some(environment), status: Some(Status::Succeeded) };
        Ok(Self::newest(table, repository, filter, before, 1).await?.pop())
    }

    /// The newest deployments of a list, newest first.
    pub async fn newest(
        table: &Table,
        repository: &Repository,
        filter: Filter,
        before: Option<u64>,
        limit: i32,
    ) -> Result<Vec<Self>, TableError> {
        let (source, partition) = Self::listed(&repository.partition(), filter);
        let before = before.map(sort_key);
        let query = Query { source, partition, order: Order::Descending, after: before.as_deref(), limit };
        Ok(table.query(query, Self::ATTRIBUTES).await?.0)
    }

    fn sort_key(&self) -> String {
        sort_key(self.number)
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
    const ATTRIBUTES: Option<&'static str> = Some(
        "id, account_id, repository_id, #number, #status, environment, git_ref, sha, clone_url, created_by, created_at, \
         updated_at, started_at, finished_at, failure, events, attempt, lease_until, build, due_at, ref_name, deadline, \
         fence, time_limit_seconds, required_approvals, approved_by, cancel_requested_by, origin",
    );

    fn position(&self, _: Sort) -> String {
        self.sort_key()
    }
}

impl DeploymentEvent {
    fn write(&self, deployment: &Deployment) -> Result<Write, TableError> {
        Write::create(deployment.key(&event_sort_key(self.number)), self, Vec::new())
    }
}

/// The changes of state that code makes, each with what it brings.
#[derive(Clone, Debug)]
pub enum Transition {
    /// Somebody who is not the creator agrees to it.
    Approve(UserId),
    /// A runner takes the deployment.
    Claim(Claim),
    /// The runner has started a build that goes on without it.
    HandOver {
        build: BuildId,
    },
    /// Somebody asks a runner to stop.
    RequestCancel(UserId),
    Succeed,
    Fail(Failure),
    Cancel,
    /// A deployment with this number takes its place.
    Supersede(u64),
}

/// What a runner gets with a deployment.
#[derive(Clone, Copy, Debug)]
pub struct Claim {
    pub lease_until: Timestamp,
    pub deadline: Timestamp,
    /// One more than the lane's last.
    pub fence: u64,
    pub time_limit_seconds: Option<u32>,
}

impl Transition {
    pub const fn status(&self) -> Status {
        match self {
            Self::Approve(_) => Status::Queued,
            Self::Claim(_) | Self::HandOver { .. } | Self::RequestCancel(_) => Status::InProgress,
            Self::Succeed => Status::Succeeded,
            Self::Fail(_) => Status::Failed,
            Self::Cancel => Status::Canceled,
            Self::Supersede(_) => Status::Superseded,
        }
    }

    /// Puts what it brings into the deployment and gives the reason for the event.
    fn apply(self, deployment: &mut Deployment, now: Timestamp) -> String {
        if self.status().is_final() {
            deployment.finished_at = Some(now);
            deployment.deadline = None;
            deployment.due_at = None;
        }
        match self {
            Self::Approve(by) => {
                deployment.approved_by.push(by);
                deployment.due_at = Some(now.plus(PICKED_UP_WITHIN));
                let (given, required) = (deployment.approvals(), deployment.required_approvals);
                format!("approved for {}, {given} of {required}", deployment.sha)
            }
            Self::Claim(claim) => {
                deployment.attempt += 1;
                deployment.started_at = Some(deployment.started_at.unwrap_or(now));
                deployment.lease_until = Some(claim.lease_until);
                deployment.due_at = Some(claim.lease_until.plus(LEASE_GRACE));
                deployment.build = None;
                deployment.deadline = Some(claim.deadline);
                deployment.fence = claim.fence;
                deployment.time_limit_seconds = claim.time_limit_seconds;
                format!("claimed, attempt {}", deployment.attempt)
            }
            Self::HandOver { build } => {
                deployment.lease_until = None;
                deployment.due_at = Some(now.plus(BUILD_REPORTS_WITHIN));
                let reason = format!("build {build} was started");
                deployment.build = Some(build);
                reason
            }
            Self::RequestCancel(by) => {
                deployment.cancel_requested_by = Some(by);
                "asked to stop".to_owned()
            }
            Self::Succeed => "all phases succeeded".to_owned(),
            Self::Fail(mut failure) => {
                failure.shorten();
                let reason = failure.message.clone();
                deployment.failure = Some(failure);
                reason
            }
            Self::Cancel => match deployment.started_at {
                Some(_) => "stopped".to_owned(),
                None => "canceled before it started".to_owned(),
            },
            Self::Supersede(number) => format!("deployment {number} takes its place"),
        }
    }
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    pub environment: Option<Environment>,
    pub status: Option<Status>,
}

pub(super) const COUNTER: &str = "DEPLOYS";
/// The attribute of the counter with the highest number given out.
pub(super) const LAST_NUMBER: &str = "last_number";

/// How many deployments a repository has, by environment and status. Each transition's transaction keeps it exact.
#[derive(Debug, Default, Deserialize)]
#[serde(transparent)]
pub struct DeploymentCounts(HashMap<String, serde_json::Value>);

impl DeploymentCounts {
    pub async fn load(table: &Table, repository: &RepositoryPartition) -> Result<Self, TableError> {
        let key = Key { pk: repository.as_str().to_owned(), sk: COUNTER.to_owned() };
        Ok(table.get(key, Consistency::Strong).await?.unwrap_or_default())
    }

    fn from_item(item: Item) -> Result<Self, TableError> {
        Ok(serde_dynamo::from_item(item)?)
    }

    /// The highest number given out, which is also the number of deployments.
    pub fn last_number(&self) -> u64 {
        self.number(LAST_NUMBER)
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

pub(super) fn count_name(environment: Environment, status: Status) -> String {
    format!("{}.{}", environment.as_str(), status.as_str())
}

fn archive_prefix(account: &AccountId, id: &DeploymentId) -> String {
    format!("deployments/{account}/{id}")
}

pub(super) fn sort_key(number: u64) -> String {
    format!("{number:012}")
}

fn event_sort_key(number: u64) -> String {
    format!("EVENT#{:06}", number.min(999_999))
}

fn deployment_key(account: &AccountId, id: &DeploymentId, sk: &str) -> Key {
    Key { pk: format!("ACCT#{account}#DEPLOY#{id}"), sk: sk.to_owned() }
}

pub(super) fn counts_key(account: &AccountId, repository: &RepositoryId) -> Key {
    Key { pk: repository_partition(account, repository), sk: COUNTER.to_owned() }
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
    fn a_list_reads_all_attributes() {
        let (now, user) = (Timestamp::from_millis(0), UserId::random());
        let full = Deployment {
            id: DeploymentId::random(),
            account_id: AccountId::random(),
            repository_id: RepositoryId::random(),
            number: 1,
            status: Status::Failed,
            environment: Environment::Preview,
            git_ref: String::new(),
            sha: String::new(),
            clone_url: String::new(),
            created_by: user.clone(),
            created_at: now,
            updated_at: now,
            started_at: Some(now),
            finished_at: Some(now),
            failure: Some(Failure::run_deadline()),
            events: 1,
            attempt: 1,
            lease_until: Some(now),
            build: "git-api:5f0c1c7e-6a5e-4d26-8f7a-1d2e3c4b5a69".parse().ok(),
            due_at: Some(now),
            ref_name: Some(String::new()),
            deadline: Some(now),
            fence: 1,
            time_limit_seconds: Some(1),
            required_approvals: 1,
            approved_by: vec![user.clone()],
            cancel_requested_by: Some(user),
            origin: Some(Origin { kind: OriginKind::Retry, deployment_id: DeploymentId::random(), number: 1 }),
        };
        let written: Item = serde_dynamo::to_item(full).unwrap();
        assert_eq!(crate::page::attributes_read::<Deployment>(), written.into_keys().collect());
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
