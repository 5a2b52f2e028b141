//! Environments.

use serde::Serialize;

use crate::clock::{Rfc3339, Timestamp};
use crate::id::DeploymentId;
use crate::model::{
    ComputeType, Concurrency, Environment, EnvironmentSettings, EnvironmentState, FreezeWindow, FreezeWindows, Globs,
    Live, Requirements, Reviewers,
};
use crate::name::{BuildImage, BuildspecPath, RefGlob, RootFolder};

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
    /// The people who may approve. Null if everybody may who may deploy.
    #[schema(required)]
    pub(crate) reviewers: Option<Reviewers>,
    /// The time in which a new deployment has to get its approvals, in seconds.
    #[schema(minimum = 60, maximum = 2592000, examples(604800))]
    pub(crate) approval_timeout_seconds: u32,
    /// The time between a deployment's creation and its start, at least, in seconds.
    #[schema(minimum = 0, maximum = 2592000, examples(600))]
    pub(crate) wait_seconds: u32,
    /// The branches and tags that may be deployed. Empty for any commit.
    #[schema(value_type = Vec<RefGlob>, max_items = 20)]
    pub(crate) refs: Globs<RefGlob, 0>,
    /// The environments in which a commit has to succeed before it is deployed to this one.
    #[schema(value_type = Vec<Environment>, max_items = 5)]
    pub(crate) requires: Requirements,
    /// The windows in which no deployment is created or started.
    #[schema(value_type = Vec<FreezeWindow>, max_items = 10)]
    pub(crate) freeze_windows: FreezeWindows,
    /// Whether the environment is frozen by hand. While it is, no deployment is created or started.
    pub(crate) frozen: bool,
    /// The end of the freeze windows that are open. Null if none is open, or the environment is frozen by hand.
    #[schema(required)]
    pub(crate) frozen_until: Option<Rfc3339>,
    /// The time limit for all commands of a deployment together, in seconds. Null if the default applies.
    #[schema(required, examples(600))]
    pub(crate) time_limit_seconds: Option<u32>,
    /// The image of a build in AWS CodeBuild. Null for the repository's.
    #[schema(required)]
    pub(crate) image: Option<BuildImage>,
    /// The size of the machine of a build in AWS CodeBuild. Null for the repository's.
    #[schema(required)]
    pub(crate) compute_type: Option<ComputeType>,
    /// Whether a build in AWS CodeBuild may run Docker. Null if the repository's setting decides.
    #[schema(required)]
    pub(crate) privileged: Option<bool>,
    /// The folder in which a build starts. Null for the repository's.
    #[schema(required)]
    pub(crate) root_folder: Option<RootFolder>,
    /// The path of the buildspec from the root folder. Null for the repository's.
    #[schema(required)]
    pub(crate) buildspec_path: Option<BuildspecPath>,
    /// Whether a build has the cache that its buildspec asks for. Null if the repository's setting decides.
    #[schema(required)]
    pub(crate) cache: Option<bool>,
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
    /// The URL at which the build says that the environment can be opened: the value of its exported variable `DEPLOYMENT_URL`.
    /// Null if the build has told none.
    #[schema(required, examples("https://pr-7.example.com/"))]
    pub(crate) environment_url: Option<String>,
}

impl EnvironmentBody {
    /// Creates the body as of a time, which decides whether a freeze window is open.
    pub fn new(state: EnvironmentState, now: Timestamp) -> Self {
        let EnvironmentState { name, live, in_progress, queued, settings } = state;
        let live = live.map(|Live { deployment_id, number, sha, since, environment_url }| LiveBody {
            deployment_id,
            number,
            sha,
            since: since.into(),
            environment_url,
        });
        let frozen_until = settings.freeze(now).and_then(|freeze| freeze.until);
        let EnvironmentSettings { frozen, time_limit_seconds, pattern, removed_after_days, created_at, .. } = settings;
        Self {
            name,
            pattern,
            removed_after_days,
            created_at: created_at.map(Into::into),
            live,
            in_progress,
            queued,
            concurrency: settings.concurrency,
            required_approvals: settings.required_approvals,
            reviewers: settings.reviewers,
            approval_timeout_seconds: settings.approval_timeout_seconds,
            wait_seconds: settings.wait_seconds,
            refs: settings.refs,
            requires: settings.requires,
            freeze_windows: settings.freeze_windows,
            frozen,
            frozen_until: frozen_until.map(Into::into),
            time_limit_seconds,
            image: settings.machine.image,
            compute_type: settings.machine.compute_type,
            privileged: settings.machine.privileged,
            root_folder: settings.source.root_folder,
            buildspec_path: settings.source.buildspec_path,
            cache: settings.source.cache,
            updated_at: settings.updated_at.map(Into::into),
        }
    }
}
