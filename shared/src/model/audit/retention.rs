//! The time for which audit events are kept.

use std::ops::RangeInclusive;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::clock::Timestamp;

/// The range of the time for which an account may have its events kept, in days: up to ten years.
pub const AUDIT_RETENTION_DAYS: RangeInclusive<u16> = 30..=3653;
/// The time for which the events of an account are kept that does not have its own, in days.
const DEFAULT_DAYS: u16 = 400;

/// The time for which an account's events are kept, in days.
///
/// An event expires by itself, so that its row has the end of this time from the start. The account's row has the time. Whatever makes
/// events later without a read of that row has a copy from its own creation: deployments, environments, hooks, trusts and
/// invitations.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "u16")]
pub struct AuditRetention(u16);

impl AuditRetention {
    /// Returns the number of days.
    pub const fn days(self) -> u16 {
        self.0
    }

    /// Returns whether accounts have this time that do not have their own.
    pub fn is_default(&self) -> bool {
        *self == Self::default()
    }

    pub(super) fn end(self, created_at: Timestamp) -> Timestamp {
        created_at.plus(Duration::from_secs(u64::from(self.0) * 24 * 60 * 60))
    }
}

impl Default for AuditRetention {
    fn default() -> Self {
        Self(DEFAULT_DAYS)
    }
}

impl TryFrom<u16> for AuditRetention {
    type Error = String;

    fn try_from(days: u16) -> Result<Self, String> {
        let (least, most) = AUDIT_RETENTION_DAYS.into_inner();
        match AUDIT_RETENTION_DAYS.contains(&days) {
            true => Ok(Self(days)),
            false => Err(format!("audit events can be kept for {least} to {most} days")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_of_days_out_of_the_range_is_refused() {
        for (days, is_valid) in [(29, false), (30, true), (400, true), (3653, true), (3654, false)] {
            let parsed: Result<AuditRetention, _> = serde_json::from_value(serde_json::json!(days));
            assert_eq!(parsed.is_ok(), is_valid, "{days}");
        }
        assert_eq!(serde_json::to_value(AuditRetention::default()).unwrap(), 400);
    }
}
