//! `$default`: answers requests that match no route. Returns 404, or 405 if only the method is wrong.
//!
//! Below `/v1` it takes reads by paths of its own, because the dashboard takes those of all other unknown paths.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use axum::extract::Request;
use http::{HeaderValue, header};
use lambda_http::RequestExt;
use serde::Deserialize;
use serde::de::IgnoredAny;
use shared::{App, Endpoint, Error, ErrorCode, InitError, Result, Route};

/// The contract of the endpoint. The pipeline enforces it, and the templates and the OpenAPI document follow from it.
pub const ROUTE: Route = Route::fallback(env!("CARGO_PKG_NAME")).answers_on(&["/v1", "/v1/{proxy+}"]);

/// Returns the endpoint, which has no state.
pub fn endpoint(_: &App) -> Result<Endpoint, InitError> {
    Ok(Endpoint::new(ROUTE, not_found, ()))
}

/// Returns `method_not_allowed` with `Allow` if the path exists, or else `not_found`.
pub async fn not_found(request: Request) -> Error {
    let path = request.raw_http_path();
    match allowed(path) {
        Some(methods) => {
            let allow = HeaderValue::try_from(&methods).expect("methods are ASCII");
            let message = format!("The path does not support {}; use {methods}", request.method());
            Error::new(ErrorCode::MethodNotAllowed, message).with_header(header::ALLOW, allow)
        }
        None => Error::new(ErrorCode::NotFound, "The path does not exist; GET /v1/openapi.json lists all paths"),
    }
}

/// Returns the methods of a path, if the path exists.
fn allowed(path: &str) -> Option<String> {
    let mut paths = ROUTES.paths.iter();
    let by_full_name = |template: &str| matches(&template.replace("{repo_id}", "{repo_id}/{repo_name}"), path);
    let found = paths.clone().find(|(template, _)| matches(template, path));
    let (_, methods) = found.or_else(|| paths.find(|(template, _)| by_full_name(template)))?;
    // Whatever is read by GET also answers HEAD, which the document does not list.
    let of = |method: &String| if method == "get" { "GET, HEAD".to_owned() } else { method.to_uppercase() };
    let methods: Vec<String> = methods.keys().map(of).collect();
    (!methods.is_empty()).then(|| methods.join(", "))
}

/// Reads the routes from the OpenAPI document. It is the only list of them that does not make this function depend on
/// all others.
static ROUTES: LazyLock<Routes> = LazyLock::new(|| {
    serde_json::from_str(include_str!("../../get-openapi/openapi.json")).expect("the document is generated")
});

#[derive(Deserialize)]
struct Routes {
    paths: BTreeMap<String, BTreeMap<String, IgnoredAny>>,
}

fn matches(template: &str, path: &str) -> bool {
    let (mut template, mut path) = (template.split('/'), path.split('/'));
    loop {
        match (template.next(), path.next()) {
            (None, None) => return true,
            (Some(expected), Some(found)) if expected == found || (expected.starts_with('{') && !found.is_empty()) => {}
            _ => return false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_template_matches_whole_segments() {
        assert!(matches("/v1/repositories/{repo_id}", "/v1/repositories/app"));
        assert!(!matches("/v1/repositories/{repo_id}", "/v1/repositories/"));
        assert!(!matches("/v1/repositories/{repo_id}", "/v1/repositories/app/x"));
        assert!(!matches("/v1/repositories", "/v1/repositories/app"));
    }
}
