//! Freezes of an environment: by hand, and by windows that come again and again.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::EnvironmentSettings;
use crate::clock::Timestamp;
use crate::error::{Error, ErrorCode};
use crate::model::Environment;
use crate::name::{CronExpression, Reason, TimeZoneName};
use crate::number::Whole;

/// The maximum number of freeze windows of an environment.
pub const MAX_FREEZE_WINDOWS: usize = 10;
/// The longest freeze window, in seconds.
const MAX_WINDOW_SECONDS: u64 = 30 * 24 * 60 * 60;
/// The number of windows that are followed from one to the next that begins before its end. A freeze that lasts longer is
/// looked at again at the time that was found.
const MAX_JOINED: usize = 50;

/// A window of time, which comes again and again, in which no deployment is created or started.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct FreezeWindow {
    /// The times at which the window begins.
    cron: CronExpression,
    /// The length of the window: 60 seconds to 30 days. A change of the clock does not change it.
    #[schema(value_type = u32, minimum = 60, maximum = 2592000, examples(216000))]
    duration_seconds: Whole<u32, 60, MAX_WINDOW_SECONDS>,
    /// The time zone in which `cron` is meant.
    #[serde(default)]
    #[schema(default = "UTC")]
    time_zone: TimeZoneName,
    /// The reason, which a refused request is told.
    #[serde(default)]
    #[schema(required = false)]
    reason: Option<Reason>,
}

/// At most [`MAX_FREEZE_WINDOWS`] windows.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Vec<FreezeWindow>")]
pub struct FreezeWindows(Vec<FreezeWindow>);

/// A freeze of an environment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Freeze {
    /// The end of the freeze. `None` for one that lasts until somebody ends it.
    pub until: Option<Timestamp>,
    /// The reason that the window has.
    pub reason: Option<Reason>,
}

impl TryFrom<Vec<FreezeWindow>> for FreezeWindows {
    type Error = String;

    fn try_from(windows: Vec<FreezeWindow>) -> Result<Self, String> {
        match windows.len() {
            0..=MAX_FREEZE_WINDOWS => Ok(Self(windows)),
            _ => Err(format!("must have at most {MAX_FREEZE_WINDOWS} entries")),
        }
    }
}

impl FreezeWindow {
    /// Returns the end of the window if it is open. Its last moment is the one before its end.
    fn open_until(&self, at: Timestamp) -> Option<Timestamp> {
        let time = jiff::Timestamp::from_millisecond(at.as_millis()).ok()?.to_zoned(self.time_zone.get());
        let begin = Timestamp::from_millis(self.cron.last(&time)?.timestamp().as_millisecond());
        let end = begin.plus(Duration::from_secs(self.duration_seconds.get().into()));
        (at < end).then_some(end)
    }
}

impl FreezeWindows {
    /// Returns whether there is no window.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Returns the freeze by the windows that are open, and by those that begin before these end.
    fn freeze(&self, now: Timestamp) -> Option<Freeze> {
        let longest = |at| {
            let open = self.0.iter().filter_map(|window| Some((window.open_until(at)?, window)));
            open.max_by_key(|(end, _)| *end)
        };
        let (mut until, window) = longest(now)?;
        for _ in 0..MAX_JOINED {
            let Some((later, _)) = longest(until) else { break };
            until = later;
        }
        Some(Freeze { until: Some(until), reason: window.reason.clone() })
    }
}

impl EnvironmentSettings {
    /// Returns the freeze that keeps deployments from being created and started. One by hand counts before the windows.
    pub fn freeze(&self, now: Timestamp) -> Option<Freeze> {
        match self.frozen {
            true => Some(Freeze { until: None, reason: None }),
            false => self.freeze_windows.freeze(now),
        }
    }

