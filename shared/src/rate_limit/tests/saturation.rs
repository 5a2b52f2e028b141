//! One account at 20,000 requests a second, on an item that takes 1,000 writes a second. Time is virtual.

use std::collections::{BTreeMap, VecDeque};

use super::simulation::assert_bounds;
use super::write;
use crate::clock::Timestamp;
use crate::model::{Quota, State};
use crate::rate_limit::LONGEST_REST;
use crate::rate_limit::knowledge::{Knowledge, Outcome, Step};
use crate::rate_limit::take::Take;

/// 20,000 requests a second, and five seconds of them at once.
const QUOTA: Quota = Quota { per_minute: 1_200_000, burst: 100_000 };
const RATE: usize = 20_000;
const WRITES_A_SECOND: i64 = 1_000;
/// The time from an environment to the table, in microseconds.
const WAY: i64 = 2_500;
const SECOND: i64 = 1_000_000;
const BEGINS: i64 = 1_800_000_000 * SECOND;
/// The seconds of the load.
const LASTS: usize = 8;

#[derive(Debug)]
enum Event {
    Arrival,
    Write(usize, Take),
    Answer(usize, Take, Outcome),
}

/// Environments that answer one request after the other, and the item.
struct World {
    table: Option<State>,
    /// The time at which the partition can take a whole second's writes at once again.
    rested_at: i64,
    environments: Vec<Knowledge>,
    idle: VecDeque<usize>,
    /// The requests that wait for an idle environment.
    waiting: usize,
    events: BTreeMap<(i64, usize), Event>,
    scheduled: usize,
    random: u64,
    /// The clocks of the admissions.
    admissions: Vec<i64>,
    /// The admissions, contended requests and writes of each second.
    seconds: [[usize; 3]; LASTS + 2],
}

impl World {
    fn schedule(&mut self, at: i64, event: Event) {
        self.scheduled += 1;
        self.events.insert((at, self.scheduled), event);
    }

    /// Returns a number below a million.
    fn random(&mut self) -> i64 {
        self.random = self.random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (self.random >> 33) as i64 % 1_000_000
    }

    fn count(&mut self, now: i64, what: usize) {
        self.seconds[((now - BEGINS) / SECOND) as usize][what] += 1;
    }

    fn write(&mut self, take: &Take, now: i64) -> Outcome {
        if self.rested_at > now + SECOND {
            return Outcome::Throttled((self.random() + 1) * LONGEST_REST / 1_000_000);
        }
        self.rested_at = self.rested_at.max(now) + SECOND / WRITES_A_SECOND;
        self.count(now, 2);
        write(&mut self.table, take)
    }

    fn go_on(&mut self, at: usize, step: Step, now: i64, clock: i64) {
        match step {
            Step::Write(take) => self.schedule(now + WAY, Event::Write(at, take)),
            Step::Decided(verdict) => {
                self.idle.push_back(at);
                if verdict.refused_for.is_none() {
                    self.admissions.push(clock);
                    self.count(now, 0);
                } else if verdict.contended {
                    self.count(now, 1);
                }
            }
        }
    }

    fn serve(&mut self, now: i64) {
        while self.waiting > 0
            && let Some(at) = self.idle.pop_front()
        {
            self.waiting -= 1;
            let time = Timestamp::from_millis(now / 1000);
            let step = self.environments[at].begin(QUOTA, time);
            self.go_on(at, step, now, time.as_millis() * 1000);
        }
    }
}

/// Offers a multiple of the limit, at random times. Returns the admissions, contended requests and writes of each second.
fn offer(environments: usize, times: f64) -> [[usize; 3]; LASTS + 2] {
    let mut world = World {
        table: None,
        rested_at: BEGINS,
        environments: vec![Knowledge::default(); environments],
        idle: (0..environments).collect(),
        waiting: 0,
        events: BTreeMap::from([((BEGINS, 0), Event::Arrival)]),
        scheduled: 0,
        random: 1,
        admissions: Vec::new(),
        seconds: Default::default(),
    };
    let gap = SECOND as f64 / (RATE as f64 * times);
    let mut due = BEGINS as f64;
    while let Some(((now, _), event)) = world.events.pop_first() {
        match event {
            Event::Arrival => {
                due -= gap * ((world.random() + 1) as f64 / 1_000_001.0).ln();
                if (due as i64) < BEGINS + LASTS as i64 * SECOND {
                    world.schedule(due as i64, Event::Arrival);
                }
                world.waiting += 1;
            }
            Event::Write(at, take) => {
                let outcome = world.write(&take, now);
                world.schedule(now + WAY, Event::Answer(at, take, outcome));
            }
            Event::Answer(at, take, outcome) => {
                let clock = take.now.micros;
                let step = world.environments[at].learn(take, outcome);
                world.go_on(at, step, now, clock);
            }
        }
        world.serve(now);
    }
    println!("{environments} environments, {times} times the limit: {:?}", world.seconds);
    assert_bounds(QUOTA, world.admissions);
    world.seconds
}

/// Below the limit each request is admitted. Only environments that start at once may refuse some in their first two seconds.
#[test]
fn below_the_limit_an_item_carries_twenty_thousand_requests_a_second() {
    for environments in [16, 64, 256] {
        let seconds = offer(environments, 0.9);
        for [admitted, contended, writes] in &seconds[2..LASTS] {
            assert!(*admitted > RATE * 88 / 100 && *contended == 0 && *writes < 700, "{seconds:?}");
        }
    }
}

/// Above the limit the bucket is empty at last. Each of its tokens is used as it comes back.
#[test]
fn above_the_limit_an_item_admits_what_the_limit_allows() {
    for (environments, times) in [(16, 2.0), (64, 5.0), (256, 5.0)] {
        let seconds = offer(environments, times);
        let admitted: usize = seconds[5..LASTS].iter().map(|[admitted, ..]| admitted).sum();
        assert!(admitted * 100 >= 3 * RATE * 98, "{seconds:?}");
    }
}
