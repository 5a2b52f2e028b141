//! `PATCH /v1/repositories/{repo_id}/environments/{environment}`: changes what is set for an environment.

use axum::Json;
use axum::extract::{FromRef, State};
use serde::Deserialize;
use shared::access::{AuthorizedRepository, Scope};
use shared::body::EnvironmentBody;
use shared::error::Detail;
use shared::extract::{self, PathEnvironment};
use shared::model::{
    Concurrency, Deployment, EnvironmentChange, EnvironmentSettings, Filter, MAX_APPROVALS, Status, TIME_LIMIT_SECONDS,
};
use shared::queue::Queue;
use shared::{App, Endpoint, Error, InitError, Result, Route};

pub const ROUTE: Route = Route::patch(env!("CARGO_PKG_NAME"), "/v1/repositories/{repo_id}/environments/{environment}")
    .requires(Scope::RepositoriesWrite);

/// Deployments that are sent again when a freeze ends. Those beyond them are found by the sweep.
const SENT: i32 = 100;

pub fn endpoint(app: &App) -> Result<Endpoint, InitError> {
    Ok(Endpoint::new(ROUTE, update_environment, Environments { app: app.clone(), queue: Queue::new(app)? }))
}

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

#[derive(Debug, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields, expecting = "an object")]
#[schema(as = EnvironmentUpdate)]
pub struct Update {
    /// Whether a newer deployment waits behind those that are queued, or takes their place.
    concurrency: Option<Concurrency>,
    /// Approvals by others than the creator that a new deployment needs.
    #[schema(minimum = 0, maximum = 6, examples(1))]
    required_approvals: Option<u8>,
    /// Whether nothing new may start. What is in progress goes on, and what is queued stays so.
    frozen: Option<bool>,
    /// Seconds that the commands of a deployment may take together.
    #[schema(minimum = 60, maximum = 28800, examples(600))]
    time_limit_seconds: Option<u32>,
}

/// Update an environment
///
/// Changes the settings that are given. Approvals count for deployments that are created from now on, the time limit for
/// those that start from now on.
#[utoipa::path(
    patch, path = ROUTE.path, tag = "Environments", request_body = Update, responses((status = 200, body = EnvironmentBody))
)]
pub async fn update_environment(
    State(Environments { app, queue }): State<Environments>,
    repository: AuthorizedRepository,
    PathEnvironment(name): PathEnvironment,
    extract::Json(update): extract::Json<Update>,
) -> Result<Json<EnvironmentBody>> {
    let Update { concurrency, required_approvals, frozen, time_limit_seconds } = update;
    let mut details = Vec::new();
    if required_approvals.is_some_and(|count| count > MAX_APPROVALS) {
        let message = format!("must be a whole number from 0 to {MAX_APPROVALS}");
        details.push(Detail { field: "required_approvals".to_owned(), message });
    }
    if time_limit_seconds.is_some_and(|seconds| !TIME_LIMIT_SECONDS.contains(&seconds)) {
        let (shortest, longest) = (TIME_LIMIT_SECONDS.start(), TIME_LIMIT_SECONDS.end());
        let message = format!("must be a whole number from {shortest} to {longest}");
        details.push(Detail { field: "time_limit_seconds".to_owned(), message });
    }
    if !details.is_empty() {
        return Err(Error::invalid_fields(details));
    }
    let change = EnvironmentChange { concurrency, required_approvals, frozen, time_limit_seconds };
    let now = app.clock().now();
    let settings = EnvironmentSettings::change(app.table(), &repository, name, change, now).await?;
    if frozen == Some(false) {
        let filter = Filter { environment: Some(name), status: Some(Status::Queued) };
        for deployment in Deployment::newest(app.table(), &repository, filter, None, SENT).await? {
            if let Err(error) = queue.send(&deployment).await {
                app.log().warn("a deployment could not be queued after a freeze", &error);
            }
        }
    }
    Ok(Json(EnvironmentBody::with_settings(&app, &repository, name, settings).await?))
}
