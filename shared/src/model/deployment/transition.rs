//! The deployment state machine: its transitions, and how one is written.

use std::time::Duration;

use super::counts::count_name;
use crate::capability::conceal;
use crate::clock::Timestamp;
use crate::error::Error;
use crate::id::{DeploymentId, UserId};
use crate::model::{
    Action, Actor, AuditEvent, Author, Awaited, Bound, BuildId, Deployment, DeploymentEvent, Failure, LEASE_GRACE,
    Live, NoCapacity, RepositoryPartition, Status, Target, TargetKind,
};
use crate::table::{Change, Table, TableError, Transaction, Values, Write};

/// The transitions that the code makes, each with its data.
#[derive(Clone, Debug)]
pub enum Transition {
    /// A user other than the creator approves the deployment.
    Approve(UserId),
    /// The commit has succeeded in required environments.
    MeetRequirements {
        /// The deployments that the deployment still waits for.
        left: Vec<Awaited>,
    },
    /// A runner claims the deployment.
    Claim(Claim),
    /// The runner has started a build that continues without it.
    HandOver {
        /// The build, which CodeBuild has accepted.
        build: BuildId,
    },
    /// The build has left CodeBuild's queue, and its time limit counts from this time.
    LeaveQueue(Timestamp),
    /// AWS did not start the build. The deployment waits in its lane, and is tried again.
    AwaitCapacity(NoCapacity),
    /// The deployment could start, and waits for a permit.
    AwaitPermit {
        /// The place in the account's queue.
        place: u64,
        /// The bound that it waits for.
        bound: Bound,
    },
    /// Another deployment or a rule keeps the deployment from starting, and it gives up its place among those that wait for a permit.
    StopAwaitingPermit,
    /// The runner stops before the run has ended. Another runner may claim the deployment at once.
    GiveBack,
    /// A user asks the runner to stop.
    RequestCancel(UserId),
    /// All phases succeeded. The deployment becomes its lane's live one.
    Succeed,
    /// The deployment fails for this reason. The message is cut to 1,000 bytes.
    Fail(Failure),
    /// The deployment ends because a user asked for it, before it started or once its runner has stopped.
    Cancel,
    /// The deployment with this number supersedes the deployment.
    Supersede(u64),
    /// Another deployment is live than the one that the deployment expects.
    FenceOff {
        /// The deployment that is live instead. `None` if none is.
        live: Option<DeploymentId>,
    },
}

/// The data of a claim.
#[derive(Clone, Copy, Debug)]
pub struct Claim {
    /// The time until which the runner counts as alive without a renewal.
    pub lease_until: Timestamp,
    /// The time at which the run fails if it has not ended.
    pub deadline: Timestamp,
    /// The fencing number: one more than the lane's last.
    pub fence: u64,
    /// The time limit of the commands.
    pub time_limit: Duration,
}

impl Transition {
    /// Returns the status after the transition.
    pub const fn status(&self) -> Status {
        match self {
            Self::Approve(_)
            | Self::AwaitCapacity(_)
            | Self::MeetRequirements { .. }
            | Self::AwaitPermit { .. }
            | Self::StopAwaitingPermit => Status::Queued,
            Self::Claim(_) | Self::HandOver { .. } | Self::LeaveQueue(_) | Self::GiveBack | Self::RequestCancel(_) => {
                Status::InProgress
            }
            Self::Succeed => Status::Succeeded,
            Self::Fail(_) => Status::Failed,
            Self::Cancel => Status::Canceled,
            Self::Supersede(_) | Self::FenceOff { .. } => Status::Superseded,
        }
    }

    /// Returns the action of the audit event if the API makes the transition by itself. A transition that only tells who runs the
    /// deployment is no change that the audit log has.
    const fn action(&self) -> Option<Action> {
        match self {
            Self::Claim(_) => Some(Action::DeploymentStarted),
            Self::AwaitCapacity(_) => Some(Action::DeploymentRequeued),
            Self::Succeed => Some(Action::DeploymentSucceeded),
            Self::Fail(_) => Some(Action::DeploymentFailed),
            Self::Cancel => Some(Action::DeploymentCanceled),
            Self::Supersede(_) | Self::FenceOff { .. } => Some(Action::DeploymentSuperseded),
            Self::Approve(_)
            | Self::MeetRequirements { .. }
            | Self::AwaitPermit { .. }
            | Self::StopAwaitingPermit
            | Self::HandOver { .. }
            | Self::LeaveQueue(_)
            | Self::GiveBack
            | Self::RequestCancel(_) => None,
        }
    }

