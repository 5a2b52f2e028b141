//! Tokens as their owners see them.

use std::collections::HashMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::clock::{Rfc3339, Timestamp};
use crate::error::Result;
use crate::id::{AccountId, TokenId, UserId};
use crate::model::{AccessToken, Action, Author, Lifetime, key};
use crate::name::DisplayName;
use crate::scope::Scope;
use crate::sort::{Position, Sort};
use crate::table::{
    Change, Consistency, Index, IndexKey, Item, Key, Partition, Table, TableError, Transaction, Values, Write,
};
use crate::token::{TokenHash, TokenSecret};

/// The maximum number of old secrets of a token. Another rotation ends the oldest.
const MAX_OLD_SECRETS: usize = 10;

/// The attribute of a token's own row that records its last use.
#[derive(Deserialize)]
pub(in crate::model) struct LastUse {
    #[serde(default)]
    pub(crate) last_used_at: Option<Timestamp>,
}

/// A personal access token as its owner sees it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct TokenRecord {
    /// The token with its newest secret.
    #[serde(flatten)]
    token: AccessToken,
    lifetime: Lifetime,
    updated_at: Timestamp,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    last_used_at: Option<Timestamp>,
    hash: TokenHash,
    /// The secrets that rotations have replaced, oldest first. Some may have ended since.
    old_secrets: Vec<OldSecret>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct OldSecret {
    hash: TokenHash,
    last_four: String,
    expires_at: Option<Timestamp>,
    superseded_at: Timestamp,
}

/// The requested changes of a token.
#[derive(Clone, Debug, Default)]
pub struct TokenChange {
    /// The new name, or `None` to keep the current one.
    pub name: Option<DisplayName>,
    /// The new scopes, or `None` to keep the current ones.
    pub scopes: Option<Vec<Scope>>,
}

/// A new secret for a token.
#[derive(Clone, Debug)]
pub struct Rotation<'a> {
    /// The new secret, of which only the hash is stored.
    pub secret: &'a TokenSecret,
    /// The lifetime of the new secret, which starts at the rotation.
    pub lifetime: Lifetime,
    /// The time that the old secret still works.
    pub overlap: Duration,
}

/// The refusal to change a token that has another version.
struct Changed;

impl TokenRecord {
    pub(super) fn new(token: AccessToken, secret: &TokenSecret, lifetime: Lifetime) -> Self {
        Self {
            updated_at: token.created_at,
            token,
            lifetime,
            last_used_at: None,
            hash: secret.hash(),
            old_secrets: Vec::new(),
        }
    }

    pub(crate) async fn find(table: &Table, account: &AccountId, id: &TokenId) -> Result<Option<Self>, TableError> {
        table.get(key::token(account, id), Consistency::Strong).await
    }

    /// Returns the token with its newest secret.
    pub fn token(&self) -> &AccessToken {
        &self.token
    }

    /// Returns the version, which each change and each rotation adds one to.
    pub fn version(&self) -> u64 {
        self.token.version
    }

    /// Returns the lifetime that the creation or the last rotation gave the newest secret.
    pub fn lifetime(&self) -> Lifetime {
        self.lifetime
    }

    /// Returns the time of the last change or rotation.
    pub fn updated_at(&self) -> Timestamp {
        self.updated_at
    }

    /// Returns when the token was last used, to the hour.
    pub(crate) fn last_used_at(&self) -> Option<Timestamp> {
        self.last_used_at
    }

    /// Returns the index partition that lists a user's tokens, or with `None` all tokens of the account.
    pub fn listed(account: &AccountId, user: Option<&UserId>) -> Partition {
        let index = if user.is_none() { Index::ByCreation } else { Index::ByUser };
        Partition::of_index(index, key::tokens(account, user))
    }

    /// Returns the number of tokens, from a counter that the transaction of each creation and deletion updates.
    pub async fn total(table: &Table, account: &AccountId, user: Option<&UserId>) -> Result<u64, TableError> {
        let count: Option<TokenCount> = table.get(key::token_count(account, user), Consistency::Strong).await?;
        Ok(count.map_or(0, |count| count.tokens))
    }

    /// Changes the token if it meets the precondition `expected`, and returns it. Writes nothing if the token already is as
    /// requested. Returns `None` if the token was deleted meanwhile.
    ///
    /// # Errors
    /// Fails with the error of `expected`.
    pub async fn change(
        self,
        table: &Table,
        change: TokenChange,
        expected: impl Fn(&Self) -> Result<()>,
        author: &Author,
        now: Timestamp,
    ) -> Result<Option<Self>> {
        self.alter(table, Action::TokenUpdated, author, now, |token| {
            expected(token)?;
            let AccessToken { name, scopes, .. } = &mut token.token;
            let new_name = change.name.as_ref().unwrap_or(name).clone();
            let new_scopes = change.scopes.as_ref().unwrap_or(scopes).clone();
            let changes = (&new_name, &new_scopes) != (&*name, &*scopes);
            (*name, *scopes) = (new_name, new_scopes);
            Ok(changes)
        })
        .await
    }

    /// Replaces the token's secret and returns the token. Returns `None` if the token was deleted meanwhile.
    pub async fn rotate(
        self,
        table: &Table,
        rotation: Rotation<'_>,
        author: &Author,
        now: Timestamp,
    ) -> Result<Option<Self>> {
        self.alter(table, Action::TokenRotated, author, now, |token| {
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
            Ok(true)
        })
        .await
    }

