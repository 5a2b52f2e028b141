//! ETags, `If-Match` and `If-None-Match` (RFC 9110, sections 8.8.3, 13.1.1 and 13.1.2).
//!
//! A resource with a revision has a strong ETag, which `If-Match` compares. Every other answer to a read has a weak one, so
//! that `If-Match` never accepts it, and that an encoding of the same answer may keep it.

use axum::Json;
use axum::extract::FromRequestParts;
use axum::response::{IntoResponse, Response};
use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use headers::{ETag, Header, HeaderMapExt};
use http::header::ETAG;
use http::request::Parts;
use http::{HeaderMap, HeaderValue};
use serde::Serialize;
use sha2::{Digest, Sha256};

use crate::error::{Error, ErrorCode, Result};

/// Returns the ETag of a resource at a revision.
fn etag(revision: u64) -> String {
    format!("\"{revision}\"")
}

/// A resource's body and revision, which is sent as its ETag.
#[derive(Clone, Copy, Debug)]
pub struct Revised<T>(pub u64, pub T);

impl<T: Serialize> IntoResponse for Revised<T> {
    fn into_response(self) -> Response {
        ([(ETAG, etag(self.0))], Json(self.1)).into_response()
    }
}

/// The revisions that the client accepts. Without the header it accepts any.
#[derive(Clone, Debug)]
pub struct IfMatch(Option<headers::IfMatch>);

impl IfMatch {
    /// Compares the resource's revision with the client's.
    ///
    /// # Errors
    /// Fails with `precondition_failed` if the client does not accept the revision.
    pub fn check(&self, revision: u64) -> Result<()> {
        let now = etag(revision);
        let now: ETag = now.parse().expect("a number in quotes is an ETag");
        match &self.0 {
            Some(expected) if !expected.precondition_passes(&now) => Err(Error::new(
                ErrorCode::PreconditionFailed,
                "The resource no longer has the ETag in If-Match; read it again and repeat the change",
            )),
            _ => Ok(()),
        }
    }
}

/// Returns the weak ETag of a body: its digest, cut to 128 bits.
pub(crate) fn etag_of(body: &[u8]) -> HeaderValue {
    let digest = BASE64_URL_SAFE_NO_PAD.encode(&Sha256::digest(body)[..16]);
    HeaderValue::try_from(format!("W/\"{digest}\"")).expect("base64 is ASCII")
}

/// The answers that the client has already. Without the header it has none.
#[derive(Debug)]
pub(crate) struct IfNoneMatch(Option<headers::IfNoneMatch>);

impl IfNoneMatch {
    /// # Errors
    /// Fails with `invalid_request` if the header is neither `*` nor a list of ETags.
    pub(crate) fn of(headers: &HeaderMap) -> Result<Self> {
        condition(headers).map(Self)
    }

    /// Returns whether the client has the answer with this ETag, by weak comparison.
    pub(crate) fn has(&self, etag: &HeaderValue) -> bool {
        let etag = etag.to_str().ok().and_then(|etag| etag.parse::<ETag>().ok());
        match (&self.0, etag) {
            (Some(known), Some(etag)) => !known.precondition_passes(&etag),
            _ => false,
        }
    }
}

/// Returns the condition in a header, if the request has the header.
fn condition<H: Header>(headers: &HeaderMap) -> Result<Option<H>> {
    let invalid = || Error::invalid(H::name().as_str(), "must be `*` or a list of ETags");
    if headers.get_all(H::name()).iter().any(|value| !is_list(value.as_bytes())) {
        return Err(invalid());
    }
    headers.typed_try_get().map_err(|_| invalid())
}

/// Returns whether a value is `*` or a list of one ETag or more. The `headers` crate takes any text.
fn is_list(value: &[u8]) -> bool {
    let Ok(value) = std::str::from_utf8(value) else { return false };
    let mut rest = value.trim();
    if rest == "*" {
        return true;
    }
    loop {
        let Some((tag, after)) =
            rest.strip_prefix("W/").unwrap_or(rest).strip_prefix('"').and_then(|tag| tag.split_once('"'))
        else {
            return false;
        };
        if !tag.bytes().all(|byte| byte == b'!' || byte > b'"' && byte != 0x7f) {
            return false;
        }
        match after.trim_start().strip_prefix(',') {
            Some(next) => rest = next.trim_start(),
            None => return after.is_empty(),
        }
    }
}

impl<S: Sync> FromRequestParts<S> for IfMatch {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self> {
        condition(&parts.headers).map(Self)
    }
}

#[cfg(test)]
mod tests {
    use http::header::{IF_MATCH, IF_NONE_MATCH};

    use super::*;

    fn check(value: Option<&'static str>) -> Result<()> {
        let headers = HeaderMap::from_iter(value.map(|value| (IF_MATCH, HeaderValue::from_static(value))));
        IfMatch(condition(&headers)?).check(7)
    }

    #[test]
    fn only_the_same_strong_tag_passes() {
        for passes in [None, Some("*"), Some("\"7\""), Some("\"6\", \"7\"")] {
            assert!(check(passes).is_ok(), "{passes:?}");
        }
        for fails in ["\"6\"", "W/\"7\"", "\"77\"", "\"\"", "\"6\", \"8\""] {
            assert_eq!(check(Some(fails)).unwrap_err().code(), ErrorCode::PreconditionFailed, "{fails}");
        }
    }

    #[test]
    fn an_answer_that_the_client_has_is_found_by_weak_comparison() {
        let (strong, weak) = (HeaderValue::from_static("\"7\""), HeaderValue::from_static("W/\"7\""));
        for (value, has) in [
            (None, false),
            (Some("*"), true),
            (Some("\"7\""), true),
            (Some("W/\"7\""), true),
            (Some("\"a,b\" , W/\"7\""), true),
            (Some("\"77\", W/\"8\""), false),
            (Some("\"\""), false),
        ] {
            let headers = HeaderMap::from_iter(value.map(|value| (IF_NONE_MATCH, HeaderValue::from_static(value))));
            let known = IfNoneMatch::of(&headers).unwrap();
            assert_eq!([known.has(&strong), known.has(&weak)], [has, has], "{value:?}");
        }
        for invalid in ["7", "", "\"7", "*, \"7\"", "w/\"7\"", "\"7\" \"8\""] {
            let headers = HeaderMap::from_iter([(IF_NONE_MATCH, HeaderValue::from_static(invalid))]);
            assert_eq!(IfNoneMatch::of(&headers).unwrap_err().code(), ErrorCode::InvalidRequest, "{invalid}");
        }
    }

    #[test]
    fn equal_bodies_have_equal_tags() {
        let tag = etag_of(b"{}");
        assert_eq!(tag, etag_of(b"{}"));
        assert_ne!(tag, etag_of(b"{ }"));
        assert!(tag.to_str().unwrap().starts_with("W/\""));
    }
}
