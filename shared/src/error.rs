//! The one error and the one envelope.

use std::borrow::Cow;
use std::error::Error as StdError;
use std::sync::Arc;

use axum::response::{IntoResponse, Response};
use http::{HeaderValue, StatusCode, header};
use serde::Serialize;

use crate::id::RequestId;
use crate::telemetry;

/// Everything that the API can refuse or fail with. The name in snake_case is the `code` in the envelope.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErrorCode {
    InvalidRequest,
    InvalidJson,
    InvalidCursor,
    InvalidRef,
    InvalidCloneUrl,
    MissingToken,
    InvalidToken,
    TokenExpired,
    TokenRevoked,
    TokenRotated,
    InsufficientScope,
    InsufficientPermission,
    NotLinked,
    NotFound,
    MethodNotAllowed,
    NameTaken,
    EmailTaken,
    LastOwner,
    LimitReached,
    AlreadyFinished,
    NotFinished,
    EnvironmentFrozen,
    StaleRequest,
    IdempotencyKeyInUse,
    NothingToRollBack,
    NotAwaitingApproval,
    SelfApproval,
    ShaMismatch,
    InvitationExpired,
    PreconditionFailed,
    BodyTooLarge,
    UnsupportedMediaType,
    IdempotencyKeyReused,
    RateLimited,
    InternalError,
    RemoteUnavailable,
    ServiceUnavailable,
}

impl ErrorCode {
    /// Every code, in the order of their statuses. The OpenAPI document lists them from here.
    pub const ALL: [ErrorCode; 37] = [
        Self::InvalidRequest,
        Self::InvalidJson,
        Self::InvalidCursor,
        Self::InvalidRef,
        Self::InvalidCloneUrl,
        Self::MissingToken,
        Self::InvalidToken,
        Self::TokenExpired,
        Self::TokenRevoked,
        Self::TokenRotated,
        Self::InsufficientScope,
        Self::InsufficientPermission,
        Self::NotLinked,
        Self::NotFound,
        Self::MethodNotAllowed,
        Self::NameTaken,
        Self::EmailTaken,
        Self::LastOwner,
        Self::LimitReached,
        Self::AlreadyFinished,
        Self::NotFinished,
        Self::EnvironmentFrozen,
        Self::StaleRequest,
        Self::IdempotencyKeyInUse,
        Self::NothingToRollBack,
        Self::NotAwaitingApproval,
        Self::SelfApproval,
        Self::ShaMismatch,
        Self::InvitationExpired,
        Self::PreconditionFailed,
        Self::BodyTooLarge,
        Self::UnsupportedMediaType,
        Self::IdempotencyKeyReused,
        Self::RateLimited,
        Self::InternalError,
        Self::RemoteUnavailable,
        Self::ServiceUnavailable,
    ];

    pub const fn status(self) -> StatusCode {
        self.row().0
    }

