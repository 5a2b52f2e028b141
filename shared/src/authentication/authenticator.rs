//! Authentication by bearer tokens and by sessions.

use std::num::NonZeroUsize;
use std::time::Duration;

use http::HeaderMap;
use secrecy::SecretString;

use super::caller::{Caller, Credential, expired, unauthorized};
use super::presented::Presented;
use super::signed_in::SignedIn;
use crate::cache::Cache;
use crate::clock::{Clock, Timestamp};
use crate::error::{Error, ErrorCode, Result};
use crate::model::{
    AccessToken, Account, Application, CredentialKey, CurrentRows, ExchangedToken, Identity, Newcomer,
    SESSION_USE_PRECISION, Session, Standing, State, Subject, Trust, TrustStanding, USE_PRECISION, User,
};
use crate::name::ClientId;
use crate::oauth::{Grant, Issuer, Jwt, Refused};
use crate::rate_limit::Limiter;
use crate::route::Linking;
use crate::table::{Consistency, Table, TableError};
use crate::token::TokenHash;

/// The time that an execution environment caches a token or a session with its account. For reads, a revocation, a new plan or new
/// scopes take effect everywhere within this time. A request that may change something never relies on the cache.
pub const TOKEN_CACHE_TTL: Duration = Duration::from_secs(30);
/// The maximum number of cached tokens in one execution environment, about 1 KB each.
const REMEMBERED: NonZeroUsize = NonZeroUsize::new(2_000).unwrap();

/// Authenticates bearer tokens and sessions. Caches the valid ones for [`TOKEN_CACHE_TTL`].
#[derive(Debug)]
pub struct Authenticator {
    pub(super) table: Table,
    pub(super) clock: Clock,
    pub(super) issuer: Option<Issuer>,
    /// The API's own origin, whose pages may use sessions.
    pub(super) origin: String,
    known: Cache<TokenHash, (Caller, Timestamp)>,
    /// The time at which the last use of each token and session was recorded, by this environment or another.
    used: Cache<String, Timestamp>,
}

/// The rows of a credential in the table.
pub(super) struct Found {
    pub(super) credential: Credential,
    pub(super) account: Account,
    pub(super) user: User,
    /// The rate-limit state of the account, which the limiter may not have yet.
    rate_limit: Option<State>,
}

/// The use of a token or of a session, to be recorded.
#[derive(Debug)]
pub(crate) struct UnrecordedUse {
    used: Used,
    table: Table,
    at: Timestamp,
}

#[derive(Debug)]
enum Used {
    Token(AccessToken),
    Session(Session),
}

impl UnrecordedUse {
    pub(crate) async fn record(self) -> Result<(), TableError> {
        match &self.used {
            Used::Token(token) => token.record_use(&self.table, self.at).await,
            Used::Session(session) => session.record_use(&self.table, self.at).await,
        }
    }
}

impl Authenticator {
    /// Returns an authenticator that has cached nothing. Without an issuer it refuses every JWT.
    pub fn new(table: Table, clock: Clock, issuer: Option<Issuer>, origin: String) -> Self {
        Self { table, clock, issuer, origin, known: Cache::new(REMEMBERED), used: Cache::new(REMEMBERED) }
    }

    /// # Errors
    /// Fails with a 401 or with `not_linked`. Refuses a malformed token without a read.
    pub(crate) async fn authenticate(
        &self,
        headers: &HeaderMap,
        linking: Linking,
        limiter: &Limiter,
    ) -> Result<SignedIn> {
        let presented = Presented::of(headers, &self.origin)?;
        let hash = presented.hash();
        let now = self.clock.now();
        if let Some(caller) = self.remembered(hash, now) {
            caller.check_validity(now)?;
            return Ok(SignedIn::Caller(caller));
        }
        let (session, found) = match &presented {
            Presented::Token(secret) if secret.is_exchanged() => (None, self.look_up_exchanged(hash).await.map(Ok)),
            Presented::Token(_) => (None, self.look_up(hash, now, Recording::Wanted).await.map(Ok)),
            Presented::Jwt(jwt) => (None, self.verify(jwt, linking, now).await),
            Presented::Session(_) => match self.session(hash, now).await {
                Ok(session) => (Some(session.clone()), self.behind(&session, linking, now).await),
                Err(error) => (None, Err(error)),
            },
        };
        if found.as_ref().is_err_and(|error| error.code().status().is_client_error()) {
            self.known.remove(&hash);
        }
        let Found { credential, account, user, rate_limit } = match found? {
            Ok(found) => found,
            Err(newcomer) => return Ok(SignedIn::Newcomer(newcomer)),
        };
        if let Some(state) = rate_limit {
            limiter.observe(&Subject::Account(account.id.clone()), state);
        }
        let caller = Caller::new(hash, credential, session, account, user);
        self.known.insert(hash, (caller.clone(), now));
        caller.check_validity(now)?;
        Ok(SignedIn::Caller(caller))
    }

