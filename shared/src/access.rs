//! Who calls and what they may do. Holding a value of this module proves the permission: its fields are private, so only
//! authentication makes a [`Caller`], and only the extractors in `authorized` make a [`Tenant`], an [`Authorized`] resource
//! or an [`OwnToken`].

mod applications;
mod authorized;
mod permission;
mod requested;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::extract::FromRequestParts;
use http::header::{AUTHORIZATION, WWW_AUTHENTICATE};
use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue};
use serde::{Deserialize, Serialize};

use crate::clock::{Clock, Timestamp};
use crate::error::{Error, ErrorCode, Result};
use crate::id::{TokenId, UserId};
use crate::model::{AccessToken, Account, Application, Identity, Standing, USE_PRECISION, User};
use crate::oauth::{Grant, Issuer, Jwt, MalformedJwt, Refused};
use crate::rate_limit::{Limiter, State, Subject};
use crate::route::{Linking, Route};
use crate::table::{Consistency, Table, TableError};
use crate::token::{TokenHash, TokenSecret};

pub use applications::*;
pub(crate) use authorized::find_early;
pub use authorized::*;
pub use permission::*;
pub(crate) use requested::Places;
pub use requested::*;

/// What a token was given the right to do. No scope includes another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, utoipa::ToSchema)]
pub enum Scope {
    #[serde(rename = "repositories:read")]
    RepositoriesRead,
    #[serde(rename = "repositories:write")]
    RepositoriesWrite,
    #[serde(rename = "deployments:read")]
    DeploymentsRead,
    #[serde(rename = "deployments:write")]
    DeploymentsWrite,
    #[serde(rename = "tokens:read")]
    TokensRead,
    #[serde(rename = "tokens:write")]
    TokensWrite,
    /// The account with its members, invitations and applications.
    #[serde(rename = "account:read")]
    AccountRead,
    #[serde(rename = "account:write")]
    AccountWrite,
    #[serde(rename = "teams:read")]
    TeamsRead,
    #[serde(rename = "teams:write")]
    TeamsWrite,
}

impl Scope {
    pub const ALL: [Scope; 10] = [
        Self::RepositoriesRead,
        Self::RepositoriesWrite,
        Self::DeploymentsRead,
        Self::DeploymentsWrite,
        Self::TokensRead,
        Self::TokensWrite,
        Self::AccountRead,
        Self::AccountWrite,
        Self::TeamsRead,
        Self::TeamsWrite,
    ];

    pub const fn as_str(self) -> &'static str {
        match self {
            Self::RepositoriesRead => "repositories:read",
            Self::RepositoriesWrite => "repositories:write",
            Self::DeploymentsRead => "deployments:read",
            Self::DeploymentsWrite => "deployments:write",
            Self::TokensRead => "tokens:read",
            Self::TokensWrite => "tokens:write",
            Self::AccountRead => "account:read",
            Self::AccountWrite => "account:write",
            Self::TeamsRead => "teams:read",
            Self::TeamsWrite => "teams:write",
        }
    }
}

/// The scopes that somebody asks for, each once and in the order of [`Scope::ALL`]; `None` when there are none.
pub fn distinct(scopes: &[Scope]) -> Option<Vec<Scope>> {
    let found: Vec<_> = Scope::ALL.into_iter().filter(|scope| scopes.contains(scope)).collect();
    (!found.is_empty()).then_some(found)
}

/// Who may call an endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Anybody, and the request counts against its source address.
    Public,
    /// Any valid token.
    Authenticated,
    /// A valid token with the scope.
    Scope(Scope),
}

/// How long an execution environment may go on with what it knows of a token and its account. A revocation, a new
/// plan or a new scope takes effect everywhere within this time.
pub const TOKEN_CACHE_TTL: Duration = Duration::from_secs(30);
/// Tokens remembered in one execution environment, about 1 KB each.
const REMEMBERED: usize = 2_000;
/// When the token stops working, on every response to one that does.
pub const TOKEN_EXPIRES_AT: HeaderName = HeaderName::from_static("x-token-expires-at");
/// A token with less than this left is told where to rotate it.
const ROTATION_HINT: Duration = Duration::from_secs(14 * 24 * 60 * 60);

