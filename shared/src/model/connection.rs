//! Connections: the credentials with which an account reads repositories of a git host.
//!
//! The secret of a connection is sealed, and is an attribute of the row that no list reads. A mark beside the row tells each
//! repository that uses the connection.

mod change;
mod password;
mod provider;
mod usage;

use std::collections::HashMap;

use serde::{Deserialize, Serialize};
use serde_bytes::ByteBuf;

use crate::clock::Timestamp;
use crate::error::{Error, ErrorCode, Result};
use crate::id::{AccountId, ConnectionId};
use crate::model::{Action, AuditActor, Author, Repository, Target, TargetKind, key};
use crate::name::{DisplayName, GitHost, GitUsername};
use crate::permitted::TenantId;
use crate::sort::{Position, Sort};
use crate::table::{
    Change, Consistency, Index, IndexKey, Key, Partition, Table, TableError, Transaction, Values, Write, read_item,
};

pub use change::ConnectionChange;
pub use password::{GitPassword, InvalidGitPassword};
pub use provider::Provider;
pub(super) use usage::ConnectionUse;
pub use usage::MAX_LISTED_REPOSITORIES;

/// The maximum number of connections of an account.
pub const MAX_CONNECTIONS: u64 = 100;

/// The number of repositories that the refusal of a deletion names.
const NAMED_REPOSITORIES: usize = 20;

/// The row of a connection, without its sealed secret.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Connection {
    /// The connection's ID.
    pub id: ConnectionId,
    /// The account whose repositories may use the connection.
    pub account_id: AccountId,
    /// The name that its creator chose.
    pub name: DisplayName,
    /// The only host that gets the credential.
    pub host: GitHost,
    /// The software of the host.
    pub provider: Provider,
    /// The kind of the credential, with those parts that are no secrets.
    #[serde(flatten)]
    pub login: Login,
    /// Whoever created the connection.
    pub created_by: AuditActor,
    /// The time at which the connection was created.
    pub created_at: Timestamp,
    /// The time of the last change.
    pub updated_at: Timestamp,
    /// The time at which the secret was last set.
    pub secret_updated_at: Timestamp,
    /// The version that each conditional write checks, and that of the ETag. Each change adds one.
    pub revision: u64,
    /// The number of repositories that use the connection.
    #[serde(default, rename = "repositories")]
    pub repository_count: u64,
}

/// The kind of a credential, with those parts that are no secrets.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Login {
    /// A user name and a password or token, which is the secret.
    Basic {
        /// The user name.
        username: GitUsername,
    },
    /// A GitHub App, whose private key is the secret.
    GithubApp {
        /// The app's ID.
        app_id: u64,
        /// The app's installation. `None` if it is found by the repository.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        installation_id: Option<u64>,
    },
}

/// A connection with its sealed secret.
#[derive(Clone, Debug, Deserialize)]
pub struct SealedConnection {
    /// The connection.
    #[serde(flatten)]
    pub connection: Connection,
    sealed: ByteBuf,
}

impl SealedConnection {
    /// Returns the secret as it was sealed.
    pub fn sealed(&self) -> &[u8] {
        &self.sealed
    }
}

#[derive(Serialize)]
struct NewRow<'a> {
    #[serde(flatten)]
    connection: &'a Connection,
    sealed: ByteBuf,
}

impl Connection {
    pub(crate) async fn find(table: &Table, tenant: &TenantId, id: &ConnectionId) -> Result<Option<Self>, TableError> {
        table.get(key::connection(tenant, id), Consistency::Strong).await
    }

    /// Returns a connection of an account with its sealed secret.
    pub async fn load_sealed(
        table: &Table,
        account: &AccountId,
        id: &ConnectionId,
    ) -> Result<Option<SealedConnection>, TableError> {
        table.get(key::connection(account, id), Consistency::Strong).await
    }

    /// Returns the provider that the connection has unless another one is given.
    pub fn default_provider(&self) -> Provider {
        match self.login {
            Login::Basic { .. } => Provider::of(&self.host),
            Login::GithubApp { .. } => Provider::Github,
        }
    }

