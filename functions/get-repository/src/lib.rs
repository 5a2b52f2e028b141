//! `GET /v1/repositories/{repo_id}`: returns one repository.

use axum::Json;
use shared::access::{AuthorizedRepository, Scope};
use shared::body::RepositoryBody;
use shared::{App, Endpoint, InitError, Result, Route};

/// The contract of the endpoint. The pipeline enforces it, and the templates and the OpenAPI document follow from it.
pub const ROUTE: Route =
    Route::get(env!("CARGO_PKG_NAME"), "/v1/repositories/{repo_id}").requires(Scope::RepositoriesRead);

/// Returns the endpoint with the app as its state.
pub fn endpoint(app: &App) -> Result<Endpoint, InitError> {
    Ok(Endpoint::new(ROUTE, get_repository, app.clone()))
}

/// Get a repository
///
/// Returns the repository.
#[utoipa::path(get, path = ROUTE.path, tag = "Repositories", responses((status = 200, body = RepositoryBody)))]
pub async fn get_repository(repository: AuthorizedRepository) -> Result<Json<RepositoryBody>> {
    RepositoryBody::new(&repository, repository.tenant()).map(Json)
}
