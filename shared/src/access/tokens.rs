//! Which personal access tokens a caller may use, as extractors.

use std::ops::Deref;

use axum::extract::{FromRef, FromRequestParts};
use http::request::Parts;

use super::Caller;
use crate::app::App;
use crate::error::{Error, Result};
use crate::extract::path_parameter;
use crate::id::TokenId;
use crate::model::{Role, TokenRecord};

/// The token in the path, which the caller may see and revoke: their own, and for the account's owners and admins
/// everybody's.
#[derive(Clone, Debug)]
pub struct AuthorizedToken(TokenRecord);

impl AuthorizedToken {
    pub fn into_inner(self) -> TokenRecord {
        self.0
    }
}

impl<S> FromRequestParts<S> for AuthorizedToken
where
    S: Send + Sync,
    App: FromRef<S>,
{
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self> {
        let caller = Caller::from_request_parts(parts, state).await?;
        let not_found = || Error::not_found("Token");
        let id: TokenId = path_parameter(parts, "token_id")?.parse().map_err(|_| not_found())?;
        let app = App::from_ref(state);
        let table = app.table();
        let found = TokenRecord::find(table, &caller.account().id, &id).await?.ok_or_else(not_found)?;
        if found.token().user_id != *caller.user_id() && !oversees_tokens(&caller) {
            return Err(not_found());
        }
        Ok(Self(found))
    }
}

/// A token of the caller's own, who may change it. Changing somebody else's would be acting in their name.
#[derive(Clone, Debug)]
pub struct OwnToken(TokenRecord);

impl OwnToken {
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
        let token = AuthorizedToken::from_request_parts(parts, state).await?.into_inner();
        let caller = Caller::from_request_parts(parts, state).await?;
        if token.token().user_id != *caller.user_id() {
            return Err(Error::not_permitted("Only the user who made the token may change or rotate it"));
        }
        Ok(Self(token))
    }
}

/// Whether the caller may see and revoke everybody's tokens.
pub fn oversees_tokens(caller: &Caller) -> bool {
    caller.application().is_none() && caller.user().role >= Role::Admin
}
