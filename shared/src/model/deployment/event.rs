//! The events of a deployment, one for each change of its state.

use serde::{Deserialize, Serialize};

use crate::clock::Timestamp;
use crate::id::UserId;
use crate::model::{BuildCommand, Deployment, Status, key};
use crate::table::{Table, TableError, Write, read_items};

/// A transition of a deployment.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct DeploymentEvent {
    /// The event's number in its deployment: 1, 2, 3, …
    pub number: u64,
    /// The time of the transition.
    pub at: Timestamp,
    /// The status after the transition, which may be the one before.
    pub status: Status,
    /// The cause of the transition.
    pub actor: Actor,
    /// A sentence fragment for people, such as "claimed, attempt 1". Programs must not parse it.
    pub reason: String,
    /// The last commands of the build, at most [`MAX_COMMANDS`](super::MAX_COMMANDS), if the event ended the deployment.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub commands: Vec<BuildCommand>,
}

/// The cause of a transition.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Actor {
    /// A request by this user, or by the application that it stands for.
    User(UserId),
    /// The runner, or a function that acts on the state of the queue or of a build.
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
