//! New accounts.

use serde::Serialize;

use crate::id::AccountId;
use crate::model::domain::DomainClaim;
use crate::model::{AccessToken, Account, Lifetime, User, key};
use crate::table::{Table, TransactFailed, Write};
use crate::token::TokenSecret;

#[derive(Serialize)]
struct SlugClaim {
    account_id: AccountId,
}

/// A new account with its owner and its first token, written in one transaction.
pub struct NewAccount<'a> {
    pub account: &'a Account,
    pub owner: &'a User,
    pub token: &'a AccessToken,
    pub lifetime: Lifetime,
    pub secret: &'a TokenSecret,
}

impl NewAccount<'_> {
    /// Fails with [`TransactFailed::Conditions`] if the slug, which comes first, or an email domain is taken.
    pub async fn create(self, table: &Table) -> Result<(), TransactFailed> {
        let writes = || {
            let mut writes = vec![
                Write::create(
                    key::account_slug(&self.account.slug),
                    &SlugClaim { account_id: self.account.id.clone() },
                    Vec::new(),
                )?,
                Write::create(key::account(&self.account.id), self.account, Vec::new())?,
            ];
            for domain in &self.account.email_domains {
                writes.push(DomainClaim::create(domain, &self.account.id)?);
            }
            writes.extend(self.token.first(self.secret, self.lifetime)?);
            writes.extend(self.owner.writes()?);
            Ok(writes)
        };
        table.transact(writes().map_err(TransactFailed::Table)?).await
    }
}
