//! `GET /v1/openapi.json`: returns the OpenAPI document, which is generated from the endpoints.

use std::sync::{Arc, OnceLock};

use axum::body::Bytes;
use axum::extract::State;
use axum::http::HeaderName;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use shared::{App, Endpoint, InitError, Result, Route};

/// The contract of the endpoint. The pipeline enforces it, and the templates and the OpenAPI document follow from it.
/// It counts no request, as no page of the documentation does.
pub const ROUTE: Route = Route::get(env!("CARGO_PKG_NAME"), "/v1/openapi.json").public().free();

/// The origin of the API in the document that is checked in.
const ORIGIN: &str = "https://api.git.dev";

/// The document of this stack, which the first request makes.
#[derive(Debug)]
pub struct Document {
    origin: String,
    text: OnceLock<Bytes>,
}

/// Returns the endpoint, which makes no call.
pub fn endpoint(app: &App) -> Result<Endpoint, InitError> {
    let document = Document { origin: app.url(""), text: OnceLock::new() };
    Ok(Endpoint::new(ROUTE, get_openapi, Arc::new(document)).calls_at_once(0))
}

/// Get this document
///
/// Returns this OpenAPI document. Its server is the one that answers. Caches may keep it for five minutes.
#[utoipa::path(get, path = ROUTE.path, tag = "API", responses((status = 200, body = Object)))]
pub async fn get_openapi(State(document): State<Arc<Document>>) -> ([(HeaderName, &'static str); 2], Bytes) {
    let text =
        document.text.get_or_init(|| compact(include_str!("../openapi.json")).replace(ORIGIN, &document.origin).into());
    ([(CONTENT_TYPE, "application/json"), (CACHE_CONTROL, "public, max-age=300")], text.clone())
}

/// Returns a JSON text without the white space between its values.
fn compact(json: &str) -> String {
    let (mut in_string, mut escaped) = (false, false);
    let is_kept = |character: &char| {
        if *character == '"' && !escaped {
            in_string = !in_string;
        }
        escaped = *character == '\\' && !escaped;
        in_string || !character.is_ascii_whitespace()
    };
    json.chars().filter(is_kept).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_white_space_between_values_is_left_out() {
        let json = r#"{ "a b": [1, true,	"c \" \\"], "d" : " " }"#;
        assert_eq!(compact(json), r#"{"a b":[1,true,"c \" \\"],"d":" "}"#);
    }
}
