//! The numbers of members and repositories of a team, and their limit.

use serde::Deserialize;

use crate::error::{Error, ErrorCode};
use crate::id::{AccountId, TeamId};
use crate::model::{Team, key};
use crate::permitted::Permitted;
use crate::table::{Change, Consistency, Table, TableError, Values, Write};

/// The maximum number of members, and of repositories, in a team. It bounds the work of a deletion.
pub const MAX_IN_TEAM: u64 = 1_000;

/// The counter of a team's members and repositories. Each transaction that adds or removes one updates it.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
pub struct TeamSizes {
    /// The number of members, at most [`MAX_IN_TEAM`].
    #[serde(default)]
    pub members: u64,
    /// The number of repositories, at most [`MAX_IN_TEAM`].
    #[serde(default)]
    pub repositories: u64,
}

impl TeamSizes {
    /// Reads the sizes, which are zero before the first member. Strongly consistent.
    pub async fn load(table: &Table, team: &Permitted<Team>) -> Result<Self, TableError> {
        Ok(table.get(key::team_sizes(&team.account_id, &team.id), Consistency::Strong).await?.unwrap_or_default())
    }
}

/// Returns the writes that go with a new member or repository of a team. The first counts it, and is refused if the
/// team is full. The second checks that the team exists and is not being deleted.
pub(in crate::model) fn entered(account: &AccountId, team: &TeamId, what: &'static str) -> [Write; 2] {
    let count = Change {
        expression: format!("ADD {what} :one, changes :one"),
        condition: Some(match what {
            "members" => "attribute_not_exists(members) OR members < :max",
            _ => "attribute_not_exists(repositories) OR repositories < :max",
        }),
        values: Values::new().set(":one", 1).set(":max", MAX_IN_TEAM),
        ..Change::default()
    };
    let open = Write::Check {
        names: None,
        key: key::team(account, team),
        condition: "deleting = :no",
        values: Some(Values::new().set(":no", false)),
    };
    [Write::Update { key: key::team_sizes(account, team), change: count }, open]
}

pub(super) fn limit_reached(message: String) -> Error {
    Error::new(ErrorCode::LimitReached, message)
}
