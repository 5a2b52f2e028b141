//! How long a queued deployment waits: for approvals, for the wait timer, for a required environment, for the end of a freeze.
//!
//! A deployment that waits for a known time is due at that time, and not before. So it costs nothing while it waits, and the sweep
//! sends its message when it may start.

use std::time::Duration;

use super::Deployment;
use super::settings::Freeze;
use crate::clock::Timestamp;
use crate::model::due::{DueEntry, due_sort_attribute};
use crate::model::{Failure, PICKED_UP_WITHIN, Status};
use crate::table::{Change, Table, TableError, Values};

/// The maximum time in the queue of a deployment that has its approvals and whose wait is over. The time of freeze windows does
/// not count.
pub(crate) const QUEUE_LIMIT: Duration = Duration::from_secs(24 * 60 * 60);
/// The time after a deployment's creation from which freeze windows count like any other time, so that windows without a gap let
/// no deployment wait forever. It is the longest time for approvals, and then the longest window.
const FREEZES_WITHIN: Duration = Duration::from_secs(60 * 24 * 60 * 60);

impl Deployment {
    /// Returns the time until which the wait timer holds the deployment back. `None` if it may start.
    pub fn waits_until(&self, now: Timestamp) -> Option<Timestamp> {
        self.wait_until.filter(|until| *until > now)
    }

    /// Returns whether nothing but a freeze and other deployments keeps the queued deployment from starting.
    pub fn may_start(&self, now: Timestamp) -> bool {
        self.is_approved() && self.awaits.is_empty() && self.waits_until(now).is_none()
    }

    /// Returns whether an admin has let the deployment through the environment's rules.
    pub fn is_override(&self) -> bool {
        self.override_reason.is_some()
    }

    /// Sets the times of a deployment that waits for approvals for at most this time.
    pub(super) fn wait_for_approvals(&mut self, now: Timestamp, timeout: Duration) {
        let deadline = now.plus(timeout);
        (self.deadline, self.due_at) = (Some(deadline), Some(deadline));
    }

    /// Sets the times of a deployment that has all of its approvals, or needs none.
    pub(super) fn wait_for_turn(&mut self, now: Timestamp) {
        let wait = self.waits_until(now);
        self.deadline = Some(wait.unwrap_or(now).plus(QUEUE_LIMIT));
        self.due_at = Some(wait.unwrap_or_else(|| now.plus(PICKED_UP_WITHIN)));
    }

    /// Returns the failure of a queued deployment whose deadline has passed.
    pub fn queue_failure(&self) -> Failure {
        if self.is_approved() { Failure::queue_deadline() } else { Failure::approval_expired() }
    }

    /// Lets the deployment wait for the end of a freeze, if it could start but for the freeze. It is due at the end, and has the
    /// whole time of the queue from then on. Returns `false`, and changes nothing, if the end is not known, or the deployment does not
    /// wait for it. A deployment that has changed since `self` was read stays as it is.
    pub async fn wait_out(&self, table: &Table, freeze: &Freeze, now: Timestamp) -> Result<bool, TableError> {
        let Some((until, was)) = freeze.until.zip(self.due_at) else { return Ok(false) };
        let has_to_wait = self.status == Status::Queued && self.may_start(now) && !self.is_override();
        let deadline =
            until.plus(QUEUE_LIMIT).min(self.created_at.plus(FREEZES_WITHIN)).max(self.deadline.unwrap_or(now));
        if !has_to_wait || deadline <= now {
            return Ok(false);
        }
        let due_at = until.min(deadline);
        if (due_at, Some(deadline)) == (was, self.deadline) {
            return Ok(true);
        }
        let change = Change {
            expression: format!("SET due_at = :until, deadline = :deadline, {} = :position", due_sort_attribute()),
            condition: Some("events = :version AND due_at = :due"),
            names: None,
            values: Values::new()
                .set(":until", due_at)
                .set(":deadline", deadline)
                .set(":due", was)
                .set(":position", self.due(due_at).position())
                .set(":version", self.events),
        };
        // If the condition fails, whoever changed the deployment has set its times.
        let _ = table.update(self.key(), change).await?;
        Ok(true)
    }
}
