//! The limiter's decision about a request.

use std::time::Duration;

use crate::clock::Timestamp;
use crate::error::{Error, ErrorCode};
use crate::model::{MICROS_PER_MINUTE, Quota, State};
use crate::table::TableError;

/// The limiter's decision about a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// The rate limit that the request was decided by.
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
    /// Whether the request is refused without a proof that a limit is reached.
    pub contended: bool,
}

/// The instant for which a request is decided.
#[derive(Clone, Copy, Debug, Hash, PartialEq, Eq)]
pub(crate) struct Instant {
    pub(crate) micros: i64,
    /// Minutes since the Unix epoch.
    pub(crate) minute: i64,
}

impl From<Timestamp> for Instant {
    fn from(time: Timestamp) -> Self {
        let micros = time.as_millis() * 1000;
        Self { micros, minute: micros.div_euclid(MICROS_PER_MINUTE) }
    }
}

impl Instant {
    pub(crate) fn end_of_minute(self) -> i64 {
        (self.minute + 1) * MICROS_PER_MINUTE
    }
}

impl Verdict {
    /// Returns the decision that a state at an instant stands for.
    pub(crate) fn new(quota: Quota, state: Option<&State>, now: Instant, refused_for: Option<u64>) -> Self {
        let used = state.map_or(0, |state| state.used(now.minute));
        let ahead = state.map_or(0, |state| state.tat - now.micros).max(0);
        let taken = u32::try_from(div_ceil(ahead, quota.interval())).unwrap_or(u32::MAX);
        let reset = (now.minute + 1) * 60;
        Self {
            quota,
            remaining: quota.per_minute.saturating_sub(used),
            burst_remaining: quota.burst.saturating_sub(taken),
            reset,
            reset_after: reset - now.micros.div_euclid(1_000_000),
            refused_for,
            contended: false,
        }
    }

    /// Returns nothing for an admitted request. `what` names the limit.
    ///
    /// # Errors
    /// Fails with `rate_limited` if the request is refused.
    pub(crate) fn check(&self, what: &str) -> Result<(), Error> {
        let Some(seconds) = self.refused_for else { return Ok(()) };
        let Quota { per_minute, burst } = self.quota;
        let error = if self.contended {
            let message = format!("Too many requests at once count against the {what}; try again");
            Error::new(ErrorCode::RateLimited, message).because(TableError::Contended)
        } else {
            let message = format!("The {what} of {per_minute} requests a minute and {burst} at once is exhausted");
            Error::new(ErrorCode::RateLimited, message)
        };
        Err(error.retry_after(seconds))
    }

    /// Adds admissions that are taken and not used yet.
    pub(crate) fn with_unused(self, count: u32) -> Self {
        Self { remaining: self.remaining + count, burst_remaining: self.burst_remaining + count, ..self }
    }
}

fn div_ceil(value: i64, by: i64) -> i64 {
    (value + by - 1).div_euclid(by)
}

/// Returns the seconds until a retry can succeed, if the state proves that a request of this instant must be refused.
/// `unused` admissions of the minute can be given back to it. The proof holds for all later states, except for what others
/// give back to the minute.
pub(crate) fn refusal(state: Option<&State>, quota: Quota, now: Instant, unused: u32) -> Option<u64> {
    let state = state?;
    let minute_full = state.used(now.minute).saturating_sub(unused) >= quota.per_minute;
    let bucket_free_at = state.tat - quota.tolerance();
    let retry_at = match (minute_full, bucket_free_at > now.micros) {
        (false, false) => return None,
        (true, _) => bucket_free_at.max(now.end_of_minute()),
        (false, true) => bucket_free_at,
    };
    let wait = Duration::from_micros((retry_at - now.micros).max(1).unsigned_abs());
    Some(wait.as_micros().div_ceil(1_000_000) as u64)
}