    /// Returns whether this environment has seen the request's credential valid, and knows nothing that ends it. A credential
    /// that is known is worth a read.
    pub(crate) fn knows(&self, headers: &HeaderMap) -> bool {
        let presented = Presented::of(headers, &self.origin).ok();
        let known = presented.and_then(|presented| self.known.get(&presented.hash()));
        known.is_some_and(|(caller, _)| caller.check_validity(self.clock.now()).is_ok())
    }

    /// Returns the secret of the request's credential, of which the table has only a hash. `None` if the request has none.
    pub(crate) fn secret(&self, headers: &HeaderMap) -> Option<SecretString> {
        Presented::of(headers, &self.origin).ok().map(|presented| presented.reveal().to_owned().into())
    }

    /// Reads the rows of an authenticated caller again, strongly consistent, and returns the caller as they are now. A
    /// request that may change something is decided on them.
    ///
    /// # Errors
    /// Fails with a 401 or with `not_linked` if the caller's credential is gone.
    pub(crate) async fn confirm(&self, caller: &Caller) -> Result<Caller> {
        let now = self.clock.now();
        let (account, user, session) = (&caller.account().id, Some(caller.user_id()), caller.session());
        let (credential, current_session, account, user) = match caller.credential() {
            Credential::Token(_) => {
                let key = CredentialKey::Token(caller.token_hash());
                let rows = CurrentRows::<AccessToken>::load(&self.table, key, session, account, user).await?;
                let token = rows.credential.ok_or_else(unknown)?;
                let (account, user) = (rows.account.ok_or_else(unknown)?, rows.user.ok_or_else(removed_user)?);
                (Credential::Token(token), rows.session, account, user)
            }
            Credential::User(grant) => {
                let key = CredentialKey::Subject { issuer: &grant.issuer, subject: &grant.subject };
                let rows = CurrentRows::<Identity>::load(&self.table, key, session, account, user).await?;
                let is_same = |identity: &Identity| identity.user_id == *caller.user_id();
                rows.credential.filter(is_same).ok_or_else(unlinked)?;
                let credential = Credential::User(grant.clone());
                (credential, rows.session, rows.account.ok_or_else(gone)?, rows.user.ok_or_else(unlinked)?)
            }
            Credential::Application(grant, application) => {
                let key = CredentialKey::Client(&grant.client_id);
                let rows = CurrentRows::<Application>::load(&self.table, key, None, account, None).await?;
                let is_same = |found: &Application| found.user_id == application.user_id;
                let found = rows.credential.filter(is_same).ok_or_else(not_registered)?;
                let user = found.as_user();
                (Credential::of_application(grant.clone(), found), None, rows.account.ok_or_else(gone)?, user)
            }
            Credential::Exchanged(token, _) => {
                let key = CredentialKey::Trust(&token.trust_id);
                let rows = CurrentRows::<Trust>::load(&self.table, key, None, account, None).await?;
                let trust = rows.credential.filter(|trust| token.is_of(trust)).ok_or_else(without_trust)?;
                let user = trust.as_user();
                (Credential::Exchanged(token.clone(), trust), None, rows.account.ok_or_else(unknown)?, user)
            }
        };
        if session.is_some() && current_session.is_none() {
            return Err(ended());
        }
        let current = Caller::new(caller.hash(), credential, current_session, account, user);
        self.known.insert(caller.hash(), (current.clone(), now));
        current.check_validity(now)?;
        Ok(current)
    }

