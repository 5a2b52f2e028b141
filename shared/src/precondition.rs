//! ETags, `If-Match` and `If-None-Match` (RFC 9110, sections 8.8.3, 13.1.1 and 13.1.2).
//!
//! A resource that clients can change has a strong ETag: the version of what they can change, a dot, and the digest of the answer.
//! `If-None-Match` compares all of it. `If-Match` compares the version, in the write that it is a condition of. So a
//! deployment that starts refuses no change of its environment's settings, and another change of the settings does.
//!
//! Every other answer to a read has a weak ETag, so that `If-Match` never accepts it, and that an encoding of the same answer may
//! keep it.

use std::fmt;

use axum::extract::FromRequestParts;
use axum::response::{IntoResponse, Response};
use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use headers::{ETag, HeaderMapExt};
use http::header::{CONTENT_TYPE, ETAG, IF_MATCH, IF_NONE_MATCH};
use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue};
use serde::Serialize;
use sha2::{Digest, Sha256};

use crate::error::{Error, ErrorCode, Result};
use crate::route::{Etag, Route};

/// A resource's version and body. The version is one that no other resource at the same path has had.
#[derive(Clone, Copy, Debug)]
pub struct Versioned<V, T>(pub V, pub T);

impl<V: fmt::Display, T: Serialize> IntoResponse for Versioned<V, T> {
    fn into_response(self) -> Response {
        let Self(version, body) = self;
        match serde_json::to_vec(&body) {
            Ok(body) => {
                let etag = HeaderValue::try_from(format!("\"{version}.{}\"", digest(&body)));
                let etag = etag.expect("versions are ASCII");
                ([(CONTENT_TYPE, HeaderValue::from_static("application/json")), (ETAG, etag)], body).into_response()
            }
            Err(error) => Error::internal(error).into_response(),
        }
    }
}

/// The versions that a change accepts.
#[derive(Clone, Debug)]
pub struct IfMatch(Accepted);

#[derive(Clone, Debug)]
enum Accepted {
    /// All versions: the request has no condition, or `*`.
    Any,
    /// The versions of the strong ETags in the condition.
    Only(Vec<String>),
}

impl IfMatch {
    /// # Errors
    /// Fails with `invalid_request` if the header is neither `*` nor a list of ETags.
    fn of(headers: &HeaderMap) -> Result<Self> {
        let mut versions = Vec::new();
        for value in headers.get_all(IF_MATCH) {
            match Tags::parse(value.as_bytes()).ok_or_else(|| not_tags(&IF_MATCH))? {
                Tags::Any => return Ok(Self(Accepted::Any)),
                Tags::Listed(tags) => versions.extend(tags.into_iter().filter_map(version).map(str::to_owned)),
            }
        }
        let accepted = if headers.contains_key(IF_MATCH) { Accepted::Only(versions) } else { Accepted::Any };
        Ok(Self(accepted))
    }

    /// Compares the resource's version with those in the condition.
    ///
    /// # Errors
    /// Fails with `precondition_failed` if it is none of them.
    pub fn check(&self, version: impl fmt::Display) -> Result<()> {
        let version = version.to_string();
        match &self.0 {
            Accepted::Only(versions) if !versions.contains(&version) => {
                Err(failed("The resource no longer has the ETag in If-Match; read it again and repeat the change"))
            }
            _ => Ok(()),
        }
    }
}

/// Checks the condition of a change whose resource has no ETag. The handlers of the others check theirs.
///
/// # Errors
/// Fails with `precondition_failed` unless the condition is absent or `*`.
pub(crate) fn refuse_unmatched(route: &Route, headers: &HeaderMap) -> Result<()> {
    if !route.takes_if_match() || route.etag == Etag::Compared {
        return Ok(());
    }
    match IfMatch::of(headers)?.0 {
        Accepted::Any => Ok(()),
        Accepted::Only(_) => Err(failed("The resource has no ETag; send `*` in If-Match, or no If-Match")),
    }
}

fn failed(message: &'static str) -> Error {
    Error::new(ErrorCode::PreconditionFailed, message)
}

/// Returns the version in a strong ETag, if it is one of [`Versioned`].
fn version(tag: &str) -> Option<&str> {
    let opaque = tag.strip_prefix('"')?.strip_suffix('"')?;
    opaque.rsplit_once('.').map(|(version, _)| version)
}

