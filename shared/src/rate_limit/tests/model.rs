//! Every state that two environments with different clocks can get into, with leases of any size that lapse, and crashes.

use stateright::{Checker, Model, Property};

use crate::clock::Timestamp;
use crate::model::{Quota, State};
use crate::rate_limit::knowledge::{Knowledge, Step};
use crate::rate_limit::take::Take;

/// A token comes back each 250 ms, and a lease is valid as long.
const QUOTA: Quota = Quota { per_minute: 240, burst: 3 };
/// The requests that the minute has left at first.
const LEFT: u32 = 3;
/// The milliseconds by which time passes.
const STEP: i64 = 125;
const STEPS: u8 = 4;
const REQUESTS: u8 = 4;
const SKEW: i64 = 200;

#[derive(Clone, Debug, Hash, PartialEq, Eq)]
enum Flight {
    None,
    ToTable(Take),
    Back(Take, Result<State, Option<State>>),
}

#[derive(Clone, Debug, Hash, PartialEq, Eq)]
struct Environment {
    known: Knowledge,
    flight: Flight,
    crashed: bool,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq)]
struct World {
    steps: u8,
    requests: u8,
    table: State,
    environments: [Environment; 2],
    /// The clocks of the admissions in milliseconds, in order.
    admissions: Vec<i64>,
    undecided: bool,
}

#[derive(Clone, Debug, PartialEq)]
enum Action {
    Pass,
    /// A request that takes so many admissions if it needs a write.
    Request(usize, u32),
    Write(usize),
    Answer(usize),
    Crash(usize),
}

struct Limiters;

impl Limiters {
    fn start() -> i64 {
        1_800_000_000_000
    }

    fn time(world: &World, environment: usize) -> Timestamp {
        let skew = if environment == 1 { SKEW } else { 0 };
        Timestamp::from_millis(Self::start() + i64::from(world.steps) * STEP + skew)
    }
}

fn admit(world: &mut World, micros: i64) {
    world.admissions.push(micros / 1000 - Limiters::start());
    world.admissions.sort_unstable();
}

impl Model for Limiters {
    type State = World;
    type Action = Action;

    fn init_states(&self) -> Vec<World> {
        let minute = Self::start() / 60_000;
        let table = State { tat: (Self::start() - 1) * 1000, minutes: vec![(minute, QUOTA.per_minute - LEFT)] };
        // One environment knows the item, and one has just started.
        let mut known = Knowledge::default();
        known.observe(table.clone());
        let environment = |known| Environment { known, flight: Flight::None, crashed: false };
        vec![World {
            steps: 0,
            requests: 0,
            table,
            environments: [environment(known), environment(Knowledge::default())],
            admissions: Vec::new(),
            undecided: false,
        }]
    }

    fn actions(&self, world: &World, actions: &mut Vec<Action>) {
        if world.steps < STEPS {
            actions.push(Action::Pass);
        }
        for (at, environment) in world.environments.iter().enumerate() {
            match environment.flight {
                Flight::None if world.requests < REQUESTS => {
                    actions.extend([1, 2].map(|count| Action::Request(at, count)));
                }
                Flight::None => {}
                Flight::ToTable(_) => actions.push(Action::Write(at)),
                Flight::Back(..) => actions.push(Action::Answer(at)),
            }
            if !environment.crashed && environment.flight != Flight::None {
                actions.push(Action::Crash(at));
            }
        }
    }

    fn next_state(&self, before: &World, action: Action) -> Option<World> {
        let mut world = before.clone();
        let decided = match action {
            Action::Pass => {
                world.steps += 1;
                return Some(world);
            }
            Action::Crash(at) => {
                let crashed = Environment { known: Knowledge::default(), flight: Flight::None, crashed: true };
                world.environments[at] = crashed;
                return Some(world);
            }
            Action::Write(at) => {
                let Flight::ToTable(take) = world.environments[at].flight.clone() else { return None };
                let after = take.apply(Some(&world.table));
                let outcome = after.clone().ok_or_else(|| Some(world.table.clone()));
                if let Some(after) = after {
                    world.table = after;
                    admit(&mut world, take.now.micros);
                }
                world.environments[at].flight = Flight::Back(take, outcome);
                return Some(world);
            }
            Action::Request(at, count) => {
                world.requests += 1;
                let time = Self::time(&world, at);
                let environment = &mut world.environments[at];
                let step = environment.known.begin_with(QUOTA, time.into(), |_| count);
                if matches!(&step, Step::Decided(verdict) if verdict.refused_for.is_none()) {
                    admit(&mut world, time.as_millis() * 1000);
                }
                (at, step)
            }
            Action::Answer(at) => {
                let Flight::Back(take, outcome) = world.environments[at].flight.clone() else { return None };
                // A lease of any size may miss the minute's bound, from which the limiter's own sizes keep away.
                let single = take.count == 1;
                let step = world.environments[at].known.learn(take, outcome);
                world.undecided |= single && step == Step::Undecided;
                (at, step)
            }
        };
        let (at, step) = decided;
        world.environments[at].flight = match step {
            Step::Write(take) => Flight::ToTable(take),
            Step::Decided(_) | Step::Undecided => Flight::None,
        };
        Some(world)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::always("the bucket holds", |_, world: &World| {
                let mut tat = i64::MIN;
                world.admissions.iter().all(|clock| {
                    tat = tat.max(*clock) + QUOTA.interval() / 1000;
                    tat <= clock + QUOTA.capacity() / 1000
                })
            }),
            Property::always("the minute holds", |_, world: &World| world.admissions.len() <= LEFT as usize),
            Property::sometimes("the minute is used up", |_, world: &World| world.admissions.len() == LEFT as usize),
            Property::sometimes("a crash loses a lease", |_, world: &World| {
                world.environments[0].crashed && world.table.used(Self::start() / 60_000) == QUOTA.per_minute
            }),
        ]
    }
}

#[test]
fn no_order_of_steps_admits_too_much() {
    let checked = Limiters.checker().threads(2).spawn_bfs().join();
    checked.assert_properties();
    println!("{} states", checked.unique_state_count());
}
