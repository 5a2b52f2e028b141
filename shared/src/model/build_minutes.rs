//! Build minutes: the time that an account's deployments have run in a calendar month.
//!
//! The transaction that ends a run adds its time, so that each run counts once. A run counts in the month in which it ends. The bound
//! of a plan refuses new deployments and stops none, so that the deployments that exist when it is reached may exceed it.

use std::fmt;
use std::time::Duration;

use jiff::civil::Date;
use jiff::tz::TimeZone;
use serde::Deserialize;

use crate::clock::Timestamp;
use crate::error::{Error, ErrorCode, Result};
use crate::id::AccountId;
use crate::model::{Account, AccountPermits, key};
use crate::table::{Change, Consistency, Table, TableError, Values, Write, read_item};

/// The time for which the minutes of a month are kept, from the last run of the month.
const KEPT: Duration = Duration::from_secs(400 * 24 * 60 * 60);

/// A calendar month in UTC.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Month(Date);

/// The row of an account's build minutes in a month.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
pub struct BuildMinutes {
    /// The time of all runs, each rounded up to a whole second.
    #[serde(default)]
    pub seconds: u64,
}

/// The capacity that an account uses.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CapacityUsage {
    /// The account's permits.
    pub permits: AccountPermits,
    /// The build minutes of the current month.
    pub minutes: BuildMinutes,
}

impl Month {
    /// Returns the month of this time.
    pub fn of(time: Timestamp) -> Self {
        let time = jiff::Timestamp::from_millisecond(time.as_millis()).unwrap_or(jiff::Timestamp::MAX);
        Self(time.to_zoned(TimeZone::UTC).date().first_of_month())
    }

    /// Returns the beginning of the next month.
    pub fn end(self) -> Timestamp {
        let next = self.0.last_of_month().tomorrow().and_then(|next| next.to_zoned(TimeZone::UTC));
        Timestamp::from_millis(next.map_or(i64::MAX, |next| next.timestamp().as_millisecond()))
    }
}

impl fmt::Display for Month {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:04}-{:02}", self.0.year(), self.0.month())
    }
}

impl BuildMinutes {
    /// Returns the whole minutes, of which the last has begun.
    pub const fn minutes(self) -> u64 {
        self.seconds.div_ceil(60)
    }

    /// Returns the write that adds a run to the month in which it ends.
    pub(super) fn add(account: &AccountId, run: Duration, now: Timestamp) -> Write {
        let change = Change {
            expression: "SET expires_at = :expiry ADD seconds :seconds".to_owned(),
            values: Values::new()
                .set(":seconds", u64::try_from(run.as_millis().div_ceil(1000)).unwrap_or(u64::MAX))
                .set(":expiry", now.plus(KEPT).as_seconds()),
            ..Change::default()
        };
        Write::Update { key: key::build_minutes(account, Month::of(now)), change }
    }

    async fn load(table: &Table, account: &AccountId, now: Timestamp) -> Result<Self, TableError> {
        let key = key::build_minutes(account, Month::of(now));
        Ok(table.get(key, Consistency::Eventual).await?.unwrap_or_default())
    }

    /// Checks that the account may create a deployment. Reads nothing if the account has no bound.
    ///
    /// # Errors
    /// Fails with `build_minutes_exhausted` if the account has reached the bound of its plan in this month.
    pub async fn check(table: &Table, account: &Account, now: Timestamp) -> Result<()> {
        if account.build_minutes().is_none() {
            return Ok(());
        }
        Self::load(table, &account.id, now).await?.exhausted(account, now).map_or(Ok(()), Err)
    }

    /// Returns the refusal of a new deployment if the account has reached the bound of its plan.
    pub fn exhausted(self, account: &Account, now: Timestamp) -> Option<Error> {
        let bound = account.build_minutes().filter(|bound| self.minutes() >= u64::from(*bound))?;
        let end = Month::of(now).end();
        let message =
            format!("The account has used its {bound} build minutes of this month; the next month begins at {end}");
        Some(Error::new(ErrorCode::BuildMinutesExhausted, message).retry_after(end.since(now).as_secs() + 1))
    }
}

impl CapacityUsage {
    /// Reads the permits and the minutes of the current month. Strongly consistent.
    pub async fn load(table: &Table, account: &AccountId, now: Timestamp) -> Result<Self, TableError> {
        let (from, to) = key::usage_range(Month::of(now));
        let (rows, _) = table.range(key::capacity_partition(account), (&from, to), None).await?;
        let mut usage = Self::default();
        for row in rows {
            match row.contains_key("seconds") {
                true => usage.minutes = read_item(row)?,
                false => usage.permits = read_item(row)?,
            }
        }
        Ok(usage)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_month_ends_with_the_beginning_of_the_next_in_utc() {
        let at = |text: &str| Timestamp::from_millis(text.parse::<jiff::Timestamp>().unwrap().as_millisecond());
        for (time, month, end) in [
            ("2026-01-01T00:00:00Z", "2026-01", "2026-02-01T00:00:00Z"),
            ("2026-01-31T23:59:59.999Z", "2026-01", "2026-02-01T00:00:00Z"),
            ("2024-02-29T12:00:00Z", "2024-02", "2024-03-01T00:00:00Z"),
            ("2026-12-31T23:59:59Z", "2026-12", "2027-01-01T00:00:00Z"),
        ] {
            let found = Month::of(at(time));
            assert_eq!((found.to_string().as_str(), found.end()), (month, at(end)), "{time}");
        }
    }

    #[test]
    fn a_minute_that_has_begun_counts() {
        for (seconds, minutes) in [(0, 0), (1, 1), (60, 1), (61, 2)] {
            assert_eq!(BuildMinutes { seconds }.minutes(), minutes, "{seconds}");
        }
    }
}
