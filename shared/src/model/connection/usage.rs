//! The repositories that use connections.

use serde::{Deserialize, Serialize};

use super::Connection;
use crate::id::{AccountId, ConnectionId, RepositoryId};
use crate::model::{Repository, key};
use crate::permitted::TenantId;
use crate::table::{Change, Item, Table, TableError, Transaction, Values, Write, read_items};

/// The maximum number of a connection's repositories that a response names.
pub const MAX_LISTED_REPOSITORIES: usize = 100;

/// The use of a connection by a repository. A transaction that changes a repository's connection starts the new use and ends the
/// old one.
#[derive(Clone, Copy, Debug)]
pub(in crate::model) struct ConnectionUse<'a> {
    pub(in crate::model) account: &'a AccountId,
    pub(in crate::model) connection: &'a ConnectionId,
    pub(in crate::model) repository: &'a RepositoryId,
}

/// The mark of a use.
#[derive(Serialize, Deserialize)]
struct Mark {
    repository_id: RepositoryId,
}

impl ConnectionUse<'_> {
    fn count(&self, by: i8) -> Write {
        let change = Change {
            expression: "ADD repositories :by".to_owned(),
            condition: Some("attribute_exists(pk)"),
            values: Values::new().set(":by", by),
            ..Change::default()
        };
        Write::Update { key: key::connection(self.account, self.connection), change }
    }
}

impl<'a, R> Transaction<'a, R> {
    /// Makes a repository use a connection. The refusal `gone` is for a connection that does not exist.
    pub(in crate::model) fn using(
        self,
        used: ConnectionUse<'_>,
        gone: impl FnOnce(Option<Item>) -> R + Send + 'a,
    ) -> Result<Self, TableError> {
        let mark = Mark { repository_id: used.repository.clone() };
        let key = key::connection_use(used.account, used.connection, used.repository);
        Ok(self.write(used.count(1)).or(gone).write(Write::create(key, &mark, Vec::new())?))
    }

    /// Ends a use. It exists as long as the repository names the connection, so the transaction must check the repository's row.
    pub(in crate::model) fn no_longer_using(self, used: ConnectionUse<'_>) -> Self {
        let key = key::connection_use(used.account, used.connection, used.repository);
        self.write(used.count(-1)).write(Write::Delete { key })
    }
}

impl Connection {
    /// Returns the repositories that use the connection, by the order of their IDs. Returns at most
    /// [`MAX_LISTED_REPOSITORIES`].
    pub async fn repositories(&self, table: &Table, tenant: &TenantId) -> Result<Vec<Repository>, TableError> {
        let partition = key::connection_partition(&self.account_id, &self.id);
        // `~` sorts after the characters of identifiers.
        let range = (key::REPOSITORY_PREFIX, &*format!("{}~", key::REPOSITORY_PREFIX));
        let limit = i32::try_from(MAX_LISTED_REPOSITORIES).expect("a response is small");
        let (marks, _) = table.range(partition, range, Some(limit)).await?;
        let marks: Vec<Mark> = read_items(marks)?;
        let mut found = Repository::by_ids(table, tenant, marks.iter().map(|mark| &mark.repository_id)).await?;
        found.sort_by(|one, other| one.id.cmp(&other.id));
        Ok(found)
    }
}
