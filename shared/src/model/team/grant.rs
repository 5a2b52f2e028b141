//! Repositories of a team.

use aws_sdk_dynamodb::types::AttributeValue;
use serde::{Deserialize, Serialize};

use super::sizes::{entered, limit_reached, no_entry, set_of};
use crate::clock::Timestamp;
use crate::error::{Error, Result};
use crate::id::{RepositoryId, TeamId};
use crate::model::counter::add;
use crate::model::{Repository, Team, key};
use crate::name::RepositoryName;
use crate::permission::Permission;
use crate::permitted::{Permitted, TenantId};
use crate::sort::{Position, Sort};
use crate::table::{
    Change, ConditionFailed, Consistency, Index, IndexKey, Item, Partition, Table, TableError, TransactFailed, Write,
};

/// Teams that have the same permission on a repository at most: their ids are in the repository's row, of which a page
/// reads 101 in a Query of 1 MB.
pub const MAX_TEAMS_OF_REPOSITORY: usize = 50;
/// Takes a team out of a repository's row.
pub(super) const TAKE_ALL: &str = "DELETE teams_read :team, teams_deploy :team, teams_admin :team";

/// What a team may do in a repository. The repository's row says the same, for those who ask about one repository; this
/// is for those who ask about all of a team's. What lists sort by is copied, so that a member's list reads these small
/// rows and of the repositories only its page: who changes one of these has to change the copies.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct TeamGrant {
    pub repository_id: RepositoryId,
    /// `permission` is one of DynamoDB's reserved words.
    #[serde(rename = "team_permission")]
    pub permission: Permission,
    pub granted_at: Timestamp,
    pub(crate) repository_name: RepositoryName,
    pub(crate) repository_created_at: Timestamp,
    pub(crate) repository_updated_at: Timestamp,
}

impl TeamGrant {
    /// Where a team's repositories are listed.
    pub fn listed(team: &Permitted<Team>) -> Partition {
        Partition::of_index(Index::ByCreation, key::team_grants(&team.account_id, &team.id))
    }

    /// Returns all repositories of a team, without their rows.
    pub(crate) async fn of_team(table: &Table, tenant: &TenantId, team: &TeamId) -> Result<Vec<Self>, TableError> {
        table.query_all(Partition::of_table(key::team_grants(tenant, team))).await
    }

    /// Gives a team a permission on a repository, in the place of the one that it has.
    ///
    /// # Errors
    /// `limit_reached`, and `not_found` when the repository or the team is gone.
    pub async fn set(
        table: &Table,
        team: &Permitted<Team>,
        repository: &Permitted<Repository>,
        permission: Permission,
        now: Timestamp,
    ) -> Result<Self> {
        let account = &team.account_id;
        let key = || key::team_grant(account, &team.id, &repository.id);
        let old: Option<Self> = table.get(key(), Consistency::Strong).await?;
        if let Some(same) = old.as_ref().filter(|old| old.permission == permission) {
            return Ok(same.clone());
        }
        let grant = Self {
            repository_id: repository.id.clone(),
            permission,
            granted_at: old.as_ref().map_or(now, |old| old.granted_at),
            repository_name: repository.name.clone(),
            repository_created_at: repository.created_at,
            repository_updated_at: repository.updated_at,
        };
        let change = Change {
            expression: match permission {
                Permission::Read => "ADD teams_read :set DELETE teams_deploy :set, teams_admin :set",
                Permission::Deploy => "ADD teams_deploy :set DELETE teams_read :set, teams_admin :set",
                Permission::Admin => "ADD teams_admin :set DELETE teams_read :set, teams_deploy :set",
            }
            .to_owned(),
            condition: Some(match permission {
                Permission::Read => {
                    "attribute_exists(pk) AND (attribute_not_exists(teams_read) OR size(teams_read) < :max)"
                }
                Permission::Deploy => {
                    "attribute_exists(pk) AND (attribute_not_exists(teams_deploy) OR size(teams_deploy) < :max)"
                }
                Permission::Admin => {
                    "attribute_exists(pk) AND (attribute_not_exists(teams_admin) OR size(teams_admin) < :max)"
                }
            }),
            values: Item::from([
                (":set".to_owned(), set_of(&team.id)),
                (":max".to_owned(), AttributeValue::N(MAX_TEAMS_OF_REPOSITORY.to_string())),
            ]),
            ..Change::default()
        };
        let index_key = IndexKey {
            index: Index::ByCreation,
            partition: key::team_grants(account, &team.id),
            sort: grant.position(Sort::Created),
        };
        let mut writes = vec![Write::Update { key: key::repository(account, &repository.id), change }];
        match &old {
            None => {
                writes.push(Write::create(key(), &grant, vec![index_key])?);
                writes.extend(entered(account, &team.id, "repositories"));
            }
            Some(old) => {
                let old = AttributeValue::S(old.permission.as_str().to_owned());
                let values = Item::from([(":old".to_owned(), old)]);
                writes.push(Write::put_if(key(), &grant, vec![index_key], "team_permission = :old", values)?);
            }
        }
        let failed = match table.transact(writes).await {
            Ok(()) => return Ok(grant),
            Err(TransactFailed::Conditions(failed)) => failed,
            Err(failed) => return Err(failed.into()),
        };
        let mut failed = failed.into_iter();
        let mut next = || failed.next().flatten();
        match next() {
            Some(ConditionFailed { current: None }) => return Err(Error::not_found("Repository")),
            Some(_) => {
                let what = format!("At most {MAX_TEAMS_OF_REPOSITORY} teams have the same permission on a repository");
                return Err(limit_reached(what));
            }
            None => {}
        }
        // Somebody else has granted or taken at this moment.
        if next().is_some() {
            return Err(TransactFailed::Conflict.into());
        }
        Err(no_entry(next(), "repositories"))
    }

    /// Takes a repository from a team. `false`: it had none on it.
    pub async fn remove(table: &Table, team: &Permitted<Team>, repository: &Permitted<Repository>) -> Result<bool> {
        let account = &team.account_id;
        let take = Change {
            expression: TAKE_ALL.to_owned(),
            condition: Some("attribute_exists(pk)"),
            values: Item::from([(":team".to_owned(), set_of(&team.id))]),
            ..Change::default()
        };
        let writes = vec![
            Write::Update { key: key::repository(account, &repository.id), change: take },
            Write::DeleteIf {
                key: key::team_grant(account, &team.id, &repository.id),
                condition: "attribute_exists(pk)",
                names: None,
                values: None,
            },
            add(key::team_sizes(account, &team.id), "repositories", -1),
        ];
        match table.transact(writes).await {
            Ok(()) => Ok(true),
            Err(TransactFailed::Conditions(_)) => Ok(false),
            Err(failed) => Err(failed.into()),
        }
    }
}

impl Position for TeamGrant {
    fn position(&self, _: Sort) -> String {
        format!("{:015}#{}", self.granted_at.as_millis(), self.repository_id)
    }
}
