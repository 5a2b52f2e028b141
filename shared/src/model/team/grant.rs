//! Repositories of a team.

use serde::{Deserialize, Serialize};
use serde_json::Value as JsonValue;

use super::sizes::{MAX_IN_TEAM, entered, limit_reached};
use crate::clock::Timestamp;
use crate::error::{Error, Result};
use crate::id::{AccountId, RepositoryId, TeamId};
use crate::model::counter::add;
use crate::model::{Action, Author, Repository, Team, key};
use crate::permission::Permission;
use crate::permitted::{Permitted, TenantId};
use crate::sort::{Position, Sort};
use crate::table::{
    Change, Consistency, Index, IndexKey, Partition, Table, TableError, Transaction, Value, Values, Write,
};

/// The maximum number of teams with one permission on a repository. Their ids are in the repository's row, and a page
/// reads 101 such rows in a Query of 1 MB.
pub(crate) const MAX_TEAMS_OF_REPOSITORY: usize = 50;

/// A team's permission on a repository. The repository's row also has it, for requests about one repository; this row
/// is for requests about all repositories of a team. The time of the creation, by which lists sort, is copied here, so that a
/// member's list reads these small rows and only its page of repositories. It never changes.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct TeamGrant {
    /// The repository, which belongs to the team's account.
    pub repository_id: RepositoryId,
    /// `permission` is one of DynamoDB's reserved words.
    #[serde(rename = "team_permission")]
    pub permission: Permission,
    pub(crate) granted_at: Timestamp,
    pub(crate) repository_created_at: Timestamp,
}

/// The refusal to remove a repository from a team that has no permission on it.
struct NotGranted;

impl TeamGrant {
    /// Returns the partition that lists a team's repositories.
    pub fn listed(team: &Permitted<Team>) -> Partition {
        Partition::of_index(Index::ByCreation, key::team_grants(&team.account_id, &team.id))
    }

    /// Returns all repositories of a team, without their rows.
    pub(crate) async fn of_team(table: &Table, tenant: &TenantId, team: &TeamId) -> Result<Vec<Self>, TableError> {
        table.query_all(Partition::of_table(key::team_grants(tenant, team))).await
    }

    /// Grants a team a permission on a repository, in place of the one that it has.
    ///
    /// # Errors
    /// Fails with `limit_reached`, or with `not_found` if the repository or the team is gone.
    pub async fn set(
        table: &Table,
        team: &Permitted<Team>,
        repository: &Permitted<Repository>,
        permission: Permission,
        author: &Author,
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
            repository_created_at: repository.created_at,
        };
        let change = Change {
            expression: match permission {
                Permission::Read => "ADD teams_read :set, revision :one DELETE teams_deploy :set, teams_admin :set",
                Permission::Deploy => "ADD teams_deploy :set, revision :one DELETE teams_read :set, teams_admin :set",
                Permission::Admin => "ADD teams_admin :set, revision :one DELETE teams_read :set, teams_deploy :set",
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
            values: Values::new()
                .set(":set", Value::set_of(&team.id))
                .set(":max", MAX_TEAMS_OF_REPOSITORY)
                .set(":one", 1),
            ..Change::default()
        };
        let index_key = IndexKey {
            index: Index::ByCreation,
            partition: key::team_grants(account, &team.id),
            sort: grant.position(Sort::Created),
        };
        let too_many =
            || format!("At most {MAX_TEAMS_OF_REPOSITORY} teams can have the same permission on a repository");
        let changed_meanwhile = |_| TableError::Contended.into();
        let event = author
            .event(Action::TeamRepositoryAdded, team.target(), now)
            .in_repository(&repository.id)
            .changing("permission", old.as_ref().map(|old| old.permission), permission);
        let mut transaction = Transaction::<Error>::new()
            .by(author, &event)?
            .write(Write::Update { key: key::repository(account, &repository.id), change })
            .or(|row| if row.is_some() { limit_reached(too_many()) } else { Error::not_found("Repository") });
        match &old {
            None => {
                let [count, open] = entered(account, &team.id, "repositories");
                transaction = transaction
                    .write(Write::create(key(), &grant, vec![index_key])?)
                    .or(changed_meanwhile)
                    .write(count)
                    .or(|_| limit_reached(format!("A team can have at most {MAX_IN_TEAM} repositories")))
                    .write(open)
                    .or(|_| Error::not_found("Team"));
            }
            Some(old) => {
                let values = Values::new().set(":old", old.permission.as_str());
                transaction = transaction
                    .write(Write::put_if(key(), &grant, vec![index_key], "team_permission = :old", values)?)
                    .or(changed_meanwhile);
            }
        }
        transaction.commit(table).await??;
        Ok(grant)
    }

    /// Removes a repository from a team. Returns `false` if the team had no permission on it.
    pub async fn remove(
        table: &Table,
        team: &Permitted<Team>,
        repository: &Permitted<Repository>,
        author: &Author,
        now: Timestamp,
    ) -> Result<bool> {
        let account = &team.account_id;
        let event = author
            .event(Action::TeamRepositoryRemoved, team.target(), now)
            .in_repository(&repository.id)
            .changing("repository", &repository.name, JsonValue::Null);
        let grant = key::team_grant(account, &team.id, &repository.id);
        let removed = Transaction::new()
            .by(author, &event)?
            .write(take_all(account, &team.id, &repository.id))
            .or(|_| NotGranted)
            .write(Write::DeleteIf { key: grant, condition: "attribute_exists(pk)", names: None, values: None })
            .or(|_| NotGranted)
            .write(add(key::team_sizes(account, &team.id), "repositories", -1))
            .commit(table)
            .await?;
        Ok(removed.is_ok())
    }
}

/// Returns the write that removes a team from a repository's row. It fails if the repository is gone.
pub(super) fn take_all(account: &AccountId, team: &TeamId, repository: &RepositoryId) -> Write {
    let change = Change {
        expression: "ADD revision :one DELETE teams_read :team, teams_deploy :team, teams_admin :team".to_owned(),
        condition: Some("attribute_exists(pk)"),
        values: Values::new().set(":team", Value::set_of(team)).set(":one", 1),
        ..Change::default()
    };
    Write::Update { key: key::repository(account, repository), change }
}

impl Position for TeamGrant {
    fn position(&self, _: Sort) -> String {
        format!("{:015}#{}", self.granted_at.as_millis(), self.repository_id)
    }
}
