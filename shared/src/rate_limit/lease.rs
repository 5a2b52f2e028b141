//! Admissions that an execution environment took with one write and has not used yet.

use super::take::Take;
use super::verdict::Instant;
use crate::model::State;

/// Admissions that may still be used.
#[derive(Clone, Debug, Hash, PartialEq, Eq)]
pub(super) struct Lease {
    left: u32,
    /// The minute that counts them.
    minute: i64,
    /// The time from which they may not be used any more.
    until: i64,
    /// The state after the write.
    state: State,
}

/// Admissions of lapsed leases, which a minute counts and which can be given back to it.
#[derive(Clone, Copy, Debug, Default, Hash, PartialEq, Eq)]
struct Unused {
    minute: i64,
    count: u32,
}

/// The admissions of one execution environment.
#[derive(Clone, Debug, Default, Hash, PartialEq, Eq)]
pub(super) struct Leases {
    lease: Option<Lease>,
    unused: Unused,
}

impl Lease {
    /// Returns whether the lease admits another request.
    fn is_valid(&self, now: Instant) -> bool {
        self.left > 0 && self.minute == now.minute && now.micros < self.until
    }
}

impl Leases {
    /// Lets a lease lapse that has ended.
    pub(super) fn lapse(&mut self, now: Instant) {
        if let Some(lease) = self.lease.take_if(|lease| !lease.is_valid(now)) {
            self.keep_unused(lease.minute, lease.left);
        }
    }

    /// Returns whether a lease admits a request.
    pub(super) fn admits(&self, now: Instant) -> bool {
        self.lease.as_ref().is_some_and(|lease| lease.is_valid(now))
    }

    /// Uses one admission. Returns the state after the lease's write, and the number of admissions that are left.
    pub(super) fn spend(&mut self, now: Instant) -> Option<(&State, u32)> {
        let lease = self.lease.as_mut().filter(|lease| lease.is_valid(now))?;
        lease.left -= 1;
        Some((&lease.state, lease.left))
    }

    /// Keeps the admissions that a write took beyond the one that its request uses.
    pub(super) fn add(&mut self, take: &Take, state: State) {
        if take.count == 1 {
            return;
        }
        let until = take.arrival().min(take.now.end_of_minute());
        let mut lease = Lease { left: take.count - 1, minute: take.now.minute, until, state };
        // Another request of this environment may have taken one meanwhile.
        if let Some(other) = self.lease.take() {
            if other.minute == lease.minute {
                lease.left += other.left;
                lease.until = lease.until.min(other.until);
            } else {
                self.keep_unused(other.minute, other.left);
            }
        }
        self.lease = Some(lease);
    }

    /// Returns the number of admissions that can be given back to a minute.
    pub(super) fn unused(&self, minute: i64) -> u32 {
        if self.unused.minute == minute { self.unused.count } else { 0 }
    }

    /// Takes the admissions that can be given back to a minute.
    pub(super) fn take_unused(&mut self, minute: i64) -> u32 {
        let count = self.unused(minute);
        if count > 0 {
            self.unused.count = 0;
        }
        count
    }

    /// Keeps admissions that can be given back. Those of an earlier minute are of no use any more.
    pub(super) fn keep_unused(&mut self, minute: i64, count: u32) {
        if count == 0 || minute < self.unused.minute {
            return;
        }
        self.unused = Unused { minute, count: self.unused(minute) + count };
    }
}
