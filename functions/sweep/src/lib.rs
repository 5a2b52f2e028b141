//! Runs every minute and looks at the deployments that were silent for too long, so that none waits for ever whatever
//! died. What is due is in an index that holds only what has not ended, so an idle sweep costs four queries.
//!
//! | the deployment | the sweep |
//! |---|---|
//! | queued, and no runner took it | sends its message again |
//! | in progress, and its runner's lease is over | sends its message again: the consumer claims it, or ends it |
//! | in progress in a build that CodeBuild has not told of | asks CodeBuild, and ends it when the build has ended |
//! | past its deadline, and no runner has it | ends it, and sends the next one's message; a build is stopped |
//!
//! A deployment is put off by a conditional write before its message is sent. So of two sweeps at once only one sends it,
//! and a sweep that dies in between has cost a delay and no deployment. Answers of CodeBuild are settled like its events.
//!
//! With the time that is left it compares counters with the rows that they count, some each time (`Recount`).

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use builds::{ASK_AT_ONCE, Builds, Report, Settled};
use futures_util::future::join_all;
use futures_util::{StreamExt, stream};
use lambda_runtime::LambdaEvent;
use serde::Serialize;
use serde::de::IgnoredAny;
use shared::clock::Timestamp;
use shared::model::{
    Actor, BUILD_REPORTS_WITHIN, BuildId, Deployment, Due, Failure, Finding, Recount, Status, Transition,
    TransitionFailed,
};
use shared::queue::Queue;
use shared::table::{Key, Numbers, Usage};
use shared::telemetry::{Level, Metrics};
use shared::{App, InitError};

/// The waits between two messages for a deployment that nobody takes. Each wait is as long as all before it, within
/// these bounds: when runners are short the messages must not become ever more.
const SEND_AGAIN_AFTER: Duration = Duration::from_secs(300);
const SEND_AGAIN_WITHIN: Duration = Duration::from_secs(3600);
/// Rows of one query. Their keys are some 100 bytes each, and CodeBuild can be asked for all of them at once.
const PAGE: i32 = ASK_AT_ONCE as i32;
/// Deployments of a shard that are looked at together: three calls of some 10 ms each, so that a minute is enough for
/// some 20,000 in each shard.
const AT_ONCE: usize = 8;
/// What is kept of the invocation's time for the last page and the log.
const STOP_BEFORE: Duration = Duration::from_secs(10);

#[derive(Clone, Debug)]
pub struct Sweep(Arc<Parts>);

#[derive(Debug)]
struct Parts {
    app: App,
    queue: Queue,
    builds: Builds,
}

/// What a deployment that is due needs.
enum Looked {
    /// Nothing: another sweep or its runner came first.
    Unchanged,
    /// Its message was sent again.
    Sent,
    /// Its time was over.
    Ended,
    /// CodeBuild is to be asked.
    Silent(Box<Deployment>),
}

/// What one sweep did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Swept {
    /// Messages sent again.
    pub sent: u32,
    /// Deployments that have ended: their deadline had passed, or CodeBuild said so when it was asked.
    pub ended: u32,
    /// Deployments whose builds run, and those that another sweep or their runner came first to.
    pub unchanged: u32,
    /// Deployments and pages that failed. They are due again.
    pub failed: u32,
    /// Counters that were wrong, and are right now.
    pub repaired: u32,
    /// Whether all that was due was looked at. What was not is first in the next sweep.
    pub complete: bool,
}

#[derive(Serialize)]
struct SweepLine<'a> {
    #[serde(flatten)]
    metrics: Metrics<'a>,
    level: Level,
    #[serde(flatten)]
    swept: Swept,
}

/// A counter that was not right.
#[derive(Serialize)]
struct CounterLine<'a> {
    level: Level,
    message: &'a str,
    counter: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    was: Option<Numbers>,
    #[serde(skip_serializing_if = "Option::is_none")]
    is: Option<Numbers>,
}

impl Sweep {
    /// # Errors
    /// When a setting is missing or unusable.
    pub fn new(app: &App) -> Result<Self, InitError> {
        Ok(Self(Arc::new(Parts { queue: Queue::new(app)?, builds: Builds::new(app)?, app: app.clone() })))
    }

    /// Sweeps until nothing is due, or the invocation's time is nearly over. What the event says does not matter.
    ///
    /// # Errors
    /// When something failed, after everything else was done. All of it is due again.
    pub async fn invoke(&self, event: LambdaEvent<IgnoredAny>) -> Result<Swept, InitError> {
        let started = Instant::now();
        let deadline = Timestamp::from_millis(i64::try_from(event.context.deadline).unwrap_or(i64::MAX));
        let (now, log) = (self.0.app.clock().now(), self.0.app.log());
        let time = deadline.since(now).saturating_sub(STOP_BEFORE);
        let (swept, usage) = Usage::of(async {
            let mut swept = Swept { complete: true, ..Swept::default() };
            for shard in join_all((0..Due::SHARDS).map(|shard| self.sweep(shard, now, time))).await {
                swept.add(shard);
            }
            self.recount(&mut swept, now, time).await;
            swept
        })
        .await;
        let level = if swept.failed > 0 { Level::Error } else { Level::Info };
        let metrics = Metrics::new(env!("CARGO_PKG_NAME"), now, started.elapsed(), usage, level == Level::Error);
        log.write(&SweepLine { metrics, level, swept });
        match swept.failed {
            0 => Ok(swept),
            failed => Err(format!("{failed} deployments or pages failed; the log has the causes").into()),
        }
    }

