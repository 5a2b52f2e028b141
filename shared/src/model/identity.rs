//! Subjects of the OAuth2 issuer, each linked to one user of one account.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::clock::Timestamp;
use crate::error::{ErrorCode, Result};
use crate::id::{AccountId, UserId};
use crate::model::domain::DomainClaim;
use crate::model::{Account, Action, Author, Credential, Invitation, User, key};
use crate::oauth::{Grant, VerifiedEmail};
use crate::permission::Role;
use crate::table::{Consistency, Table, TableError, Transaction, Write};

/// The user that a subject of the issuer is linked to.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Identity {
    /// The account of the user.
    pub account_id: AccountId,
    /// The user.
    pub user_id: UserId,
    /// The issuer's URL, as in the token's `iss`.
    pub issuer: String,
    /// The issuer's name for the person, as in the token's `sub`.
    pub subject: String,
    pub(crate) linked_at: Timestamp,
}

impl Identity {
    pub(crate) async fn of(table: &Table, grant: &Grant, consistency: Consistency) -> Result<Option<Self>, TableError> {
        table.get(key::subject(&grant.issuer, &grant.subject), consistency).await
    }

    /// Links an unlinked subject by an address that its issuer has verified. Accepts the newest open invitation to the
    /// address. Without one, links to the user with the address in the account that has its domain, or to a new user
    /// there. Returns `None` if no account takes the subject. Ignores invitations by accounts other than the domain's,
    /// so that no account can take another's people.
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
            let author = |user: &User| author(user, grant);
            let link = |user: &mut User| {
                user.subjects.insert(hash(grant));
                Ok(vec![Self::new(grant, user, now).create(grant)?])
            };
            match invitation.accept(table, author, now, link).await {
                Ok(user) => return Ok(Some(Self::new(grant, &user, now))),
                // The invitation was accepted or revoked meanwhile, or one of its teams is full. Neither keeps the
                // subject from its domain's account.
                Err(error) if [ErrorCode::NotFound, ErrorCode::LimitReached].contains(&error.code()) => {}
                Err(error) => return Err(error),
            }
            // A concurrent request of the person may have linked the subject.
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
            // A concurrent request of the person may have accepted the invitation.
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
            subjects: BTreeSet::from([hash(grant)]),
        };
        let identity = Self::new(grant, &user, now);
        let event = author(&user, grant).event(Action::MemberLinked, user.target(), now);
        let mut transaction = Transaction::new().write(identity.create(grant)?).or(|_| Linked).recording(&event)?;
        if known.is_none() {
            let [create, claim, count] = user.writes()?;
            transaction = transaction.write(create).write(claim).or(|_| Linked).write(count);
        } else {
            transaction = transaction.write(user.link(&hash(grant))).or(|_| Linked);
        }
        match transaction.commit(table).await? {
            Ok(()) => Ok(Some(identity)),
            Err(Linked) => Ok(Self::of(table, grant, Consistency::Strong).await?),
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

    /// Returns the write of the link, which is refused if the subject is linked.
    fn create(&self, grant: &Grant) -> Result<Write, TableError> {
        Write::create(key::subject(&grant.issuer, &grant.subject), self, Vec::new())
    }
}

/// The refusal to link a subject that another request has linked, or whose address another user has taken.
struct Linked;

fn hash(grant: &Grant) -> String {
    key::subject_hash(&grant.issuer, &grant.subject)
}

/// Returns a person at their first sign-in as an author.
fn author(user: &User, grant: &Grant) -> Author {
    Author::newcomer(user, Credential::OAuth(grant.client_id.clone()))
}

/// Returns the account whose settings have the address's domain.
async fn account_of(table: &Table, email: &VerifiedEmail) -> Result<Option<Account>, TableError> {
    let Some(holder) = DomainClaim::holder(table, &email.domain()).await? else { return Ok(None) };
    let account = Account::load(table, &holder).await?;
    Ok(account.filter(|account| account.email_domains.iter().any(|domain| email.is_at(domain))))
}
