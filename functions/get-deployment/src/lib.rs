//! `GET /v1/deployments/{deployment_id}`: returns one deployment. Clients poll it to follow the deployment.

use axum::Json;
use axum::extract::State;
use futures_util::future::try_join;
use shared::access::{Requested, Scope};
use shared::body::{DeploymentBody, QueueBody};
use shared::model::{Deployment, DeploymentPlace, Results, Waits};
use shared::poll::PollInterval;
use shared::{App, Endpoint, InitError, Result, Route};

/// The contract of the endpoint. The pipeline enforces it, and the templates and the OpenAPI document follow from it.
pub const ROUTE: Route =
    Route::get(env!("CARGO_PKG_NAME"), "/v1/deployments/{deployment_id}").requires(Scope::DeploymentsRead).follows();

/// Returns the endpoint with the app as its state.
pub fn endpoint(app: &App) -> Result<Endpoint, InitError> {
    Ok(Endpoint::new(ROUTE, get_deployment, app.clone()))
}

/// Get a deployment
///
/// Returns the deployment with its status, its variables and, while it waits, its place in the queue. To follow the deployment, ask again
/// after `X-Poll-Interval` seconds with the last `ETag` in `If-None-Match`, until `X-Poll-Interval` is absent: the deployment
/// has ended.
#[utoipa::path(get, path = ROUTE.path, tag = "Deployments", responses((status = 200, body = DeploymentBody)))]
pub async fn get_deployment(
    State(app): State<App>,
    deployment: Requested<Deployment>,
) -> Result<(Option<PollInterval>, Json<DeploymentBody>)> {
    let table = app.table();
    let read =
        |place: DeploymentPlace| async move { Ok(try_join(Waits::load(table, &place), place.variables(table)).await?) };
    let (deployment, (waits, variables)) = deployment.authorize_and_read(read).await?;
    let in_lane = waits.map(|waits| QueueBody::new(&deployment, &waits, app.clock().now()));
    let queue = in_lane.or_else(|| QueueBody::of_build(&deployment));
    let interval = queue.as_ref().map(QueueBody::poll_interval).or(PollInterval::of(&deployment));
    let results = Results::load(table, &deployment).await?;
    let body = DeploymentBody::with_variables(&app, deployment.into_inner(), variables)
        .with_queue(queue)
        .with_results(results);
    Ok((interval, Json(body)))
}
