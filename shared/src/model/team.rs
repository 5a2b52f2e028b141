//! Teams, who is in them and which repositories they were given.

use std::collections::{BTreeSet, HashSet};
use std::fmt;
use std::str::FromStr;

use aws_sdk_dynamodb::types::AttributeValue;
use futures_util::future::try_join_all;
use futures_util::stream::{self, StreamExt, TryStreamExt};
use serde::{Deserialize, Serialize};

use crate::access::{AuthorizedRepository, AuthorizedTeam, Permission, Tenant};
use crate::clock::Timestamp;
use crate::error::{Error, ErrorCode, Result};
use crate::id::{AccountId, RepositoryId, TeamId, UserId};
use crate::model::member::user_key;
use crate::model::recount::Rows;
use crate::model::repository::{repository_key, repository_sort_key};
use crate::model::{Repository, RepositoryName};
use crate::page::{Position, Sort};
use crate::table::{
    Change, ConditionFailed, Consistency, IndexKey, Item, Key, Source, Table, TableError, TransactFailed, Write,
    read_items,
};

/// Members that a team has at most, and repositories. It bounds what deleting one takes.
pub const MAX_IN_TEAM: u64 = 1_000;
/// Teams that a user is in at most: their ids are in the user's row, which each cold authentication reads.
pub const MAX_TEAMS_OF_USER: usize = 100;
/// Teams that have the same permission on a repository at most: their ids are in the repository's row, of which a page
/// reads 101 in a Query of 1 MB.
pub const MAX_TEAMS_OF_REPOSITORY: usize = 50;
/// Transactions that a deletion has under way at once.
const AT_ONCE: usize = 16;
/// Takes a team out of a repository's row.
const TAKE_ALL: &str = "DELETE teams_read :team, teams_deploy :team, teams_admin :team";
/// Changes of the same team that one gives way to.
const MAX_ATTEMPTS: usize = 8;

/// 1 to 100 characters of letters, digits, `.`, `_`, `-` and single spaces inside. Two names that differ only in case
/// are the same name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(try_from = "String")]
#[schema(value_type = String, pattern = "^[A-Za-z0-9._-]+( [A-Za-z0-9._-]+)*$", examples("Platform"))]
pub struct TeamName(String);

#[derive(Debug, thiserror::Error)]
#[error("must be 1 to 100 characters of A-Z, a-z, 0-9, '.', '_', '-' and single spaces inside")]
pub struct InvalidTeamName;

impl TeamName {
    /// The form that is unique in an account.
    fn folded(&self) -> String {
        self.0.to_ascii_lowercase()
    }
}

impl FromStr for TeamName {
    type Err = InvalidTeamName;

    fn from_str(text: &str) -> Result<Self, InvalidTeamName> {
        let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
        let words_are_fine = text.split(' ').all(|word| !word.is_empty() && word.bytes().all(fits));
        if words_are_fine && text.len() <= 100 { Ok(Self(text.to_owned())) } else { Err(InvalidTeamName) }
    }
}

impl TryFrom<String> for TeamName {
    type Error = InvalidTeamName;

    fn try_from(text: String) -> Result<Self, InvalidTeamName> {
        text.parse()
    }
}

impl fmt::Display for TeamName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What a team is for: at most 300 characters.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(try_from = "String")]
#[schema(value_type = String, examples("Builds and runs the shop"))]
pub struct Description(String);

#[derive(Debug, thiserror::Error)]
#[error("must have at most 300 characters")]
pub struct TooLong;

impl TryFrom<String> for Description {
    type Error = TooLong;

    fn try_from(text: String) -> Result<Self, TooLong> {
        if text.chars().count() <= 300 { Ok(Self(text)) } else { Err(TooLong) }
    }
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Team {
    pub id: TeamId,
    pub account_id: AccountId,
    pub name: TeamName,
    pub description: Description,
    /// Grows with each change; what each conditional write names, and the ETag.
    pub revision: u64,
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
    /// Its deletion has begun: it takes nobody and nothing in any more.
    #[serde(default)]
    pub deleting: bool,
}

/// What a change of a team asks for.
#[derive(Clone, Debug)]
pub struct TeamChange {
    pub name: Option<TeamName>,
    pub description: Option<Description>,
}

impl Team {
    pub(crate) async fn find(table: &Table, tenant: &Tenant, id: &TeamId) -> Result<Option<Self>, TableError> {
        table.get(team_key(&tenant.account().id, id), Consistency::Strong).await
    }