/// Returns the digest of a body, cut to 128 bits.
fn digest(body: &[u8]) -> String {
    BASE64_URL_SAFE_NO_PAD.encode(&Sha256::digest(body)[..16])
}

/// Returns the weak ETag of a body.
pub(crate) fn etag_of(body: &[u8]) -> HeaderValue {
    HeaderValue::try_from(format!("W/\"{}\"", digest(body))).expect("base64 is ASCII")
}

/// The answers that the client has already. Without the header it has none.
#[derive(Debug)]
pub(crate) struct IfNoneMatch(Option<headers::IfNoneMatch>);

impl IfNoneMatch {
    /// # Errors
    /// Fails with `invalid_request` if the header is neither `*` nor a list of ETags.
    pub(crate) fn of(headers: &HeaderMap) -> Result<Self> {
        if headers.get_all(IF_NONE_MATCH).iter().any(|value| Tags::parse(value.as_bytes()).is_none()) {
            return Err(not_tags(&IF_NONE_MATCH));
        }
        headers.typed_try_get().map(Self).map_err(|_| not_tags(&IF_NONE_MATCH))
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

fn not_tags(name: &HeaderName) -> Error {
    Error::invalid(name.as_str(), "must be `*` or a list of ETags")
}

/// The content of a condition. The `headers` crate takes any text.
enum Tags<'a> {
    Any,
    /// The tags with their quotes and marks of weakness, at least one.
    Listed(Vec<&'a str>),
}

impl<'a> Tags<'a> {
    /// Returns `None` if the value is neither `*` nor a list of ETags.
    fn parse(value: &'a [u8]) -> Option<Self> {
        let mut rest = std::str::from_utf8(value).ok()?.trim();
        if rest == "*" {
            return Some(Self::Any);
        }
        let mut tags = Vec::new();
        loop {
            let (opaque, after) = rest.strip_prefix("W/").unwrap_or(rest).strip_prefix('"')?.split_once('"')?;
            if !opaque.bytes().all(|byte| byte == b'!' || byte > b'"' && byte != 0x7f) {
                return None;
            }
            tags.push(&rest[..rest.len() - after.len()]);
            match after.trim_start().strip_prefix(',') {
                Some(next) => rest = next.trim_start(),
                None => return after.is_empty().then_some(Self::Listed(tags)),
            }
        }
    }
}

impl<S: Sync> FromRequestParts<S> for IfMatch {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self> {
        Self::of(&parts.headers)
    }
}

#[cfg(test)]
mod tests {
    use http::header::IF_NONE_MATCH;

    use super::*;

    fn check(value: Option<&'static str>) -> Result<()> {
        let headers = HeaderMap::from_iter(value.map(|value| (IF_MATCH, HeaderValue::from_static(value))));
        IfMatch::of(&headers)?.check(7)
    }

    #[test]
    fn only_the_version_of_a_strong_tag_passes() {
        for passes in [None, Some("*"), Some("\"7.a\""), Some("\"7.b\""), Some("\"6.a\", \"7.a\"")] {
            assert!(check(passes).is_ok(), "{passes:?}");
        }
        for fails in ["\"6.a\"", "W/\"7.a\"", "\"77.a\"", "\"\"", "\"7\"", "\"a.7\"", "\"6.a\", \"8.a\""] {
            assert_eq!(check(Some(fails)).unwrap_err().code(), ErrorCode::PreconditionFailed, "{fails}");
        }
        for invalid in ["7.a", "", "\"7.a", "*, \"7.a\"", "w/\"7.a\"", "\"7.a\" \"8.a\""] {
            assert_eq!(check(Some(invalid)).unwrap_err().code(), ErrorCode::InvalidRequest, "{invalid}");
        }
    }

    #[test]
    fn each_header_of_a_condition_counts() {
        let headers: HeaderMap =
            ["\"6.a\"", "\"7.a\""].map(|tag| (IF_MATCH, HeaderValue::from_static(tag))).into_iter().collect();
        assert!(IfMatch::of(&headers).unwrap().check(7).is_ok());
    }

    #[test]
    fn the_version_and_the_body_make_the_tag() {
        let tag = |version: u64, body: &str| Versioned(version, body).into_response().headers()[ETAG].clone();
        assert_eq!(tag(1, "a"), tag(1, "a"));
        assert!(tag(1, "a") != tag(2, "a") && tag(1, "a") != tag(1, "b"));
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
