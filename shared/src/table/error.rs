//! Failures of DynamoDB calls.

use std::time::Duration;

use aws_sdk_dynamodb::error::{ProvideErrorMetadata, SdkError};

use crate::aws;
use crate::error::{Error, ErrorCode};

/// The lease of a claim on an idempotency key, as long as a request can take: its function runs for at most 29 seconds, and the clocks of
/// two functions may be a second apart. An older claim belongs to a request that died.
pub(crate) const CLAIM_LEASE: Duration = Duration::from_secs(30);

/// The reasons why a DynamoDB call fails.
#[derive(Debug, thiserror::Error)]
pub enum TableError {
    /// DynamoDB refused the call, or did not answer in time.
    #[error("DynamoDB refused or did not answer ({code})")]
    Call {
        /// The code of [`aws::code_of`].
        code: String,
        /// Whether the call can succeed later: see [`aws::is_passing`].
        passing: bool,
        /// The SDK's error.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// An item lacks an attribute of its row, or has one of another type.
    #[error("an item does not have the expected shape")]
    Shape(#[from] serde_dynamo::Error),
    /// The SDK refused to build the request.
    #[error("the request for DynamoDB is incomplete")]
    Build(#[from] aws_sdk_dynamodb::error::BuildError),
    /// A sort key in an index does not have the form that the model writes.
    #[error("a key of an index is malformed")]
    Position,
    /// Other writers came first in every attempt.
    #[error("concurrent writers kept changing an item")]
    Contended,
    /// A batch had unread keys in every attempt.
    #[error("DynamoDB kept leaving keys of a batch unread")]
    Unprocessed,
    /// A write was refused that has no condition, or whose condition always holds.
    #[error("a condition failed that can't fail")]
    Condition,
    /// A condition that gave the author of a change the right to it does not hold any more.
    #[error("the rights of the caller changed while the request ran")]
    Guard,
    /// Another request has completed or taken over the claim on the request's idempotency key.
    #[error("another request holds the idempotency key")]
    Claim,
}

impl TableError {
    /// Returns whether DynamoDB refused the call because there are too many.
    pub(crate) fn is_throttling(&self) -> bool {
        matches!(self, Self::Call { code, .. } if aws::is_throttling(code))
    }

    /// Returns whether the call can succeed later.
    pub(crate) fn is_passing(&self) -> bool {
        matches!(self, Self::Call { passing: true, .. })
    }

    /// Returns whether the call took longer than its time limit.
    pub(crate) fn is_timeout(&self) -> bool {
        matches!(self, Self::Call { code, .. } if code == aws::TIMEOUT)
    }
}

impl<E> From<SdkError<E>> for TableError
where
    E: ProvideErrorMetadata + std::error::Error + Send + Sync + 'static,
{
    fn from(error: SdkError<E>) -> Self {
        let code = aws::code_of(&error).to_owned();
        Self::Call { passing: aws::is_passing(&code), code, source: Box::new(error) }
    }
}

impl From<TableError> for Error {
    fn from(error: TableError) -> Self {
        match error {
            TableError::Call { passing: true, .. } | TableError::Unprocessed => Error::unavailable(error),
            TableError::Contended => {
                let message = "Concurrent requests are changing the resource; try again";
                Error::new(ErrorCode::ServiceUnavailable, message).because(error)
            }
            TableError::Guard => {
                let message = "The caller's rights changed while the request ran. Nothing was changed";
                Error::new(ErrorCode::InsufficientPermission, message)
            }
            TableError::Claim => Error::in_flight(CLAIM_LEASE),
            _ => Error::internal(error),
        }
    }
}
