//! The write capacity of DynamoDB's partitions, which the embedded DynamoDB does not have.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// The writes of one item, of up to 1 KB, that DynamoDB takes in a second.
pub(crate) const WRITES_A_SECOND: u32 = 1_000;

/// The items of a table, each with a token bucket of a second's writes.
#[derive(Debug, Default)]
pub(crate) struct Partition {
    /// The time at which the bucket of each item is full again.
    full_at: Mutex<HashMap<String, Instant>>,
}

impl Partition {
    /// Counts a write of an item. Returns whether DynamoDB takes it.
    pub(crate) fn takes(&self, item: &str, now: Instant) -> bool {
        let mut full_at = self.full_at.lock().unwrap_or_else(PoisonError::into_inner);
        let full_at = full_at.entry(item.to_owned()).or_insert(now);
        let after = (*full_at).max(now) + Duration::from_secs(1) / WRITES_A_SECOND;
        let taken = after <= now + Duration::from_secs(1);
        if taken {
            *full_at = after;
        }
        taken
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_item_takes_a_second_of_writes_at_once_and_then_one_each_millisecond() {
        let (partition, now) = (Partition::default(), Instant::now());
        let taken = |item, now| (0..2_000).filter(|_| partition.takes(item, now)).count();
        assert_eq!((taken("one", now), taken("another", now)), (1_000, 1_000));
        assert_eq!(taken("one", now + Duration::from_millis(10)), 10);
        assert_eq!(taken("one", now + Duration::from_secs(5)), 1_000);
    }
}
