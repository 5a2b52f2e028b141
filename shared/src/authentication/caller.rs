//! The caller of a request.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::FromRequestParts;
use http::header::WWW_AUTHENTICATE;
use http::request::Parts;
use http::{HeaderName, HeaderValue};

use crate::clock::Timestamp;
use crate::error::{Error, ErrorCode, Result};
use crate::id::{SessionId, TokenId, UserId};
use crate::model::{
    AccessToken, Account, Application, ExchangedToken, SIGN_IN_RECENT, Session, SessionCredential, Trust, User,
};
use crate::name::ClientId;
use crate::oauth::Grant;
use crate::permission::check_role;
use crate::permitted::TenantId;
use crate::route::{Route, SignInAge};
use crate::scope::{Access, Scope};
use crate::token::TokenHash;

/// The response header with the time at which the token stops working.
pub(crate) const TOKEN_EXPIRES_AT: HeaderName = HeaderName::from_static("x-token-expires-at");
/// The remaining lifetime below which a response links to the token's rotation.
const ROTATION_HINT: Duration = Duration::from_secs(14 * 24 * 60 * 60);

/// The holder of a valid token or session. Only authentication makes one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Caller(Arc<Parties>);

/// The token, its account and its user.
#[derive(Debug, PartialEq, Eq)]
struct Parties {
    hash: TokenHash,
    credential: Credential,
    /// The session that stands for the credential, if the request has a session's cookie.
    session: Option<Session>,
    account: Account,
    user: User,
    tenant: TenantId,
}

/// The token of the request, and the application that it acts for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Credential {
    Token(AccessToken),
    User(Grant),
    Application(Grant, Application),
    Exchanged(ExchangedToken, Trust),
}

impl Credential {
    /// Returns the credential of an application, whose token has no scopes but those that the application is registered with.
    pub(super) fn of_application(mut grant: Grant, application: Application) -> Self {
        grant.scopes.retain(|scope| application.scopes.contains(scope));
        Self::Application(grant, application)
    }
}

impl Caller {
    pub(super) fn new(
        hash: TokenHash,
        credential: Credential,
        session: Option<Session>,
        account: Account,
        user: User,
    ) -> Self {
        let tenant = TenantId::new(account.id.clone());
        Self(Arc::new(Parties { hash, credential, session, account, user, tenant }))
    }

    /// Returns the caller as one who has a session, whose secret has this hash, in the place of the credential.
    pub(super) fn in_session(&self, hash: TokenHash, session: Session) -> Self {
        let Parties { credential, account, user, .. } = &*self.0;
        let credential = session.grant().map_or_else(|| credential.clone(), Credential::User);
        Self::new(hash, credential, Some(session), account.clone(), user.clone())
    }

    /// Returns the hash of the request's bearer token, or of the secret of its session.
    pub(super) fn hash(&self) -> TokenHash {
        self.0.hash
    }

    /// Returns the hash of the personal access token, also of one that a session stands for.
    pub(super) fn token_hash(&self) -> TokenHash {
        match self.session().map(Session::credential) {
            Some(SessionCredential::Token { hash, .. }) => *hash,
            Some(SessionCredential::OAuth2 { .. }) | None => self.0.hash,
        }
    }

    /// Returns the session of the request, or `None` if the request has a token.
    pub fn session(&self) -> Option<&Session> {
        self.0.session.as_ref()
    }

    /// Returns the ID of the request's session.
    pub fn session_id(&self) -> Option<&SessionId> {
        self.session().map(|session| &session.id)
    }

    pub(super) fn credential(&self) -> &Credential {
        &self.0.credential
    }

    pub(crate) fn tenant(&self) -> &TenantId {
        &self.0.tenant
    }

    /// Returns the account as it was when the token was last read, at most [`TOKEN_CACHE_TTL`](super::TOKEN_CACHE_TTL)
    /// ago.
    pub fn account(&self) -> &Account {
        &self.0.account
    }

