//! Rate limits: at most `per_minute` requests in a clock minute, and never more than a token bucket of `burst` allows,
//! which is refilled at `per_minute / 60` a second. Both limits hold for any number of functions that admit
//! concurrently.
//!
//! One item per subject has the minute (`window_minute`), the requests admitted in it (`used`) and the bucket as a theoretical
//! arrival time (`tat`, the GCRA of ITU-T I.371: the moment at which the bucket will be full again). An admission is one
//! UpdateItem whose condition repeats the decision, so a state that moved meanwhile refuses it and comes back with
//! the refusal:
//!
//! | last seen | update | condition |
//! |---|---|---|
//! | this minute, bucket in use | `used + 1`, `tat + T` | same minute, `used < limit`, `now <= tat <= now + (burst - 1) T` |
//! | this minute, bucket full | `used + 1`, `tat = now + T` | same minute, `used < limit`, `tat <= now` |
//! | an earlier minute, bucket in use | `used = 1`, `tat + T` | earlier minute, `now <= tat <= now + (burst - 1) T` |
//! | an earlier minute, bucket full, or nothing | `used = 1`, `tat = now + T` | no item, or earlier minute and `tat <= now` |
//!
//! A bucket that seems full may have been used by other functions since it was seen. A two-bit counter, like a
//! processor's branch predictor, records which was the case the last times, and the guess follows it. A wrong guess
//! costs a second write and never a wrong answer.
//!
//! `T` is the time in which one token returns to the bucket. `window_minute` and `tat` only grow, and `used` only grows
//! within its window. Therefore a refusal that an old state proves is still right and costs no call. For the same
//! reason the order of the writes matters, and not the writers' clocks: of any two admissions, `k` places apart in that
//! order, the later one's own clock shows at least `(k + 1 - burst) T` more than the earlier one's. An admission by a
//! clock that is behind counts in the minute of the item.

use std::num::NonZeroUsize;
use std::time::Duration;

use aws_sdk_dynamodb::types::AttributeValue;

use crate::cache::Cache;
use crate::clock::{Clock, Timestamp};
use crate::model::{MICROS_PER_MINUTE, Quota, State, Subject, key};
use crate::table::{Change, ConditionFailed, Consistency, Item, Table, TableError, read_item};

/// The maximum number of cached states in one execution environment, about 100 bytes each.
const REMEMBERED: NonZeroUsize = NonZeroUsize::new(10_000).unwrap();
/// The maximum number of attempts. A failed condition means that another request was admitted or that a minute began.
/// So many failures in a row for one request mean a fault.
const MAX_ATTEMPTS: usize = 64;

/// The limiter's decision about a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Verdict {
    pub quota: Quota,
    /// The number of requests left of `per_minute`.
    pub remaining: u32,
    /// The number of tokens left in the bucket.
    pub burst_remaining: u32,
    /// The second since the Unix epoch at which the minute ends.
    pub reset: i64,
    /// The seconds until the minute ends.
    pub reset_after: i64,
    /// The seconds until a retry can succeed, if the request is refused.
    pub refused_for: Option<u64>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Now {
    micros: i64,
    window: i64,
}

impl Now {
    fn at(time: Timestamp, seen: Option<State>) -> Self {
        let micros = time.as_millis() * 1000;
        let own = micros.div_euclid(MICROS_PER_MINUTE);
        Self { micros, window: seen.map_or(own, |state| state.window.max(own)) }
    }
}

impl Verdict {
    fn new(quota: Quota, seen: Option<State>, time: Timestamp, refused_for: Option<u64>) -> Self {
        let now = Now::at(time, seen);
        let used = seen.filter(|state| state.window == now.window).map_or(0, |state| state.used);
        let ahead = seen.map_or(0, |state| state.tat - now.micros).max(0);
        let taken = (ahead + quota.interval() - 1) / quota.interval();
        let reset = (now.window + 1) * 60;
        Self {
            quota,
            remaining: quota.per_minute.saturating_sub(used),
            burst_remaining: quota.burst.saturating_sub(u32::try_from(taken).unwrap_or(u32::MAX)),
            reset,
            reset_after: reset - time.as_seconds(),
            refused_for,
        }
    }
}

