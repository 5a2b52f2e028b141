//! Deadlines of deployments, and the next time that the sweep looks at one.

use std::time::Duration;

use shared::clock::Timestamp;
use shared::model::{Deployment, Failure, Status, Transition};

/// The bounds of the wait between two messages for a deployment that no runner takes. Each wait is as long as all
/// earlier waits together, so that messages do not pile up while runners are scarce.
const SEND_AGAIN_AFTER: Duration = Duration::from_secs(300);
const SEND_AGAIN_WITHIN: Duration = Duration::from_secs(3600);

/// Returns the transition that ends a deployment whose deadline has passed. A deployment in progress has lost its
/// runner by then, because a lease is not renewed past the deadline.
pub(crate) fn overdue(deployment: &Deployment, now: Timestamp) -> Option<Transition> {
    let is_held = deployment.lease_until.is_some_and(|until| until > now);
    match deployment.status {
        _ if !deployment.is_overdue(now) || is_held => None,
        Status::Queued => Some(Transition::Fail(deployment.queue_failure())),
        _ if deployment.cancel_requested_by.is_some() => Some(Transition::Cancel),
        _ => Some(Transition::Fail(Failure::run_deadline())),
    }
}

/// Returns the time at which a deployment without news is due again: when its wait ends, after an exponential back-off, or at its
/// deadline. Without its approvals, it is due at its deadline only, unless it waits for a required environment.
pub(crate) fn next_look(deployment: &Deployment, now: Timestamp) -> Timestamp {
    if let (Status::Queued, Some(deadline)) = (deployment.status, deployment.deadline) {
        match deployment.waits_until(now) {
            _ if !deployment.awaits.is_empty() => {}
            _ if !deployment.is_approved() => return deadline,
            Some(until) => return until.min(deadline),
            None => {}
        }
    }
    let silent_since = match deployment.status {
        Status::Queued => deployment.waiting_since(),
        _ => deployment.lease_until.unwrap_or(deployment.updated_at),
    };
    let wait = now.since(silent_since).clamp(SEND_AGAIN_AFTER, SEND_AGAIN_WITHIN);
    deployment.deadline.into_iter().fold(now.plus(wait), std::cmp::min)
}
