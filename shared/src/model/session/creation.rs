//! New sessions.

use std::collections::BTreeMap;

use super::{Session, SessionCredential};
use crate::clock::{Rfc3339, Timestamp};
use crate::model::{Action, Author, key};
use crate::table::{Change, Index, Partition, Table, TableError, Transaction, Values, Write};
use crate::token::TokenHash;

/// The maximum number of sessions of a holder. Another sign-in ends the oldest.
const MAX_SESSIONS: usize = 50;
/// The maximum number of sessions that one sign-in ends, so that it fits into a transaction.
const MAX_ENDED: usize = 20;

/// A session in whose place another one is created.
#[derive(Clone, Debug)]
pub(crate) struct Replaced {
    pub(crate) session: Session,
    /// The person of the session, unless they belong to no account.
    pub(crate) author: Option<Author>,
}

impl Session {
    /// Writes the session, and ends the one that the browser had before. The author is whoever signed in, by the credential that
    /// the session stands for; a person who belongs to no account has none. Records the use of a token that was pasted.
    ///
    /// # Errors
    /// Fails if the token or the user has changed since they were read.
    pub(crate) async fn create(
        &self,
        table: &Table,
        author: Option<&Author>,
        replaced: Option<Replaced>,
    ) -> Result<(), TableError> {
        let now = self.created_at;
        let mut ended: BTreeMap<String, TokenHash> = BTreeMap::new();
        for session in self.excess(table).await? {
            ended.insert(session.hash.to_string(), session.hash);
        }
        let mut transaction = Transaction::<TableError>::new().write(self.write()?).or(|_| TableError::Contended);
        if let Some(author) = author {
            let event = author
                .event(Action::SessionCreated, self.target(), now)
                .setting("method", self.method())
                .setting("expires_at", Rfc3339::from(self.valid_until));
            transaction = transaction.by(author, &event)?;
            if let SessionCredential::Token { id, .. } = &self.credential {
                let change = Change {
                    expression: "SET last_used_at = :now".to_owned(),
                    values: Values::new().set(":now", now),
                    ..Change::default()
                };
                transaction = transaction.write(Write::Update { key: key::token(author.account_id(), id), change });
            }
        }
        if let Some(Replaced { session, author }) = replaced {
            ended.insert(session.hash.to_string(), session.hash);
            if let Some(author) = author {
                transaction = transaction.recording(&author.event(Action::SessionEnded, session.target(), now))?;
            }
        }
        let deletions = ended.into_values().map(|hash| Write::Delete { key: key::session(hash) });
        transaction.writes(deletions).commit(table).await?
    }

    /// Returns the oldest sessions of the holder, which exceed the bound with the new one.
    async fn excess(&self, table: &Table) -> Result<Vec<Self>, TableError> {
        let list = Partition::of_index(Index::ByCreation, key::sessions(&self.credential.holder()));
        let mut sessions: Vec<Self> = table.query_all(list).await?;
        let excess = (sessions.len() + 1).saturating_sub(MAX_SESSIONS).min(MAX_ENDED);
        sessions.truncate(excess);
        Ok(sessions)
    }

    /// Returns whether the session has ended by itself.
    pub(super) fn has_ended(&self, now: Timestamp) -> bool {
        self.ends_at() <= now
    }
}
