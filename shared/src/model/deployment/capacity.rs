//! Deployments whose build AWS refused: they wait in their lane, and are tried again.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::waiting::QUEUE_LIMIT;
use super::{Actor, Deployment, Status, Transition, TransitionFailed};
use crate::clock::Timestamp;
use crate::table::Table;

/// The bounds of the wait for capacity. Each wait is as long as all earlier waits together.
const RETRY_AFTER: Duration = Duration::from_secs(60);
const RETRY_WITHIN: Duration = Duration::from_secs(15 * 60);

/// A refusal by AWS to start a build, mostly for lack of capacity.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NoCapacity {
    /// The time of the first refusal.
    pub(super) since: Timestamp,
    /// The time at which the build is tried again.
    pub(super) until: Timestamp,
    /// The deployment's last attempt that was refused.
    pub(super) attempt: u32,
}

impl NoCapacity {
    fn next(last: Option<Self>, attempt: u32, now: Timestamp) -> Self {
        let since = last.map_or(now, |last| last.since);
        Self { since, until: now.plus(now.since(since).clamp(RETRY_AFTER, RETRY_WITHIN)), attempt }
    }
}

impl Deployment {
    /// Returns the number of claims since AWS last refused the deployment's build. A refusal is no attempt, because nothing
    /// of the deployment has run.
    pub fn tries(&self) -> u32 {
        self.attempt - self.no_capacity.map_or(0, |refused| refused.attempt)
    }

    /// Returns whether AWS has refused the deployment's build, and no runner was lost since then.
    pub fn was_refused(&self) -> bool {
        self.no_capacity.is_some() && self.tries() <= 1
    }

    /// Returns the time before which the queued deployment's build is not tried again.
    pub fn retry_at(&self, now: Timestamp) -> Option<Timestamp> {
        self.no_capacity.map(|refused| refused.until).filter(|until| *until > now)
    }

    /// Returns the time since which the queued deployment could start but for its turn in the lane.
    pub fn waiting_since(&self) -> Timestamp {
        let waits = [self.wait_until, self.no_capacity.map(|refused| refused.until)];
        waits.into_iter().flatten().fold(self.created_at, Ord::max)
    }

    /// Puts the claimed deployment back into its lane because AWS does not start its build. Ends it if a user has asked
    /// to cancel it.
    ///
    /// # Errors
    /// Fails with [`TransitionFailed::Stale`] if another runner has claimed the deployment.
    pub async fn await_capacity(&self, table: &Table, now: Timestamp) -> Result<Self, TransitionFailed> {
        let wait = Transition::AwaitCapacity(NoCapacity::next(self.no_capacity, self.attempt, now));
        match self.transition(table, wait, Actor::Runner, now).await {
            Err(TransitionFailed::Stale) => {}
            put_back => return put_back,
        }
        let found = Self::load(table, &self.account_id, &self.id).await?;
        let is_ours = |found: &Self| found.status == Status::InProgress && found.fence == self.fence;
        let canceled = found.filter(|found| is_ours(found) && found.cancel_requested_by.is_some());
        let Some(found) = canceled else { return Err(TransitionFailed::Stale) };
        // Nothing has run, so the time since the claim is no run time.
        Self { started_at: None, ..found }.report(table, Transition::Cancel, Actor::Runner, now).await
    }

    /// Applies the refusal. The time in the queue counts from the first one.
    pub(super) fn refuse(&mut self, refused: NoCapacity) {
        let deadline = refused.since.plus(QUEUE_LIMIT);
        (self.started_at, self.permit) = (None, None);
        self.lease_until = None;
        self.no_capacity = Some(refused);
        (self.deadline, self.due_at) = (Some(deadline), Some(refused.until.min(deadline)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_wait_is_as_long_as_all_before_it_within_bounds() {
        let (mut now, mut last, mut waits) = (Timestamp::from_millis(0), None, Vec::new());
        for attempt in 1..=7 {
            let refused = NoCapacity::next(last, attempt, now);
            assert_eq!((refused.since, refused.attempt), (Timestamp::from_millis(0), attempt));
            waits.push(refused.until.since(now).as_secs());
            (now, last) = (refused.until, Some(refused));
        }
        assert_eq!(waits, [60, 60, 120, 240, 480, 900, 900]);
    }
}