    /// Deletes the token if it meets the precondition `expected`. Leaves tombstones of its secrets, so that a later use is refused
    /// as revoked. Returns `false` if the token was already deleted.
    ///
    /// # Errors
    /// Fails with the error of `expected`.
    pub async fn revoke(
        mut self,
        table: &Table,
        expected: impl Fn(&Self) -> Result<()>,
        author: &Author,
        now: Timestamp,
    ) -> Result<bool> {
        let event = author.event(Action::TokenDeleted, self.token.target(), now);
        let mut attempts = table.attempts();
        while attempts.begin().await {
            expected(&self)?;
            self.token.revoked_at = Some(now);
            self.forget_dead_secrets(now);
            let AccessToken { account_id, user_id, .. } = &self.token;
            let deleted = Transaction::new()
                .write(Write::delete(self.key(), "version = :version", self.token.version))
                .or(|_| Changed)
                .write(count(account_id, None, -1))
                .write(count(account_id, Some(user_id), -1))
                .writes(self.secrets()?)
                .by(author, &event)?
                .commit(table)
                .await?;
            match deleted {
                Ok(()) => return Ok(true),
                Err(Changed) => match self.reload(table).await? {
                    Some(current) => self = current,
                    None => return Ok(false),
                },
            }
        }
        Err(TableError::Contended.into())
    }

    /// Alters the token if `alter` returns that it has changed anything.
    async fn alter(
        mut self,
        table: &Table,
        action: Action,
        author: &Author,
        now: Timestamp,
        alter: impl Fn(&mut Self) -> Result<bool>,
    ) -> Result<Option<Self>> {
        let mut attempts = table.attempts();
        while attempts.begin().await {
            let mut changed = self.clone();
            changed.forget_dead_secrets(now);
            if !alter(&mut changed)? {
                return Ok(Some(self));
            }
            changed.updated_at = now;
            changed.token.version += 1;
            let (old, new) = (&self.token, &changed.token);
            let event = author
                .event(action, old.target(), now)
                .changing("name", &old.name, &new.name)
                .changing("scopes", &old.scopes, &new.scopes)
                .changing("expires_at", old.expires_at.map(Rfc3339::from), new.expires_at.map(Rfc3339::from));
            // A permanent token that exists stays permanent.
            let rotated = (action == Action::TokenRotated).then(|| changed.lifetime.guard(&new.account_id));
            let transaction = Transaction::new()
                .write(changed.replace(&self)?)
                .or(|_| Changed)
                .writes(changed.secrets()?)
                .by(author, &event)?
                .guarded(rotated.flatten());
            match transaction.commit(table).await? {
                Ok(()) => return Ok(Some(changed)),
                Err(Changed) => match self.reload(table).await? {
                    Some(current) => self = current,
                    None => return Ok(None),
                },
            }
        }
        Err(TableError::Contended.into())
    }

    async fn reload(&self, table: &Table) -> Result<Option<Self>, TableError> {
        Self::find(table, &self.token.account_id, &self.token.id).await
    }

    /// Removes the secrets that have ended, which need no more changes.
    fn forget_dead_secrets(&mut self, now: Timestamp) {
        self.old_secrets.retain(|old| old.superseded_at > now);
    }

    /// Returns the write that sets each attribute but the last use, which is written without a version.
    fn replace(&self, before: &Self) -> Result<Write, TableError> {
        let mut attributes: Item = serde_dynamo::to_item(self)?;
        attributes.remove("last_used_at");
        let mut change = Change { condition: Some("version = :was"), ..Change::default() };
        let mut names = HashMap::new();
        let mut sets = Vec::new();
        for (at, (name, value)) in attributes.into_iter().enumerate() {
            sets.push(format!("#{at} = :{at}"));
            names.insert(format!("#{at}"), name);
            change.values = change.values.set(format!(":{at}"), value);
        }
        change.expression = format!("SET {}", sets.join(", "));
        change.names = Some(names);
        change.values = change.values.set(":was", before.token.version);
        Ok(Write::Update { key: self.key(), change })
    }

    /// Returns the writes of the rows of all secrets that may still work.
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

    pub(super) fn key(&self) -> Key {
        key::token(&self.token.account_id, &self.token.id)
    }

    pub(super) fn index_keys(&self) -> Vec<IndexKey> {
        let AccessToken { account_id, user_id, .. } = &self.token;
        let key = |(index, user)| IndexKey {
            index,
            partition: key::tokens(account_id, user),
            sort: self.position(Sort::Created),
        };
        [(Index::ByCreation, None), (Index::ByUser, Some(user_id))].map(key).into()
    }
}

impl Position for TokenRecord {
    fn position(&self, _: Sort) -> String {
        format!("{:015}#{}", self.token.created_at.as_millis(), self.token.id)
    }
}

#[derive(Serialize, Deserialize)]
pub(super) struct TokenCount {
    pub(super) tokens: u64,
}

pub(super) fn count(account: &AccountId, user: Option<&UserId>, by: i8) -> Write {
    let change =
        Change { expression: "ADD tokens :by".to_owned(), values: Values::new().set(":by", by), ..Change::default() };
    Write::Update { key: key::token_count(account, user), change }
}
