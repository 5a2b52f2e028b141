//! The start of a build.

use std::collections::BTreeMap;
use std::time::Duration;

use archive::REPORTS;
use aws_sdk_codebuild::error::SdkError;
use aws_sdk_codebuild::types::builders::ProjectArtifactsBuilder;
use aws_sdk_codebuild::types::{
    ArtifactNamespace, ArtifactPackaging, ArtifactsType, CacheType, CloudWatchLogsConfig, EnvironmentVariable,
    EnvironmentVariableType, LogsConfig, LogsConfigStatusType, ProjectArtifacts, ProjectCache, SourceType,
};
use shared::model::{BUILD_QUEUE_LIMIT, BuildId, Deployment};

use crate::client::{ACCOUNT_VARIABLE, ATTEMPT_VARIABLE, Builds, DEPLOYMENT_VARIABLE};
use crate::error::Error;
use crate::report::Report;
use crate::settle::Settled;

/// The maximum size of a secret, in bytes (<https://docs.aws.amazon.com/secretsmanager/latest/userguide/reference_limits.html>).
const MAX_SECRET_BYTES: usize = 64 * 1024;
/// The time limits that CodeBuild allows, in seconds. The sweep stops a build that has a shorter one.
const TIME_LIMITS: std::ops::RangeInclusive<u64> = 5 * 60..=2160 * 60;

/// The input of a build.
#[derive(Debug)]
pub struct Start<'a> {
    /// The CodeBuild project.
    pub project: &'a str,
    /// The claimed deployment.
    pub deployment: &'a Deployment,
    /// The bucket of the archive.
    pub bucket: &'a str,
    /// The key of the source's zip in the bucket.
    pub source: &'a str,
    /// The buildspec, which replaces the file in the source.
    pub buildspec: &'a str,
    /// The prefix in the bucket whose folder `artifacts` receives the artifacts, if the buildspec has artifacts.
    pub artifacts: Option<&'a str>,
    /// The prefix in the bucket whose folder [`REPORTS`] receives the test reports, if the buildspec has reports.
    pub reports: Option<&'a str>,
    /// The prefix in the bucket below which CodeBuild keeps the cache, if the build has one.
    pub cache: Option<&'a str>,
    /// The secret variables. The build gets them by reference to a secret of Secrets Manager.
    pub secrets: &'a BTreeMap<String, String>,
    /// The variables that everybody may see.
    pub plain: &'a BTreeMap<String, String>,
    /// The time limit, which is rounded up to minutes.
    pub time_limit: Duration,
}

