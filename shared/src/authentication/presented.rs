//! The credential that a request presents: a bearer token, or the cookie of a session.

use http::header::AUTHORIZATION;
use http::{HeaderMap, HeaderValue};

use super::caller::unauthorized;
use super::cookie::session_secret;
use crate::error::{Error, ErrorCode, Result};
use crate::oauth::{Jwt, MalformedJwt};
use crate::token::{SessionSecret, TokenHash, TokenSecret};

/// A credential in its form, which need not be valid.
pub(super) enum Presented {
    Token(TokenSecret),
    Jwt(Jwt),
    Session(SessionSecret),
}

impl Presented {
    /// Returns the credential of a request. A cookie is taken only if there is no `Authorization`, and only from a request of
    /// the API's own origin; otherwise it is as if there were none.
    ///
    /// # Errors
    /// Fails with `missing_token` or `invalid_token`.
    pub(super) fn of(headers: &HeaderMap, origin: &str) -> Result<Self> {
        let mut values = headers.get_all(AUTHORIZATION).iter();
        match (values.next(), values.next()) {
            (Some(value), None) => bearer(value),
            (Some(_), Some(_)) => Err(invalid("The request has several Authorization headers; send one")),
            (None, _) => match session_secret(headers, origin) {
                None => Err(missing()),
                Some(secret) => Ok(Self::Session(secret?)),
            },
        }
    }

    pub(super) fn reveal(&self) -> &str {
        match self {
            Self::Token(secret) => secret.reveal(),
            Self::Jwt(jwt) => jwt.as_str(),
            Self::Session(secret) => secret.reveal(),
        }
    }

    pub(super) fn hash(&self) -> TokenHash {
        match self {
            Self::Token(secret) => secret.hash(),
            Self::Jwt(jwt) => TokenHash::of(jwt.as_str()),
            Self::Session(secret) => secret.hash(),
        }
    }
}

fn bearer(value: &HeaderValue) -> Result<Presented> {
    let value = value.to_str().map_err(|_| malformed())?;
    match value.split_once(' ') {
        Some((scheme, token)) if scheme.eq_ignore_ascii_case("bearer") => {
            let token = token.trim();
            match token.parse() {
                Ok(jwt) => Ok(Presented::Jwt(jwt)),
                Err(MalformedJwt) => token.parse().map(Presented::Token).map_err(|error| malformed().because(error)),
            }
        }
        _ => Err(missing()),
    }
}

fn missing() -> Error {
    unauthorized(ErrorCode::MissingToken, "The request has no token; send 'Authorization: Bearer <token>'")
}

pub(super) fn malformed() -> Error {
    invalid("The token is malformed")
}

fn invalid(message: &'static str) -> Error {
    unauthorized(ErrorCode::InvalidToken, message)
}
