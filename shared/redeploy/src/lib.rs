//! Repeats an earlier deployment: its commit with its variables, to its environment.

use std::sync::Arc;

use futures_util::future::try_join3;
use shared::access::AuthorizedRepository;
use shared::model::{Author, Deployment, DeploymentCounts, Destination, NewDeployment, OriginKind};
use shared::queue::Queue;
use shared::{App, Error, ErrorCode, InitError, Result};
use vault::Vault;

/// Creates deployments that repeat earlier ones.
#[derive(Clone, Debug)]
pub struct Redeployer {
    /// The function's app.
    pub app: App,
    queue: Queue,
    vault: Arc<Vault>,
}

impl Redeployer {
    /// # Errors
    /// Fails if a setting is missing or invalid.
    pub fn new(app: &App) -> Result<Self, InitError> {
        Ok(Self { app: app.clone(), queue: Queue::new(app)?, vault: Arc::new(Vault::new(app)?) })
    }

    /// Creates the deployment and queues it. The environment's current settings apply.
    ///
    /// # Errors
    /// Fails with `not_found` if the environment was deleted, with `environment_frozen`, and like any creation.
    pub async fn repeat(
        &self,
        repository: &AuthorizedRepository,
        earlier: &Deployment,
        kind: OriginKind,
        author: &Author,
    ) -> Result<Deployment> {
        let Self { app, queue, vault } = self;
        let table = app.table();
        let environment = earlier.environment;
        let (destination, counts, sealed) = try_join3(
            Destination::load(table, repository, environment),
            DeploymentCounts::load(table, &repository.partition()),
            earlier.sealed_variables(table),
        )
        .await?;
        let destination = destination.ok_or_else(|| counts.missing_environment(environment))?;
        let settings = destination.settings;
        settings.admit(environment)?;
        let mut new = NewDeployment::repeating(earlier, kind, destination, author);
        if let Some(sealed) = sealed {
            let context = |id| Deployment::sealing_context(&repository.account_id, id);
            let resealed = vault.reseal(&context(&earlier.id), &context(&new.id), &sealed).await;
            let unavailable = "The variables can't be encrypted at the moment; try again";
            let resealed =
                resealed.map_err(|error| Error::new(ErrorCode::ServiceUnavailable, unavailable).because(error))?;
            new.sealed_variables = Some(resealed);
        }
        let deployment = Deployment::create(table, repository, &counts, new, author, app.clock().now()).await?;
        queue.announce(app, &deployment, &settings).await;
        Ok(deployment)
    }
}
