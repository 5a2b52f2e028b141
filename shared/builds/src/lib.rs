//! Deployments that AWS CodeBuild runs: how a build is started, and what it means for its deployment when CodeBuild
//! tells of it.
//!
//! A build belongs to one attempt of one deployment, which it names in its environment. Whoever hears of it, by an event
//! or by asking, calls [`Builds::settle`], so that it does not matter who hears first, how often, or in which order.
//!
//! What a build may read is what it is told the name of: objects and secrets are named after the deployment's id, which
//! can't be guessed, and its role may list neither.

mod report;
mod start;

use std::collections::HashMap;

use aws_sdk_codebuild::config::BehaviorVersion;
use aws_sdk_codebuild::error::{ProvideErrorMetadata, SdkError};
use shared::App;
use shared::model::{Actor, BuildId, Deployment, Failure, Status, Transition, TransitionFailed};
use shared::queue::Queue;
use shared::settings::MissingSetting;
use shared::table::TableError;

pub use report::{BuildStatus, PhaseReport, Report};
pub use start::{Start, StartFailed};

/// The setting with the name of the CodeBuild project that runs deployments.
pub const CODEBUILD_PROJECT: &str = "CODEBUILD_PROJECT";

/// The environment variables by which a build names its attempt. Customers' variables can't be called so.
pub const DEPLOYMENT_VARIABLE: &str = "DEPLOYMENT_ID";
pub const ACCOUNT_VARIABLE: &str = "DEPLOYMENT_ACCOUNT";
pub const ATTEMPT_VARIABLE: &str = "DEPLOYMENT_ATTEMPT";

/// Builds that one BatchGetBuilds may name.
pub const ASK_AT_ONCE: usize = 100;

/// How often a deployment that keeps changing is read again.
const MAX_READS: u32 = 5;

#[derive(Clone, Debug)]
pub struct Builds {
    app: App,
    queue: Queue,
    codebuild: aws_sdk_codebuild::Client,
    secrets: aws_sdk_secretsmanager::Client,
}