    /// Where an account's teams are listed in a sort order.
    pub fn listed(tenant: &Tenant, sort: Sort) -> (Source, String) {
        let source = match sort {
            Sort::Created => Source::Index(1),
            Sort::Updated => Source::Index(2),
            Sort::Name => Source::Index(3),
        };
        (source, teams_partition(&tenant.account().id))
    }

    pub async fn total(table: &Table, tenant: &Tenant) -> Result<u64, TableError> {
        let total: Option<TeamTotal> = table.get(total_key(&tenant.account().id), Consistency::Strong).await?;
        Ok(total.map_or(0, |total| total.teams))
    }

    /// The teams that the caller is in.
    pub async fn of_caller(table: &Table, tenant: &Tenant) -> Result<Vec<Self>, TableError> {
        let account = &tenant.account().id;
        table.batch_get(tenant.user().teams.iter().map(|id| team_key(account, id)).collect()).await
    }

    /// Those of these teams that exist, in no order.
    pub async fn by_ids(table: &Table, tenant: &Tenant, ids: &BTreeSet<TeamId>) -> Result<Vec<Self>, TableError> {
        table.batch_get(ids.iter().map(|id| team_key(&tenant.account().id, id)).collect()).await
    }

    /// Those of an account's teams that are there and take members.
    pub(super) async fn open_ids(
        table: &Table,
        account: &AccountId,
        ids: &[TeamId],
    ) -> Result<BTreeSet<TeamId>, TableError> {
        let teams: Vec<Self> = table.batch_get(ids.iter().map(|id| team_key(account, id)).collect()).await?;
        Ok(teams.into_iter().filter(|team| !team.deleting).map(|team| team.id).collect())
    }

    /// Writes the team, its name and the account's number of teams at once.
    ///
    /// # Errors
    /// `name_taken`
    pub async fn create(&self, table: &Table) -> Result<()> {
        let writes = vec![
            self.claim()?,
            Write::create(self.key(), self, self.index_keys())?,
            add(total_key(&self.account_id), "teams", 1),
        ];
        match table.transact(writes).await {
            Ok(()) => Ok(()),
            Err(TransactFailed::Conditions(_)) => Err(self.name_taken()),
            Err(failed) => Err(failed.into()),
        }
    }

    /// Makes the change if the team is as `expected` says of it, whatever others change meanwhile.
    ///
    /// # Errors
    /// `name_taken`, what `expected` says, and `not_found` when the team is gone.
    pub async fn change(
        self,
        table: &Table,
        tenant: &Tenant,
        change: TeamChange,
        expected: impl Fn(&Self) -> Result<()>,
        now: Timestamp,
    ) -> Result<Self> {
        let mut before = self;
        for _ in 0..MAX_ATTEMPTS {
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
            let mut writes =
                vec![Write::replace(after.key(), &after, after.index_keys(), "revision = :version", before.revision)?];
            if after.name.folded() != before.name.folded() {
                writes.extend([after.claim()?, Write::Delete { key: name_key(&before.account_id, &before.name) }]);
            }
            let failed = match table.transact(writes).await {
                Ok(()) => return Ok(after),
                Err(TransactFailed::Conditions(failed)) => failed,
                Err(failed) => return Err(failed.into()),
            };
            if failed.first().is_none_or(Option::is_none) {
                return Err(after.name_taken());
            }
            before = Self::find(table, tenant, &before.id).await?.ok_or_else(|| Error::not_found("Team"))?;
        }
        Err(TransactFailed::Conflict.into())
    }

    /// Closes the team, takes everybody and everything out of it, and then removes it. When it fails halfway the team is
    /// there still, and deleting it again ends it.
    pub async fn delete(&self, table: &Table) -> Result<()> {
        let close = Change {
            expression: "SET deleting = :yes ADD revision :one".to_owned(),
            condition: Some("attribute_exists(pk)"),
            values: Item::from([
                (":yes".to_owned(), AttributeValue::Bool(true)),
                (":one".to_owned(), AttributeValue::N("1".to_owned())),
            ]),
            ..Change::default()
        };
        let not_found = || Error::not_found("Team");
        let closed = table.update(self.key(), close).await?.map_err(|_| not_found())?;
        let closed: Self = crate::table::read_item(closed)?;

        // Closed, so nothing comes in any more.
        loop {
            let members = rows::<TeamMember>(table, members_partition(&self.account_id, &self.id));
            let grants = rows::<TeamGrant>(table, grants_partition(&self.account_id, &self.id));
            let (members, grants) = futures_util::future::try_join(members, grants).await?;
            if members.is_empty() && grants.is_empty() {
                break;
            }
            let members = members.iter().map(|TeamMember { user_id, .. }| {
                let row = member_key(&self.account_id, &self.id, user_id);
                (user_key(&self.account_id, user_id), "DELETE teams :team", row)
            });
            let grants = grants.iter().map(|TeamGrant { repository_id, .. }| {
                let row = grant_key(&self.account_id, &self.id, repository_id);
                (repository_key(&self.account_id, repository_id), TAKE_ALL, row)
            });
            let forgotten =
                members.chain(grants).map(|(holder, expression, row)| self.forget(table, holder, expression, row));
            let forgotten: Vec<_> = forgotten.collect();
            stream::iter(forgotten).buffer_unordered(AT_ONCE).try_collect::<Vec<()>>().await?;
        }

        let writes = vec![
            Write::DeleteIf { key: self.key(), condition: "attribute_exists(pk)", names: None, values: None },
            Write::Delete { key: name_key(&closed.account_id, &closed.name) },
            Write::Delete { key: sizes_key(&self.account_id, &self.id) },
            add(total_key(&self.account_id), "teams", -1),
        ];
        match table.transact(writes).await {
            Ok(()) => Ok(()),
            Err(TransactFailed::Conditions(_)) => Err(not_found()),
            Err(failed) => Err(failed.into()),
        }
    }