    pub const fn as_str(self) -> &'static str {
        self.row().1
    }

    /// When a client meets this code, for the documentation.
    pub const fn meaning(self) -> &'static str {
        self.row().2
    }

    const fn row(self) -> (StatusCode, &'static str, &'static str) {
        use StatusCode as S;
        match self {
            Self::InvalidRequest => {
                (S::BAD_REQUEST, "invalid_request", "A parameter or body field is invalid; `details` names each")
            }
            Self::InvalidJson => (S::BAD_REQUEST, "invalid_json", "The body is not JSON in UTF-8"),
            Self::InvalidCursor => (
                S::BAD_REQUEST,
                "invalid_cursor",
                "The cursor was not made for this list; take it from a `Link` header",
            ),
            Self::InvalidRef => {
                (S::BAD_REQUEST, "invalid_ref", "The branch, tag or commit does not exist in the repository")
            }
            Self::InvalidCloneUrl => (
                S::BAD_REQUEST,
                "invalid_clone_url",
                "The clone URL is not allowed or is not a readable git repository",
            ),
            Self::MissingToken => (S::UNAUTHORIZED, "missing_token", "The request has no bearer token"),
            Self::InvalidToken => (S::UNAUTHORIZED, "invalid_token", "The token is malformed or unknown"),
            Self::TokenExpired => (S::UNAUTHORIZED, "token_expired", "The token has expired"),
            Self::TokenRevoked => (S::UNAUTHORIZED, "token_revoked", "The token was revoked"),
            Self::TokenRotated => {
                (S::UNAUTHORIZED, "token_rotated", "A rotation has replaced the token, and its overlap is over")
            }
            Self::InsufficientScope => {
                (S::FORBIDDEN, "insufficient_scope", "The token lacks the scope that the endpoint needs")
            }
            Self::InsufficientPermission => (
                S::FORBIDDEN,
                "insufficient_permission",
                "The caller may see the resource, but their role or permission is not enough for this",
            ),
            Self::NotLinked => (
                S::FORBIDDEN,
                "not_linked",
                "The OAuth2 token is valid, but its subject is no user and no application of an account",
            ),
            Self::SelfApproval => (S::CONFLICT, "self_approval", "Who created a deployment can't approve it"),
            Self::NotFound => (S::NOT_FOUND, "not_found", "The resource does not exist, or the token may not see it"),
            Self::MethodNotAllowed => {
                (S::METHOD_NOT_ALLOWED, "method_not_allowed", "The path exists with other methods; `Allow` lists them")
            }
            Self::NameTaken => (S::CONFLICT, "name_taken", "The account already has a resource of that name"),
            Self::EmailTaken => {
                (S::CONFLICT, "email_taken", "Somebody with this email address is in the account, or is invited to it")
            }
            Self::LastOwner => (S::CONFLICT, "last_owner", "An account keeps at least one owner"),
            Self::LimitReached => {
                (S::CONFLICT, "limit_reached", "There are as many as there can be; the message says of what")
            }
            Self::InvitationExpired => (S::GONE, "invitation_expired", "The invitation has expired; ask for another"),
            Self::PreconditionFailed => (
                S::PRECONDITION_FAILED,
                "precondition_failed",
                "The resource is not as `If-Match` has it: read it again, and change that",
            ),
            Self::AlreadyFinished => (S::CONFLICT, "already_finished", "The deployment has ended"),
            Self::NotFinished => (S::CONFLICT, "not_finished", "The deployment has not ended yet"),
            Self::EnvironmentFrozen => (S::CONFLICT, "environment_frozen", "The environment is frozen"),
            Self::StaleRequest => (
                S::CONFLICT,
                "stale_request",
                "`expected_current` is not live, or `sequence` is not above the last; the message names who came before",
            ),
            Self::IdempotencyKeyInUse => (
                S::CONFLICT,
                "idempotency_key_in_use",
                "A request with this `Idempotency-Key` is being worked on; retry after `Retry-After` seconds",
            ),
            Self::NothingToRollBack => {
                (S::CONFLICT, "nothing_to_roll_back", "No other deployment to the environment has succeeded before")
            }
            Self::NotAwaitingApproval => {
                (S::CONFLICT, "not_awaiting_approval", "The deployment does not wait for an approval")
            }
            Self::ShaMismatch => (S::CONFLICT, "sha_mismatch", "The deployment is of another commit than the approval"),
            Self::BodyTooLarge => (S::PAYLOAD_TOO_LARGE, "body_too_large", "The body is larger than 256 KiB"),
            Self::UnsupportedMediaType => {
                (S::UNSUPPORTED_MEDIA_TYPE, "unsupported_media_type", "The body's content type is not application/json")
            }
            Self::IdempotencyKeyReused => (
                S::UNPROCESSABLE_ENTITY,
                "idempotency_key_reused",
                "Another request had this `Idempotency-Key` in the last 24 hours",
            ),
            Self::RateLimited => (
                S::TOO_MANY_REQUESTS,
                "rate_limited",
                "The plan's rate limit is used up; retry after `Retry-After` seconds",
            ),
            Self::InternalError => {
                (S::INTERNAL_SERVER_ERROR, "internal_error", "An unexpected failure; quote the request id to support")
            }
            Self::RemoteUnavailable => {
                (S::SERVICE_UNAVAILABLE, "remote_unavailable", "The repository's git host did not answer; try again")
            }
            Self::ServiceUnavailable => (
                S::SERVICE_UNAVAILABLE,
                "service_unavailable",
                "A service that the request depends on failed; try again",
            ),
        }
    }
}

/// One invalid parameter or body field.
#[derive(Clone, Debug, Serialize, PartialEq, Eq, utoipa::ToSchema)]
pub struct Detail {
    /// The parameter's name, or the path of the field in the body.
    pub field: String,
    pub message: String,
}

/// A refusal or failure. `message` and `details` go to the client; the cause only goes to the log.
#[derive(Clone, Debug)]
pub struct Error {
    code: ErrorCode,
    message: Cow<'static, str>,
    details: Vec<Detail>,
    headers: Vec<(header::HeaderName, HeaderValue)>,
    cause: Option<Arc<dyn StdError + Send + Sync>>,
}

pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    pub fn new(code: ErrorCode, message: impl Into<Cow<'static, str>>) -> Self {
        Self { code, message: message.into(), details: Vec::new(), headers: Vec::new(), cause: None }
    }

    /// One invalid parameter or field.
    pub fn invalid(field: impl Into<String>, message: impl Into<String>) -> Self {
        Self::invalid_fields(vec![Detail { field: field.into(), message: message.into() }])
    }

    pub fn invalid_fields(details: Vec<Detail>) -> Self {
        let message = match details.as_slice() {
            [one] => format!("{} {}", one.field, one.message),
            many => format!("{} fields are invalid", many.len()),
        };
        Self { details, ..Self::new(ErrorCode::InvalidRequest, message) }
    }

    /// `what` starts the sentence: "Repository", "Deployment".
    pub fn not_found(what: &str) -> Self {
        Self::new(ErrorCode::NotFound, format!("{what} not found"))
    }

    /// For what the caller may see but not do, whatever the token's scopes are.
    pub fn not_permitted(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(ErrorCode::InsufficientPermission, message)
    }

    /// A failure of ours. The client learns nothing but the request id.
    pub fn internal(cause: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        Self::new(ErrorCode::InternalError, "Internal server error").because(cause)
    }

    /// The same request is being worked on, or was until now.
    pub fn in_flight() -> Self {
        Self::new(ErrorCode::IdempotencyKeyInUse, "A request with this Idempotency-Key is being worked on")
            .retry_after(1)
    }

    /// Keeps what went wrong inside for the log.
    pub fn because(mut self, cause: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        self.cause = Some(Arc::from(cause.into()));
        self
    }

    pub fn with_header(mut self, name: header::HeaderName, value: HeaderValue) -> Self {
        self.headers.push((name, value));
        self
    }

    /// For a failure that passes: tells the client how many seconds to wait.
    pub fn retry_after(self, seconds: u64) -> Self {
        self.with_header(header::RETRY_AFTER, HeaderValue::from(seconds))
    }

    pub fn code(&self) -> ErrorCode {
        self.code
    }

    /// What the client is told.
    pub fn message(&self) -> &str {
        &self.message
    }

    /// The cause and what caused that, for the log.
    pub(crate) fn cause_chain(&self) -> Option<String> {
        self.cause.as_deref().map(|cause| telemetry::chain(cause))
    }
}

/// The body of every response that is not a success.
#[derive(Serialize, utoipa::ToSchema)]
pub struct ErrorEnvelope<'a> {
    pub error: ErrorBody<'a>,
}

#[derive(Serialize, utoipa::ToSchema)]
pub struct ErrorBody<'a> {
    /// A stable name to program against.
    #[schema(examples("invalid_ref"))]
    pub code: &'a str,
    /// A sentence for a person.
    #[schema(examples("Branch 'feature-x' not found"))]
    pub message: &'a str,
    /// The same as `X-Request-Id`.
    pub request_id: &'a RequestId,
    /// Present when parameters or fields are invalid.
    #[serde(skip_serializing_if = "<[Detail]>::is_empty")]
    pub details: &'a [Detail],
}

impl IntoResponse for Error {
    /// A response without a body: the pipeline writes the envelope, because only it knows the request id.
    fn into_response(self) -> Response {
        let mut response = self.code.status().into_response();
        response.extensions_mut().insert(self);
        response
    }
}

/// Turns a response that carries an [`Error`] into the envelope, and any other failure into the one for its status.
pub(crate) fn into_envelope(mut response: Response, request_id: &RequestId) -> (Response, Option<Error>) {
    let error = match response.extensions_mut().remove::<Error>() {
        Some(error) => error,
        None if response.status().is_success() || response.status().is_redirection() => return (response, None),
        None => Error::internal(format!("a {} without an error", response.status())),
    };
    let envelope = ErrorEnvelope {
        error: ErrorBody { code: error.code.as_str(), message: &error.message, request_id, details: &error.details },
    };
    let mut response = (error.code.status(), axum::Json(envelope)).into_response();
    response.headers_mut().extend(error.headers.iter().cloned());
    (response, Some(error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_is_listed_once() {
        let mut names = ErrorCode::ALL.map(ErrorCode::as_str).to_vec();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), ErrorCode::ALL.len());
        assert!(ErrorCode::ALL.is_sorted_by_key(|code| code.status().as_u16()));
    }

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
