//! Personal access tokens. A token has two kinds of rows: one that its owner sees, found by its id, and one for each of its
//! secrets, found by the secret's hash, which is all that authentication reads. Whoever changes a token changes its own
//! row under the condition that nobody else has since, and in the same transaction the rows of its secrets.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use aws_sdk_dynamodb::types::AttributeValue;
use serde::{Deserialize, Serialize};

use crate::access::Scope;
use crate::clock::Timestamp;
use crate::error::Error;
use crate::id::{AccountId, TokenId, UserId};
use crate::model::Account;
use crate::page::{Position, Sort};
use crate::table::{Change, Consistency, IndexKey, Item, Key, Source, Table, TableError, TransactFailed, Write};
use crate::token::{TokenHash, TokenSecret};

const DAY: Duration = Duration::from_secs(24 * 60 * 60);
/// How long a secret that no longer works is remembered, so that its 401 says why.
const REMEMBERED_FOR: Duration = Duration::from_secs(90 * 24 * 60 * 60);
/// How exact the last use of a token is.
pub(crate) const USE_PRECISION: Duration = Duration::from_secs(60 * 60);
/// Secrets beside the newest that a token can have at once. A rotation beyond that ends the oldest.
const MAX_OLD_SECRETS: usize = 10;
/// Changes by others that one change of a token gives way to.
const MAX_ATTEMPTS: u32 = 16;

/// What people call a token or an application: 1 to 100 characters, no control characters, no spaces around.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(try_from = "String")]
#[schema(value_type = String, examples("ci"))]
pub struct DisplayName(String);

#[derive(Debug, thiserror::Error)]
#[error("must be 1 to 100 characters without control characters and without spaces around them")]
pub struct InvalidDisplayName;

impl FromStr for DisplayName {
    type Err = InvalidDisplayName;

    fn from_str(text: &str) -> Result<Self, InvalidDisplayName> {
        let fits = (1..=100).contains(&text.chars().count()) && text.trim() == text;
        if fits && !text.chars().any(char::is_control) { Ok(Self(text.to_owned())) } else { Err(InvalidDisplayName) }
    }
}

impl TryFrom<String> for DisplayName {
    type Error = InvalidDisplayName;

    fn try_from(text: String) -> Result<Self, InvalidDisplayName> {
        text.parse()
    }
}

impl fmt::Display for DisplayName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// How long a token lives from its creation or rotation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Lifetime {
    Days(u64),
    Permanent,
}

impl Lifetime {
    /// The contract's: tokens expire after 90 days unless they are permanent.
    pub const DEFAULT: Lifetime = Lifetime::Days(90);

    /// What a request asks for, if it does.
    ///
    /// # Errors
    /// When it asks for both.
    pub fn asked_for(expires_in_days: Option<u64>, permanent: bool) -> Result<Option<Self>, Error> {
        match (expires_in_days, permanent) {
            (Some(_), true) => Err(Error::invalid("expires_in_days", "is of no use when permanent is true")),
            (Some(days), false) => Ok(Some(Self::Days(days))),
            (None, true) => Ok(Some(Self::Permanent)),
            (None, false) => Ok(None),
        }
    }

    /// # Errors
    /// `forbidden` when the account's tokens may not live that long.
    pub fn check(self, account: &Account) -> Result<(), Error> {
        if self == Self::Permanent && !account.permanent_tokens {
            return Err(Error::not_permitted("The account's owner does not allow permanent tokens"));
        }
        Ok(())
    }

    pub fn end(self, start: Timestamp) -> Option<Timestamp> {
        match self {
            Self::Days(days) => Some(start.plus(DAY * u32::try_from(days).unwrap_or(u32::MAX))),
            Self::Permanent => None,
        }
    }
}

/// What authentication knows of a personal access token by one of its secrets. The secret itself is not kept.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct AccessToken {
    pub id: TokenId,
    pub account_id: AccountId,
    pub user_id: UserId,
    pub name: DisplayName,
    pub scopes: Vec<Scope>,
    /// Of the secret.
    pub last_four: String,
    pub created_at: Timestamp,
    /// `None`: permanent. It has another name in the table, where `expires_at` is when DynamoDB may delete the row; and it
    /// must be there, so that no row is taken for a permanent token because it lacks something.
    #[serde(rename = "valid_until", deserialize_with = "Option::deserialize")]
    pub expires_at: Option<Timestamp>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revoked_at: Option<Timestamp>,
    /// When the secret stops working because a rotation has replaced it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub superseded_at: Option<Timestamp>,
}

