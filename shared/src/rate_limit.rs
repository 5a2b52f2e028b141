//! Rate limits: at most `per_minute` requests in a clock minute, and never more than a token bucket of `burst` allows,
//! which is refilled at `per_minute / 60` a second. Both limits hold for any number of functions that admit
//! concurrently.
//!
//! One item per subject has the bucket as a theoretical arrival time (`tat`, the GCRA of ITU-T I.371: the time at which
//! the bucket will be full again) and the requests admitted in each of the last minutes. An admission is one UpdateItem
//! whose condition repeats the decision, so a state that moved meanwhile refuses it and comes back with the refusal:
//!
//! | bucket | update | condition |
//! |---|---|---|
//! | full | `tat = arrival + n T`, `used + n` | no item or `tat <= arrival`, and `used <= limit - n` |
//! | in use | `tat + n T`, `used + n` | `arrival <= tat <= now + (burst - n) T`, and `used <= limit - n` |
//!
//! `T` is the time in which one token returns to the bucket. `n` is 1 and `arrival` is `now`, except in a lease.
//!
//! # Two writes decide
//!
//! A request is decided for one instant, that of its first attempt. `tat` only grows. Therefore a bucket that is in use at
//! this instant stays in use at it, whatever others write. The only guess that can be wrong is that the bucket is full. If
//! the table refuses it, the item that comes back either refuses the request at its instant, which is the answer, or
//! shows that the bucket is in use. In the second case a second write decides: if the table refuses that one too, the
//! bucket is empty or the minute is full at the request's instant. Contention never admits, never fails a request, and
//! never makes a third write.
//!
//! A refusal that an old state proves is still right, so it costs no call. The order of the writes matters, and not the
//! writers' clocks: of any two admissions, `k` places apart in that order, the later one's own clock shows at least
//! `(k + 1 - burst) T` more than the earlier one's. Each admission counts in the minute of its own clock.
//!
//! # Refusals without a proof
//!
//! Three kinds of requests are refused for a second although the bucket may have a token:
//!
//! - DynamoDB throttles the write, because an item takes about 1,000 writes a second. Then the environment sends no
//!   writes of the item for a random time, so that a saturated item gets hardly more writes than it takes.
//! - The second write fails after or with a lease, because others have meanwhile taken nearly all that was left, or have
//!   used a bucket that was full.
//! - The answer to the first write is lost, and the table refuses the second one because of it.
//!
//! # Leases
//!
//! An environment that serves a busy account takes the admissions that it expects to need within a lease's life (at most a
//! second) with one write, while the account is far from both bounds. The bucket counts them as if all of them arrived at the end of the
//! lease. Therefore no order in which they are used before that exceeds it: between any two instants, the admissions
//! of a lease lie within the time for which the bucket has been charged. A lease ends with its minute, which has counted
//! it.
//!
//! The next write gives unused admissions back to the minute. It does so even if the minute is full. The SDK sends no write
//! twice, so a condition that fails proves that nothing was given back. After a lost answer nobody knows, so the second write
//! does not give back again. An environment that stops keeps its last admissions: at most one lease, for the rest of the
//! minute. Environments that have seen the minute full refuse until it ends, so that of the minute's requests at most
//! those are lost that were leased and not used when it was full.
//!
//! The answer to a request from a lease can't know what others took since. It tells the fewest requests that can be
//! left: those after the lease's write, less all that the bucket can have admitted since.

mod demand;
mod knowledge;
mod lease;
mod take;
mod verdict;

use std::net::IpAddr;
use std::num::NonZeroUsize;
use std::time::Duration;

use self::knowledge::{Knowledge, Outcome, Step};
use self::take::Attempt;
use self::verdict::Instant;
pub use self::verdict::Verdict;
use crate::attempts::random_byte;
use crate::cache::Cache;
use crate::clock::{Clock, Timestamp};
use crate::error::Error;
use crate::id::{AccountId, HookId};
use crate::model::{Quota, State, Subject, key};
use crate::table::{ConditionFailed, Consistency, Table, TableError, read_item};

/// The maximum number of known rate limits in one execution environment, about 200 bytes each.
const REMEMBERED: NonZeroUsize = NonZeroUsize::new(10_000).unwrap();

/// The time for which a state that was read answers [`Limiter::peek`].
const PEEKED: Duration = Duration::from_secs(1);

/// The longest time for which an environment sends no writes of an item that DynamoDB has throttled, in microseconds.
const LONGEST_REST: i64 = 400_000;

/// The limiter of one execution environment.
#[derive(Debug)]
pub struct Limiter {
    table: Table,
    clock: Clock,
    known: Cache<Subject, Knowledge>,
    /// The time at which the state of each subject was last read for [`Limiter::peek`].
    peeked: Cache<Subject, Timestamp>,
}

impl Limiter {
    /// Returns a limiter that knows no rate limits yet.
    pub fn new(table: Table, clock: Clock) -> Self {
        Self { table, clock, known: Cache::new(REMEMBERED), peeked: Cache::new(REMEMBERED) }
    }

