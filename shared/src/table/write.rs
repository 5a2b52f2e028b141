//! Writes, for [`Table::update`](super::Table::update) and [`Transaction`](super::Transaction).

use std::collections::HashMap;

use aws_sdk_dynamodb::error::BuildError;
use aws_sdk_dynamodb::types::{
    AttributeValue, ConditionCheck, Delete, Put, ReturnValuesOnConditionCheckFailure, TransactWriteItem, Update,
};
use serde::Serialize;

use super::error::TableError;
use super::item::Item;
use super::key::Key;
use super::query::Index;
use super::values::Values;

/// A write whose condition did not hold.
#[derive(Debug)]
pub(crate) struct ConditionFailed {
    /// The current item, if it exists.
    pub(crate) current: Option<Item>,
}

/// An update expression with its condition and values.
#[derive(Clone, Debug, Default)]
pub(crate) struct Change {
    pub(crate) expression: String,
    pub(crate) condition: Option<&'static str>,
    pub(crate) names: Option<HashMap<String, String>>,
    pub(crate) values: Values,
}

/// One write of a transaction.
#[derive(Clone, Debug)]
pub(crate) enum Write {
    Put {
        item: Item,
        condition: Option<&'static str>,
        values: Option<Values>,
    },
    Update {
        key: Key,
        change: Change,
    },
    /// Deletes the item if it exists.
    Delete {
        key: Key,
    },
    DeleteIf {
        key: Key,
        condition: &'static str,
        names: Option<HashMap<String, String>>,
        values: Option<Values>,
    },
    /// Checks the condition and changes nothing.
    Check {
        key: Key,
        condition: &'static str,
        values: Option<Values>,
    },
}

impl Write {
    /// Puts an item that must not exist yet.
    pub(crate) fn create(key: Key, row: &impl Serialize, index_keys: Vec<IndexKey>) -> Result<Self, TableError> {
        let condition = Some("attribute_not_exists(pk)");
        Ok(Self::Put { item: item(key, row, index_keys)?, condition, values: None })
    }

    /// Puts an item whether or not it exists.
    pub(crate) fn put(key: Key, row: &impl Serialize) -> Result<Self, TableError> {
        Ok(Self::Put { item: item(key, row, Vec::new())?, condition: None, values: None })
    }

    /// Replaces an item that has the given version, which the condition calls `:version`.
    pub(crate) fn replace(
        key: Key,
        row: &impl Serialize,
        index_keys: Vec<IndexKey>,
        condition: &'static str,
        version: u64,
    ) -> Result<Self, TableError> {
        let values = Values::new().set(":version", version);
        Self::put_if(key, row, index_keys, condition, values)
    }

    /// Puts an item if the condition holds for the item that it replaces.
    pub(crate) fn put_if(
        key: Key,
        row: &impl Serialize,
        index_keys: Vec<IndexKey>,
        condition: &'static str,
        values: Values,
    ) -> Result<Self, TableError> {
        Ok(Self::Put { item: item(key, row, index_keys)?, condition: Some(condition), values: Some(values) })
    }

    pub(super) fn build(self, table: &str) -> Result<TransactWriteItem, BuildError> {
        let items = TransactWriteItem::builder();
        Ok(match self {
            Self::Put { item, condition, values } => items.put(
                Put::builder()
                    .table_name(table)
                    .set_item(Some(item))
                    .set_condition_expression(condition.map(str::to_owned))
                    .set_expression_attribute_values(values.map(Values::into_item))
                    .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld)
                    .build()?,
            ),
            Self::Update { key, change } => items.update(
                Update::builder()
                    .table_name(table)
                    .set_key(Some(key.attributes()))
                    .update_expression(change.expression)
                    .set_condition_expression(change.condition.map(str::to_owned))
                    .set_expression_attribute_names(change.names)
                    .set_expression_attribute_values(Some(change.values.into_item()))
                    .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld)
                    .build()?,
            ),
            Self::Delete { key } => {
                items.delete(Delete::builder().table_name(table).set_key(Some(key.attributes())).build()?)
            }
            Self::DeleteIf { key, condition, names, values } => items.delete(
                Delete::builder()
                    .table_name(table)
                    .set_key(Some(key.attributes()))
                    .condition_expression(condition)
                    .set_expression_attribute_names(names)
                    .set_expression_attribute_values(values.map(Values::into_item))
                    .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld)
                    .build()?,
            ),
            Self::Check { key, condition, values } => items.condition_check(
                ConditionCheck::builder()
                    .table_name(table)
                    .set_key(Some(key.attributes()))
                    .condition_expression(condition)
                    .set_expression_attribute_values(values.map(Values::into_item))
                    .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld)
                    .build()?,
            ),
        }
        .build())
    }
}

/// The key of an item in an index.
#[derive(Clone, Debug)]
pub(crate) struct IndexKey {
    pub(crate) index: Index,
    pub(crate) partition: String,
    pub(crate) sort: String,
}

fn item(key: Key, row: &impl Serialize, index_keys: Vec<IndexKey>) -> Result<Item, TableError> {
    let mut item: Item = serde_dynamo::to_item(row)?;
    item.extend(key.attributes());
    for IndexKey { index, partition, sort } in index_keys {
        let (pk, sk) = index.key_attributes();
        item.insert(pk.to_owned(), AttributeValue::S(partition));
        item.insert(sk.to_owned(), AttributeValue::S(sort));
    }
    Ok(item)
}
