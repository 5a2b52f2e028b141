//! `PATCH /v1/repositories/{repo_id}/environments/{environment}`: changes an environment's settings.

use axum::Json;
use axum::extract::{FromRef, State};
use serde::Deserialize;
use shared::access::{AuthorizedRepository, Scope};
use shared::body::EnvironmentBody;
use shared::extract::{self, PathEnvironment, Whole};
use shared::model::{
    Author, Concurrency, Deployment, EnvironmentChange, EnvironmentSettings, EnvironmentState, Filter, MAX_APPROVALS,
    Status, TIME_LIMIT_SECONDS,
};
use shared::queue::Queue;
use shared::{App, Endpoint, InitError, Result, Route};

/// The contract of the endpoint. The pipeline enforces it, and the templates and the OpenAPI document follow from it.
pub const ROUTE: Route = Route::patch(env!("CARGO_PKG_NAME"), "/v1/repositories/{repo_id}/environments/{environment}")
    .requires(Scope::RepositoriesWrite);

/// The maximum number of deployments whose messages are sent again when a freeze ends. The sweep sends the others.
const SENT: i32 = 100;

/// Returns the endpoint with its clients.
///
/// # Errors
/// Fails if a setting is missing or malformed.
pub fn endpoint(app: &App) -> Result<Endpoint, InitError> {
    Ok(Endpoint::new(ROUTE, update_environment, Environments { app: app.clone(), queue: Queue::new(app)? })
        .calls_at_once(3))
}

/// The app, and the queue that gets the deployments that a thaw or another order releases.
#[derive(Clone)]
pub struct Environments {
    app: App,
    queue: Queue,
}

impl FromRef<Environments> for App {
    fn from_ref(environments: &Environments) -> App {
        environments.app.clone()
    }
}

type TimeLimit = Whole<u32, { *TIME_LIMIT_SECONDS.start() as u64 }, { *TIME_LIMIT_SECONDS.end() as u64 }>;

/// The settings to change. An absent field keeps its value.
#[derive(Debug, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = EnvironmentUpdate)]
pub struct Update {
    /// The effect of a new deployment on queued ones: it waits behind them (`queue`) or replaces them (`supersede`).
    #[serde(default, deserialize_with = "extract::given")]
    #[schema(required = false, nullable = false)]
    concurrency: Option<Concurrency>,
    /// The number of approvals that a new deployment requires. Its creator can't approve it.
    #[serde(default, deserialize_with = "extract::given")]
    #[schema(value_type = u8, required = false, minimum = 0, maximum = 6, examples(1))]
    required_approvals: Option<Whole<u8, 0, { MAX_APPROVALS as u64 }>>,
    /// Whether the environment is frozen. While it is, no deployment is created or started. Deployments in progress
    /// continue, and queued ones stay queued.
    #[serde(default, deserialize_with = "extract::given")]
    #[schema(required = false, nullable = false)]
    frozen: Option<bool>,
    /// The time limit for all commands of a deployment together, in seconds. `null` resets it to the default.
    #[serde(default, deserialize_with = "extract::given")]
    #[schema(value_type = Option<u32>, minimum = 60, maximum = 28800, examples(600))]
    time_limit_seconds: Option<Option<TimeLimit>>,
}

/// Update an environment
///
/// Changes the given settings. A new number of approvals applies to deployments created afterwards. A new time limit
/// applies to deployments started afterwards.
#[utoipa::path(
    patch, path = ROUTE.path, tag = "Environments", request_body = Update, responses((status = 200, body = EnvironmentBody))
)]
pub async fn update_environment(
    State(Environments { app, queue }): State<Environments>,
    author: Author,
    repository: AuthorizedRepository,
    PathEnvironment(name): PathEnvironment,
    extract::Json(update): extract::Json<Update>,
) -> Result<Json<EnvironmentBody>> {
    let Update { concurrency, required_approvals, frozen, time_limit_seconds } = update;
    let change = EnvironmentChange {
        concurrency,
        required_approvals: required_approvals.map(Whole::get),
        frozen,
        time_limit_seconds: time_limit_seconds.map(|limit| limit.map(Whole::get)),
    };
    let now = app.clock().now();
    let settings = EnvironmentSettings::change(app.table(), &repository, name, change, &author, now).await?;
    if frozen == Some(false) {
        let filter = Filter { environment: Some(name), status: Some(Status::Queued) };
        for deployment in Deployment::newest(app.table(), &repository, filter, None, SENT).await? {
            if let Err(error) = queue.send(&deployment).await {
                app.log().warn("a deployment could not be queued after a freeze; the sweep will queue it", &error);
            }
        }
    }
    let state = EnvironmentState::with_settings(app.table(), &repository, name, settings).await?;
    Ok(Json(state.into()))
}
