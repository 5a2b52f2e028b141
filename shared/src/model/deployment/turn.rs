//! Turns in a lane. A message means that there may be something to do in the deployment's lane. The consumer claims the
//! next deployment in the lane, which need not be the one that the message names. So no deployment loses its turn to a
//! lost message, and none takes another's turn through a late one.

use std::time::Duration;

use futures_util::future::try_join3;

use crate::clock::Timestamp;
use crate::id::DeploymentId;
use crate::model::{
    Account, Action, Actor, Author, Claim, Concurrency, Deployment, EnvironmentSettings, Lane, PermitLimits, Plan,
    Status, Transition, TransitionFailed, Waiting,
};
use crate::table::{Table, TableError};

/// The time that a run may take in addition to its commands: the fetch, the report, and the lease of a runner that dies
/// at the end.
const RUN_MARGIN: Duration = Duration::from_secs(300);

/// The terms on which a runner claims deployments.
#[derive(Clone, Copy, Debug)]
pub struct Terms {
    /// The time that the runner counts as alive after its last renewal.
    pub lease: Duration,
    /// The time limit of the commands if the environment sets none.
    pub time_limit: Duration,
    /// The number of deployments of all accounts that may be in progress at once.
    pub builds: usize,
}

/// The outcome of a turn in a lane.
#[derive(Debug)]
pub enum Turn {
    /// The next deployment in the lane was claimed.
    Claimed(Box<Deployment>),
    /// The next deployment could start but for a permit, and waits for one.
    NoPermit {
        /// The deployment of the account that comes first and may take a permit now.
        first: Option<DeploymentId>,
    },
    /// No deployment of the lane may start now. The one that blocks the lane starts the next one when it ends.
    Blocked,
}

impl Turn {
    pub(super) fn claimed(deployment: Deployment) -> Self {
        Self::Claimed(Box::new(deployment))
    }

    /// Returns the deployment that was claimed, if one was.
    pub fn into_claimed(self) -> Option<Deployment> {
        match self {
            Self::Claimed(deployment) => Some(*deployment),
            Self::NoPermit { .. } | Self::Blocked => None,
        }
    }
}

impl Terms {
    fn claim(self, deployment: &Deployment, fence: u64, now: Timestamp) -> Claim {
        let time_limit = deployment.time_limit(self.time_limit);
        Claim { lease_until: now.plus(self.lease), deadline: now.plus(time_limit + RUN_MARGIN), fence, time_limit }
    }

    /// Returns the bounds of an account. One that is gone has those of the smallest plan.
    pub(crate) fn limits(self, account: Option<&Account>) -> PermitLimits {
        let account = account.map_or(Plan::Starter.concurrent_builds(), Account::concurrent_builds);
        PermitLimits { account: usize::try_from(account).unwrap_or(usize::MAX), stack: self.builds }
    }
}

/// The result of an attempt to cancel a deployment.
enum Canceled {
    /// The deployment was canceled, or asked to stop.
    Now(Box<Deployment>),
    /// Another writer has changed the deployment.
    Changed(Box<Deployment>),
}

impl Deployment {
    /// Claims the next deployment in the lane of this queued one, if one may start now.
    ///
    /// # Errors
    /// Fails with [`TransitionFailed::Stale`] if the lane keeps changing.
    pub async fn claim_next_in_lane(
        &self,
        table: &Table,
        terms: Terms,
        now: Timestamp,
    ) -> Result<Turn, TransitionFailed> {
        // This deployment was read before the lane, so it is the newest only at the first attempt.
        let mut newest = Some(self);
        let mut attempts = table.attempts();
        while attempts.begin().await {
            let lane = self.lane();
            let (settings, account, lane) = try_join3(
                EnvironmentSettings::load(table, &self.account_id, &self.repository_id, self.environment),
                Account::load(table, &self.account_id),
                Lane::load(table, &lane),
            )
            .await?;
            if let Some((older, newest)) = lane.superseded(settings.concurrency) {
                self.supersede(table, older, newest.number, now).await?;
            }
            let freeze = settings.freeze(now);
            let Some(next) = lane.next(settings.concurrency, now, freeze.is_some()) else {
                if let Some(freeze) = freeze {
                    self.wait_out(table, &freeze, now).await.map_err(TransitionFailed::Table)?;
                }
                return Ok(Turn::Blocked);
            };
            if lane.lock.holder.is_some() {
                return Ok(Turn::Blocked);
            }
            let next = match newest.take().filter(|newest| newest.id == next.deployment_id) {
                Some(newest) => newest.clone(),
                None => self.named(table, next).await.map_err(TransitionFailed::Table)?,
            };
            // The deployment may have left the queue since the lane was read.
            if next.status != Status::Queued {
                continue;
            }
            let live = lane.lock.live.as_ref();
            let end = match live {
                _ if next.is_overdue(now) => Some(Transition::Fail(next.queue_failure())),
                Some(live) if live.number > next.number => Some(Transition::Supersede(live.number)),
                _ if !next.finds_what_it_expects(table, live).await.map_err(TransitionFailed::Table)? => {
                    Some(Transition::FenceOff { live: live.map(|live| live.deployment_id.clone()) })
                }
                _ => None,
            };
            let turn = match end {
                Some(end) => next.transition(table, end, Actor::Runner, now).await.map(|_| None),
                None => {
                    let claim = terms.claim(&next, lane.lock.fence + 1, now);
                    next.start(table, claim, terms.limits(account.as_ref()), now).await.map(Some)
                }
            };
            match turn {
                Ok(Some(turn)) => return Ok(turn),
                // Another deployment took the lane meanwhile, and will start the next one.
                Err(TransitionFailed::Blocked) => return Ok(Turn::Blocked),
                Ok(None) | Err(TransitionFailed::Stale) => {}
                Err(error) => return Err(error),
            }
        }
        Err(TransitionFailed::Stale)
    }

