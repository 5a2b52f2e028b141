//! `PATCH /v1/repositories/{repo_id}/environments/{environment}`: changes an environment's settings.

use axum::extract::State;
use serde::Deserialize;
use shared::access::{AuthorizedRepository, Scope};
use shared::body::EnvironmentBody;
use shared::extract::{self, PathEnvironment, Whole};
use shared::model::{
    APPROVAL_TIMEOUT_SECONDS, Author, BuildImage, BuildPolicy, BuildspecPath, ComputeType, Concurrency, Deployment,
    Environment, EnvironmentChange, EnvironmentSettings, EnvironmentState, Filter, FreezeWindow, FreezeWindows, Globs,
    MAX_APPROVALS, MAX_WAIT_SECONDS, REMOVED_AFTER_DAYS, RefGlob, Requirements, Reviewers, RootFolder, Status,
    TIME_LIMIT_SECONDS,
};
use shared::precondition::{IfMatch, Versioned};
use shared::queue::Queue;
use shared::{App, Endpoint, Error, InitError, Result, Route, With};

/// The contract of the endpoint. The pipeline enforces it, and the templates and the OpenAPI document follow from it.
pub const ROUTE: Route = Route::patch(env!("CARGO_PKG_NAME"), "/v1/repositories/{repo_id}/environments/{environment}")
    .takes_body()
    .requires(Scope::RepositoriesWrite)
    .compares_etag();

/// The maximum number of deployments whose messages are sent again when a freeze ends. The sweep sends the others.
const SENT: i32 = 100;

/// Returns the endpoint with its clients.
///
/// # Errors
/// Fails if a setting is missing or malformed.
pub fn endpoint(app: &App) -> Result<Endpoint, InitError> {
    let policy = BuildPolicy::of(app.settings())?;
    let environments = With(app.clone(), (Queue::new(app)?, policy));
    Ok(Endpoint::new(ROUTE, update_environment, environments).calls_at_once(3))
}

type ApprovalTimeout =
    Whole<u32, { *APPROVAL_TIMEOUT_SECONDS.start() as u64 }, { *APPROVAL_TIMEOUT_SECONDS.end() as u64 }>;
type Days = Whole<u16, { *REMOVED_AFTER_DAYS.start() as u64 }, { *REMOVED_AFTER_DAYS.end() as u64 }>;
type TimeLimit = Whole<u32, { *TIME_LIMIT_SECONDS.start() as u64 }, { *TIME_LIMIT_SECONDS.end() as u64 }>;

/// The settings to change. An absent field keeps its value, and null resets it to its default. A list replaces the whole list.
#[derive(Debug, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = EnvironmentUpdate)]
pub struct Update {
    /// The effect of a new deployment on queued ones: it waits behind them (`queue`) or replaces them (`supersede`).
    #[serde(default, deserialize_with = "extract::given")]
    #[schema(value_type = Option<Concurrency>, required = false)]
    concurrency: Option<Option<Concurrency>>,
    /// The number of approvals that a new deployment requires. Its creator can't approve it.
    #[serde(default, deserialize_with = "extract::given")]
    #[schema(value_type = Option<u8>, required = false, minimum = 0, maximum = 6, examples(1))]
    required_approvals: Option<Option<Whole<u8, 0, { MAX_APPROVALS as u64 }>>>,
    /// The only people who may approve. Whether somebody is one of them is decided when they approve, also for deployments that wait
    /// already. If there are no teams among them, they are at least as many as the required approvals.
    #[serde(default, deserialize_with = "extract::given")]
    #[schema(value_type = Option<Reviewers>, required = false)]
    reviewers: Option<Option<Reviewers>>,
    /// The time in which a new deployment has to get its approvals, in seconds: at most 30 days. Default: seven days.
    #[serde(default, deserialize_with = "extract::given")]
    #[schema(value_type = Option<u32>, minimum = 60, maximum = 2592000, examples(259200))]
    approval_timeout_seconds: Option<Option<ApprovalTimeout>>,
    /// The wait timer, in seconds: a new deployment does not start earlier than this time after its creation. At most 30 days.
    #[serde(default, deserialize_with = "extract::given")]
    #[schema(value_type = Option<u32>, minimum = 0, maximum = 2592000, examples(600))]
    wait_seconds: Option<Option<Whole<u32, 0, { MAX_WAIT_SECONDS as u64 }>>>,
    /// The branches and tags that may be deployed, at most 20 globs. The last glob that matches a name decides. A commit that is
    /// given by its SHA may be deployed if one of them points to it.
    #[serde(default, deserialize_with = "extract::given")]
    #[schema(value_type = Option<Vec<RefGlob>>, max_items = 20)]
    refs: Option<Option<Globs<RefGlob, 0>>>,
    /// The environments in which a commit has to have succeeded, within a year, before it may be deployed to this one. At most 5, and
    /// not the environment itself.
    #[serde(default, deserialize_with = "extract::given")]
    #[schema(value_type = Option<Vec<Environment>>, max_items = 5)]
    requires: Option<Option<Requirements>>,
    /// The windows in which no deployment is created or started, at most 10. Queued deployments start after the end of a window.
    #[serde(default, deserialize_with = "extract::given")]
    #[schema(value_type = Option<Vec<FreezeWindow>>, max_items = 10)]
    freeze_windows: Option<Option<FreezeWindows>>,
    /// Whether the environment is frozen by hand. While it is, no deployment is created or started. Deployments in progress
    /// continue, and queued ones stay queued.
    #[serde(default, deserialize_with = "extract::given")]
    #[schema(value_type = Option<bool>, required = false)]
    frozen: Option<Option<bool>>,
    /// The time limit for all commands of a deployment together, in seconds. `null` resets it to the default.
    #[serde(default, deserialize_with = "extract::given")]
    #[schema(value_type = Option<u32>, minimum = 60, maximum = 28800, examples(600))]
    time_limit_seconds: Option<Option<TimeLimit>>,
    /// The image of a build in AWS CodeBuild, in place of the repository's, for the architecture of the operator's machines and within
    /// what the operator allows. Other runners ignore it. `null` resets it to the repository's.
    #[serde(default, deserialize_with = "extract::given")]
    #[schema(value_type = Option<BuildImage>)]
    image: Option<Option<BuildImage>>,
    /// The size of the machine of a build in AWS CodeBuild, in place of the repository's, within what the operator allows. Other runners
    /// ignore it. `null` resets it to the repository's.
    #[serde(default, deserialize_with = "extract::given")]
    #[schema(value_type = Option<ComputeType>)]
    compute_type: Option<Option<ComputeType>>,
    /// Whether a build in AWS CodeBuild may run Docker, and so do anything on its machine, if the operator allows it. Other runners
    /// ignore it. `null` resets it to the repository's setting.
    #[serde(default, deserialize_with = "extract::given")]
    #[schema(value_type = Option<bool>)]
    privileged: Option<Option<bool>>,
    /// The folder in which a build starts, in place of the repository's. `null` resets it to the repository's.
    #[serde(default, deserialize_with = "extract::given")]
    #[schema(value_type = Option<RootFolder>)]
    root_folder: Option<Option<RootFolder>>,
    /// The path of the buildspec from the root folder, in place of the repository's. `null` resets it to the repository's.
    #[serde(default, deserialize_with = "extract::given")]
    #[schema(value_type = Option<BuildspecPath>)]
    buildspec_path: Option<Option<BuildspecPath>>,
    /// Whether a build has the cache that its buildspec asks for, if the operator allows caches. `null` resets it to the repository's
    /// setting.
    #[serde(default, deserialize_with = "extract::given")]
    #[schema(value_type = Option<bool>)]
    cache: Option<Option<bool>>,
    /// The time without a deployment after which a member of the pattern is removed, in days. Applies to members created afterwards.
    /// Only for a pattern. Default: 30.
    #[serde(default, deserialize_with = "extract::given")]
    #[schema(value_type = Option<u16>, minimum = 1, maximum = 365, examples(14))]
    removed_after_days: Option<Option<Days>>,
}

