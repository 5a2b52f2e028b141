//! `GET /v1/deployments/{deployment_id}/artifacts.zip`: downloads all files that a deployment has produced.
//!
//! Lambda allows an answer of 6 MB, so the zip is an object of the archive. The first request for a set makes it. Its name is a digest
//! of the set, so later requests find it.

mod set;

use archive::Archive;
use axum::extract::State;
use axum::response::Response;
use downloads::Saved;
use http::{HeaderMap, Method};
use shared::access::{AuthorizedDeployment, Scope};
use shared::{App, Endpoint, Error, ErrorCode, InitError, Result, Route, With};

use self::set::ArtifactSet;

/// The contract of the endpoint. The pipeline enforces it, and the templates and the OpenAPI document follow from it.
pub const ROUTE: Route = Route::get(env!("CARGO_PKG_NAME"), "/v1/deployments/{deployment_id}/artifacts.zip")
    .requires(Scope::DeploymentsRead)
    .refuses_with(&[ErrorCode::NotFinished, ErrorCode::LimitReached, ErrorCode::RangeNotSatisfiable]);

/// Returns the endpoint with its archive.
///
/// # Errors
/// Fails if a setting is missing or malformed.
pub fn endpoint(app: &App) -> Result<Endpoint, InitError> {
    Ok(Endpoint::new(ROUTE, get_deployment_artifacts_zip, With(app.clone(), Archive::new(app)?)))
}

/// The bytes of a zip.
#[derive(utoipa::ToSchema)]
#[schema(value_type = String, format = Binary)]
pub struct File(());

/// Download all artifacts
///
/// Redirects to a URL from which a zip of all artifacts can be downloaded for five minutes, also those of a failed deployment. The
/// deployment must have ended. The zip holds at most 2,000 files of 256 MiB together; download those of a larger set one at a time. The
/// first request can take some seconds. The URL contains its own authorization: follow the redirect without the API's token, as
/// `curl --location` and most clients do. The download takes `Range`. A local stack sends the zip itself.
#[utoipa::path(
    get, path = ROUTE.path, tag = "Deployments",
    responses(
        (status = 200, description = "The zip, from a local stack. With `Range` the status is 206", content_type = "application/zip", body = File),
        (status = 302, description = "Found: `Location` is the URL of the zip, valid for five minutes"),
    )
)]
pub async fn get_deployment_artifacts_zip(
    State(With(_, archive)): State<With<Archive>>,
    method: Method,
    headers: HeaderMap,
    deployment: AuthorizedDeployment,
) -> Result<Response> {
    if deployment.finished_at.is_none() {
        let message = "The deployment has not ended, and its artifacts are not complete before; ask again when it has";
        return Err(Error::new(ErrorCode::NotFinished, message));
    }
    let prefix = deployment.artifacts_prefix();
    let set = ArtifactSet::new(archive.kept_artifacts(&deployment).await?)?;
    let name = set.file_name();
    let zip = match archive.zip(&prefix, &name).await? {
        Some(zip) => zip,
        None => set.store(&archive, &prefix, &name).await?,
    };
    let saved = Saved { path: &format!("{}-artifacts.zip", deployment.id), content_type: "application/zip" };
    downloads::answer(&archive, &zip, saved, method, &headers).await
}