    /// Looks at what is due in one shard.
    async fn sweep(&self, shard: u8, now: Timestamp, time: Duration) -> Swept {
        let started = self.0.app.clock().now();
        let mut swept = Swept::default();
        let mut last = None;
        while self.0.app.clock().now().since(started) < time {
            let page = match Due::page(self.0.app.table(), shard, now, last.as_ref(), PAGE).await {
                Ok(page) => page,
                Err(error) => {
                    self.failed(&mut swept, &error);
                    return swept;
                }
            };
            let Some(end) = page.last().cloned() else {
                swept.complete = true;
                return swept;
            };
            last = Some(end);
            let mut silent = Vec::new();
            let mut looks = stream::iter(page).map(|due| self.look_at(due, now)).buffer_unordered(AT_ONCE);
            while let Some(looked) = looks.next().await {
                match looked {
                    Ok(Looked::Unchanged) => swept.unchanged += 1,
                    Ok(Looked::Sent) => swept.sent += 1,
                    Ok(Looked::Silent(deployment)) => silent.push(*deployment),
                    Ok(Looked::Ended) => swept.ended += 1,
                    Err(error) => self.failed(&mut swept, &*error),
                }
            }
            if !silent.is_empty() {
                self.ask(silent, &mut swept, now).await;
            }
        }
        swept
    }

    async fn look_at(&self, due: Due, now: Timestamp) -> Result<Looked, InitError> {
        let table = self.0.app.table();
        // The index may be behind the row, which is what counts.
        let Some(deployment) = due.load(table).await?.filter(|found| found.due_at == Some(due.at)) else {
            return Ok(Looked::Unchanged);
        };
        if deployment.build.is_some() {
            return Ok(Looked::Silent(deployment.into()));
        }
        if let Some(end) = overdue(&deployment, now) {
            return match deployment.report(table, end, Actor::Runner, now).await {
                Ok(ended) => {
                    self.0.queue.send_next(&self.0.app, &ended).await;
                    Ok(Looked::Ended)
                }
                Err(TransitionFailed::Table(error)) => Err(error.into()),
                Err(_) => Ok(Looked::Unchanged),
            };
        }
        let silent_since = match deployment.status {
            Status::Queued => deployment.created_at,
            _ => deployment.lease_until.unwrap_or(deployment.updated_at),
        };
        let wait = now.since(silent_since).clamp(SEND_AGAIN_AFTER, SEND_AGAIN_WITHIN);
        let again = deployment.deadline.into_iter().fold(now.plus(wait), std::cmp::min);
        if !deployment.put_off(table, again).await? {
            return Ok(Looked::Unchanged);
        }
        // Whoever lacks an approval would only be looked at in vain.
        if !deployment.is_approved() {
            return Ok(Looked::Unchanged);
        }
        self.0.queue.send(&deployment).await?;
        Ok(Looked::Sent)
    }

    /// Settles builds whose events did not come.
    async fn ask(&self, deployments: Vec<Deployment>, swept: &mut Swept, now: Timestamp) {
        let reports = match self.0.builds.ask(&deployments).await {
            Ok(reports) => reports,
            Err(error) => {
                self.failed(swept, &error);
                return;
            }
        };
        let settle = |deployment| self.settle(deployment, &reports, now);
        let mut settled = stream::iter(deployments).map(settle).buffer_unordered(AT_ONCE);
        while let Some(settled) = settled.next().await {
            match settled {
                Ok(Settled::Ended(_)) => swept.ended += 1,
                Ok(_) => swept.unchanged += 1,
                Err(error) => self.failed(swept, &*error),
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
        let settled = self.0.builds.settle(deployment.clone(), &report).await?;
        if settled == Settled::Running {
            deployment.put_off(self.0.app.table(), now.plus(BUILD_REPORTS_WITHIN)).await?;
            // Its event will end the deployment.
            if deployment.cancel_requested_by.is_some() || deployment.is_overdue(now) {
                self.0.builds.stop(&build).await?;
            }
        }
        Ok(settled)
    }

    /// Compares the next counters with their rows.
    async fn recount(&self, swept: &mut Swept, now: Timestamp, time: Duration) {
        let app = &self.0.app;
        let has_time = || app.clock().now().since(now) < time;
        let tell = |counter: &Key, finding| {
            let counter = counter.to_string();
            app.log().write(&match finding {
                Finding::Repaired { was, is } => {
                    swept.repaired += 1;
                    let message = "a counter did not match its rows and was set right";
                    CounterLine { level: Level::Warn, message, counter, was: Some(was), is: Some(is) }
                }
                Finding::RowsMissing => {
                    let message = "a counter was not compared: rows that it counts are not in their index, or not yet";
                    CounterLine { level: Level::Warn, message, counter, was: None, is: None }
                }
            });
        };
        if let Err(error) = Box::pin(Recount::walk(app.table(), now, has_time, tell)).await {
            self.failed(swept, &error);
        }
    }

    fn failed(&self, swept: &mut Swept, error: &(dyn std::error::Error + 'static)) {
        self.0.app.log().warn("a part of the sweep failed", error);
        swept.failed += 1;
    }
}

/// How a deployment ends whose time is over. One that is in progress has lost its runner by then: a lease is not renewed
/// past the deadline.
fn overdue(deployment: &Deployment, now: Timestamp) -> Option<Transition> {
    let is_held = deployment.lease_until.is_some_and(|until| until > now);
    match deployment.status {
        _ if !deployment.is_overdue(now) || is_held => None,
        Status::Queued => Some(Transition::Fail(Failure::queue_deadline())),
        _ if deployment.cancel_requested_by.is_some() => Some(Transition::Cancel),
        _ => Some(Transition::Fail(Failure::run_deadline())),
    }
}

impl Swept {
    fn add(&mut self, other: Self) {
        self.sent += other.sent;
        self.ended += other.ended;
        self.unchanged += other.unchanged;
        self.failed += other.failed;
        self.complete &= other.complete;
    }
}
