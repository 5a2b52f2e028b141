//! The author of the changes that a request makes.

use axum::extract::{FromRequestParts, OptionalFromRequestParts};
use http::request::Parts;

use super::caller::{Caller, Credential};
use crate::error::{Error, Result};
use crate::model::{Author, IdempotencyClaim, RequestOrigin};

impl Caller {
    pub(super) fn author(&self) -> Author {
        let author = match self.credential() {
            Credential::Token(token) => Author::with_token(self.user(), token),
            Credential::User(grant) => Author::by_oauth(self.user(), &grant.client_id),
            Credential::Application(_, application) => Author::of_application(application),
            Credential::Exchanged(token, trust) => Author::of_trust(trust, token),
        };
        let author = author.keeping(self.account().audit_retention());
        match self.session() {
            Some(session) => author.in_session(session),
            None => author,
        }
    }
}

impl<S: Sync> FromRequestParts<S> for Author {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self> {
        let caller = Caller::from_request_parts(parts, state).await?;
        let claim = parts.extensions.get::<IdempotencyClaim>().cloned();
        Ok(caller.author().from(RequestOrigin::from_request_parts(parts, state).await?).once(claim))
    }
}

impl<S: Sync> OptionalFromRequestParts<S> for Author {
    type Rejection = Error;

    /// Returns `None` for a person who belongs to no account yet.
    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Option<Self>> {
        match parts.extensions.get::<Caller>() {
            Some(_) => <Self as FromRequestParts<S>>::from_request_parts(parts, state).await.map(Some),
            None => Ok(None),
        }
    }
}

impl<S: Sync> FromRequestParts<S> for RequestOrigin {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self> {
        let origin = parts.extensions.get::<Self>().cloned();
        origin.ok_or_else(|| Error::internal("the pipeline gave no origin"))
    }
}
