//! Repeats an earlier deployment: its commit with its variables, to its environment.

use std::sync::Arc;

use axum::extract::FromRef;
use futures_util::future::{join, try_join, try_join3};
use serde::Deserialize;
use serde_bytes::ByteBuf;
use shared::access::AuthorizedRepository;
use shared::body::OverrideBody;
use shared::model::{
    Author, BuildLimits, BuildMinutes, CurrentVariables, Deployment, DeploymentCounts, Destination,
    EnvironmentSettings, NewDeployment, OriginKind,
};
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
    limits: BuildLimits,
}

impl FromRef<Redeployer> for App {
    fn from_ref(redeployer: &Redeployer) -> App {
        redeployer.app.clone()
    }
}

/// The versions of the variables of the account, the repository and the environment that a repeated deployment gets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "lowercase")]
#[schema(as = StoredVariables)]
pub enum StoredVersions {
    /// The versions of the earlier deployment.
    #[default]
    Frozen,
    /// The current versions.
    Current,
}

impl Redeployer {
    /// # Errors
    /// Fails if a setting is missing or invalid.
    pub fn new(app: &App) -> Result<Self, InitError> {
        Ok(Self {
            app: app.clone(),
            queue: Queue::new(app)?,
            vault: Arc::new(Vault::new(app)?),
            limits: BuildLimits::of(app.settings())?,
        })
    }

    /// Creates the deployment and queues it. The environment's current settings apply. The variables of the earlier deployment's own
    /// request stay.
    ///
    /// # Errors
    /// Fails with `not_found` if the environment was deleted, if its rules refuse, and like any creation. A rollback returns to a commit
    /// that has passed the rules about refs and required environments, so it is held to the others only.
    pub async fn repeat(
        &self,
        repository: &AuthorizedRepository,
        earlier: &Deployment,
        kind: OriginKind,
        stored: StoredVersions,
        r#override: Option<OverrideBody>,
        author: &Author,
    ) -> Result<Deployment> {
        let Self { app, queue, vault, limits } = self;
        let table = app.table();
        let (account, environment) = (&repository.account_id, earlier.environment);
        let current = async {
            match stored {
                StoredVersions::Frozen => Ok(None),
                StoredVersions::Current => {
                    CurrentVariables::load(table, account, &repository.id, environment).await.map(Some)
                }
            }
        };
        let (partition, now) = (repository.partition(), app.clock().now());
        let rows = try_join3(
            Destination::load(table, repository, environment),
            DeploymentCounts::load(table, &partition),
            try_join(earlier.variables(table), current),
        );
        let (rows, minutes) = join(rows, BuildMinutes::check(table, repository.tenant().account(), now)).await;
        let (destination, counts, (mut variables, current)) = rows?;
        minutes?;
        let destination = destination.ok_or_else(|| counts.missing_environment(environment))?;
        let settings = destination.settings.clone();
        if r#override.is_none() {
            settings.admit(environment, app.clock().now())?;
        }
        let is_taken =
            settings.refs.is_empty() || earlier.on_ref.as_ref().is_some_and(|name| settings.allows_ref(name));
        if kind == OriginKind::Retry && !is_taken {
            return Err(EnvironmentSettings::ref_refused(environment, "the earlier deployment was of none of them"));
        }
        let machine = repository.machine.overridden_by(&settings.machine);
        limits.admit(&machine)?;
        let mut new = NewDeployment::repeating(earlier, kind, destination, machine, author);
        new.override_reason = r#override.map(|given| given.reason);
        if let Some(current) = current {
            variables.sets =
                current.freeze(variables.plain.iter().map(|(name, value)| (name.as_str(), value.len())))?;
        }
        if let Some(sealed) = &variables.sealed {
            let context = |id| Deployment::sealing_context(account, id);
            let resealed = vault.reseal(&context(&earlier.id), &context(&new.id), sealed).await;
            let unavailable = "The variables can't be encrypted at the moment; try again";
            let resealed =
                resealed.map_err(|error| Error::new(ErrorCode::ServiceUnavailable, unavailable).because(error))?;
            variables.sealed = Some(ByteBuf::from(resealed));
        }
        new.variables = variables;
        let deployment = Deployment::create(table, repository, &counts, new, author, app.clock().now()).await?;
        queue.announce(app, &deployment, &settings).await;
        Ok(deployment)
    }
}
