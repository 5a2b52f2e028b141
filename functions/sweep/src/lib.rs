//! Sweeps every minute over deployments without recent news, so that each ends even if its runner or its messages are
//! lost. An index holds the deployments that have not ended, by the time at which they are due, the commit statuses that a git
//! host has not been told, the deliveries to hooks and to webhooks that wait, and the environments of patterns. An idle sweep
//! costs sixteen queries and one read of the permits.
//!
//! | the deployment | the sweep |
//! |---|---|
//! | is queued, and no runner took it, or its wait or a freeze window is over | sends its message again |
//! | is in progress, and its runner's lease has expired | sends its message again; the consumer claims or ends it |
//! | is in progress in CodeBuild, without news | asks CodeBuild, and ends it if the build has ended |
//! | is in progress in CodeBuild, and its time limit or that of the queue is over | asks CodeBuild, and stops the build |
//! | is past its deadline, and no runner holds it | ends it and sends the next message in the lane; stops a build |
//!
//! A conditional write moves a deployment's due time before its message is sent. So of two concurrent sweeps only one
//! sends it, and a sweep that dies in between delays the deployment but does not lose it. CodeBuild's answers are
//! handled like its events.
//!
//! A commit status that is due has its message sent, and so have a delivery to a hook, a delivery to a webhook, and an account with
//! webhooks whose events nobody has looked at. Their functions do the work.
//!
//! An environment of a pattern is removed if nothing was deployed to it for the time that the pattern says.
//!
//! A permit whose deployment is not in progress is given back: some of the stack's set, and those of an account of which a deployment
//! waits for one. And an account whose turn has come gets the message of its first
//! deployment that waits for one.
//!
//! Then the sweep goes on with deletions of repositories that are not complete (`RepositoryDeletion`).
//!
//! In the remaining time, the sweep compares some counters with the rows that they count (`Recount`).

mod deadline;
mod deliveries;
mod environments;
mod pages;
mod permits;
mod reports;
mod tally;
mod webhooks;

use std::collections::HashMap;
use std::time::{Duration, Instant};

use builds::{ASK_AT_ONCE, Builds, Report, Settled};
use futures_util::future::{join_all, join3};
use futures_util::{StreamExt, stream};
use lambda_runtime::LambdaEvent;
use serde::de::IgnoredAny;
use shared::clock::Timestamp;
use shared::model::{
    Actor, BuildId, Deployment, Due, EnvironmentSettings, Finding, Recount, RepositoryDeletion, Status,
    TransitionFailed,
};
use shared::queue::{HookQueue, Queue, StatusQueue, WebhookQueue};
use shared::table::Key;
use shared::telemetry::Level;
use shared::usage::Usage;
use shared::{App, InitError};

use crate::deadline::{next_look, overdue};
use crate::pages::Pages;
use crate::tally::{CounterLine, SweepLine};

pub use tally::Tally;

/// The number of rows in one query. A row's keys have about 100 bytes, and CodeBuild can be asked for all rows at once.
const PAGE: i32 = ASK_AT_ONCE as i32;
/// The number of deployments of a shard that are handled concurrently. Each needs three calls of about 10 ms, so a
/// minute suffices for about 16,000 in each shard.
const AT_ONCE: usize = 8;
/// The part of the invocation's time that is kept for the last page and the log.
const STOP_BEFORE: Duration = Duration::from_secs(10);

/// The handler of the schedule, which ends or requeues deployments that nobody else moves on.
#[derive(Clone, Debug)]
pub struct Sweep {
    app: App,
    queue: Queue,
    statuses: StatusQueue,
    hooks: HookQueue,
    webhooks: WebhookQueue,
    builds: Builds,
    /// The number of deployments of all accounts that may be in progress at once.
    builds_at_once: usize,
}

/// The outcome of looking at a due deployment.
enum DueOutcome {
    /// Another sweep or the runner came first.
    Unchanged,
    /// The deployment's message was sent again, after this many lost permits of its account were given back.
    Sent(u32),
    /// The deployment was past its deadline and was ended.
    Ended,
    /// The deployment has a build, and CodeBuild must be asked.
    InCodeBuild(Box<Deployment>),
}

impl Sweep {
    /// # Errors
    /// Fails if a setting is missing or invalid.
    pub fn new(app: &App) -> Result<Self, InitError> {
        Ok(Self {
            queue: Queue::with_statuses(app)?,
            statuses: StatusQueue::new(app)?,
            hooks: HookQueue::new(app)?,
            webhooks: WebhookQueue::new(app)?,
            builds: Builds::new(app)?,
            builds_at_once: app.settings().concurrent_builds()?,
            app: app.clone(),
        })
    }