impl AccessToken {
    pub(crate) async fn by_hash(table: &Table, hash: TokenHash) -> Result<Option<Self>, TableError> {
        table.get(secret_key(hash), Consistency::Eventual).await
    }

    /// Writes a new token with its first secret, and counts it.
    pub async fn create(
        &self,
        secret: &TokenSecret,
        lifetime: Lifetime,
        table: &Table,
    ) -> Result<TokenRecord, TransactFailed> {
        table.transact(self.creation(secret, lifetime).map_err(TransactFailed::Table)?).await?;
        Ok(TokenRecord::new(self.clone(), secret, lifetime))
    }

    /// The same as part of a transaction.
    pub fn creation(&self, secret: &TokenSecret, lifetime: Lifetime) -> Result<Vec<Write>, TableError> {
        let record = TokenRecord::new(self.clone(), secret, lifetime);
        Ok(vec![
            Write::create(record.key(), &record, record.index_keys())?,
            self.write(secret.hash())?,
            count(&self.account_id, None, 1),
            count(&self.account_id, Some(&self.user_id), 1),
        ])
    }

    /// The same for the first token of an account, where nothing has been counted yet.
    pub(super) fn first(&self, secret: &TokenSecret, lifetime: Lifetime) -> Result<Vec<Write>, TableError> {
        let record = TokenRecord::new(self.clone(), secret, lifetime);
        let one = TokenCount { tokens: 1 };
        Ok(vec![
            Write::create(record.key(), &record, record.index_keys())?,
            self.write(secret.hash())?,
            Write::create(count_key(&self.account_id, None), &one, Vec::new())?,
            Write::create(count_key(&self.account_id, Some(&self.user_id)), &one, Vec::new())?,
        ])
    }

    /// When the secret stops working, or did.
    pub fn ends_at(&self) -> Option<Timestamp> {
        [self.expires_at, self.revoked_at, self.superseded_at].into_iter().flatten().min()
    }

    /// Says that the token is in use, unless that was said within the last hour.
    pub(crate) async fn record_use(&self, table: &Table, now: Timestamp) -> Result<(), TableError> {
        let millis = |time: Timestamp| AttributeValue::N(time.as_millis().to_string());
        let hour_ago = Timestamp::from_millis(now.as_millis() - USE_PRECISION.as_millis() as i64);
        let change = Change {
            expression: "SET last_used_at = :now".to_owned(),
            condition: Some(
                "attribute_exists(pk) AND (attribute_not_exists(last_used_at) OR last_used_at <= :hour_ago)",
            ),
            values: Item::from([(":now".to_owned(), millis(now)), (":hour_ago".to_owned(), millis(hour_ago))]),
            ..Change::default()
        };
        // That a rival has written it, or that the token is gone, is as good.
        table.update(token_key(&self.account_id, &self.id), change).await.map(drop)
    }

    fn write(&self, hash: TokenHash) -> Result<Write, TableError> {
        let deletable_at = self.ends_at().map(|at| at.plus(REMEMBERED_FOR).as_seconds());
        Write::put(secret_key(hash), &SecretRow { token: self, deletable_at })
    }
}

#[derive(Serialize)]
struct SecretRow<'a> {
    #[serde(flatten)]
    token: &'a AccessToken,
    /// Seconds since the Unix epoch, as DynamoDB's TTL wants them.
    #[serde(rename = "expires_at", skip_serializing_if = "Option::is_none")]
    deletable_at: Option<i64>,
}

/// What says in a token's own row that it is in use.
#[derive(Deserialize)]
pub(super) struct LastUse {
    #[serde(default)]
    pub last_used_at: Option<Timestamp>,
}

/// A personal access token as its owner sees it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct TokenRecord {
    /// As the newest secret has it.
    #[serde(flatten)]
    token: AccessToken,
    lifetime: Lifetime,
    updated_at: Timestamp,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    last_used_at: Option<Timestamp>,
    hash: TokenHash,
    /// Secrets that a rotation has replaced, oldest first. Some may have stopped working since.
    old_secrets: Vec<OldSecret>,
    /// Each change adds one and names the one before.
    version: u64,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct OldSecret {
    hash: TokenHash,
    last_four: String,
    expires_at: Option<Timestamp>,
    superseded_at: Timestamp,
}

/// What a change of a token sets.
#[derive(Clone, Debug, Default)]
pub struct TokenChange {
    pub name: Option<DisplayName>,
    pub scopes: Option<Vec<Scope>>,
}

