//! The two forms of errors that clients read: the envelope, and the problem details of RFC 9457.

use axum::response::{IntoResponse, Response};
use http::HeaderMap;
use http::header::{ACCEPT, CONTENT_TYPE};
use serde::Serialize;
use utoipa::openapi::schema::{Object, ObjectBuilder, Type};

use crate::accept::accepts;
use crate::error::{Detail, Error, ErrorCode};
use crate::id::RequestId;

/// The body of every response whose status is not 2xx.
#[derive(Serialize, utoipa::ToSchema)]
#[schema(examples(
    json!({"error": {
        "code": "invalid_ref",
        "message": "Branch 'feature-x' not found",
        "request_id": "req_k3vyq2w7x5m4n6pa",
        "doc_url": "/docs/errors/invalid_ref",
    }}),
    json!({"error": {
        "code": "build_minutes_exhausted",
        "message": "The account has used its 2000 build minutes of this month; the next month begins at 2025-01-01T00:00:00Z",
        "request_id": "req_k3vyq2w7x5m4n6pa",
        "doc_url": "/docs/errors/build_minutes_exhausted",
    }}),
))]
pub struct ErrorEnvelope<'a> {
    pub(crate) error: ErrorBody<'a>,
}

/// The reason why a request was refused or failed.
#[derive(Serialize, utoipa::ToSchema)]
pub struct ErrorBody<'a> {
    #[schema(schema_with = code)]
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

/// The body of every response whose status is not 2xx, for clients that accept `application/problem+json` (RFC 9457).
#[derive(Serialize, utoipa::ToSchema)]
pub struct Problem<'a> {
    /// The page that explains the code, as a path on the host that answered.
    #[schema(examples("/docs/errors/invalid_ref"))]
    pub(crate) r#type: String,
    /// The meaning of the code, which is the same for every error with the code.
    #[schema(examples("The ref does not exist in the repository"))]
    pub(crate) title: &'a str,
    /// The status of the response.
    #[schema(examples(400))]
    pub(crate) status: u16,
    /// A human-readable explanation. Its wording may change.
    #[schema(examples("Branch 'feature-x' not found"))]
    pub(crate) detail: &'a str,
    #[schema(schema_with = code)]
    pub(crate) code: &'a str,
    /// The value of `X-Request-Id`.
    pub(crate) request_id: &'a RequestId,
    /// The invalid parameters and fields, if any.
    #[serde(skip_serializing_if = "<[Detail]>::is_empty")]
    pub(crate) details: &'a [Detail],
}

/// Returns the schema of an error's code.
fn code() -> Object {
    let row = |code: ErrorCode| format!("- `{}` ({}): {}", code.as_str(), code.status().as_u16(), code.meaning());
    ObjectBuilder::new()
        .schema_type(Type::String)
        .description(Some(ErrorCode::ALL.map(row).join("\n")))
        .enum_values(Some(ErrorCode::ALL.map(ErrorCode::as_str)))
        .examples([ErrorCode::InvalidRef.as_str()])
        .build()
}

/// The form in which a client gets errors.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ErrorFormat {
    Envelope,
    Problem,
}

impl ErrorFormat {
    const PROBLEM: &str = "application/problem+json";

    /// Returns the form that the client accepts. Accepting JSON too asks for JSON on success, and for problem details otherwise.
    pub(crate) fn of(headers: &HeaderMap) -> Self {
        if accepts(headers, ACCEPT, Self::PROBLEM) { Self::Problem } else { Self::Envelope }
    }

    fn body(self, error: &Error, request_id: &RequestId) -> Response {
        let (code, message, details) = (error.code().as_str(), error.message(), error.details());
        // The documentation has the origin of the API, so that functions need no setting for a path on it.
        let doc_url = format!("/docs/errors/{code}");
        match self {
            Self::Envelope => {
                axum::Json(ErrorEnvelope { error: ErrorBody { code, message, request_id, doc_url, details } })
                    .into_response()
            }
            Self::Problem => {
                let (title, status) = (error.code().meaning(), error.code().status().as_u16());
                let problem = Problem { r#type: doc_url, title, status, detail: message, code, request_id, details };
                ([(CONTENT_TYPE, Self::PROBLEM)], axum::Json(problem)).into_response()
            }
        }
    }
}

/// Writes the error into a response that carries an [`Error`]. A failure without one becomes `internal_error`.
pub(crate) fn into_envelope(
    mut response: Response,
    format: ErrorFormat,
    request_id: &RequestId,
) -> (Response, Option<Error>) {
    let error = match response.extensions_mut().remove::<Error>() {
        Some(error) => error,
        None if response.status().is_success() || response.status().is_redirection() => return (response, None),
        None => Error::internal(format!("a {} without an error", response.status())),
    };
    let mut response = (error.code().status(), format.body(&error, request_id)).into_response();
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
        let (response, error) = into_envelope(response, ErrorFormat::Envelope, &RequestId::random());
        assert_eq!(response.status(), StatusCode::INTERNAL_SERVER_ERROR);
        assert_eq!(error.unwrap().cause_chain().unwrap(), "password=hunter2");
        let body =
            futures_util::FutureExt::now_or_never(axum::body::to_bytes(response.into_body(), 1024)).unwrap().unwrap();
        assert!(!std::str::from_utf8(&body).unwrap().contains("hunter2"));
    }
}
