//! Strong ETags from revisions, and `If-Match` (RFC 9110, sections 8.8.3 and 13.1.1).

use axum::Json;
use axum::extract::FromRequestParts;
use axum::response::{IntoResponse, Response};
use headers::{ETag, HeaderMapExt};
use http::header::{ETAG, IF_MATCH};
use http::request::Parts;
use serde::Serialize;

use crate::error::{Error, ErrorCode, Result};

/// The ETag of a resource at a revision.
fn etag(revision: u64) -> String {
    format!("\"{revision}\"")
}

/// A resource's body, with the ETag of its revision.
#[derive(Clone, Copy, Debug)]
pub struct Revised<T>(pub u64, pub T);

impl<T: Serialize> IntoResponse for Revised<T> {
    fn into_response(self) -> Response {
        ([(ETAG, etag(self.0))], Json(self.1)).into_response()
    }
}

/// What the client takes the resource to be. Without the header it is anything.
#[derive(Clone, Debug)]
pub struct IfMatch(Option<headers::IfMatch>);

impl IfMatch {
    /// # Errors
    /// `precondition_failed` when the resource is at another revision.
    pub fn check(&self, revision: u64) -> Result<()> {
        let now = etag(revision);
        let now: ETag = now.parse().expect("a number in quotes is an ETag");
        match &self.0 {
            Some(expected) if !expected.precondition_passes(&now) => Err(Error::new(
                ErrorCode::PreconditionFailed,
                "The resource has changed since the ETag in If-Match was given out",
            )),
            _ => Ok(()),
        }
    }
}

impl<S: Sync> FromRequestParts<S> for IfMatch {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self> {
        let expected = parts.headers.typed_try_get().map_err(|_| Error::invalid(IF_MATCH.as_str(), "must be ETags"))?;
        Ok(Self(expected))
    }
}

impl utoipa::IntoParams for IfMatch {
    fn into_params(
        _: impl Fn() -> Option<utoipa::openapi::path::ParameterIn>,
    ) -> Vec<utoipa::openapi::path::Parameter> {
        use utoipa::openapi::path::{ParameterBuilder, ParameterIn};
        use utoipa::openapi::{ObjectBuilder, Required, Type};
        let schema = ObjectBuilder::new().schema_type(Type::String).build();
        let parameter = ParameterBuilder::new()
            .name("If-Match")
            .parameter_in(ParameterIn::Header)
            .required(Required::False)
            .description(Some("The ETag that the resource must still have, or several, or `*`."))
            .schema(Some(schema));
        vec![parameter.build()]
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
