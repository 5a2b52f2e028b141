//! Sign-in to the dashboard, which makes a session.

use http::header::USER_AGENT;
use http::{HeaderMap, HeaderValue};
use secrecy::{ExposeSecret, SecretString};

use super::authenticator::{Authenticator, Found, Recording, newcomer, refused, without_address};
use super::caller::{Caller, Credential, unauthorized};
use super::cookie::{self, Site, session_secret};
use super::presented::malformed;
use crate::clock::Timestamp;
use crate::error::{Error, ErrorCode, Result};
use crate::model::{Browser, Replaced, RequestOrigin, Session, SessionCredential};
use crate::oauth::{AuthorizationCode, ExchangeFailed, PublicClient, Refused, SignInPage};
use crate::route::Linking;
use crate::token::{SessionSecret, TokenHash, TokenSecret};

/// The proof with which a person signs in.
#[derive(Debug)]
pub enum Proof {
    /// A personal access token. It need not be well-formed.
    Token(SecretString),
    /// An authorization code of the OAuth2 issuer, for the dashboard's client.
    Code(AuthorizationCode, PublicClient),
}

/// A new session.
#[derive(Debug)]
pub struct NewSession {
    /// The session.
    pub session: Session,
    /// The person, or `None` if they belong to no account yet.
    pub caller: Option<Caller>,
    /// The value of `Set-Cookie` that gives the browser the session.
    pub cookie: HeaderValue,
}

/// A person who has proved who they are, with the credential that a session will stand for.
struct Person {
    credential: SessionCredential,
    /// The user, unless the person belongs to no account yet, with the hash of the credential.
    found: Option<(TokenHash, Found)>,
    ends_at: Option<Timestamp>,
}

impl Authenticator {
    /// Makes a session, and ends the one whose cookie the request has.
    ///
    /// # Errors
    /// Fails with a 401 if a token is not valid, with `invalid_request` if a code is not, with `not_linked` if the person can't
    /// join any account, and with `insufficient_permission` if another site sends the request.
    pub(crate) async fn sign_in(
        &self,
        proof: &Proof,
        headers: &HeaderMap,
        origin: &RequestOrigin,
    ) -> Result<NewSession> {
        // Another site could otherwise sign a person in as somebody else.
        if Site::of(headers, &self.origin) == Site::Other {
            return Err(Error::not_permitted("Only pages of the API's own origin can sign in"));
        }
        let now = self.clock.now();
        let person = match proof {
            Proof::Token(text) => self.by_token(text, now).await?,
            Proof::Code(code, client) => self.by_code(code, client, now).await?,
        };
        let replaced = self.replaced(headers, origin, now).await?;
        let user_agent = headers.get(USER_AGENT).and_then(|value| value.to_str().ok()).map(str::to_owned);
        let browser = Browser { source_address: origin.source_address, user_agent };
        let secret = SessionSecret::random();
        let session = Session::new(secret.hash(), person.credential, person.ends_at, browser, now);
        let caller = match person.found {
            None => None,
            Some((hash, Found { credential, account, user, .. })) => {
                let by_credential = Caller::new(hash, credential, None, account, user);
                by_credential.check_validity(now)?;
                Some(by_credential)
            }
        };
        let author = caller.as_ref().map(|caller| caller.author().from(origin.clone()));
        session.create(&self.table, author.as_ref(), replaced).await?;
        let caller = caller.map(|caller| caller.in_session(secret.hash(), session.clone()));
        Ok(NewSession { cookie: cookie::set(&secret), session, caller })
    }

    /// Returns the parameters of the issuer's sign-in page, or `None` if there is no issuer.
    ///
    /// # Errors
    /// Fails if the issuer does not answer.
    pub(crate) async fn sign_in_page(&self) -> Result<Option<SignInPage>> {
        let Some(issuer) = &self.issuer else { return Ok(None) };
        let page = issuer.sign_in_page(self.clock.now()).await;
        page.map(Some).map_err(|failed| refused(Refused::Unavailable(failed)))
    }

    async fn by_token(&self, text: &SecretString, now: Timestamp) -> Result<Person> {
        let secret: TokenSecret = text.expose_secret().trim().parse().map_err(|error| malformed().because(error))?;
        let found = self.look_up(secret.hash(), now, Recording::Unwanted).await?;
        let Credential::Token(token) = &found.credential else { return Err(malformed()) };
        if token.superseded_at.is_some() {
            let message = "The token was rotated; sign in with its new secret";
            return Err(unauthorized(ErrorCode::TokenRotated, message));
        }
        Ok(Person {
            credential: SessionCredential::token(token, secret.hash()),
            ends_at: token.ends_at(),
            found: Some((secret.hash(), found)),
        })
    }

    async fn by_code(&self, code: &AuthorizationCode, client: &PublicClient, now: Timestamp) -> Result<Person> {
        let issuer = self.issuer.as_ref().ok_or_else(|| Error::invalid("code", WITHOUT_ISSUER))?;
        let (jwt, grant) = issuer.exchange(client, code, now).await.map_err(code_refused)?;
        let found = self.person(grant.clone()).await?.ok();
        let email = match &found {
            // A user who is removed later is a person without an account again.
            Some(_) => issuer.verified_email(&jwt, &grant).await.ok().flatten(),
            None => Some(newcomer(issuer, &jwt, grant.clone()).await?.verified_email().clone()),
        };
        if found.is_none() && email.is_none() {
            return Err(without_address());
        }
        let hash = TokenHash::of(jwt.as_str());
        Ok(Person {
            credential: SessionCredential::grant(grant, email),
            found: found.map(|found| (hash, found)),
            ends_at: None,
        })
    }

    /// Returns the session whose cookie the request has, unless it is over.
    async fn replaced(&self, headers: &HeaderMap, origin: &RequestOrigin, now: Timestamp) -> Result<Option<Replaced>> {
        let Some(Ok(secret)) = session_secret(headers, &self.origin) else { return Ok(None) };
        let hash = secret.hash();
        let Ok(session) = unless_failed(self.session(hash, now).await)? else { return Ok(None) };
        let author = match unless_failed(self.behind(&session, Linking::Newcomers, now).await)? {
            Ok(Ok(Found { credential, account, user, .. })) => {
                let caller = Caller::new(hash, credential, Some(session.clone()), account, user);
                Some(caller.author().from(origin.clone()))
            }
            Ok(Err(_)) | Err(_) => None,
        };
        Ok(Some(Replaced { session, author }))
    }
}

/// The message for a code if the stack has no issuer, or no client of the dashboard.
pub const WITHOUT_ISSUER: &str =
    "can't be exchanged, because the API has no identity provider for the dashboard; sign in with a token";

/// Passes a failure of the API on, and returns a refusal.
fn unless_failed<T>(result: Result<T>) -> Result<Result<T>> {
    match result {
        Err(error) if error.code().status().is_server_error() => Err(error),
        result => Ok(result),
    }
}

fn code_refused(why: ExchangeFailed) -> Error {
    match why {
        ExchangeFailed::Code => {
            Error::invalid("code", "is wrong, used or expired, or belongs to another code verifier; sign in again")
                .because(why)
        }
        ExchangeFailed::Unavailable(failed) => refused(Refused::Unavailable(failed)),
        ExchangeFailed::Client(_) | ExchangeFailed::Token(_) => {
            let message =
                "The identity provider does not accept the dashboard; ask an operator to check DASHBOARD_CLIENT_ID";
            Error::new(ErrorCode::ServiceUnavailable, message).because(why)
        }
    }
}
