//! Members of a team.

use aws_sdk_dynamodb::types::AttributeValue;
use serde::{Deserialize, Serialize};

use super::sizes::{entered, limit_reached, no_entry, set_of};
use crate::clock::Timestamp;
use crate::error::{Error, Result};
use crate::id::{AccountId, TeamId, UserId};
use crate::model::counter::add;
use crate::model::{Team, key};
use crate::permitted::Permitted;
use crate::sort::{Position, Sort};
use crate::table::{
    Change, ConditionFailed, Index, IndexKey, Item, Partition, Table, TableError, TransactFailed, Write, read_item,
};

/// Teams that a user is in at most: their ids are in the user's row, which each cold authentication reads.
pub const MAX_TEAMS_OF_USER: usize = 100;

/// A user in a team.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct TeamMember {
    pub user_id: UserId,
    pub added_at: Timestamp,
}

impl TeamMember {
    /// Where a team's members are listed.
    pub fn listed(team: &Permitted<Team>) -> Partition {
        Partition::of_index(Index::ByCreation, key::team_members(&team.account_id, &team.id))
    }

    /// Puts a user into a team; one who is in it stays as they are.
    ///
    /// # Errors
    /// `limit_reached`, and `not_found` when the user or the team is gone.
    pub async fn add(table: &Table, team: &Permitted<Team>, user: &UserId, now: Timestamp) -> Result<Self> {
        let account = &team.account_id;
        let member = Self { user_id: user.clone(), added_at: now };
        let join = Change {
            expression: "ADD teams :team".to_owned(),
            condition: Some("attribute_exists(pk) AND (attribute_not_exists(teams) OR size(teams) < :max)"),
            values: Item::from([
                (":team".to_owned(), set_of(&team.id)),
                (":max".to_owned(), AttributeValue::N(MAX_TEAMS_OF_USER.to_string())),
            ]),
            ..Change::default()
        };
        let mut writes =
            vec![member.create(account, &team.id)?, Write::Update { key: key::user(account, user), change: join }];
        writes.extend(entered(account, &team.id, "members"));
        let failed = match table.transact(writes).await {
            Ok(()) => return Ok(member),
            Err(TransactFailed::Conditions(failed)) => failed,
            Err(failed) => return Err(failed.into()),
        };
        let mut failed = failed.into_iter();
        let mut next = || failed.next().flatten();
        if let Some(ConditionFailed { current: Some(row) }) = next() {
            return Ok(read_item(row)?);
        }
        match next() {
            Some(ConditionFailed { current: None }) => return Err(Error::not_found("Member")),
            Some(_) => return Err(limit_reached(format!("A user is in at most {MAX_TEAMS_OF_USER} teams"))),
            None => {}
        }
        Err(no_entry(next(), "members"))
    }

    /// The row of somebody who enters the team with the transaction that this is in.
    pub(in crate::model) fn create(&self, account: &AccountId, team: &TeamId) -> Result<Write, TableError> {
        let index_key = IndexKey {
            index: Index::ByCreation,
            partition: key::team_members(account, team),
            sort: self.position(Sort::Created),
        };
        Write::create(key::team_member(account, team, &self.user_id), self, vec![index_key])
    }

    /// Takes a user out of a team. `false`: they were not in it.
    pub async fn remove(table: &Table, account: &AccountId, team: &TeamId, user: &UserId) -> Result<bool> {
        let leave = Change {
            expression: "DELETE teams :set".to_owned(),
            condition: Some("contains(teams, :team)"),
            values: Item::from([
                (":set".to_owned(), set_of(team)),
                (":team".to_owned(), AttributeValue::S(team.to_string())),
            ]),
            ..Change::default()
        };
        let writes = vec![
            Write::Update { key: key::user(account, user), change: leave },
            Write::Delete { key: key::team_member(account, team, user) },
            add(key::team_sizes(account, team), "members", -1),
        ];
        match table.transact(writes).await {
            Ok(()) => Ok(true),
            Err(TransactFailed::Conditions(_)) => Ok(false),
            Err(failed) => Err(failed.into()),
        }
    }
}

impl Position for TeamMember {
    fn position(&self, _: Sort) -> String {
        format!("{:015}#{}", self.added_at.as_millis(), self.user_id)
    }
}
