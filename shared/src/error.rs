//! The error type of the API.

mod invalid;

use std::borrow::Cow;
use std::error::Error as StdError;
use std::sync::Arc;
use std::time::Duration;

use axum::response::{IntoResponse, Response};
use http::{HeaderValue, StatusCode, header};

pub use self::invalid::Detail;
pub(crate) use self::invalid::{MAX_DETAILS, REQUIRED};
use crate::id::RepositoryId;

/// The part of the system that returns an error code. The OpenAPI document derives from it the endpoints that can
/// return the code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// The pipeline, on every endpoint.
    Pipeline,
    /// Authentication, on every endpoint that is not public.
    Authentication,
    /// The check of the token's scopes, on endpoints that require one.
    Scope,
    /// The check of a session's age, on endpoints that require a recent sign-in.
    SignIn,
    /// The check of the caller's role and permission, on endpoints that require more than the minimum.
    Permission,
    /// A resource that the path names.
    Path,
    /// A repository that the path of a read names by a name that it does not have any more.
    FormerName,
    /// The parser of parameters and bodies, on every endpoint: unknown parameters are refused.
    Input,
    /// The parser of bodies.
    Body,
    /// The parser of a list's cursor.
    Cursor,
    /// The comparison with `If-Match`, on endpoints that take it.
    Precondition,
    /// The claim on an idempotency key, on endpoints that take one.
    IdempotencyKey,
    /// A service that the request depends on. A public read depends on none.
    Dependency,
    /// The handler. The route of each endpoint declares its handler's codes.
    Handler,
    /// The fallback of the gateway, which is not in the document.
    Fallback,
}

/// Declares every code with its status, its name in the envelope, its origin and its meaning.
macro_rules! error_codes {
    ($($code:ident = $status:ident $name:literal by $origin:ident: $meaning:literal;)+) => {
        /// A reason for which the API refuses a request or fails.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum ErrorCode {
            $(#[doc = $meaning] $code),+
        }

        impl ErrorCode {
            /// Every code, in the order of their statuses.
            pub const ALL: [ErrorCode; [$($name),+].len()] = [$(Self::$code),+];

            /// Returns the HTTP status of every response with the code.
            pub const fn status(self) -> StatusCode {
                match self {
                    $(Self::$code => StatusCode::$status),+
                }
            }

            /// Returns the `code` in the envelope.
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$code => $name),+
                }
            }

            /// Returns the part of the system that returns the code.
            pub const fn origin(self) -> Origin {
                match self {
                    $(Self::$code => Origin::$origin),+
                }
            }

            /// Returns the explanation of the code in the documentation.
            pub const fn meaning(self) -> &'static str {
                match self {
                    $(Self::$code => $meaning),+
                }
            }
        }
    };
}

