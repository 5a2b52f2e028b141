//! `DELETE /v1/repositories/{repo_id}/cache`: clears the caches of a repository's builds.

use archive::Archive;
use axum::Json;
use axum::extract::State;
use shared::access::{AuthorizedRepository, Permission, Scope};
use shared::body::Deleted;
use shared::model::{Author, Repository};
use shared::{App, Endpoint, InitError, Result, Route, With};

/// The contract of the endpoint. The pipeline enforces it, and the templates and the OpenAPI document follow from it.
pub const ROUTE: Route = Route::delete(env!("CARGO_PKG_NAME"), "/v1/repositories/{repo_id}/cache")
    .requires(Scope::RepositoriesWrite)
    .needs(Permission::Deploy);

/// Returns the endpoint with its archive.
///
/// # Errors
/// Fails if a setting is missing or malformed.
pub fn endpoint(app: &App) -> Result<Endpoint, InitError> {
    Ok(Endpoint::new(ROUTE, delete_repository_cache, With(app.clone(), Archive::new(app)?)).finds_early::<Repository>())
}

/// Clear a repository's cache
///
/// Deletes what builds have cached, of all environments, branches and tags. The next builds start without a cache, and save a new
/// one. A build that is in progress saves nothing of what it has restored.
#[utoipa::path(delete, path = ROUTE.path, tag = "Repositories", responses((status = 200, body = Deleted)))]
pub async fn delete_repository_cache(
    State(With(app, archive)): State<With<Archive>>,
    author: Author,
    repository: AuthorizedRepository,
) -> Result<Json<Deleted>> {
    let prefixes = repository.clear_caches(app.table(), &author, app.clock().now()).await?;
    // No build finds them any more. What is not deleted now expires.
    for prefix in prefixes {
        if let Err(error) = archive.delete_caches_below(&prefix).await {
            app.log().warn("a cache that was cleared could not be deleted", &error);
            break;
        }
    }
    Ok(Json(Deleted::new(&repository.id)))
}