    /// Checks that an access token proves that its holder has an OAuth2 client's secret.
    ///
    /// # Errors
    /// Fails with an error on `access_token`. The error is the same whether or not the client exists, so that nobody learns
    /// which clients do.
    pub(crate) async fn check_possession(&self, token: &Jwt, client: &ClientId) -> Result<()> {
        const FIELD: &str = "access_token";
        let Some(issuer) = &self.issuer else {
            return Err(Error::invalid(
                FIELD,
                "can't be verified, because the API has no OAuth2 issuer; ask an operator to set OIDC_ISSUER",
            ));
        };
        let now = self.clock.now();
        match issuer.verify(token, now).await {
            Ok(grant) if grant.proves_possession_of(client, now) => Ok(()),
            Err(why @ Refused::Unavailable(_)) => Err(refused(why)),
            Ok(_) | Err(_) => Err(Error::invalid(
                FIELD,
                "must be an access token that the client in 'client_id' got with the client credentials grant in the last ten \
                 minutes",
            )),
        }
    }

    /// Returns the use of the request's token, once an hour, or of its session, once in five minutes. Several requests may return
    /// a use at once; the table accepts the first.
    pub(crate) fn unrecorded_use(&self, signed_in: &SignedIn) -> Option<UnrecordedUse> {
        let at = self.clock.now();
        let (session, token) = match signed_in {
            SignedIn::Caller(caller) => (caller.session(), caller.token()),
            SignedIn::Newcomer(newcomer) => (newcomer.session(), None),
        };
        let (id, precision, used) = match (session, token) {
            (Some(session), _) => (session.id.as_str(), SESSION_USE_PRECISION, Used::Session(session.clone())),
            (None, Some(token)) => (token.id.as_str(), USE_PRECISION, Used::Token(token.clone())),
            (None, None) => return None,
        };
        if self.is_in_use(id, precision, at) {
            return None;
        }
        self.used.insert(id.to_owned(), at);
        Some(UnrecordedUse { used, table: self.table.clone(), at })
    }

    /// Remembers when the last use of a session was recorded.
    pub(super) fn remember_use(&self, session: &Session) {
        self.used.insert(session.id.to_string(), session.last_used_at);
    }

    /// Finds a personal access token with its account and its user.
    pub(super) async fn look_up(&self, hash: TokenHash, now: Timestamp, recording: Recording) -> Result<Found> {
        let token = AccessToken::by_hash(&self.table, hash).await?.ok_or_else(unknown)?;
        let (account, user) = (&token.account_id, Some(&token.user_id));
        let is_recorded = recording == Recording::Unwanted || self.is_in_use(token.id.as_str(), USE_PRECISION, now);
        let unrecorded = Some(&token.id).filter(|_| !is_recorded);
        let found = Standing::load(&self.table, account, user, unrecorded, Consistency::Eventual).await?;
        if let Some(at) = found.last_used_at {
            self.used.insert(token.id.to_string(), at);
        }
        let account = found.account.ok_or_else(unknown)?;
        let user = found.user.ok_or_else(removed_user)?;
        Ok(Found { credential: Credential::Token(token), account, user, rate_limit: found.rate_limit })
    }

    async fn look_up_exchanged(&self, hash: TokenHash) -> Result<Found> {
        let token = ExchangedToken::by_hash(&self.table, hash).await?.ok_or_else(unknown)?;
        let found = TrustStanding::load(&self.table, &token.account_id, &token.trust_id).await?;
        let trust = found.trust.filter(|trust| token.is_of(trust)).ok_or_else(without_trust)?;
        let (account, user) = (found.account.ok_or_else(unknown)?, trust.as_user());
        Ok(Found { credential: Credential::Exchanged(token, trust), account, user, rate_limit: found.rate_limit })
    }

