//! Authentication by bearer tokens.

use std::num::NonZeroUsize;
use std::time::Duration;

use http::HeaderMap;
use http::header::AUTHORIZATION;

use super::caller::{Caller, Credential, expired, unauthorized};
use super::signed_in::SignedIn;
use crate::cache::Cache;
use crate::clock::{Clock, Timestamp};
use crate::error::{Error, ErrorCode, Result};
use crate::id::TokenId;
use crate::model::{
    AccessToken, Account, Application, CredentialKey, CurrentRows, Identity, Newcomer, Standing, State, Subject,
    USE_PRECISION, User,
};
use crate::name::ClientId;
use crate::oauth::{Grant, Issuer, Jwt, MalformedJwt, Refused};
use crate::rate_limit::Limiter;
use crate::route::Linking;
use crate::table::{Consistency, Table, TableError};
use crate::token::{TokenHash, TokenSecret};

/// The time that an execution environment caches a token and its account. For reads, a revocation, a new plan or new
/// scopes take effect everywhere within this time. A request that may change something never relies on the cache.
pub const TOKEN_CACHE_TTL: Duration = Duration::from_secs(30);
/// The maximum number of cached tokens in one execution environment, about 1 KB each.
const REMEMBERED: NonZeroUsize = NonZeroUsize::new(2_000).unwrap();

/// Authenticates bearer tokens. Caches the valid ones for [`TOKEN_CACHE_TTL`].
#[derive(Debug)]
pub struct Authenticator {
    table: Table,
    clock: Clock,
    issuer: Option<Issuer>,
    known: Cache<TokenHash, (Caller, Timestamp)>,
    /// The time at which the last use of each token was recorded, by this environment or another.
    used: Cache<TokenId, Timestamp>,
}

/// The rows of a token in the table.
struct Found {
    credential: Credential,
    account: Account,
    user: User,
    /// The rate-limit state of the account, which the limiter may not have yet.
    rate_limit: Option<State>,
}

/// The use of a token, to be recorded.
#[derive(Debug)]
pub(crate) struct UnrecordedUse {
    caller: Caller,
    table: Table,
    at: Timestamp,
}

impl UnrecordedUse {
    pub(crate) async fn record(self) -> Result<(), TableError> {
        match self.caller.token() {
            Some(token) => token.record_use(&self.table, self.at).await,
            None => Ok(()),
        }
    }
}

impl Authenticator {
    /// Returns an authenticator that has cached nothing. Without an issuer it refuses every JWT.
    pub fn new(table: Table, clock: Clock, issuer: Option<Issuer>) -> Self {
        Self { table, clock, issuer, known: Cache::new(REMEMBERED), used: Cache::new(REMEMBERED) }
    }