    /// Takes the team's id out of a user's or repository's row, if that is still there, and removes the team's own row.
    async fn forget(&self, table: &Table, holder: Key, expression: &str, row: Key) -> Result<()> {
        let change = Change {
            expression: expression.to_owned(),
            condition: Some("attribute_exists(pk)"),
            values: Item::from([(":team".to_owned(), set_of(&self.id))]),
            ..Change::default()
        };
        let delete = Write::Delete { key: row };
        match table.transact(vec![Write::Update { key: holder, change }, delete.clone()]).await {
            Err(TransactFailed::Conditions(_)) => Ok(table.transact(vec![delete]).await?),
            ended => Ok(ended?),
        }
    }

    fn claim(&self) -> Result<Write, TableError> {
        Write::create(name_key(&self.account_id, &self.name), &TeamClaim { team_id: self.id.clone() }, Vec::new())
    }

    fn name_taken(&self) -> Error {
        Error::new(ErrorCode::NameTaken, format!("The account already has a team '{}'", self.name))
    }

    fn index_keys(&self) -> Vec<IndexKey> {
        let key = |(index, sort)| IndexKey {
            source: Source::Index(index),
            partition: teams_partition(&self.account_id),
            sort: self.position(sort),
        };
        [(1, Sort::Created), (2, Sort::Updated), (3, Sort::Name)].into_iter().map(key).collect()
    }

    fn key(&self) -> Key {
        team_key(&self.account_id, &self.id)
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

/// How much is in a team. Each transaction that adds or removes keeps it exact.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
pub struct TeamSizes {
    #[serde(default)]
    pub members: u64,
    #[serde(default)]
    pub repositories: u64,
}

impl TeamSizes {
    pub async fn load(table: &Table, team: &AuthorizedTeam) -> Result<Self, TableError> {
        Ok(table.get(sizes_key(&team.account_id, &team.id), Consistency::Strong).await?.unwrap_or_default())
    }
}

/// A user in a team.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct TeamMember {
    pub user_id: UserId,
    pub added_at: Timestamp,
}

impl TeamMember {
    /// Where a team's members are listed.
    pub fn listed(team: &AuthorizedTeam) -> (Source, String) {
        (Source::Index(1), members_partition(&team.account_id, &team.id))
    }

    /// Puts a user into a team; one who is in it stays as they are.
    ///
    /// # Errors
    /// `limit_reached`, and `not_found` when the user or the team is gone.
    pub async fn add(table: &Table, team: &AuthorizedTeam, user: &UserId, now: Timestamp) -> Result<Self> {
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
            vec![member.create(account, &team.id)?, Write::Update { key: user_key(account, user), change: join }];
        writes.extend(entered(account, &team.id, "members"));
        let failed = match table.transact(writes).await {
            Ok(()) => return Ok(member),
            Err(TransactFailed::Conditions(failed)) => failed,
            Err(failed) => return Err(failed.into()),
        };
        let mut failed = failed.into_iter();
        let mut next = || failed.next().flatten();
        if let Some(ConditionFailed { current: Some(row) }) = next() {
            return Ok(crate::table::read_item(row)?);
        }
        match next() {
            Some(ConditionFailed { current: None }) => return Err(Error::not_found("Member")),
            Some(_) => return Err(limit_reached(format!("A user is in at most {MAX_TEAMS_OF_USER} teams"))),
            None => {}
        }
        Err(no_entry(next(), "members"))
    }

