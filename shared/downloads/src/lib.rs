//! Downloads of files in the archive.
//!
//! A bucket sends a file itself: the client is redirected to a signed URL. In the local stack, the archive is a folder. The
//! function then answers with a small file, and names a larger one in [`FILE`] to the gateway, which sends it: an answer of a
//! function is held in memory, and Lambda allows 6 MB.

mod disposition;
mod range;

use std::ops::Range;
use std::path::Path;
use std::time::Duration;

use archive::{Archive, Artifact, Download};
use axum::body::Body;
use axum::response::{IntoResponse, Response};
use http::header::{
    ACCEPT_RANGES, CONTENT_DISPOSITION, CONTENT_RANGE, CONTENT_SECURITY_POLICY, CONTENT_TYPE, ETAG, LOCATION,
};
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use shared::{Error, ErrorCode, Result};
use tokio::time::timeout;

use self::range::Part;

/// The header that names the file whose bytes the local gateway sends, percent-encoded.
pub const FILE: HeaderName = HeaderName::from_static("x-sendfile");
/// The header with the first byte of the file that the local gateway sends, and the number of bytes.
pub const FILE_PART: HeaderName = HeaderName::from_static("x-sendfile-part");

/// The largest part of a file that the function answers with itself. As JSON it can be six times as large.
const OWN_ANSWER: u64 = 512 * 1024;
/// The time for which a signed URL is valid.
const VALID_FOR: Duration = Duration::from_secs(300);
/// The time in which a file is made while its client waits. The gateway waits for 30 seconds.
const MADE_WITHIN: Duration = Duration::from_secs(24);

/// The name and the media type under which a browser saves a file.
#[derive(Clone, Copy, Debug)]
pub struct Saved<'a> {
    /// The file gets the last name of this path.
    pub path: &'a str,
    /// The media type.
    pub content_type: &'a str,
}

/// Waits for a file that is made for the request.
///
/// # Errors
/// Fails with the message and `service_unavailable` if making the file takes too long.
pub async fn made_in_time(making: impl Future<Output = Result<Artifact>>, message: &'static str) -> Result<Artifact> {
    let late = |elapsed| Error::new(ErrorCode::ServiceUnavailable, message).because(elapsed);
    timeout(MADE_WITHIN, making).await.map_err(late)?
}

/// Answers a request for a file of the archive: redirects to a signed URL, or sends the file or a part of it.
///
/// # Errors
/// Fails if the file has none of the bytes that the request asks for, or if the archive fails.
pub async fn answer(
    archive: &Archive,
    file: &Artifact,
    saved: Saved<'_>,
    method: Method,
    request: &HeaderMap,
) -> Result<Response> {
    let disposition = disposition::attachment(saved.path);
    let download = Download { content_type: saved.content_type, disposition: &disposition };
    match archive.sign(file, method, download, VALID_FOR).await? {
        Some(url) => Ok((StatusCode::FOUND, [(LOCATION, text(url.as_str()))]).into_response()),
        None => send(archive, file, download, request).await,
    }
}

/// Answers with the file, or with a part of it.
async fn send(archive: &Archive, file: &Artifact, download: Download<'_>, request: &HeaderMap) -> Result<Response> {
    let etag = file.tag.as_ref().map(|tag| format!("\"{tag}\""));
    let part = Part::of(request, file.size, etag.as_deref())?;
    let range = part.range(file.size);
    let mut response = match range.end - range.start {
        0..=OWN_ANSWER => Body::from(archive.read(file, range.clone()).await?).into_response(),
        _ => by_gateway(archive.file(file)?.as_deref(), &range)?,
    };
    if let Part::Of(range) = part {
        *response.status_mut() = StatusCode::PARTIAL_CONTENT;
        let range = format!("bytes {}-{}/{}", range.start, range.end - 1, file.size);
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
