//! Teams. Their members, their repositories and their deletion have modules of their own.

mod deletion;
mod grant;
mod member;
mod sizes;

pub use grant::*;
pub use member::*;
pub use sizes::*;

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::clock::Timestamp;
use crate::error::{Error, ErrorCode, Result};
use crate::id::{AccountId, TeamId};
use crate::model::counter::add;
use crate::model::{Action, Author, Target, TargetKind, key};
use crate::name::{Description, TeamName};
use crate::permitted::TenantId;
use crate::sort::{Position, Sort};
use crate::table::{Consistency, Index, IndexKey, Key, Partition, Table, TableError, Transaction, Write};

/// The row of a team.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Team {
    /// The team's ID.
    pub id: TeamId,
    /// The account of the team and of all its members.
    pub account_id: AccountId,
    /// The name, unique in the account regardless of case.
    pub name: TeamName,
    /// The description, which may be empty.
    pub description: Description,
    /// The version that each conditional write checks, and that of the ETag. Each change adds one.
    pub revision: u64,
    /// The time at which the team was created.
    pub created_at: Timestamp,
    /// The time at which the name or the description last changed.
    pub updated_at: Timestamp,
    /// Whether the team's deletion has begun. Such a team takes no members and no repositories.
    #[serde(default)]
    pub deleting: bool,
}

/// The requested changes of a team.
#[derive(Clone, Debug)]
pub struct TeamChange {
    /// The new name, or `None` to keep the current one.
    pub name: Option<TeamName>,
    /// The new description, or `None` to keep the current one.
    pub description: Option<Description>,
}

/// The reasons to refuse a change of a team.
enum ChangeRefused {
    /// The team has another revision.
    Changed,
    NameTaken,
}

impl Team {
    pub(crate) async fn find(table: &Table, tenant: &TenantId, id: &TeamId) -> Result<Option<Self>, TableError> {
        table.get(key::team(tenant, id), Consistency::Strong).await
    }

    /// Returns the index partition that lists an account's teams in a sort order.
    pub fn listed(tenant: &TenantId, sort: Sort) -> Partition {
        let index = match sort {
            Sort::Created => Index::ByCreation,
            Sort::Updated => Index::ByUpdate,
            Sort::Name => Index::ByName,
        };
        Partition::of_index(index, key::teams(tenant))
    }

    /// Returns the number of the account's teams, those in deletion included. Strongly consistent.
    pub async fn total(table: &Table, tenant: &TenantId) -> Result<u64, TableError> {
        let total: Option<TeamTotal> = table.get(key::team_count(tenant), Consistency::Strong).await?;
        Ok(total.map_or(0, |total| total.teams))
    }

    /// Returns those of the teams that exist, in no order.
    pub async fn by_ids(table: &Table, tenant: &TenantId, ids: &BTreeSet<TeamId>) -> Result<Vec<Self>, TableError> {
        table.batch_get(ids.iter().map(|id| key::team(tenant, id)).collect()).await
    }

    /// Returns those of an account's teams that exist and take members.
    pub(super) async fn open_ids(
        table: &Table,
        account: &AccountId,
        ids: &[TeamId],
    ) -> Result<BTreeSet<TeamId>, TableError> {
        let teams: Vec<Self> = table.batch_get(ids.iter().map(|id| key::team(account, id)).collect()).await?;
        Ok(teams.into_iter().filter(|team| !team.deleting).map(|team| team.id).collect())
    }

    /// Writes the team, its name and the account's number of teams in one transaction.
    ///
    /// # Errors
    /// Fails with `name_taken` if the account has a team with the name.
    pub async fn create(&self, table: &Table, author: &Author) -> Result<()> {
        let event = author
            .event(Action::TeamCreated, self.target(), self.created_at)
            .setting("name", &self.name)
            .setting("description", &self.description);
        Transaction::new()
            .by(author, &event)?
            .write(self.claim()?)
            .or(|_| self.name_taken())
            .write(Write::create(self.key(), self, self.index_keys())?)
            .write(add(key::team_count(&self.account_id), "teams", 1))
            .commit(table)
            .await?
    }

    /// Changes the team if it meets the precondition `expected`. Retries after concurrent changes.
    ///
    /// # Errors
    /// Fails with `name_taken`, with the error of `expected`, or with `not_found` if the team is gone.
    pub async fn change(
        self,
        table: &Table,
        tenant: &TenantId,
        change: TeamChange,
        expected: impl Fn(&Self) -> Result<()>,
        author: &Author,
        now: Timestamp,
    ) -> Result<Self> {
        let mut before = self;
        let mut attempts = table.attempts();
        while attempts.begin().await {
            if before.deleting {
                return Err(Error::not_found("Team"));
            }
            expected(&before)?;
            let TeamChange { name, description } = change.clone();
            let after = Self {
                name: name.unwrap_or_else(|| before.name.clone()),
                description: description.unwrap_or_else(|| before.description.clone()),
                revision: before.revision + 1,
                updated_at: now,
                ..before.clone()
            };
            if (&after.name, &after.description) == (&before.name, &before.description) {
                return Ok(before);
            }
            let row = Write::replace(after.key(), &after, after.index_keys(), "revision = :version", before.revision)?;
            let event = author
                .event(Action::TeamUpdated, before.target(), now)
                .changing("name", &before.name, &after.name)
                .changing("description", &before.description, &after.description);
            let mut transaction = Transaction::new().by(author, &event)?.write(row).or(|_| ChangeRefused::Changed);
            if after.name.folded() != before.name.folded() {
                transaction = transaction
                    .write(after.claim()?)
                    .or(|_| ChangeRefused::NameTaken)
                    .write(Write::Delete { key: key::team_name(&before.account_id, &before.name) });
            }
            match transaction.commit(table).await? {
                Ok(()) => return Ok(after),
                Err(ChangeRefused::NameTaken) => return Err(after.name_taken()),
                Err(ChangeRefused::Changed) => {
                    before = Self::find(table, tenant, &before.id).await?.ok_or_else(|| Error::not_found("Team"))?;
                }
            }
        }
        Err(TableError::Contended.into())
    }

    pub(super) fn target(&self) -> Target {
        Target::new(TargetKind::Team, &self.id, Some(&self.name))
    }

    fn claim(&self) -> Result<Write, TableError> {
        Write::create(key::team_name(&self.account_id, &self.name), &TeamClaim { team_id: self.id.clone() }, Vec::new())
    }

    fn name_taken(&self) -> Error {
        Error::new(ErrorCode::NameTaken, format!("The account already has a team named '{}'", self.name))
    }

    fn index_keys(&self) -> Vec<IndexKey> {
        let key =
            |(index, sort)| IndexKey { index, partition: key::teams(&self.account_id), sort: self.position(sort) };
        [(Index::ByCreation, Sort::Created), (Index::ByUpdate, Sort::Updated), (Index::ByName, Sort::Name)]
            .into_iter()
            .map(key)
            .collect()
    }

    pub(super) fn key(&self) -> Key {
        key::team(&self.account_id, &self.id)
    }
}

impl Position for Team {
    fn position(&self, sort: Sort) -> String {
        match sort {
            Sort::Created => format!("{:015}#{}", self.created_at.as_millis(), self.id),
            Sort::Updated => format!("{:015}#{}", self.updated_at.as_millis(), self.id),
            Sort::Name => format!("{}#{}", self.name.folded(), self.id),
        }
    }
}

#[derive(Serialize, Deserialize)]
struct TeamClaim {
    team_id: TeamId,
}

#[derive(Deserialize)]
struct TeamTotal {
    teams: u64,
}
