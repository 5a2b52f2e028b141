//! Environments.

use serde::Serialize;

use crate::clock::Rfc3339;
use crate::id::DeploymentId;
use crate::model::{Concurrency, Environment, EnvironmentSettings, EnvironmentState, Live};

/// An environment of a repository: what is live there, what is on its way, and what is set.
#[derive(Debug, Serialize, utoipa::ToSchema)]
#[schema(as = EnvironmentState)]
pub struct EnvironmentBody {
    pub name: Environment,
    /// The deployment that succeeded last; in preview, where each ref has its own, the newest of them all.
    #[schema(required)]
    pub live: Option<LiveBody>,
    /// Deployments in progress: one at most, in preview one for each ref.
    pub in_progress: Vec<DeploymentId>,
    /// Deployments that are queued, in their order, 100 at most.
    pub queued: Vec<DeploymentId>,
    /// Whether a newer deployment waits behind those that are queued, or takes their place.
    pub concurrency: Concurrency,
    /// Approvals by others than the creator that a new deployment needs.
    #[schema(minimum = 0, maximum = 6, examples(1))]
    pub required_approvals: u8,
    /// Whether nothing new may start.
    pub frozen: bool,
    /// Seconds that the commands of a deployment may take together; null for the runner's own limit.
    #[schema(required, examples(600))]
    pub time_limit_seconds: Option<u32>,
    /// When a setting was last changed.
    #[schema(required)]
    pub updated_at: Option<Rfc3339>,
}

#[derive(Debug, Serialize, utoipa::ToSchema)]
#[schema(as = Live)]
pub struct LiveBody {
    pub deployment_id: DeploymentId,
    /// The deployment's number in its repository.
    #[schema(examples(7))]
    pub number: u64,
    #[schema(examples("3f786850e387550fdab836ed7e6dc881de23001b"))]
    pub sha: String,
    pub since: Rfc3339,
}

impl From<EnvironmentState> for EnvironmentBody {
    fn from(state: EnvironmentState) -> Self {
        let EnvironmentState { name, live, in_progress, queued, settings } = state;
        let live = live.map(|Live { deployment_id, number, sha, since }| LiveBody {
            deployment_id,
            number,
            sha,
            since: since.into(),
        });
        let EnvironmentSettings { concurrency, required_approvals, frozen, time_limit_seconds, updated_at } = settings;
        let updated_at = updated_at.map(Into::into);
        Self {
            name,
            live,
            in_progress,
            queued,
            concurrency,
            required_approvals,
            frozen,
            time_limit_seconds,
            updated_at,
        }
    }
}
