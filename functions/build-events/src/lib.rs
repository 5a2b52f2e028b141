//! Takes what CodeBuild tells of its builds, by EventBridge, and moves their deployments on.
//!
//! Events come at least once and in any order, and some never: the sweep asks for those. An event is only about the build
//! that it names, so one that is late, doubled, or of an attempt that is over changes nothing. A build that runs and that
//! no deployment has is stopped: its runner was lost before it could write it down, and another attempt has begun.
//!
//! <https://docs.aws.amazon.com/codebuild/latest/userguide/sample-build-notifications.html>

use std::sync::Arc;
use std::time::Instant;

use builds::{
    ACCOUNT_VARIABLE, ATTEMPT_VARIABLE, BuildStatus, Builds, CODEBUILD_PROJECT, DEPLOYMENT_VARIABLE, PhaseReport,
    Report, Settled,
};
use lambda_runtime::LambdaEvent;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use shared::id::{AccountId, DeploymentId};
use shared::model::{BuildId, Deployment};
use shared::table::Usage;
use shared::telemetry::{Level, MessageLine, Metrics, chain};
use shared::{App, InitError};

const STATE_CHANGE: &str = "CodeBuild Build State Change";

#[derive(Clone, Debug)]
pub struct BuildEvents(Arc<Parts>);

#[derive(Debug)]
struct Parts {
    app: App,
    builds: Builds,
    project: String,
}

/// An event of EventBridge.
#[derive(Debug, Deserialize)]
pub struct Event {
    #[serde(default)]
    id: Option<String>,
    #[serde(rename = "detail-type")]
    kind: String,
    detail: Value,
}

/// What became of an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Handled {
    pub outcome: &'static str,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct StateChange {
    build_status: String,
    project_name: String,
    /// An ARN that ends with the build's id.
    build_id: String,
    additional_information: Information,
}

#[derive(Deserialize)]
struct Information {
    environment: Environment,
    #[serde(default)]
    phases: Vec<Phase>,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Environment {
    #[serde(default)]
    environment_variables: Vec<Variable>,
}

#[derive(Deserialize)]
struct Variable {
    name: String,
    value: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Phase {
    phase_type: String,
    #[serde(default)]
    phase_status: Option<String>,
    #[serde(default)]
    phase_context: Vec<String>,
}

/// The deployment that a build says it is of.
struct Named {
    account: AccountId,
    deployment: DeploymentId,
    report: Report,
}

impl BuildEvents {
    /// # Errors
    /// When a setting is missing.
    pub fn new(app: &App) -> Result<Self, InitError> {
        let project = app.settings().require(CODEBUILD_PROJECT)?.to_owned();
        Ok(Self(Arc::new(Parts { builds: Builds::new(app)?, app: app.clone(), project })))
    }

    /// Handles one event.
    ///
    /// # Errors
    /// When the event can't be read, or AWS failed: Lambda tries it twice more, and then the sweep asks.
    pub async fn invoke(&self, event: LambdaEvent<Event>) -> Result<Handled, InitError> {
        let started = Instant::now();
        let Event { id, kind, detail } = event.payload;
        let mut deployment_id = None;
        let (handled, usage) = Usage::of(async {
            let Some(named) = self.read(&kind, detail)? else { return Ok("ignored") };
            deployment_id = Some(named.deployment.clone());
            self.handle(named).await
        })
        .await;
        let (level, outcome) = match &handled {
            Ok(outcome) => (Level::Info, *outcome),
            Err(_) => (Level::Error, "failed"),
        };
        let now = self.0.app.clock().now();
        self.0.app.log().write(&MessageLine {
            metrics: Metrics::new(env!("CARGO_PKG_NAME"), now, started.elapsed(), usage, level == Level::Error),
            level,
            message_id: id.as_deref(),
            deployment_id: deployment_id.as_ref(),
            outcome,
            cause: handled.as_ref().err().map(|error: &InitError| chain(&**error)),
        });
        handled.map(|outcome| Handled { outcome })
    }

    /// `None` for what is no news of a deployment's build.
    fn read(&self, kind: &str, detail: Value) -> Result<Option<Named>, InitError> {
        if kind != STATE_CHANGE {
            return Ok(None);
        }
        let change: StateChange = serde_json::from_value(detail)?;
        if change.project_name != self.0.project {
            return Ok(None);
        }
        let variables = &change.additional_information.environment.environment_variables;
        let value = |name: &str| variables.iter().find(|one| one.name == name).map(|one| one.value.as_str());
        // Somebody has started the project by hand.
        let Some(deployment) = value(DEPLOYMENT_VARIABLE) else { return Ok(None) };
        let (_, build) = change.build_id.rsplit_once('/').ok_or("the build's ARN has no build")?;
        let phase = |phase: &Phase| {
            let contexts = phase.phase_context.iter().map(String::as_str);
            PhaseReport::new(&phase.phase_type, phase.phase_status.as_deref(), contexts)
        };
        Ok(Some(Named {
            account: value(ACCOUNT_VARIABLE).ok_or("the build names no account")?.parse()?,
            deployment: deployment.parse()?,
            report: Report {
                build: build.parse::<BuildId>()?,
                attempt: value(ATTEMPT_VARIABLE).ok_or("the build names no attempt")?.parse()?,
                status: BuildStatus::parse(&change.build_status)?,
                phases: change.additional_information.phases.iter().map(phase).collect(),
            },
        }))
    }

    async fn handle(&self, Named { account, deployment, report }: Named) -> Result<&'static str, InitError> {
        let Parts { app, builds, .. } = &*self.0;
        let Some(deployment) = Deployment::load(app.table(), &account, &deployment).await? else { return Ok("gone") };
        Ok(match builds.settle(deployment, &report).await? {
            Settled::Ended(status) => status.as_str(),
            Settled::HandedOver => "handed_over",
            Settled::Running => "running",
            Settled::AlreadyEnded => "already_ended",
            Settled::NotItsBuild if report.is_running() => {
                builds.stop(&report.build).await?;
                "stopped"
            }
            Settled::NotItsBuild => "not_its_build",
        })
    }
}
