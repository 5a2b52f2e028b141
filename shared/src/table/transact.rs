//! Transactions.

use aws_sdk_dynamodb::operation::transact_write_items::TransactWriteItemsError;
use aws_sdk_dynamodb::types::{CancellationReason, ReturnConsumedCapacity, TransactWriteItem};

use super::Table;
use super::backoff::{MAX_CONFLICTS, jitter};
use super::error::TableError;
use super::write::{ConditionFailed, Write};
use crate::error::{Error, ErrorCode};
use crate::usage::Call;

/// The reason why a transaction wrote nothing.
#[derive(Debug)]
pub enum TransactFailed {
    /// For each write in order, the item that failed its condition, or `None` where the condition held.
    Conditions(Vec<Option<ConditionFailed>>),
    /// Other transactions kept changing one of the items. A retry may succeed.
    Conflict,
    Table(TableError),
}

impl From<TransactFailed> for Error {
    fn from(failed: TransactFailed) -> Self {
        match failed {
            TransactFailed::Table(error) => error.into(),
            TransactFailed::Conflict => {
                Error::new(ErrorCode::ServiceUnavailable, "The resource is being changed by others").retry_after(1)
            }
            TransactFailed::Conditions(_) => Error::internal("a condition failed that has no answer"),
        }
    }
}

impl Table {
    /// Commits all of the writes or none. It retries for about 5 s when it conflicts with other transactions.
    pub(crate) async fn transact(&self, writes: Vec<Write>) -> Result<(), TransactFailed> {
        let items = writes.into_iter().map(|write| write.build(&self.name)).collect::<Result<Vec<_>, _>>();
        let items = items.map_err(|error| TransactFailed::Table(error.into()))?;
        for attempt in 0..MAX_CONFLICTS {
            match self.transact_once(items.clone()).await {
                Err(TransactFailed::Conflict) => tokio::time::sleep(jitter(attempt)).await,
                ended => return ended,
            }
        }
        Err(TransactFailed::Conflict)
    }

    /// The SDK's own retries carry a client token, so they can't write twice.
    async fn transact_once(&self, items: Vec<TransactWriteItem>) -> Result<(), TransactFailed> {
        let call = Call::start();
        let sent = self
            .client
            .transact_write_items()
            .set_transact_items(Some(items))
            .return_consumed_capacity(ReturnConsumedCapacity::Total)
            .send()
            .await;
        let error = match sent {
            Ok(output) => {
                call.end(output.consumed_capacity());
                return Ok(());
            }
            Err(error) => error,
        };
        call.end([]);
        let Some(TransactWriteItemsError::TransactionCanceledException(canceled)) = error.as_service_error() else {
            return Err(TransactFailed::Table(error.into()));
        };
        let reasons = canceled.cancellation_reasons();
        let failed = |code| reasons.iter().any(|reason| reason.code() == Some(code));
        if failed("ConditionalCheckFailed") {
            let condition = |reason: &CancellationReason| {
                let failed = reason.code() == Some("ConditionalCheckFailed");
                failed.then(|| ConditionFailed { current: reason.item().cloned() })
            };
            Err(TransactFailed::Conditions(reasons.iter().map(condition).collect()))
        } else if failed("TransactionConflict") {
            Err(TransactFailed::Conflict)
        } else {
            Err(TransactFailed::Table(error.into()))
        }
    }
}
