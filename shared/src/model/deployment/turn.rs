//! Whose turn it is in a lane. A message for a queued deployment says that there is something to do in its lane: what is
//! claimed is the one that is next there, which need not be the one that the message names. So a lost message costs nobody
//! its turn, and a late one gives nobody another's.

use std::time::Duration;

use crate::clock::Timestamp;
use crate::id::UserId;
use crate::model::{
    Actor, Claim, Concurrency, Deployment, EnvironmentSettings, Failure, Lane, Status, Transition, TransitionFailed,
    Waiting,
};
use crate::table::{Table, TableError};

/// What a run may take beside its commands: the fetch, the report, and the lease of a runner that dies at the end.
const RUN_MARGIN: Duration = Duration::from_secs(300);
/// How often the lane may change while somebody looks at it.
const MAX_LOOKS: u32 = 16;

/// What a runner claims deployments by.
#[derive(Clone, Copy, Debug)]
pub struct Terms {
    /// How long the runner is taken to be alive after its last sign of life.
    pub lease: Duration,
    /// For the commands of a deployment whose environment sets no limit.
    pub time_limit: Duration,
}

impl Terms {
    fn claim(self, fence: u64, time_limit_seconds: Option<u32>, now: Timestamp) -> Transition {
        let time_limit = time_limit_seconds.map_or(self.time_limit, |seconds| Duration::from_secs(seconds.into()));
        Transition::Claim(Claim {
            lease_until: now.plus(self.lease),
            deadline: now.plus(time_limit + RUN_MARGIN),
            fence,
            time_limit_seconds,
        })
    }
}

impl Deployment {
    /// Claims the deployment that is next in the lane of this queued one. `None`: nobody may start now, and whoever is in
    /// the way starts the next when it ends.
    ///
    /// # Errors
    /// [`TransitionFailed::Stale`] when the lane keeps changing.
    pub async fn claim_next_in_lane(
        &self,
        table: &Table,
        terms: Terms,
        now: Timestamp,
    ) -> Result<Option<Self>, TransitionFailed> {
        for look in 0..MAX_LOOKS {
            let settings = EnvironmentSettings::load(table, &self.account_id, &self.repository_id, self.environment);
            let settings = settings.await.map_err(TransitionFailed::Table)?;
            let lane = match settings.concurrency {
                Concurrency::Queue => Lane::load_front(table, &self.lane()).await,
                Concurrency::Supersede => Lane::load(table, &self.lane()).await,
            };
            let lane = lane.map_err(TransitionFailed::Table)?;
            if let Some((older, newest)) = lane.superseded(settings.concurrency) {
                self.supersede(table, older, newest.number, now).await?;
            }
            let Some(next) = lane.next(settings.concurrency) else { return Ok(None) };
            if settings.frozen || lane.lock.holder.is_some() {
                return Ok(None);
            }
            // What was read before the lane is only the newest at the first look.
            let next = match next.deployment_id == self.id && look == 0 {
                true => self.clone(),
                false => self.named(table, next).await.map_err(TransitionFailed::Table)?,
            };
            // It may have left the queue since the lane was read.
            if next.status != Status::Queued {
                continue;
            }
            let transition = match &lane.lock.live {
                _ if next.is_overdue(now) => Transition::Fail(Failure::queue_deadline()),
                Some(live) if live.number > next.number => Transition::Supersede(live.number),
                _ => terms.claim(lane.lock.fence + 1, settings.time_limit_seconds, now),
            };
            let claims = matches!(transition, Transition::Claim(_));
            match Box::pin(next.transition(table, transition, Actor::Runner, now)).await {
                Ok(claimed) if claims => return Ok(Some(claimed)),
                // Another took the lane meanwhile, and will start the next.
                Err(TransitionFailed::Blocked) => return Ok(None),
                Ok(_) | Err(TransitionFailed::Stale) => {}
                Err(error) => return Err(error),
            }
        }
        Err(TransitionFailed::Stale)
    }

    /// Claims a deployment again whose runner was lost.
    pub async fn claim_again(&self, table: &Table, terms: Terms, now: Timestamp) -> Result<Self, TransitionFailed> {
        let claim = terms.claim(self.fence + 1, self.time_limit_seconds, now);
        self.transition(table, claim, Actor::Runner, now).await
    }

    /// Ends those in whose place this one is, if its environment is one where a newer one supersedes those that wait.
    pub async fn supersede_older(
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

    /// Ends it if it is queued, and else asks its runner to stop. Gives it as it is then, which is unchanged when it was
    /// asked before, or the state in which it has ended.
    pub async fn cancel(
        self,
        table: &Table,
        by: &UserId,
        now: Timestamp,
    ) -> Result<Result<Self, Status>, TransitionFailed> {
        let mut current = self;
        for _ in 0..MAX_LOOKS {
            let transition = match current.status {
                Status::Queued => Transition::Cancel,
                Status::InProgress if current.cancel_requested_by.is_some() => return Ok(Ok(current)),
                Status::InProgress => Transition::RequestCancel(by.clone()),
                ended => return Ok(Err(ended)),
            };
            match Box::pin(current.transition(table, transition, Actor::User(by.clone()), now)).await {
                Err(TransitionFailed::Stale | TransitionFailed::Blocked) => {}
                changed => return changed.map(Ok),
            }
            let found = Self::load(table, &current.account_id, &current.id).await.map_err(TransitionFailed::Table)?;
            current = found.ok_or(TransitionFailed::Stale)?;
        }
        Err(TransitionFailed::Stale)
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
            match Box::pin(one.transition(table, Transition::Supersede(by), Actor::Runner, now)).await {
                // Another was faster: it has ended, or has started.
                Ok(_) | Err(TransitionFailed::Stale | TransitionFailed::Blocked) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// The deployment of a row in this one's lane.
    async fn named(&self, table: &Table, waiting: &Waiting) -> Result<Self, TableError> {
        Self::load(table, &self.account_id, &waiting.deployment_id).await?.ok_or(TableError::Contended)
    }

    /// Whether it has been in its state for longer than it may.
    pub fn is_overdue(&self, now: Timestamp) -> bool {
        self.deadline.is_some_and(|deadline| deadline <= now)
    }
}
