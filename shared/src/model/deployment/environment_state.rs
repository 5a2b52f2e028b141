//! The state of an environment.

use futures_util::future::try_join3;

use crate::error::Result;
use crate::id::DeploymentId;
use crate::model::environment::missing;
use crate::model::{Deployment, Environment, EnvironmentSettings, Filter, Lane, LaneKey, Live, Repository, Status};
use crate::table::{Table, TableError};

/// An environment of a repository: its live deployment, its deployments in progress and in the queue, and its settings.
#[derive(Clone, Debug)]
pub struct EnvironmentState {
    /// The environment.
    pub name: Environment,
    /// The live deployment. In preview it is the newest of all refs. `None` if none has succeeded.
    pub live: Option<Live>,
    pub(crate) in_progress: Vec<DeploymentId>,
    /// The queued deployments in their order, at most 100.
    pub queued: Vec<DeploymentId>,
    /// The settings, with defaults for those that are not set.
    pub settings: EnvironmentSettings,
}

/// The maximum number of deployments in each list of an environment's state.
const SHOWN: i32 = 100;

impl EnvironmentState {
    /// Reads the settings and then the state.
    ///
    /// # Errors
    /// Fails with `not_found` if the repository does not have the environment.
    pub async fn load(table: &Table, repository: &Repository, name: Environment) -> Result<Self> {
        match Self::find(table, repository, name).await? {
            Some(state) => Ok(state),
            None => Err(missing(table, repository, name).await?),
        }
    }

    /// Reads the settings and then the state. Returns `None` if the repository does not have the environment.
    pub async fn find(table: &Table, repository: &Repository, name: Environment) -> Result<Option<Self>, TableError> {
        match EnvironmentSettings::find(table, repository, name).await? {
            Some(settings) => Self::with_settings(table, repository, name, settings).await.map(Some),
            None => Ok(None),
        }
    }

    /// Reads the state of an environment whose settings are known.
    pub async fn with_settings(
        table: &Table,
        repository: &Repository,
        name: Environment,
        settings: EnvironmentSettings,
    ) -> Result<Self, TableError> {
        let (live, in_progress, queued) = match name.has_lane_per_ref() {
            true => of_refs(table, repository, name).await?,
            // Deployments go to the pattern's members.
            false if name.is_pattern() => (None, Vec::new(), Vec::new()),
            false => {
                let lane = LaneKey::new(&repository.account_id, &repository.id, name, "");
                let Lane { lock, waiting, .. } = Lane::load(table, &lane).await?;
                let queued = waiting.into_iter().map(|one| one.deployment_id).take(SHOWN as usize).collect();
                (lock.live, lock.holder.into_iter().collect(), queued)
            }
        };
        Ok(Self { name, live, in_progress, queued, settings })
    }
}

/// Reads the state from the lists of deployments, because the environment has a lane for each ref.
async fn of_refs(
    table: &Table,
    repository: &Repository,
    name: Environment,
) -> Result<(Option<Live>, Vec<DeploymentId>, Vec<DeploymentId>), TableError> {
    let of = |status, limit| {
        let filter = Filter { environment: Some(name), status: Some(status) };
        Deployment::newest(table, repository, filter, None, limit)
    };
    let (mut succeeded, in_progress, queued) =
        try_join3(of(Status::Succeeded, 1), of(Status::InProgress, SHOWN), of(Status::Queued, SHOWN)).await?;
    let live = succeeded.pop().map(|row| Live {
        since: row.finished_at.unwrap_or(row.updated_at),
        deployment_id: row.id,
        number: row.number,
        sha: row.sha,
        environment_url: row.environment_url,
    });
    let ids = |rows: Vec<Deployment>| rows.into_iter().rev().map(|row| row.id).collect();
    Ok((live, ids(in_progress), ids(queued)))
}