    /// Applies the transition to the deployment and returns the reason for its event.
    fn apply(self, deployment: &mut Deployment, now: Timestamp) -> String {
        if self.status().is_final() {
            deployment.finished_at = Some(now);
            deployment.deadline = None;
            deployment.due_at = None;
        }
        match self {
            Self::Approve(by) => {
                let digest = deployment.approval_digest();
                deployment.approved_digest.get_or_insert(digest);
                deployment.approved_by.push(by);
                if deployment.is_approved() {
                    deployment.wait_for_turn(now);
                }
                let (given, required) = (deployment.approvals(), deployment.required_approvals);
                format!("approved {} ({given} of {required} approvals)", deployment.sha)
            }
            Self::MeetRequirements { left } => {
                let before = std::mem::replace(&mut deployment.awaits, left);
                if deployment.awaits.is_empty() && deployment.is_approved() {
                    deployment.wait_for_turn(now);
                }
                let met = before.iter().filter(|awaited| !deployment.awaits.contains(awaited));
                let met: Vec<_> = met.map(|awaited| awaited.environment.as_str()).collect();
                format!("the commit has succeeded in {}", met.join(", "))
            }
            Self::Claim(claim) => {
                deployment.attempt += 1;
                if deployment.started_at.is_none() {
                    (deployment.permit, deployment.waits_for_permit) = (Some(claim.fence), None);
                }
                deployment.started_at = Some(deployment.started_at.unwrap_or(now));
                deployment.lease_until = Some(claim.lease_until);
                deployment.due_at = Some(claim.lease_until.plus(LEASE_GRACE));
                (deployment.build, deployment.build_started_at) = (None, None);
                deployment.deadline = Some(claim.deadline);
                deployment.fence = claim.fence;
                deployment.run_limit_seconds = u32::try_from(claim.time_limit.as_secs()).ok();
                format!("claimed, attempt {}", deployment.tries())
            }
            Self::HandOver { build } => {
                let reason = format!("build {build} was started");
                deployment.enter_build_queue(build, now);
                reason
            }
            Self::LeaveQueue(at) => {
                deployment.leave_build_queue(at, now);
                "the build has a machine".to_owned()
            }
            Self::AwaitCapacity(refused) => {
                deployment.refuse(refused);
                "AWS did not start the build, which is tried again".to_owned()
            }
            Self::AwaitPermit { place, bound } => {
                deployment.waits_for_permit = Some(place);
                match bound {
                    Bound::Account => "waits for capacity: the account runs as many deployments as its plan allows",
                    Bound::Stack => "waits for capacity: all accounts together run as many deployments as they can",
                }
                .to_owned()
            }
            Self::StopAwaitingPermit => {
                deployment.waits_for_permit = None;
                "waits for something else than capacity".to_owned()
            }
            Self::GiveBack => {
                // The attempt does not count, because the runner was not lost.
                deployment.attempt -= 1;
                // Without a lease, a renewal that is still on its way fails.
                deployment.lease_until = None;
                deployment.due_at = Some(now.plus(LEASE_GRACE));
                "given back by a runner that stopped".to_owned()
            }
            Self::RequestCancel(by) => {
                deployment.cancel_requested_by = Some(by);
                "asked to stop".to_owned()
            }
            Self::Succeed => "all phases succeeded".to_owned(),
            Self::Fail(mut failure) => {
                // CodeBuild's messages may name what it could not read.
                failure.message = conceal(&failure.message).into_owned();
                failure.shorten();
                let reason = failure.message.clone();
                deployment.failure = Some(failure);
                reason
            }
            Self::Cancel => match deployment.started_at {
                Some(_) => "stopped".to_owned(),
                None => "canceled before it started".to_owned(),
            },
            Self::Supersede(number) => format!("superseded by deployment {number}"),
            Self::FenceOff { live } => {
                let expected = deployment.expected_current.as_ref().map_or("", DeploymentId::as_str);
                match live {
                    Some(live) => format!("{live} is live, and not {expected}, which this deployment expects"),
                    None => format!("nothing is live, and this deployment expects {expected}"),
                }
            }
        }
    }
}

