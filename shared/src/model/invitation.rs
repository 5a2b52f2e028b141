//! Invitations to an account.
//!
//! There are two ways to accept one: with its secret, which whoever invited passes on, or by an identity provider's word
//! that the address is the caller's. Both end in [`Invitation::accept`].

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use aws_sdk_dynamodb::types::AttributeValue;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use crate::clock::Timestamp;
use crate::error::{Error, ErrorCode, Result};
use crate::id::{AccountId, InvitationId, TeamId, UserId};
use crate::model::counter::add;
use crate::model::member::{EmailClaim, EmailHolder};
use crate::model::team::entered;
use crate::model::{Team, TeamMember, User, key};
use crate::name::Email;
use crate::permission::Role;
use crate::permitted::TenantId;
use crate::sort::{Position, Sort};
use crate::table::{Consistency, Index, IndexKey, Item, Partition, Table, TableError, TransactFailed, Write};

/// How long an invitation can be accepted.
pub const INVITATION_LIFE: Duration = Duration::from_secs(7 * 24 * 60 * 60);
/// Teams that an invitation names at most, so that accepting it is one transaction.
pub const MAX_TEAMS_OF_INVITATION: usize = 20;

/// What proves that somebody was invited: `dgi_` and 160 random bits.
#[derive(Clone, PartialEq, Eq, Deserialize, utoipa::ToSchema)]
#[serde(try_from = "String")]
#[schema(value_type = String, examples("dgi_k3vyq2w7x5m4n6pak3vyq2w7x5m4n6pa"))]
pub struct InvitationSecret(String);

#[derive(Debug, thiserror::Error)]
#[error("must be an invitation's secret, which starts with 'dgi_'")]
pub struct MalformedSecret;

impl InvitationSecret {
    pub fn random() -> Self {
        Self(format!("{}{}", crate::id::random("dgi_"), crate::id::random("")))
    }

    /// The secret itself, to be shown once to who invites.
    pub fn reveal(&self) -> &str {
        &self.0
    }

    /// The only form in which it is stored.
    pub fn hash(&self) -> String {
        Sha256::digest(self.0.as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect()
    }
}

impl FromStr for InvitationSecret {
    type Err = MalformedSecret;

    fn from_str(text: &str) -> Result<Self, MalformedSecret> {
        let is_one = text.len() == 36 && text.starts_with("dgi_") && text.is_ascii();
        if is_one { Ok(Self(text.to_owned())) } else { Err(MalformedSecret) }
    }
}

impl TryFrom<String> for InvitationSecret {
    type Error = MalformedSecret;

    fn try_from(text: String) -> Result<Self, MalformedSecret> {
        text.parse()
    }
}

impl fmt::Debug for InvitationSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("InvitationSecret(redacted)")
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
        match table.transact(self.creation(None)?).await {
            Ok(()) => return Ok(()),
            Err(TransactFailed::Conditions(_)) => {}
            Err(failed) => return Err(failed.into()),
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
            None => Err(TransactFailed::Conflict.into()),
            Some(old) => Ok(table.transact(self.creation(Some(&old))?).await.map_err(|failed| match failed {
                TransactFailed::Conditions(_) => TransactFailed::Conflict,
                failed => failed,
            })?),
        }
    }

    fn creation(&self, instead_of: Option<&Self>) -> Result<Vec<Write>, TableError> {
        let index_key = |(index, partition)| IndexKey { index, partition, sort: self.position(Sort::Created) };
        let index_keys = [
            (Index::ByCreation, key::invitations(&self.account_id)),
            (Index::ByEmail, key::invitations_to(&self.email)),
        ];
        let index_keys = index_keys.into_iter().map(index_key).collect();
        let claim = EmailClaim { holder: EmailHolder::InvitationId(self.id.clone()) };
        let key = key::email(&self.account_id, &self.email);
        let mut writes = vec![Write::create(key::invitation(&self.id), self, index_keys)?];
        match instead_of {
            None => writes.extend([
                Write::create(key, &claim, Vec::new())?,
                add(key::invitation_count(&self.account_id), "invitations", 1),
            ]),
            Some(old) => writes.extend([
                Write::put_if(key, &claim, Vec::new(), HELD, held_by(&old.id))?,
                Write::Delete { key: key::invitation(&old.id) },
            ]),
        }
        Ok(writes)
    }

    /// Takes the invitation back, and frees its address.
    ///
    /// # Errors
    /// `not_found` when somebody has accepted or revoked it meanwhile.
    pub async fn revoke(&self, table: &Table) -> Result<()> {
        let writes = vec![
            Write::DeleteIf {
                key: key::email(&self.account_id, &self.email),
                condition: HELD,
                names: None,
                values: Some(held_by(&self.id)),
            },
            Write::Delete { key: key::invitation(&self.id) },
            add(key::invitation_count(&self.account_id), "invitations", -1),
        ];
        table.transact(writes).await.map_err(gone)
    }

    /// Makes the invited person a user of the account, in those of the invitation's teams that are there still, and
    /// writes what else comes with it, a token or an identity, at once.
    ///
    /// # Errors
    /// `not_found` when somebody has accepted or revoked it meanwhile.
    pub async fn accept(
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
        let claim = EmailClaim { holder: EmailHolder::UserId(user.id.clone()) };
        let mut writes = vec![
            Write::put_if(key::email(&self.account_id, &self.email), &claim, Vec::new(), HELD, held_by(&self.id))?,
            user.create()?,
            user.count(),
            Write::Delete { key: key::invitation(&self.id) },
            add(key::invitation_count(&self.account_id), "invitations", -1),
        ];
        for team in &user.teams {
            let member = TeamMember { user_id: user.id.clone(), added_at: now };
            writes.push(member.create(&self.account_id, team)?);
            writes.extend(entered(&self.account_id, team, "members"));
        }
        writes.extend(with(&user)?);
        match table.transact(writes).await {
            Ok(()) => Ok(user),
            // The address is still held by this invitation, so it was a team that has filled up or gone.
            Err(TransactFailed::Conditions(failed)) if failed.first().is_some_and(Option::is_none) => {
                Err(Error::new(ErrorCode::LimitReached, "A team of the invitation is full"))
            }
            Err(failed) => Err(gone(failed)),
        }
    }
}

/// That the address is this invitation's still.
const HELD: &str = "invitation_id = :invitation";

fn held_by(id: &InvitationId) -> Item {
    Item::from([(":invitation".to_owned(), AttributeValue::S(id.to_string()))])
}

fn gone(failed: TransactFailed) -> Error {
    match failed {
        TransactFailed::Conditions(_) => Error::not_found("Invitation"),
        failed => failed.into(),
    }
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