error_codes! {
    MovedPermanently = MOVED_PERMANENTLY "moved_permanently" by FormerName:
        "The repository has another name now; `Location` has its URL, which stays when the name changes again";
    InvalidRequest = BAD_REQUEST "invalid_request" by Input:
        "A parameter or a body field is invalid; `details` lists each one";
    InvalidJson = BAD_REQUEST "invalid_json" by Body:
        "The body is not valid JSON in UTF-8";
    InvalidCursor = BAD_REQUEST "invalid_cursor" by Cursor:
        "The cursor belongs to another list or order; take cursors from the `Link` header";
    InvalidRef = BAD_REQUEST "invalid_ref" by Handler:
        "The repository has no such branch, tag or commit";
    InvalidCloneUrl = BAD_REQUEST "invalid_clone_url" by Handler:
        "The clone URL is not allowed, or does not lead to a readable git repository";
    InvalidGrant = BAD_REQUEST "invalid_grant" by Handler:
        "The subject token is not valid, does not satisfy the trust, or was exchanged before; see `message`";
    MissingToken = UNAUTHORIZED "missing_token" by Authentication:
        "The request has no bearer token";
    InvalidToken = UNAUTHORIZED "invalid_token" by Authentication:
        "The token is malformed or unknown";
    TokenExpired = UNAUTHORIZED "token_expired" by Authentication:
        "The token has expired";
    TokenRevoked = UNAUTHORIZED "token_revoked" by Authentication:
        "The token has been revoked";
    TokenRotated = UNAUTHORIZED "token_rotated" by Authentication:
        "The token has been rotated, and the overlap is over; use the new secret";
    InsufficientScope = FORBIDDEN "insufficient_scope" by Scope:
        "The token lacks the scope that the endpoint requires";
    InsufficientPermission = FORBIDDEN "insufficient_permission" by Permission:
        "The caller can see the resource, but their role or permission does not allow the action";
    NotLinked = FORBIDDEN "not_linked" by Authentication:
        "The OAuth2 token's subject belongs to no account; a person joins one with `POST /v1/user/join`";
    SignInAgain = FORBIDDEN "sign_in_again" by SignIn:
        "The session's sign-in is older than 15 minutes, and the change outlives the session; sign in again and repeat it";
    NotFound = NOT_FOUND "not_found" by Path:
        "The resource does not exist, or the token may not see it";
    MethodNotAllowed = METHOD_NOT_ALLOWED "method_not_allowed" by Fallback:
        "The path does not support the method; `Allow` lists the methods that it supports";
    NameTaken = CONFLICT "name_taken" by Handler:
        "The account or the repository already has a resource with this name";
    EmailTaken = CONFLICT "email_taken" by Handler:
        "A member of the account or a pending invitation already has this email address";
    LastOwner = CONFLICT "last_owner" by Handler:
        "An account must keep at least one owner; make another member an owner first";
    LimitReached = CONFLICT "limit_reached" by Handler:
        "The limit for this resource has been reached; see `message`";
    BuildMinutesExhausted = CONFLICT "build_minutes_exhausted" by Handler:
        "The account has used the build minutes that its plan has for this month; `Retry-After` has the seconds until the next one";
    ConnectionInUse = CONFLICT "connection_in_use" by Handler:
        "Repositories use the connection; `message` names them";
    AlreadyFinished = CONFLICT "already_finished" by Handler:
        "The deployment has ended";
    NotFinished = CONFLICT "not_finished" by Handler:
        "The deployment has not ended yet; ask again after `Retry-After` seconds";
    EnvironmentFrozen = CONFLICT "environment_frozen" by Handler:
        "The environment is frozen. If a freeze window is open, `message` has its end, and `Retry-After` the seconds until then";
    RefNotAllowed = CONFLICT "ref_not_allowed" by Handler:
        "The environment takes only some branches and tags, and the commit is known to be on none of them";
    RequirementNotMet = CONFLICT "requirement_not_met" by Handler:
        "The commit has not succeeded in an environment in which it has to succeed first; `message` names it";
    MachineNotAllowed = CONFLICT "machine_not_allowed" by Handler:
        "The operator does not allow the build machine of the environment or its repository any more; `message` names the setting to change";
    EnvironmentInUse = CONFLICT "environment_in_use" by Handler:
        "A deployment to the environment is queued or in progress; ask again after `Retry-After` seconds";
    BuiltInEnvironment = CONFLICT "built_in_environment" by Handler:
        "Each repository has the environment, which can't be deleted";
    WebhookDisabled = CONFLICT "webhook_disabled" by Handler:
        "The webhook is disabled, so nothing is sent to it; enable it first";
    WebhookUnsigned = CONFLICT "webhook_unsigned" by Handler:
        "Messages in the webhook's format are not signed, so the webhook has no secret";
    StaleRequest = CONFLICT "stale_request" by Handler:
        "`expected_current` is not live, or `sequence` is not higher than the last one; `message` names what came first";
    IdempotencyKeyInUse = CONFLICT "idempotency_key_in_use" by IdempotencyKey:
        "Another request with this `Idempotency-Key` is in progress; retry after `Retry-After` seconds";
    ResponseNotKept = CONFLICT "response_not_kept" by IdempotencyKey:
        "The request with this `Idempotency-Key` was carried out, and its response can't be repeated: it was lost, or it can only \
         be repeated to the token or session of the first request. `message` names what the request created or changed";
    NothingToRollBack = CONFLICT "nothing_to_roll_back" by Handler:
        "No earlier deployment to the environment has succeeded";
    NotAwaitingApproval = CONFLICT "not_awaiting_approval" by Handler:
        "The deployment does not wait for an approval";
    SelfApproval = CONFLICT "self_approval" by Handler:
        "A deployment can't be approved by its creator, nor by whoever set up the program or the hook that created it";
    ShaMismatch = CONFLICT "sha_mismatch" by Handler:
        "The commit in the request is not the deployment's commit; read the deployment again";
    ApprovalDigestMismatch = CONFLICT "approval_digest_mismatch" by Handler:
        "The `approval_digest` in the request is not the deployment's; read the deployment again, and decide anew";
    InvitationExpired = GONE "invitation_expired" by Handler:
        "The invitation has expired; ask for a new one";
    PreconditionFailed = PRECONDITION_FAILED "precondition_failed" by Precondition:
        "The resource has changed since the version in `If-Match`, or has no ETag; read it again and repeat the change";
    BodyTooLarge = PAYLOAD_TOO_LARGE "body_too_large" by Body:
        "The body is larger than 256 KiB, or than 1 MiB if it is a delivery to a hook";
    UnsupportedMediaType = UNSUPPORTED_MEDIA_TYPE "unsupported_media_type" by Body:
        "The body's content type is not the one that the endpoint takes, or the body has a content encoding";
    RangeNotSatisfiable = RANGE_NOT_SATISFIABLE "range_not_satisfiable" by Handler:
        "The file has none of the bytes in `Range`; `Content-Range` has its size";
    IdempotencyKeyReused = UNPROCESSABLE_ENTITY "idempotency_key_reused" by IdempotencyKey:
        "A different request used this `Idempotency-Key` in the last 24 hours";
    RateLimited = TOO_MANY_REQUESTS "rate_limited" by Pipeline:
        "The plan's rate limit is exhausted; retry after `Retry-After` seconds";
    InternalError = INTERNAL_SERVER_ERROR "internal_error" by Pipeline:
        "The API failed unexpectedly; quote the request ID to support";
    RemoteUnavailable = SERVICE_UNAVAILABLE "remote_unavailable" by Handler:
        "A host that a user named did not answer: the git host of a repository, or the issuer of a trust; retry after `Retry-After` seconds";
    ServiceUnavailable = SERVICE_UNAVAILABLE "service_unavailable" by Dependency:
        "A service that the request depends on failed; retry after `Retry-After` seconds";
}