/// The reasons why a transition is not written.
#[derive(Debug, thiserror::Error)]
pub enum TransitionFailed {
    /// Another writer has changed the deployment, or the deployment no longer holds its lane.
    #[error("another writer changed the deployment")]
    Stale,
    /// Another deployment holds the lane.
    #[error("another deployment holds the lane")]
    Blocked,
    /// There is no permit for the deployment, or somebody has taken or given back one since it was looked for.
    #[error("no permit is free")]
    NoPermit,
    /// The table refused the write for another reason, or did not answer.
    #[error("DynamoDB failed")]
    Table(#[from] TableError),
}

impl From<TransitionFailed> for Error {
    fn from(failed: TransitionFailed) -> Self {
        match failed {
            TransitionFailed::Stale | TransitionFailed::Blocked | TransitionFailed::NoPermit => {
                TableError::Contended.into()
            }
            TransitionFailed::Table(error) => error.into(),
        }
    }
}

impl Deployment {
    /// Writes a transition that the API makes by itself, if the deployment is unchanged since it was read: changes the state,
    /// appends the event, updates the counts and writes the audit event. Returns the changed deployment.
    ///
    /// # Panics
    /// Panics if the table of transitions does not have this one: the caller must know the state that it changes.
    pub async fn transition(
        &self,
        table: &Table,
        next: Transition,
        actor: Actor,
        now: Timestamp,
    ) -> Result<Self, TransitionFailed> {
        let event = self.system_event(&next, now);
        self.change_state(table, next, actor, now, |transaction| {
            event.iter().try_fold(transaction, Transaction::recording)
        })
        .await
    }

    /// Returns the audit event of a transition that the API makes by itself, if the audit log has it.
    pub(super) fn system_event(&self, next: &Transition, now: Timestamp) -> Option<AuditEvent> {
        let action = next.action()?;
        let event = AuditEvent::by_system(&self.account_id, self.audit_retention, action, self.target(), now);
        let event = self.described(event).numbered(self.events + 1).changing("status", self.status, next.status());
        Some(match next {
            Transition::Claim(_) => event.about("attempt", self.tries() + 1),
            Transition::Fail(failure) => event.setting("failure", failure.code),
            _ => event,
        })
    }

    /// Writes an approval or a rejection if the author still may make it, with its audit event. The event names what the author
    /// decided on: the environment, the commit and the approval digest.
    pub async fn transition_by(
        &self,
        author: &Author,
        action: Action,
        table: &Table,
        next: Transition,
        now: Timestamp,
    ) -> Result<Self, TransitionFailed> {
        let event = self
            .audit_event(author, action, now)
            .about("sha", &self.sha)
            .about("approval_digest", self.approval_digest())
            .changing("status", self.status, next.status());
        let actor = Actor::User(author.user_id().clone());
        self.naming(author).change_state(table, next, actor, now, |transaction| transaction.by(author, &event)).await
    }

    /// Returns the audit event of the next change of the deployment.
    pub(super) fn audit_event(&self, author: &Author, action: Action, now: Timestamp) -> AuditEvent {
        self.described(author.event(action, self.target(), now)).numbered(self.events + 1)
    }

    fn target(&self) -> Target {
        Target::new(TargetKind::Deployment, &self.id, None)
    }

    /// Adds the repository and the environment to an audit event of the deployment.
    fn described(&self, event: AuditEvent) -> AuditEvent {
        event.in_repository(&self.repository_id).about("environment", self.environment)
    }

    /// Writes a transition together with what `record` adds to its transaction.
    pub(super) async fn change_state<'a>(
        &'a self,
        table: &Table,
        next: Transition,
        actor: Actor,
        now: Timestamp,
        record: impl FnOnce(Transaction<'a, TransitionFailed>) -> Result<Transaction<'a, TransitionFailed>, TableError>,
    ) -> Result<Self, TransitionFailed> {
        assert!(
            self.status.successors().contains(&next.status()),
            "{:?} can't become {:?}",
            self.status,
            next.status()
        );
        let mut changed = Self { status: next.status(), updated_at: now, events: self.events + 1, ..self.clone() };
        // A renewal of the lease does not raise the version. So a claim, or a transition that keeps the lease, must
        // check the last lease.
        let keeps_lease = matches!(next, Transition::Claim(_) | Transition::RequestCancel(_));
        let lease = self.lease_until.filter(|_| keeps_lease && self.status == Status::InProgress);
        let reason = next.apply(&mut changed, now);
        let commands = if changed.status.is_final() { changed.last_commands() } else { Vec::new() };
        let event =
            DeploymentEvent { number: changed.events, at: now, status: changed.status, actor, reason, commands };
        let mut transaction = Transaction::new()
            .write(changed.replace(self, lease)?)
            .or(|_| TransitionFailed::Stale)
            .write(event.write(&changed)?)
            .or(|_| TransitionFailed::Stale);
        if self.status != changed.status {
            transaction = transaction.write(changed.count_move(self.status));
        }
        if changed.status == Status::Succeeded {
            transaction = transaction.write(changed.record_success(now)?);
        }
        transaction = transaction.writes(changed.owe_report(Some(self.status), now));
        for write in changed.move_in_lane(self)? {
            transaction = transaction.write(write).or(|_| match self.status {
                Status::Queued => TransitionFailed::Blocked,
                _ => TransitionFailed::Stale,
            });
        }
        transaction = transaction.writes(changed.move_permit(self, now)?);
        record(transaction)?.commit(table).await??;
        Ok(changed)
    }

