//! Compression of answers for clients that accept gzip.
//!
//! The layer of tower-http is not used: it answers 406 to a client that excludes all codings, after the handler has run.

use std::io::Write;

use axum::body::{Body, HttpBody, to_bytes};
use axum::extract::Request;
use axum::middleware::Next;
use axum::response::Response;
use flate2::Compression;
use flate2::write::GzEncoder;
use http::header::{ACCEPT_ENCODING, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_RANGE, ETAG, VARY};
use http::{HeaderMap, HeaderValue};

use super::add_to_list;
use crate::accept::accepts;

/// The size in bytes from which an answer is compressed. A smaller one fits into a packet anyway.
const WORTHWHILE: u64 = 1024;

/// Compresses the answer if its size and its headers allow it, and the client accepts gzip.
pub(super) async fn compress(request: Request, next: Next) -> Response {
    let accepted = accepts(request.headers(), ACCEPT_ENCODING, "gzip");
    let mut response = next.run(request).await;
    if !may_be_encoded(&response) {
        return response;
    }
    // HEAD and 304 have the headers of the GET.
    if !names_encoding(response.headers()) {
        add_to_list(response.headers_mut(), VARY, "Accept-Encoding");
    }
    let is_worthwhile = response.body().size_hint().exact().is_some_and(|size| size >= WORTHWHILE);
    if !accepted || !is_worthwhile {
        return response;
    }
    let (mut parts, body) = response.into_parts();
    let content = to_bytes(body, usize::MAX).await.expect("a body with a known size is in memory");
    let mut encoder = GzEncoder::new(Vec::with_capacity(content.len() / 4), Compression::fast());
    encoder.write_all(&content).expect("a vector takes all bytes");
    let compressed = encoder.finish().expect("a vector takes all bytes");
    parts.headers.remove(CONTENT_LENGTH);
    parts.headers.insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    Response::from_parts(parts, Body::from(compressed))
}

fn names_encoding(headers: &HeaderMap) -> bool {
    headers.get(VARY).and_then(|vary| vary.to_str().ok()).is_some_and(|vary| vary.contains("Accept-Encoding"))
}

/// Returns whether an encoding changes nothing but the bytes that are sent. A strong ETag and a range are about these bytes (RFC 9110,
/// sections 8.8.1 and 14.4).
fn may_be_encoded(response: &Response) -> bool {
    let headers = response.headers();
    let is_weak = |etag: &HeaderValue| etag.as_bytes().starts_with(b"W/");
    !headers.contains_key(CONTENT_ENCODING)
        && !headers.contains_key(CONTENT_RANGE)
        && headers.get(ETAG).is_none_or(is_weak)
}