impl ErrorCode {
    /// Returns the seconds until a retry can succeed, for a code that ends by itself. They stand unless the error tells more exactly.
    const fn wait(self) -> Option<u64> {
        match self {
            Self::RateLimited | Self::ServiceUnavailable => Some(1),
            Self::RemoteUnavailable => Some(5),
            Self::IdempotencyKeyInUse | Self::EnvironmentInUse | Self::NotFinished => Some(30),
            Self::BuildMinutesExhausted => Some(60 * 60),
            _ => None,
        }
    }
}

/// A refusal or a failure. The client reads `message` and `details`; only the log has the cause.
#[derive(Clone, Debug)]
pub struct Error {
    code: ErrorCode,
    message: Cow<'static, str>,
    details: Vec<Detail>,
    headers: Vec<(header::HeaderName, HeaderValue)>,
    /// The repository that the request means, if its path has a former name of it.
    renamed: Option<RepositoryId>,
    cause: Option<Arc<dyn StdError + Send + Sync>>,
}

/// A result whose error is the API's, unless another is named.
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    /// Returns an error for the client. `message` says what is wrong and what to do.
    pub fn new(code: ErrorCode, message: impl Into<Cow<'static, str>>) -> Self {
        let message = message.into();
        let error = Self { code, message, details: Vec::new(), headers: Vec::new(), renamed: None, cause: None };
        match code.wait() {
            Some(seconds) => error.retry_after(seconds),
            None => error,
        }
    }

    /// Refuses a request about a resource of a kind, such as "Repository", that does not exist or that the caller may not see.
    pub fn not_found(what: &str) -> Self {
        Self::new(ErrorCode::NotFound, format!("{what} not found"))
    }

    /// Refuses a request about a repository that the caller can see, by a name that it does not have any more. The pipeline
    /// redirects reads.
    pub(crate) fn renamed(id: &RepositoryId, full_name: &str) -> Self {
        let message = format!("The repository was renamed to '{full_name}'; use that name, or its ID {id}");
        Self { renamed: Some(id.clone()), ..Self::new(ErrorCode::NotFound, message) }
    }

    /// Refuses an action on a resource that the caller can see. Another token of the same caller would not allow it
    /// either.
    pub fn not_permitted(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(ErrorCode::InsufficientPermission, message)
    }

    /// Reports a failure of the API itself. The client sees only the request ID.
    pub fn internal(cause: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        Self::new(ErrorCode::InternalError, "Internal server error").because(cause)
    }

    /// Reports that a service that the request depends on failed or did not answer in time.
    pub fn unavailable(cause: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        Self::new(ErrorCode::ServiceUnavailable, "The service is busy; try again").because(cause)
    }

    /// Returns the repository that the request means by a former name.
    pub(crate) fn renamed_repository(&self) -> Option<&RepositoryId> {
        self.renamed.as_ref()
    }

    /// Redirects the request to a path on the same host.
    pub(crate) fn moved_to(self, path: &str) -> Self {
        let location = HeaderValue::try_from(path).expect("an encoded path is ASCII");
        Self { code: ErrorCode::MovedPermanently, ..self }.with_header(header::LOCATION, location)
    }

    /// Adds the cause, for the log.
    pub fn because(mut self, cause: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        self.cause = Some(Arc::from(cause.into()));
        self
    }

    /// Adds a header to the response.
    pub fn with_header(mut self, name: header::HeaderName, value: HeaderValue) -> Self {
        self.headers.push((name, value));
        self
    }

    /// Refuses a request whose `Idempotency-Key` is held by another request, for at most the rest of its lease.
    pub fn in_flight(lease: Duration) -> Self {
        Self::new(
            ErrorCode::IdempotencyKeyInUse,
            "Another request with this Idempotency-Key is in progress; retry it later",
        )
        .retry_after(lease.as_millis().div_ceil(1000).max(1) as u64)
    }

    /// Tells the seconds to wait before a retry, by `Retry-After`.
    pub fn retry_after(mut self, seconds: u64) -> Self {
        self.headers.retain(|(name, _)| name != header::RETRY_AFTER);
        self.with_header(header::RETRY_AFTER, HeaderValue::from(seconds))
    }

    /// Returns the code, which decides the response's status.
    pub fn code(&self) -> ErrorCode {
        self.code
    }

    /// Returns the message for the client.
    pub fn message(&self) -> &str {
        &self.message
    }

    pub(crate) fn headers(&self) -> &[(header::HeaderName, HeaderValue)] {
        &self.headers
    }

    /// Renders the chain of causes, for the log.
    pub fn cause_chain(&self) -> Option<String> {
        self.cause.as_deref().map(|cause| chain(cause))
    }
}

