//! `GET /v1/deployments/{deployment_id}/artifacts/{artifact_path}`: downloads a file that a deployment has produced.

use archive::Archive;
use axum::extract::State;
use axum::response::Response;
use downloads::Saved;
use http::{HeaderMap, Method};
use shared::access::{AuthorizedDeployment, Scope};
use shared::extract::PathArtifact;
use shared::{App, Endpoint, Error, ErrorCode, InitError, Result, Route, With};

/// The contract of the endpoint. The pipeline enforces it, and the templates and the OpenAPI document follow from it.
pub const ROUTE: Route =
    Route::get(env!("CARGO_PKG_NAME"), "/v1/deployments/{deployment_id}/artifacts/{artifact_path}")
        .answers_on(&["/v1/deployments/{deployment_id}/artifacts/{artifact_path}/{proxy+}"])
        .requires(Scope::DeploymentsRead)
        .refuses_with(&[ErrorCode::RangeNotSatisfiable]);

/// Returns the endpoint with its archive.
///
/// # Errors
/// Fails if a setting is missing or malformed.
pub fn endpoint(app: &App) -> Result<Endpoint, InitError> {
    Ok(Endpoint::new(ROUTE, get_deployment_artifact, With(app.clone(), Archive::new(app)?)))
}

/// The bytes of an artifact.
#[derive(utoipa::ToSchema)]
#[schema(value_type = String, format = Binary)]
pub struct File(());

/// Download an artifact
///
/// Redirects to a URL from which the file can be downloaded for five minutes. The URL contains its own authorization: follow the
/// redirect without the API's token, as `curl --location` and most clients do. The download takes `Range`, and asks browsers to
/// save the file instead of showing it. A local stack sends the file itself.
#[utoipa::path(
    get, path = ROUTE.path, tag = "Deployments",
    responses(
        (status = 200, description = "The file, from a local stack. With `Range` the status is 206", content_type = "application/octet-stream", body = inline(File)),
        (status = 302, description = "Found: `Location` is the URL of the file, valid for five minutes"),
    )
)]
pub async fn get_deployment_artifact(
    State(With(_, archive)): State<With<Archive>>,
    method: Method,
    headers: HeaderMap,
    PathArtifact(path): PathArtifact,
    deployment: AuthorizedDeployment,
) -> Result<Response> {
    let found = archive.artifact(&deployment.artifacts_prefix(), &path).await?;
    let found = found.filter(|artifact| deployment.can_have_stored(artifact.stored_at));
    let artifact = found.ok_or_else(|| Error::not_found("Artifact"))?;
    let saved = Saved { path: &artifact.path, content_type: artifact.content_type() };
    downloads::answer(&archive, &artifact, saved, method, &headers).await
}