    /// # Errors
    /// Fails with a 401 or with `not_linked`. Refuses a malformed token without a read.
    pub(crate) async fn authenticate(
        &self,
        headers: &HeaderMap,
        linking: Linking,
        limiter: &Limiter,
    ) -> Result<SignedIn> {
        let bearer = bearer(headers)?;
        let hash = bearer.hash();
        let now = self.clock.now();
        let caller = match self.remembered(hash, now) {
            Some(caller) => caller,
            None => {
                let found = match &bearer {
                    Bearer::Token(_) => self.look_up(hash, now).await.map(Ok),
                    Bearer::Jwt(jwt) => self.verify(jwt, linking, now).await,
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
                let caller = Caller::new(hash, credential, account, user);
                self.known.insert(hash, (caller.clone(), now));
                caller
            }
        };
        caller.check_validity(now)?;
        Ok(SignedIn::Caller(caller))
    }

    /// Returns whether this environment has seen the request's token valid, and knows nothing that ends it. A token that is
    /// known is worth a read.
    pub(crate) fn knows(&self, headers: &HeaderMap) -> bool {
        let known = bearer(headers).ok().and_then(|bearer| self.known.get(&bearer.hash()));
        known.is_some_and(|(caller, _)| caller.check_validity(self.clock.now()).is_ok())
    }

    /// Reads the rows of an authenticated caller again, strongly consistent, and returns the caller as they are now. A
    /// request that may change something is decided on them.
    ///
    /// # Errors
    /// Fails with a 401 or with `not_linked` if the caller's credential is gone.
    pub(crate) async fn confirm(&self, caller: &Caller) -> Result<Caller> {
        let now = self.clock.now();
        let (account, user) = (&caller.account().id, Some(caller.user_id()));
        let (credential, account, user) = match caller.credential() {
            Credential::Token(_) => {
                let key = CredentialKey::Token(caller.hash());
                let rows = CurrentRows::<AccessToken>::load(&self.table, key, account, user).await?;
                let token = rows.credential.ok_or_else(unknown)?;
                (Credential::Token(token), rows.account.ok_or_else(unknown)?, rows.user.ok_or_else(removed_user)?)
            }
            Credential::User(grant) => {
                let key = CredentialKey::Subject { issuer: &grant.issuer, subject: &grant.subject };
                let rows = CurrentRows::<Identity>::load(&self.table, key, account, user).await?;
                let is_same = |identity: &Identity| identity.user_id == *caller.user_id();
                rows.credential.filter(is_same).ok_or_else(unlinked)?;
                let credential = Credential::User(grant.clone());
                (credential, rows.account.ok_or_else(gone)?, rows.user.ok_or_else(unlinked)?)
            }
            Credential::Application(grant, application) => {
                let key = CredentialKey::Client(&grant.client_id);
                let rows = CurrentRows::<Application>::load(&self.table, key, account, None).await?;
                let is_same = |found: &Application| found.user_id == application.user_id;
                let found = rows.credential.filter(is_same).ok_or_else(not_registered)?;
                let user = found.as_user();
                (Credential::of_application(grant.clone(), found), rows.account.ok_or_else(gone)?, user)
            }
        };
        let current = Caller::new(caller.hash(), credential, account, user);
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

    /// Returns the caller's use of their token, once an hour. Several requests may return a use at once; the table
    /// accepts the first.
    pub(crate) fn unrecorded_use(&self, caller: &Caller) -> Option<UnrecordedUse> {
        let at = self.clock.now();
        let id = caller.token_id()?;
        if self.is_in_use(id, at) {
            return None;
        }
        self.used.insert(id.clone(), at);
        Some(UnrecordedUse { caller: caller.clone(), table: self.table.clone(), at })
    }

    async fn look_up(&self, hash: TokenHash, now: Timestamp) -> Result<Found> {
        let token = AccessToken::by_hash(&self.table, hash).await?.ok_or_else(unknown)?;
        let (account, user) = (&token.account_id, Some(&token.user_id));
        let not_known_in_use = Some(&token.id).filter(|id| !self.is_in_use(id, now));
        let found = Standing::load(&self.table, account, user, not_known_in_use, Consistency::Eventual).await?;
        if let Some(at) = found.last_used_at {
            self.used.insert(token.id.clone(), at);
        }
        let account = found.account.ok_or_else(unknown)?;
        let user = found.user.ok_or_else(removed_user)?;
        Ok(Found { credential: Credential::Token(token), account, user, rate_limit: found.rate_limit })
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
        let Some(identity) = Identity::of(&self.table, &grant, Consistency::Eventual).await? else {
            return match linking {
                Linking::KnownOnly => Err(without_account()),
                Linking::Newcomers => newcomer(issuer, jwt, grant).await.map(Err),
            };
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

    fn is_in_use(&self, id: &TokenId, now: Timestamp) -> bool {
        self.used.get(id).is_some_and(|at| now.since(at) < USE_PRECISION)
    }
}

/// Returns the person whom a token names.
async fn newcomer(issuer: &Issuer, jwt: &Jwt, grant: Grant) -> Result<Newcomer> {
    if grant.scopes.is_empty() {
        return Err(not_linked("The token has no scope of the API; sign in again with at least one"));
    }
    let email = issuer.verified_email(jwt, &grant).await.map_err(|failed| refused(Refused::Unavailable(failed)))?;
    let email = email.ok_or_else(|| not_linked("The identity provider has no verified email address of the user"))?;
    Ok(Newcomer::new(grant, email))
}

fn without_account() -> Error {
    not_linked(
        "The user belongs to no account yet; call GET /v1/user/invitations for the accounts that are open to them, and \
         POST /v1/user/join to join one",
    )
}

fn unknown() -> Error {
    unauthorized(ErrorCode::InvalidToken, "The token is unknown")
}

fn removed_user() -> Error {
    unauthorized(ErrorCode::TokenRevoked, "The token's user was removed from the account")
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
fn refused(why: Refused) -> Error {
    match why {
        Refused::Expired(at) => expired(at),
        Refused::Unavailable(_) => Error::new(ErrorCode::ServiceUnavailable, "The identity provider does not respond")
            .retry_after(5)
            .because(why),
        why => unauthorized(ErrorCode::InvalidToken, "The token is not valid for this API").because(why),
    }
}

/// The bearer token of a request.
enum Bearer {
    Token(TokenSecret),
    Jwt(Jwt),
}

impl Bearer {
    fn hash(&self) -> TokenHash {
        match self {
            Self::Token(secret) => secret.hash(),
            Self::Jwt(jwt) => TokenHash::of(jwt.as_str()),
        }
    }
}

fn bearer(headers: &HeaderMap) -> Result<Bearer> {
    let mut values = headers.get_all(AUTHORIZATION).iter();
    let missing =
        || unauthorized(ErrorCode::MissingToken, "The request has no token; send 'Authorization: Bearer <token>'");
    let malformed = || unauthorized(ErrorCode::InvalidToken, "The token is malformed");
    let value = values.next().ok_or_else(missing)?.to_str().map_err(|_| malformed())?;
    if values.next().is_some() {
        return Err(unauthorized(ErrorCode::InvalidToken, "The request has several Authorization headers; send one"));
    }
    match value.split_once(' ') {
        Some((scheme, token)) if scheme.eq_ignore_ascii_case("bearer") => {
            let token = token.trim();
            match token.parse() {
                Ok(jwt) => Ok(Bearer::Jwt(jwt)),
                Err(MalformedJwt) => token.parse().map(Bearer::Token).map_err(|error| malformed().because(error)),
            }
        }
        _ => Err(missing()),
    }
}
