//! `GET /v1/deployments/{deployment_id}`: one deployment, which is how it is followed.

use axum::Json;
use axum::extract::State;
use shared::access::{AuthorizedDeployment, Scope};
use shared::body::DeploymentBody;
use shared::{App, Endpoint, InitError, Result, Route};

pub const ROUTE: Route =
    Route::get(env!("CARGO_PKG_NAME"), "/v1/deployments/{deployment_id}").requires(Scope::DeploymentsRead);

pub fn endpoint(app: &App) -> Result<Endpoint, InitError> {
    Ok(Endpoint::new(ROUTE, get_deployment, app.clone()))
}

/// Get a deployment
#[utoipa::path(get, path = ROUTE.path, tag = "Deployments", responses((status = 200, body = DeploymentBody)))]
pub async fn get_deployment(State(app): State<App>, deployment: AuthorizedDeployment) -> Result<Json<DeploymentBody>> {
    Ok(Json(DeploymentBody::with_queue(&app, deployment.into_inner()).await?))
}
