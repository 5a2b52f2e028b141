//! New accounts.

use serde::Serialize;

use crate::id::AccountId;
use crate::model::domain::DomainClaim;
use crate::model::{AccessToken, Account, Action, Author, Lifetime, User, key};
use crate::name::EmailDomain;
use crate::table::{Table, TableError, Transaction, Write};
use crate::token::TokenSecret;

#[derive(Serialize)]
struct SlugClaim {
    account_id: AccountId,
}

/// A new account with its owner and its first token, written in one transaction.
pub struct NewAccount<'a> {
    /// The account, whose slug and email domains must be free.
    pub account: &'a Account,
    /// The first user, with the role `owner`.
    pub owner: &'a User,
    /// The owner's token.
    pub token: &'a AccessToken,
    /// The lifetime of the token.
    pub lifetime: Lifetime,
    /// The token's secret, of which only the hash is stored.
    pub secret: &'a TokenSecret,
}

/// The reasons to refuse a new account.
#[derive(Debug)]
pub enum AccountTaken {
    /// Another account has the slug.
    Slug,
    /// Another account has the email domain.
    EmailDomain(EmailDomain),
}

impl NewAccount<'_> {
    /// Writes the account, its owner and the owner's first token.
    pub async fn create(self, table: &Table) -> Result<Result<(), AccountTaken>, TableError> {
        let claim = SlugClaim { account_id: self.account.id.clone() };
        let event = Author::operator(&self.account.id, &self.owner.id)
            .keeping(self.account.audit_retention())
            .event(Action::AccountCreated, self.account.target(), self.account.created_at)
            .setting("plan", self.account.plan)
            .setting("owner", &self.owner.email);
        let mut transaction = Transaction::new()
            .write(Write::create(key::account_slug(&self.account.slug), &claim, Vec::new())?)
            .or(|_| AccountTaken::Slug)
            .write(Write::create(key::account(&self.account.id), self.account, Vec::new())?);
        for domain in &self.account.email_domains {
            let claim = DomainClaim::create(domain, &self.account.id)?;
            transaction = transaction.write(claim).or(|_| AccountTaken::EmailDomain(domain.clone()));
        }
        transaction
            .recording(&event)?
            .writes(self.token.first(self.secret, self.lifetime)?)
            .writes(self.owner.writes()?)
            .commit(table)
            .await
    }
}