    /// # Errors
    /// Fails with `environment_frozen` if the environment is frozen. The message has the end and the reason of a window.
    pub fn admit(&self, environment: Environment, now: Timestamp) -> Result<(), Error> {
        let Some(Freeze { until, reason }) = self.freeze(now) else { return Ok(()) };
        let mut message = format!("The environment {} is frozen", environment.as_str());
        let Some(until) = until else { return Err(Error::new(ErrorCode::EnvironmentFrozen, message)) };
        message.push_str(&format!(" until {until}"));
        if let Some(reason) = reason {
            message.push_str(&format!(": {reason}"));
        }
        Err(Error::new(ErrorCode::EnvironmentFrozen, message)
            .retry_after(until.since(now).as_millis().div_ceil(1000) as u64))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn at(text: &str) -> Timestamp {
        Timestamp::from_millis(text.parse::<jiff::Timestamp>().unwrap().as_millisecond())
    }

    fn freeze(windows: Value, now: &str) -> Option<String> {
        let windows: FreezeWindows = serde_json::from_value(windows).unwrap();
        windows.freeze(at(now)).map(|freeze| freeze.until.unwrap().to_string())
    }

    fn window(cron: &str, hours: u32, time_zone: &str) -> Value {
        json!({"cron": cron, "duration_seconds": hours * 3600, "time_zone": time_zone})
    }

    #[test]
    fn a_window_begins_at_its_first_moment_and_is_over_at_its_end() {
        let weekend = || json!([window("0 18 * * FRI", 60, "UTC")]);
        for (now, until) in [
            ("2026-01-02T17:59:59.999Z", None),
            ("2026-01-02T18:00:00Z", Some("2026-01-05T06:00:00Z")),
            ("2026-01-05T05:59:59.999Z", Some("2026-01-05T06:00:00Z")),
            ("2026-01-05T06:00:00Z", None),
        ] {
            assert_eq!(freeze(weekend(), now).as_deref(), until, "{now}");
        }
        assert_eq!(freeze(json!([]), "2026-01-02T18:00:00Z"), None);
    }

    #[test]
    fn a_window_begins_by_the_clock_of_its_zone_and_lasts_as_long_whatever_the_clock_does() {
        let night = |zone| json!([window("0 18 * * SAT", 12, zone)]);
        for (zone, open, until) in [
            // Winter, summer, and the nights between: the clock is set forward on 2026-03-29 and back on 2026-10-25.
            ("Europe/Berlin", "2026-01-03T17:00:00Z", "2026-01-04T05:00:00Z"),
            ("Europe/Berlin", "2026-07-04T16:00:00Z", "2026-07-05T04:00:00Z"),
            ("Europe/Berlin", "2026-03-28T17:00:00Z", "2026-03-29T05:00:00Z"),
            ("Europe/Berlin", "2026-10-24T16:00:00Z", "2026-10-25T04:00:00Z"),
            ("America/New_York", "2026-03-07T23:00:00Z", "2026-03-08T11:00:00Z"),
            ("Asia/Kolkata", "2026-01-03T12:30:00Z", "2026-01-04T00:30:00Z"),
        ] {
            assert_eq!(freeze(night(zone), open).as_deref(), Some(until), "{zone}");
            let before = Timestamp::from_millis(at(open).as_millis() - 1).as_millis();
            let before = jiff::Timestamp::from_millisecond(before).unwrap().to_string();
            assert_eq!(freeze(night(zone), &before), None, "{zone}");
        }
        // A window whose beginning is in the hour that is left out opens when that hour would end.
        let gap = || json!([window("30 2 * * *", 1, "Europe/Berlin")]);
        assert_eq!(freeze(gap(), "2026-03-29T00:59:59Z"), None);
        assert_eq!(freeze(gap(), "2026-03-29T01:00:00Z").as_deref(), Some("2026-03-29T02:00:00Z"));
        // One whose beginning comes twice opens once, at the first.
        assert_eq!(freeze(gap(), "2026-10-25T00:30:00Z").as_deref(), Some("2026-10-25T01:30:00Z"));
        assert_eq!(freeze(gap(), "2026-10-25T01:30:00Z"), None);
    }

    #[test]
    fn windows_that_meet_are_one_freeze() {
        let joined =
            json!([window("0 8 * * *", 4, "UTC"), window("0 10 * * *", 4, "UTC"), window("0 14 * * *", 1, "UTC")]);
        assert_eq!(freeze(joined, "2026-01-01T08:00:00Z").as_deref(), Some("2026-01-01T15:00:00Z"));
        // One that never ends is looked at again and again.
        let always = json!([window("0 * * * *", 1, "UTC")]);
        let until = freeze(always, "2026-01-01T08:30:00Z").unwrap();
        assert!(until.as_str() > "2026-01-02", "{until}");
    }
}
