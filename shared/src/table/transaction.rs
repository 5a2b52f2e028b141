//! Transactions whose writes carry their own refusals.

use aws_sdk_dynamodb::operation::transact_write_items::TransactWriteItemsError;
use aws_sdk_dynamodb::types::{CancellationReason, ReturnConsumedCapacity, TransactWriteItem};

use super::error::TableError;
use super::item::Item;
use super::write::Write;
use super::{Table, boxed};
use crate::usage::Call;

/// Writes that are committed together or not at all.
///
/// A write whose condition may fail is followed by [`or`](Self::or) with its refusal. Its place among the other writes
/// has no meaning, with one exception: if several conditions fail, the first refused write decides.
#[must_use = "a transaction writes nothing until it is committed"]
pub(crate) struct Transaction<'a, R> {
    steps: Vec<Step<'a, R>>,
}

struct Step<'a, R> {
    write: Write,
    refusal: Option<Refusal<'a, R>>,
}

/// Returns a refusal from the current item, if there is one.
type Refusal<'a, R> = Box<dyn FnOnce(Option<Item>) -> R + Send + 'a>;

/// The outcome of one TransactWriteItems.
enum Attempt {
    Committed,
    /// Another transaction was changing one of the items.
    Conflict,
    /// For each write in order, the item that failed its condition, or `None` if the condition held.
    Refused(Vec<Option<Option<Item>>>),
}

impl<'a, R> Transaction<'a, R> {
    pub(crate) fn new() -> Self {
        Self { steps: Vec::new() }
    }

    /// Adds a write. Unless [`or`](Self::or) follows, its condition is one that can't fail.
    pub(crate) fn write(mut self, write: Write) -> Self {
        self.steps.push(Step { write, refusal: None });
        self
    }

    /// Adds writes whose conditions can't fail.
    pub(crate) fn writes(mut self, writes: impl IntoIterator<Item = Write>) -> Self {
        self.steps.extend(writes.into_iter().map(|write| Step { write, refusal: None }));
        self
    }

    /// Gives the last write its refusal, which is made from the item that failed the write's condition.
    ///
    /// # Panics
    /// Panics if there is no write yet.
    pub(crate) fn or(mut self, refusal: impl FnOnce(Option<Item>) -> R + Send + 'a) -> Self {
        self.steps.last_mut().expect("a refusal follows its write").refusal = Some(Box::new(refusal));
        self
    }

    /// Commits all of the writes, or returns the refusal of the first write that was refused. It tries again, up to
    /// the bound of [`Attempts`](crate::attempts::Attempts), while it conflicts with other transactions.
    ///
    /// # Errors
    /// Fails with [`TableError::Contended`] if the conflicts persist, and with [`TableError::Condition`] if a write
    /// without a refusal was refused.
    pub(crate) async fn commit(self, table: &Table) -> Result<Result<(), R>, TableError> {
        let (writes, refusals): (Vec<_>, Vec<_>) =
            self.steps.into_iter().map(|Step { write, refusal }| (write, refusal)).unzip();
        let items = writes.into_iter().map(|write| write.build(&table.name)).collect::<Result<Vec<_>, _>>()?;
        let mut attempts = table.attempts();
        while attempts.begin().await {
            match table.transact(items.clone()).await? {
                Attempt::Committed => return Ok(Ok(())),
                Attempt::Conflict => {}
                Attempt::Refused(failed) => {
                    let mut refused = refusals.into_iter().zip(failed);
                    let refusal = refused.find_map(|(refusal, failed)| Some(refusal?(failed?)));
                    return refusal.map(Err).ok_or(TableError::Condition);
                }
            }
        }
        Err(TableError::Contended)
    }
}

impl Table {
    /// Sends the writes once. The SDK's own retries carry a client token, so they can't write twice.
    async fn transact(&self, items: Vec<TransactWriteItem>) -> Result<Attempt, TableError> {
        let call = Call::start();
        let sent = boxed(
            self.client
                .transact_write_items()
                .set_transact_items(Some(items))
                .return_consumed_capacity(ReturnConsumedCapacity::Total)
                .send(),
        )
        .await;
        let error = match sent {
            Ok(output) => {
                call.end(output.consumed_capacity());
                return Ok(Attempt::Committed);
            }
            Err(error) => error,
        };
        call.end([]);
        let Some(TransactWriteItemsError::TransactionCanceledException(canceled)) = error.as_service_error() else {
            return Err(error.into());
        };
        let reasons = canceled.cancellation_reasons();
        let is = |code: &str, reason: &CancellationReason| reason.code() == Some(code);
        if reasons.iter().any(|reason| is("ConditionalCheckFailed", reason)) {
            let failed =
                |reason: &CancellationReason| is("ConditionalCheckFailed", reason).then(|| reason.item().cloned());
            Ok(Attempt::Refused(reasons.iter().map(failed).collect()))
        } else if reasons.iter().any(|reason| is("TransactionConflict", reason)) {
            Ok(Attempt::Conflict)
        } else {
            Err(error.into())
        }
    }
}
