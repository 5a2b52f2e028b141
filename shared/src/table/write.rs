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
        names: Option<HashMap<String, String>>,
        values: Option<Values>,
    },
}

impl Write {
    /// Puts an item that must not exist yet.
    pub(crate) fn create(key: Key, row: &impl Serialize, index_keys: Vec<IndexKey>) -> Result<Self, TableError> {
        let condition = Some("attribute_not_exists(pk)");
        Ok(Self::Put { item: item(key, row, index_keys)?, condition, values: None })
    }

    /// Puts an item with the attributes of another one, which must not exist yet.
    pub(crate) fn create_like(other: Item, key: Key, index_keys: Vec<IndexKey>) -> Self {
        let condition = Some("attribute_not_exists(pk)");
        Self::Put { item: with_keys(other, key, index_keys), condition, values: None }
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

    /// Deletes an item that has the given version, which the condition calls `:version`.
    pub(crate) fn delete(key: Key, condition: &'static str, version: u64) -> Self {
        Self::DeleteIf { key, condition, names: None, values: Some(Values::new().set(":version", version)) }
    }

    /// Returns whether the write is one of the item with this key.
    pub(super) fn is_of(&self, key: &Key) -> bool {
        match self {
            Self::Put { item, .. } => key.is_of(item),
            Self::Update { key: own, .. }
            | Self::Delete { key: own }
            | Self::DeleteIf { key: own, .. }
            | Self::Check { key: own, .. } => own == key,
        }
    }

    /// Builds the write, whose condition the guard extends.
    pub(super) fn build(self, table: &str, guard: Option<Guard>) -> Result<TransactWriteItem, BuildError> {
        let items = TransactWriteItem::builder();
        let old = ReturnValuesOnConditionCheckFailure::AllOld;
        Ok(match self {
            Self::Put { item, condition, values } => {
                let Terms { condition, names, values } = Terms::new(condition, None, values).and(guard);
                items.put(
                    Put::builder()
                        .table_name(table)
                        .set_item(Some(item))
                        .set_condition_expression(condition)
                        .set_expression_attribute_names(names)
                        .set_expression_attribute_values(values)
                        .return_values_on_condition_check_failure(old)
                        .build()?,
                )
            }
            Self::Update { key, change } => {
                let Terms { condition, names, values } =
                    Terms::new(change.condition, change.names, Some(change.values)).and(guard);
                items.update(
                    Update::builder()
                        .table_name(table)
                        .set_key(Some(key.attributes()))
                        .update_expression(change.expression)
                        .set_condition_expression(condition)
                        .set_expression_attribute_names(names)
                        .set_expression_attribute_values(values)
                        .return_values_on_condition_check_failure(old)
                        .build()?,
                )
            }
            Self::Delete { key } => items.delete(Terms::new(None, None, None).and(guard).delete(key, table)?),
            Self::DeleteIf { key, condition, names, values } => {
                items.delete(Terms::new(Some(condition), names, values).and(guard).delete(key, table)?)
            }
            Self::Check { key, condition, names, values } => {
                let Terms { condition, names, values } = Terms::new(Some(condition), names, values).and(guard);
                items.condition_check(
                    ConditionCheck::builder()
                        .table_name(table)
                        .set_key(Some(key.attributes()))
                        .set_condition_expression(condition)
                        .set_expression_attribute_names(names)
                        .set_expression_attribute_values(values)
                        .return_values_on_condition_check_failure(old)
                        .build()?,
                )
            }
        }
        .build())
    }
}

/// A condition on an item that a whole transaction depends on, whether or not the transaction writes the item.
///
/// The placeholders start with `:guard_` and `#guard_`, so that they differ from those of any write.
#[derive(Clone, Debug)]
pub(crate) struct Guard {
    pub(crate) key: Key,
    pub(crate) condition: &'static str,
    pub(crate) names: Option<HashMap<String, String>>,
    pub(crate) values: Values,
}

/// A condition with its names and values, as the SDK takes them.
struct Terms {
    condition: Option<String>,
    names: Option<HashMap<String, String>>,
    values: Option<Item>,
}

impl Terms {
    fn new(condition: Option<&str>, names: Option<HashMap<String, String>>, values: Option<Values>) -> Self {
        let values = values.map(Values::into_item).filter(|values| !values.is_empty());
        Self { condition: condition.map(str::to_owned), names, values }
    }

    fn and(self, guard: Option<Guard>) -> Self {
        let Some(guard) = guard else { return self };
        let condition = match self.condition {
            Some(condition) => format!("({condition}) AND ({})", guard.condition),
            None => guard.condition.to_owned(),
        };
        let names: HashMap<_, _> = self.names.into_iter().chain(guard.names).flatten().collect();
        let values: Item = self.values.into_iter().chain([guard.values.into_item()]).flatten().collect();
        Self {
            condition: Some(condition),
            names: Some(names).filter(|names| !names.is_empty()),
            values: Some(values).filter(|values| !values.is_empty()),
        }
    }

    fn delete(self, key: Key, table: &str) -> Result<Delete, BuildError> {
        Delete::builder()
            .table_name(table)
            .set_key(Some(key.attributes()))
            .set_condition_expression(self.condition)
            .set_expression_attribute_names(self.names)
            .set_expression_attribute_values(self.values)
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld)
            .build()
    }
}

/// The key of an item in an index.
#[derive(Clone, Debug)]
pub(crate) struct IndexKey {
    pub(crate) index: Index,
    pub(crate) partition: String,
    pub(crate) sort: String,
}

pub(super) fn item(key: Key, row: &impl Serialize, index_keys: Vec<IndexKey>) -> Result<Item, TableError> {
    Ok(with_keys(serde_dynamo::to_item(row)?, key, index_keys))
}

fn with_keys(mut item: Item, key: Key, index_keys: Vec<IndexKey>) -> Item {
    item.extend(key.attributes());
    for IndexKey { index, partition, sort } in index_keys {
        let (pk, sk) = index.key_attributes();
        item.insert(pk.to_owned(), AttributeValue::S(partition));
        item.insert(sk.to_owned(), AttributeValue::S(sort));
    }
    item
}
