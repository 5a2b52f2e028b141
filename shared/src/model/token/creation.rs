//! New tokens.

use std::convert::Infallible;

use super::record::{TokenCount, count};
use crate::clock::Rfc3339;
use crate::model::{AccessToken, Action, Author, Lifetime, TokenRecord, key};
use crate::table::{Table, TableError, Transaction, Write};
use crate::token::TokenSecret;

impl AccessToken {
    /// Writes a new token with its first secret, and counts it.
    pub async fn create(
        &self,
        secret: &TokenSecret,
        lifetime: Lifetime,
        table: &Table,
        author: &Author,
    ) -> Result<TokenRecord, TableError> {
        let event = author
            .event(Action::TokenCreated, self.target(), self.created_at)
            .setting("user", &self.user_id)
            .setting("scopes", &self.scopes)
            .setting("expires_at", self.expires_at.map(Rfc3339::from));
        let transaction = Transaction::<Infallible>::new()
            .writes(self.creation(secret, lifetime)?)
            .by(author, &event)?
            .guarded(lifetime.guard(&self.account_id));
        match transaction.commit(table).await? {
            Ok(()) => Ok(TokenRecord::new(self.clone(), secret, lifetime)),
        }
    }

    /// Returns the writes of a new token, to be part of a transaction.
    pub(in crate::model) fn creation(
        &self,
        secret: &TokenSecret,
        lifetime: Lifetime,
    ) -> Result<Vec<Write>, TableError> {
        let record = TokenRecord::new(self.clone(), secret, lifetime);
        Ok(vec![
            Write::create(record.key(), &record, record.index_keys())?,
            self.write(secret.hash())?,
            count(&self.account_id, None, 1),
            count(&self.account_id, Some(&self.user_id), 1),
        ])
    }

    /// Returns the writes of the first token of a new account, where nothing has been counted yet.
    pub(in crate::model) fn first(&self, secret: &TokenSecret, lifetime: Lifetime) -> Result<Vec<Write>, TableError> {
        let record = TokenRecord::new(self.clone(), secret, lifetime);
        let one = TokenCount { tokens: 1 };
        Ok(vec![
            Write::create(record.key(), &record, record.index_keys())?,
            self.write(secret.hash())?,
            Write::create(key::token_count(&self.account_id, None), &one, Vec::new())?,
            Write::create(key::token_count(&self.account_id, Some(&self.user_id)), &one, Vec::new())?,
        ])
    }
}
