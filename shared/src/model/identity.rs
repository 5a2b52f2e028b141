//! Subjects of the OAuth2 issuer, each of which is one user of one account, and the domains by which new ones find it.

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::clock::Timestamp;
use crate::error::{ErrorCode, Result};
use crate::id::{AccountId, UserId};
use crate::model::{Account, Invitation, Role, User};
use crate::oauth::{Grant, VerifiedEmail};
use crate::table::{Consistency, Key, Table, TableError, TransactFailed, Write};

/// A domain whose mail addresses are an account's: lower case, with a dot, without `@`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String")]
pub struct EmailDomain(String);

#[derive(Debug, thiserror::Error)]
#[error("must be a domain in lower case, such as 'example.com'")]
pub struct InvalidDomain;

impl EmailDomain {
    pub fn has(&self, email: &VerifiedEmail) -> bool {
        self.0 == email.domain()
    }
}

impl FromStr for EmailDomain {
    type Err = InvalidDomain;

    fn from_str(text: &str) -> Result<Self, InvalidDomain> {
        let is_label = |label: &str| {
            let is_fine = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
            !label.is_empty() && label.bytes().all(is_fine)
        };
        let is_one = text.len() <= 253 && text.contains('.') && text.split('.').all(is_label);
        if is_one { Ok(Self(text.to_owned())) } else { Err(InvalidDomain) }
    }
}

impl TryFrom<String> for EmailDomain {
    type Error = InvalidDomain;

    fn try_from(text: String) -> Result<Self, InvalidDomain> {
        text.parse()
    }
}

impl fmt::Display for EmailDomain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The one account that a domain's addresses belong to.
#[derive(Serialize, Deserialize)]
struct DomainClaim {
    account_id: AccountId,
}

/// That an account has a domain, which no other account may have at the same time.
pub(super) fn claim_domain(domain: &EmailDomain, account: &AccountId) -> Result<Write, TableError> {
    Write::create(domain_key(&domain.0), &DomainClaim { account_id: account.clone() }, Vec::new())
}

/// Whose a subject of the issuer is.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Identity {
    pub account_id: AccountId,
    pub user_id: UserId,
    pub issuer: String,
    pub subject: String,
    pub linked_at: Timestamp,
}

impl Identity {
    pub(crate) async fn of(table: &Table, grant: &Grant, consistency: Consistency) -> Result<Option<Self>, TableError> {
        table.get(subject_key(grant), consistency).await
    }

    /// Links a subject that is not linked yet, by an address that its issuer has verified: by accepting the newest open
    /// invitation to it, or else to the user of its domain's account who has it, or to a new one. `None` when no account
    /// takes it. An invitation by another account than the domain's does not count: it would take its people away.
    pub(crate) async fn link(
        table: &Table,
        grant: &Grant,
        email: &VerifiedEmail,
        now: Timestamp,
    ) -> Result<Option<Self>> {
        let home = account_of(table, email).await?;
        let invitations = Invitation::of_verified(table, email.address(), now).await?;
        let is_from_home = |one: &Invitation| home.as_ref().is_none_or(|home| home.id == one.account_id);
        for invitation in invitations.into_iter().filter(is_from_home) {
            match invitation.accept(table, now, |user| Ok(vec![Self::new(grant, user, now).create(grant)?])).await {
                Ok(user) => return Ok(Some(Self::new(grant, &user, now))),
                // It is accepted or revoked meanwhile, or one of its teams is full, which keeps nobody from another account.
                Err(error) if [ErrorCode::NotFound, ErrorCode::LimitReached].contains(&error.code()) => {}
                Err(error) => return Err(error),
            }
            // Perhaps by another request of the same person.
            if let Some(linked) = Self::of(table, grant, Consistency::Strong).await? {
                return Ok(Some(linked));
            }
        }
        Self::link_by_domain(table, grant, home, email, now).await
    }

    async fn link_by_domain(
        table: &Table,
        grant: &Grant,
        home: Option<Account>,
        email: &VerifiedEmail,
        now: Timestamp,
    ) -> Result<Option<Self>> {
        let Some(account) = home else {
            // Another request of the same person may have accepted the invitation.
            return Ok(Self::of(table, grant, Consistency::Strong).await?);
        };
        let known = User::id_of(table, &account.id, email.address()).await?;
        let user = User {
            id: known.clone().unwrap_or_else(UserId::random),
            account_id: account.id,
            email: email.address().clone(),
            role: Role::Member,
            created_at: now,
            teams: BTreeSet::new(),
        };
        let identity = Self::new(grant, &user, now);
        let mut writes = vec![identity.create(grant)?];
        if known.is_none() {
            writes.extend(user.writes()?);
        }
        match table.transact(writes).await {
            Ok(()) => Ok(Some(identity)),
            // Another request of the same person was faster, or the address is taken.
            Err(TransactFailed::Conditions(_)) => Ok(Self::of(table, grant, Consistency::Strong).await?),
            Err(failed) => Err(failed.into()),
        }
    }

    fn new(grant: &Grant, user: &User, now: Timestamp) -> Self {
        Self {
            account_id: user.account_id.clone(),
            user_id: user.id.clone(),
            issuer: grant.issuer.clone(),
            subject: grant.subject.clone(),
            linked_at: now,
        }
    }

    /// A subject is linked once.
    fn create(&self, grant: &Grant) -> Result<Write, TableError> {
        Write::create(subject_key(grant), self, Vec::new())
    }
}

/// The account whose settings have the address's domain.
async fn account_of(table: &Table, email: &VerifiedEmail) -> Result<Option<Account>, TableError> {
    let claim: Option<DomainClaim> = table.get(domain_key(&email.domain()), Consistency::Strong).await?;
    let Some(claim) = claim else { return Ok(None) };
    let account = Account::load(table, &claim.account_id).await?;
    Ok(account.filter(|account| account.email_domains.iter().any(|domain| domain.has(email))))
}

/// Issuers put anything into a subject, so it is hashed.
fn subject_key(grant: &Grant) -> Key {
    let hash = Sha256::new().chain_update(&grant.issuer).chain_update([0]).chain_update(&grant.subject).finalize();
    let hash: String = hash.iter().map(|byte| format!("{byte:02x}")).collect();
    Key { pk: format!("SUBJECT#{hash}"), sk: "SUBJECT".to_owned() }
}

fn domain_key(domain: &str) -> Key {
    Key { pk: format!("DOMAIN#{domain}"), sk: "DOMAIN".to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_domain_is_refused() {
        for text in ["example.com", "mail.example.co.uk", "xn--r8jz45g.jp"] {
            assert!(text.parse::<EmailDomain>().is_ok(), "{text}");
        }
        for text in
            ["", "example", "Example.com", "@example.com", "a@example.com", "example..com", ".com", "example.com."]
        {
            assert!(text.parse::<EmailDomain>().is_err(), "{text}");
        }
    }

    #[test]
    fn an_address_is_of_its_own_domain_only() {
        let domain: EmailDomain = "example.com".parse().unwrap();
        let has = |text: &str| domain.has(&text.parse().unwrap());
        assert!(has("ada@example.com") && has("ada@EXAMPLE.com"));
        assert!(!has("ada@sub.example.com") && !has("ada@example.com.evil.example") && !has("ada@notexample.com"));
    }
}
