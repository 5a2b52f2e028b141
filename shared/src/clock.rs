//! The only clock. Code that needs the time takes a [`Clock`]; `.clippy.toml` bans all other clocks.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

use serde::{Deserialize, Serialize};
use tokio::sync::watch;

/// A moment in milliseconds since the Unix epoch. The table stores this number. `Display` formats it as RFC 3339 in
/// whole seconds, like the public contract.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Timestamp(i64);

impl Timestamp {
    /// Returns the moment that is this many milliseconds after the Unix epoch.
    pub const fn from_millis(millis: i64) -> Self {
        Self(millis)
    }

    /// Returns the milliseconds since the Unix epoch.
    pub const fn as_millis(self) -> i64 {
        self.0
    }

    /// Returns the whole seconds since the Unix epoch, rounded down.
    pub const fn as_seconds(self) -> i64 {
        self.0.div_euclid(1000)
    }

    /// Returns the moment this much later, or the last representable one.
    pub fn plus(self, duration: Duration) -> Self {
        Self(self.0.saturating_add(i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)))
    }

    /// Returns the wait that a `Retry-After` header asks for at this moment: a number of seconds, or a date (RFC 9110, section
    /// 10.2.3). `None` if the text is neither.
    pub fn wait_of(self, retry_after: &str) -> Option<Duration> {
        if let Ok(seconds) = retry_after.trim().parse() {
            return Some(Duration::from_secs(seconds));
        }
        Some(Self::of_http_date(retry_after)?.since(self))
    }

    /// Returns the moment of a date in a header of HTTP (RFC 9110, section 5.6.7). `None` if the text is none.
    pub fn of_http_date(text: &str) -> Option<Self> {
        let date = jiff::fmt::rfc2822::DateTimeParser::new().parse_timestamp(text.trim()).ok()?;
        Some(Self(date.as_millisecond()))
    }

    /// Returns the time since `earlier`, or zero if `earlier` is later.
    pub fn since(self, earlier: Timestamp) -> Duration {
        Duration::from_millis(u64::try_from(self.0 - earlier.0).unwrap_or(0))
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match jiff::Timestamp::from_second(self.as_seconds()) {
            Ok(time) => write!(f, "{time}"),
            Err(_) => write!(f, "{}ms", self.0),
        }
    }
}

/// A [`Timestamp`] in the form that response bodies show.
#[derive(Clone, Copy, Debug, PartialEq, Eq, utoipa::ToSchema)]
#[schema(
    as = Timestamp, value_type = String, format = DateTime, examples("2024-12-01T14:30:00Z"),
    description = "A time in RFC 3339, in UTC and whole seconds."
)]
pub struct Rfc3339(pub Timestamp);

impl Serialize for Rfc3339 {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&self.0)
    }
}

impl From<Timestamp> for Rfc3339 {
    fn from(timestamp: Timestamp) -> Self {
        Self(timestamp)
    }
}

/// A time in a request, in RFC 3339 with any offset.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct Time(Timestamp);

/// The refusal of a text that is no time.
#[derive(Debug, thiserror::Error)]
#[error("must be a time in RFC 3339, such as 2024-12-01T14:30:00Z")]
pub struct MalformedTime;

impl Time {
    /// Returns the time, to the millisecond.
    pub fn get(self) -> Timestamp {
        self.0
    }
}

impl TryFrom<String> for Time {
    type Error = MalformedTime;

    fn try_from(text: String) -> Result<Self, MalformedTime> {
        let time: jiff::Timestamp = text.parse().map_err(|_| MalformedTime)?;
        Ok(Self(Timestamp(time.as_millisecond())))
    }
}

/// Tells the time: the system's, or one that a test sets.
#[derive(Clone, Debug, Default)]
pub struct Clock(Option<Arc<watch::Sender<Timestamp>>>);

impl Clock {
    /// Returns the clock of the operating system.
    pub fn system() -> Self {
        Self(None)
    }

    /// Returns a clock that stands at `start` until it is advanced. Clones share the time.
    pub fn manual(start: Timestamp) -> Self {
        Self(Some(Arc::new(watch::Sender::new(start))))
    }

    /// Returns whether time passes by itself.
    pub fn is_system(&self) -> bool {
        self.0.is_none()
    }

    /// Returns the current time: the system's, or that of a manual clock since it was last advanced.
    pub fn now(&self) -> Timestamp {
        match &self.0 {
            Some(time) => *time.borrow(),
            #[expect(clippy::disallowed_methods, reason = "this is the one clock")]
            None => {
                let since_epoch = std::time::SystemTime::now().duration_since(UNIX_EPOCH);
                let millis = since_epoch.expect("the system clock is set after 1970").as_millis();
                Timestamp(i64::try_from(millis).expect("the system clock is set before the year 292278994"))
            }
        }
    }

    /// Waits until this time. A manual clock reaches it only when it is advanced.
    pub async fn sleep_until(&self, until: Timestamp) {
        match &self.0 {
            Some(time) => {
                let reached = time.subscribe().wait_for(|now| *now >= until).await.is_ok();
                assert!(reached, "a clock that is borrowed is not dropped");
            }
            None => tokio::time::sleep(until.since(self.now())).await,
        }
    }

    /// Moves a manual clock forward.
    ///
    /// # Panics
    /// Panics on the system clock.
    pub fn advance(&self, by: Duration) {
        let time = self.0.as_ref().expect("only a manual clock can be advanced");
        time.send_modify(|now| *now = now.plus(by));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timestamps_show_as_the_contract_does() {
        assert_eq!(Timestamp::from_millis(1_733_063_400_999).to_string(), "2024-12-01T14:30:00Z");
    }

    #[test]
    fn a_wait_is_a_number_of_seconds_or_the_time_until_a_date() {
        let now = Timestamp::from_millis(1_733_063_400_000);
        for (text, seconds) in [
            ("0", Some(0)),
            (" 120 ", Some(120)),
            ("Sun, 01 Dec 2024 14:31:30 GMT", Some(90)),
            ("Sun, 01 Dec 2024 14:00:00 GMT", Some(0)),
            ("soon", None),
            ("-1", None),
            ("", None),
        ] {
            assert_eq!(now.wait_of(text), seconds.map(Duration::from_secs), "{text}");
        }
    }
}
