//! The place of a deployment in its repository and its lane.

use crate::id::{AccountId, DeploymentId, RepositoryId};
use crate::model::{Deployment, DeploymentVariables, Environment, EnvironmentSettings, Lane, LaneKey, Status};
use crate::table::{Table, TableError};

/// The keys of the items that a deployment depends on. Only `queued` ever changes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeploymentPlace {
    id: DeploymentId,
    pub(crate) account_id: AccountId,
    pub(crate) repository_id: RepositoryId,
    environment: Environment,
    lane: LaneKey,
    queued: bool,
    has_variables: bool,
}

/// The items that decide how long a queued deployment waits.
#[derive(Debug)]
pub struct Waits {
    /// The settings of the deployment's environment.
    pub settings: EnvironmentSettings,
    /// The lane that the deployment waits in.
    pub lane: Lane,
}

impl Waits {
    /// Reads the lane and the settings. Returns `None` if the deployment is not queued.
    pub async fn load(table: &Table, place: &DeploymentPlace) -> Result<Option<Self>, TableError> {
        let DeploymentPlace { account_id, repository_id, environment, lane, queued, .. } = place;
        if !queued {
            return Ok(None);
        }
        let settings = EnvironmentSettings::load(table, account_id, repository_id, *environment);
        let (settings, lane) = futures_util::future::try_join(settings, Lane::load(table, lane)).await?;
        Ok(Some(Self { settings, lane }))
    }
}

impl DeploymentPlace {
    /// Reads the variables of the deployment.
    pub async fn variables(&self, table: &Table) -> Result<DeploymentVariables, TableError> {
        let found = match self.has_variables {
            true => DeploymentVariables::load(table, &self.account_id, &self.id).await?,
            false => None,
        };
        Ok(found.unwrap_or_default())
    }
}

impl Deployment {
    /// Returns the place of the deployment.
    pub fn place(&self) -> DeploymentPlace {
        DeploymentPlace {
            id: self.id.clone(),
            account_id: self.account_id.clone(),
            repository_id: self.repository_id.clone(),
            environment: self.environment,
            lane: self.lane(),
            queued: self.status == Status::Queued,
            has_variables: self.variables_digest.is_some(),
        }
    }
}