/// The reasons why a build does not start.
#[allow(missing_docs, reason = "the message of each variant describes it")]
#[derive(Debug, thiserror::Error)]
pub enum StartFailed {
    #[error("The secret variables exceed {MAX_SECRET_BYTES} bytes as JSON, the limit for builds in AWS CodeBuild")]
    VariablesTooLarge,
    #[error("AWS refused the build")]
    Refused(#[source] Error),
    /// The build is stopped.
    #[error("another runner has claimed the deployment")]
    Stale,
    /// CodeBuild may have started the build.
    #[error(transparent)]
    Unknown(#[from] Error),
}

impl Builds {
    /// Starts the build of a deployment's attempt, and records the build in the deployment. If the function dies in between, the
    /// build's first event records it.
    ///
    /// # Errors
    /// Fails if the variables are too large, if AWS refuses or does not answer, or if another runner has claimed the deployment.
    pub async fn hand_over(&self, start: Start<'_>) -> Result<(), StartFailed> {
        let (project, deployment) = (start.project, start.deployment);
        let build = match self.start(start).await {
            Err(StartFailed::Refused(refusal)) => {
                // Nobody deletes the secret of a deployment that ends while it waits. A later attempt deletes a secret that is left.
                if let Err(error) = self.delete_secret(project, deployment).await {
                    self.app.log().warn("the secret of a refused build could not be deleted", &error);
                }
                return Err(StartFailed::Refused(refusal));
            }
            started => started?,
        };
        let report = Report::started(build, deployment.attempt);
        // Another runner claims the deployment when the lease expires before the build is recorded.
        if self.settle(deployment.clone(), &report).await? == Settled::NotItsBuild {
            self.stop(&report.build).await?;
            return Err(StartFailed::Stale);
        }
        Ok(())
    }

    /// Starts the build of a deployment's attempt. Idempotent for five minutes, as the SDK's retries require.
    ///
    /// # Errors
    /// Fails if the variables are too large, or if AWS refuses or does not answer.
    pub async fn start(&self, start: Start<'_>) -> Result<BuildId, StartFailed> {
        let Start { project, deployment, bucket, source, buildspec, cache, secrets, plain, time_limit, .. } = start;
        // The secret contains the variables as a JSON object.
        let secret = format!("{project}/{}", deployment.secret_name());
        if !secrets.is_empty() {
            self.put_secret(&secret, secrets).await?;
        }
        let artifacts = match start.artifacts {
            None => ProjectArtifacts::builder().r#type(ArtifactsType::NoArtifacts),
            Some(prefix) => stored_in(bucket, prefix, "artifacts"),
        };
        let reports =
            start.reports.map(|prefix| stored_in(bucket, prefix, REPORTS).artifact_identifier(REPORTS).build());
        let cache = cache.map(|prefix| cache_at(format!("{bucket}/{prefix}"))).transpose().map_err(incomplete)?;
        let stream = CloudWatchLogsConfig::builder()
            .status(LogsConfigStatusType::Enabled)
            .group_name(format!("/aws/codebuild/{project}"))
            .stream_name(deployment.log_stream_prefix())
            .build();
        let logs = LogsConfig::builder().cloud_watch_logs(stream.map_err(incomplete)?).build();
        let attempt = deployment.attempt.to_string();
        let own = [
            (DEPLOYMENT_VARIABLE, deployment.id.as_str()),
            (ACCOUNT_VARIABLE, deployment.account_id.as_str()),
            (ATTEMPT_VARIABLE, &attempt),
        ];
        let plain = plain.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        let plain =
            own.into_iter().chain(plain).map(|(name, value)| variable(name, value, EnvironmentVariableType::Plaintext));
        // CodeBuild resolves the reference, and shows the value neither in the build's description nor in its log.
        let referred = secrets
            .keys()
            .map(|name| variable(name, &format!("{secret}:{name}"), EnvironmentVariableType::SecretsManager));
        let started = self
            .codebuild
            .start_build()
            .project_name(project)
            .idempotency_token(format!("{}-{attempt}", deployment.id))
            .source_type_override(SourceType::S3)
            .source_location_override(format!("{bucket}/{source}"))
            .buildspec_override(buildspec)
            .artifacts_override(artifacts.build().map_err(incomplete)?)
            .set_secondary_artifacts_override(reports.transpose().map_err(incomplete)?.map(|reports| vec![reports]))
            .set_cache_override(cache)
            .logs_config_override(logs)
            .set_environment_variables_override(Some(
                plain.chain(referred).collect::<Result<_, _>>().map_err(incomplete)?,
            ))
            .timeout_in_minutes_override(minutes_of(
                time_limit.as_secs().clamp(*TIME_LIMITS.start(), *TIME_LIMITS.end()),
            ))
            .queued_timeout_in_minutes_override(minutes_of(BUILD_QUEUE_LIMIT.as_secs()))
            .set_image_override(deployment.machine.image.as_ref().map(ToString::to_string))
            .set_compute_type_override(deployment.machine.compute_type.map(|kind| kind.as_str().into()))
            .set_privileged_mode_override(deployment.machine.privileged.then_some(true))
            .send()
            .await
            .map_err(|error| match error {
                SdkError::ServiceError(_) => StartFailed::Refused(Error::call("CodeBuild", error)),
                _ => StartFailed::Unknown(Error::call("CodeBuild", error)),
            })?;
        let id = started.build_value().and_then(|build| build.id()).unwrap_or_default();
        Ok(id.parse().map_err(|_| Error::Unknown(format!("the build {id:?}")))?)
    }

    async fn put_secret(&self, secret: &str, variables: &BTreeMap<String, String>) -> Result<(), StartFailed> {
        let json = serde_json::to_string(variables).expect("a map of strings");
        if json.len() > MAX_SECRET_BYTES {
            return Err(StartFailed::VariablesTooLarge);
        }
        let created = self.secrets.create_secret().name(secret).secret_string(json).send().await;
        created.map(drop).map_err(|error| StartFailed::Refused(Error::call("Secrets Manager", error)))
    }
}

/// Returns a time limit in minutes, rounded up.
fn minutes_of(seconds: u64) -> i32 {
    i32::try_from(seconds.div_ceil(60)).expect("at most 2160")
}

/// Returns the place of files that CodeBuild stores below a prefix of a bucket, in the folder of this name.
fn stored_in(bucket: &str, prefix: &str, name: &str) -> ProjectArtifactsBuilder {
    ProjectArtifacts::builder()
        .r#type(ArtifactsType::S3)
        .location(bucket)
        .path(prefix)
        .namespace_type(ArtifactNamespace::None)
        .name(name)
        .packaging(ArtifactPackaging::None)
        .override_artifact_name(false)
}

fn cache_at(location: String) -> Result<ProjectCache, aws_sdk_codebuild::error::BuildError> {
    ProjectCache::builder().r#type(CacheType::S3).location(location).build()
}

fn variable(
    name: &str,
    value: &str,
    kind: EnvironmentVariableType,
) -> Result<EnvironmentVariable, aws_sdk_codebuild::error::BuildError> {
    EnvironmentVariable::builder().name(name).value(value).r#type(kind).build()
}

fn incomplete(error: aws_sdk_codebuild::error::BuildError) -> Error {
    Error::Call("the SDK", "an incomplete request".to_owned(), error.into())
}
