//! Deployments settled with the reports of their builds.

use std::collections::BTreeSet;

use shared::clock::Timestamp;
use shared::model::{Actor, Deployment, DeploymentVariables, Status, Transition, TransitionFailed};

use crate::client::Builds;
use crate::error::Error;
use crate::report::{BuildStatus, Report};

/// The result of a report.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Settled {
    /// The report ended the deployment.
    Ended(Status),
    /// The build runs, and the report recorded it in the deployment.
    HandedOver,
    /// The build has left CodeBuild's queue, and the report started its clock.
    Started,
    /// The build runs or waits for a machine, and the deployment already had it.
    Running,
    /// The deployment had ended before the report.
    AlreadyEnded,
    /// The build belongs to an earlier attempt, and may not change the deployment.
    NotItsBuild,
}

impl Builds {
    /// Applies the report of a build to its deployment. If that ends the deployment, reads its test reports, checks the plan's bounds of
    /// its artifacts, sends the next message in the lane and deletes the secret with the variables.
    ///
    /// # Errors
    /// Fails if DynamoDB, S3 or Secrets Manager fails. The report can then be settled again.
    pub async fn settle(&self, mut deployment: Deployment, report: &Report) -> Result<Settled, Error> {
        let (table, now) = (self.app.table(), self.app.clock().now());
        let (mut attempts, mut settled) = (table.attempts(), Settled::Running);
        let mut stored = None;
        while attempts.begin().await {
            let known = deployment.build.as_ref() == Some(&report.build);
            let expected = deployment.build.is_none() && deployment.attempt == report.attempt;
            let mut next = match (deployment.status, report.end()) {
                (status, _) if status.is_final() && known => {
                    self.delete_secret(report.build.project(), &deployment).await?;
                    return Ok(Settled::AlreadyEnded);
                }
                (Status::InProgress, None) if known => match report.left_queue_at {
                    Some(at) if deployment.build_started_at.is_none() => Transition::LeaveQueue(at),
                    _ => return Ok(settled),
                },
                // The runner died before it recorded the build.
                (Status::InProgress, _) if expected => Transition::HandOver { build: report.build.clone() },
                (Status::InProgress, Some(_)) if known && report.status == BuildStatus::Stopped => {
                    stopped(&deployment, report, now)
                }
                (Status::InProgress, Some(end)) if known => end,
                _ => return Ok(Settled::NotItsBuild),
            };
            if next.status().is_final() {
                let stored = match &stored {
                    Some(found) => found,
                    None => stored.insert(self.stored(&deployment, report).await?),
                };
                next = stored.end(next);
                deployment = deployment.with_results(table, &report.results(stored)).await?;
            }
            let reached = match &next {
                Transition::LeaveQueue(_) if settled == Settled::Running => Settled::Started,
                _ => Settled::HandedOver,
            };
            match deployment.transition(table, next, Actor::Runner, now).await {
                Ok(ended) if ended.status.is_final() => {
                    self.queue.send_next(&self.app, &ended).await;
                    self.delete_secret(report.build.project(), &ended).await?;
                    return Ok(Settled::Ended(ended.status));
                }
                Ok(changed) => (deployment, settled) = (changed, reached),
                Err(TransitionFailed::Table(error)) => return Err(error.into()),
                Err(TransitionFailed::Stale | TransitionFailed::Blocked | TransitionFailed::NoPermit) => {
                    let found = Deployment::load(table, &deployment.account_id, &deployment.id).await?;
                    deployment = found.ok_or(Error::Contended)?;
                }
            }
        }
        Err(Error::Contended)
    }

    /// Returns the names of the build's secret variables.
    pub(crate) async fn secret_variables(&self, deployment: &Deployment) -> Result<BTreeSet<String>, Error> {
        let Deployment { account_id, id, .. } = deployment;
        let variables = DeploymentVariables::load(self.app.table(), account_id, id).await?.unwrap_or_default();
        let secret = variables.merged(deployment).into_iter().filter(|variable| variable.secret);
        Ok(secret.map(|variable| variable.name).collect())
    }
}

/// Returns the end of a deployment whose build was stopped: by a request to cancel, at its deadline, or by an operator.
fn stopped(deployment: &Deployment, report: &Report, now: Timestamp) -> Transition {
    match report.end() {
        _ if deployment.cancel_requested_by.is_some() => Transition::Cancel,
        _ if deployment.is_overdue(now) => {
            let phase = report.failed_phase().map(|phase| phase.phase.as_str());
            Transition::Fail(deployment.build_deadline_failure(phase))
        }
        end => end.expect("a build that was stopped has ended"),
    }
}
