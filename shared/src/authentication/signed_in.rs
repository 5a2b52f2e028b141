//! Whoever signed in, with an account or without one.

use axum::extract::FromRequestParts;
use http::request::Parts;

use super::caller::Caller;
use crate::error::{Error, Result};
use crate::model::{Newcomer, Session};

/// The sender of a request to an endpoint that admits people who belong to no account yet.
#[derive(Clone, Debug)]
pub enum SignedIn {
    /// The sender belongs to an account.
    Caller(Caller),
    /// The sender belongs to no account.
    Newcomer(Newcomer),
}

impl SignedIn {
    /// Returns the session of the request, or `None` if the request has a token.
    pub fn session(&self) -> Option<&Session> {
        match self {
            Self::Caller(caller) => caller.session(),
            Self::Newcomer(newcomer) => newcomer.session(),
        }
    }
}

impl<S: Sync> FromRequestParts<S> for SignedIn {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self> {
        match parts.extensions.get::<Newcomer>() {
            Some(newcomer) => Ok(Self::Newcomer(newcomer.clone())),
            None => Caller::from_request_parts(parts, state).await.map(Self::Caller),
        }
    }
}
