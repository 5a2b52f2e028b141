//! An execution environment's knowledge of one rate limit, and its decisions.

use super::demand::{Demand, Others};
use super::lease::Leases;
use super::take::{Attempt, Bucket, Take};
use super::verdict::{Instant, Verdict, refusal};
use crate::clock::Timestamp;
use crate::model::{Quota, State};

/// The share of the bucket's tokens that one lease may take: one in this many.
const LEASE_SHARE: i64 = 16;
/// The difference of two environments' clocks that a lower bound of `remaining` allows for, in microseconds.
const CLOCK_SKEW: i64 = 200_000;

/// The next step of a decision.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Step {
    Decided(Verdict),
    Write(Take),
}

/// The outcome of a write.
#[derive(Clone, Debug, Hash, PartialEq, Eq)]
pub(super) enum Outcome {
    /// The item after the write.
    Written(State),
    /// The condition failed. The item that refused the write, if there is one.
    Refused(Option<State>),
    /// DynamoDB takes no more writes of the item now. It did not apply the write. The environment sends none for so many
    /// microseconds.
    Throttled(i64),
    /// No answer tells whether the write was applied.
    Unanswered,
}

/// An execution environment's knowledge of one rate limit.
#[derive(Clone, Debug, Default, Hash, PartialEq, Eq)]
pub(super) struct Knowledge {
    /// The state after the last write of this environment, whether it was refused or not, or a later one that was read.
    state: Option<State>,
    leases: Leases,
    demand: Demand,
    others: Others,
    /// The time until which the environment sends no writes, because DynamoDB throttled one.
    rests_until: i64,
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

    /// Returns whether a request would be refused without a call.
    pub(super) fn refuses(&mut self, quota: Quota, now: Instant) -> bool {
        self.leases.lapse(now);
        !self.leases.admits(now) && self.refused_here(quota, now).is_some()
    }

    /// Returns the refusal that needs no call: the one that the last seen state proves, or that of an environment that
    /// sends no writes now.
    fn refused_here(&self, quota: Quota, now: Instant) -> Option<Verdict> {
        let resting = || (now.micros < self.rests_until).then(|| self.contended(quota, now));
        self.refused(self.state(), quota, now).or_else(resting)
    }

    /// Returns the refusal that a state proves. Admissions that can be given back to the minute don't fill it.
    fn refused(&self, state: Option<&State>, quota: Quota, now: Instant) -> Option<Verdict> {
        let seconds = refusal(state, quota, now, self.leases.unused(now.minute))?;
        Some(Verdict::new(quota, state, now, Some(seconds)))
    }

    /// Returns the refusal of a request that too many others kept from a decision. It tells the fewest requests that can
    /// be left.
    fn contended(&self, quota: Quota, now: Instant) -> Verdict {
        let known = Verdict::new(quota, self.state(), now, Some(1));
        let by_others = self.state().map_or(u32::MAX, |state| most_by_others(state, quota, now.micros));
        let remaining = known.remaining.saturating_sub(by_others);
        Verdict { remaining, burst_remaining: 0, contended: true, ..known }
    }

    /// Begins the decision about a request: from a lease, from a refusal that needs no call, or with a write.
    pub(super) fn begin(&mut self, quota: Quota, time: Timestamp) -> Step {
        let now = Instant::from(time);
        self.demand.count(quota, now);
        self.begin_with(quota, now, |known| known.lease_size(quota, now))
    }

    /// Begins a decision. A write takes as many admissions as the given function says.
    pub(super) fn begin_with(&mut self, quota: Quota, now: Instant, size: impl FnOnce(&Self) -> u32) -> Step {
        self.leases.lapse(now);
        if let Some(verdict) = self.spend_lease(quota, now).or_else(|| self.refused_here(quota, now)) {
            return Step::Decided(verdict);
        }
        let count = size(self);
        self.write(quota, now, count, Attempt::First)
    }

    fn write(&mut self, quota: Quota, now: Instant, count: u32, attempt: Attempt) -> Step {
        let returned = self.leases.take_unused(now.minute);
        let mut take =
            Take { quota, now, count, returned, bucket: Bucket::Full, over: self.minutes_over(now), attempt };
        take.bucket = self.bucket_at(take.arrival());
        Step::Write(take)
    }

    /// Learns what became of a write, and decides.
    pub(super) fn learn(&mut self, take: Take, outcome: Outcome) -> Step {
        let (quota, now) = (take.quota, take.now);
        self.learn_with(take, outcome, |known| known.lease_size(quota, now))
    }

    /// Learns what became of a write, and decides. A second write takes as many admissions as the given function says.
    pub(super) fn learn_with(&mut self, take: Take, outcome: Outcome, size: impl FnOnce(&Self) -> u32) -> Step {
        let Take { quota, now, count, .. } = take;
        if take.attempt == Attempt::First {
            match &outcome {
                Outcome::Written(state) => self.others.learn(self.is_surprised(&take, state)),
                Outcome::Refused(_) => self.others.learn(true),
                Outcome::Throttled(_) | Outcome::Unanswered => {}
            }
        }
        // A write that may have been applied gives back nothing again.
        if let Outcome::Refused(_) | Outcome::Throttled(_) = outcome {
            self.leases.keep_unused(now.minute, take.returned);
        }
        match outcome {
            Outcome::Written(state) => {
                let verdict = Verdict::new(quota, Some(&state), now, None).with_unused(count - 1);
                self.observe(state.clone());
                self.leases.add(&take, state);
                return Step::Decided(verdict);
            }
            Outcome::Refused(state) => {
                let refused = self.refused(state.as_ref(), quota, now);
                match state {
                    Some(state) => self.observe(state),
                    None => self.state = None,
                }
                if let Some(refused) = refused {
                    return Step::Decided(refused);
                }
            }
            Outcome::Throttled(rest) => {
                self.rests_until = self.rests_until.max(now.micros + rest);
                return Step::Decided(self.contended(quota, now));
            }
            Outcome::Unanswered => {}
        }
        match take.attempt {
            Attempt::First => {
                // The guess that the bucket is full at a lease's end could be wrong once more.
                let is_certain = self.bucket_at(now.micros + quota.lease_micros()) == Bucket::InUse;
                let count = if is_certain { size(self) } else { 1 };
                self.write(quota, now, count, Attempt::Second)
            }
            Attempt::Second => Step::Decided(self.contended(quota, now)),
        }
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
        let (state, left) = self.leases.spend(now)?;
        let verdict = Verdict::new(quota, Some(state), now, None).with_unused(left);
        let by_others = most_by_others(state, quota, now.micros);
        Some(Verdict { remaining: verdict.remaining.saturating_sub(by_others), ..verdict })
    }

    /// Returns whether a write found admissions that this environment did not know of.
    fn is_surprised(&self, take: &Take, after: &State) -> bool {
        let minute = take.now.minute;
        let known = self.state.as_ref().map_or(0, |state| state.used(minute));
        i64::from(after.used(minute)) > i64::from(known) + take.counted()
    }
}
