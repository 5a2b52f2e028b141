//! The sessions of a user.

use std::collections::HashMap;

use futures_util::future::try_join_all;

use super::{Session, SessionCredential};
use crate::clock::Timestamp;
use crate::model::{AccessToken, User, key};
use crate::table::{Index, Partition, Table, TableError};
use crate::token::TokenHash;

impl Session {
    /// Returns the sessions of a user that have not ended, in no order: those by the user's tokens, and those by the subjects of
    /// the OAuth2 issuer that are linked to the user. A session whose token has been revoked, rotated or narrowed is over, and is
    /// left out.
    pub async fn of_user(table: &Table, user: &User, now: Timestamp) -> Result<Vec<Self>, TableError> {
        let holders = [user.id.to_string()].into_iter().chain(user.subjects.iter().cloned());
        let lists = holders.map(|holder| Partition::of_index(Index::ByCreation, key::sessions(&holder)));
        let found: Vec<Vec<Self>> = try_join_all(lists.map(|list| table.query_all(list))).await?;
        let mut sessions: Vec<Self> = found.into_iter().flatten().filter(|session| !session.has_ended(now)).collect();

        let hashes: HashMap<String, TokenHash> = sessions.iter().filter_map(Self::token_hash).collect();
        if hashes.is_empty() {
            return Ok(sessions);
        }
        let keys = hashes.into_values().map(key::token_secret).collect();
        let tokens: Vec<AccessToken> = table.batch_get(keys).await?;
        let is_valid = |token: &AccessToken| token.ends_at().is_none_or(|at| at > now);
        let tokens: HashMap<_, _> =
            tokens.into_iter().filter(is_valid).map(|token| (token.id.to_string(), token)).collect();
        sessions.retain(|session| match &session.credential {
            SessionCredential::Token { id, .. } => {
                tokens.get(id.as_str()).is_some_and(|token| session.still_stands_for(token))
            }
            SessionCredential::OAuth2 { .. } => true,
        });
        Ok(sessions)
    }

    /// Returns the hash of the token that was pasted, with its text.
    fn token_hash(&self) -> Option<(String, TokenHash)> {
        match &self.credential {
            SessionCredential::Token { hash, .. } => Some((hash.to_string(), *hash)),
            SessionCredential::OAuth2 { .. } => None,
        }
    }
}
