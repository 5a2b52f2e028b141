//! Invitations to an account.
//!
//! An invitation is accepted in one of two ways: with its secret, or by a caller whose address the identity provider
//! has verified. Both end in [`Invitation::accept`].

use std::collections::BTreeSet;
use std::str::FromStr;
use std::time::Duration;

use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use crate::clock::Timestamp;
use crate::error::{Error, ErrorCode, Result};
use crate::hex::hex;
use crate::id::{AccountId, InvitationId, TeamId, UserId};
use crate::model::counter::add;
use crate::model::member::{EmailClaim, EmailHolder};
use crate::model::team::entered;
use crate::model::{
    AccessToken, Action, AuditEvent, AuditRetention, Author, Credential, Lifetime, RequestOrigin, Target, TargetKind,
    Team, TeamMember, User, key,
};
use crate::name::Email;
use crate::permission::Role;
use crate::permitted::TenantId;
use crate::sort::{Position, Sort};
use crate::table::{Consistency, Index, IndexKey, Item, Partition, Table, TableError, Transaction, Values, Write};
use crate::token::TokenSecret;

/// The time within which an invitation can be accepted.
pub const INVITATION_LIFE: Duration = Duration::from_secs(7 * 24 * 60 * 60);

/// The invitation's secret: `dgi_` and 160 random bits.
#[derive(Clone, Debug, Deserialize, utoipa::ToSchema)]
#[serde(try_from = "String")]
#[schema(value_type = String, pattern = "^dgi_[a-z2-7]{32}$", examples("dgi_k3vyq2w7x5m4n6pak3vyq2w7x5m4n6pa"))]
pub struct InvitationSecret(SecretString);

/// The error for a text that does not have the form of an invitation's secret.
#[derive(Debug, thiserror::Error)]
#[error("must be an invitation's secret, which starts with 'dgi_'")]
pub struct MalformedSecret;

impl InvitationSecret {
    /// Returns a new secret from 160 random bits.
    pub fn random() -> Self {
        Self(format!("{}{}", crate::id::random("dgi_"), crate::id::random("")).into())
    }

    /// Returns the secret itself, to be shown once to the inviting user.
    pub fn reveal(&self) -> &str {
        self.0.expose_secret()
    }

    /// Returns the hash of the secret, the only form that is stored.
    pub fn hash(&self) -> String {
        hex(&Sha256::digest(self.reveal().as_bytes()))
    }
}

impl FromStr for InvitationSecret {
    type Err = MalformedSecret;

    fn from_str(text: &str) -> Result<Self, MalformedSecret> {
        let is_random = |byte: u8| matches!(byte, b'a'..=b'z' | b'2'..=b'7');
        let is_one = |random: &str| random.len() == 32 && random.bytes().all(is_random);
        if text.strip_prefix("dgi_").is_some_and(is_one) { Ok(Self(text.into())) } else { Err(MalformedSecret) }
    }
}

impl TryFrom<String> for InvitationSecret {
    type Error = MalformedSecret;

    fn try_from(text: String) -> Result<Self, MalformedSecret> {
        text.parse()
    }
}

/// An invitation that has not been accepted or revoked. An expired invitation remains until another one to the address
/// replaces it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Invitation {
    /// The invitation's ID, which is not secret.
    pub id: InvitationId,
    /// The account that the invited person joins.
    pub account_id: AccountId,
    /// The address that the invitation is for. No other open invitation or user of the account has it.
    pub email: Email,
    /// The role that the invited person gets.
    pub role: Role,
    /// The teams that the invited person joins, at most 20, so that the acceptance fits into one transaction. Those that are gone by then are
    /// left out.
    pub teams: Vec<TeamId>,
    /// The secret's SHA-256 in hexadecimal.
    pub secret_hash: String,
    /// The user who created the invitation.
    pub invited_by: UserId,
    /// The time at which the invitation was created.
    pub created_at: Timestamp,
    /// The time from which the invitation can't be accepted.
    pub valid_until: Timestamp,
    /// The account's time for audit events at creation.
    #[serde(default, skip_serializing_if = "AuditRetention::is_default")]
    pub audit_retention: AuditRetention,
}

impl Invitation {
    pub(crate) async fn find(table: &Table, tenant: &TenantId, id: &InvitationId) -> Result<Option<Self>, TableError> {
        let found: Option<Self> = table.get(key::invitation(id), Consistency::Strong).await?;
        Ok(found.filter(|invitation| invitation.account_id == **tenant))
    }

    /// Returns an invitation to any account.
    pub(super) async fn by_id(table: &Table, id: &InvitationId) -> Result<Option<Self>, TableError> {
        table.get(key::invitation(id), Consistency::Strong).await
    }

