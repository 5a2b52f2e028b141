//! Environments.

use serde::Serialize;

use crate::clock::Rfc3339;
use crate::id::DeploymentId;
use crate::model::{Concurrency, Environment, EnvironmentSettings, EnvironmentState, Live};

/// An environment of a repository: its live deployment, its queue and its settings.
#[derive(Debug, Serialize, utoipa::ToSchema)]
#[schema(as = EnvironmentState)]
pub struct EnvironmentBody {
    pub(crate) name: Environment,
    /// The pattern from which a deployment created the environment. Null if none did.
    #[schema(required)]
    pub(crate) pattern: Option<Environment>,
    /// The time without a deployment after which the environment is removed, in days; of a pattern, that of its members. Null for
    /// all others.
    #[schema(required, minimum = 1, maximum = 365, examples(30))]
    pub(crate) removed_after_days: Option<u16>,
    /// The time of the creation. Null for `preview`, `staging` and `production`, which each repository has.
    #[schema(required)]
    pub(crate) created_at: Option<Rfc3339>,
    /// The live deployment, which is the last one that succeeded. In preview, each ref has a live deployment, and this
    /// is the newest of them.
    #[schema(required)]
    pub(crate) live: Option<LiveBody>,
    /// The deployments in progress: at most one, or in preview at most one for each ref.
    pub(crate) in_progress: Vec<DeploymentId>,
    /// The queued deployments in the order of their numbers, at most 100.
    pub(crate) queued: Vec<DeploymentId>,
    /// The effect of a new deployment on queued ones: it waits behind them (`queue`) or replaces them (`supersede`).
    pub(crate) concurrency: Concurrency,
    /// The number of approvals that a new deployment requires. Its creator can't approve it.
    #[schema(minimum = 0, maximum = 6, examples(1))]
    pub(crate) required_approvals: u8,
    /// Whether the environment is frozen. While it is, no deployment is created or started.
    pub(crate) frozen: bool,
    /// The time limit for all commands of a deployment together, in seconds. Null if the default applies.
    #[schema(required, examples(600))]
    pub(crate) time_limit_seconds: Option<u32>,
    /// The time at which a setting was last changed. Null if none has been changed.
    #[schema(required)]
    pub(crate) updated_at: Option<Rfc3339>,
}

/// The live deployment of an environment.
#[derive(Debug, Serialize, utoipa::ToSchema)]
#[schema(as = Live)]
pub struct LiveBody {
    pub(crate) deployment_id: DeploymentId,
    /// The deployment's number in its repository.
    #[schema(examples(7))]
    pub(crate) number: u64,
    /// The commit that is live.
    #[schema(examples("3f786850e387550fdab836ed7e6dc881de23001b"))]
    pub(crate) sha: String,
    /// The time at which the deployment went live.
    pub(crate) since: Rfc3339,
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
        let EnvironmentSettings { concurrency, required_approvals, frozen, time_limit_seconds, .. } = settings;
        let EnvironmentSettings { pattern, removed_after_days, created_at, updated_at, .. } = settings;
        Self {
            name,
            pattern,
            removed_after_days,
            created_at: created_at.map(Into::into),
            live,
            in_progress,
            queued,
            concurrency,
            required_approvals,
            frozen,
            time_limit_seconds,
            updated_at: updated_at.map(Into::into),
        }
    }
}
