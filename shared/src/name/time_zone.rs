//! Time zones.

use jiff::tz::{TimeZone, TimeZoneDatabase};

name! {
    /// The name of a time zone in the IANA database, such as `Europe/Berlin` or `UTC`.
    TimeZoneName: 1 to 40 characters,
    pattern r"^[A-Za-z0-9_+/-]+$",
    example "Europe/Berlin",
    else InvalidTimeZoneName
        "must be the name of a time zone in the IANA database, such as 'Europe/Berlin' or 'UTC'",
    |text| find(text).is_some()
}

impl TimeZoneName {
    /// Returns the time zone. UTC stands for one that was valid once and that the database does not have any more.
    pub(crate) fn get(&self) -> TimeZone {
        find(&self.0).unwrap_or(TimeZone::UTC)
    }
}

impl Default for TimeZoneName {
    fn default() -> Self {
        Self("UTC".to_owned())
    }
}

/// Looks in the database that the binary brings, whatever the machine has.
fn find(name: &str) -> Option<TimeZone> {
    TimeZoneDatabase::bundled().get(name).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_zone_has_a_name_in_the_database() {
        for text in ["UTC", "Europe/Berlin", "America/Argentina/Buenos_Aires", "Asia/Kolkata", "Etc/GMT+5"] {
            assert!(text.parse::<TimeZoneName>().is_ok(), "{text}");
        }
        for text in ["", "Europe/Nowhere", "CEST", "+02:00", "../etc/passwd", " UTC"] {
            assert!(text.parse::<TimeZoneName>().is_err(), "{text}");
        }
    }
}
