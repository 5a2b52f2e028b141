//! The responses: a file with its validators and the headers that protect a page.

use axum::body::Body;
use axum::response::{IntoResponse, Response};
use headers::{ETag, HeaderMapExt, IfNoneMatch};
use http::header::{
    ACCEPT_ENCODING, CACHE_CONTROL, CONTENT_ENCODING, CONTENT_SECURITY_POLICY, CONTENT_TYPE, ETAG, LOCATION,
    REFERRER_POLICY, VARY,
};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use shared::accept::accepts;
use shared::{Error, Result};

use crate::file::{self, File};

/// The policy of all pages. Nothing comes from another origin, no script is inline, and no text becomes markup.
pub(crate) const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; \
                                 connect-src 'self'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'; \
                                 require-trusted-types-for 'script'; trusted-types 'none'";

/// The headers of every response. `same-origin` keeps paths from other sites, and keeps `Origin` in requests to the API.
pub(crate) const HEADERS: [(HeaderName, &str); 5] = [
    (CONTENT_SECURITY_POLICY, POLICY),
    (REFERRER_POLICY, "same-origin"),
    (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
    (HeaderName::from_static("permissions-policy"), "camera=(), geolocation=(), microphone=(), payment=(), usb=()"),
    (VARY, "Accept-Encoding"),
];

/// Returns a file, or 304 if the client has it.
pub(crate) fn with_file(file: &File, request: &HeaderMap) -> Result<Response> {
    let etag: ETag = file.etag.parse().expect("a hash in quotes is an ETag");
    let has_it = request.typed_get::<IfNoneMatch>().is_some_and(|known| !known.precondition_passes(&etag));
    let mut response = match has_it {
        true => StatusCode::NOT_MODIFIED.into_response(),
        false => content(file, request)?,
    };
    let caching = if file.is_immutable() { "public, max-age=31536000, immutable" } else { "no-cache" };
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static(caching));
    response.headers_mut().insert(ETAG, HeaderValue::from_static(file.etag));
    Ok(protected(response))
}

/// Returns a page with another status. Nobody keeps it.
pub(crate) fn with_page(status: StatusCode, path: &str, request: &HeaderMap) -> Result<Response> {
    let page = file::find(path).ok_or_else(|| Error::internal(format!("there is no page {path}")))?;
    let mut response = content(page, request)?;
    *response.status_mut() = status;
    Ok(protected(response))
}

/// Sends the client to the path of a file.
pub(crate) fn with_redirect(path: &str) -> Response {
    let location = HeaderValue::try_from(path).expect("the path of a file is ASCII");
    protected((StatusCode::PERMANENT_REDIRECT, [(LOCATION, location)]).into_response())
}

fn content(file: &File, request: &HeaderMap) -> Result<Response> {
    let content_type = [(CONTENT_TYPE, file.content_type)];
    let compressed = [("br", file.brotli), ("gzip", Some(file.gzip))];
    let compressed = compressed
        .into_iter()
        .find_map(|(coding, content)| content.filter(|_| takes(request, coding)).map(|content| (coding, content)));
    if let Some((coding, content)) = compressed {
        return Ok((content_type, [(CONTENT_ENCODING, coding)], Body::from(content)).into_response());
    }
    Ok((content_type, file.content().map_err(Error::internal)?).into_response())
}

/// Returns whether `Accept-Encoding` has a coding, unless with the weight 0.
fn takes(request: &HeaderMap, wanted: &str) -> bool {
    [wanted, "*"].into_iter().any(|coding| accepts(request, ACCEPT_ENCODING, coding))
}

fn protected(mut response: Response) -> Response {
    response.headers_mut().extend(HEADERS.map(|(name, value)| (name, HeaderValue::from_static(value))));
    response
}
