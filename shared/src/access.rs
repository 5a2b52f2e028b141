//! Who calls and what they may do. Holding a value of this module proves the permission: its fields are private, so only
//! authentication makes a [`Caller`], and only the extractors in `authorized` make a [`Tenant`], an [`AuthorizedRepository`]
//! or an [`AuthorizedDeployment`], and those in `tokens` an [`AuthorizedToken`] or an [`OwnToken`].

mod authorized;
mod permission;
mod tokens;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::extract::FromRequestParts;
use http::header::{AUTHORIZATION, WWW_AUTHENTICATE};
use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue};
use serde::{Deserialize, Serialize};

use crate::clock::{Clock, Timestamp};
use crate::endpoint::Route;
use crate::error::{Error, ErrorCode, Result};
use crate::id::{TokenId, UserId};
use crate::model::{AccessToken, Account, USE_PRECISION, User};
use crate::table::{Table, TableError};
use crate::token::{TokenHash, TokenSecret};

pub(crate) use authorized::Homes;
pub use authorized::*;
pub use permission::*;
pub use tokens::*;

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
    token: Arc<AccessToken>,
    account: Arc<Account>,
    user: Arc<User>,
}

impl Caller {
    pub fn account(&self) -> &Account {
        &self.account
    }

    pub fn user_id(&self) -> &UserId {
        &self.token.user_id
    }

    pub fn user(&self) -> &User {
        &self.user
    }

    pub fn scopes(&self) -> &[Scope] {
        &self.token.scopes
    }

    /// When the token stops working.
    pub fn expires_at(&self) -> Option<Timestamp> {
        self.token.ends_at()
    }

    /// The token to rotate, when it is about to expire and has not been rotated yet.
    pub(crate) fn token_to_rotate(&self, now: Timestamp) -> Option<&TokenId> {
        let left = self.token.expires_at?.since(now);
        (left < ROTATION_HINT && self.token.superseded_at.is_none()).then_some(&self.token.id)
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
            Access::Scope(scope) if !self.token.scopes.contains(&scope) => {
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
        if self.token.revoked_at.is_some_and(|at| at <= now) {
            return Err(unauthorized(ErrorCode::TokenRevoked, "The token was revoked"));
        }
        if let Some(at) = self.token.superseded_at.filter(|at| *at <= now) {
            return Err(unauthorized(ErrorCode::TokenRotated, format!("The token was replaced by another at {at}")));
        }
        if let Some(at) = self.token.expires_at.filter(|at| *at <= now) {
            let expired_at = HeaderValue::try_from(at.to_string()).expect("a time is ASCII");
            return Err(unauthorized(ErrorCode::TokenExpired, format!("The token expired at {at}"))
                .with_header(TOKEN_EXPIRES_AT, expired_at));
        }
        Ok(())
    }
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
    known: Mutex<HashMap<TokenHash, (Caller, Timestamp)>>,
    /// When this environment last said that a token is in use.
    used: Mutex<HashMap<TokenId, Timestamp>>,
}

/// The use of a token that is still to be recorded.
#[derive(Debug)]
pub(crate) struct UnrecordedUse {
    token: Arc<AccessToken>,
    table: Table,
    at: Timestamp,
}

impl UnrecordedUse {
    pub(crate) async fn record(self) -> Result<(), TableError> {
        self.token.record_use(&self.table, self.at).await
    }
}

impl Authenticator {
    pub fn new(table: Table, clock: Clock) -> Self {
        Self { table, clock, known: Mutex::default(), used: Mutex::default() }
    }

    /// # Errors
    /// One of the 401s; a malformed token is refused without a read.
    pub async fn authenticate(&self, headers: &HeaderMap) -> Result<Caller> {
        let hash = bearer_token(headers)?.hash();
        let now = self.clock.now();
        let caller = match self.remembered(hash, now) {
            Some(caller) => caller,
            None => self.look_up(hash, now).await?,
        };
        caller.check_validity(now)?;
        Ok(caller)
    }

    /// The caller's use of their token, once an hour. Many environments ask for it, and the table takes one.
    pub(crate) fn unrecorded_use(&self, caller: &Caller) -> Option<UnrecordedUse> {
        let at = self.clock.now();
        let mut used = self.used.lock().unwrap_or_else(PoisonError::into_inner);
        if used.get(&caller.token.id).is_some_and(|before| at.since(*before) < USE_PRECISION) {
            return None;
        }
        if used.len() >= REMEMBERED {
            used.clear();
        }
        used.insert(caller.token.id.clone(), at);
        Some(UnrecordedUse { token: caller.token.clone(), table: self.table.clone(), at })
    }

    async fn look_up(&self, hash: TokenHash, now: Timestamp) -> Result<Caller> {
        let unknown = || unauthorized(ErrorCode::InvalidToken, "The token is unknown");
        let token = AccessToken::by_hash(&self.table, hash).await?.ok_or_else(unknown)?;
        let account = Account::load(&self.table, &token.account_id);
        let user = User::load(&self.table, &token.account_id, &token.user_id);
        let (account, user) = futures_util::future::try_join(account, user).await?;
        let account = account.ok_or_else(unknown)?;
        let removed = || unauthorized(ErrorCode::TokenRevoked, "The token's user was removed from the account");
        let user = user.ok_or_else(removed)?;
        let caller = Caller { token: Arc::new(token), account: Arc::new(account), user: Arc::new(user) };
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if known.len() >= REMEMBERED {
            known.clear();
        }
        known.insert(hash, (caller.clone(), now));
        Ok(caller)
    }

    fn remembered(&self, hash: TokenHash, now: Timestamp) -> Option<Caller> {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let (caller, read_at) = known.get(&hash)?;
        (now.since(*read_at) < TOKEN_CACHE_TTL).then(|| caller.clone())
    }
}

fn bearer_token(headers: &HeaderMap) -> Result<TokenSecret> {
    let mut values = headers.get_all(AUTHORIZATION).iter();
    let missing = || unauthorized(ErrorCode::MissingToken, "Send a token as 'Authorization: Bearer <token>'");
    let malformed = || unauthorized(ErrorCode::InvalidToken, "The token is malformed");
    let value = values.next().ok_or_else(missing)?.to_str().map_err(|_| malformed())?;
    if values.next().is_some() {
        return Err(unauthorized(ErrorCode::InvalidToken, "Send one Authorization header"));
    }
    match value.split_once(' ') {
        Some((scheme, token)) if scheme.eq_ignore_ascii_case("bearer") => {
            token.trim().parse().map_err(|error| malformed().because(error))
        }
        _ => Err(missing()),
    }
}
