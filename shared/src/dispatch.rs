//! Dispatches messages of the queue, for every kind of runner. Only the deployment's row and its lane decide, because
//! delivery is at least once and unordered, and a function can die at any line.

use crate::app::App;
use crate::clock::Timestamp;
use crate::model::{Actor, Deployment, Failure, FailureCode, Status, Terms, Transition, TransitionFailed, Turn};
use crate::queue::Queue;

/// The number of lost runners after which a deployment fails.
pub const MAX_ATTEMPTS: u32 = 3;

/// The result of a message's dispatch.
#[derive(Debug)]
pub enum Dispatched {
    /// A deployment was claimed and must run. It need not be the one that the message names.
    Claimed(Deployment),
    /// No deployment may start. The one that blocks the lane, or that gives a permit back, sends the next one's message.
    Waits,
    /// Another runner holds an unexpired lease.
    Held,
    /// The deployment is in a build, which continues without a runner.
    InBuild(Deployment),
    /// The deployment was ended: its runner was lost, or a required environment did not take its commit.
    Ended(Deployment),
    /// The deployment had already ended.
    AlreadyEnded,
}

/// Claims the deployment that must run for a message.
pub async fn dispatch(
    app: &App,
    queue: &Queue,
    deployment: Deployment,
    terms: Terms,
) -> Result<Dispatched, TransitionFailed> {
    let (table, now) = (app.table(), app.clock().now());
    match deployment.status {
        Status::Queued => {
            let deployment = match deployment.after_awaited(table, now).await? {
                None => deployment,
                Some(end) if end.status().is_final() => {
                    return Ok(Dispatched::Ended(finish(app, queue, &deployment, end).await?));
                }
                Some(met) => deployment.transition(table, met, Actor::Runner, now).await?,
            };
            let turn = deployment.claim_next_in_lane(table, terms, now).await?;
            if let Turn::NoPermit { first: Some(first) } = &turn {
                queue.send_earlier(app, &deployment.account_id, first.clone()).await;
            }
            if deployment.has_waited_for_permit() {
                if let Turn::Blocked = turn {
                    deployment.leave_permit_queue(table, now).await?;
                }
                queue.send_waiting(app, &deployment.account_id, terms).await;
            }
            turn.into_claimed().map_or(Ok(Dispatched::Waits), |claimed| in_time(app, claimed))
        }
        Status::InProgress if deployment.build.is_some() => Ok(Dispatched::InBuild(deployment)),
        Status::InProgress if deployment.lease_until.is_some_and(|until| until > now) => Ok(Dispatched::Held),
        Status::InProgress => match end_of_lost(&deployment, now) {
            Some(end) => Ok(Dispatched::Ended(finish(app, queue, &deployment, end).await?)),
            None => in_time(app, deployment.claim_again(table, terms, now).await?),
        },
        _ => {
            // The turn that its message was sent for is the next one's.
            if deployment.has_waited_for_permit() {
                queue.send_waiting(app, &deployment.account_id, terms).await;
            }
            Ok(Dispatched::AlreadyEnded)
        }
    }
}

/// Returns the claimed deployment unless its lease is over, because the claim took so long. Another runner may have claimed it since.
fn in_time(app: &App, claimed: Deployment) -> Result<Dispatched, TransitionFailed> {
    match claimed.lease_until.is_some_and(|until| until > app.clock().now()) {
        true => Ok(Dispatched::Claimed(claimed)),
        false => Err(TransitionFailed::Stale),
    }
}

/// Ends a deployment and starts the next one in its lane, and those that wait for it.
pub async fn finish(
    app: &App,
    queue: &Queue,
    deployment: &Deployment,
    end: Transition,
) -> Result<Deployment, TransitionFailed> {
    let ended = deployment.report(app.table(), end, Actor::Runner, app.clock().now()).await?;
    queue.send_next(app, &ended).await;
    Ok(ended)
}

/// Puts a claimed deployment back into its lane because AWS does not start its build, and gives its permit to those that wait for one.
/// Ends the deployment if a user has asked to cancel it. Returns the deployment that waits or has ended.
pub async fn put_back(
    app: &App,
    queue: &Queue,
    claimed: &Deployment,
    terms: Terms,
) -> Result<Deployment, TransitionFailed> {
    let left = claimed.await_capacity(app.table(), app.clock().now()).await?;
    if left.status.is_final() {
        queue.send_next(app, &left).await;
    } else {
        queue.announce_status(app, &left).await;
        queue.send_waiting(app, &left.account_id, terms).await;
    }
    Ok(left)
}

/// Returns the transition that ends a deployment whose runner was lost, or `None` if another runner may try. The lost
/// runner's processes are gone, because a runner that can't renew its lease stops before the lease ends.
fn end_of_lost(deployment: &Deployment, now: Timestamp) -> Option<Transition> {
    if deployment.cancel_requested_by.is_some() {
        return Some(Transition::Cancel);
    }
    if deployment.tries() >= MAX_ATTEMPTS {
        let message = format!("{MAX_ATTEMPTS} runners were lost before one reported a result");
        return Some(Transition::Fail(Failure::new(FailureCode::RunnerLost, message)));
    }
    deployment.is_overdue(now).then(|| Transition::Fail(Failure::run_deadline()))
}
