//! `GET /v1/deployments/{deployment_id}/log.txt`: downloads the whole log of a deployment that has ended.
//!
//! Lambda allows an answer of 6 MB, so the text is an object of the archive. The first request makes it, and later ones find it.

use archive::Archive;
use axum::extract::State;
use axum::response::Response;
use downloads::Saved;
use http::{HeaderMap, Method};
use shared::access::{AuthorizedDeployment, Scope};
use shared::{App, Endpoint, Error, ErrorCode, InitError, Result, Route, With};

/// The contract of the endpoint. The pipeline enforces it, and the templates and the OpenAPI document follow from it.
pub const ROUTE: Route = Route::get(env!("CARGO_PKG_NAME"), "/v1/deployments/{deployment_id}/log.txt")
    .requires(Scope::DeploymentsRead)
    .refuses_with(&[ErrorCode::NotFinished, ErrorCode::RangeNotSatisfiable]);

/// Returns the endpoint with its archive.
///
/// # Errors
/// Fails if a setting is missing or malformed.
pub fn endpoint(app: &App) -> Result<Endpoint, InitError> {
    Ok(Endpoint::new(ROUTE, get_deployment_log_file, With(app.clone(), Archive::new(app)?)))
}

/// Download a deployment's log
///
/// Redirects to a URL from which the whole log can be downloaded as UTF-8 text for five minutes, line by line without numbers and
/// times. The deployment must have ended: one with AWS CodeBuild 15 seconds ago, because its last lines can arrive that late. The first
/// request can take some seconds. The URL contains its own authorization: follow the redirect without the API's token, as
/// `curl --location` and most clients do. The download takes `Range`. A local stack sends the text itself.
#[utoipa::path(
    get, path = ROUTE.path, tag = "Deployments",
    responses(
        (
            status = 200, description = "The text, from a local stack. With `Range` the status is 206", content_type = "text/plain",
            body = String, examples(("response" = (value = json!("Compiling frontend-app\n")))),
        ),
        (status = 302, description = "Found: `Location` is the URL of the text, valid for five minutes"),
    )
)]
pub async fn get_deployment_log_file(
    State(With(app, archive)): State<With<Archive>>,
    method: Method,
    headers: HeaderMap,
    deployment: AuthorizedDeployment,
) -> Result<Response> {
    if !deployment.has_whole_log(app.clock().now()) {
        let message = "The log is not complete; ask again when the deployment has ended, or read the log page by page";
        return Err(Error::new(ErrorCode::NotFinished, message));
    }
    let making = async { Ok(archive.log_text(&deployment.log_prefix()).await?) };
    let late = "The file could not be made in time; try again, or read the log page by page";
    let text = downloads::made_in_time(making, late).await?;
    let saved = Saved { path: &format!("{}-log.txt", deployment.id), content_type: "text/plain; charset=utf-8" };
    downloads::answer(&archive, &text, saved, method, &headers).await
}
