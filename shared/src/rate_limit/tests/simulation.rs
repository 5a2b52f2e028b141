//! Many environments on one table, whose writes take time, with crashes and clocks that differ.

use proptest::prelude::*;

use crate::clock::Timestamp;
use crate::model::{Quota, State};
use crate::rate_limit::knowledge::{Knowledge, Step};
use crate::rate_limit::take::Take;
use crate::rate_limit::verdict::{Instant, Verdict, refusal};

/// An admission by the clock of its environment, in microseconds.
type Admission = i64;

/// A write on its way, and the time of its request by the environment's clock.
enum Flight {
    ToTable(Take),
    Back(Take, Result<State, Option<State>>),
}

struct Environment {
    known: Knowledge,
    /// How far the clock is ahead, in milliseconds.
    skew: i64,
    flight: Option<Flight>,
    writes: u32,
}

#[derive(Debug, Clone, Copy)]
enum Event {
    /// Time passes, in milliseconds.
    Pass(u16),
    /// An environment goes on with its request, or begins one.
    Step(u8),
    /// An environment and all that it knows are gone. Its write may arrive or not.
    Crash(u8),
}

fn events(environments: u8) -> impl Strategy<Value = Vec<Event>> {
    let event = prop_oneof![
        3 => (0u16..30).prop_map(Event::Pass),
        1 => (0u16..2_500).prop_map(Event::Pass),
        60 => (0..environments).prop_map(Event::Step),
        1 => (0..environments).prop_map(Event::Crash),
    ];
    prop::collection::vec(event, 100..3_000)
}

struct World {
    quota: Quota,
    millis: i64,
    table: Option<State>,
    environments: Vec<Environment>,
    admissions: Vec<Admission>,
    leased: usize,
    given_back: bool,
}

impl World {
    fn admitted_in(&self, minute: i64) -> u32 {
        self.admissions.iter().filter(|clock| clock.div_euclid(60_000_000) == minute).count() as u32
    }

    fn admit(&mut self, clock: Admission, told: Option<&Verdict>) {
        self.admissions.push(clock);
        let Some(told) = told else { return };
        let left = self.quota.per_minute - self.admitted_in(clock.div_euclid(60_000_000));
        assert!(told.remaining <= left, "{} are left and {told:?}", left);
    }

    fn step(&mut self, at: usize) {
        let environment = &mut self.environments[at];
        let time = Timestamp::from_millis(self.millis + environment.skew);
        let clock = Instant::from(time).micros;
        let step = match environment.flight.take() {
            None => {
                environment.writes = 0;
                environment.known.begin(self.quota, time)
            }
            Some(Flight::ToTable(take)) => {
                environment.writes += 1;
                assert!(environment.writes <= 2, "two writes decide");
                self.given_back |= take.returned > 0;
                let after = take.apply(self.table.as_ref());
                let outcome = after.clone().ok_or_else(|| self.table.clone());
                environment.flight = Some(Flight::Back(take.clone(), outcome));
                if let Some(after) = after {
                    let used = after.used(take.now.minute);
                    self.table = Some(after);
                    self.admit(take.now.micros, None);
                    assert!(used <= self.quota.per_minute);
                }
                return;
            }
            Some(Flight::Back(take, outcome)) => {
                let admitted = outcome.is_ok();
                let now = take.now;
                let step = environment.known.learn(take, outcome);
                if let Step::Decided(verdict) = step {
                    assert_eq!(verdict.refused_for.is_none(), admitted);
                    assert_eq!(verdict.reset, (now.minute + 1) * 60, "the answer tells its own minute");
                    return;
                }
                step
            }
        };
        match step {
            Step::Decided(verdict) if verdict.refused_for.is_none() => {
                self.leased += 1;
                self.admit(clock, Some(&verdict));
            }
            Step::Decided(_) => {
                let exact = refusal(self.table.as_ref(), self.quota, Instant::from(time)).is_some();
                assert!(exact || self.given_back, "a refusal that is known without a call is still right");
            }
            Step::Write(take) => self.environments[at].flight = Some(Flight::ToTable(take)),
            Step::Undecided => panic!("two writes decide"),
        }
    }

    fn crash(&mut self, at: usize) {
        let environment = &mut self.environments[at];
        environment.known = Knowledge::default();
        environment.flight = None;
    }
}

/// Asserts both bounds for every two admissions.
fn assert_bounds(quota: Quota, mut admissions: Vec<Admission>) {
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
        let environments: Vec<_> = skews
            .into_iter()
            .map(|skew| Environment { known: Knowledge::default(), skew, flight: None, writes: 0 })
            .collect();
        let count = environments.len();
        let mut world = World {
            quota,
            millis: 1_800_000_000_000 + start,
            table: None,
            environments,
            admissions: Vec::new(),
            leased: 0,
            given_back: false,
        };
        for event in events {
            match event {
                Event::Pass(millis) => world.millis += i64::from(millis),
                Event::Step(at) => world.step(usize::from(at) % count),
                Event::Crash(at) => world.crash(usize::from(at) % count),
            }
        }
        assert_bounds(quota, world.admissions);
    }
}
