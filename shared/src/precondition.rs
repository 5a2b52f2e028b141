//! Strong ETags from revisions, and `If-Match` (RFC 9110, sections 8.8.3 and 13.1.1).

use axum::Json;
use axum::extract::FromRequestParts;
use axum::response::{IntoResponse, Response};
use headers::{ETag, HeaderMapExt};
use http::header::{ETAG, IF_MATCH};
use http::request::Parts;
use serde::Serialize;

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
        let invalid = || Error::invalid(IF_MATCH.as_str(), "must be `*` or a list of ETags");
        if parts.headers.get_all(IF_MATCH).iter().any(|value| !is_list(value.as_bytes())) {
            return Err(invalid());
        }
        Ok(Self(parts.headers.typed_try_get().map_err(|_| invalid())?))
    }
}

#[cfg(test)]
mod tests {
    use http::{HeaderMap, HeaderValue};

    use super::*;

    fn check(value: Option<&'static str>) -> Result<()> {
        let headers = HeaderMap::from_iter(value.map(|value| (IF_MATCH, HeaderValue::from_static(value))));
        let expected = headers.typed_try_get().map_err(|_| Error::invalid("If-Match", "must be ETags"))?;
        IfMatch(expected).check(7)
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
}
