//! `GET /` and every path that no endpoint has: serves the dashboard and the documentation, which are part of the binary.
//!
//! The build script compresses the files, and names assets by their content. So a browser keeps an asset for a year, and asks
//! again for each page.

mod file;
mod respond;
#[cfg(test)]
mod tests;

use axum::extract::Request;
use axum::response::Response;
use http::header::ACCEPT;
use http::{HeaderMap, StatusCode};
use shared::{App, Endpoint, Error, ErrorCode, InitError, Result, Route};

pub use self::file::{File, files};

/// The contract of the function. It serves pages, so it is no endpoint of the API: it needs no token, counts no request and
/// reads no table.
pub const ROUTE: Route =
    Route::get(env!("CARGO_PKG_NAME"), "/").answers_on(&["/{proxy+}"]).returns_pages().public().free();

/// The paths on which the dashboard's page starts. It routes below them by itself.
pub const DEEP_LINKS: [&str; 6] = ["/repositories", "/deployments", "/settings", "/sign-in", "/join", "/audit"];

/// Returns the endpoint, which has no state and makes no call.
pub fn endpoint(_: &App) -> Result<Endpoint, InitError> {
    Ok(Endpoint::new(ROUTE, get_dashboard, ()).calls_at_once(0))
}

/// Returns the file at the path. A browser gets a page if there is none, and another client the envelope.
pub async fn get_dashboard(request: Request) -> Result<Response> {
    let (path, headers) = (request.uri().path(), request.headers());
    if let Some(file) = find(path) {
        return respond::with_file(file, headers);
    }
    if let Some(target) = path.strip_suffix('/').filter(|path| *path != "/" && find(path).is_some()) {
        return Ok(respond::with_redirect(target));
    }
    if is_browser(headers) && !path.starts_with("/v1/") {
        return respond::with_page(StatusCode::NOT_FOUND, file::NOT_FOUND, headers);
    }
    Err(Error::new(ErrorCode::NotFound, "The path does not exist; GET /v1/openapi.json lists all paths"))
}

/// Returns the file at a path, which is the dashboard's page on its deep links.
fn find(path: &str) -> Option<&'static File> {
    let is_below =
        |start: &&str| path.strip_prefix(*start).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
    let path = if DEEP_LINKS.iter().any(is_below) { "/" } else { path };
    file::find(path)
}

/// Returns whether the client shows pages: programs ask for JSON or for anything.
fn is_browser(headers: &HeaderMap) -> bool {
    headers.get_all(ACCEPT).iter().any(|accept| accept.to_str().is_ok_and(|accept| accept.contains("text/html")))
}