    /// Sweeps until nothing is due or the invocation's time is nearly over. Ignores the event's content.
    ///
    /// # Errors
    /// Fails if a part of the sweep failed, after everything else is done. The failed part is due again.
    pub async fn invoke(&self, event: LambdaEvent<IgnoredAny>) -> Result<Tally, InitError> {
        let started = Instant::now();
        let deadline = Timestamp::from_millis(i64::try_from(event.context.deadline).unwrap_or(i64::MAX));
        let (now, log) = (self.app.clock().now(), self.app.log());
        let time = deadline.since(now).saturating_sub(STOP_BEFORE);
        let (tally, usage) = Usage::of(async {
            let mut tally = Tally { complete: true, ..Tally::default() };
            let deployments = join_all((0..Due::SHARDS).map(|shard| self.sweep(shard, now, time)));
            let reports = join_all((0..Due::SHARDS).map(|shard| self.announce_reports(shard, now, time)));
            let deliveries = join_all((0..Due::SHARDS).map(|shard| self.announce_deliveries(shard, now, time)));
            let (deployments, reports, deliveries) = join3(deployments, reports, deliveries).await;
            for shard in deployments.into_iter().chain(reports).chain(deliveries) {
                tally.add(shard);
            }
            self.check_permits(&mut tally, now).await;
            tally.add(self.dispatch_events(now, time).await);
            tally.add(self.send_deliveries(now, time).await);
            tally.add(self.remove_environments(now, time).await);
            self.delete_repositories(&mut tally, now, time).await;
            self.recount(&mut tally, now, time).await;
            tally
        })
        .await;
        let level = if tally.failed > 0 { Level::Error } else { Level::Info };
        let metrics = self.app.metrics(env!("CARGO_PKG_NAME"), started.elapsed(), usage, level == Level::Error);
        log.write(&SweepLine { metrics, level, tally });
        match tally.failed {
            0 => Ok(tally),
            failed => Err(format!("{failed} deployments or pages failed; the log has the causes").into()),
        }
    }

    /// Handles the due deployments of one shard.
    async fn sweep(&self, shard: u8, now: Timestamp, time: Duration) -> Tally {
        let (mut tally, mut pages) = (Tally::default(), Pages::<Due>::new(shard, now, time));
        while let Some(page) = pages.next(self, &mut tally).await {
            let mut in_codebuild = Vec::new();
            let mut looks = stream::iter(page).map(|due| self.look_at(due, now)).buffer_unordered(AT_ONCE);
            while let Some(looked) = looks.next().await {
                match looked {
                    Ok(DueOutcome::Unchanged) => tally.unchanged += 1,
                    Ok(DueOutcome::Sent(repaired)) => {
                        tally.sent += 1;
                        tally.repaired += repaired;
                    }
                    Ok(DueOutcome::InCodeBuild(deployment)) => in_codebuild.push(*deployment),
                    Ok(DueOutcome::Ended) => tally.ended += 1,
                    Err(error) => self.failed(&mut tally, &*error),
                }
            }
            if !in_codebuild.is_empty() {
                self.ask(in_codebuild, &mut tally, now).await;
            }
        }
        tally
    }

    async fn look_at(&self, due: Due, now: Timestamp) -> Result<DueOutcome, InitError> {
        let table = self.app.table();
        // The index may be behind the row, which decides.
        let Some(deployment) = due.load(table).await?.filter(|found| found.due_at == Some(due.at)) else {
            return Ok(DueOutcome::Unchanged);
        };
        if deployment.build.is_some() {
            return Ok(DueOutcome::InCodeBuild(deployment.into()));
        }
        if let Some(end) = overdue(&deployment, now) {
            if deployment.status == Status::Queued && self.waits_out_a_freeze(&deployment, now).await? {
                return Ok(DueOutcome::Unchanged);
            }
            // A deployment that has changed since it was read, such as by its last approval, may have another deadline.
            return match deployment.transition(table, end, Actor::Runner, now).await {
                Ok(ended) => {
                    self.queue.send_next(&self.app, &ended).await;
                    Ok(DueOutcome::Ended)
                }
                Err(TransitionFailed::Table(error)) => Err(error.into()),
                Err(_) => Ok(DueOutcome::Unchanged),
            };
        }
        // A deployment that waits for approvals or for a timer can't start, so its message would be useless. One that waits for a
        // required environment is decided by its message.
        let waits = deployment.status == Status::Queued && !deployment.may_start(now) && deployment.awaits.is_empty();
        if !deployment.put_off(table, next_look(&deployment, now)).await? || waits {
            return Ok(DueOutcome::Unchanged);
        }
        let repaired = match deployment.awaits_permit() {
            true => self.check_permits_of(&deployment).await?,
            false => 0,
        };
        self.queue.send(&deployment).await?;
        Ok(DueOutcome::Sent(repaired))
    }