/// The update that an admission needs, by the last seen state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Branch {
    SameMinuteBucketInUse,
    SameMinuteBucketFull,
    NewMinuteBucketInUse,
    NewMinuteBucketFull,
}

impl Branch {
    /// Guesses the branch. `expects_others` is whether other functions are expected to use a bucket that seems full.
    fn guess(seen: Option<State>, now: Now, expects_others: bool) -> Self {
        let Some(state) = seen else { return Self::NewMinuteBucketFull };
        match (state.window == now.window, state.tat > now.micros || expects_others) {
            (true, true) => Self::SameMinuteBucketInUse,
            (true, false) => Self::SameMinuteBucketFull,
            (false, true) => Self::NewMinuteBucketInUse,
            (false, false) => Self::NewMinuteBucketFull,
        }
    }

    fn expressions(self) -> (&'static str, &'static str) {
        match self {
            Self::SameMinuteBucketInUse => (
                "SET used = used + :one, tat = tat + :interval, expires_at = :expires_at",
                "window_minute = :window AND used < :limit AND tat BETWEEN :now AND :latest",
            ),
            Self::SameMinuteBucketFull => (
                "SET used = used + :one, tat = :now + :interval, expires_at = :expires_at",
                "window_minute = :window AND used < :limit AND tat <= :now",
            ),
            Self::NewMinuteBucketInUse => (
                "SET window_minute = :window, used = :one, tat = tat + :interval, expires_at = :expires_at",
                "window_minute < :window AND tat BETWEEN :now AND :latest",
            ),
            Self::NewMinuteBucketFull => (
                "SET window_minute = :window, used = :one, tat = :now + :interval, expires_at = :expires_at",
                "attribute_not_exists(tat) OR (window_minute < :window AND tat <= :now)",
            ),
        }
    }

    fn change(self, quota: Quota, now: Now) -> Change {
        let (expression, condition) = self.expressions();
        let latest = now.micros + quota.tolerance();
        // The item expires an hour after both limits have forgotten the request, so that its deletion by TTL never
        // admits too many.
        let expires_at = latest.max((now.window + 1) * MICROS_PER_MINUTE) / 1_000_000 + 3600;
        let mut values = vec![
            (":one", 1),
            (":now", now.micros),
            (":window", now.window),
            (":interval", quota.interval()),
            (":expires_at", expires_at),
        ];
        // DynamoDB refuses values that the expression does not use.
        if matches!(self, Self::SameMinuteBucketInUse | Self::SameMinuteBucketFull) {
            values.push((":limit", i64::from(quota.per_minute)));
        }
        if matches!(self, Self::SameMinuteBucketInUse | Self::NewMinuteBucketInUse) {
            values.push((":latest", latest));
        }
        let value = |(name, value): (&str, i64)| (name.to_owned(), AttributeValue::N(value.to_string()));
        Change {
            expression: expression.to_owned(),
            condition: Some(condition),
            names: None,
            values: values.into_iter().map(value).collect(),
        }
    }
}

/// Returns the seconds until a retry can succeed, if the state already proves that this request must be refused.
fn refusal(seen: Option<State>, quota: Quota, now: Now) -> Option<u64> {
    let state = seen?;
    let minute_full = state.window == now.window && state.used >= quota.per_minute;
    let bucket_free_at = state.tat - quota.tolerance();
    let retry_at = match (minute_full, bucket_free_at > now.micros) {
        (false, false) => return None,
        (true, _) => bucket_free_at.max((now.window + 1) * MICROS_PER_MINUTE),
        (false, true) => bucket_free_at,
    };
    Some(Duration::from_micros((retry_at - now.micros).max(1).unsigned_abs()).as_micros().div_ceil(1_000_000) as u64)
}

/// The limiter of one execution environment. Caches the last seen state of each subject.
#[derive(Debug)]
pub struct Limiter {
    table: Table,
    clock: Clock,
    seen: Cache<Subject, Seen>,
}

