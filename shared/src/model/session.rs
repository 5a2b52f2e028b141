//! Sessions of the dashboard. A session is an indirection to a credential: a personal access token, or the grant of the OAuth2
//! issuer. Its row is found by the hash of the cookie's secret, and says only which credential that is, so a session never
//! allows more than its credential does now.

mod creation;
mod list;

pub(crate) use creation::Replaced;

use std::net::IpAddr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::clock::Timestamp;
use crate::error::Result;
use crate::id::{SessionId, TokenId, UserId};
use crate::model::{AccessToken, Action, Author, Target, TargetKind, key};
use crate::name::ClientId;
use crate::oauth::{Grant, VerifiedEmail};
use crate::scope::Scope;
use crate::sort::{Position, Sort};
use crate::table::{Change, Consistency, Index, IndexKey, Table, TableError, Transaction, Values, Write};
use crate::token::TokenHash;

/// The time after which a session ends, however much it is used.
pub const SESSION_LIFE: Duration = Duration::from_secs(7 * 24 * 60 * 60);
/// The time without a request after which a session ends.
pub const SESSION_IDLE: Duration = Duration::from_secs(12 * 60 * 60);
/// The time after a sign-in for which a session may do what needs a recent one.
pub const SIGN_IN_RECENT: Duration = Duration::from_secs(15 * 60);
/// The precision of the last use of a session.
pub(crate) const SESSION_USE_PRECISION: Duration = Duration::from_secs(5 * 60);
/// The maximum length of the user agent that a session keeps.
const MAX_USER_AGENT_CHARS: usize = 256;

/// A session as its row has it. The cookie's secret is not stored.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Session {
    /// The session's ID, which is not secret.
    pub id: SessionId,
    hash: TokenHash,
    credential: SessionCredential,
    /// The time of the sign-in.
    pub created_at: Timestamp,
    /// The time of the last request, precise to five minutes.
    pub last_used_at: Timestamp,
    /// The time at which the session ends at the latest. The table uses another name, because its `expires_at` is the time at
    /// which DynamoDB may delete the row.
    pub valid_until: Timestamp,
    /// The address that the gateway saw at the sign-in.
    pub source_address: IpAddr,
    /// The browser as it named itself at the sign-in.
    pub user_agent: Option<String>,
}

/// The credential that a session stands for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum SessionCredential {
    /// A personal access token that was pasted, with the scopes that it had.
    #[serde(rename = "token")]
    Token { id: TokenId, hash: TokenHash, user_id: UserId, scopes: Vec<Scope> },
    /// The grant of a person who signed in at the OAuth2 issuer. The issuer's token is not kept.
    #[serde(rename = "oauth2")]
    OAuth2 { issuer: String, subject: String, client_id: ClientId, scopes: Vec<Scope>, email: Option<VerifiedEmail> },
}

/// The way in which a person signed in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum SignInMethod {
    /// With an authorization code of the OAuth2 issuer.
    OAuth2,
    /// With a personal access token.
    Token,
}

/// The browser that signs in.
#[derive(Clone, Debug)]
pub(crate) struct Browser {
    pub(crate) source_address: IpAddr,
    pub(crate) user_agent: Option<String>,
}

impl SessionCredential {
    pub(crate) fn token(token: &AccessToken, hash: TokenHash) -> Self {
        Self::Token { id: token.id.clone(), hash, user_id: token.user_id.clone(), scopes: token.scopes.clone() }
    }

    pub(crate) fn grant(grant: Grant, email: Option<VerifiedEmail>) -> Self {
        let Grant { issuer, subject, client_id, scopes, .. } = grant;
        Self::OAuth2 { issuer, subject, client_id, scopes, email }
    }

    /// Returns the holder of the list of sessions that has the session.
    fn holder(&self) -> String {
        match self {
            Self::Token { user_id, .. } => user_id.to_string(),
            Self::OAuth2 { issuer, subject, .. } => key::subject_hash(issuer, subject),
        }
    }
}

impl Session {
    /// Returns a session that starts now. It ends with its credential, if that ends before.
    pub(crate) fn new(
        hash: TokenHash,
        credential: SessionCredential,
        credential_ends_at: Option<Timestamp>,
        browser: Browser,
        now: Timestamp,
    ) -> Self {
        let end = now.plus(SESSION_LIFE);
        let kept = |text: String| text.chars().take(MAX_USER_AGENT_CHARS).collect();
        Self {
            id: SessionId::random(),
            hash,
            credential,
            created_at: now,
            last_used_at: now,
            valid_until: credential_ends_at.map_or(end, |at| at.min(end)),
            source_address: browser.source_address,
            user_agent: browser.user_agent.map(kept),
        }
    }

