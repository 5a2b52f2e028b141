//! The users of an account: their addresses, roles and counts.

use std::collections::{BTreeSet, HashMap};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::clock::Timestamp;
use crate::error::{Error, ErrorCode, Result};
use crate::id::{AccountId, TeamId, UserId};
use crate::model::{Action, Author, Target, TargetKind, TeamMember, Withdrawal, key};
use crate::name::Email;
use crate::permission::Role;
use crate::permitted::TenantId;
use crate::sort::{Position, Sort};
use crate::table::{
    Change, Consistency, Index, IndexKey, Item, Partition, Table, TableError, Transaction, Value as Set, Values, Write,
};

/// The maximum number of subjects that are linked to one user, so that their removal fits into one transaction.
const MAX_SUBJECTS: usize = 20;

/// The row of a user, who belongs to one account.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct User {
    /// The user's ID.
    pub id: UserId,
    /// The account of the user.
    pub account_id: AccountId,
    /// The email address, which is unique in the account.
    pub email: Email,
    /// The role in the account. An account has at least one owner.
    pub role: Role,
    /// The time at which the user joined the account.
    pub created_at: Timestamp,
    /// The user's teams. They are in the user's row so that authentication reads both at once.
    #[serde(default, with = "serde_dynamo::string_set", skip_serializing_if = "BTreeSet::is_empty")]
    pub teams: BTreeSet<TeamId>,
    /// The hashes of the subjects of the OAuth2 issuer that are linked to the user. Their identities are deleted with the
    /// user, so that a removed person can be linked again.
    #[serde(default, with = "serde_dynamo::string_set", skip_serializing_if = "BTreeSet::is_empty")]
    pub subjects: BTreeSet<String>,
}

/// The claim that keeps an email address unique in its account, with its holder.
#[derive(Serialize, Deserialize)]
pub(super) struct EmailClaim {
    #[serde(flatten)]
    pub holder: EmailHolder,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum EmailHolder {
    UserId(UserId),
    InvitationId(crate::id::InvitationId),
}

/// The counter of an account's users. The transaction of each change of a user updates it.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
struct MemberCounts {
    #[serde(default)]
    members: u64,
    #[serde(default)]
    owners: u64,
}

impl User {
    pub(crate) async fn find(table: &Table, tenant: &TenantId, id: &UserId) -> Result<Option<Self>, TableError> {
        table.get(key::user(tenant, id), Consistency::Strong).await
    }

    /// Returns those of the users that exist, in no order.
    pub async fn by_ids(
        table: &Table,
        tenant: &TenantId,
        ids: impl IntoIterator<Item = &UserId>,
    ) -> Result<Vec<Self>, TableError> {
        table.batch_get(ids.into_iter().map(|id| key::user(tenant, id)).collect()).await
    }

    /// Returns the index partition that lists an account's members.
    pub fn listed(tenant: &TenantId) -> Partition {
        Partition::of_index(Index::ByCreation, key::members(tenant))
    }

    /// Returns the number of the account's users. Strongly consistent.
    pub async fn total(table: &Table, tenant: &TenantId) -> Result<u64, TableError> {
        Ok(MemberCounts::load(table, tenant).await?.members)
    }

    /// Returns the writes of a new user: their row, the claim on their address, which is refused if the address is taken, and
    /// the account's counts.
    pub(super) fn writes(&self) -> Result<[Write; 3], TableError> {
        let claim = EmailClaim { holder: EmailHolder::UserId(self.id.clone()) };
        Ok([
            self.create()?,
            Write::create(key::email(&self.account_id, &self.email), &claim, Vec::new())?,
            self.count(),
        ])
    }

    pub(super) fn create(&self) -> Result<Write, TableError> {
        let index_key = IndexKey {
            index: Index::ByCreation,
            partition: key::members(&self.account_id),
            sort: self.position(Sort::Created),
        };
        Write::create(key::user(&self.account_id, &self.id), self, vec![index_key])
    }

    pub(super) fn count(&self) -> Write {
        MemberCounts::change(&self.account_id, 1, i64::from(self.role == Role::Owner))
    }

    /// Returns the write that names another subject in the user's row. It is refused if the user is gone or has too many.
    pub(super) fn link(&self, subject: &str) -> Write {
        let change = Change {
            expression: "ADD subjects :subject".to_owned(),
            condition: Some("attribute_exists(pk) AND (attribute_not_exists(subjects) OR size(subjects) < :max)"),
            values: Values::new().set(":subject", Set::set_of(subject)).set(":max", MAX_SUBJECTS),
            ..Change::default()
        };
        Write::Update { key: key::user(&self.account_id, &self.id), change }
    }

    /// Returns the check that a user of the account is an owner.
    pub(super) fn is_owner(account: &AccountId, user: &UserId) -> Write {
        Write::Check {
            key: key::user(account, user),
            condition: "#role = :owner",
            names: Some(role_name()),
            values: Some(Values::new().set(":owner", Role::Owner.as_str())),
        }
    }

