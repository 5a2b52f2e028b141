//! The events of a deployment, one for each change of its state.

use serde::{Deserialize, Serialize};

use crate::clock::Timestamp;
use crate::id::UserId;
use crate::model::{Deployment, Status, key};
use crate::table::{Table, TableError, Write, read_items};

/// A transition of a deployment.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct DeploymentEvent {
    pub number: u64,
    pub at: Timestamp,
    pub status: Status,
    pub actor: Actor,
    pub reason: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Actor {
    User(UserId),
    Runner,
}

impl DeploymentEvent {
    pub(super) fn write(&self, deployment: &Deployment) -> Result<Write, TableError> {
        Write::create(key::deployment_event(&deployment.account_id, &deployment.id, self.number), self, Vec::new())
    }
}

impl Deployment {
    /// Returns the deployment's events after a number, oldest first, at most `limit`.
    pub async fn events(&self, table: &Table, after: u64, limit: i32) -> Result<Vec<DeploymentEvent>, TableError> {
        let partition = key::deployment_partition(&self.account_id, &self.id);
        let range = (key::event_sort_key(after.saturating_add(1)), key::event_sort_key(u64::MAX));
        let (items, _) = table.range(partition, (&range.0, &range.1), Some(limit)).await?;
        read_items(items)
    }
}
