//! The expectation of an execution environment about the requests to come.

use super::verdict::Instant;
use crate::model::Quota;

/// The number of requests here in this window, which is as long as a lease is valid, and in the last one that had any.
#[derive(Clone, Copy, Debug, Default, Hash, PartialEq, Eq)]
pub(super) struct Demand {
    window: i64,
    this: u32,
    last: u32,
}

impl Demand {
    pub(super) fn count(&mut self, quota: Quota, now: Instant) {
        let window = now.micros / quota.lease_micros().max(1);
        if window != self.window {
            *self = Self { window, this: 0, last: self.this };
        }
        self.this = self.this.saturating_add(1);
    }

    /// Returns the number of requests that a lease is expected to serve.
    pub(super) fn expected(self) -> u32 {
        self.this.max(self.last)
    }
}

/// A two-bit counter, like a processor's branch predictor, of whether others use the account too: 0 and 1 for no, 2 and
/// 3 for yes.
#[derive(Clone, Copy, Debug, Hash, PartialEq, Eq)]
pub(super) struct Others(u8);

impl Default for Others {
    /// Expects others after the first that is noticed.
    fn default() -> Self {
        Self(1)
    }
}

impl Others {
    pub(super) fn expected(self) -> bool {
        self.0 >= 2
    }

    pub(super) fn learn(&mut self, noticed: bool) {
        self.0 = if noticed { (self.0 + 1).min(3) } else { self.0.saturating_sub(1) };
    }
}
