//! Deployments that run as builds of AWS CodeBuild.

use std::time::Duration;

use archive::Archive;
use builds::{Builds, CODEBUILD_PROJECT, Start, StartFailed};
use shared::model::{BuildLimits, Deployment, Failure, FailureCode};
use shared::settings::VALUES_FROM_AWS;
use shared::{App, InitError};

use crate::refusal::Refusal;
use crate::retry::Retry;
use crate::variables::Variables;

/// The CodeBuild project that runs deployments. Its builds read the source from the archive's bucket.
#[derive(Clone, Debug)]
pub(crate) struct CodeBuild {
    builds: Builds,
    project: String,
    bucket: String,
    limits: BuildLimits,
    takes_values_from_aws: bool,
}

/// The input of a build besides its source.
pub(crate) struct BuildInput {
    /// The buildspec as it was read, in CodeBuild's format.
    pub buildspec: String,
    pub(crate) has_artifacts: bool,
    pub(crate) has_reports: bool,
    /// The archive's prefix for the files of the cache, if the build has one.
    pub cache: Option<String>,
    pub secrets: Variables,
    /// The plain variables, and those that describe the deployment.
    pub plain: Variables,
    pub time_limit: Duration,
}

/// The result of starting a build.
pub(crate) enum Started {
    /// The deployment has the build, unless its row is gone.
    HandedOver,
    /// AWS refused the build, of which nothing has run.
    Refused(Refusal),
    /// The build can never start.
    Fails(Failure),
}

impl CodeBuild {
    pub(crate) fn new(app: &App, archive: &Archive) -> Result<Self, InitError> {
        Ok(Self {
            takes_values_from_aws: app.settings().allows(VALUES_FROM_AWS, false)?,
            builds: Builds::new(app)?,
            project: app.settings().require(CODEBUILD_PROJECT)?.to_owned(),
            limits: BuildLimits::of(app.settings())?,
            bucket: archive.bucket().ok_or("RUNNER=codebuild needs an ARCHIVE_URL of the form s3://bucket")?.to_owned(),
        })
    }

    /// Returns whether the operator lets builds take values from Parameter Store and Secrets Manager.
    pub(crate) fn takes_values_from_aws(&self) -> bool {
        self.takes_values_from_aws
    }

    /// Starts the build and records it in the deployment.
    pub(crate) async fn start(&self, claimed: &Deployment, input: &BuildInput) -> Result<Started, Retry> {
        // The operator may have narrowed the limits since the deployment was created.
        if let Some(message) = self.limits.refusal_of_deployment(&claimed.machine) {
            return Ok(Started::Fails(Failure::new(FailureCode::MachineNotAllowed, message)));
        }
        let (source, artifacts) = (Archive::source_key(&claimed.source_prefix()), claimed.artifacts_prefix());
        let start = Start {
            project: &self.project,
            deployment: claimed,
            bucket: &self.bucket,
            source: &source,
            buildspec: &input.buildspec,
            artifacts: input.has_artifacts.then_some(artifacts.as_str()),
            reports: input.has_reports.then_some(artifacts.as_str()),
            cache: input.cache.as_deref(),
            secrets: &input.secrets,
            plain: &input.plain,
            time_limit: input.time_limit,
        };
        match self.builds.hand_over(start).await {
            Ok(()) => Ok(Started::HandedOver),
            Err(StartFailed::Unknown(error)) => Err(not_started(error)),
            Err(StartFailed::Stale) => Err(Retry::Stale),
            Err(StartFailed::Refused(error)) => Ok(Started::Refused(Refusal::of_build(error))),
            Err(too_large @ StartFailed::VariablesTooLarge) => {
                Ok(Started::Fails(Failure::new(FailureCode::VariablesTooLarge, too_large.to_string())))
            }
        }
    }

    /// Stops the deployment's build if a user asked to cancel it. The build's event ends the deployment.
    pub(crate) async fn stop_if_canceled(&self, deployment: &Deployment) -> Result<(), Retry> {
        let stopped = self.builds.stop_if_canceled(deployment).await;
        stopped.map_err(|error| Retry::Infrastructure("a build could not be stopped", error.into()))
    }

    /// Deletes the secret that an earlier attempt may have left.
    pub(crate) async fn delete_secret(&self, ended: &Deployment) -> Result<(), builds::Error> {
        self.builds.delete_secret(&self.project, ended).await
    }
}

fn not_started(error: builds::Error) -> Retry {
    Retry::Infrastructure("the build could not be started", error.into())
}
