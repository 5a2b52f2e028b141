//! Every state that two environments with different clocks can get into, with leases of any size that lapse, a lost
//! answer or a crash, in the middle of a minute and at its end.

use stateright::{Checker, Model, Property};

use crate::clock::Timestamp;
use crate::model::{Quota, State};
use crate::rate_limit::knowledge::{Knowledge, Outcome, Step};
use crate::rate_limit::take::Take;

/// A token comes back each 250 ms, and a lease is valid for 187.5 ms.
const QUOTA: Quota = Quota { per_minute: 240, burst: 3 };
/// The requests that each minute has left at first.
const LEFT: u32 = 3;
/// The milliseconds by which time passes.
const STEP: i64 = 125;
const STEPS: u8 = 3;
const REQUESTS: u8 = 4;
const SKEW: i64 = 200;
const MINUTE: i64 = 60_000;
/// The beginning of a minute.
const BEGIN: i64 = 1_800_000_000_000;
/// The milliseconds of the minute that have passed at first, and whether an environment has an unused lease then.
const STARTS: [(i64, bool); 3] = [(0, false), (MINUTE - 300, false), (10_000, true)];

#[derive(Clone, Debug, Hash, PartialEq, Eq)]
enum Flight {
    None,
    ToTable(Take),
    Back(Take, Outcome),
}

#[derive(Clone, Debug, Hash, PartialEq, Eq)]
struct Environment {
    known: Knowledge,
    flight: Flight,
    /// Whether the request has met nothing after which two writes may not decide: a lease's write, or a lost answer.
    must_be_decided: bool,
    crashed: bool,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq)]
struct World {
    start: i64,
    steps: u8,
    requests: u8,
    table: State,
    environments: [Environment; 2],
    /// The clocks of the admissions in milliseconds after [`BEGIN`], in order.
    admissions: Vec<i64>,
    undecided: bool,
    /// Whether an answer got lost or an environment crashed.
    faulty: bool,
    given_back: bool,
    lost_a_give_back: bool,
}

#[derive(Clone, Debug, PartialEq)]
enum Action {
    Pass,
    /// A request that takes so many admissions if it needs a write.
    Request(usize, u32),
    Write(usize),
    /// A write is applied or not, and its answer gets lost.
    Lose(usize, bool),
    Answer(usize),
    Crash(usize),
}

struct Limiters;

impl Limiters {
    fn time(world: &World, environment: usize) -> Timestamp {
        let skew = if environment == 1 { SKEW } else { 0 };
        Timestamp::from_millis(BEGIN + world.start + i64::from(world.steps) * STEP + skew)
    }
}

impl World {
    fn admit(&mut self, micros: i64) {
        self.admissions.push(micros / 1000 - BEGIN);
        self.admissions.sort_unstable();
    }

    fn apply(&mut self, take: &Take) -> Outcome {
        let Some(after) = take.apply(Some(&self.table)) else { return Outcome::Refused(Some(self.table.clone())) };
        self.given_back |= take.returned > 0;
        self.table = after.clone();
        Outcome::Written(after)
    }

    fn admitted_in(&self, minute: i64) -> usize {
        self.admissions.iter().filter(|clock| clock.div_euclid(MINUTE) == minute).count()
    }
}

impl Model for Limiters {
    type State = World;
    type Action = Action;

