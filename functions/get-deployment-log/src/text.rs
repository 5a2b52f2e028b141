//! A page of a log as plain text.

use axum::response::{IntoResponse, Response};
use http::header::{ACCEPT, CONTENT_TYPE, LINK};
use http::{HeaderMap, HeaderValue};
use shared::accept::accepts;

use crate::{LogLineBody, LogMeta};

/// Returns whether the client takes plain text and does not ask for JSON.
pub(crate) fn is_asked_for(headers: &HeaderMap) -> bool {
    accepts(headers, ACCEPT, "text/plain") && !accepts(headers, ACCEPT, "application/json")
}

/// Returns the texts of the lines. `Link` says where to go on, unless the log is complete.
pub(crate) fn body(lines: Vec<LogLineBody>, meta: &LogMeta, url: &str) -> Response {
    let text: String = lines.into_iter().flat_map(|line| [line.text, "\n".to_owned()]).collect();
    let mut response = ([(CONTENT_TYPE, "text/plain; charset=utf-8")], text).into_response();
    if !meta.complete {
        let next = format!("<{url}?after={}>; rel=\"next\"", meta.next_after);
        response.headers_mut().insert(LINK, HeaderValue::try_from(next).expect("a URL is ASCII"));
    }
    response
}