    /// Returns the invitation if the secret is right and it has not expired.
    ///
    /// # Errors
    /// Fails with `not_found` for a wrong id or a wrong secret, and with `invitation_expired` only for the right
    /// secret.
    pub async fn opened_by(
        table: &Table,
        id: &InvitationId,
        secret: &InvitationSecret,
        now: Timestamp,
    ) -> Result<Self> {
        let found: Option<Self> = table.get(key::invitation(id), Consistency::Strong).await?;
        let opens = |found: &Self| found.secret_hash.as_bytes().ct_eq(secret.hash().as_bytes()).into();
        let invitation = found.filter(opens).ok_or_else(|| Error::not_found("Invitation"))?;
        if !invitation.is_open(now) {
            return Err(Error::new(
                ErrorCode::InvitationExpired,
                format!("The invitation expired at {}; ask for a new one", invitation.valid_until),
            ));
        }
        Ok(invitation)
    }

    /// Returns the open invitations of all accounts to a verified address, newest first. Eventually consistent.
    pub async fn of_verified(table: &Table, email: &Email, now: Timestamp) -> Result<Vec<Self>, TableError> {
        let mut found: Vec<Self> =
            table.query_all(Partition::of_index(Index::ByEmail, key::invitations_to(email))).await?;
        found.retain(|invitation| invitation.is_open(now));
        found.reverse();
        Ok(found)
    }

    pub(crate) fn is_open(&self, now: Timestamp) -> bool {
        now < self.valid_until
    }

    /// Returns the index partition that lists an account's invitations.
    pub fn listed(tenant: &TenantId) -> Partition {
        Partition::of_index(Index::ByCreation, key::invitations(tenant))
    }

    /// Returns the number of the account's invitations, expired ones included. Strongly consistent.
    pub async fn total(table: &Table, tenant: &TenantId) -> Result<u64, TableError> {
        let total: Option<InvitationTotal> = table.get(key::invitation_count(tenant), Consistency::Strong).await?;
        Ok(total.map_or(0, |total| total.invitations))
    }

    /// Writes the invitation, the claim on its address and the account's number of invitations in one transaction.
    /// Replaces an expired invitation to the same address.
    ///
    /// # Errors
    /// Fails with `email_taken` if the address belongs to a user of the account or to an open invitation.
    pub async fn create(&self, table: &Table, author: &Author) -> Result<()> {
        let event = author
            .event(Action::InvitationCreated, self.target(), self.created_at)
            .setting("role", self.role)
            .setting("teams", &self.teams);
        let transaction = Transaction::new()
            .by(author, &event)?
            .write(self.row()?)
            .write(Write::create(key::email(&self.account_id, &self.email), &self.claim(), Vec::new())?)
            .or(|_| AddressHeld)
            .write(add(key::invitation_count(&self.account_id), "invitations", 1));
        if transaction.commit(table).await?.is_ok() {
            return Ok(());
        }
        let taken = |what: &str| Error::new(ErrorCode::EmailTaken, format!("'{}' {what}", self.email));
        let claim: Option<EmailClaim> =
            table.get(key::email(&self.account_id, &self.email), Consistency::Strong).await?;
        let old = match claim.map(|claim| claim.holder) {
            Some(EmailHolder::InvitationId(old)) => {
                table.get::<Self>(key::invitation(&old), Consistency::Strong).await?
            }
            Some(EmailHolder::UserId(_)) => return Err(taken("already belongs to a member of the account")),
            None => None,
        };
        match old {
            Some(old) if old.is_open(self.created_at) => Err(taken("already has a pending invitation")),
            None => Err(TableError::Contended.into()),
            Some(old) => self.replace(&old, table, author, &event).await,
        }
    }

    /// Writes the invitation in place of an expired one to the same address.
    async fn replace(&self, expired: &Self, table: &Table, author: &Author, event: &AuditEvent) -> Result<()> {
        let key = key::email(&self.account_id, &self.email);
        Transaction::new()
            .by(author, event)?
            .write(self.row()?)
            .write(Write::put_if(key, &self.claim(), Vec::new(), HELD, held_by(&expired.id))?)
            .or(|_| TableError::Contended.into())
            .write(Write::Delete { key: key::invitation(&expired.id) })
            .commit(table)
            .await?
    }

    /// Returns the writes with which an expired invitation gives its address to a user. The first is refused if the invitation
    /// does not have the address any more.
    pub(super) fn give_way(&self, user: &UserId) -> Result<[Write; 3], TableError> {
        let claim = EmailClaim { holder: EmailHolder::UserId(user.clone()) };
        let key = key::email(&self.account_id, &self.email);
        Ok([
            Write::put_if(key, &claim, Vec::new(), HELD, held_by(&self.id))?,
            Write::Delete { key: key::invitation(&self.id) },
            add(key::invitation_count(&self.account_id), "invitations", -1),
        ])
    }

    fn target(&self) -> Target {
        Target::new(TargetKind::Invitation, &self.id, Some(&self.email))
    }

    fn claim(&self) -> EmailClaim {
        EmailClaim { holder: EmailHolder::InvitationId(self.id.clone()) }
    }

    fn row(&self) -> Result<Write, TableError> {
        let index_key = |(index, partition)| IndexKey { index, partition, sort: self.position(Sort::Created) };
        let index_keys = [
            (Index::ByCreation, key::invitations(&self.account_id)),
            (Index::ByEmail, key::invitations_to(&self.email)),
        ];
        let index_keys = index_keys.into_iter().map(index_key).collect();
        Write::create(key::invitation(&self.id), self, index_keys)
    }

