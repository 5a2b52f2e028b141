//! Sessions of the caller.

use std::ops::Deref;

use axum::extract::{FromRef, FromRequestParts};
use http::request::Parts;

use crate::app::App;
use crate::authentication::Caller;
use crate::error::{Error, Result};
use crate::extract::path_parameter;
use crate::id::SessionId;
use crate::model::Session;

/// The session that the path names, which is one of the caller's.
#[derive(Clone, Debug)]
pub struct OwnSession(Session);

impl Deref for OwnSession {
    type Target = Session;

    fn deref(&self) -> &Session {
        &self.0
    }
}

impl<S> FromRequestParts<S> for OwnSession
where
    S: Send + Sync,
    App: FromRef<S>,
{
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self> {
        let missing = || Error::not_found("Session");
        let caller = Caller::from_request_parts(parts, state).await?;
        let id: SessionId = path_parameter(parts, "session_id")?.parse().map_err(|_| missing())?;
        let app = App::from_ref(state);
        let sessions = Session::of_user(app.table(), caller.user(), app.clock().now()).await?;
        sessions.into_iter().find(|session| session.id == id).map(Self).ok_or_else(missing)
    }
}