/// The holder of a valid token.
#[derive(Clone, Debug)]
pub struct Caller {
    credential: Arc<Credential>,
    account: Arc<Account>,
    user: Arc<User>,
}

#[derive(Debug)]
enum Credential {
    Token(AccessToken),
    User(Grant),
    Application(Grant, Application),
}

impl Caller {
    pub fn account(&self) -> &Account {
        &self.account
    }

    /// The user who calls, or what stands for the application that does.
    pub fn user_id(&self) -> &UserId {
        &self.user.id
    }

    /// The application that calls, when it is no user.
    pub fn application(&self) -> Option<&Application> {
        match &*self.credential {
            Credential::Application(_, application) => Some(application),
            Credential::Token(_) | Credential::User(_) => None,
        }
    }

    /// The personal access token that the request has, when it is not an OAuth2 token.
    pub fn token_id(&self) -> Option<&TokenId> {
        self.token().map(|token| &token.id)
    }

    /// The same; an application's is in no account's list of members.
    pub fn user(&self) -> &User {
        &self.user
    }

    pub fn scopes(&self) -> &[Scope] {
        match &*self.credential {
            Credential::Token(token) => &token.scopes,
            Credential::User(grant) | Credential::Application(grant, _) => &grant.scopes,
        }
    }

    /// When the token stops working.
    pub fn expires_at(&self) -> Option<Timestamp> {
        match &*self.credential {
            Credential::Token(token) => token.ends_at(),
            Credential::User(grant) | Credential::Application(grant, _) => Some(grant.expires_at),
        }
    }

    /// The token to rotate, when it is about to expire and has not been rotated yet.
    pub(crate) fn token_to_rotate(&self, now: Timestamp) -> Option<&TokenId> {
        let token = self.token()?;
        let left = token.expires_at?.since(now);
        (left < ROTATION_HINT && token.superseded_at.is_none()).then_some(&token.id)
    }

    fn token(&self) -> Option<&AccessToken> {
        match &*self.credential {
            Credential::Token(token) => Some(token),
            Credential::User(_) | Credential::Application(..) => None,
        }
    }

    /// Whether the caller may give these scopes to a token: nobody gives more than they have.
    ///
    /// # Errors
    /// `insufficient_scope`.
    pub fn check_grant(&self, scopes: &[Scope]) -> Result<()> {
        scopes.iter().try_for_each(|scope| self.check_scope(Access::Scope(*scope)))
    }