/// The cached state of a subject.
#[derive(Clone, Copy, Debug)]
struct Seen {
    state: State,
    others: Others,
}

/// A two-bit counter that predicts whether others use a bucket that seems full: 0 and 1 for no, 2 and 3 for yes.
#[derive(Clone, Copy, Debug)]
struct Others(u8);

impl Others {
    /// A single surprise is enough to assume other callers.
    const UNKNOWN: Self = Self(1);

    fn expected(self) -> bool {
        self.0 >= 2
    }

    fn learn(&mut self, in_use: bool) {
        self.0 = if in_use { (self.0 + 1).min(3) } else { self.0.saturating_sub(1) };
    }
}

impl Limiter {
    pub fn new(table: Table, clock: Clock) -> Self {
        Self { table, clock, seen: Cache::new(REMEMBERED) }
    }

    /// Counts a request, or refuses it. Needs one write in the common case, and none for a refusal that the last seen
    /// state proves.
    pub async fn admit(&self, subject: &Subject, quota: Quota) -> Result<Verdict, TableError> {
        let mut seen = self.last_seen(subject);
        for attempt in 0..MAX_ATTEMPTS {
            let time = self.clock.now();
            let now = Now::at(time, seen);
            if let Some(seconds) = refusal(seen, quota, now) {
                return Ok(Verdict::new(quota, seen, time, Some(seconds)));
            }
            let seems_full = attempt == 0 && seen.is_some_and(|state| state.tat <= now.micros);
            let expects_others = seems_full && self.expects_others(subject);
            let change = Branch::guess(seen, now, expects_others).change(quota, now);
            let updated = self.table.update(key::rate_limit(subject), change).await?;
            let admitted = updated.is_ok();
            let state = match updated {
                Ok(item) | Err(ConditionFailed { current: Some(item) }) => Some(self.remember(subject, item)?),
                Err(ConditionFailed { current: None }) => self.forget(subject),
            };
            if seems_full {
                let moved_on = state.is_some_and(|state| state.tat > now.micros);
                self.learn(subject, if admitted { expects_others } else { moved_on });
            }
            if admitted {
                return Ok(Verdict::new(quota, state, time, None));
            }
            seen = state;
        }
        Err(TableError::Contended)
    }

    /// Returns the state of the subject without counting a request.
    pub async fn peek(&self, subject: &Subject, quota: Quota) -> Result<Verdict, TableError> {
        let state = self.table.get(key::rate_limit(subject), Consistency::Strong).await?;
        Ok(Verdict::new(quota, state, self.clock.now(), None))
    }

    /// Returns the last seen state of the subject, without a call.
    pub fn recall(&self, subject: &Subject, quota: Quota) -> Verdict {
        Verdict::new(quota, self.last_seen(subject), self.clock.now(), None)
    }

    /// Returns whether [`Limiter::admit`] would refuse without a call.
    pub fn refuses(&self, subject: &Subject, quota: Quota) -> bool {
        let seen = self.last_seen(subject);
        refusal(seen, quota, Now::at(self.clock.now(), seen)).is_some()
    }

    /// Returns the state of a subject after its last request here, whether the table admitted or refused it.
    pub fn last_seen(&self, subject: &Subject) -> Option<State> {
        self.seen.get(subject).map(|seen| seen.state)
    }

    fn expects_others(&self, subject: &Subject) -> bool {
        self.seen.get(subject).is_some_and(|seen| seen.others.expected())
    }

    fn learn(&self, subject: &Subject, in_use: bool) {
        self.seen.change(subject, |seen| seen.others.learn(in_use));
    }

    fn remember(&self, subject: &Subject, item: Item) -> Result<State, TableError> {
        Ok(self.observe(subject, read_item(item)?))
    }

    /// Stores a state that another read returned, so that the next guess has it. Keeps and returns the later state,
    /// which has the later `tat`.
    pub(crate) fn observe(&self, subject: &Subject, state: State) -> State {
        let first = Seen { state, others: Others::UNKNOWN };
        let latest = self.seen.change_or_insert(subject.clone(), first, |latest| {
            if state.tat > latest.state.tat {
                latest.state = state;
            }
        });
        latest.state
    }

