//! Transactions whose writes carry their own refusals.

use aws_sdk_dynamodb::operation::transact_write_items::TransactWriteItemsError;
use aws_sdk_dynamodb::types::{CancellationReason, ReturnConsumedCapacity, TransactWriteItem};
use serde::Deserialize;

use super::error::TableError;
use super::item::{Item, read_item};
use super::write::{Guard, Write};
use super::{Table, boxed};
use crate::usage::Call;

/// Writes that are committed together or not at all.
///
/// A write whose condition may fail is followed by [`or`](Self::or) with its refusal. Its place among the other writes
/// has no meaning, with one exception: if several conditions fail, the first refused write decides. A failed guard decides
/// before any write.
#[must_use = "a transaction writes nothing until it is committed"]
pub(crate) struct Transaction<'a, R> {
    steps: Vec<Step<'a, R>>,
    guards: Vec<Guard>,
    counted: Vec<Counted<'a>>,
}

/// Writes that carry the next number of a counter.
struct Counted<'a> {
    /// The number of the next attempt.
    number: u64,
    /// Returns the write of the counter and that of the row with the number.
    writes: Box<dyn Fn(u64) -> Result<[Write; 2], TableError> + Send + 'a>,
}

struct Step<'a, R> {
    write: Write,
    refusal: Refusal<'a, R>,
}

/// The meaning of a write whose condition failed.
enum Refusal<'a, R> {
    /// The condition can't fail.
    Impossible,
    /// The write's own refusal, which is made from the current item, if there is one.
    Own(Box<dyn FnOnce(Option<Item>) -> R + Send + 'a>),
    /// A guard does not hold any more.
    Guard,
    /// The claim on an idempotency key does not hold any more.
    Claim,
    /// The number is not higher than the last one of its counter.
    Number,
}

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
        Self { steps: Vec::new(), guards: Vec::new(), counted: Vec::new() }
    }

    /// Adds the write of a counter and that of a row with the counter's next number, which both come from `writes`. The number is
    /// `from`, unless the counter has reached it: then it is the one after the counter's last, which a second attempt learns. The
    /// condition of the counter's write is that its attribute `last_number` is lower.
    pub(crate) fn counted(
        mut self,
        from: u64,
        writes: impl Fn(u64) -> Result<[Write; 2], TableError> + Send + 'a,
    ) -> Self {
        self.counted.push(Counted { number: from, writes: Box::new(writes) });
        self
    }

    /// Adds a write. Unless [`or`](Self::or) follows, its condition is one that can't fail.
    pub(crate) fn write(mut self, write: Write) -> Self {
        self.steps.push(Step { write, refusal: Refusal::Impossible });
        self
    }

    /// Adds writes whose conditions can't fail.
    pub(crate) fn writes(mut self, writes: impl IntoIterator<Item = Write>) -> Self {
        self.steps.extend(writes.into_iter().map(|write| Step { write, refusal: Refusal::Impossible }));
        self
    }

    /// Adds the write that completes the claim on the request's idempotency key. Without the claim nothing is written.
    pub(crate) fn claimed(mut self, completion: Option<Write>) -> Self {
        self.steps.extend(completion.map(|write| Step { write, refusal: Refusal::Claim }));
        self
    }

    /// Gives the last write its refusal, which is made from the item that failed the write's condition.
    ///
    /// # Panics
    /// Panics if there is no write yet.
    pub(crate) fn or(mut self, refusal: impl FnOnce(Option<Item>) -> R + Send + 'a) -> Self {
        self.steps.last_mut().expect("a refusal follows its write").refusal = Refusal::Own(Box::new(refusal));
        self
    }

    /// Adds conditions that the whole transaction depends on. DynamoDB takes one operation on an item, so a guard of an item
    /// that the transaction writes becomes part of that write's condition.
    pub(crate) fn guarded(mut self, guards: impl IntoIterator<Item = Guard>) -> Self {
        self.guards.extend(guards);
        self
    }

    /// Commits all of the writes, or returns the refusal of the first write that was refused. It tries again, up to
    /// the bound of [`Attempts`](crate::attempts::Attempts), while it conflicts with other transactions.
    ///
    /// # Errors
    /// Fails with [`TableError::Contended`] if the conflicts persist, with [`TableError::Guard`] if a guard does not hold,
    /// with [`TableError::Claim`] if the claim does not, and with [`TableError::Condition`] if a write without a refusal was refused.
    pub(crate) async fn commit(self, table: &Table) -> Result<Result<(), R>, TableError> {
        let Self { steps, mut guards, mut counted } = self;
        let count = steps.len() + guards.len() + 2 * counted.len();
        let mut refusals = Vec::with_capacity(count);
        let mut items = Vec::with_capacity(count);
        for Step { write, refusal } in steps {
            let guard = guards.iter().position(|guard| write.is_of(&guard.key)).map(|at| guards.swap_remove(at));
            refusals.push(match refusal {
                Refusal::Impossible if guard.is_some() => Refusal::Guard,
                refusal => refusal,
            });
            items.push(write.build(&table.name, guard)?);
        }
        for Guard { key, condition, names, values } in guards {
            refusals.push(Refusal::Guard);
            let check = Write::Check { key, condition, names, values: Some(values) };
            items.push(check.build(&table.name, None)?);
        }
        let uncounted = items.len();
        refusals.extend(counted.iter().flat_map(|_| [Refusal::Number, Refusal::Impossible]));
        let mut attempts = table.attempts();
        while attempts.begin().await {
            items.truncate(uncounted);
            for Counted { number, writes } in &counted {
                for write in writes(*number)? {
                    items.push(write.build(&table.name, None)?);
                }
            }
            match table.transact(items.clone()).await? {
                Attempt::Committed => return Ok(Ok(())),
                Attempt::Conflict => {}
                Attempt::Refused(failed)
                    if failed
                        .iter()
                        .zip(&refusals)
                        .all(|(failed, refusal)| failed.is_none() || matches!(refusal, Refusal::Number)) =>
                {
                    for (counted, failed) in counted.iter_mut().zip(failed.into_iter().skip(uncounted).step_by(2)) {
                        if let Some(counter) = failed {
                            counted.number = counted.number.max(last_number(counter)? + 1);
                        }
                    }
                }
                Attempt::Refused(failed) => {
                    let mut outcome = Err(TableError::Condition);
                    for (refusal, failed) in refusals.into_iter().zip(failed) {
                        match (refusal, failed) {
                            (Refusal::Guard, Some(_)) => return Err(TableError::Guard),
                            (Refusal::Claim, Some(_)) => return Err(TableError::Claim),
                            (Refusal::Own(refusal), Some(item)) if outcome.is_err() => outcome = Ok(Err(refusal(item))),
                            _ => {}
                        }
                    }
                    return outcome;
                }
            }
        }
        Err(TableError::Contended)
    }
}

/// Returns the last number of a counter. One without a number is not refused.
fn last_number(counter: Option<Item>) -> Result<u64, TableError> {
    #[derive(Deserialize)]
    struct Counter {
        last_number: u64,
    }
    let counter: Counter = read_item(counter.ok_or(TableError::Condition)?)?;
    Ok(counter.last_number)
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
