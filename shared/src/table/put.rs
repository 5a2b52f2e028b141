//! Single puts.

use aws_sdk_dynamodb::operation::put_item::PutItemError;
use aws_sdk_dynamodb::types::{ReturnConsumedCapacity, ReturnValuesOnConditionCheckFailure};
use serde::Serialize;

use super::error::TableError;
use super::key::Key;
use super::values::Values;
use super::write::{ConditionFailed, IndexKey, item};
use super::{Table, boxed};
use crate::usage::Call;

impl Table {
    /// Puts an item if the condition holds for the item that it replaces. A transaction would cost twice as much.
    pub(crate) async fn put(
        &self,
        key: Key,
        row: &impl Serialize,
        index_keys: Vec<IndexKey>,
        condition: &'static str,
        values: Values,
    ) -> Result<Result<(), ConditionFailed>, TableError> {
        let call = Call::start();
        let sent = boxed(
            self.client
                .put_item()
                .table_name(&*self.name)
                .set_item(Some(item(key, row, index_keys)?))
                .condition_expression(condition)
                .set_expression_attribute_values(Some(values.into_item()).filter(|values| !values.is_empty()))
                .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld)
                .return_consumed_capacity(ReturnConsumedCapacity::Total)
                .send(),
        )
        .await;
        match sent {
            Ok(output) => {
                call.end(output.consumed_capacity());
                Ok(Ok(()))
            }
            Err(error) => match error.as_service_error() {
                Some(PutItemError::ConditionalCheckFailedException(failed)) => {
                    call.end([]);
                    Ok(Err(ConditionFailed { current: failed.item().cloned() }))
                }
                _ => Err(error.into()),
            },
        }
    }
}
