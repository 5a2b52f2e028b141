//! Members of a team.

use serde::{Deserialize, Serialize};
use serde_json::Value as JsonValue;

use super::sizes::{MAX_IN_TEAM, entered, limit_reached};
use crate::clock::Timestamp;
use crate::error::{Error, Result};
use crate::id::{AccountId, TeamId, UserId};
use crate::model::counter::add;
use crate::model::{Action, Author, Target, TargetKind, Team, User, key};
use crate::permitted::Permitted;
use crate::sort::{Position, Sort};
use crate::table::{
    Change, Index, IndexKey, Item, Partition, Table, TableError, Transaction, Value, Values, Write, read_item,
};

/// The maximum number of teams of a user. Their ids are in the user's row, which each cold authentication reads.
pub(crate) const MAX_TEAMS_OF_USER: usize = 100;

/// A user in a team.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct TeamMember {
    /// The user, who belongs to the team's account.
    pub user_id: UserId,
    pub(crate) added_at: Timestamp,
}

/// The refusal to remove a user from a team that they are not in.
struct NotAMember;

impl TeamMember {
    /// Returns the partition that lists a team's members.
    pub fn listed(team: &Permitted<Team>) -> Partition {
        Partition::of_index(Index::ByCreation, key::team_members(&team.account_id, &team.id))
    }

    /// Adds a user to a team. A membership that exists stays unchanged.
    ///
    /// # Errors
    /// Fails with `limit_reached`, or with `not_found` if the user or the team is gone.
    pub async fn add(
        table: &Table,
        team: &Permitted<Team>,
        user: &UserId,
        author: &Author,
        now: Timestamp,
    ) -> Result<Self> {
        let account = &team.account_id;
        let event = author.event(Action::TeamMemberAdded, team.target(), now).setting("member", user);
        let member = Self { user_id: user.clone(), added_at: now };
        let join = Change {
            expression: "ADD teams :team".to_owned(),
            condition: Some("attribute_exists(pk) AND (attribute_not_exists(teams) OR size(teams) < :max)"),
            values: Values::new().set(":team", Value::set_of(&team.id)).set(":max", MAX_TEAMS_OF_USER),
            ..Change::default()
        };
        let [count, open] = entered(account, &team.id, "members");
        // An existing row of the member is no error.
        let transaction = Transaction::<Result<Item>>::new()
            .by(author, &event)?
            .write(member.create(account, &team.id)?)
            .or(|row| row.ok_or_else(|| TableError::Contended.into()))
            .write(Write::Update { key: key::user(account, user), change: join })
            .or(|user| match user {
                Some(_) => Err(limit_reached(format!("A user can be in at most {MAX_TEAMS_OF_USER} teams"))),
                None => Err(Error::not_found("Member")),
            })
            .write(count)
            .or(|_| Err(limit_reached(format!("A team can have at most {MAX_IN_TEAM} members"))))
            .write(open)
            .or(|_| Err(Error::not_found("Team")));
        match transaction.commit(table).await? {
            Ok(()) => Ok(member),
            Err(refused) => Ok(read_item(refused?)?),
        }
    }

    /// Returns the write of a member's row, to be part of a transaction.
    pub(in crate::model) fn create(&self, account: &AccountId, team: &TeamId) -> Result<Write, TableError> {
        let index_key = IndexKey {
            index: Index::ByCreation,
            partition: key::team_members(account, team),
            sort: self.position(Sort::Created),
        };
        Write::create(key::team_member(account, team, &self.user_id), self, vec![index_key])
    }

    /// Removes a user from a team. Returns `false` if they were not in it.
    pub async fn remove(table: &Table, team: &TeamId, user: &User, author: &Author, now: Timestamp) -> Result<bool> {
        let (account, user) = (&user.account_id, &user.id);
        let target = Target::new(TargetKind::Team, team, None);
        let event = author.event(Action::TeamMemberRemoved, target, now).changing("member", user, JsonValue::Null);
        let leave = Change {
            expression: "DELETE teams :set".to_owned(),
            condition: Some("contains(teams, :team)"),
            values: Values::new().set(":set", Value::set_of(team)).set(":team", team.as_str()),
            ..Change::default()
        };
        let removed = Transaction::new()
            .by(author, &event)?
            .write(Write::Update { key: key::user(account, user), change: leave })
            .or(|_| NotAMember)
            .write(Write::Delete { key: key::team_member(account, team, user) })
            .write(add(key::team_sizes(account, team), "members", -1))
            .commit(table)
            .await?;
        Ok(removed.is_ok())
    }
}

impl Position for TeamMember {
    fn position(&self, _: Sort) -> String {
        format!("{:015}#{}", self.added_at.as_millis(), self.user_id)
    }
}
