//! An execution environment's knowledge of one rate limit, and its decisions.

use super::take::{Attempt, Bucket, Take};
use super::verdict::{Instant, Verdict, refusal};
use crate::clock::Timestamp;
use crate::model::{Quota, State};

/// The share of the bucket's tokens that one lease may take: one in this many.
const LEASE_SHARE: i64 = 16;
/// The difference of two environments' clocks that a leased answer's `remaining` allows for, in microseconds.
const CLOCK_SKEW: i64 = 200_000;

/// The next step of a decision.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Step {
    Decided(Verdict),
    Write(Take),
    /// The table refused the second write without a reason for a refusal. Only an item that was deleted meanwhile, or a
    /// clock that jumped, can cause it.
    Undecided,
}

/// An execution environment's knowledge of one rate limit.
#[derive(Clone, Debug, Default, Hash, PartialEq, Eq)]
pub(super) struct Knowledge {
    /// The state after the last write of this environment, whether it was refused or not, or a later one that was read.
    state: Option<State>,
    lease: Option<Lease>,
    demand: Demand,
    others: Others,
}

/// Admissions that were taken with one write and are not used yet.
#[derive(Clone, Debug, Hash, PartialEq, Eq)]
struct Lease {
    left: u32,
    /// The minute that counts them.
    minute: i64,
    /// The time from which they may not be used any more.
    until: i64,
    /// The state after the write.
    state: State,
}

impl Lease {
    /// Returns whether the lease admits another request.
    fn is_valid(&self, now: Instant) -> bool {
        self.left > 0 && self.minute == now.minute && now.micros < self.until
    }
}

/// The number of requests here in this window, which is as long as a lease is valid, and in the last one that had any.
#[derive(Clone, Copy, Debug, Default, Hash, PartialEq, Eq)]
struct Demand {
    window: i64,
    this: u32,
    last: u32,
}

impl Demand {
    fn count(&mut self, quota: Quota, now: Instant) {
        let window = now.micros / quota.lease_micros().max(1);
        if window != self.window {
            *self = Self { window, this: 0, last: self.this };
        }
        self.this = self.this.saturating_add(1);
    }

    /// Returns the number of requests that a lease is expected to serve.
    fn expected(self) -> u32 {
        self.this.max(self.last)
    }
}

/// A two-bit counter, like a processor's branch predictor, of whether others use the account too: 0 and 1 for no, 2 and
/// 3 for yes.
#[derive(Clone, Copy, Debug, Hash, PartialEq, Eq)]
struct Others(u8);

impl Default for Others {
    /// Expects others after the first that is noticed.
    fn default() -> Self {
        Self(1)
    }
}

impl Others {
    fn expected(self) -> bool {
        self.0 >= 2
    }

    fn learn(&mut self, noticed: bool) {
        self.0 = if noticed { (self.0 + 1).min(3) } else { self.0.saturating_sub(1) };
    }
}

/// Returns the most admissions that others can have taken since a state, as the bucket bounds them.
fn most_by_others(state: &State, quota: Quota, micros: i64) -> u32 {
    let room = (micros + CLOCK_SKEW + quota.capacity() - state.tat).max(0);
    u32::try_from(room / quota.interval()).unwrap_or(u32::MAX)
}

impl Knowledge {
    pub(super) fn state(&self) -> Option<&State> {
        self.state.as_ref()
    }

    /// Learns a state that was read elsewhere. The later of two states has the greater `tat`.
    pub(super) fn observe(&mut self, state: State) {
        if self.state.as_ref().is_none_or(|known| known.tat < state.tat) {
            self.state = Some(state);
        }
    }

    /// Returns the refusal that is known without a call.
    pub(super) fn refusal(&self, quota: Quota, now: Instant) -> Option<u64> {
        if self.lease.as_ref().is_some_and(|lease| lease.is_valid(now)) {
            return None;
        }
        refusal(self.state(), quota, now)
    }

    /// Returns the refusal that the last seen state proves.
    fn refused(&self, quota: Quota, now: Instant) -> Option<Verdict> {
        let seconds = refusal(self.state(), quota, now)?;
        Some(Verdict::new(quota, self.state(), now, Some(seconds)))
    }

    /// Begins the decision about a request: from a lease, from a refusal that the last seen state proves, or with a write.
    pub(super) fn begin(&mut self, quota: Quota, time: Timestamp) -> Step {
        let now = Instant::from(time);
        self.demand.count(quota, now);
        self.begin_with(quota, now, |known| known.lease_size(quota, now))
    }