    /// Lets a queued deployment whose deadline has passed wait for the end of a freeze window, if one is open.
    async fn waits_out_a_freeze(&self, deployment: &Deployment, now: Timestamp) -> Result<bool, InitError> {
        let Deployment { account_id, repository_id, environment, .. } = deployment;
        if !deployment.may_start(now) {
            return Ok(false);
        }
        let table = self.app.table();
        let settings = EnvironmentSettings::load(table, account_id, repository_id, *environment).await?;
        match settings.freeze(now) {
            Some(freeze) => Ok(deployment.wait_out(table, &freeze, now).await?),
            None => Ok(false),
        }
    }

    /// Asks CodeBuild about deployments without events, and settles its answers.
    async fn ask(&self, deployments: Vec<Deployment>, tally: &mut Tally, now: Timestamp) {
        let reports = match self.builds.ask(&deployments).await {
            Ok(reports) => reports,
            Err(error) => {
                self.failed(tally, &error);
                return;
            }
        };
        let settle = |deployment| self.settle(deployment, &reports, now);
        let mut settled = stream::iter(deployments).map(settle).buffer_unordered(AT_ONCE);
        while let Some(settled) = settled.next().await {
            match settled {
                Ok(Settled::Ended(_)) => tally.ended += 1,
                Ok(_) => tally.unchanged += 1,
                Err(error) => self.failed(tally, &*error),
            }
        }
    }

    async fn settle(
        &self,
        deployment: Deployment,
        reports: &HashMap<BuildId, Report>,
        now: Timestamp,
    ) -> Result<Settled, InitError> {
        let Some(build) = deployment.build.clone() else { return Ok(Settled::NotItsBuild) };
        let missing = || Report::missing(build.clone(), deployment.attempt);
        let report = reports.get(&build).cloned().unwrap_or_else(missing);
        let settled = self.builds.settle(deployment.clone(), &report).await?;
        if settled == Settled::Running {
            deployment.put_off(self.app.table(), deployment.next_question(now)).await?;
            // The event of the stopped build ends the deployment.
            if deployment.cancel_requested_by.is_some() || deployment.is_overdue(now) {
                self.builds.stop(&build).await?;
            }
        }
        Ok(settled)
    }

    /// Goes on with the deletions of repositories.
    async fn delete_repositories(&self, tally: &mut Tally, now: Timestamp, time: Duration) {
        let table = self.app.table();
        let has_time = || self.app.clock().now().since(now) < time;
        let pending = match RepositoryDeletion::pending(table).await {
            Ok(pending) => pending,
            Err(error) => return self.failed(tally, &error),
        };
        for deletion in pending {
            match deletion.advance(table, now, has_time).await {
                Ok(deleting) => {
                    tally.deleted += u32::from(deleting.complete);
                    for deployment in &deleting.stopping {
                        if let Err(error) = self.queue.send(deployment).await {
                            self.failed(tally, &error);
                        }
                    }
                }
                Err(error) => self.failed(tally, &error),
            }
            if !has_time() {
                break;
            }
        }
    }

    /// Compares the next counters with their rows.
    async fn recount(&self, tally: &mut Tally, now: Timestamp, time: Duration) {
        let app = &self.app;
        let has_time = || app.clock().now().since(now) < time;
        let tell = |counter: &Key, finding: Finding| {
            if let Finding::Repaired { .. } = finding {
                tally.repaired += 1;
            }
            app.log().write(&CounterLine::new(counter, finding));
        };
        if let Err(error) = Recount::walk(app.table(), now, has_time, tell).await {
            self.failed(tally, &error);
        }
    }

    fn failed(&self, tally: &mut Tally, error: &(dyn std::error::Error + 'static)) {
        self.app.log().warn("a part of the sweep failed", error);
        tally.failed += 1;
    }
}