/// What a report has led to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Settled {
    /// The deployment has ended by it.
    Ended(Status),
    /// The build runs, and the deployment knows it now.
    HandedOver,
    /// The build runs, and the deployment knew.
    Running,
    AlreadyEnded,
    /// The deployment has another build or none, and another attempt: this one may not change it.
    NotItsBuild,
}

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("DynamoDB failed")]
    Table(#[from] TableError),
    #[error("the deployment kept changing")]
    Contended,
    #[error("{0} did not do what it was asked for ({1})")]
    Call(&'static str, String, #[source] Box<dyn std::error::Error + Send + Sync>),
    #[error("CodeBuild tells something that is not known here: {0}")]
    Unknown(String),
}

impl Error {
    fn call<E>(service: &'static str, error: SdkError<E>) -> Self
    where
        E: ProvideErrorMetadata + std::error::Error + Send + Sync + 'static,
    {
        let code = error.as_service_error().and_then(ProvideErrorMetadata::code).unwrap_or("no answer").to_owned();
        Self::Call(service, code, error.into())
    }
}

impl Builds {
    /// # Errors
    /// When a setting is missing.
    pub fn new(app: &App) -> Result<Self, MissingSetting> {
        let aws = app.aws();
        let mut config = aws_sdk_codebuild::Config::builder()
            .behavior_version(BehaviorVersion::latest())
            .region(aws.region())
            .credentials_provider(aws.credentials())
            .http_client(aws.http());
        config.set_endpoint_url(aws.endpoint("AWS_ENDPOINT_URL_CODEBUILD"));
        let codebuild = aws_sdk_codebuild::Client::from_conf(config.build());
        let mut config = aws_sdk_secretsmanager::Config::builder()
            .behavior_version(aws_sdk_secretsmanager::config::BehaviorVersion::latest())
            .region(aws.region())
            .credentials_provider(aws.credentials())
            .http_client(aws.http());
        config.set_endpoint_url(aws.endpoint("AWS_ENDPOINT_URL_SECRETS_MANAGER"));
        let secrets = aws_sdk_secretsmanager::Client::from_conf(config.build());
        Ok(Self { app: app.clone(), queue: Queue::new(app)?, codebuild, secrets })
    }

    /// Changes the deployment as the report of one of its builds has it. Once it has ended, the next one of its lane is
    /// sent and the secret with its variables is gone.
    ///
    /// # Errors
    /// When DynamoDB or Secrets Manager fails; the same report may be settled again then.
    pub async fn settle(&self, mut deployment: Deployment, report: &Report) -> Result<Settled, Error> {
        let table = self.app.table();
        for _ in 0..MAX_READS {
            let known = deployment.build.as_ref() == Some(&report.build);
            let expected = deployment.build.is_none() && deployment.attempt == report.attempt;
            let next = match (deployment.status, report.end()) {
                (status, _) if status.is_final() && known => {
                    self.forget(report.build.project(), &deployment).await?;
                    return Ok(Settled::AlreadyEnded);
                }
                (Status::InProgress, None) if known => return Ok(Settled::Running),
                // Its runner could not write down that it started the build.
                (Status::InProgress, _) if expected => Transition::HandOver { build: report.build.clone() },
                // It was stopped because somebody asked for it.
                (Status::InProgress, Some(Transition::Fail(_)))
                    if known && report.status == BuildStatus::Stopped && deployment.cancel_requested_by.is_some() =>
                {
                    Transition::Cancel
                }
                (Status::InProgress, Some(end)) if known => end,
                _ => return Ok(Settled::NotItsBuild),
            };
            match deployment.transition(table, next, Actor::Runner, self.app.clock().now()).await {
                Ok(ended) if ended.status.is_final() => {
                    self.queue.send_next(&self.app, &ended).await;
                    self.forget(report.build.project(), &ended).await?;
                    return Ok(Settled::Ended(ended.status));
                }
                Ok(_) if report.end().is_none() => return Ok(Settled::HandedOver),
                Ok(handed_over) => deployment = handed_over,
                Err(TransitionFailed::Table(error)) => return Err(error.into()),
                Err(TransitionFailed::Stale | TransitionFailed::Blocked) => {
                    let found = Deployment::load(table, &deployment.account_id, &deployment.id).await?;
                    deployment = found.ok_or(Error::Contended)?;
                }
            }
        }
        Err(Error::Contended)
    }

    /// Asks CodeBuild for at most [`ASK_AT_ONCE`] builds. One that it does not know is missing in the answer.
    ///
    /// # Errors
    /// When CodeBuild does not answer.
    pub async fn ask(&self, deployments: &[Deployment]) -> Result<HashMap<BuildId, Report>, Error> {
        let attempts: HashMap<&str, (&BuildId, u32)> = deployments
            .iter()
            .filter_map(|deployment| {
                let build = deployment.build.as_ref()?;
                Some((build.as_str(), (build, deployment.attempt)))
            })
            .collect();
        let ids = attempts.keys().map(|id| (*id).to_owned()).collect();
        let answer = self.codebuild.batch_get_builds().set_ids(Some(ids)).send().await;
        let answer = answer.map_err(|error| Error::call("CodeBuild", error))?;
        let reports = answer.builds().iter().filter_map(|build| {
            let (id, attempt) = *attempts.get(build.id()?)?;
            Some(Report::of_build(id.clone(), attempt, build).map(|report| (id.clone(), report)))
        });
        reports.collect()
    }

    /// Stops a build that no deployment has.
    ///
    /// # Errors
    /// When CodeBuild does not answer, or does not know the build.
    pub async fn stop(&self, build: &BuildId) -> Result<(), Error> {
        let stopped = self.codebuild.stop_build().id(build.as_str()).send().await;
        stopped.map(drop).map_err(|error| Error::call("CodeBuild", error))
    }

    /// Deletes the secret with the deployment's variables, if there is one.
    ///
    /// # Errors
    /// When Secrets Manager does not answer.
    pub async fn forget(&self, project: &str, deployment: &Deployment) -> Result<(), Error> {
        let name = secret_name(project, deployment);
        let deleted = self.secrets.delete_secret().secret_id(name).force_delete_without_recovery(true).send().await;
        match deleted {
            Err(error) if !error.as_service_error().is_some_and(|error| error.is_resource_not_found_exception()) => {
                Err(Error::call("Secrets Manager", error))
            }
            _ => Ok(()),
        }
    }
}

/// One secret for each deployment: its variables as a JSON object.
fn secret_name(project: &str, deployment: &Deployment) -> String {
    format!("{project}/{}", deployment.id)
}

fn failure(code: &str, message: impl Into<String>) -> Failure {
    Failure { code: code.to_owned(), message: message.into() }
}