    /// Returns the write that replaces the deployment's row. The row must still have the lease, if one is given.
    fn replace(&self, before: &Self, lease: Option<Timestamp>) -> Result<Write, TableError> {
        let values = Values::new().set(":version", before.events).set_if(":lease", lease);
        let condition = match lease {
            Some(_) => "events = :version AND lease_until = :lease",
            None => "events = :version",
        };
        Write::put_if(self.key(), self, self.index_keys(), condition, values)
    }

    /// Records the runner's result of the deployment that it claimed, unless another runner has claimed it since.
    /// Retries if a user asked the deployment to stop meanwhile.
    pub async fn report(
        &self,
        table: &Table,
        news: Transition,
        actor: Actor,
        now: Timestamp,
    ) -> Result<Self, TransitionFailed> {
        let mut current = self.clone();
        let mut attempts = table.attempts();
        while attempts.begin().await {
            match current.transition(table, news.clone(), actor.clone(), now).await {
                Err(TransitionFailed::Stale) => {}
                ended => return ended,
            }
            let found = Self::load(table, &self.account_id, &self.id).await.map_err(TransitionFailed::Table)?;
            let Some(found) = found else { return Err(TransitionFailed::Stale) };
            // A build that the deployment has got meanwhile goes on without the runner.
            let still_ours = found.status == self.status && found.fence == self.fence && found.build == self.build;
            if !still_ours || found.events == current.events {
                return Err(TransitionFailed::Stale);
            }
            current = self.keeping_results(found);
        }
        Err(TransitionFailed::Stale)
    }

    /// Returns the writes of a transition in the lane: a deployment that leaves the queue loses its waiting row, a
    /// deployment in progress holds the lock, one that ends frees it, and one that has to wait again does so at its old place.
    fn move_in_lane(&self, before: &Self) -> Result<Vec<Write>, TableError> {
        let lane = self.lane();
        let ready = before.required_approvals.saturating_sub(before.approvals()) > 0 && self.is_approved();
        let met = !before.awaits.is_empty() && self.awaits.is_empty();
        Ok(match (before.status, self.status) {
            (Status::Queued, Status::Queued) if ready => vec![lane.make_ready(self.number)],
            (Status::Queued, Status::Queued) => {
                met.then(|| lane.make_met(self.number)).into_iter().chain(self.unfollow(before)).collect()
            }
            (Status::Queued, Status::InProgress) => {
                vec![lane.take(self), lane.leave(self.number)]
            }
            (Status::Queued, _) => [lane.leave(self.number)].into_iter().chain(self.unfollow(before)).collect(),
            (_, Status::Queued) => vec![lane.release(&self.id, self.fence, None)?, lane.join(&self.waiting())?],
            (_, Status::InProgress) if self.fence != before.fence => vec![lane.take_over(self)],
            (_, Status::InProgress) => vec![],
            (_, status) => {
                let live = (status == Status::Succeeded).then(|| Live {
                    deployment_id: self.id.clone(),
                    number: self.number,
                    sha: self.sha.clone(),
                    since: self.updated_at,
                    environment_url: self.environment_url.clone(),
                });
                vec![lane.release(&self.id, self.fence, live.as_ref())?]
            }
        })
    }

    fn count_move(&self, from: Status) -> Write {
        let names = [("#from", from), ("#to", self.status)];
        let change = Change {
            expression: "ADD #from :minus, #to :one, changes :one".to_owned(),
            condition: None,
            names: Some(names.map(|(name, status)| (name.to_owned(), count_name(self.environment, status))).into()),
            values: Values::new().set(":minus", -1).set(":one", 1),
        };
        Write::Update {
            key: RepositoryPartition::new(&self.account_id, &self.repository_id).deployment_counts(),
            change,
        }
    }
}