    /// Returns the refusal of a body whose `connection_id` names no connection of the account.
    pub fn unknown() -> Error {
        Error::invalid("connection_id", "must be the ID of a connection of the account")
    }

    /// Returns the context to which a connection's secret is sealed, so that no other connection can open it.
    pub fn sealing_context(account: &AccountId, id: &ConnectionId) -> String {
        format!("{account}/{id}")
    }

    /// Writes the connection with its sealed secret.
    ///
    /// # Errors
    /// Fails with `limit_reached` if the account has [`MAX_CONNECTIONS`] connections.
    pub async fn create(&self, sealed: Vec<u8>, table: &Table, author: &Author) -> Result<()> {
        let event = author
            .event(Action::ConnectionCreated, self.target(), self.created_at)
            .setting("kind", self.login.kind())
            .setting("host", &self.host)
            .setting("provider", self.provider)
            .setting("username", self.login.username())
            .setting("app_id", self.login.app_id())
            .setting("installation_id", self.login.installation_id());
        let index_key = IndexKey {
            index: Index::ByCreation,
            partition: key::connections(&self.account_id),
            sort: self.position(Sort::Created),
        };
        let row = NewRow { connection: self, sealed: ByteBuf::from(sealed) };
        Transaction::new()
            .by(author, &event)?
            .write(Write::create(self.key(), &row, vec![index_key])?)
            .write(count(&self.account_id, 1))
            .or(|_| {
                let message = format!(
                    "The account has {MAX_CONNECTIONS} connections, the most that it may have; delete one first"
                );
                Error::new(ErrorCode::LimitReached, message)
            })
            .commit(table)
            .await?
    }

    /// Deletes the connection with its secret if it meets the precondition `expected`. Retries after concurrent changes.
    ///
    /// # Errors
    /// Fails with the error of `expected`, with `connection_in_use` and names the repositories if any use the connection, and with
    /// `not_found` if it was deleted meanwhile.
    pub async fn delete(
        self,
        table: &Table,
        tenant: &TenantId,
        expected: impl Fn(&Self) -> Result<()>,
        author: &Author,
        now: Timestamp,
    ) -> Result<()> {
        let mut current = self;
        let mut attempts = table.attempts();
        while attempts.begin().await {
            expected(&current)?;
            let event = author.event(Action::ConnectionDeleted, current.target(), now);
            let row = Write::DeleteIf {
                key: current.key(),
                condition: "revision = :was AND repositories = :none",
                names: None,
                values: Some(Values::new().set(":was", current.revision).set(":none", 0)),
            };
            let refused = |row: Option<_>| row.map(read_item::<Self>).transpose();
            let transaction =
                Transaction::new().by(author, &event)?.write(row).or(refused).write(count(&current.account_id, -1));
            match transaction.commit(table).await? {
                Ok(()) => return Ok(()),
                Err(row) => current = row?.ok_or_else(|| Error::not_found("Connection"))?,
            }
            if current.repository_count > 0 {
                return Err(in_use(current.repository_count, &current.repositories(table, tenant).await?));
            }
        }
        Err(TableError::Contended.into())
    }

    /// Returns the index partition that lists an account's connections.
    pub fn listed(tenant: &TenantId) -> Partition {
        Partition::of_index(Index::ByCreation, key::connections(tenant))
    }

    /// Returns the number of an account's connections, from a counter that the transaction of each creation and deletion updates.
    pub async fn total(table: &Table, tenant: &TenantId) -> Result<u64, TableError> {
        let count: Option<ConnectionCount> = table.get(key::connection_count(tenant), Consistency::Strong).await?;
        Ok(count.map_or(0, |count| count.connections))
    }

    fn target(&self) -> Target {
        Target::new(TargetKind::Connection, &self.id, Some(&self.name))
    }

    fn key(&self) -> Key {
        key::connection(&self.account_id, &self.id)
    }
}