    /// Returns the id of the calling user, or of the user that stands for the calling application or trust.
    pub fn user_id(&self) -> &UserId {
        &self.0.user.id
    }

    /// Returns the calling application, or `None` if a user calls.
    pub fn application(&self) -> Option<&Application> {
        match &self.0.credential {
            Credential::Application(_, application) => Some(application),
            Credential::Token(_) | Credential::User(_) | Credential::Exchanged(..) => None,
        }
    }

    /// Returns the trust that issued the token of the request, or `None` if a user or an application calls.
    pub fn trust(&self) -> Option<&Trust> {
        match &self.0.credential {
            Credential::Exchanged(_, trust) => Some(trust),
            Credential::Token(_) | Credential::User(_) | Credential::Application(..) => None,
        }
    }

    /// Returns whether a person calls, and not a program that has a right of its own.
    pub fn is_a_person(&self) -> bool {
        matches!(self.0.credential, Credential::Token(_) | Credential::User(_))
    }

    /// Returns the token of the request or of its session, or `None` if it has an OAuth2 token.
    pub fn token_id(&self) -> Option<&TokenId> {
        match &self.0.credential {
            Credential::Token(token) => Some(&token.id),
            Credential::Exchanged(token, _) => Some(&token.id),
            Credential::User(_) | Credential::Application(..) => None,
        }
    }

    /// Returns the OAuth2 client of the request's token, or `None` if it has a token of this API.
    pub fn client_id(&self) -> Option<&ClientId> {
        match &self.0.credential {
            Credential::Token(_) | Credential::Exchanged(..) => None,
            Credential::User(grant) | Credential::Application(grant, _) => Some(&grant.client_id),
        }
    }

    /// Returns the user that the request acts as. The user of an application or a trust is in no list of members.
    pub fn user(&self) -> &User {
        &self.0.user
    }

    /// Returns the scopes of the token. Those of an OAuth2 token are the granted ones that exist here, and for an
    /// application only those that it is registered with.
    pub fn scopes(&self) -> &[Scope] {
        match &self.0.credential {
            Credential::Token(token) => &token.scopes,
            Credential::Exchanged(token, _) => &token.scopes,
            Credential::User(grant) | Credential::Application(grant, _) => &grant.scopes,
        }
    }

    /// Returns the time at which the token stops working, or the session of the request.
    pub fn expires_at(&self) -> Option<Timestamp> {
        let of_credential = match &self.0.credential {
            Credential::Token(token) => token.ends_at(),
            Credential::Exchanged(token, _) => Some(token.expires_at),
            Credential::User(grant) | Credential::Application(grant, _) => Some(grant.expires_at),
        };
        of_credential.into_iter().chain(self.session().map(|session| session.valid_until)).min()
    }

    /// Returns the token to rotate, if it expires soon and has not been rotated. Rotating the token of a session would end the
    /// session.
    pub(crate) fn token_to_rotate(&self, now: Timestamp) -> Option<&TokenId> {
        let token = self.token().filter(|_| self.session().is_none())?;
        let left = token.expires_at?.since(now);
        (left < ROTATION_HINT && token.superseded_at.is_none()).then_some(&token.id)
    }

    pub(super) fn token(&self) -> Option<&AccessToken> {
        match &self.0.credential {
            Credential::Token(token) => Some(token),
            Credential::User(_) | Credential::Application(..) | Credential::Exchanged(..) => None,
        }
    }

    /// Fails with `insufficient_scope` if the caller lacks one of the scopes, because callers can't grant more than
    /// they have.
    pub fn check_grant(&self, scopes: &[Scope]) -> Result<()> {
        scopes.iter().try_for_each(|scope| self.check_scope(Access::Scope(*scope)))
    }