    /// The row of somebody who enters the team with the transaction that this is in.
    pub(super) fn create(&self, account: &AccountId, team: &TeamId) -> Result<Write, TableError> {
        let index_key = IndexKey {
            source: Source::Index(1),
            partition: members_partition(account, team),
            sort: self.position(Sort::Created),
        };
        Write::create(member_key(account, team, &self.user_id), self, vec![index_key])
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
            Write::Update { key: user_key(account, user), change: leave },
            Write::Delete { key: member_key(account, team, user) },
            add(sizes_key(account, team), "members", -1),
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
    repository_name: RepositoryName,
    repository_created_at: Timestamp,
    repository_updated_at: Timestamp,
}

impl TeamGrant {
    /// Where a team's repositories are listed.
    pub fn listed(team: &AuthorizedTeam) -> (Source, String) {
        (Source::Index(1), grants_partition(&team.account_id, &team.id))
    }

    /// Gives a team a permission on a repository, in the place of the one that it has.
    ///
    /// # Errors
    /// `limit_reached`, and `not_found` when the repository or the team is gone.
    pub async fn set(
        table: &Table,
        team: &AuthorizedTeam,
        repository: &AuthorizedRepository,
        permission: Permission,
        now: Timestamp,
    ) -> Result<Self> {
        let account = &team.account_id;
        let key = || grant_key(account, &team.id, &repository.id);
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
            source: Source::Index(1),
            partition: grants_partition(account, &team.id),
            sort: grant.position(Sort::Created),
        };
        let mut writes = vec![Write::Update { key: repository_key(account, &repository.id), change }];
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
    pub async fn remove(table: &Table, team: &AuthorizedTeam, repository: &AuthorizedRepository) -> Result<bool> {
        let account = &team.account_id;
        let take = Change {
            expression: TAKE_ALL.to_owned(),
            condition: Some("attribute_exists(pk)"),
            values: Item::from([(":team".to_owned(), set_of(&team.id))]),
            ..Change::default()
        };
        let writes = vec![
            Write::Update { key: repository_key(account, &repository.id), change: take },
            Write::DeleteIf {
                key: grant_key(account, &team.id, &repository.id),
                condition: "attribute_exists(pk)",
                names: None,
                values: None,
            },
            add(sizes_key(account, &team.id), "repositories", -1),
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

/// A repository that the caller may see, before or after it is read.
#[derive(Clone, Debug)]
pub struct VisibleRepository {
    pub id: RepositoryId,
    name: RepositoryName,
    created_at: Timestamp,
    updated_at: Timestamp,
    row: Option<Repository>,
}

impl VisibleRepository {
    /// All that a member without base permission may see: the account's public repositories and what their teams were
    /// given, in one Query for each.
    pub async fn all(table: &Table, tenant: &Tenant) -> Result<Vec<Self>, TableError> {
        let account = &tenant.account().id;
        let of_team = |team| table.query_all::<TeamGrant>(table_rows(grants_partition(account, team)));
        let granted = try_join_all(tenant.user().teams.iter().map(of_team));
        let (public, granted) = futures_util::future::try_join(Repository::public(table, tenant), granted).await?;
        let mut seen = HashSet::new();
        let public = public.into_iter().map(Self::from);
        let all = public.chain(granted.into_iter().flatten().map(Self::from));
        Ok(all.filter(|one| seen.insert(one.id.clone())).collect())
    }

    /// The rows of those that `all` did not read.
    pub async fn load(
        table: &Table,
        tenant: &Tenant,
        these: impl Iterator<Item = &Self>,
    ) -> Result<Vec<Repository>, TableError> {
        let (read, unread): (Vec<_>, Vec<_>) = these.partition(|one| one.row.is_some());
        let mut rows = Repository::by_ids(table, tenant, unread.into_iter().map(|one| &one.id)).await?;
        rows.extend(read.into_iter().filter_map(|one| one.row.clone()));
        Ok(rows)
    }
}

impl From<Repository> for VisibleRepository {
    fn from(row: Repository) -> Self {
        Self {
            id: row.id.clone(),
            name: row.name.clone(),
            created_at: row.created_at,
            updated_at: row.updated_at,
            row: Some(row),
        }
    }
}

impl From<TeamGrant> for VisibleRepository {
    fn from(grant: TeamGrant) -> Self {
        Self {
            id: grant.repository_id,
            name: grant.repository_name,
            created_at: grant.repository_created_at,
            updated_at: grant.repository_updated_at,
            row: None,
        }
    }
}

impl Position for VisibleRepository {
    fn position(&self, sort: Sort) -> String {
        repository_sort_key(sort, &self.id, &self.name, self.created_at, self.updated_at)
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

pub(super) const COUNTER: &str = "TEAMS";
pub(super) const SIZES: &str = "SIZES";

/// What goes with everything that enters a team: one more of its kind, and the team must be there and open.
pub(super) fn entered(account: &AccountId, team: &TeamId, what: &'static str) -> [Write; 2] {
    let number = |n: u64| AttributeValue::N(n.to_string());
    let count = Change {
        expression: format!("ADD {what} :one, changes :one"),
        condition: Some(match what {
            "members" => "attribute_not_exists(members) OR members < :max",
            _ => "attribute_not_exists(repositories) OR repositories < :max",
        }),
        values: Item::from([(":one".to_owned(), number(1)), (":max".to_owned(), number(MAX_IN_TEAM))]),
        ..Change::default()
    };
    let open = Write::Check {
        key: team_key(account, team),
        condition: "deleting = :no",
        values: Some(Item::from([(":no".to_owned(), AttributeValue::Bool(false))])),
    };
    [Write::Update { key: sizes_key(account, team), change: count }, open]
}

/// Why nothing more enters a team, by whether it is its size.
fn no_entry(full: Option<ConditionFailed>, what: &str) -> Error {
    match full {
        Some(_) => limit_reached(format!("A team has at most {MAX_IN_TEAM} {what}")),
        None => Error::not_found("Team"),
    }
}

fn limit_reached(message: String) -> Error {
    Error::new(ErrorCode::LimitReached, message)
}

/// Changes a counter, which counts its changes too.
pub(super) fn add(key: Key, attribute: &str, by: i64) -> Write {
    let number = |n: i64| AttributeValue::N(n.to_string());
    let change = Change {
        expression: format!("ADD {attribute} :by, changes :one"),
        values: Item::from([(":by".to_owned(), number(by)), (":one".to_owned(), number(1))]),
        ..Change::default()
    };
    Write::Update { key, change }
}

fn set_of(team: &TeamId) -> AttributeValue {
    AttributeValue::Ss(vec![team.to_string()])
}

/// The rows of a partition of the table itself as they are now, of which there may be more.
async fn rows<T: serde::de::DeserializeOwned>(table: &Table, partition: String) -> Result<Vec<T>, TableError> {
    let (items, _) = table.range(partition, ("A", "Z"), None).await?;
    read_items(items)
}

fn table_rows(partition: String) -> (Source, String) {
    (Source::Table, partition)
}

fn team_key(account: &AccountId, team: &TeamId) -> Key {
    Key { pk: format!("ACCT#{account}"), sk: format!("TEAM#{team}") }
}

fn name_key(account: &AccountId, name: &TeamName) -> Key {
    Key { pk: format!("ACCT#{account}"), sk: format!("TEAMNAME#{}", name.folded()) }
}

pub(super) fn total_key(account: &AccountId) -> Key {
    Key { pk: format!("ACCT#{account}"), sk: COUNTER.to_owned() }
}

pub(super) fn sizes_key(account: &AccountId, team: &TeamId) -> Key {
    Key { pk: format!("ACCT#{account}#TEAM#{team}"), sk: SIZES.to_owned() }
}

/// What the account's counter counts.
pub(super) fn counted(account: &AccountId) -> Rows {
    Rows { partition: format!("ACCT#{account}"), prefix: "TEAM#", counts: &[("teams", |_| true)] }
}

/// What a team's counter counts.
pub(super) fn counted_in(account: &AccountId, team: &TeamId) -> [Rows; 2] {
    let members = members_partition(account, team);
    let repositories = grants_partition(account, team);
    [
        Rows { partition: members, prefix: "USER#", counts: &[("members", |_| true)] },
        Rows { partition: repositories, prefix: "REPO#", counts: &[("repositories", |_| true)] },
    ]
}

fn member_key(account: &AccountId, team: &TeamId, user: &UserId) -> Key {
    Key { pk: members_partition(account, team), sk: format!("USER#{user}") }
}

fn grant_key(account: &AccountId, team: &TeamId, repository: &RepositoryId) -> Key {
    Key { pk: grants_partition(account, team), sk: format!("REPO#{repository}") }
}

fn teams_partition(account: &AccountId) -> String {
    format!("ACCT#{account}#TEAMS")
}

fn members_partition(account: &AccountId, team: &TeamId) -> String {
    format!("ACCT#{account}#TEAM#{team}#MEMBERS")
}

fn grants_partition(account: &AccountId, team: &TeamId) -> String {
    format!("ACCT#{account}#TEAM#{team}#REPOS")
}