impl Login {
    /// Returns the kind, as the API names it.
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Basic { .. } => "basic",
            Self::GithubApp { .. } => "github_app",
        }
    }

    /// Returns the user name of a `basic` credential.
    pub const fn username(&self) -> Option<&GitUsername> {
        match self {
            Self::Basic { username } => Some(username),
            Self::GithubApp { .. } => None,
        }
    }

    /// Returns the ID of a GitHub App.
    pub const fn app_id(&self) -> Option<u64> {
        match self {
            Self::Basic { .. } => None,
            Self::GithubApp { app_id, .. } => Some(*app_id),
        }
    }

    /// Returns the installation of a GitHub App, if the connection names one.
    pub const fn installation_id(&self) -> Option<u64> {
        match self {
            Self::Basic { .. } => None,
            Self::GithubApp { installation_id, .. } => *installation_id,
        }
    }
}

impl Position for Connection {
    const ATTRIBUTES: Option<&'static str> = Some(
        "id, account_id, #name, #host, provider, #kind, username, app_id, installation_id, created_by, created_at, updated_at, \
         secret_updated_at, revision, repositories",
    );

    fn position(&self, _: Sort) -> String {
        format!("{:015}#{}", self.created_at.as_millis(), self.id)
    }
}

#[derive(Deserialize)]
struct ConnectionCount {
    connections: u64,
}

/// Returns the write that counts a connection. One that adds a connection is refused if the account has the most that it may
/// have.
fn count(account: &AccountId, by: i8) -> Write {
    let values = Values::new().set(":by", by).set_if(":max", (by > 0).then_some(MAX_CONNECTIONS));
    let change = Change {
        expression: "ADD connections :by".to_owned(),
        condition: (by > 0).then_some("attribute_not_exists(connections) OR connections < :max"),
        values,
        ..Change::default()
    };
    Write::Update { key: key::connection_count(account), change }
}

/// Returns the refusal to delete a connection that repositories use.
fn in_use(total: u64, repositories: &[Repository]) -> Error {
    let mut named: Vec<_> = repositories.iter().map(|found| format!("{} ({})", found.name, found.id)).collect();
    named.sort();
    named.truncate(NAMED_REPOSITORIES);
    let more = match total.saturating_sub(named.len() as u64) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    let message = format!(
        "Repositories use the connection: {}{more}; give each of them another connection, or none, first",
        named.join(", ")
    );
    Error::new(ErrorCode::ConnectionInUse, message)
}

/// Returns the names of attributes that DynamoDB reserves.
fn reserved_names() -> Option<HashMap<String, String>> {
    Some(HashMap::from([("#name".to_owned(), "name".to_owned())]))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::id::UserId;
    use crate::model::ActorKind;
    use crate::table::Item;

    fn row(login: Login) -> Item {
        let now = Timestamp::from_millis(0);
        let actor = AuditActor { kind: ActorKind::User, id: UserId::random(), name: "ada@acme.example".to_owned() };
        let connection = Connection {
            id: ConnectionId::random(),
            account_id: AccountId::random(),
            name: "GitHub".parse().unwrap(),
            host: "github.com".parse().unwrap(),
            provider: Provider::Github,
            login,
            created_by: actor,
            created_at: now,
            updated_at: now,
            secret_updated_at: now,
            revision: 1,
            repository_count: 0,
        };
        let written = serde_dynamo::to_item(NewRow { connection: &connection, sealed: ByteBuf::from(*b"x") }).unwrap();
        let read: SealedConnection = read_item(Item::clone(&written)).unwrap();
        assert_eq!((&read.connection, read.sealed()), (&connection, &b"x"[..]));
        written
    }

    #[test]
    fn a_list_reads_all_attributes_but_the_secret() {
        let basic = row(Login::Basic { username: "bot".parse().unwrap() });
        let app = row(Login::GithubApp { app_id: 7, installation_id: Some(8) });
        let mut written: BTreeSet<_> = basic.into_keys().chain(app.into_keys()).collect();
        assert!(written.remove("sealed"));
        assert_eq!(crate::sort::attributes_read::<Connection>(), written);
    }
}
