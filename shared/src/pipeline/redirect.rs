//! Redirects from the former names of repositories.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::Response;
use lambda_http::RequestExt;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use super::Context;
use crate::error::{Error, Result};
use crate::id::RepositoryId;
use crate::route::Route;

/// The parameter of a path that names a repository.
const REPOSITORY: &str = "{repo_id}";
/// The characters of a path's segment that need no encoding (RFC 3986, section 2.3) are letters, digits and these.
const ENCODED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// Answers a read that names a repository by a former name with a redirect to the URL with its id.
pub(super) async fn redirect(State(context): State<Arc<Context>>, request: Request, next: Next) -> Result<Response> {
    let route = &context.route;
    if !route.is_read() || !route.path.contains(REPOSITORY) {
        return Ok(next.run(request).await);
    }
    let (parameters, uri) = (request.path_parameters(), request.uri().clone());
    let response = next.run(request).await;
    let error = response.extensions().get::<Error>();
    let Some((error, id)) = error.and_then(|error| Some((error, error.renamed_repository()?))) else {
        return Ok(response);
    };
    let mut path = path(route, id, |name| parameters.first(name));
    if let Some(query) = uri.query() {
        path.push_str(&format!("?{query}"));
    }
    Err(error.clone().moved_to(&path))
}

/// Returns the route's path with the id of the repository and the other parameters of the request.
fn path<'a>(route: &Route, id: &RepositoryId, parameter: impl Fn(&str) -> Option<&'a str>) -> String {
    let segment = |segment: &str| match segment.strip_prefix('{').and_then(|rest| rest.strip_suffix('}')) {
        _ if segment == REPOSITORY => id.to_string(),
        Some(name) => utf8_percent_encode(parameter(name).unwrap_or_default(), ENCODED).to_string(),
        None => segment.to_owned(),
    };
    route.path.split('/').map(segment).collect::<Vec<_>>().join("/")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_other_parameters_are_kept() {
        let id: RepositoryId = "repo_k3vyq2w7x5m4n6pa".parse().unwrap();
        let route = Route::get("x", "/v1/repositories/{repo_id}/environments/{environment}");
        let found = path(&route, &id, |name| (name == "environment").then_some("a b/ü"));
        assert_eq!(found, "/v1/repositories/repo_k3vyq2w7x5m4n6pa/environments/a%20b%2F%C3%BC");
    }
}