    /// Revokes the invitation and frees its address.
    ///
    /// # Errors
    /// Fails with `not_found` if the invitation was accepted or revoked meanwhile.
    pub async fn revoke(&self, table: &Table, author: &Author, now: Timestamp) -> Result<()> {
        let (key, values) = (key::email(&self.account_id, &self.email), Some(held_by(&self.id)));
        let event = author.event(Action::InvitationDeleted, self.target(), now);
        Transaction::new()
            .by(author, &event)?
            .write(Write::DeleteIf { key, condition: HELD, names: None, values })
            .or(gone)
            .write(Write::Delete { key: key::invitation(&self.id) })
            .write(add(key::invitation_count(&self.account_id), "invitations", -1))
            .commit(table)
            .await?
    }

    /// Accepts the invitation and creates the user's first token.
    ///
    /// # Errors
    /// `not_found` if the invitation was accepted or revoked meanwhile.
    pub async fn accept_with_token(
        self,
        table: &Table,
        origin: Option<RequestOrigin>,
        now: Timestamp,
        secret: &TokenSecret,
        lifetime: Lifetime,
        token: impl FnOnce(&User) -> AccessToken,
    ) -> Result<User> {
        let retention = self.audit_retention;
        let author = |user: &User| {
            let author = Author::newcomer(user, Credential::Other).keeping(retention);
            origin.into_iter().fold(author, Author::from)
        };
        self.accept(table, author, now, |user| token(user).creation(secret, lifetime)).await
    }

    /// Makes the invited person a user of the account and a member of those teams of the invitation that still exist. Adds
    /// the writes of the user's token or identity to the transaction. `author` makes the author of the new user.
    ///
    /// # Errors
    /// `not_found` if the invitation was accepted or revoked meanwhile, or if its inviter may not give its role any more.
    pub(super) async fn accept(
        self,
        table: &Table,
        author: impl FnOnce(&User) -> Author,
        now: Timestamp,
        with: impl FnOnce(&mut User) -> Result<Vec<Write>, TableError>,
    ) -> Result<User> {
        let teams = Team::open_ids(table, &self.account_id, &self.teams).await?;
        let mut user = User {
            id: UserId::random(),
            account_id: self.account_id.clone(),
            email: self.email.clone(),
            role: self.role,
            created_at: now,
            teams,
            subjects: BTreeSet::new(),
        };
        let more = with(&mut user)?;
        let (key, claim) = (key::email(&self.account_id, &self.email), EmailHolder::UserId(user.id.clone()));
        let claim = EmailClaim { holder: claim };
        let author = author(&user);
        let event = author.event(Action::InvitationAccepted, self.target(), now);
        let event = event.setting("member", &user.id).setting("role", user.role).setting("teams", &user.teams);
        let mut transaction = Transaction::new()
            .write(Write::put_if(key, &claim, Vec::new(), HELD, held_by(&self.id))?)
            .or(gone)
            .write(self.still_given())
            .or(gone)
            .by(&author, &event)?
            .write(user.create()?)
            .write(user.count())
            .write(Write::Delete { key: key::invitation(&self.id) })
            .write(add(key::invitation_count(&self.account_id), "invitations", -1));
        for team in &user.teams {
            let member = TeamMember { user_id: user.id.clone(), added_at: now };
            let [count, open] = entered(&self.account_id, team, "members");
            transaction = transaction.write(member.create(&self.account_id, team)?);
            transaction = transaction.write(count).or(team_full).write(open).or(team_full);
        }
        for write in more {
            transaction = transaction.write(write).or(gone);
        }
        transaction.commit(table).await??;
        Ok(user)
    }
}

impl Invitation {
    /// Returns the check that the inviter may still give the invitation's role: an owner any role, an admin all but that
    /// of an owner.
    fn still_given(&self) -> Write {
        let values = Values::new().set(":owner", Role::Owner.as_str());
        let (condition, values) = match self.role {
            Role::Owner => ("#role = :owner", values),
            Role::Admin | Role::Member => ("#role IN (:owner, :admin)", values.set(":admin", Role::Admin.as_str())),
        };
        let names = Some([("#role".to_owned(), "role".to_owned())].into());
        Write::Check { key: key::user(&self.account_id, &self.invited_by), condition, names, values: Some(values) }
    }
}

/// The condition that the address still belongs to this invitation.
const HELD: &str = "invitation_id = :invitation";

fn held_by(id: &InvitationId) -> Values {
    Values::new().set(":invitation", id.as_str())
}

/// The refusal to invite an address that a user or another invitation holds.
struct AddressHeld;

/// Refuses an invitation that is accepted or revoked.
fn gone(_: Option<Item>) -> Error {
    Error::not_found("Invitation")
}

/// Refuses an invitation into a team that is full or gone.
fn team_full(_: Option<Item>) -> Error {
    Error::new(ErrorCode::LimitReached, "A team in the invitation is full")
}

impl Position for Invitation {
    fn position(&self, _: Sort) -> String {
        format!("{:015}#{}", self.created_at.as_millis(), self.id)
    }
}

#[derive(Deserialize)]
struct InvitationTotal {
    invitations: u64,
}
