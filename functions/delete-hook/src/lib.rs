//! `DELETE /v1/repositories/{repo_id}/hooks/{hook_id}`: ends a hook and its secrets.

use axum::Json;
use axum::extract::State;
use shared::access::{AuthorizedHook, Permission, Scope};
use shared::body::Deleted;
use shared::model::{Author, Hook};
use shared::{App, Endpoint, InitError, Result, Route};

/// The contract of the endpoint. The pipeline enforces it, and the templates and the OpenAPI document follow from it.
pub const ROUTE: Route = Route::delete(env!("CARGO_PKG_NAME"), "/v1/repositories/{repo_id}/hooks/{hook_id}")
    .requires(Scope::RepositoriesWrite)
    .needs(Permission::Admin);

/// Returns the endpoint with the app as its state.
pub fn endpoint(app: &App) -> Result<Endpoint, InitError> {
    Ok(Endpoint::new(ROUTE, delete_hook, app.clone()).finds_early::<Hook>().calls_at_once(4))
}

/// Delete a hook
///
/// Ends a hook. Its URL takes no more deliveries. Deployments that it created go on.
#[utoipa::path(delete, path = ROUTE.path, tag = "Hooks", responses((status = 200, body = Deleted)))]
pub async fn delete_hook(State(app): State<App>, author: Author, hook: AuthorizedHook) -> Result<Json<Deleted>> {
    hook.delete(app.table(), &author, app.clock().now()).await?;
    Ok(Json(Deleted::new(&hook.id)))
}
