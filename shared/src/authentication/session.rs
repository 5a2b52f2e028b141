//! Authentication by sessions: finds the session, and goes on as with the credential that it stands for.

use super::authenticator::{Authenticator, Found, Recording, ended, refused, without_account, without_address};
use super::caller::check_session;
use crate::clock::Timestamp;
use crate::error::Result;
use crate::model::{Newcomer, Session, SessionCredential};
use crate::oauth::Refused;
use crate::route::Linking;
use crate::token::TokenHash;

impl Authenticator {
    /// Returns the session of a cookie's secret.
    ///
    /// # Errors
    /// Fails with a 401 if it has ended.
    pub(super) async fn session(&self, hash: TokenHash, now: Timestamp) -> Result<Session> {
        let session = Session::by_hash(&self.table, hash).await?.ok_or_else(ended)?;
        check_session(&session, now)?;
        self.remember_use(&session);
        Ok(session)
    }

    /// Finds the user whom a session stands for, or the person who belongs to no account yet, if the route admits newcomers.
    pub(super) async fn behind(
        &self,
        session: &Session,
        linking: Linking,
        now: Timestamp,
    ) -> Result<Result<Found, Newcomer>> {
        let hash = match session.credential() {
            SessionCredential::Token { hash, .. } => Some(*hash),
            SessionCredential::OAuth2 { .. } => None,
        };
        if let Some(hash) = hash {
            return self.look_up(hash, now, Recording::Unwanted).await.map(Ok);
        }
        let grant = session.grant().ok_or_else(ended)?;
        // An issuer that the API does not trust any more vouches for nobody.
        let issuer = self.issuer.as_ref().ok_or_else(|| refused(Refused::NoIssuer))?;
        if issuer.url() != grant.issuer {
            return Err(ended());
        }
        match (self.person(grant).await?, linking) {
            (Ok(found), _) => Ok(Ok(found)),
            (Err(_), Linking::KnownOnly) => Err(without_account()),
            (Err(grant), Linking::Newcomers) => {
                let email = grant.email.clone().ok_or_else(without_address)?;
                Ok(Err(Newcomer::new(grant, email).in_session(session.clone())))
            }
        }
    }
}
