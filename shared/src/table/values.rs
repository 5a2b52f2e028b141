//! Values in expressions.

use aws_sdk_dynamodb::types::AttributeValue;
use serde::Serialize;

use super::error::TableError;
use super::item::Item;
use crate::clock::Timestamp;

/// The values of an expression, by their placeholders.
#[derive(Clone, Debug, Default)]
pub(crate) struct Values(Item);

/// A value of an expression.
#[derive(Debug)]
pub(crate) struct Value(AttributeValue);

impl Values {
    pub(crate) fn new() -> Self {
        Self::default()
    }

    /// Adds the value of a placeholder, such as `:now`.
    pub(crate) fn set(mut self, placeholder: impl Into<String>, value: impl Into<Value>) -> Self {
        self.0.insert(placeholder.into(), value.into().0);
        self
    }

    /// Adds the value of a placeholder that the expression has only if there is a value.
    pub(crate) fn set_if(self, placeholder: impl Into<String>, value: Option<impl Into<Value>>) -> Self {
        match value {
            Some(value) => self.set(placeholder, value),
            None => self,
        }
    }

    pub(super) fn into_item(self) -> Item {
        self.0
    }
}

impl<V: Into<Value>> FromIterator<(String, V)> for Values {
    fn from_iter<I: IntoIterator<Item = (String, V)>>(values: I) -> Self {
        Self(values.into_iter().map(|(placeholder, value)| (placeholder, value.into().0)).collect())
    }
}

impl Value {
    /// Returns a set of one string, to be added to a set or deleted from it.
    pub(crate) fn set_of(text: impl ToString) -> Self {
        Self(AttributeValue::Ss(vec![text.to_string()]))
    }

    /// Returns a set of strings, which must not be empty.
    pub(crate) fn set(texts: impl IntoIterator<Item = String>) -> Self {
        Self(AttributeValue::Ss(texts.into_iter().collect()))
    }

    /// Returns a binary value.
    pub(crate) fn bytes(bytes: Vec<u8>) -> Self {
        Self(AttributeValue::B(bytes.into()))
    }

    /// Returns the value as which a row has `part`.
    pub(crate) fn of(part: &impl Serialize) -> Result<Self, TableError> {
        Ok(Self(serde_dynamo::to_attribute_value(part)?))
    }
}

impl From<AttributeValue> for Value {
    fn from(value: AttributeValue) -> Self {
        Self(value)
    }
}

impl From<bool> for Value {
    fn from(value: bool) -> Self {
        Self(AttributeValue::Bool(value))
    }
}

impl From<String> for Value {
    fn from(text: String) -> Self {
        Self(AttributeValue::S(text))
    }
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Self(AttributeValue::S(text.to_owned()))
    }
}

/// A time is in milliseconds, as in rows.
impl From<Timestamp> for Value {
    fn from(time: Timestamp) -> Self {
        time.as_millis().into()
    }
}

macro_rules! numbers {
    ($($number:ty),+) => {
        $(
            impl From<$number> for Value {
                fn from(number: $number) -> Self {
                    Self(AttributeValue::N(number.to_string()))
                }
            }
        )+
    };
}

numbers!(i8, i32, i64, u8, u32, u64, usize);
