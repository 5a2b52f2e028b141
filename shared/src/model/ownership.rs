//! Owners of programs: the person who answers for an application, a trust or a hook.

use crate::clock::Timestamp;
use crate::error::Result;
use crate::id::{AccountId, UserId};
use crate::model::{AuditEvent, Author, User};
use crate::table::{Change, Key, Table, TableError, Transaction, Values, Write};

/// A program for which a person of its account answers.
pub(super) trait Program {
    /// Returns the row with its owner, and the event of a change by this author.
    fn owned(&self, author: &Author, now: Timestamp) -> Owned<'_>;

    /// Sets the owner.
    fn set_owner(&mut self, owner: UserId);
}

/// The row of a program with its owner.
pub(super) struct Owned<'a> {
    pub(super) key: Key,
    pub(super) account: &'a AccountId,
    /// The id that stands for the program where a user is named. Another program with the key has another one.
    pub(super) user_id: &'a UserId,
    pub(super) owner: &'a UserId,
    /// The event of a change of the program.
    pub(super) event: AuditEvent,
}

/// Makes another user of the account answer for programs, who must be an owner. Returns the programs without those that are gone
/// or have another owner already.
pub(super) async fn hand_over<P: Program>(
    programs: Vec<P>,
    heir: &UserId,
    table: &Table,
    author: &Author,
    now: Timestamp,
) -> Result<Vec<P>> {
    let mut handed_over = Vec::new();
    for mut program in programs {
        if program.owned(author, now).hand_over(heir, table, author).await? {
            program.set_owner(heir.clone());
            handed_over.push(program);
        }
    }
    Ok(handed_over)
}

impl Owned<'_> {
    /// Returns `false` if the program is gone or has another owner already.
    async fn hand_over(self, heir: &UserId, table: &Table, author: &Author) -> Result<bool> {
        let event = self.event.changing("owned_by", self.owner, heir);
        let change = Change {
            expression: "SET owned_by = :heir".to_owned(),
            condition: Some(
                "user_id = :program AND \
                 (owned_by = :old OR (attribute_not_exists(owned_by) AND created_by = :old))",
            ),
            values: Values::new()
                .set(":heir", heir.as_str())
                .set(":program", self.user_id.as_str())
                .set(":old", self.owner.as_str()),
            ..Change::default()
        };
        let handed_over = Transaction::<Result<bool>>::new()
            .by(author, &event)?
            .write(User::is_owner(self.account, heir))
            .or(|_| Err(TableError::Contended.into()))
            .write(Write::Update { key: self.key, change })
            .or(|_| Ok(false))
            .commit(table)
            .await?;
        handed_over.map_or_else(|refused| refused, |()| Ok(true))
    }
}