/// Returns the message of an error followed by those of its causes.
pub fn chain(error: &dyn StdError) -> String {
    let causes = std::iter::successors(error.source(), |cause| (*cause).source());
    causes.fold(error.to_string(), |chain, cause| format!("{chain}: {cause}"))
}

impl IntoResponse for Error {
    /// Returns a response without a body. The pipeline writes the envelope, because it has the request ID.
    fn into_response(self) -> Response {
        let mut response = self.code.status().into_response();
        response.extensions_mut().insert(self);
        response
    }
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
    fn every_error_that_ends_by_itself_tells_once_when_to_retry() {
        let told = |error: &Error| -> Vec<String> {
            let told = error.headers().iter().filter(|(name, _)| name == header::RETRY_AFTER);
            told.map(|(_, seconds)| seconds.to_str().unwrap().to_owned()).collect()
        };
        for code in ErrorCode::ALL {
            let has_wait = told(&Error::new(code, "")).len() == 1;
            let status = code.status();
            let ends = [StatusCode::TOO_MANY_REQUESTS, StatusCode::SERVICE_UNAVAILABLE].contains(&status);
            // An environment can be frozen without an end, so the error of a window tells it.
            let says_so = code.meaning().contains("Retry-After") && code != ErrorCode::EnvironmentFrozen;
            assert!(has_wait || !(ends || says_so), "{}", code.as_str());
            assert!(!has_wait || ends || status == StatusCode::CONFLICT, "{}", code.as_str());
            assert_eq!(told(&Error::new(code, "").retry_after(7)), ["7"], "{}", code.as_str());
        }
        assert_eq!(told(&Error::unavailable("busy")), ["1"]);
    }
}