/// Update an environment
///
/// Changes the given settings. The number of approvals, the time for them, the wait timer, the time limit, the build machine and the
/// build's source apply to deployments created afterwards. Reviewers and freezes apply to queued deployments too.
#[utoipa::path(
    patch, path = ROUTE.path, tag = "Environments", request_body = Update, responses((status = 200, body = EnvironmentBody))
)]
pub async fn update_environment(
    State(With(app, (queue, policy))): State<With<(Queue, BuildPolicy)>>,
    author: Author,
    repository: AuthorizedRepository,
    PathEnvironment(name): PathEnvironment,
    expected: IfMatch,
    extract::Json(update): extract::Json<Update>,
) -> Result<Versioned<String, EnvironmentBody>> {
    let change = EnvironmentChange {
        concurrency: update.concurrency,
        required_approvals: update.required_approvals.map(|number| number.map(Whole::get)),
        reviewers: update.reviewers,
        approval_timeout_seconds: update.approval_timeout_seconds.map(|timeout| timeout.map(Whole::get)),
        wait_seconds: update.wait_seconds.map(|wait| wait.map(Whole::get)),
        refs: update.refs,
        requires: update.requires,
        freeze_windows: update.freeze_windows,
        frozen: update.frozen,
        time_limit_seconds: update.time_limit_seconds.map(|limit| limit.map(Whole::get)),
        image: update.image,
        compute_type: update.compute_type,
        privileged: update.privileged,
        root_folder: update.root_folder,
        buildspec_path: update.buildspec_path,
        cache: update.cache,
        removed_after_days: update.removed_after_days.map(|days| days.map(Whole::get)),
    };
    let now = app.clock().now();
    let reviewers = change.check_reviewers(app.table(), repository.tenant()).await;
    let fields = Error::all([policy.check(&change.machine(), change.cache.flatten()), reviewers]);
    let check = |before: &EnvironmentSettings, after: &EnvironmentSettings| {
        expected.check(before.version(&repository))?;
        Error::all([fields.clone(), change.check(name, after)])
    };
    let settings = EnvironmentSettings::change(app.table(), &repository, name, &change, check, &author, now).await?;
    if change.may_thaw() {
        let filter = Filter { environment: Some(name), status: Some(Status::Queued) };
        for deployment in Deployment::newest(app.table(), &repository, filter, None, SENT).await? {
            if let Err(error) = queue.send(&deployment).await {
                app.log().warn("a deployment could not be queued after a freeze; the sweep will queue it", &error);
            }
        }
    }
    let state = EnvironmentState::with_settings(app.table(), &repository, name, settings).await?;
    Ok(Versioned(state.settings.version(&repository), EnvironmentBody::new(state, now)))
}
