//! Whole numbers in requests, with their bounds, and fields that may be absent.

use serde::{Deserialize, Deserializer, Serialize};

/// The largest whole number that the document's format `int64` allows.
pub const LARGEST: u64 = i64::MAX as u64;

/// A whole number in a query string, from `MIN` to `MAX`.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(try_from = "String")]
pub struct Number<const MIN: u64, const MAX: u64, const DEFAULT: u64>(u64);

impl<const MIN: u64, const MAX: u64, const DEFAULT: u64> Number<MIN, MAX, DEFAULT> {
    /// Returns the number, from `MIN` to `MAX`.
    pub fn get(self) -> u64 {
        self.0
    }
}

impl<const MIN: u64, const MAX: u64, const DEFAULT: u64> Default for Number<MIN, MAX, DEFAULT> {
    fn default() -> Self {
        Self(DEFAULT)
    }
}

impl<const MIN: u64, const MAX: u64, const DEFAULT: u64> TryFrom<String> for Number<MIN, MAX, DEFAULT> {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        match text.parse() {
            Ok(number) if (MIN..=MAX).contains(&number) => Ok(Self(number)),
            _ => Err(format!("must be a whole number from {MIN} to {MAX}")),
        }
    }
}

/// A whole number in a body, from `MIN` to `MAX`, both of which `T` holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "serde_json::Value")]
#[serde(bound(deserialize = "T: TryFrom<u64>"))]
pub struct Whole<T, const MIN: u64, const MAX: u64>(T);

impl<T, const MIN: u64, const MAX: u64> Whole<T, MIN, MAX> {
    /// Returns the number, from `MIN` to `MAX`.
    pub fn get(self) -> T {
        self.0
    }
}

impl<T: TryFrom<u64>, const MIN: u64, const MAX: u64> TryFrom<serde_json::Value> for Whole<T, MIN, MAX> {
    type Error = String;

    fn try_from(value: serde_json::Value) -> Result<Self, String> {
        let number = value.as_u64().filter(|number| (MIN..=MAX).contains(number));
        let number = number.and_then(|number| T::try_from(number).ok());
        number.map(Self).ok_or_else(|| format!("must be a whole number from {MIN} to {MAX}"))
    }
}

/// Reads a field that may be absent, but not null unless `T` takes it.
///
/// # Errors
/// Fails if the value does not fit `T`.
pub fn given<'de, D: Deserializer<'de>, T: Deserialize<'de>>(deserializer: D) -> Result<Option<T>, D::Error> {
    T::deserialize(deserializer).map(Some)
}
