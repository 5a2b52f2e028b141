//! Many environments on one table, each with several requests at once, whose writes take time. Environments crash, answers
//! get lost, writes are throttled, and clocks differ.

use std::collections::HashMap;

use proptest::prelude::*;

use super::write;
use crate::clock::Timestamp;
use crate::model::{Quota, State};
use crate::rate_limit::knowledge::{Knowledge, Outcome, Step};
use crate::rate_limit::take::{Bucket, Take};
use crate::rate_limit::verdict::{Instant, refusal};

/// An admission by the clock of its environment, in microseconds.
type Admission = i64;

/// The requests that an environment decides at once.
const AT_ONCE: usize = 4;

/// A request that waits for the table.
struct Flight {
    take: Take,
    /// The requests that the minute had left when the request arrived.
    left: u32,
    writes: u32,
    /// Whether a write took several admissions, was throttled, or lost its answer. Only then a refusal needs no proof.
    may_be_unproved: bool,
    answer: Option<Answer>,
}

/// The answer of the table, on its way.
struct Answer {
    outcome: Outcome,
    /// The requests left of the minute after the write.
    left: u32,
    /// Whether the item refuses the request.
    refuses: bool,
}

struct Environment {
    known: Knowledge,
    /// How far the clock is ahead, in milliseconds.
    skew: i64,
    flights: Vec<Flight>,
    throttled: bool,
}

#[derive(Debug, Clone, Copy)]
enum Event {
    /// Time passes, in milliseconds.
    Pass(u16),
    /// An environment goes on with one of its requests, or begins another.
    Step(u8, u8),
    /// An environment reads the item.
    Read(u8),
    /// The answer to a write gets lost. The write was applied or not.
    Lose(u8, u8, bool),
    /// DynamoDB throttles a write. The environment rests, in microseconds.
    Throttle(u8, u8, i64),
    /// An environment and all that it knows are gone. Its writes may arrive or not.
    Crash(u8),
}

fn events(environments: u8) -> impl Strategy<Value = Vec<Event>> {
    let one = 0..environments;
    let event = prop_oneof![
        6 => (0u16..30).prop_map(Event::Pass),
        2 => (0u16..2_500).prop_map(Event::Pass),
        120 => (one.clone(), any::<u8>()).prop_map(|(at, flight)| Event::Step(at, flight)),
        4 => one.clone().prop_map(Event::Read),
        2 => (one.clone(), any::<u8>(), any::<bool>()).prop_map(|(at, flight, applied)| Event::Lose(at, flight, applied)),
        1 => (one.clone(), any::<u8>(), 0i64..400_000).prop_map(|(at, flight, rest)| Event::Throttle(at, flight, rest)),
        2 => one.prop_map(Event::Crash),
    ];
    prop::collection::vec(event, 100..3_000)
}

struct World {
    quota: Quota,
    millis: i64,
    table: Option<State>,
    environments: Vec<Environment>,
    admissions: Vec<Admission>,
    /// The most admissions of each minute that were taken and not used when the minute was full.
    out: HashMap<i64, u32>,
}

/// Returns the number of requests that a minute has left.
fn left(quota: Quota, admissions: &[Admission], minute: i64) -> u32 {
    let admitted = admissions.iter().filter(|clock| clock.div_euclid(60_000_000) == minute).count();
    quota.per_minute - admitted as u32
}

impl World {
    fn left(&self, minute: i64) -> u32 {
        left(self.quota, &self.admissions, minute)
    }

    fn begin(&mut self, at: usize) {
        let environment = &mut self.environments[at];
        let time = Timestamp::from_millis(self.millis + environment.skew);
        let now = Instant::from(time);
        let left = left(self.quota, &self.admissions, now.minute);
        match environment.known.begin(self.quota, time) {
            Step::Write(take) => {
                let may_be_unproved = take.count > 1;
                environment.flights.push(Flight { take, left, writes: 0, may_be_unproved, answer: None });
            }
            Step::Decided(verdict) if verdict.refused_for.is_none() => {
                self.admissions.push(now.micros);
                assert!(verdict.remaining < left, "{left} were left and {verdict:?}");
            }
            Step::Decided(verdict) if verdict.contended => {
                assert!(environment.throttled, "nothing was throttled here");
                assert!(verdict.remaining <= left, "{left} are left and {verdict:?}");
            }
            Step::Decided(verdict) => {
                // Each wrong refusal is one of the admissions that were out when the minute was full.
                let is_exact = refusal(self.table.as_ref(), self.quota, now, 0).is_some();
                let out = self.out.get(&now.minute);
                assert!(is_exact || out.is_some_and(|out| left <= *out), "{left} are left, {out:?} are out");
                // Whatever others have taken since the last seen state was decided for a later instant.
                let later = self.admissions.iter().filter(|clock| **clock > now.micros).count() as u32;
                assert!(verdict.remaining <= left + later, "{left} are left and {verdict:?}");
            }
        }
    }

