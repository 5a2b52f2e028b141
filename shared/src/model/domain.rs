//! The email domains of accounts.

use serde::{Deserialize, Serialize};

use crate::id::AccountId;
use crate::model::key;
use crate::name::EmailDomain;
use crate::table::{Consistency, Table, TableError, Write};

/// The claim that keeps an email domain in one account.
#[derive(Serialize, Deserialize)]
pub(super) struct DomainClaim {
    account_id: AccountId,
}

impl DomainClaim {
    /// Claims a domain for an account. The write fails if an account has the domain.
    pub(super) fn create(domain: &EmailDomain, account: &AccountId) -> Result<Write, TableError> {
        Write::create(key::email_domain(domain.as_str()), &Self { account_id: account.clone() }, Vec::new())
    }

    /// Returns the account that claims the domain, whether or not its settings still have it.
    pub(super) async fn holder(table: &Table, domain: &str) -> Result<Option<AccountId>, TableError> {
        let claim: Option<Self> = table.get(key::email_domain(domain), Consistency::Strong).await?;
        Ok(claim.map(|claim| claim.account_id))
    }
}
