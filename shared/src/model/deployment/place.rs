//! The place of a deployment in its repository and its lane.

use futures_util::future::try_join3;

use crate::id::{AccountId, DeploymentId, RepositoryId};
use crate::model::{
    Deployment, DeploymentVariables, Environment, EnvironmentSettings, Lane, LaneKey, PermitPlace, Status,
};
use crate::table::{Table, TableError};

/// The keys of the items that a deployment depends on. Only `queued` and the place in the account's queue ever change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeploymentPlace {
    id: DeploymentId,
    pub(crate) account_id: AccountId,
    pub(crate) repository_id: RepositoryId,
    environment: Environment,
    lane: LaneKey,
    queued: bool,
    permit: Option<PermitPlace>,
    has_variables: bool,
}

/// The items that decide how long a queued deployment waits.
#[derive(Debug)]
pub struct Waits {
    /// The settings of the deployment's environment.
    pub settings: EnvironmentSettings,
    /// The lane that the deployment waits in.
    pub lane: Lane,
    /// The position among the account's deployments that wait for a permit. `None` if the deployment does not wait for one.
    pub permit_position: Option<usize>,
}

impl Waits {
    /// Reads the lane and the settings. Returns `None` if the deployment is not queued.
    pub async fn load(table: &Table, place: &DeploymentPlace) -> Result<Option<Self>, TableError> {
        let DeploymentPlace { account_id, repository_id, environment, lane, queued, permit, .. } = place;
        if !queued {
            return Ok(None);
        }
        let position = async {
            match permit {
                Some(place) => place.position(table).await.map(Some),
                None => Ok(None),
            }
        };
        let settings = EnvironmentSettings::load(table, account_id, repository_id, *environment);
        let (settings, lane, permit_position) = try_join3(settings, Lane::load(table, lane), position).await?;
        Ok(Some(Self { settings, lane, permit_position }))
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
            permit: self.permit_place(),
            has_variables: self.variables_digest.is_some(),
        }
    }
}
