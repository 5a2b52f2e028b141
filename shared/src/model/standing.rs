//! The rows that authentication reads.

use serde::de::DeserializeOwned;

use crate::clock::Timestamp;
use crate::id::{AccountId, TokenId, TrustId, UserId};
use crate::model::token::LastUse;
use crate::model::{Account, Session, State, Subject, Trust, User, key};
use crate::name::ClientId;
use crate::table::{Consistency, Item, Table, TableError, read_item};
use crate::token::TokenHash;

/// The state of an account at a request.
#[derive(Debug)]
pub(crate) struct Standing {
    pub account: Option<Account>,
    pub user: Option<User>,
    pub rate_limit: Option<State>,
    /// When the last use of the token was recorded.
    pub(crate) last_used_at: Option<Timestamp>,
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

/// The state of an account at a request with a token of one of its trusts.
#[derive(Debug)]
pub(crate) struct TrustStanding {
    pub account: Option<Account>,
    pub trust: Option<Trust>,
    pub rate_limit: Option<State>,
}

impl TrustStanding {
    /// Reads the rows in one call.
    pub(crate) async fn load(table: &Table, account: &AccountId, trust: &TrustId) -> Result<Self, TableError> {
        let keys = [
            Some(key::account(account)),
            Some(key::trust(trust)),
            Some(key::rate_limit(&Subject::Account(account.clone()))),
        ];
        let [account, trust, rate_limit] = table.get_each(keys, Consistency::Eventual).await?;
        Ok(Self { account: read(account)?, trust: read(trust)?, rate_limit: read(rate_limit)? })
    }
}

/// The row that a credential stands for.
pub(crate) enum CredentialKey<'a> {
    Token(TokenHash),
    Subject { issuer: &'a str, subject: &'a str },
    Client(&'a ClientId),
    Trust(&'a TrustId),
}

/// The current rows of a caller who was authenticated before.
pub(crate) struct CurrentRows<C> {
    pub credential: Option<C>,
    /// The session that stands for the credential, if the request has one.
    pub session: Option<Session>,
    pub account: Option<Account>,
    pub user: Option<User>,
}

impl<C: DeserializeOwned> CurrentRows<C> {
    /// Reads the rows in one call, strongly consistent.
    pub(crate) async fn load(
        table: &Table,
        credential: CredentialKey<'_>,
        session: Option<&Session>,
        account: &AccountId,
        user: Option<&UserId>,
    ) -> Result<Self, TableError> {
        let credential = match credential {
            CredentialKey::Token(hash) => key::token_secret(hash),
            CredentialKey::Subject { issuer, subject } => key::subject(issuer, subject),
            CredentialKey::Client(client) => key::application(client),
            CredentialKey::Trust(trust) => key::trust(trust),
        };
        let keys = [
            Some(credential),
            session.map(|session| key::session(session.hash())),
            Some(key::account(account)),
            user.map(|user| key::user(account, user)),
        ];
        let [credential, session, account, user] = table.get_each(keys, Consistency::Strong).await?;
        Ok(Self { credential: read(credential)?, session: read(session)?, account: read(account)?, user: read(user)? })
    }
}

fn read<T: DeserializeOwned>(item: Option<Item>) -> Result<Option<T>, TableError> {
    item.map(read_item).transpose()
}