    /// Begins a decision. A write takes as many admissions as the given function says.
    pub(super) fn begin_with(&mut self, quota: Quota, now: Instant, size: impl FnOnce(&Self) -> u32) -> Step {
        if let Some(verdict) = self.spend_lease(quota, now) {
            return Step::Decided(verdict);
        }
        if let Some(refused) = self.refused(quota, now) {
            return Step::Decided(refused);
        }
        let lapsed = self.lease.take().filter(|lease| lease.minute == now.minute);
        let mut take = Take {
            quota,
            now,
            count: size(self),
            returned: lapsed.map_or(0, |lease| lease.left),
            bucket: Bucket::Full,
            over: self.minutes_over(now),
            attempt: Attempt::First,
        };
        take.bucket = self.bucket_at(take.arrival());
        Step::Write(take)
    }

    /// Learns the item after a write, or the item that refused it, and decides.
    pub(super) fn learn(&mut self, take: Take, outcome: Result<State, Option<State>>) -> Step {
        let Take { quota, now, count, .. } = take;
        let state = match outcome {
            Ok(state) => {
                if take.attempt == Attempt::First {
                    self.others.learn(self.is_surprised(&take, &state));
                }
                let verdict = Verdict::new(quota, Some(&state), now, None).with_unused(count - 1);
                self.observe(state.clone());
                self.lease(&take, state);
                return Step::Decided(verdict);
            }
            Err(state) => state,
        };
        if take.attempt == Attempt::First {
            self.others.learn(true);
        }
        match state {
            Some(state) => self.observe(state),
            None => self.state = None,
        }
        if let Some(refused) = self.refused(quota, now) {
            return Step::Decided(refused);
        }
        if take.attempt == Attempt::Second {
            return Step::Undecided;
        }
        let bucket = self.bucket_at(now.micros);
        Step::Write(Take { count: 1, bucket, over: self.minutes_over(now), attempt: Attempt::Second, ..take })
    }

    /// Returns the bucket that a write for an arrival has to expect. `tat` only grows. Therefore a bucket that was in use
    /// at some instant is in use at that instant for ever, and only [`Bucket::Full`] can be a wrong guess.
    fn bucket_at(&self, arrival: i64) -> Bucket {
        match &self.state {
            Some(state) if state.tat >= arrival => Bucket::InUse,
            _ => Bucket::Full,
        }
    }

    /// Returns the counted minutes that no clock can still be in.
    fn minutes_over(&self, now: Instant) -> Vec<i64> {
        let minutes = self.state.iter().flat_map(|state| &state.minutes);
        minutes.map(|(minute, _)| *minute).filter(|minute| *minute < now.minute - 1).collect()
    }

    /// Returns the number of admissions to take at once: as many as requests are expected here while the lease is valid, if
    /// the account is far from both bounds. It is far from the minute's if all that others can take meanwhile leaves enough.
    fn lease_size(&self, quota: Quota, now: Instant) -> u32 {
        let Some(state) = &self.state else { return 1 };
        if !(quota.is_large() || self.others.expected()) {
            return 1;
        }
        let lapse = now.micros + quota.lease_micros();
        let room = now.micros + quota.capacity() - state.tat.max(lapse);
        let minute = quota.per_minute.saturating_sub(state.used(now.minute));
        let minute = minute.saturating_sub(most_by_others(state, quota, lapse));
        let size = i64::from(self.demand.expected().min(minute)).min(room / quota.interval() / LEASE_SHARE);
        u32::try_from(size).unwrap_or(0).max(1)
    }

    fn spend_lease(&mut self, quota: Quota, now: Instant) -> Option<Verdict> {
        let lease = self.lease.as_mut().filter(|lease| lease.is_valid(now))?;
        lease.left -= 1;
        let verdict = Verdict::new(quota, Some(&lease.state), now, None).with_unused(lease.left);
        let by_others = most_by_others(&lease.state, quota, now.micros);
        Some(Verdict { remaining: verdict.remaining.saturating_sub(by_others), ..verdict })
    }

    /// Keeps the admissions that a write took beyond the one that its request uses.
    fn lease(&mut self, take: &Take, state: State) {
        if take.count == 1 {
            return;
        }
        let lapse = take.now.micros + take.quota.lease_micros();
        let mut lease =
            Lease { left: take.count - 1, minute: take.now.minute, until: lapse.min(take.now.end_of_minute()), state };
        // Another request of this environment may have taken one meanwhile.
        if let Some(other) = self.lease.take().filter(|other| other.minute == lease.minute) {
            lease.left += other.left;
            lease.until = lease.until.min(other.until);
        }
        self.lease = Some(lease);
    }

    /// Returns whether a write found admissions that this environment did not know of.
    fn is_surprised(&self, take: &Take, after: &State) -> bool {
        let minute = take.now.minute;
        let known = self.state.as_ref().map_or(0, |state| state.used(minute));
        i64::from(after.used(minute)) > i64::from(known) + take.counted()
    }
}