    fn init_states(&self) -> Vec<World> {
        let minute = BEGIN / MINUTE;
        let worlds = STARTS.map(|(start, is_leased)| {
            let used = QUOTA.per_minute - LEFT;
            let mut table =
                State { tat: (BEGIN + start - 5_000) * 1000, minutes: vec![(minute, used), (minute + 1, used)] };
            // One environment knows the item, and one has just started.
            let mut known = Knowledge::default();
            known.observe(table.clone());
            let mut admissions = Vec::new();
            if is_leased {
                let time = Timestamp::from_millis(BEGIN + start - 4_000);
                let Step::Write(take) = known.begin_with(QUOTA, time.into(), |_| LEFT) else {
                    panic!("nothing is known")
                };
                table = take.apply(Some(&table)).expect("the bucket is full");
                known.learn(take, Outcome::Written(table.clone()));
                admissions.push(start - 4_000);
            }
            let environment =
                |known| Environment { known, flight: Flight::None, must_be_decided: true, crashed: false };
            World {
                start,
                steps: 0,
                requests: 0,
                table,
                environments: [environment(known), environment(Knowledge::default())],
                admissions,
                undecided: false,
                given_back: false,
                faulty: false,
                lost_a_give_back: false,
            }
        });
        worlds.into()
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
                Flight::ToTable(_) => {
                    actions.push(Action::Write(at));
                    if !world.faulty {
                        actions.extend([true, false].map(|applied| Action::Lose(at, applied)));
                    }
                }
                Flight::Back(..) => actions.push(Action::Answer(at)),
            }
            if !world.faulty && environment.known != Knowledge::default() {
                actions.push(Action::Crash(at));
            }
        }
    }

    fn next_state(&self, before: &World, action: Action) -> Option<World> {
        let mut world = before.clone();
        let (at, step) = match action {
            Action::Pass => {
                world.steps += 1;
                return Some(world);
            }
            Action::Crash(at) => {
                world.faulty = true;
                world.environments[at] = Environment {
                    known: Knowledge::default(),
                    flight: Flight::None,
                    must_be_decided: true,
                    crashed: true,
                };
                return Some(world);
            }
            Action::Write(at) => {
                let Flight::ToTable(take) = world.environments[at].flight.clone() else { return None };
                let outcome = world.apply(&take);
                if let Outcome::Written(_) = outcome {
                    world.admit(take.now.micros);
                }
                world.environments[at].flight = Flight::Back(take, outcome);
                return Some(world);
            }
            Action::Lose(at, applied) => {
                let Flight::ToTable(take) = world.environments[at].flight.clone() else { return None };
                world.faulty = true;
                world.lost_a_give_back |= applied && take.returned > 0;
                if applied {
                    world.apply(&take);
                }
                world.environments[at].must_be_decided = false;
                world.environments[at].flight = Flight::Back(take, Outcome::Unanswered);
                return Some(world);
            }
            Action::Request(at, count) => {
                world.requests += 1;
                let time = Self::time(&world, at);
                let environment = &mut world.environments[at];
                environment.must_be_decided = count == 1;
                let step = environment.known.begin_with(QUOTA, time.into(), |_| count);
                if matches!(&step, Step::Decided(verdict) if verdict.refused_for.is_none()) {
                    world.admit(time.as_millis() * 1000);
                }
                (at, step)
            }
            Action::Answer(at) => {
                let Flight::Back(take, outcome) = world.environments[at].flight.clone() else { return None };
                let environment = &mut world.environments[at];
                let count = take.count;
                let step = environment.known.learn_with(take, outcome, |_| count);
                let contended = matches!(&step, Step::Decided(verdict) if verdict.contended);
                world.undecided |= contended && environment.must_be_decided;
                (at, step)
            }
        };
        world.environments[at].flight = match step {
            Step::Write(take) => Flight::ToTable(take),
            Step::Decided(_) => Flight::None,
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
            Property::always("each minute holds", |_, world: &World| {
                [0, 1].iter().all(|minute| world.admitted_in(*minute) <= LEFT as usize)
            }),
            Property::always("two writes decide", |_, world: &World| !world.undecided),
            Property::sometimes("the minute is used up", |_, world: &World| world.admitted_in(0) == LEFT as usize),
            Property::sometimes("both minutes admit", |_, world: &World| {
                [0, 1].iter().all(|minute| world.admitted_in(*minute) > 0)
            }),
            Property::sometimes("a lapsed lease is given back", |_, world: &World| world.given_back),
            Property::sometimes("the answer to a give-back gets lost", |_, world: &World| world.lost_a_give_back),
            Property::sometimes("a crash loses a lease", |_, world: &World| {
                world.environments[0].crashed && world.table.used(BEGIN / MINUTE) == QUOTA.per_minute
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
