//! `POST /v1/deployments/{deployment_id}/cancel`: ends a queued deployment, and asks a runner to stop one that is in
//! progress.

use axum::Json;
use axum::extract::{FromRef, State};
use axum::http::StatusCode;
use shared::access::{AuthorizedDeployment, Scope};
use shared::body::DeploymentBody;
use shared::queue::Queue;
use shared::{App, Endpoint, Error, ErrorCode, InitError, Result, Route};

pub const ROUTE: Route = Route::post(env!("CARGO_PKG_NAME"), "/v1/deployments/{deployment_id}/cancel")
    .requires(Scope::DeploymentsWrite)
    .refuses_with(&[ErrorCode::AlreadyFinished]);

pub fn endpoint(app: &App) -> Result<Endpoint, InitError> {
    let cancellation = Cancellation { app: app.clone(), queue: Queue::new(app)? };
    Ok(Endpoint::new(ROUTE, cancel_deployment, cancellation))
}

#[derive(Clone)]
pub struct Cancellation {
    app: App,
    queue: Queue,
}

impl FromRef<Cancellation> for App {
    fn from_ref(cancellation: &Cancellation) -> App {
        cancellation.app.clone()
    }
}

/// Cancel a deployment
///
/// A queued deployment is canceled at once, which is answered with 200. One that is in progress is asked to stop, which is
/// answered with 202: it becomes `canceled` when its build has really stopped, or ends as it would have if that was sooner.
#[utoipa::path(
    post, path = ROUTE.path, tag = "Deployments",
    responses((status = 200, body = DeploymentBody), (status = 202, body = DeploymentBody))
)]
pub async fn cancel_deployment(
    State(Cancellation { app, queue }): State<Cancellation>,
    deployment: AuthorizedDeployment,
) -> Result<(StatusCode, Json<DeploymentBody>)> {
    let by = deployment.tenant().user_id().clone();
    let canceled = deployment.into_inner().cancel(app.table(), &by, app.clock().now()).await?;
    let canceled = canceled.map_err(|ended| {
        Error::new(ErrorCode::AlreadyFinished, format!("The deployment has ended: it is {}", ended.as_str()))
    })?;
    // A runner looks by itself; for a build the consumer does.
    if canceled.build.is_some()
        && let Err(error) = queue.send(&canceled).await
    {
        app.log().warn("a build is stopped only when the sweep looks at it", &error);
    }
    let status = if canceled.status.is_final() { StatusCode::OK } else { StatusCode::ACCEPTED };
    Ok((status, Json(DeploymentBody::new(&app, canceled))))
}
