//! Updates of single items.

use std::collections::HashMap;

use aws_sdk_dynamodb::config::Config;
use aws_sdk_dynamodb::config::retry::RetryConfig;
use aws_sdk_dynamodb::operation::update_item::UpdateItemError;
use aws_sdk_dynamodb::types::{ReturnConsumedCapacity, ReturnValue, ReturnValuesOnConditionCheckFailure};

use super::error::TableError;
use super::item::{Item, Numbers};
use super::key::Key;
use super::values::Values;
use super::write::{Change, ConditionFailed};
use super::{Table, boxed};
use crate::usage::Call;

/// The number of times that the SDK may send a call.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Sends {
    Once,
    Repeated,
}

impl Table {
    /// Sets numbers of an item if all its numbers still are as they were read. Returns `false` if they are not.
    pub(crate) async fn swap(&self, key: Key, was: &Numbers, is: &Numbers) -> Result<bool, TableError> {
        let (mut conditions, mut sets) = (Vec::new(), Vec::new());
        let (mut names, mut values) = (HashMap::new(), Values::new());
        for (at, name) in was.keys().chain(is.keys().filter(|name| !was.contains_key(*name))).enumerate() {
            names.insert(format!("#n{at}"), name.clone());
            conditions.push(match was.get(name) {
                Some(old) => {
                    values = values.set(format!(":was{at}"), *old);
                    format!("#n{at} = :was{at}")
                }
                None => format!("attribute_not_exists(#n{at})"),
            });
            if let Some(new) = is.get(name) {
                values = values.set(format!(":is{at}"), *new);
                sets.push(format!("#n{at} = :is{at}"));
            }
        }
        let (expression, condition) = (format!("SET {}", sets.join(", ")), Some(conditions.join(" AND ")));
        Ok(self.update_if(key, expression, condition, Some(names), values, Sends::Repeated).await?.is_ok())
    }

    /// Updates an item if its condition holds, and returns the item after the update.
    pub(crate) async fn update(&self, key: Key, change: Change) -> Result<Result<Item, ConditionFailed>, TableError> {
        let Change { expression, condition, names, values } = change;
        self.update_if(key, expression, condition.map(str::to_owned), names, values, Sends::Repeated).await
    }

    /// Updates an item like [`Table::update`], by one call that the SDK never sends again. A condition that fails therefore
    /// proves that the update was not applied.
    pub(crate) async fn update_once(
        &self,
        key: Key,
        change: Change,
    ) -> Result<Result<Item, ConditionFailed>, TableError> {
        let Change { expression, condition, names, values } = change;
        self.update_if(key, expression, condition.map(str::to_owned), names, values, Sends::Once).await
    }

    async fn update_if(
        &self,
        key: Key,
        expression: String,
        condition: Option<String>,
        names: Option<HashMap<String, String>>,
        values: Values,
        sends: Sends,
    ) -> Result<Result<Item, ConditionFailed>, TableError> {
        let call = Call::start();
        let mut update = self
            .client
            .update_item()
            .table_name(&*self.name)
            .set_key(Some(key.attributes()))
            .update_expression(expression)
            .set_condition_expression(condition)
            .set_expression_attribute_names(names)
            .set_expression_attribute_values(Some(values.into_item()).filter(|values| !values.is_empty()))
            .return_values(ReturnValue::AllNew)
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld)
            .return_consumed_capacity(ReturnConsumedCapacity::Total)
            .customize();
        if sends == Sends::Once {
            update = update.config_override(Config::builder().retry_config(RetryConfig::disabled()));
        }
        match boxed(update.send()).await {
            Ok(output) => {
                call.end(output.consumed_capacity());
                Ok(Ok(output.attributes.unwrap_or_default()))
            }
            Err(error) => match error.as_service_error() {
                Some(UpdateItemError::ConditionalCheckFailedException(failed)) => {
                    call.end([]);
                    Ok(Err(ConditionFailed { current: failed.item().cloned() }))
                }
                _ => Err(error.into()),
            },
        }
    }
}
