//! Subjects of the OAuth2 issuer, each linked to one user of one account.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use serde::{Deserialize, Serialize};

use crate::clock::Timestamp;
use crate::error::{Error, ErrorCode, Result};
use crate::id::{AccountId, InvitationId, UserId};
use crate::model::domain::DomainClaim;
use crate::model::member::{EmailClaim, EmailHolder};
use crate::model::{
    Account, Action, AuditRetention, Author, Credential, Invitation, RequestOrigin, Session, User, key,
};
use crate::name::Email;
use crate::oauth::{Grant, VerifiedEmail};
use crate::permission::Role;
use crate::table::{Consistency, Table, TableError, Transaction, Write};

/// The user that a subject of the issuer is linked to.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Identity {
    pub(crate) account_id: AccountId,
    pub(crate) user_id: UserId,
    issuer: String,
    subject: String,
    linked_at: Timestamp,
}

impl Identity {
    pub(crate) async fn of(table: &Table, grant: &Grant, consistency: Consistency) -> Result<Option<Self>, TableError> {
        table.get(key::subject(&grant.issuer, &grant.subject), consistency).await
    }
}

/// A person with a valid token of the OAuth2 issuer, whose subject is linked to no user. The person chooses the account.
#[derive(Clone, Debug)]
pub struct Newcomer {
    grant: Grant,
    email: VerifiedEmail,
    session: Option<Box<Session>>,
}

/// The accounts that a newcomer may join.
#[derive(Debug)]
pub struct Openings {
    /// The open invitations to the newcomer's address, newest first, each with its account.
    pub invitations: Vec<(Invitation, Account)>,
    /// The account that claims the domain of the address.
    pub home: Option<Account>,
}

impl Newcomer {
    pub(crate) fn new(grant: Grant, email: VerifiedEmail) -> Self {
        Self { grant, email, session: None }
    }

    /// Names the session whose cookie the request has.
    pub(crate) fn in_session(self, session: Session) -> Self {
        Self { session: Some(Box::new(session)), ..self }
    }

    /// Returns the session of the request, or `None` if it has a token.
    pub fn session(&self) -> Option<&Session> {
        self.session.as_deref()
    }

    /// Returns the address that the issuer has verified.
    pub fn email(&self) -> &Email {
        self.email.address()
    }

    pub(crate) fn verified_email(&self) -> &VerifiedEmail {
        &self.email
    }

    /// Returns the accounts that the newcomer may join. If an account claims the domain of the address, only its invitations
    /// count, so that no account can take another's people.
    ///
    /// # Errors
    /// Fails if the table does not answer.
    pub async fn openings(&self, table: &Table, now: Timestamp) -> Result<Openings> {
        let home = self.home(table).await?;
        let mut invitations = Invitation::of_verified(table, self.email(), now).await?;
        invitations.retain(|invitation| may_invite(home.as_ref(), invitation));
        let key = |invitation: &Invitation| (invitation.account_id.to_string(), key::account(&invitation.account_id));
        let keys: BTreeMap<_, _> = invitations.iter().map(key).collect();
        let accounts: Vec<Account> = table.batch_get(keys.into_values().collect()).await?;
        let accounts: HashMap<_, _> = accounts.into_iter().map(|account| (account.id.to_string(), account)).collect();
        let with_account = |invitation: Invitation| {
            let account = accounts.get(invitation.account_id.as_str())?.clone();
            Some((invitation, account))
        };
        Ok(Openings { invitations: invitations.into_iter().filter_map(with_account).collect(), home })
    }

    /// Accepts an invitation to the newcomer's address and links the subject to the new user.
    ///
    /// # Errors
    /// Fails with `not_found` if there is no such open invitation to the address, and with `limit_reached` if one of its
    /// teams is full.
    pub async fn accept(
        &self,
        table: &Table,
        invitation: &InvitationId,
        origin: RequestOrigin,
        now: Timestamp,
    ) -> Result<User> {
        let home = self.home(table).await?;
        let found = Invitation::by_id(table, invitation).await?.filter(|invitation| {
            invitation.is_open(now)
                && invitation.email.folded() == self.email().folded()
                && may_invite(home.as_ref(), invitation)
        });
        let Some(invitation) = found else {
            // A concurrent request of the person may have accepted it.
            return self.linked(table).await?.ok_or_else(|| Error::not_found("Invitation"));
        };
        let retention = invitation.audit_retention;
        let author = |user: &User| self.author(user, origin, retention);
        let link = |user: &mut User| {
            user.subjects.insert(self.hash());
            Ok(vec![self.identity(user, now)?])
        };
        match invitation.accept(table, author, now, link).await {
            Ok(user) => Ok(user),
            Err(error) => self.linked(table).await?.ok_or(error),
        }
    }

