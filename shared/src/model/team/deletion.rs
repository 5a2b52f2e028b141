//! Deletions of teams.

use std::convert::Infallible;

use futures_util::stream::{self, StreamExt, TryStreamExt};
use serde::de::DeserializeOwned;

use super::grant::take_all;
use crate::clock::Timestamp;
use crate::error::{Error, Result};
use crate::model::counter::add;
use crate::model::{Action, Author, Team, TeamGrant, TeamMember, key};
use crate::table::{Change, Key, Table, TableError, Transaction, Value, Values, Write, read_item, read_items};

/// The maximum number of concurrent transactions of a deletion.
const AT_ONCE: usize = 16;

/// The refusal to remove a team from the row of a user or repository that is gone.
struct HolderGone;

impl Team {
    /// Closes the team if it meets the precondition `expected`, removes its members and repositories, and then deletes it. If it
    /// fails halfway, the team still exists, and a repetition completes the deletion.
    ///
    /// # Errors
    /// Fails with the error of `expected`, or with `not_found` if the team is gone.
    pub async fn delete(
        &self,
        table: &Table,
        expected: impl Fn(&Self) -> Result<()>,
        author: &Author,
        now: Timestamp,
    ) -> Result<()> {
        let closed = self.clone().close(table, expected, author).await?;

        // A closed team takes no new members and repositories.
        loop {
            let members = rows::<TeamMember>(table, key::team_members(&self.account_id, &self.id));
            let grants = rows::<TeamGrant>(table, key::team_grants(&self.account_id, &self.id));
            let (members, grants) = futures_util::future::try_join(members, grants).await?;
            if members.is_empty() && grants.is_empty() {
                break;
            }
            let members = members.iter().map(|TeamMember { user_id, .. }| {
                let row = key::team_member(&self.account_id, &self.id, user_id);
                (self.leave(key::user(&self.account_id, user_id)), row)
            });
            let grants = grants.iter().map(|TeamGrant { repository_id, .. }| {
                let row = key::team_grant(&self.account_id, &self.id, repository_id);
                (take_all(&self.account_id, &self.id, repository_id), row)
            });
            let forgotten = members.chain(grants).map(|(from_holder, row)| forget(table, from_holder, row));
            let forgotten: Vec<_> = forgotten.collect();
            stream::iter(forgotten).buffer_unordered(AT_ONCE).try_collect::<Vec<()>>().await?;
        }

        let event = author.event(Action::TeamDeleted, closed.target(), now);
        Transaction::new()
            .by(author, &event)?
            .write(Write::DeleteIf { key: self.key(), condition: "attribute_exists(pk)", names: None, values: None })
            .or(|_| Error::not_found("Team"))
            .write(Write::Delete { key: key::team_name(&closed.account_id, &closed.name) })
            .write(Write::Delete { key: key::team_sizes(&self.account_id, &self.id) })
            .write(add(key::team_count(&self.account_id), "teams", -1))
            .commit(table)
            .await?
    }

    /// Marks the team as closed, and returns it. Its name can't change any more. Retries after concurrent changes.
    async fn close(self, table: &Table, expected: impl Fn(&Self) -> Result<()>, author: &Author) -> Result<Self> {
        let mut before = self;
        let mut attempts = table.attempts();
        while attempts.begin().await {
            // The deletion that closed the team has met its precondition.
            if !before.deleting {
                expected(&before)?;
            }
            let change = Change {
                expression: "SET deleting = :yes ADD revision :one".to_owned(),
                condition: Some("revision = :was"),
                values: Values::new().set(":yes", true).set(":one", 1).set(":was", before.revision),
                ..Change::default()
            };
            let transaction = Transaction::new()
                .write(Write::Update { key: before.key(), change })
                .or(|row: Option<_>| row.map(read_item::<Self>).transpose())
                .allowed_to(author);
            match transaction.commit(table).await? {
                Ok(()) => return Ok(Self { deleting: true, revision: before.revision + 1, ..before }),
                Err(row) => before = row?.ok_or_else(|| Error::not_found("Team"))?,
            }
        }
        Err(TableError::Contended.into())
    }

    /// Returns the write that removes the team's id from the row of a user.
    fn leave(&self, user: Key) -> Write {
        let change = Change {
            expression: "DELETE teams :team".to_owned(),
            condition: Some("attribute_exists(pk)"),
            values: Values::new().set(":team", Value::set_of(&self.id)),
            ..Change::default()
        };
        Write::Update { key: user, change }
    }
}

/// Removes a team's id from the row of a user or repository, if the row still exists, and deletes the team's own row.
async fn forget(table: &Table, from_holder: Write, row: Key) -> Result<()> {
    let delete = Write::Delete { key: row };
    let forgotten =
        Transaction::new().write(from_holder).or(|_| HolderGone).write(delete.clone()).commit(table).await?;
    match forgotten {
        Ok(()) => Ok(()),
        Err(HolderGone) => match Transaction::<Infallible>::new().write(delete).commit(table).await? {
            Ok(()) => Ok(()),
        },
    }
}

/// Returns the current rows of a partition of the table, up to a page. There may be more.
async fn rows<T: DeserializeOwned>(table: &Table, partition: String) -> Result<Vec<T>, TableError> {
    let (items, _) = table.range(partition, ("A", "Z"), None).await?;
    read_items(items)
}
