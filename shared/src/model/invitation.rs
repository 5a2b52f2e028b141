//! Invitations to an account.
//!
//! There are two ways to accept one: with its secret, which whoever invited passes on, or by an identity provider's word
//! that the address is the caller's. Both end in [`Invitation::accept`].

use std::str::FromStr;
use std::time::Duration;

use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use crate::clock::Timestamp;
use crate::error::{Error, ErrorCode, Result};
use crate::id::{AccountId, InvitationId, TeamId, UserId};
use crate::model::counter::add;
use crate::model::member::{EmailClaim, EmailHolder};
use crate::model::team::entered;
use crate::model::{AccessToken, Lifetime, Team, TeamMember, User, key};
use crate::name::Email;
use crate::permission::Role;
use crate::permitted::TenantId;
use crate::sort::{Position, Sort};
use crate::table::{Consistency, Index, IndexKey, Item, Partition, Table, TableError, Transaction, Values, Write};
use crate::token::TokenSecret;

/// How long an invitation can be accepted.
pub const INVITATION_LIFE: Duration = Duration::from_secs(7 * 24 * 60 * 60);
/// Teams that an invitation names at most, so that accepting it is one transaction.
pub const MAX_TEAMS_OF_INVITATION: usize = 20;

/// The invitation's secret: `dgi_` and 160 random bits.
#[derive(Clone, Debug, Deserialize, utoipa::ToSchema)]
#[serde(try_from = "String")]
#[schema(value_type = String, examples("dgi_k3vyq2w7x5m4n6pak3vyq2w7x5m4n6pa"))]
pub struct InvitationSecret(SecretString);

#[derive(Debug, thiserror::Error)]
#[error("must be an invitation's secret, which starts with 'dgi_'")]
pub struct MalformedSecret;

impl InvitationSecret {
    pub fn random() -> Self {
        Self(format!("{}{}", crate::id::random("dgi_"), crate::id::random("")).into())
    }

    /// The secret itself, to be shown once to who invites.
    pub fn reveal(&self) -> &str {
        self.0.expose_secret()
    }

    /// The only form in which it is stored.
    pub fn hash(&self) -> String {
        Sha256::digest(self.reveal().as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect()
    }
}

impl FromStr for InvitationSecret {
    type Err = MalformedSecret;

    fn from_str(text: &str) -> Result<Self, MalformedSecret> {
        let is_one = text.len() == 36 && text.starts_with("dgi_") && text.is_ascii();
        if is_one { Ok(Self(text.into())) } else { Err(MalformedSecret) }
    }
}

impl TryFrom<String> for InvitationSecret {
    type Error = MalformedSecret;

    fn try_from(text: String) -> Result<Self, MalformedSecret> {
        text.parse()
    }
}

/// It is there until it is accepted, revoked, or, once it has expired, replaced by another to the same address.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Invitation {
    pub id: InvitationId,
    pub account_id: AccountId,
    pub email: Email,
    pub role: Role,
    pub teams: Vec<TeamId>,
    pub secret_hash: String,
    pub invited_by: UserId,
    pub created_at: Timestamp,
    pub valid_until: Timestamp,
}

impl Invitation {
    pub(crate) async fn find(table: &Table, tenant: &TenantId, id: &InvitationId) -> Result<Option<Self>, TableError> {
        let found: Option<Self> = table.get(key::invitation(id), Consistency::Strong).await?;
        Ok(found.filter(|invitation| invitation.account_id == **tenant))
    }