    fn forget(&self, subject: &Subject) -> Option<State> {
        self.seen.remove(subject);
        None
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Returns the state after an admission, without checking the conditions of the table.
    fn admitted(seen: Option<State>, quota: Quota, now: Now) -> State {
        let tat = seen.map_or(now.micros, |state| state.tat.max(now.micros)) + quota.interval();
        match seen.filter(|state| state.window == now.window) {
            Some(state) => State { used: state.used + 1, tat, ..state },
            None => State { window: now.window, used: 1, tat },
        }
    }

    proptest! {
        /// The exact model: the admitted requests, each with its time.
        #[test]
        fn both_bounds_hold_and_nothing_is_refused_early(
            per_minute in 1u32..200,
            burst in 1u32..50,
            gaps in prop::collection::vec(0i64..3000, 1..400),
        ) {
            let quota = Quota { per_minute, burst };
            let mut seen = None;
            let mut millis = 1_800_000_000_000i64;
            let mut tokens_at = (i64::from(burst) * quota.interval(), millis * 1000);
            let mut in_minute = (0i64, 0u32);
            for gap in gaps {
                millis += gap;
                let now = Now::at(Timestamp::from_millis(millis), seen);
                // The bucket's tokens in units of their interval, refilled by the elapsed time.
                let refilled = (tokens_at.0 + now.micros - tokens_at.1).min(i64::from(burst) * quota.interval());
                let minute = millis.div_euclid(60_000);
                let used = if in_minute.0 == minute { in_minute.1 } else { 0 };
                let allowed = refilled >= quota.interval() && used < per_minute;
                let refused = refusal(seen, quota, now);
                prop_assert_eq!(refused.is_none(), allowed);
                tokens_at = (refilled, now.micros);
                in_minute = (minute, used);
                if let Some(seconds) = refused {
                    // A retry at the told time is admitted; a second earlier it is refused.
                    let later = |s: u64| {
                        let time = Timestamp::from_millis(millis).plus(Duration::from_secs(s));
                        refusal(seen, quota, Now::at(time, seen))
                    };
                    prop_assert_eq!(later(seconds), None);
                    prop_assert!(later(seconds - 1).is_some());
                } else {
                    tokens_at.0 -= quota.interval();
                    in_minute.1 += 1;
                    seen = Some(admitted(seen, quota, now));
                }
            }
        }
    }

    proptest! {
        /// The numbers left in a verdict are those that the client can send at once, and no number is out of range.
        #[test]
        fn what_is_left_is_what_is_admitted(
            (per_minute, burst) in (1u32..200, 1u32..50),
            (window, used, ahead) in (-2i64..=1, 0u32..250, -90_000_000i64..90_000_000),
            millis in 0i64..60_000,
            never_seen in prop::bool::weighted(0.1),
        ) {
            let quota = Quota { per_minute, burst };
            let time = Timestamp::from_millis(1_800_000_000_000 + millis);
            let minute = time.as_seconds().div_euclid(60);
            let state = State { window: minute + window, used, tat: time.as_millis() * 1000 + ahead };
            let mut seen = (!never_seen).then_some(state);
            let told = Verdict::new(quota, seen, time, None);
            prop_assert!(told.remaining <= per_minute && told.burst_remaining <= burst);
            prop_assert_eq!(told.reset, (minute + 1 + i64::from(window == 1 && !never_seen)) * 60);
            prop_assert_eq!(told.reset_after, told.reset - time.as_seconds());
            prop_assert!((1..=120).contains(&told.reset_after));
            let mut admissions = 0;
            while refusal(seen, quota, Now::at(time, seen)).is_none() {
                seen = Some(admitted(seen, quota, Now::at(time, seen)));
                admissions += 1;
            }
            prop_assert_eq!(admissions, told.remaining.min(told.burst_remaining));
        }
    }
}
