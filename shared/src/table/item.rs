//! Items, and the rows that are read from them.

use std::collections::{BTreeMap, HashMap};

use aws_sdk_dynamodb::types::AttributeValue;
use serde::de::value::MapDeserializer;
use serde::de::{DeserializeOwned, IntoDeserializer};

use super::error::TableError;

/// An item's attributes by their names.
pub type Item = HashMap<String, AttributeValue>;

/// The attributes of a counter.
pub type Numbers = BTreeMap<String, i64>;

/// Reads a row from an item. It deserializes from the SDK's hash map, where [`serde_dynamo::from_item`] would copy the map
/// first.
pub fn read_item<T: DeserializeOwned>(item: Item) -> Result<T, TableError> {
    let attributes = item.into_iter().map(|(name, value)| (name, Attribute(value)));
    Ok(T::deserialize(MapDeserializer::new(attributes))?)
}

pub(crate) fn read_items<T: DeserializeOwned>(items: Vec<Item>) -> Result<Vec<T>, TableError> {
    items.into_iter().map(read_item).collect()
}

struct Attribute(AttributeValue);

impl IntoDeserializer<'_, serde_dynamo::Error> for Attribute {
    type Deserializer = serde_dynamo::Deserializer;

    fn into_deserializer(self) -> Self::Deserializer {
        serde_dynamo::Deserializer::from_attribute_value(self.0.into())
    }
}
