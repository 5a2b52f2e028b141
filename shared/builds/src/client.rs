//! The clients of CodeBuild and Secrets Manager.

use std::collections::HashMap;
use std::sync::Arc;

use archive::Archive;
use shared::model::{BuildId, Deployment};
use shared::queue::Queue;
use shared::{App, InitError};
use tokio::sync::Semaphore;

use crate::error::Error;
use crate::report::Report;

/// The setting that names the CodeBuild project that runs deployments.
pub const CODEBUILD_PROJECT: &str = "CODEBUILD_PROJECT";

/// The environment variable with a build's deployment. Customers' variables can't have this name.
pub const DEPLOYMENT_VARIABLE: &str = "DEPLOYMENT_ID";
/// The environment variable with the account of a build's deployment. Customers' variables can't have this name.
pub const ACCOUNT_VARIABLE: &str = "DEPLOYMENT_ACCOUNT";
/// The environment variable with the deployment's attempt. Customers' variables can't have this name.
pub const ATTEMPT_VARIABLE: &str = "DEPLOYMENT_ATTEMPT";

/// The maximum number of builds in one BatchGetBuilds call.
pub const ASK_AT_ONCE: usize = 100;

/// Starts, stops and settles builds. Clones share the clients.
#[derive(Clone, Debug)]
pub struct Builds {
    pub(crate) app: App,
    pub(crate) queue: Queue,
    pub(crate) codebuild: aws_sdk_codebuild::Client,
    pub(crate) secrets: aws_sdk_secretsmanager::Client,
    pub(crate) archive: Archive,
    /// The permit to read test reports, of one build at a time: their memory has a bound.
    pub(crate) reading: Arc<Semaphore>,
}

impl Builds {
    /// # Errors
    /// Fails if a setting is missing or malformed.
    pub fn new(app: &App) -> Result<Self, InitError> {
        let aws = app.aws();
        let codebuild = aws_sdk_codebuild::Client::new(&aws.client("AWS_ENDPOINT_URL_CODEBUILD"));
        let secrets = aws_sdk_secretsmanager::Client::new(&aws.client("AWS_ENDPOINT_URL_SECRETS_MANAGER"));
        Ok(Self {
            app: app.clone(),
            queue: Queue::with_statuses(app)?,
            codebuild,
            secrets,
            archive: Archive::new(app)?,
            reading: Arc::new(Semaphore::new(1)),
        })
    }

    /// Returns the app.
    pub fn app(&self) -> &App {
        &self.app
    }

    /// Asks CodeBuild about the builds of at most [`ASK_AT_ONCE`] deployments. Unknown builds are missing in the answer.
    ///
    /// # Errors
    /// Fails if CodeBuild does not answer.
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

    /// Stops a build.
    ///
    /// # Errors
    /// Fails if CodeBuild does not answer or does not know the build.
    pub async fn stop(&self, build: &BuildId) -> Result<(), Error> {
        let stopped = self.codebuild.stop_build().id(build.as_str()).send().await;
        stopped.map(drop).map_err(|error| Error::call("CodeBuild", error))
    }

    /// Stops the deployment's build if a user asked to cancel it. The build's event ends the deployment.
    ///
    /// # Errors
    /// Fails if CodeBuild does not answer or does not know the build.
    pub async fn stop_if_canceled(&self, deployment: &Deployment) -> Result<(), Error> {
        match (&deployment.build, &deployment.cancel_requested_by) {
            (Some(build), Some(_)) => self.stop(build).await,
            _ => Ok(()),
        }
    }

    /// Deletes the secrets with the deployment's variables: those of its last attempt and of attempts whose runners were
    /// lost.
    ///
    /// # Errors
    /// Fails if Secrets Manager does not answer.
    pub async fn delete_secret(&self, project: &str, deployment: &Deployment) -> Result<(), Error> {
        for name in deployment.secret_names() {
            let secret = format!("{project}/{name}");
            let deleted =
                self.secrets.delete_secret().secret_id(secret).force_delete_without_recovery(true).send().await;
            match deleted {
                Err(error)
                    if !error.as_service_error().is_some_and(|error| error.is_resource_not_found_exception()) =>
                {
                    return Err(Error::call("Secrets Manager", error));
                }
                _ => {}
            }
        }
        Ok(())
    }
}