    /// Claims a deployment again after its runner was lost.
    pub async fn claim_again(&self, table: &Table, terms: Terms, now: Timestamp) -> Result<Self, TransitionFailed> {
        let claim = Transition::Claim(terms.claim(self, self.fence + 1, now));
        self.transition(table, claim, Actor::Runner, now).await
    }

    /// Ends the deployments that this one supersedes, if its environment is set to supersede.
    pub(crate) async fn supersede_older(
        &self,
        table: &Table,
        settings: &EnvironmentSettings,
        now: Timestamp,
    ) -> Result<(), TransitionFailed> {
        if settings.concurrency == Concurrency::Queue {
            return Ok(());
        }
        let lane = Lane::load(table, &self.lane()).await.map_err(TransitionFailed::Table)?;
        match lane.superseded(settings.concurrency) {
            Some((older, newest)) => self.supersede(table, older, newest.number, now).await,
            None => Ok(()),
        }
    }

    /// Cancels the deployment if it is queued, else asks its runner to stop. Returns the current deployment, which is
    /// unchanged if it was asked before, or has ended.
    pub async fn cancel(
        self,
        table: &Table,
        author: &Author,
        now: Timestamp,
    ) -> Result<Result<Self, Status>, TransitionFailed> {
        let mut current = self;
        let mut attempts = table.attempts();
        while attempts.begin().await {
            let transition = match current.status {
                Status::Queued => Transition::Cancel,
                Status::InProgress if current.cancel_requested_by.is_some() => return Ok(Ok(current)),
                Status::InProgress => Transition::RequestCancel(author.user_id().clone()),
                ended => return Ok(Err(ended)),
            };
            match current.try_cancel(transition, table, author, now).await? {
                Canceled::Now(changed) => return Ok(Ok(*changed)),
                Canceled::Changed(found) => current = *found,
            }
        }
        Err(TransitionFailed::Stale)
    }

    /// Cancels the deployment if it is still queued. Returns whether it was.
    pub async fn cancel_queued(self, table: &Table, author: &Author, now: Timestamp) -> Result<bool, TransitionFailed> {
        let mut current = self;
        let mut attempts = table.attempts();
        while attempts.begin().await {
            if current.status != Status::Queued {
                return Ok(false);
            }
            match current.try_cancel(Transition::Cancel, table, author, now).await? {
                Canceled::Now(_) => return Ok(true),
                Canceled::Changed(found) => current = *found,
            }
        }
        Err(TransitionFailed::Stale)
    }

    /// Writes a transition that cancels the deployment. Returns the deployment as it is if it has changed meanwhile.
    async fn try_cancel(
        &self,
        transition: Transition,
        table: &Table,
        author: &Author,
        now: Timestamp,
    ) -> Result<Canceled, TransitionFailed> {
        // Whoever may deploy may cancel: no guard has to keep a caller from it who lost that right a moment ago.
        let event = self.audit_event(author, Action::DeploymentCanceled, now);
        let event = event.changing("status", self.status, transition.status());
        let actor = Actor::User(author.user_id().clone());
        let named = self.naming(author);
        match named.change_state(table, transition, actor, now, |changes| changes.recording(&event)).await {
            Err(TransitionFailed::Stale | TransitionFailed::Blocked) => {}
            changed => return changed.map(Box::new).map(Canceled::Now),
        }
        let found = Self::load(table, &self.account_id, &self.id).await.map_err(TransitionFailed::Table)?;
        found.map(Box::new).map(Canceled::Changed).ok_or(TransitionFailed::Stale)
    }

    async fn supersede(
        &self,
        table: &Table,
        older: &[Waiting],
        by: u64,
        now: Timestamp,
    ) -> Result<(), TransitionFailed> {
        for waiting in older {
            let one = self.named(table, waiting).await.map_err(TransitionFailed::Table)?;
            if one.status != Status::Queued {
                continue;
            }
            match one.transition(table, Transition::Supersede(by), Actor::Runner, now).await {
                // Another writer came first: the deployment has ended or started.
                Ok(_) | Err(TransitionFailed::Stale | TransitionFailed::Blocked) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Returns the deployment of a row in this deployment's lane.
    async fn named(&self, table: &Table, waiting: &Waiting) -> Result<Self, TableError> {
        Self::load(table, &self.account_id, &waiting.deployment_id).await?.ok_or(TableError::Contended)
    }

    /// Returns whether the deployment has exceeded the time limit of its state.
    pub fn is_overdue(&self, now: Timestamp) -> bool {
        self.deadline.is_some_and(|deadline| deadline <= now)
    }
}
