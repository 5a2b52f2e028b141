//! What a message of the queue comes to, whoever runs deployments. It follows from the deployment's row and its lane alone,
//! because delivery is at least once and unordered and a function can die at any line.

use crate::app::App;
use crate::clock::Timestamp;
use crate::model::{Actor, Deployment, Failure, Status, Terms, Transition, TransitionFailed};
use crate::queue::Queue;

/// Runners that may be lost before the deployment is.
pub const MAX_ATTEMPTS: u32 = 3;

#[derive(Debug)]
pub enum Dispatched {
    /// This deployment was claimed, which need not be the one that the message names, and is to be run.
    Claimed(Deployment),
    /// Nobody's turn has come: whoever is in the way sends the next one's message.
    Waits,
    /// A runner has it whose lease is not over.
    Held,
    /// It is in a build that goes on without a runner.
    InBuild(Deployment),
    /// Its runner was lost, and this is how it ended.
    Ended(Deployment),
    /// It had ended before.
    AlreadyEnded,
}

/// Claims what is to be run for a message.
pub async fn dispatch(
    app: &App,
    queue: &Queue,
    deployment: Deployment,
    terms: Terms,
) -> Result<Dispatched, TransitionFailed> {
    let (table, now) = (app.table(), app.clock().now());
    match deployment.status {
        Status::Queued => {
            let claimed = Box::pin(deployment.claim_next_in_lane(table, terms, now)).await?;
            Ok(claimed.map_or(Dispatched::Waits, Dispatched::Claimed))
        }
        Status::InProgress if deployment.build.is_some() => Ok(Dispatched::InBuild(deployment)),
        Status::InProgress if deployment.lease_until.is_some_and(|until| until > now) => Ok(Dispatched::Held),
        Status::InProgress => match end_of_lost(&deployment, now) {
            Some(end) => Ok(Dispatched::Ended(finish(app, queue, &deployment, end).await?)),
            None => Ok(Dispatched::Claimed(deployment.claim_again(table, terms, now).await?)),
        },
        _ => Ok(Dispatched::AlreadyEnded),
    }
}

/// Ends a deployment that is in progress and starts the next one in its lane.
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

/// How a deployment ends whose runner was lost, unless another shall try. Its processes are gone: a runner that can't renew
/// its lease stops before it is over.
fn end_of_lost(deployment: &Deployment, now: Timestamp) -> Option<Transition> {
    if deployment.cancel_requested_by.is_some() {
        return Some(Transition::Cancel);
    }
    if deployment.attempt >= MAX_ATTEMPTS {
        return Some(Transition::Fail(Failure {
            code: "runner_lost".to_owned(),
            message: format!("{MAX_ATTEMPTS} runners were lost before they could report an end"),
        }));
    }
    deployment.is_overdue(now).then(|| Transition::Fail(Failure::run_deadline()))
}
