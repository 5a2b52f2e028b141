//! Deployments whose success another one waits for, because its environment requires it.
//!
//! A deployment whose commit has not succeeded in a required environment is created all the same while a deployment of the commit is
//! queued or in progress there. It names that deployment, and has a row in its lane. Whoever ends a deployment reads the lane anyway,
//! finds the rows of those that wait for it, and sends their messages. If such a message is lost, the sweep sends it again.

use futures_util::future::try_join_all;
use serde::{Deserialize, Serialize};

use super::{Deployment, Failure, Lane, Requirements, Status, Transition};
use crate::clock::Timestamp;
use crate::id::{AccountId, DeploymentId};
use crate::model::{Environment, LaneKey, Repository, RepositoryPartition, key};
use crate::table::{Table, TableError, Values, Write};

/// A deployment of the same commit to a required environment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Awaited {
    /// The required environment.
    pub environment: Environment,
    /// The deployment, which had not ended when the other one was created.
    pub deployment_id: DeploymentId,
    /// The ref of the deployment's lane.
    ref_name: String,
}

/// The row of a deployment that waits in the lane of the one that it waits for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Follower {
    /// The deployment that waits.
    pub deployment_id: DeploymentId,
    /// The deployment that it waits for.
    pub awaited: DeploymentId,
}

impl Requirements {
    /// Returns the environments in which a commit has not succeeded, each with the newest deployment of the commit there that has not
    /// ended. In preview, only deployments of the same ref are looked at. Strongly consistent.
    pub async fn standing(
        &self,
        table: &Table,
        repository: &Repository,
        ref_name: &str,
        sha: &str,
        now: Timestamp,
    ) -> Result<Vec<(Environment, Option<DeploymentId>)>, TableError> {
        let unmet = self.unmet(table, &repository.partition(), sha, now).await?;
        let look = |environment| async move {
            let lane = LaneKey::new(&repository.account_id, &repository.id, environment, ref_name);
            Ok((environment, on_its_way(table, &repository.account_id, &lane, sha).await?))
        };
        try_join_all(unmet.into_iter().map(look)).await
    }
}

/// Returns the newest deployment of a commit that is queued or in progress in a lane.
async fn on_its_way(
    table: &Table,
    account: &AccountId,
    lane: &LaneKey,
    sha: &str,
) -> Result<Option<DeploymentId>, TableError> {
    let Lane { lock, waiting, .. } = Lane::load(table, lane).await?;
    let ids = waiting.into_iter().map(|one| one.deployment_id).chain(lock.holder);
    let load = |id| async move { Deployment::load(table, account, &id).await };
    let found = try_join_all(ids.map(load)).await?.into_iter().flatten();
    Ok(found.filter(|found| found.sha == sha).max_by_key(|found| found.number).map(|found| found.id))
}

impl Awaited {
    pub(super) fn new(environment: Environment, deployment_id: DeploymentId, ref_name: &str) -> Self {
        Self { environment, deployment_id, ref_name: ref_name.to_owned() }
    }
}

impl Deployment {
    /// Returns the transition that the awaited deployments decide. Returns `None` if nothing has changed.
    pub(crate) async fn after_awaited(&self, table: &Table, now: Timestamp) -> Result<Option<Transition>, TableError> {
        let look = |awaited| async move { Ok::<_, TableError>((awaited, self.has_ended(table, awaited, now).await?)) };
        let mut left = Vec::new();
        for (awaited, ended) in try_join_all(self.awaits.iter().map(look)).await? {
            match ended {
                None => left.push(awaited.clone()),
                Some(true) => {}
                Some(false) => return Ok(Some(Transition::Fail(Failure::requirement_not_met(awaited.environment)))),
            }
        }
        Ok((left.len() < self.awaits.len()).then_some(Transition::MeetRequirements { left }))
    }

    /// Returns whether the commit has succeeded in the environment of an awaited deployment. Returns `None` while the deployment goes
    /// on.
    async fn has_ended(&self, table: &Table, awaited: &Awaited, now: Timestamp) -> Result<Option<bool>, TableError> {
        let found = Self::load(table, &self.account_id, &awaited.deployment_id).await?;
        match found.map(|found| found.status) {
            Some(Status::Queued | Status::InProgress) => Ok(None),
            Some(Status::Succeeded) => Ok(Some(true)),
            // Another deployment of the commit may have succeeded there.
            _ => {
                let repository = RepositoryPartition::new(&self.account_id, &self.repository_id);
                Ok(Some(repository.has_succeeded(table, awaited.environment, &self.sha, now).await?))
            }
        }
    }

    /// Returns the writes with which a new deployment begins to wait for another one: the check that it has not ended, and the row in
    /// its lane.
    pub(super) fn follow(&self, awaited: &Awaited) -> Result<[Write; 2], TableError> {
        let check = Write::Check {
            key: key::deployment(&self.account_id, &awaited.deployment_id),
            condition: "#status IN (:queued, :in_progress)",
            names: Some([("#status".to_owned(), "status".to_owned())].into()),
            values: Some(
                Values::new().set(":queued", Status::Queued.as_str()).set(":in_progress", Status::InProgress.as_str()),
            ),
        };
        let follower = Follower { deployment_id: self.id.clone(), awaited: awaited.deployment_id.clone() };
        Ok([check, Write::create(self.lane_of(awaited).follower(&self.id), &follower, Vec::new())?])
    }

    /// Returns the writes that end the wait for those deployments that this one does not wait for any more.
    pub(super) fn unfollow<'a>(&'a self, before: &'a Self) -> impl Iterator<Item = Write> {
        let is_over = |awaited: &&Awaited| self.status.is_final() || !self.awaits.contains(awaited);
        before
            .awaits
            .iter()
            .filter(is_over)
            .map(|awaited| Write::Delete { key: self.lane_of(awaited).follower(&self.id) })
    }

    fn lane_of(&self, awaited: &Awaited) -> LaneKey {
        LaneKey::new(&self.account_id, &self.repository_id, awaited.environment, &awaited.ref_name)
    }
}

impl Lane {
    /// Returns the deployments that wait for one of the lane's.
    pub(crate) fn followers_of<'a>(&'a self, awaited: &'a DeploymentId) -> impl Iterator<Item = &'a DeploymentId> {
        self.followers.iter().filter(move |row| row.awaited == *awaited).map(|row| &row.deployment_id)
    }
}
