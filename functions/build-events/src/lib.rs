//! Consumes CodeBuild's events and advances the deployments of its builds.
//!
//! EventBridge delivers events at least once and in any order, and may lose some. The sweep asks CodeBuild about builds
//! whose events were lost. An event concerns only the build that it names, so an event that is late, duplicate or of an
//! earlier attempt changes nothing. A running build that belongs to no deployment is stopped: its runner died before it
//! recorded the build, and another attempt has begun.

mod event;

use std::time::Instant;

use builds::{Builds, CODEBUILD_PROJECT, Settled};
use lambda_runtime::LambdaEvent;
use serde::Serialize;
use shared::error::chain;
use shared::model::Deployment;
use shared::telemetry::{Level, MessageLine};
use shared::usage::Usage;
use shared::{App, InitError};

use crate::event::BuildUpdate;

pub use event::Event;

/// The handler of CodeBuild's events about the builds of one project.
#[derive(Clone, Debug)]
pub struct BuildEvents {
    app: App,
    builds: Builds,
    project: String,
}

/// The outcome of an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Handled {
    outcome: &'static str,
}

impl BuildEvents {
    /// # Errors
    /// Fails if a setting is missing.
    pub fn new(app: &App) -> Result<Self, InitError> {
        let project = app.settings().require(CODEBUILD_PROJECT)?.to_owned();
        Ok(Self { builds: Builds::new(app)?, app: app.clone(), project })
    }

    /// Handles one event.
    ///
    /// # Errors
    /// Fails if the event can't be read or a call to AWS fails. Lambda then retries twice. After that, the sweep asks
    /// CodeBuild.
    pub async fn invoke(&self, event: LambdaEvent<Event>) -> Result<Handled, InitError> {
        let started = Instant::now();
        let event = event.payload;
        let message_id = event.id.clone();
        let mut deployment_id = None;
        let (handled, usage) = Usage::of(async {
            let Some(update) = event.update(&self.project)? else { return Ok("ignored") };
            deployment_id = Some(update.deployment.clone());
            Box::pin(self.handle(update)).await
        })
        .await;
        let (level, outcome) = match &handled {
            Ok(outcome) => (Level::Info, *outcome),
            Err(_) => (Level::Error, "failed"),
        };
        self.app.log().write(&MessageLine {
            metrics: self.app.metrics(env!("CARGO_PKG_NAME"), started.elapsed(), usage, level == Level::Error),
            level,
            message_id: message_id.as_deref(),
            deployment_id: deployment_id.as_ref(),
            outcome,
            cause: handled.as_ref().err().map(|error: &InitError| chain(&**error)),
        });
        handled.map(|outcome| Handled { outcome })
    }

    async fn handle(
        &self,
        BuildUpdate { account, deployment, report }: BuildUpdate,
    ) -> Result<&'static str, InitError> {
        let found = Deployment::load(self.app.table(), &account, &deployment).await?;
        let Some(deployment) = found else { return Ok("gone") };
        Ok(match self.builds.settle(deployment, &report).await? {
            Settled::Ended(status) => status.as_str(),
            Settled::HandedOver => "handed_over",
            Settled::Started => "started",
            Settled::Running => "running",
            Settled::AlreadyEnded => "already_ended",
            Settled::NotItsBuild if report.is_running() => {
                self.builds.stop(&report.build).await?;
                "stopped"
            }
            Settled::NotItsBuild => "not_its_build",
        })
    }
}
