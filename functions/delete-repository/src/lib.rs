//! `DELETE /v1/repositories/{repo_id}`: deletes a repository with all that belongs to it.

use std::time::{Duration, Instant};

use axum::Json;
use axum::extract::State;
use shared::access::{AuthorizedRepository, Scope};
use shared::body::Deleted;
use shared::model::{Author, Repository, RepositoryDeletion};
use shared::precondition::IfMatch;
use shared::queue::Queue;
use shared::{App, Endpoint, InitError, Result, Route, With};

/// The contract of the endpoint. The pipeline enforces it, and the templates and the OpenAPI document follow from it.
pub const ROUTE: Route = Route::delete(env!("CARGO_PKG_NAME"), "/v1/repositories/{repo_id}")
    .requires(Scope::RepositoriesWrite)
    .compares_etag();

/// The time for which a request deletes what belongs to the repository. The sweep deletes the rest.
const TIME: Duration = Duration::from_secs(5);

/// Returns the endpoint with its clients.
///
/// # Errors
/// Fails if a setting is missing or malformed.
pub fn endpoint(app: &App) -> Result<Endpoint, InitError> {
    Ok(Endpoint::new(ROUTE, delete_repository, With(app.clone(), Queue::new(app)?)))
}

/// Delete a repository
///
/// Deletes the repository. Its name is free at once, and nothing can be created in it any more. Its queued deployments are
/// canceled, and those in progress are asked to stop. Its deployments, hooks, settings and team permissions are deleted too, within
/// minutes once the last build has stopped. The audit log keeps its events. Nothing happens to the repository at the git host.
#[utoipa::path(delete, path = ROUTE.path, tag = "Repositories", responses((status = 200, body = Deleted)))]
pub async fn delete_repository(
    State(With(app, queue)): State<With<Queue>>,
    author: Author,
    repository: AuthorizedRepository,
    expected: IfMatch,
) -> Result<Json<Deleted>> {
    let (id, tenant, now) = (repository.id.clone(), repository.tenant().clone(), app.clock().now());
    let expected = |repository: &Repository| expected.check(repository.version());
    let deletion = repository.into_inner().delete(app.table(), &tenant, expected, &author, now).await?;
    // The repository is gone. What fails from here on is repeated by the sweep.
    begin(&app, &queue, deletion).await;
    Ok(Json(Deleted::new(&id)))
}

/// Takes the first steps of the deletion, so that queued deployments don't start.
async fn begin(app: &App, queue: &Queue, deletion: RepositoryDeletion) {
    let started = Instant::now();
    match deletion.advance(app.table(), app.clock().now(), || started.elapsed() < TIME).await {
        Ok(deleting) => {
            for deployment in &deleting.stopping {
                if let Err(error) = queue.send(deployment).await {
                    app.log().warn("a build could not be stopped at once; the sweep will stop it", &error);
                }
            }
        }
        Err(error) => app.log().warn("a repository was not deleted completely; the sweep goes on", &error),
    }
}
