//! The rows that authentication reads beside a token.

use serde::de::DeserializeOwned;

use crate::clock::Timestamp;
use crate::id::{AccountId, TokenId, UserId};
use crate::model::token::LastUse;
use crate::model::{Account, State, Subject, User, key};
use crate::table::{Consistency, Item, Table, TableError, read_item};

/// The state of an account at a request.
#[derive(Debug)]
pub(crate) struct Standing {
    pub account: Option<Account>,
    pub user: Option<User>,
    pub rate_limit: Option<State>,
    /// When the last use of the token was recorded.
    pub last_used_at: Option<Timestamp>,
}

impl Standing {
    /// Reads the requested rows in one call.
    pub(crate) async fn load(
        table: &Table,
        account: &AccountId,
        user: Option<&UserId>,
        token: Option<&TokenId>,
        consistency: Consistency,
    ) -> Result<Self, TableError> {
        let keys = [
            Some(key::account(account)),
            user.map(|user| key::user(account, user)),
            Some(key::rate_limit(&Subject::Account(account.clone()))),
            token.map(|token| key::token(account, token)),
        ];
        let [account, user, rate_limit, token] = table.get_each(keys, consistency).await?;
        let token: Option<LastUse> = read(token)?;
        Ok(Self {
            account: read(account)?,
            user: read(user)?,
            rate_limit: read(rate_limit)?,
            last_used_at: token.and_then(|token| token.last_used_at),
        })
    }
}

fn read<T: DeserializeOwned>(item: Option<Item>) -> Result<Option<T>, TableError> {
    item.map(read_item).transpose()
}
