//! Tokens of the caller.

use std::ops::Deref;

use axum::extract::{FromRef, FromRequestParts};
use http::request::Parts;

use super::authorized::AuthorizedToken;
use crate::app::App;
use crate::error::{Error, Result};
use crate::model::TokenRecord;

/// A token of the caller, which the caller may change. Changing another user's token would be acting in that user's
/// name.
#[derive(Clone, Debug)]
pub struct OwnToken(TokenRecord);

impl OwnToken {
    /// Returns the token without the proof that it is the caller's.
    pub fn into_inner(self) -> TokenRecord {
        self.0
    }
}

impl Deref for OwnToken {
    type Target = TokenRecord;

    fn deref(&self) -> &TokenRecord {
        &self.0
    }
}

impl<S> FromRequestParts<S> for OwnToken
where
    S: Send + Sync,
    App: FromRef<S>,
{
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self> {
        let found = AuthorizedToken::from_request_parts(parts, state).await?;
        if found.token().user_id != *found.tenant().user_id() {
            return Err(Error::not_permitted("Only the user who created the token may change or rotate it"));
        }
        Ok(Self(found.into_inner()))
    }
}