    /// The invitation that a secret opens.
    ///
    /// # Errors
    /// `not_found` for a wrong id as for a wrong secret; `invitation_expired`, which only the right secret learns.
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
                format!("The invitation expired at {}", invitation.valid_until),
            ));
        }
        Ok(invitation)
    }

    /// The open invitations, in any account, of somebody whose address an identity provider has verified. The newest
    /// first; up to a second behind.
    pub async fn of_verified(table: &Table, email: &Email, now: Timestamp) -> Result<Vec<Self>, TableError> {
        let mut found: Vec<Self> =
            table.query_all(Partition::of_index(Index::ByEmail, key::invitations_to(email))).await?;
        found.retain(|invitation| invitation.is_open(now));
        found.reverse();
        Ok(found)
    }

    pub fn is_open(&self, now: Timestamp) -> bool {
        now < self.valid_until
    }

    /// Where an account's invitations are listed.
    pub fn listed(tenant: &TenantId) -> Partition {
        Partition::of_index(Index::ByCreation, key::invitations(tenant))
    }

    pub async fn total(table: &Table, tenant: &TenantId) -> Result<u64, TableError> {
        let total: Option<InvitationTotal> = table.get(key::invitation_count(tenant), Consistency::Strong).await?;
        Ok(total.map_or(0, |total| total.invitations))
    }

    /// Writes the invitation, the claim on its address and the account's number of invitations at once. An expired one
    /// to the same address goes.
    ///
    /// # Errors
    /// `email_taken`
    pub async fn create(&self, table: &Table) -> Result<()> {
        let transaction = Transaction::new()
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
            Some(EmailHolder::UserId(_)) => return Err(taken("is in the account")),
            None => None,
        };
        match old {
            Some(old) if old.is_open(self.created_at) => Err(taken("is invited already")),
            None => Err(TableError::Contended.into()),
            Some(old) => self.replace(&old, table).await,
        }
    }

    /// Writes the invitation in the place of an expired one to the same address.
    async fn replace(&self, expired: &Self, table: &Table) -> Result<()> {
        let key = key::email(&self.account_id, &self.email);
        Transaction::new()
            .write(self.row()?)
            .write(Write::put_if(key, &self.claim(), Vec::new(), HELD, held_by(&expired.id))?)
            .or(|_| TableError::Contended.into())
            .write(Write::Delete { key: key::invitation(&expired.id) })
            .commit(table)
            .await?
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

    /// Takes the invitation back, and frees its address.
    ///
    /// # Errors
    /// `not_found` when somebody has accepted or revoked it meanwhile.
    pub async fn revoke(&self, table: &Table) -> Result<()> {
        let (key, values) = (key::email(&self.account_id, &self.email), Some(held_by(&self.id)));
        Transaction::new()
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
        now: Timestamp,
        secret: &TokenSecret,
        lifetime: Lifetime,
        token: impl FnOnce(&User) -> AccessToken,
    ) -> Result<User> {
        self.accept(table, now, |user| token(user).creation(secret, lifetime)).await
    }

    /// Makes the invited person a user of the account and a member of those teams of the invitation that still exist. Adds
    /// the writes of the user's token or identity to the transaction.
    ///
    /// # Errors
    /// `not_found` if the invitation was accepted or revoked meanwhile.
    pub(super) async fn accept(
        self,
        table: &Table,
        now: Timestamp,
        with: impl FnOnce(&User) -> Result<Vec<Write>, TableError>,
    ) -> Result<User> {
        let teams = Team::open_ids(table, &self.account_id, &self.teams).await?;
        let user = User {
            id: UserId::random(),
            account_id: self.account_id.clone(),
            email: self.email.clone(),
            role: self.role,
            created_at: now,
            teams,
        };
        let (key, claim) = (key::email(&self.account_id, &self.email), EmailHolder::UserId(user.id.clone()));
        let claim = EmailClaim { holder: claim };
        let mut transaction = Transaction::new()
            .write(Write::put_if(key, &claim, Vec::new(), HELD, held_by(&self.id))?)
            .or(gone)
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
        for write in with(&user)? {
            transaction = transaction.write(write).or(gone);
        }
        transaction.commit(table).await??;
        Ok(user)
    }
}

/// That the address is this invitation's still.
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

/// Refuses an invitation into a team that has filled up or gone.
fn team_full(_: Option<Item>) -> Error {
    Error::new(ErrorCode::LimitReached, "A team of the invitation is full")
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
