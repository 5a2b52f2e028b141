//! The conditional write that takes admissions from an item.

use std::collections::HashMap;

use aws_sdk_dynamodb::types::AttributeValue;

use super::verdict::Instant;
use crate::model::{Quota, State};
use crate::table::Change;

/// One conditional write that takes admissions.
#[derive(Clone, Debug, Hash, PartialEq, Eq)]
pub(super) struct Take {
    pub(super) quota: Quota,
    pub(super) now: Instant,
    /// The number of admissions. More than one are a lease.
    pub(super) count: u32,
    /// The number of admissions of a lapsed lease of this minute that were not used, and which this write gives back.
    pub(super) returned: u32,
    pub(super) bucket: Bucket,
    /// The counted minutes that are over, whose attributes the write removes.
    pub(super) over: Vec<i64>,
    pub(super) attempt: Attempt,
}

/// The state of the bucket that a write expects.
#[derive(Clone, Copy, Debug, Hash, PartialEq, Eq)]
pub(super) enum Bucket {
    /// The item does not exist, or `tat` is not after the arrival.
    Full,
    /// `tat` is not before the arrival.
    InUse,
}

#[derive(Clone, Copy, Debug, Hash, PartialEq, Eq)]
pub(super) enum Attempt {
    First,
    Second,
}

impl Take {
    /// Returns the latest time at which the admissions may be used. The bucket counts them as if they arrived then.
    pub(super) fn arrival(&self) -> i64 {
        match self.count {
            1 => self.now.micros,
            _ => self.now.micros + self.quota.lease_micros(),
        }
    }

    fn increment(&self) -> i64 {
        i64::from(self.count) * self.quota.interval()
    }

    /// Returns the greatest `tat` that the bucket allows before the write.
    fn latest(&self) -> i64 {
        self.now.micros + self.quota.capacity() - self.increment()
    }

    /// Returns the change of the minute's number.
    pub(super) fn counted(&self) -> i64 {
        i64::from(self.count) - i64::from(self.returned)
    }

    /// Returns the greatest number of admissions that the minute allows before the write.
    fn most(&self) -> i64 {
        i64::from(self.quota.per_minute) - self.counted()
    }

    pub(super) fn change(&self) -> Change {
        let (tat, condition) = match self.bucket {
            Bucket::Full => (
                ":after",
                "(attribute_not_exists(tat) OR tat <= :arrival) AND (attribute_not_exists(#used) OR #used <= :most)",
            ),
            Bucket::InUse => (
                "tat + :increment",
                "tat BETWEEN :arrival AND :latest AND (attribute_not_exists(#used) OR #used <= :most)",
            ),
        };
        let mut names = HashMap::from([("#used".to_owned(), State::attribute(self.now.minute))]);
        let mut remove = String::new();
        for (at, minute) in self.over.iter().enumerate() {
            remove.push_str(if at == 0 { " REMOVE " } else { ", " });
            remove.push_str(&format!("#over{at}"));
            names.insert(format!("#over{at}"), State::attribute(*minute));
        }
        // The item expires an hour after both limits have forgotten the request, so that its deletion by TTL never
        // admits too many.
        let expires_at = (self.now.micros + self.quota.capacity()).max(self.now.end_of_minute()) / 1_000_000 + 3600;
        let values = [
            (":zero", 0),
            (":counted", self.counted()),
            (":most", self.most()),
            (":arrival", self.arrival()),
            (":expires_at", expires_at),
        ];
        // DynamoDB refuses values that the expression does not use.
        let of_bucket: &[_] = match self.bucket {
            Bucket::Full => &[(":after", self.arrival() + self.increment())],
            Bucket::InUse => &[(":increment", self.increment()), (":latest", self.latest())],
        };
        let value = |(name, value): &(&str, i64)| ((*name).to_owned(), AttributeValue::N(value.to_string()));
        Change {
            expression: format!(
                "SET tat = {tat}, #used = if_not_exists(#used, :zero) + :counted, expires_at = :expires_at{remove}"
            ),
            condition: Some(condition),
            names: Some(names),
            values: values.iter().chain(of_bucket).map(value).collect(),
        }
    }

    /// Returns the item after the write, or nothing if the condition does not hold. The tests use it in place of the table.
    #[cfg(test)]
    pub(super) fn apply(&self, state: Option<&State>) -> Option<State> {
        let bucket = match (self.bucket, state) {
            (Bucket::Full, state) => state.is_none_or(|state| state.tat <= self.arrival()),
            (Bucket::InUse, Some(state)) => (self.arrival()..=self.latest()).contains(&state.tat),
            (Bucket::InUse, None) => false,
        };
        let used = state.map_or(0, |state| state.used(self.now.minute));
        if !bucket || i64::from(used) > self.most() {
            return None;
        }
        let tat = match (self.bucket, state) {
            (Bucket::InUse, Some(state)) => state.tat + self.increment(),
            _ => self.arrival() + self.increment(),
        };
        let mut minutes = state.map_or_else(Vec::new, |state| state.minutes.clone());
        minutes.retain(|(minute, _)| *minute != self.now.minute && !self.over.contains(minute));
        minutes.push((self.now.minute, (i64::from(used) + self.counted()).try_into().expect("the count is in range")));
        minutes.sort_unstable();
        Some(State { tat, minutes })
    }
}