    /// Links the subject to the user with the newcomer's address in the account that claims the domain of the address, or to a
    /// new member there.
    ///
    /// # Errors
    /// Fails with `not_found` if no account claims the domain, and with `email_taken` if the account has invited the address.
    pub async fn join_home(&self, table: &Table, origin: RequestOrigin, now: Timestamp) -> Result<User> {
        let account = self.home(table).await?.ok_or_else(|| {
            Error::new(
                ErrorCode::NotFound,
                "No account claims the domain of your email address; ask an owner for an invitation",
            )
        })?;
        let claim: Option<EmailClaim> = table.get(key::email(&account.id, self.email()), Consistency::Strong).await?;
        let mut user = User {
            id: UserId::random(),
            account_id: account.id.clone(),
            email: self.email().clone(),
            role: Role::Member,
            created_at: now,
            teams: BTreeSet::new(),
            subjects: BTreeSet::from([self.hash()]),
        };
        let refused = || Error::from(TableError::Contended);
        let mut transaction = Transaction::new();
        match claim.map(|claim| claim.holder) {
            Some(EmailHolder::UserId(known)) => {
                user.id = known;
                transaction = transaction.write(user.link(&self.hash())).or(|current| match current {
                    Some(_) => {
                        Error::new(ErrorCode::LimitReached, "Too many sign-ins are linked to this email address")
                    }
                    None => TableError::Contended.into(),
                });
            }
            Some(EmailHolder::InvitationId(invitation)) => {
                let invitation = Invitation::by_id(table, &invitation).await?.ok_or_else(refused)?;
                if invitation.is_open(now) {
                    let message = format!("The account has invited '{}'; accept the invitation", invitation.email);
                    return Err(Error::new(ErrorCode::EmailTaken, message));
                }
                let [create, _, count] = user.writes()?;
                let [claim, old, invitations] = invitation.give_way(&user.id)?;
                transaction = transaction.write(claim).or(|_| TableError::Contended.into());
                transaction = transaction.writes([create, count, old, invitations]);
            }
            None => {
                let [create, claim, count] = user.writes()?;
                transaction = transaction.write(claim).or(|_| TableError::Contended.into()).writes([create, count]);
            }
        }
        let author = self.author(&user, origin, account.audit_retention());
        let event = author.event(Action::MemberLinked, user.target(), now);
        let identity = self.identity(&user, now)?;
        let transaction = transaction.write(identity).or(|_| TableError::Contended.into());
        let committed = transaction.by(&author, &event)?.commit(table).await?;
        let refusal = committed.err();
        self.linked(table).await?.ok_or_else(|| refusal.unwrap_or_else(refused))
    }

    /// Returns the user that the subject is linked to by now. A concurrent request of the person may have linked it.
    async fn linked(&self, table: &Table) -> Result<Option<User>, TableError> {
        let Some(identity) = Identity::of(table, &self.grant, Consistency::Strong).await? else { return Ok(None) };
        table.get(key::user(&identity.account_id, &identity.user_id), Consistency::Strong).await
    }

    /// Returns the account whose settings have the domain of the address.
    async fn home(&self, table: &Table) -> Result<Option<Account>, TableError> {
        let Some(holder) = DomainClaim::holder(table, &self.email.domain()).await? else { return Ok(None) };
        let account = Account::load(table, &holder).await?;
        Ok(account.filter(|account| account.email_domains.iter().any(|domain| self.email.is_at(domain))))
    }

    /// Returns the write of the link, which is refused if the subject is linked.
    fn identity(&self, user: &User, now: Timestamp) -> Result<Write, TableError> {
        let Grant { issuer, subject, .. } = &self.grant;
        let identity = Identity {
            account_id: user.account_id.clone(),
            user_id: user.id.clone(),
            issuer: issuer.clone(),
            subject: subject.clone(),
            linked_at: now,
        };
        Write::create(key::subject(issuer, subject), &identity, Vec::new())
    }

    fn hash(&self) -> String {
        key::subject_hash(&self.grant.issuer, &self.grant.subject)
    }

    fn author(&self, user: &User, origin: RequestOrigin, retention: AuditRetention) -> Author {
        let author =
            Author::newcomer(user, Credential::OAuth(self.grant.client_id.clone())).from(origin).keeping(retention);
        match self.session() {
            Some(session) => author.in_session(session),
            None => author,
        }
    }
}

/// Returns whether an invitation counts for somebody whose domain `home` claims.
fn may_invite(home: Option<&Account>, invitation: &Invitation) -> bool {
    home.is_none_or(|home| home.id == invitation.account_id)
}