    /// # Errors
    /// `insufficient_scope`, as RFC 6750 section 3.1 has it, and `insufficient_permission`.
    pub(crate) fn check(&self, route: &Route) -> Result<()> {
        self.check_scope(route.access)?;
        check_role(self.user.role, route.role)
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

    fn check_validity(&self, now: Timestamp) -> Result<()> {
        let token = match &*self.credential {
            Credential::Token(token) => token,
            Credential::User(grant) | Credential::Application(grant, _) if grant.has_expired(now) => {
                return Err(expired(grant.expires_at));
            }
            Credential::User(_) | Credential::Application(..) => return Ok(()),
        };
        if token.revoked_at.is_some_and(|at| at <= now) {
            return Err(unauthorized(ErrorCode::TokenRevoked, "The token was revoked"));
        }
        if let Some(at) = token.superseded_at.filter(|at| *at <= now) {
            return Err(unauthorized(ErrorCode::TokenRotated, format!("The token was replaced by another at {at}")));
        }
        match token.expires_at.filter(|at| *at <= now) {
            Some(at) => Err(expired(at)),
            None => Ok(()),
        }
    }
}

fn expired(at: Timestamp) -> Error {
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

/// A 401 with the challenge of RFC 6750 section 3: without an error code when no credentials were sent.
fn unauthorized(code: ErrorCode, message: impl Into<std::borrow::Cow<'static, str>>) -> Error {
    let challenge = match code {
        ErrorCode::MissingToken => "Bearer",
        _ => "Bearer error=\"invalid_token\"",
    };
    Error::new(code, message).with_header(WWW_AUTHENTICATE, HeaderValue::from_static(challenge))
}

/// Authenticates bearer tokens, remembering the good ones for [`TOKEN_CACHE_TTL`].
#[derive(Debug)]
pub struct Authenticator {
    table: Table,
    clock: Clock,
    issuer: Option<Issuer>,
    known: Mutex<HashMap<TokenHash, (Caller, Timestamp)>>,
    /// When a token was last said to be in use, by this environment or by another.
    used: Mutex<HashMap<TokenId, Timestamp>>,
}

/// Whom a token stands for, as the table has it.
struct Found {
    credential: Credential,
    account: Account,
    user: User,
    /// Where the account stood, which the limiter may not know yet.
    rate_limit: Option<State>,
}

/// The use of a token that is still to be recorded.
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
    pub fn new(table: Table, clock: Clock, issuer: Option<Issuer>) -> Self {
        Self { table, clock, issuer, known: Mutex::default(), used: Mutex::default() }
    }

    /// # Errors
    /// One of the 401s, and `not_linked`; a malformed token is refused without a read.
    pub async fn authenticate(&self, headers: &HeaderMap, linking: Linking, limiter: &Limiter) -> Result<Caller> {
        let bearer = bearer(headers)?;
        let hash = bearer.hash();
        let now = self.clock.now();
        let caller = match self.remembered(hash, now) {
            Some(caller) => caller,
            None => {
                let Found { credential, account, user, rate_limit } = match &bearer {
                    Bearer::Token(_) => self.look_up(hash, now).await?,
                    Bearer::Jwt(jwt) => self.verify(jwt, linking, now).await?,
                };
                if let Some(state) = rate_limit {
                    limiter.observe(&Subject::Account(account.id.clone()), state);
                }
                let caller =
                    Caller { credential: Arc::new(credential), account: Arc::new(account), user: Arc::new(user) };
                self.remember(hash, caller, now)
            }
        };
        caller.check_validity(now)?;
        Ok(caller)
    }

    /// The caller's use of their token, once an hour. Environments that meet here all ask for it, and the table takes one.
    pub(crate) fn unrecorded_use(&self, caller: &Caller) -> Option<UnrecordedUse> {
        let at = self.clock.now();
        let id = caller.token_id()?;
        let mut used = self.used.lock().unwrap_or_else(PoisonError::into_inner);
        if is_in_use(&used, id, at) {
            return None;
        }
        remember_use(&mut used, id, at);
        Some(UnrecordedUse { caller: caller.clone(), table: self.table.clone(), at })
    }

    async fn look_up(&self, hash: TokenHash, now: Timestamp) -> Result<Found> {
        let unknown = || unauthorized(ErrorCode::InvalidToken, "The token is unknown");
        let token = AccessToken::by_hash(&self.table, hash).await?.ok_or_else(unknown)?;
        let (account, user) = (&token.account_id, Some(&token.user_id));
        let used = || self.used.lock().unwrap_or_else(PoisonError::into_inner);
        let not_known_in_use = Some(&token.id).filter(|id| !is_in_use(&used(), id, now));
        let found = Standing::load(&self.table, account, user, not_known_in_use, Consistency::Eventual).await?;
        if let Some(at) = found.last_used_at {
            remember_use(&mut used(), &token.id, at);
        }
        let account = found.account.ok_or_else(unknown)?;
        let removed = || unauthorized(ErrorCode::TokenRevoked, "The token's user was removed from the account");
        let user = found.user.ok_or_else(removed)?;
        Ok(Found { credential: Credential::Token(token), account, user, rate_limit: found.rate_limit })
    }

    /// Verifies an OAuth2 token and finds whom it stands for.
    async fn verify(&self, jwt: &Jwt, linking: Linking, now: Timestamp) -> Result<Found> {
        let issuer = self.issuer.as_ref().ok_or_else(|| refused(Refused::NoIssuer))?;
        let mut grant = issuer.verify(jwt, now).await.map_err(refused)?;
        let gone = || not_linked("The account does not exist any more");
        if grant.is_of_an_application() {
            let not_registered = || not_linked("The application is not registered with an account");
            let application =
                Application::by_client(&self.table, &grant.client_id).await?.ok_or_else(not_registered)?;
            let account = &application.account_id;
            let found = Standing::load(&self.table, account, None, None, Consistency::Eventual).await?;
            let (account, rate_limit) = (found.account.ok_or_else(gone)?, found.rate_limit);
            grant.scopes.retain(|scope| application.scopes.contains(scope));
            let user = application.as_user();
            return Ok(Found { credential: Credential::Application(grant, application), account, user, rate_limit });
        }
        let identity = self.identity(issuer, jwt, &grant, linking, now).await?;
        // The user may be new.
        let (account, user) = (&identity.account_id, Some(&identity.user_id));
        let found = Standing::load(&self.table, account, user, None, Consistency::Strong).await?;
        let removed = || not_linked("The user was removed from the account");
        let (account, user) = (found.account.ok_or_else(gone)?, found.user.ok_or_else(removed)?);
        Ok(Found { credential: Credential::User(grant), account, user, rate_limit: found.rate_limit })
    }

    async fn identity(
        &self,
        issuer: &Issuer,
        jwt: &Jwt,
        grant: &Grant,
        linking: Linking,
        now: Timestamp,
    ) -> Result<Identity> {
        if let Some(identity) = Identity::of(&self.table, grant, Consistency::Eventual).await? {
            return Ok(identity);
        }
        if linking == Linking::KnownOnly {
            return Err(not_linked("The user is not known yet; call GET /v1/user first"));
        }
        let email = issuer.verified_email(jwt, grant).await.map_err(|failed| refused(Refused::Unavailable(failed)))?;
        let email = email.ok_or_else(|| not_linked("The identity provider gives no verified mail address"))?;
        let linked = Identity::link(&self.table, grant, &email, now).await?;
        linked.ok_or_else(|| not_linked("No account takes users with this mail address"))
    }

    fn remember(&self, hash: TokenHash, caller: Caller, now: Timestamp) -> Caller {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if known.len() >= REMEMBERED {
            known.clear();
        }
        known.insert(hash, (caller.clone(), now));
        caller
    }

    fn remembered(&self, hash: TokenHash, now: Timestamp) -> Option<Caller> {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let (caller, read_at) = known.get(&hash)?;
        (now.since(*read_at) < TOKEN_CACHE_TTL).then(|| caller.clone())
    }
}

fn is_in_use(used: &HashMap<TokenId, Timestamp>, id: &TokenId, now: Timestamp) -> bool {
    used.get(id).is_some_and(|at| now.since(*at) < USE_PRECISION)
}

fn remember_use(used: &mut HashMap<TokenId, Timestamp>, id: &TokenId, at: Timestamp) {
    if used.len() >= REMEMBERED {
        used.clear();
    }
    used.insert(id.clone(), at);
}

/// The 403 for a valid token of nobody.
fn not_linked(why: &'static str) -> Error {
    Error::new(ErrorCode::NotLinked, why)
}

/// The refusal of an OAuth2 token. What exactly is wrong is in the log.
fn refused(why: Refused) -> Error {
    match why {
        Refused::Expired(at) => expired(at),
        Refused::Unavailable(_) => Error::new(ErrorCode::ServiceUnavailable, "The identity provider does not answer")
            .retry_after(5)
            .because(why),
        why => unauthorized(ErrorCode::InvalidToken, "The token is not valid here").because(why),
    }
}

/// What a request has for a token.
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
    let missing = || unauthorized(ErrorCode::MissingToken, "Send a token as 'Authorization: Bearer <token>'");
    let malformed = || unauthorized(ErrorCode::InvalidToken, "The token is malformed");
    let value = values.next().ok_or_else(missing)?.to_str().map_err(|_| malformed())?;
    if values.next().is_some() {
        return Err(unauthorized(ErrorCode::InvalidToken, "Send one Authorization header"));
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
