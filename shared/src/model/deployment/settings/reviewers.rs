//! The people who may approve deployments to an environment.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::EnvironmentSettings;
use crate::error::{Error, Result};
use crate::id::{AccountId, RepositoryId, TeamId, UserId};
use crate::model::{Author, Deployment, Environment, RepositoryPartition, Team, User, key};
use crate::permitted::TenantId;
use crate::table::{Guard, Key, Table, TableError, Values};

/// The maximum number of users and teams that are reviewers of an environment.
pub const MAX_REVIEWERS: usize = 20;

/// The only people who may approve: these users, and the members of these teams. At least one user or team, and at most 20
/// together.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(try_from = "Given")]
pub struct Reviewers {
    /// The IDs of users.
    #[schema(max_items = 20, required = false, examples(json!(["user_k3vyq2w7x5m4n6pa"])))]
    pub(crate) users: Vec<UserId>,
    /// The IDs of teams, whose members are those at the time of an approval.
    #[schema(max_items = 20, required = false)]
    pub(crate) teams: Vec<TeamId>,
}

/// The reviewers in a row, which its key tells.
#[derive(Deserialize)]
struct Row {
    pk: String,
    sk: String,
    reviewers: Option<Reviewers>,
}

/// Reviewers as a request gives them.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Given {
    #[serde(default)]
    users: Vec<UserId>,
    #[serde(default)]
    teams: Vec<TeamId>,
}

impl TryFrom<Given> for Reviewers {
    type Error = String;

    fn try_from(Given { users, teams }: Given) -> Result<Self, String> {
        let all = users.len() + teams.len();
        let different = users.iter().collect::<BTreeSet<_>>().len() + teams.iter().collect::<BTreeSet<_>>().len();
        match all {
            0 => Err("must have a user or a team; send null to let everybody approve who may deploy".to_owned()),
            _ if all > MAX_REVIEWERS => Err(format!("must have at most {MAX_REVIEWERS} users and teams together")),
            _ if all > different => Err("must not have a user or a team twice".to_owned()),
            _ => Ok(Self { users, teams }),
        }
    }
}

impl Reviewers {
    /// Returns the number of approvals that they can give at most. `None` if teams are among them, whose sizes change.
    pub(super) fn most_approvals(&self) -> Option<usize> {
        self.teams.is_empty().then_some(self.users.len())
    }

    /// # Errors
    /// Fails with the path of each reviewer who is no user and no team of the account.
    pub(super) async fn check(&self, table: &Table, tenant: &TenantId) -> Result<()> {
        let users = User::by_ids(table, tenant, &self.users).await?;
        let teams = Team::by_ids(table, tenant, &self.teams.iter().cloned().collect()).await?;
        let is_user = |id: &UserId| users.iter().any(|user| user.id == *id);
        let is_team = |id: &TeamId| teams.iter().any(|team| team.id == *id && !team.deleting);
        let unknown = |what: &str| format!("must be the ID of a {what} of the account");
        Error::all([
            Error::items("reviewers.users", &self.users, |id| (!is_user(id)).then(|| unknown("user"))),
            Error::items("reviewers.teams", &self.teams, |id| (!is_team(id)).then(|| unknown("team"))),
        ])
    }

    /// Returns the reviewers of those of the environments that have any. Eventually consistent.
    pub async fn of_environments(
        table: &Table,
        account: &AccountId,
        environments: &BTreeSet<(RepositoryId, Environment)>,
    ) -> Result<BTreeMap<(RepositoryId, Environment), Self>, TableError> {
        let key = |(repository, environment): &(RepositoryId, Environment)| {
            RepositoryPartition::new(account, repository).environment_settings(*environment)
        };
        let rows: Vec<Row> = table.batch_get(environments.iter().map(key).collect()).await?;
        let named = rows.into_iter().filter_map(|Row { pk, sk, reviewers }| {
            let own = Key::new(pk, sk);
            environments.iter().find(|one| key(one) == own).cloned().zip(reviewers)
        });
        Ok(named.collect())
    }

    /// Returns whether the user may approve.
    pub fn include(&self, user: &User) -> bool {
        self.users.contains(&user.id) || self.teams.iter().any(|team| user.teams.contains(team))
    }

    /// Returns the reviewers in a sentence.
    pub fn names(&self) -> String {
        let users = self.users.iter().map(ToString::to_string);
        let teams = self.teams.iter().map(|team| format!("a member of {team}"));
        users.chain(teams).collect::<Vec<_>>().join(" or ")
    }
}

impl EnvironmentSettings {
    /// Returns the author of an approval of a deployment to the environment by this user, which holds only while the user is a reviewer.
    ///
    /// # Errors
    /// Fails with `insufficient_permission` if the environment has reviewers, and the user is none of them.
    pub fn as_reviewer(&self, author: &Author, user: &User, deployment: &Deployment) -> Result<Author> {
        let Some(Reviewers { users, teams }) = &self.reviewers else { return Ok(author.clone()) };
        let repository = RepositoryPartition::new(&deployment.account_id, &deployment.repository_id);
        let unchanged = Guard {
            key: repository.environment_settings(deployment.environment),
            condition: "revision = :guard_revision",
            names: None,
            values: Values::new().set_if(":guard_revision", self.revision),
        };
        if users.contains(&user.id) {
            return Ok(author.clone().guarded_by([unchanged]));
        }
        let Some(team) = teams.iter().find(|team| user.teams.contains(*team)) else {
            return Err(Error::not_permitted("Only the environment's reviewers approve deployments to it"));
        };
        let is_member = Guard {
            key: key::team_member(&user.account_id, team, &user.id),
            condition: "attribute_exists(pk)",
            names: None,
            values: Values::new(),
        };
        Ok(author.clone().guarded_by([unchanged, is_member]))
    }
}
