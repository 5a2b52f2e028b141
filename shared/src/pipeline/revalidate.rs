//! ETags of reads, and answers that the client has already (RFC 9110, sections 8.8.3 and 13.1.2).

use std::sync::Arc;

use axum::body::{Body, to_bytes};
use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use http::StatusCode;
use http::header::{CONTENT_LENGTH, CONTENT_TYPE, ETAG};

use super::Context;
use crate::error::{Error, Result};
use crate::precondition::{IfNoneMatch, etag_of};

/// Gives a successful read an ETag if its handler has set none. Answers 304 without a body if the client has the answer
/// already.
pub(super) async fn revalidate(State(context): State<Arc<Context>>, request: Request, next: Next) -> Result<Response> {
    if !context.route.is_read() {
        return Ok(next.run(request).await);
    }
    let known = IfNoneMatch::of(request.headers())?;
    let response = next.run(request).await;
    if response.status() != StatusCode::OK {
        return Ok(response);
    }
    let (mut parts, body) = response.into_parts();
    let body = to_bytes(body, usize::MAX).await.map_err(Error::internal)?;
    let etag = parts.headers.entry(ETAG).or_insert_with(|| etag_of(&body)).clone();
    if !known.has(&etag) {
        return Ok(Response::from_parts(parts, Body::from(body)));
    }
    parts.headers.remove(CONTENT_TYPE);
    parts.headers.remove(CONTENT_LENGTH);
    Ok((StatusCode::NOT_MODIFIED, parts.headers, parts.extensions).into_response())
}