    pub(super) fn target(&self) -> Target {
        Target::new(TargetKind::Member, &self.id, Some(&self.email))
    }

    /// Sets the user's role, if the role is unchanged since `self` was read. Then withdraws the grants that the new role
    /// does not allow. If that fails halfway, repeating the call completes it.
    ///
    /// # Errors
    /// Fails with `last_owner` for the last owner, and with `not_found` if the user is gone.
    pub async fn set_role(
        &self,
        table: &Table,
        role: Role,
        author: &Author,
        now: Timestamp,
    ) -> Result<(Self, Withdrawal)> {
        let event = author.event(Action::MemberUpdated, self.target(), now).changing("role", self.role, role);
        let change = Change {
            expression: "SET #role = :new".to_owned(),
            condition: Some("#role = :old"),
            names: Some(role_name()),
            values: Values::new().set(":new", role.as_str()).set(":old", self.role.as_str()),
        };
        let mut transaction = Transaction::new()
            .write(Write::Update { key: key::user(&self.account_id, &self.id), change })
            .or(changed_or_gone)
            .by(author, &event)?;
        let owners = i64::from(role == Role::Owner) - i64::from(self.role == Role::Owner);
        if owners != 0 {
            transaction = transaction.write(MemberCounts::change(&self.account_id, 0, owners)).or(|_| last_owner());
        }
        transaction.commit(table).await??;
        let withdrawal = Withdrawal::of(self, Some(role), table, &author.of_consequences(), now).await?;
        Ok((Self { role, ..self.clone() }, withdrawal))
    }

    /// Removes the user from their teams, withdraws their grants, and then removes them and their identities. If it fails
    /// halfway, repeating the call completes it.
    ///
    /// # Errors
    /// Fails with `last_owner` for the last owner, and with `not_found` if the user is gone.
    pub async fn remove(&self, table: &Table, author: &Author, now: Timestamp) -> Result<Withdrawal> {
        // This check keeps the last owner in their teams. The condition below guarantees that an owner remains.
        if self.role == Role::Owner && MemberCounts::load(table, &self.account_id).await?.owners < 2 {
            return Err(last_owner());
        }
        for team in &self.teams {
            TeamMember::remove(table, team, self, author, now).await?;
        }
        let mut withdrawal = Withdrawal::of(self, None, table, author, now).await?;
        let values = Values::new().set(":old", self.role.as_str());
        let (condition, values) = match self.subjects.is_empty() {
            true => ("#role = :old AND attribute_not_exists(teams) AND attribute_not_exists(subjects)", values),
            false => (
                "#role = :old AND attribute_not_exists(teams) AND subjects = :subjects",
                values.set(":subjects", Set::set(self.subjects.iter().cloned())),
            ),
        };
        let key = key::user(&self.account_id, &self.id);
        let user = Write::DeleteIf { key, condition, names: Some(role_name()), values: Some(values) };
        let identities = self.subjects.iter().map(|hash| Write::Delete { key: key::subject_by_hash(hash) });
        let event = author.event(Action::MemberRemoved, self.target(), now).changing("role", self.role, Value::Null);
        Transaction::new()
            .by(author, &event)?
            .write(user)
            .or(changed_or_gone)
            .write(MemberCounts::change(&self.account_id, -1, -i64::from(self.role == Role::Owner)))
            .or(|_| last_owner())
            .write(Write::Delete { key: key::email(&self.account_id, &self.email) })
            .writes(identities)
            .commit(table)
            .await??;
        // The user may have granted something while the first withdrawal ran.
        withdrawal.extend(Withdrawal::of(self, None, table, &author.of_consequences(), now).await?);
        Ok(withdrawal)
    }
}

/// Returns the refusal to change a user who is gone or has changed since.
fn changed_or_gone(current: Option<Item>) -> Error {
    match current {
        Some(_) => TableError::Contended.into(),
        None => Error::not_found("Member"),
    }
}

fn last_owner() -> Error {
    Error::new(
        ErrorCode::LastOwner,
        "The account's last owner can't be removed or given another role; make another member an owner first",
    )
}

impl Position for User {
    fn position(&self, _: Sort) -> String {
        format!("{:015}#{}", self.created_at.as_millis(), self.id)
    }
}

impl MemberCounts {
    async fn load(table: &Table, account: &AccountId) -> Result<Self, TableError> {
        Ok(table.get(key::member_counts(account), Consistency::Strong).await?.unwrap_or_default())
    }

    /// Returns the write that changes the counts. Its condition keeps at least one owner.
    fn change(account: &AccountId, members: i64, owners: i64) -> Write {
        let values = Values::new().set(":members", members).set(":owners", owners).set(":one", 1);
        let condition = (owners < 0).then_some("owners > :one");
        let expression = "ADD members :members, owners :owners, changes :one".to_owned();
        Write::Update {
            key: key::member_counts(account),
            change: Change { expression, condition, names: None, values },
        }
    }
}

fn role_name() -> HashMap<String, String> {
    HashMap::from([("#role".to_owned(), "role".to_owned())])
}