    /// Verifies an OAuth2 token and finds the user or application that it stands for, or the person who belongs to no account
    /// yet, if the route admits newcomers.
    async fn verify(&self, jwt: &Jwt, linking: Linking, now: Timestamp) -> Result<Result<Found, Newcomer>> {
        let issuer = self.issuer.as_ref().ok_or_else(|| refused(Refused::NoIssuer))?;
        let grant = issuer.verify(jwt, now).await.map_err(refused)?;
        if grant.is_of_an_application() {
            let application =
                Application::by_client(&self.table, &grant.client_id).await?.ok_or_else(not_registered)?;
            let account = &application.account_id;
            let found = Standing::load(&self.table, account, None, None, Consistency::Eventual).await?;
            let (account, rate_limit) = (found.account.ok_or_else(gone)?, found.rate_limit);
            let user = application.as_user();
            let credential = Credential::of_application(grant, application);
            return Ok(Ok(Found { credential, account, user, rate_limit }));
        }
        match self.person(grant).await? {
            Ok(found) => Ok(Ok(found)),
            Err(grant) => match linking {
                Linking::KnownOnly => Err(without_account()),
                Linking::Newcomers => newcomer(issuer, jwt, grant).await.map(Err),
            },
        }
    }

    /// Finds the user whom a person's subject is linked to. Returns the grant if there is none.
    pub(super) async fn person(&self, grant: Grant) -> Result<Result<Found, Grant>> {
        let Some(identity) = Identity::of(&self.table, &grant, Consistency::Eventual).await? else {
            return Ok(Err(grant));
        };
        // An eventually consistent read may miss a new user.
        let (account, user) = (&identity.account_id, Some(&identity.user_id));
        let found = Standing::load(&self.table, account, user, None, Consistency::Strong).await?;
        let (account, user) = (found.account.ok_or_else(gone)?, found.user.ok_or_else(unlinked)?);
        Ok(Ok(Found { credential: Credential::User(grant), account, user, rate_limit: found.rate_limit }))
    }

    fn remembered(&self, hash: TokenHash, now: Timestamp) -> Option<Caller> {
        let (caller, read_at) = self.known.get(&hash)?;
        (now.since(read_at) < TOKEN_CACHE_TTL).then_some(caller)
    }

    fn is_in_use(&self, id: &str, precision: Duration, now: Timestamp) -> bool {
        self.used.get(id).is_some_and(|at| now.since(at) < precision)
    }
}

/// Whether the use of a token that is looked up will be recorded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Recording {
    Wanted,
    Unwanted,
}

/// Returns the person whom a token names.
pub(super) async fn newcomer(issuer: &Issuer, jwt: &Jwt, grant: Grant) -> Result<Newcomer> {
    if grant.scopes.is_empty() {
        return Err(not_linked("The token has no scope of the API; sign in again with at least one"));
    }
    let email = issuer.verified_email(jwt, &grant).await.map_err(|failed| refused(Refused::Unavailable(failed)))?;
    Ok(Newcomer::new(grant, email.ok_or_else(without_address)?))
}

pub(super) fn without_address() -> Error {
    not_linked("The identity provider has no verified email address of the user")
}

pub(super) fn ended() -> Error {
    unauthorized(ErrorCode::InvalidToken, "The session has ended; sign in again")
}

pub(super) fn without_account() -> Error {
    not_linked(
        "The user belongs to no account yet; call GET /v1/user/invitations for the accounts that are open to them, and \
         POST /v1/user/join to join one",
    )
}

pub(super) fn unknown() -> Error {
    unauthorized(ErrorCode::InvalidToken, "The token is unknown")
}

fn removed_user() -> Error {
    unauthorized(ErrorCode::TokenRevoked, "The token's user was removed from the account")
}

fn without_trust() -> Error {
    unauthorized(ErrorCode::TokenRevoked, "The trust that issued the token was deleted or changed")
}

fn gone() -> Error {
    not_linked("The account no longer exists")
}

fn unlinked() -> Error {
    not_linked("The user was removed from the account")
}

fn not_registered() -> Error {
    not_linked("The application is not registered with an account; ask an owner to register it")
}

/// Returns the 403 for a valid token without a user.
fn not_linked(why: &'static str) -> Error {
    Error::new(ErrorCode::NotLinked, why)
}

/// Returns the refusal of an OAuth2 token. The log has the exact reason.
pub(super) fn refused(why: Refused) -> Error {
    match why {
        Refused::Expired(at) => expired(at),
        Refused::Unavailable(_) => Error::new(ErrorCode::ServiceUnavailable, "The identity provider does not respond")
            .retry_after(5)
            .because(why),
        why => unauthorized(ErrorCode::InvalidToken, "The token is not valid for this API").because(why),
    }
}