/// A secret in the place of the one before.
#[derive(Clone, Debug)]
pub struct Rotation<'a> {
    pub secret: &'a TokenSecret,
    pub lifetime: Lifetime,
    /// How long the one before still works.
    pub overlap: Duration,
}

impl TokenRecord {
    fn new(token: AccessToken, secret: &TokenSecret, lifetime: Lifetime) -> Self {
        Self {
            updated_at: token.created_at,
            token,
            lifetime,
            last_used_at: None,
            hash: secret.hash(),
            old_secrets: Vec::new(),
            version: 1,
        }
    }

    pub(crate) async fn find(table: &Table, account: &AccountId, id: &TokenId) -> Result<Option<Self>, TableError> {
        table.get(token_key(account, id), Consistency::Strong).await
    }

    pub fn token(&self) -> &AccessToken {
        &self.token
    }

    pub fn lifetime(&self) -> Lifetime {
        self.lifetime
    }

    pub fn updated_at(&self) -> Timestamp {
        self.updated_at
    }

    /// To the hour.
    pub fn last_used_at(&self) -> Option<Timestamp> {
        self.last_used_at
    }

    /// Where a user's tokens are listed, or with `None` all of the account's.
    pub fn listed(account: &AccountId, user: Option<&UserId>) -> (Source, String) {
        match user {
            None => (Source::Index(1), account_partition(account)),
            Some(user) => (Source::Index(2), user_partition(account, user)),
        }
    }

    /// How many of them there are: a count that each creation's and deletion's transaction keeps.
    pub async fn total(table: &Table, account: &AccountId, user: Option<&UserId>) -> Result<u64, TableError> {
        let count: Option<TokenCount> = table.get(count_key(account, user), Consistency::Strong).await?;
        Ok(count.map_or(0, |count| count.tokens))
    }

    /// Gives the token as it is now; `None` when it was deleted meanwhile.
    pub async fn change(
        self,
        table: &Table,
        change: TokenChange,
        now: Timestamp,
    ) -> Result<Option<Self>, TransactFailed> {
        self.alter(table, now, |token| {
            if let Some(name) = &change.name {
                token.token.name = name.clone();
            }
            if let Some(scopes) = &change.scopes {
                token.token.scopes = scopes.clone();
            }
        })
        .await
    }

    /// Gives the token as it is now; `None` when it was deleted meanwhile.
    pub async fn rotate(
        self,
        table: &Table,
        rotation: Rotation<'_>,
        now: Timestamp,
    ) -> Result<Option<Self>, TransactFailed> {
        self.alter(table, now, |token| {
            token.old_secrets.push(OldSecret {
                hash: token.hash,
                last_four: token.token.last_four.clone(),
                expires_at: token.token.expires_at,
                superseded_at: now.plus(rotation.overlap),
            });
            if let Some(too_many) = token.old_secrets.len().checked_sub(MAX_OLD_SECRETS) {
                token.old_secrets[..too_many].iter_mut().for_each(|old| old.superseded_at = now);
            }
            token.hash = rotation.secret.hash();
            token.lifetime = rotation.lifetime;
            token.token.last_four = rotation.secret.last_four().to_owned();
            token.token.expires_at = rotation.lifetime.end(now);
        })
        .await
    }

    /// Deletes the token. What is left of its secrets says that it was revoked. `false`: it was deleted before.
    pub async fn revoke(mut self, table: &Table, now: Timestamp) -> Result<bool, TransactFailed> {
        for _ in 0..MAX_ATTEMPTS {
            self.token.revoked_at = Some(now);
            self.forget_dead_secrets(now);
            let AccessToken { account_id, user_id, .. } = &self.token;
            let mut writes = vec![
                Write::DeleteIf {
                    key: self.key(),
                    condition: "version = :version",
                    names: None,
                    values: Some(self.version_value()),
                },
                count(account_id, None, -1),
                count(account_id, Some(user_id), -1),
            ];
            writes.extend(self.secrets().map_err(TransactFailed::Table)?);
            match table.transact(writes).await {
                Ok(()) => return Ok(true),
                Err(TransactFailed::Conditions(_)) => match self.reload(table).await.map_err(TransactFailed::Table)? {
                    Some(current) => self = current,
                    None => return Ok(false),
                },
                Err(error) => return Err(error),
            }
        }
        Err(TransactFailed::Conflict)
    }

