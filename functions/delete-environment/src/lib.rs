//! `DELETE /v1/repositories/{repo_id}/environments/{environment}`: deletes an environment or a pattern.

use axum::Json;
use axum::extract::State;
use shared::access::{AuthorizedRepository, Permission, Scope};
use shared::body::Deleted;
use shared::extract::PathEnvironment;
use shared::model::{Author, EnvironmentSettings, Repository};
use shared::precondition::IfMatch;
use shared::{App, Endpoint, ErrorCode, InitError, Result, Route};

/// The contract of the endpoint. The pipeline enforces it, and the templates and the OpenAPI document follow from it.
pub const ROUTE: Route = Route::delete(env!("CARGO_PKG_NAME"), "/v1/repositories/{repo_id}/environments/{environment}")
    .requires(Scope::RepositoriesWrite)
    .needs(Permission::Admin)
    .refuses_with(&[ErrorCode::BuiltInEnvironment, ErrorCode::EnvironmentInUse])
    .compares_etag();

/// Returns the endpoint with the app as its state.
pub fn endpoint(app: &App) -> Result<Endpoint, InitError> {
    Ok(Endpoint::new(ROUTE, delete_environment, app.clone()).finds_early::<Repository>())
}

/// Delete an environment
///
/// Deletes an environment with its settings, unless a deployment to it is queued or in progress. Its deployments stay in the
/// lists. A pattern can be deleted at any time: its members stay, and deployments create no more of them.
#[utoipa::path(delete, path = ROUTE.path, tag = "Environments", responses((status = 200, body = Deleted)))]
pub async fn delete_environment(
    State(app): State<App>,
    author: Author,
    repository: AuthorizedRepository,
    PathEnvironment(name): PathEnvironment,
    expected: IfMatch,
) -> Result<Json<Deleted>> {
    let expected = |settings: &EnvironmentSettings| expected.check(settings.version(&repository));
    name.delete(app.table(), &repository, expected, &author, app.clock().now()).await?;
    Ok(Json(Deleted::new(name)))
}