    /// Fails with `insufficient_scope`, as in RFC 6750 section 3.1, or with `insufficient_permission`.
    /// Fails with `sign_in_again` if the route needs a recent sign-in and the session is older.
    pub(crate) fn check(&self, route: &Route, now: Timestamp) -> Result<()> {
        self.check_scope(route.access)?;
        check_role(self.0.user.role, route.role)?;
        let is_recent = self.session().is_none_or(|session| session.is_recent(now));
        if route.sign_in == SignInAge::Recent && !is_recent {
            let minutes = SIGN_IN_RECENT.as_secs() / 60;
            let message = format!("The sign-in is older than {minutes} minutes; sign in again and repeat the request");
            return Err(Error::new(ErrorCode::SignInAgain, message));
        }
        Ok(())
    }

    fn check_scope(&self, access: Access) -> Result<()> {
        match access {
            Access::Scope(scope) if !self.scopes().contains(&scope) => {
                let scope = scope.as_str();
                let challenge = format!("Bearer error=\"insufficient_scope\", scope=\"{scope}\"");
                let challenge = HeaderValue::try_from(challenge).expect("scopes are ASCII");
                Err(Error::new(ErrorCode::InsufficientScope, format!("The token lacks the scope '{scope}'"))
                    .with_header(WWW_AUTHENTICATE, challenge))
            }
            _ => Ok(()),
        }
    }

    pub(super) fn check_validity(&self, now: Timestamp) -> Result<()> {
        if let Some(session) = self.session() {
            check_session(session, now)?;
        }
        let token = match &self.0.credential {
            Credential::Token(token) => token,
            Credential::User(grant) | Credential::Application(grant, _) if grant.has_expired(now) => {
                return Err(expired(grant.expires_at));
            }
            Credential::Exchanged(token, _) if token.expires_at <= now => return Err(expired(token.expires_at)),
            Credential::User(_) | Credential::Application(..) | Credential::Exchanged(..) => return Ok(()),
        };
        if token.revoked_at.is_some_and(|at| at <= now) {
            return Err(unauthorized(ErrorCode::TokenRevoked, "The token was revoked"));
        }
        if let Some(at) = token.superseded_at.filter(|at| *at <= now) {
            return Err(unauthorized(
                ErrorCode::TokenRotated,
                format!("The token was rotated and stopped working at {at}"),
            ));
        }
        if let Some(at) = token.expires_at.filter(|at| *at <= now) {
            return Err(expired(at));
        }
        if self.session().is_some_and(|session| !session.still_stands_for(token)) {
            let message = "The session's token was rotated or lost scopes; sign in again";
            return Err(unauthorized(ErrorCode::TokenRotated, message));
        }
        Ok(())
    }
}

/// Fails with a 401 if the session was not used for too long, or is too old.
pub(super) fn check_session(session: &Session, now: Timestamp) -> Result<()> {
    let at = session.ends_at();
    if at > now {
        return Ok(());
    }
    let message = format!("The session expired at {at}; sign in again");
    Err(unauthorized(ErrorCode::TokenExpired, message))
}

pub(super) fn expired(at: Timestamp) -> Error {
    let value = HeaderValue::try_from(at.to_string()).expect("a time is ASCII");
    unauthorized(ErrorCode::TokenExpired, format!("The token expired at {at}")).with_header(TOKEN_EXPIRES_AT, value)
}

impl<S: Sync> FromRequestParts<S> for Caller {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self> {
        let caller = parts.extensions.get::<Caller>().cloned();
        caller.ok_or_else(|| Error::internal("a public endpoint asked for its caller"))
    }
}

/// Returns a 401 with the challenge of RFC 6750 section 3, without an error code if the request has no credentials.
pub(super) fn unauthorized(code: ErrorCode, message: impl Into<Cow<'static, str>>) -> Error {
    let challenge = match code {
        ErrorCode::MissingToken => "Bearer",
        _ => "Bearer error=\"invalid_token\"",
    };
    Error::new(code, message).with_header(WWW_AUTHENTICATE, HeaderValue::from_static(challenge))
}
