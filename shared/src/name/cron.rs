//! Cron expressions.

use croner::Cron;
use croner::parser::{CronParser, Seconds, Year};
use jiff::Zoned;
use jiff::tz::TimeZone;

name! {
    /// A cron expression of five fields: minute, hour, day of the month, month, day of the week. `0 18 * * FRI` is each Friday at
    /// 18:00. A day is meant if either of its two fields matches, unless one is `*`.
    CronExpression: 1 to 100 characters,
    pattern r"^[0-9A-Za-z*,/#?@+ -]+$",
    example "0 18 * * FRI",
    else InvalidCronExpression
        "must be a cron expression of five fields (minute, hour, day of the month, month, day of the week) that describes times \
         which come, such as '0 18 * * FRI'",
    |text| parse(text).is_some_and(|cron| cron.find_next_occurrence(&epoch(), false).is_ok())
}

impl CronExpression {
    /// Returns the last time that the expression describes, up to and including `at`.
    pub(crate) fn last(&self, at: &Zoned) -> Option<Zoned> {
        parse(&self.0)?.find_previous_occurrence(at, true).ok()
    }
}

/// Parses the expression only now: rows are read far more often than their expressions are compared.
fn parse(text: &str) -> Option<Cron> {
    CronParser::builder().seconds(Seconds::Disallowed).year(Year::Disallowed).build().parse(text).ok()
}

/// A time from which to search for the first one that an expression describes. There is one for each day of 28 years.
fn epoch() -> Zoned {
    jiff::Timestamp::UNIX_EPOCH.to_zoned(TimeZone::UTC)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_expression_describes_times_that_come() {
        for text in
            ["0 18 * * FRI", "*/15 * * * *", "0 0 29 2 *", "0 0 L * *", "@daily", "30 4 1,15 * 5", "0 22 * * 1-5"]
        {
            assert!(text.parse::<CronExpression>().is_ok(), "{text}");
        }
        for text in
            ["", "* * * *", "* * * * * *", "61 * * * *", "0 0 30 2 *", "0 0 32 1 *", "a b c d e", "every friday"]
        {
            assert!(text.parse::<CronExpression>().is_err(), "{text}");
        }
    }

    #[test]
    fn a_change_of_the_clock_moves_no_time_to_another_day() {
        let berlin = jiff::tz::TimeZoneDatabase::bundled().get("Europe/Berlin").unwrap();
        let last = |expression: &str, at: &str| {
            let at = at.parse::<jiff::Timestamp>().unwrap().to_zoned(berlin.clone());
            let expression: CronExpression = expression.parse().unwrap();
            expression.last(&at).unwrap().timestamp().to_string()
        };
        // 02:30 does not exist on 2026-03-29, and comes twice on 2026-10-25.
        assert_eq!(last("30 2 * * *", "2026-03-29T12:00:00Z"), "2026-03-29T01:00:00Z");
        assert_eq!(last("30 2 * * *", "2026-03-29T00:59:59Z"), "2026-03-28T01:30:00Z");
        assert_eq!(last("30 2 * * *", "2026-10-25T12:00:00Z"), "2026-10-25T00:30:00Z");
        // 18:00 is 17:00 UTC in winter and 16:00 UTC in summer.
        assert_eq!(last("0 18 * * *", "2026-03-28T20:00:00Z"), "2026-03-28T17:00:00Z");
        assert_eq!(last("0 18 * * *", "2026-03-29T20:00:00Z"), "2026-03-29T16:00:00Z");
        assert_eq!(last("0 18 * * *", "2026-10-25T20:00:00Z"), "2026-10-25T17:00:00Z");
        assert_eq!(last("0 18 * * *", "2026-10-25T17:00:00Z"), "2026-10-25T17:00:00Z", "the time itself counts");
    }
}
