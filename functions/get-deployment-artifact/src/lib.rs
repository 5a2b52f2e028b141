//! `GET /v1/deployments/{deployment_id}/artifacts/{artifact_path}`: downloads a file that a deployment has produced.
//!
//! A bucket sends the file itself: the client is redirected to a signed URL. In the local stack, the archive is a folder. The
//! function then answers with a small file, and names a larger one in [`FILE`] to the gateway, which sends it: an answer of a
//! function is held in memory, and Lambda allows 6 MB.

mod disposition;
mod range;

use std::ops::Range;
use std::path::Path;
use std::time::Duration;

use archive::{Archive, Artifact, Download};
use axum::body::Body;
use axum::extract::{FromRef, State};
use axum::response::{IntoResponse, Response};
use http::header::{
    ACCEPT_RANGES, CONTENT_DISPOSITION, CONTENT_RANGE, CONTENT_SECURITY_POLICY, CONTENT_TYPE, ETAG, LOCATION,
};
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use shared::access::{AuthorizedDeployment, Scope};
use shared::extract::PathArtifact;
use shared::{App, Endpoint, Error, ErrorCode, InitError, Result, Route};

use self::range::Part;

/// The contract of the endpoint. The pipeline enforces it, and the templates and the OpenAPI document follow from it.
pub const ROUTE: Route =
    Route::get(env!("CARGO_PKG_NAME"), "/v1/deployments/{deployment_id}/artifacts/{artifact_path}")
        .answers_on(&["/v1/deployments/{deployment_id}/artifacts/{artifact_path}/{proxy+}"])
        .requires(Scope::DeploymentsRead)
        .refuses_with(&[ErrorCode::RangeNotSatisfiable]);

/// The header that names the file whose bytes the local gateway sends, percent-encoded.
pub const FILE: HeaderName = HeaderName::from_static("x-sendfile");
/// The header with the first byte of the file that the local gateway sends, and the number of bytes.
pub const FILE_PART: HeaderName = HeaderName::from_static("x-sendfile-part");

/// The largest part of a file that the function answers with itself. As JSON it can be six times as large.
const OWN_ANSWER: u64 = 512 * 1024;
/// The time for which a signed URL is valid.
const VALID_FOR: Duration = Duration::from_secs(300);

/// Returns the endpoint with its archive.
///
/// # Errors
/// Fails if a setting is missing or malformed.
pub fn endpoint(app: &App) -> Result<Endpoint, InitError> {
    let downloads = Downloads { app: app.clone(), archive: Archive::new(app)? };
    Ok(Endpoint::new(ROUTE, get_deployment_artifact, downloads))
}

/// The app, and the archive with the artifacts.
#[derive(Clone)]
pub struct Downloads {
    app: App,
    archive: Archive,
}

impl FromRef<Downloads> for App {
    fn from_ref(downloads: &Downloads) -> App {
        downloads.app.clone()
    }
}

/// Download an artifact
///
/// Redirects to a URL from which the file can be downloaded for five minutes. The URL contains its own authorization: follow the
/// redirect without the API's token, as `curl --location` and most clients do. The download takes `Range`, and asks browsers to
/// save the file instead of showing it. A local stack sends the file itself.
#[utoipa::path(
    get, path = ROUTE.path, tag = "Deployments",
    responses(
        (status = 200, description = "The file, from a local stack. With `Range` the status is 206", content_type = "application/octet-stream", body = Vec<u8>),
        (status = 302, description = "Found: `Location` is the URL of the file, valid for five minutes"),
    )
)]
pub async fn get_deployment_artifact(
    State(Downloads { archive, .. }): State<Downloads>,
    method: Method,
    headers: HeaderMap,
    PathArtifact(path): PathArtifact,
    deployment: AuthorizedDeployment,
) -> Result<Response> {
    let prefix = deployment.artifacts_prefix();
    let found = archive.artifact(&prefix, &path).await?;
    let found = found.filter(|artifact| deployment.can_have_stored(artifact.stored_at));
    let artifact = found.ok_or_else(|| Error::not_found("Artifact"))?;
    let disposition = disposition::attachment(&artifact.path);
    let download = Download { content_type: artifact.content_type(), disposition: &disposition };
    let signed = archive.sign_artifact(&prefix, &artifact, method, download, VALID_FOR).await?;
    match signed {
        Some(url) => Ok((StatusCode::FOUND, [(LOCATION, text(url.as_str()))]).into_response()),
        None => send(&archive, &prefix, &artifact, download, &headers).await,
    }
}

/// Answers with the file, or with a part of it.
async fn send(
    archive: &Archive,
    prefix: &str,
    artifact: &Artifact,
    download: Download<'_>,
    request: &HeaderMap,
) -> Result<Response> {
    let etag = artifact.tag.as_ref().map(|tag| format!("\"{tag}\""));
    let part = Part::of(request, artifact.size, etag.as_deref())?;
    let range = part.range(artifact.size);
    let mut response = match range.end - range.start {
        0..=OWN_ANSWER => Body::from(archive.read_artifact(prefix, artifact, range.clone()).await?).into_response(),
        _ => by_gateway(archive.artifact_file(prefix, artifact)?.as_deref(), &range)?,
    };
    if let Part::Of(range) = part {
        *response.status_mut() = StatusCode::PARTIAL_CONTENT;
        let range = format!("bytes {}-{}/{}", range.start, range.end - 1, artifact.size);
        response.headers_mut().insert(CONTENT_RANGE, text(&range));
    }
    let headers = [
        (CONTENT_TYPE, download.content_type),
        (CONTENT_DISPOSITION, download.disposition),
        (ACCEPT_RANGES, "bytes"),
        // The file comes from the API's origin, and is anything that a build makes.
        (CONTENT_SECURITY_POLICY, "sandbox; default-src 'none'"),
    ];
    response.headers_mut().extend(headers.map(|(name, value)| (name, text(value))));
    response.headers_mut().extend(etag.map(|etag| (ETAG, text(&etag))));
    Ok(response)
}

fn by_gateway(file: Option<&Path>, range: &Range<u64>) -> Result<Response> {
    let file =
        file.and_then(Path::to_str).ok_or_else(|| Error::internal("a file of the archive has no path in UTF-8"))?;
    let file = utf8_percent_encode(file, NON_ALPHANUMERIC).to_string();
    let part = format!("{} {}", range.start, range.end - range.start);
    Ok([(FILE, text(&file)), (FILE_PART, text(&part))].into_response())
}

fn text(value: &str) -> HeaderValue {
    HeaderValue::try_from(value).expect("encoded texts are ASCII")
}