    /// Counts a request, or refuses it. Needs no call for an admission from a lease and for a refusal that the last seen
    /// state proves, one write in the common case, and two at most.
    ///
    /// # Errors
    /// Fails if DynamoDB does not answer in time, fails twice, or returns an item without the expected shape. It never fails
    /// because of other requests, and not because DynamoDB throttles the write.
    pub async fn admit(&self, subject: &Subject, quota: Quota) -> Result<Verdict, TableError> {
        let time = self.clock.now();
        let mut step = self.known.with(subject, |known| known.begin(quota, time));
        loop {
            let take = match step {
                Step::Decided(verdict) => return Ok(verdict),
                Step::Write(take) => take,
            };
            let outcome = match self.table.update_once(key::rate_limit(subject), take.change()).await {
                Ok(Ok(item)) => Outcome::Written(read_item(item)?),
                Ok(Err(ConditionFailed { current })) => Outcome::Refused(current.map(read_item).transpose()?),
                Err(error) if error.is_throttling() => Outcome::Throttled(rest()),
                // A stalled call has taken the time of another one.
                Err(error) if take.attempt == Attempt::First && error.is_passing() && !error.is_timeout() => {
                    Outcome::Unanswered
                }
                Err(error) => return Err(error),
            };
            step = self.known.with(subject, |known| known.learn(take, outcome));
        }
    }

    /// Counts a request that has proved no right against its source address, as a request with a wrong token is.
    ///
    /// # Errors
    /// Fails with `rate_limited` if the address has sent too many. If the limiter fails, the refusal that the request gets
    /// anyway is enough.
    pub async fn count_failure(&self, source: IpAddr) -> Result<(), Error> {
        let verdict = self.admit(&Subject::source(source), Quota::ANONYMOUS).await;
        verdict.map_or(Ok(()), |verdict| verdict.check("rate limit"))
    }

    /// Returns whether the last requests from a source address have proved no right, so often that more are refused.
    pub fn refuses_source(&self, source: IpAddr) -> bool {
        self.refuses(&Subject::source(source), Quota::ANONYMOUS)
    }

    /// Counts a delivery that has the secret of a hook.
    ///
    /// # Errors
    /// Fails with `rate_limited` if the hook has received too many, and with `service_unavailable` if the limiter fails.
    pub async fn count_delivery(&self, hook: &HookId) -> Result<(), Error> {
        self.admit(&Subject::Hook(hook.clone()), Quota::HOOK).await?.check("rate limit of the hook")
    }

    /// Counts a look-up on a slow git host against an account. Returns the seconds after which another one can be admitted if this one
    /// is not. A limiter that fails refuses none.
    pub async fn count_slow_look_up(&self, account: &AccountId) -> Option<u64> {
        let verdict = self.admit(&Subject::SlowLookUps(account.clone()), Quota::SLOW_LOOK_UPS).await;
        verdict.ok().and_then(|verdict| verdict.refused_for)
    }

    /// Returns the state of the subject without counting a request. It needs no call if it was read less than a second ago,
    /// and one eventually consistent read otherwise.
    pub async fn peek(&self, subject: &Subject, quota: Quota) -> Result<Verdict, TableError> {
        let now = self.clock.now();
        if self.peeked.get(subject).is_none_or(|at| now.since(at) >= PEEKED) {
            if let Some(state) = self.table.get(key::rate_limit(subject), Consistency::Eventual).await? {
                self.observe(subject, state);
            }
            self.peeked.insert(subject.clone(), now);
        }
        Ok(self.recall(subject, quota))
    }

    /// Returns the last seen state of the subject, without a call.
    pub(crate) fn recall(&self, subject: &Subject, quota: Quota) -> Verdict {
        Verdict::new(quota, self.last_seen(subject).as_ref(), Instant::from(self.clock.now()), None)
    }

    /// Returns whether [`Limiter::admit`] would refuse without a call.
    pub(crate) fn refuses(&self, subject: &Subject, quota: Quota) -> bool {
        let now = Instant::from(self.clock.now());
        self.known.with(subject, |known| known.refuses(quota, now))
    }

    /// Returns the state of a subject after its last request here, whether the table admitted or refused it.
    pub fn last_seen(&self, subject: &Subject) -> Option<State> {
        self.known.with(subject, |known| known.state().cloned())
    }

    /// Stores a state that another read returned, so that the next guess has it.
    pub(crate) fn observe(&self, subject: &Subject, state: State) {
        self.known.with(subject, |known| known.observe(state));
    }
}

/// Returns the time for which an environment sends no writes of an item that DynamoDB has throttled, in microseconds. It is
/// random, so that the environments do not go on at once.
fn rest() -> i64 {
    (i64::from(random_byte()) + 1) * LONGEST_REST / 256
}

#[cfg(test)]
mod tests;