    /// Returns the session of a cookie's secret. Strongly consistent, so that a session works everywhere at once and an ended
    /// one is never found again.
    pub(crate) async fn by_hash(table: &Table, hash: TokenHash) -> Result<Option<Self>, TableError> {
        table.get(key::session(hash), Consistency::Strong).await
    }

    pub(crate) fn hash(&self) -> TokenHash {
        self.hash
    }

    pub(crate) fn credential(&self) -> &SessionCredential {
        &self.credential
    }

    /// Returns the way in which the person signed in.
    pub fn method(&self) -> SignInMethod {
        match self.credential {
            SessionCredential::Token { .. } => SignInMethod::Token,
            SessionCredential::OAuth2 { .. } => SignInMethod::OAuth2,
        }
    }

    /// Returns the time at which the session ends unless it is used before.
    pub(crate) fn ends_at(&self) -> Timestamp {
        self.valid_until.min(self.last_used_at.plus(SESSION_IDLE))
    }

    /// Returns whether the sign-in is recent enough for a change of who may do what.
    pub(crate) fn is_recent(&self, now: Timestamp) -> bool {
        now.since(self.created_at) < SIGN_IN_RECENT
    }

    /// Returns the grant of a session by the OAuth2 issuer, which lasts as long as the session.
    pub(crate) fn grant(&self) -> Option<Grant> {
        match &self.credential {
            SessionCredential::Token { .. } => None,
            SessionCredential::OAuth2 { issuer, subject, client_id, scopes, email } => Some(Grant {
                issuer: issuer.clone(),
                subject: subject.clone(),
                client_id: client_id.clone(),
                scopes: scopes.clone(),
                issued_at: self.created_at,
                expires_at: self.valid_until,
                email: email.clone(),
            }),
        }
    }

    /// Returns whether the token that was pasted still is the one of the sign-in: it has not been rotated, and has lost no scope.
    pub(crate) fn still_stands_for(&self, token: &AccessToken) -> bool {
        match &self.credential {
            SessionCredential::Token { scopes, .. } => {
                token.superseded_at.is_none() && scopes.iter().all(|scope| token.scopes.contains(scope))
            }
            SessionCredential::OAuth2 { .. } => true,
        }
    }

    /// Records a use of the session, unless it has ended or one was recorded within the last five minutes.
    pub(crate) async fn record_use(&self, table: &Table, now: Timestamp) -> Result<(), TableError> {
        let before = Timestamp::from_millis(now.as_millis() - SESSION_USE_PRECISION.as_millis() as i64);
        let used = Self { last_used_at: now, ..self.clone() };
        let change = Change {
            expression: "SET last_used_at = :now, expires_at = :end".to_owned(),
            condition: Some("attribute_exists(pk) AND last_used_at <= :before"),
            values: Values::new().set(":now", now).set(":before", before).set(":end", used.ends_at().as_seconds()),
            ..Change::default()
        };
        // A failed condition is fine: a rival has recorded the use, or the session has ended.
        table.update(key::session(self.hash), change).await.map(drop)
    }

    /// Ends the session. Returns `false` if it had ended. The session of a person who belongs to no account has no author, and
    /// leaves no event: events belong to accounts.
    pub async fn end(&self, table: &Table, author: Option<&Author>, now: Timestamp) -> Result<bool> {
        let key = key::session(self.hash);
        let write = Write::DeleteIf { key, condition: "attribute_exists(pk)", names: None, values: None };
        let mut transaction = Transaction::new().write(write).or(|_| ());
        if let Some(author) = author {
            transaction = transaction.recording(&author.event(Action::SessionEnded, self.target(), now))?;
        }
        Ok(transaction.commit(table).await?.is_ok())
    }

    fn target(&self) -> Target {
        Target::new(TargetKind::Session, &self.id, None)
    }

    fn write(&self) -> Result<Write, TableError> {
        let index_key = IndexKey {
            index: Index::ByCreation,
            partition: key::sessions(&self.credential.holder()),
            sort: self.position(Sort::Created),
        };
        let row = SessionRow { session: self, deletable_at: self.ends_at().as_seconds() };
        Write::create(key::session(self.hash), &row, vec![index_key])
    }
}

impl Position for Session {
    fn position(&self, _: Sort) -> String {
        format!("{:015}#{}", self.created_at.as_millis(), self.id)
    }
}

#[derive(Serialize)]
struct SessionRow<'a> {
    #[serde(flatten)]
    session: &'a Session,
    /// The row's TTL for DynamoDB, in seconds since the Unix epoch.
    #[serde(rename = "expires_at")]
    deletable_at: i64,
}
