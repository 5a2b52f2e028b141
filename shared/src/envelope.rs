//! The envelope of errors, which clients read.

use axum::response::{IntoResponse, Response};
use serde::Serialize;

use crate::error::{Detail, Error};
use crate::id::RequestId;

/// The body of every response whose status is not 2xx.
#[derive(Serialize, utoipa::ToSchema)]
pub struct ErrorEnvelope<'a> {
    pub(crate) error: ErrorBody<'a>,
}

/// The reason why a request was refused or failed.
#[derive(Serialize, utoipa::ToSchema)]
pub struct ErrorBody<'a> {
    /// A stable name for programs to compare.
    #[schema(examples("invalid_ref"))]
    pub(crate) code: &'a str,
    /// A human-readable explanation. Its wording may change.
    #[schema(examples("Branch 'feature-x' not found"))]
    pub(crate) message: &'a str,
    /// The value of `X-Request-Id`.
    pub(crate) request_id: &'a RequestId,
    /// The page that explains the code, as a path on the host that answered.
    #[schema(examples("/docs/errors/invalid_ref"))]
    pub(crate) doc_url: String,
    /// The invalid parameters and fields, if any.
    #[serde(skip_serializing_if = "<[Detail]>::is_empty")]
    pub(crate) details: &'a [Detail],
}

/// Writes the envelope into a response that carries an [`Error`]. A failure without one becomes `internal_error`.
pub(crate) fn into_envelope(mut response: Response, request_id: &RequestId) -> (Response, Option<Error>) {
    let error = match response.extensions_mut().remove::<Error>() {
        Some(error) => error,
        None if response.status().is_success() || response.status().is_redirection() => return (response, None),
        None => Error::internal(format!("a {} without an error", response.status())),
    };
    let envelope = ErrorEnvelope {
        error: ErrorBody {
            code: error.code().as_str(),
            message: error.message(),
            request_id,
            // The documentation has the origin of the API, so that functions need no setting for a path on it.
            doc_url: format!("/docs/errors/{}", error.code().as_str()),
            details: error.details(),
        },
    };
    let mut response = (error.code().status(), axum::Json(envelope)).into_response();
    response.headers_mut().extend(error.headers().iter().cloned());
    (response, Some(error))
}

#[cfg(test)]
mod tests {
    use http::StatusCode;

    use super::*;

    #[test]
    fn the_cause_stays_inside() {
        let secret = std::io::Error::other("password=hunter2");
        let response = Error::internal(secret).into_response();
        let (response, error) = into_envelope(response, &RequestId::random());
        assert_eq!(response.status(), StatusCode::INTERNAL_SERVER_ERROR);
        assert_eq!(error.unwrap().cause_chain().unwrap(), "password=hunter2");
        let body =
            futures_util::FutureExt::now_or_never(axum::body::to_bytes(response.into_body(), 1024)).unwrap().unwrap();
        assert!(!std::str::from_utf8(&body).unwrap().contains("hunter2"));
    }
}