    /// Goes on with a request of an environment: its write reaches the table, or the answer comes back.
    fn step(&mut self, at: usize, flight: usize) {
        if self.environments[at].flights[flight].answer.is_none() {
            return self.send(at, flight);
        }
        let environment = &mut self.environments[at];
        let Flight { take, left: before, writes, may_be_unproved, answer } = environment.flights.swap_remove(flight);
        let Answer { outcome, left, refuses } = answer.expect("it has come");
        let (now, is_written) = (take.now, matches!(outcome, Outcome::Written(_)));
        match environment.known.learn(take, outcome) {
            Step::Write(take) => {
                assert!(take.count == 1 || take.bucket == Bucket::InUse, "a wrong guess can follow a wrong guess");
                let may_be_unproved = may_be_unproved || take.count > 1;
                environment.flights.push(Flight { take, left: before, writes, may_be_unproved, answer: None });
            }
            Step::Decided(verdict) => {
                assert_eq!(verdict.reset, (now.minute + 1) * 60, "the answer tells its own minute");
                assert_eq!(verdict.refused_for.is_none(), is_written);
                if verdict.contended {
                    assert!(may_be_unproved && verdict.remaining <= before, "{verdict:?}");
                } else {
                    assert!(is_written || refuses, "{verdict:?}");
                    assert_eq!(verdict.remaining, left, "the answer tells the item after its write");
                }
            }
        }
    }

    fn send(&mut self, at: usize, flight: usize) {
        let flight = &mut self.environments[at].flights[flight];
        flight.writes += 1;
        assert!(flight.writes <= 2, "two writes decide");
        let Take { now, count, returned, .. } = flight.take;
        let refuses = refusal(self.table.as_ref(), self.quota, now, returned).is_some();
        let outcome = write(&mut self.table, &flight.take);
        let mut left = self.quota.per_minute - self.table.as_ref().map_or(0, |state| state.used(now.minute));
        if let Outcome::Written(_) = outcome {
            left += count - 1;
            self.admissions.push(now.micros);
        }
        flight.answer = Some(Answer { outcome, left, refuses });
        self.note_full(now.minute);
    }

    /// Lets a write end without a decision. Does nothing if its answer is on its way.
    fn end(&mut self, at: usize, flight: usize, outcome: Outcome, applied: bool) {
        let environment = &mut self.environments[at];
        let flight = &mut environment.flights[flight];
        if flight.answer.is_some() {
            return;
        }
        flight.writes += 1;
        flight.may_be_unproved = true;
        environment.throttled |= matches!(outcome, Outcome::Throttled(_));
        let minute = flight.take.now.minute;
        if applied {
            write(&mut self.table, &flight.take);
        }
        flight.answer = Some(Answer { outcome, left: 0, refuses: false });
        self.note_full(minute);
    }

    fn note_full(&mut self, minute: i64) {
        let used = self.table.as_ref().map_or(0, |state| state.used(minute));
        assert!(used <= self.quota.per_minute);
        if used == self.quota.per_minute {
            let out = self.left(minute);
            let most = self.out.entry(minute).or_default();
            *most = out.max(*most);
        }
    }

    fn happen(&mut self, event: Event) {
        let environments = self.environments.len();
        let at = |at: u8| usize::from(at) % environments;
        let flight = |world: &Self, at: usize, flight: u8| match world.environments[at].flights.len() {
            0 => None,
            flights => Some(usize::from(flight) % flights),
        };
        match event {
            Event::Pass(millis) => self.millis += i64::from(millis),
            Event::Step(environment, chosen) => {
                let flights = self.environments[at(environment)].flights.len();
                match usize::from(chosen) % (flights + 1) {
                    new if new == flights && flights < AT_ONCE => self.begin(at(environment)),
                    chosen => self.step(at(environment), chosen % flights),
                }
            }
            Event::Read(environment) => {
                if let Some(state) = self.table.clone() {
                    self.environments[at(environment)].known.observe(state);
                }
            }
            Event::Lose(environment, chosen, applied) => {
                if let Some(chosen) = flight(self, at(environment), chosen) {
                    self.end(at(environment), chosen, Outcome::Unanswered, applied);
                }
            }
            Event::Throttle(environment, chosen, rest) => {
                if let Some(chosen) = flight(self, at(environment), chosen) {
                    self.end(at(environment), chosen, Outcome::Throttled(rest), false);
                }
            }
            Event::Crash(environment) => {
                let environment = &mut self.environments[at(environment)];
                let skew = environment.skew;
                *environment = Environment { known: Knowledge::default(), skew, flights: Vec::new(), throttled: false };
            }
        }
    }
}

/// Asserts both bounds for every two admissions.
pub(super) fn assert_bounds(quota: Quota, mut admissions: Vec<Admission>) {
    admissions.sort_unstable();
    // The bucket as it is without leases, writes and skew.
    let mut tat = i64::MIN;
    for &clock in &admissions {
        tat = tat.max(clock) + quota.interval();
        assert!(tat <= clock + quota.capacity(), "more than the bucket allows at {clock}");
    }
    for minute in admissions.chunk_by(|a, b| a.div_euclid(60_000_000) == b.div_euclid(60_000_000)) {
        assert!(minute.len() <= quota.per_minute as usize, "more than the minute allows");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]
    #[test]
    fn nothing_is_admitted_beyond_the_bounds(
        (per_minute, burst) in prop_oneof![
            Just((60, 20)), Just((600, 100)), Just((600, 40)), Just((3_000, 60)), Just((1_000, 100)), Just((40, 100)),
        ],
        skews in prop::collection::vec(0i64..200, 1..12),
        start in 0i64..60_000,
        events in events(12),
    ) {
        let quota = Quota { per_minute, burst };
        let environment =
            |skew| Environment { known: Knowledge::default(), skew, flights: Vec::new(), throttled: false };
        let mut world = World {
            quota,
            millis: 1_800_000_000_000 + start,
            table: None,
            environments: skews.into_iter().map(environment).collect(),
            admissions: Vec::new(),
            out: HashMap::new(),
        };
        for event in events {
            world.happen(event);
        }
        assert_bounds(quota, world.admissions);
    }
}
