//! `GET /v1/repositories/{repo_id}`: returns one repository.

use shared::access::{AuthorizedRepository, Scope};
use shared::body::RepositoryBody;
use shared::precondition::Versioned;
use shared::{App, Endpoint, InitError, Result, Route};

/// The contract of the endpoint. The pipeline enforces it, and the templates and the OpenAPI document follow from it.
pub const ROUTE: Route =
    Route::get(env!("CARGO_PKG_NAME"), "/v1/repositories/{repo_id}").requires(Scope::RepositoriesRead).sends_etag();

/// Returns the endpoint with the app as its state.
pub fn endpoint(app: &App) -> Result<Endpoint, InitError> {
    Ok(Endpoint::new(ROUTE, get_repository, app.clone()))
}

/// Get a repository
///
/// Returns the repository.
#[utoipa::path(get, path = ROUTE.path, tag = "Repositories", responses((status = 200, body = RepositoryBody)))]
pub async fn get_repository(repository: AuthorizedRepository) -> Result<Versioned<String, RepositoryBody>> {
    let body = RepositoryBody::new(&repository, repository.tenant())?;
    Ok(Versioned(repository.version(), body))
}