    async fn alter(
        mut self,
        table: &Table,
        now: Timestamp,
        alter: impl Fn(&mut Self),
    ) -> Result<Option<Self>, TransactFailed> {
        for _ in 0..MAX_ATTEMPTS {
            let mut changed = self.clone();
            changed.forget_dead_secrets(now);
            alter(&mut changed);
            changed.updated_at = now;
            changed.version += 1;
            let writes = || Ok([vec![changed.replace(&self)?], changed.secrets()?].concat());
            match table.transact(writes().map_err(TransactFailed::Table)?).await {
                Ok(()) => return Ok(Some(changed)),
                Err(TransactFailed::Conditions(_)) => match self.reload(table).await.map_err(TransactFailed::Table)? {
                    Some(current) => self = current,
                    None => return Ok(None),
                },
                Err(error) => return Err(error),
            }
        }
        Err(TransactFailed::Conflict)
    }

    async fn reload(&self, table: &Table) -> Result<Option<Self>, TableError> {
        Self::find(table, &self.token.account_id, &self.token.id).await
    }

    /// Those that have stopped working need no more changes.
    fn forget_dead_secrets(&mut self, now: Timestamp) {
        self.old_secrets.retain(|old| old.superseded_at > now);
    }

    /// Sets each attribute but the last use, which others write without a version.
    fn replace(&self, before: &Self) -> Result<Write, TableError> {
        let mut attributes: Item = serde_dynamo::to_item(self)?;
        attributes.remove("last_used_at");
        let mut change = Change { condition: Some("version = :was"), ..Change::default() };
        let mut names = std::collections::HashMap::new();
        let mut sets = Vec::new();
        for (at, (name, value)) in attributes.into_iter().enumerate() {
            sets.push(format!("#{at} = :{at}"));
            names.insert(format!("#{at}"), name);
            change.values.insert(format!(":{at}"), value);
        }
        change.expression = format!("SET {}", sets.join(", "));
        change.names = Some(names);
        change.values.insert(":was".to_owned(), AttributeValue::N(before.version.to_string()));
        Ok(Write::Update { key: self.key(), change })
    }

    /// The rows of all secrets that may still work.
    fn secrets(&self) -> Result<Vec<Write>, TableError> {
        let old = self.old_secrets.iter().map(|old| {
            let token = AccessToken {
                last_four: old.last_four.clone(),
                expires_at: old.expires_at,
                superseded_at: Some(old.superseded_at),
                ..self.token.clone()
            };
            token.write(old.hash)
        });
        old.chain([self.token.write(self.hash)]).collect()
    }

    fn key(&self) -> Key {
        token_key(&self.token.account_id, &self.token.id)
    }

    fn index_keys(&self) -> Vec<IndexKey> {
        let AccessToken { account_id, user_id, .. } = &self.token;
        let of = |(source, partition)| IndexKey { source, partition, sort: self.position(Sort::Created) };
        [Self::listed(account_id, None), Self::listed(account_id, Some(user_id))].map(of).into()
    }

    fn version_value(&self) -> Item {
        Item::from([(":version".to_owned(), AttributeValue::N(self.version.to_string()))])
    }
}

impl Position for TokenRecord {
    fn position(&self, _: Sort) -> String {
        format!("{:015}#{}", self.token.created_at.as_millis(), self.token.id)
    }
}

#[derive(Serialize, Deserialize)]
struct TokenCount {
    tokens: u64,
}

fn count(account: &AccountId, user: Option<&UserId>, by: i8) -> Write {
    let change = Change {
        expression: "ADD tokens :by".to_owned(),
        values: Item::from([(":by".to_owned(), AttributeValue::N(by.to_string()))]),
        ..Change::default()
    };
    Write::Update { key: count_key(account, user), change }
}

fn secret_key(hash: TokenHash) -> Key {
    Key { pk: format!("TOKEN#{hash}"), sk: "TOKEN".to_owned() }
}

pub(super) fn token_key(account: &AccountId, id: &TokenId) -> Key {
    Key { pk: format!("ACCT#{account}#TOKEN#{id}"), sk: "TOKEN".to_owned() }
}

fn count_key(account: &AccountId, user: Option<&UserId>) -> Key {
    let sk = user.map_or("TOTAL".to_owned(), ToString::to_string);
    Key { pk: account_partition(account), sk }
}

fn account_partition(account: &AccountId) -> String {
    format!("ACCT#{account}#TOKENS")
}

fn user_partition(account: &AccountId, user: &UserId) -> String {
    format!("ACCT#{account}#USER#{user}#TOKENS")
}
