//! The errors of RFC 6749 and RFC 6750.

use std::borrow::Cow;

use axum::Json;
use axum::http::StatusCode;
use axum::http::header::WWW_AUTHENTICATE;
use axum::response::{IntoResponse, Response};
use serde_json::json;

/// An error of the authorization endpoint, the token endpoint or the userinfo endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Code {
    InvalidRequest,
    InvalidClient,
    InvalidGrant,
    UnauthorizedClient,
    UnsupportedGrantType,
    UnsupportedResponseType,
    InvalidScope,
    InvalidToken,
    InsufficientScope,
}

impl Code {
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::InvalidRequest => "invalid_request",
            Self::InvalidClient => "invalid_client",
            Self::InvalidGrant => "invalid_grant",
            Self::UnauthorizedClient => "unauthorized_client",
            Self::UnsupportedGrantType => "unsupported_grant_type",
            Self::UnsupportedResponseType => "unsupported_response_type",
            Self::InvalidScope => "invalid_scope",
            Self::InvalidToken => "invalid_token",
            Self::InsufficientScope => "insufficient_scope",
        }
    }
}

/// A refused request. The description repeats nothing of the request.
#[derive(Debug)]
pub(super) struct Refusal {
    pub(super) code: Code,
    pub(super) description: Cow<'static, str>,
}

impl Refusal {
    pub(super) fn new(code: Code, description: impl Into<Cow<'static, str>>) -> Self {
        Self { code, description: description.into() }
    }

    pub(super) fn invalid(description: impl Into<Cow<'static, str>>) -> Self {
        Self::new(Code::InvalidRequest, description)
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let code = self.code.as_str();
        let body = Json(json!({"error": code, "error_description": self.description}));
        let (status, challenge) = match self.code {
            Code::InvalidClient => (StatusCode::UNAUTHORIZED, "Basic realm=\"clients of the local stack\"".to_owned()),
            Code::InvalidToken => (StatusCode::UNAUTHORIZED, format!("Bearer error=\"{code}\"")),
            Code::InsufficientScope => (StatusCode::FORBIDDEN, format!("Bearer error=\"{code}\", scope=\"openid\"")),
            _ => return (StatusCode::BAD_REQUEST, body).into_response(),
        };
        (status, [(WWW_AUTHENTICATE, challenge)], body).into_response()
    }
}
