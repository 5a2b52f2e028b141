//! Explores every order in which up to four creations with fences reach one lane, while two consumers that may die take
//! turns. Each read and each conditional write of the code is a step. The code's own comparison of fences, order of a
//! lane and table of transitions decide here too.

use shared::clock::Timestamp;
use shared::model::{Concurrency, Fences, Lane, Live, Lock, Status, Waiting};
use stateright::{Checker, HasDiscoveries, Model, Property};

use super::{id, index};

/// A client's request to create a deployment. Its place in the list is the deployment's index.
#[derive(Clone, Copy, Debug, Default, Hash, PartialEq, Eq)]
struct Request {
    expected_current: Option<usize>,
    sequence: Option<u64>,
    /// Whether the deployment waits for an approval.
    needs_approval: bool,
}

/// The progress of a creation.
#[derive(Clone, Debug, Hash, PartialEq, Eq)]
enum Creation {
    NotSent,
    /// The creation has read the last number of the repository.
    Counted {
        last: u64,
    },
    /// The creation has found its fences fulfilled by the lane.
    Compared {
        last: u64,
    },
    Created,
    Refused,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq)]
struct Deployment {
    status: Status,
    number: u64,
    version: u8,
    fence: u64,
    ready: bool,
}

/// The write that a consumer has decided on.
#[derive(Clone, Copy, Debug, Hash, PartialEq, Eq)]
enum Turn {
    Claim,
    Supersede,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq)]
enum Consumer {
    Idle,
    /// The consumer has read the lane.
    Looked {
        next: usize,
        live: Option<usize>,
        lane_fence: u64,
    },
    /// The consumer has read the next deployment, and those that it expects.
    Decided {
        next: usize,
        version: u8,
        lane_fence: u64,
        turn: Turn,
    },
    Running {
        deployment: usize,
        fence: u64,
    },
}

#[derive(Clone, Debug, Hash, PartialEq, Eq)]
struct State {
    requests: Vec<Request>,
    creations: Vec<Creation>,
    deployments: Vec<Option<Deployment>>,
    consumers: [Consumer; 2],
    last_number: u64,
    holder: Option<usize>,
    lane_fence: u64,
    live: Option<usize>,
    /// The highest sequence that was accepted, and its deployment.
    sequence: Option<(u64, usize)>,
    /// The number of times that a consumer may still die or be cut off, and that a user may cancel.
    faults: u8,
    cancels: u8,
    /// Whether a deployment went live over another one than it expects.
    went_over_another: bool,
    /// Whether a transition was not in the table.
    not_in_table: bool,
}

#[derive(Clone, Debug, PartialEq)]
enum Action {
    Count(usize),
    Compare(usize),
    Create(usize),
    Approve(usize),
    Cancel(usize),
    Look(usize),
    Decide(usize),
    Write(usize),
    Finish {
        consumer: usize,
        well: bool,
    },
    Die(usize),
    /// A consumer claims a deployment whose runner has died or was cut off.
    TakeOver {
        consumer: usize,
        deployment: usize,
    },
}

/// A condition that is left out, to prove that a property notices its absence.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Without {
    Nothing,
    /// A creation does not compare what it expects with the lane.
    Comparison,
    /// A creation whose number was taken does not compare again.
    SecondComparison,
    /// A creation is written even if its number was taken.
    Number,
    /// A creation is written even if the lane has a higher sequence.
    Sequence,
    /// A turn does not compare what the deployment expects with what is live.
    Turn,
    /// A deployment whose expectation fails stays queued.
    Superseding,
}

struct Fenced {
    concurrency: Concurrency,
    requests: Vec<Vec<Request>>,
    without: Without,
}

impl State {
    fn new(requests: Vec<Request>) -> Self {
        let count = requests.len();
        let mut state = Self {
            requests,
            creations: vec![Creation::NotSent; count],
            deployments: vec![None; count],
            consumers: [Consumer::Idle, Consumer::Idle],
            last_number: 0,
            holder: None,
            lane_fence: 0,
            live: None,
            sequence: None,
            faults: 1,
            cancels: 1,
            went_over_another: false,
            not_in_table: false,
        };
        state.create(0);
        state
    }

    fn with_status(&self, status: Status) -> impl Iterator<Item = usize> {
        let is = move |row: &Option<Deployment>| row.as_ref().is_some_and(|row| row.status == status);
        (0..self.deployments.len()).filter(move |at| is(&self.deployments[*at]))
    }

    fn row(&self, deployment: usize) -> &Deployment {
        self.deployments[deployment].as_ref().unwrap()
    }

    fn create(&mut self, request: usize) {
        self.last_number += 1;
        self.deployments[request] = Some(Deployment {
            status: Status::Queued,
            number: self.last_number,
            version: 1,
            fence: 0,
            ready: !self.requests[request].needs_approval,
        });
        self.creations[request] = Creation::Created;
    }

    fn change(&mut self, deployment: usize, to: Status) {
        let row = self.deployments[deployment].as_mut().unwrap();
        self.not_in_table |= !row.status.successors().contains(&to);
        row.status = to;
        row.version += 1;
    }

    /// Returns the lane in the form that the code's Query reads.
    fn lane(&self) -> Lane {
        let mut waiting: Vec<_> = self
            .with_status(Status::Queued)
            .map(|at| Waiting {
                retry_at: None,
                deployment_id: id(at),
                number: self.row(at).number,
                ready: self.row(at).ready,
                wait_until: None,
                awaits: false,
                is_override: false,
            })
            .collect();
        waiting.sort_unstable_by_key(|waiting| waiting.number);
        let live = self.live.map(|live| Live {
            deployment_id: id(live),
            number: self.row(live).number,
            sha: String::new(),
            since: Timestamp::from_millis(0),
            environment_url: None,
        });
        let lock = Lock {
            holder: self.holder.map(id),
            holder_number: self.holder.map_or(0, |holder| self.row(holder).number),
            fence: self.lane_fence,
            live,
            sequence: self.sequence.map(|(sequence, _)| sequence),
            sequence_by: self.sequence.map(|(_, by)| id(by)),
        };
        Lane { lock, waiting, followers: Vec::new() }
    }

    fn fences(&self, request: usize) -> Fences {
        let Request { expected_current, sequence, .. } = self.requests[request];
        Fences { expected_current: expected_current.map(id), sequence }
    }

    /// Returns whether the live deployment is the one that a deployment expects. A superseded one stands for the one that
    /// it expected itself.
    fn finds_what_it_expects(&self, deployment: usize, live: Option<usize>) -> bool {
        let mut expected = self.requests[deployment].expected_current;
        while let Some(at) = expected {
            if live == expected {
                return true;
            }
            expected = match &self.deployments[at] {
                Some(row) if row.status == Status::Superseded => self.requests[at].expected_current,
                _ => return false,
            };
        }
        true
    }

    fn is_run(&self, deployment: usize) -> bool {
        let fence = self.row(deployment).fence;
        let runs = |consumer: &Consumer| *consumer == Consumer::Running { deployment, fence };
        self.consumers.iter().any(runs)
    }

    fn start(&mut self, consumer: usize, deployment: usize) {
        self.change(deployment, Status::InProgress);
        self.lane_fence += 1;
        self.holder = Some(deployment);
        self.deployments[deployment].as_mut().unwrap().fence = self.lane_fence;
        self.consumers[consumer] = Consumer::Running { deployment, fence: self.lane_fence };
    }
}

impl Fenced {
    /// Reads the lane, and ends what its newest deployment supersedes.
    fn look(&self, state: &mut State, consumer: usize) {
        let lane = state.lane();
        if let Some((older, _)) = lane.superseded(self.concurrency) {
            older.iter().for_each(|older| state.change(index(&older.deployment_id), Status::Superseded));
        }
        state.consumers[consumer] = match lane.next(self.concurrency, tests::NOON, false) {
            Some(next) if lane.lock.holder.is_none() => Consumer::Looked {
                next: index(&next.deployment_id),
                live: lane.lock.live.map(|live| index(&live.deployment_id)),
                lane_fence: lane.lock.fence,
            },
            _ => Consumer::Idle,
        };
    }

    fn decide(&self, state: &mut State, consumer: usize) {
        let Consumer::Looked { next, live, lane_fence } = state.consumers[consumer] else { return };
        let row = state.row(next);
        let is_older = live.is_some_and(|live| state.row(live).number > row.number);
        let finds = self.without == Without::Turn || state.finds_what_it_expects(next, live);
        let turn = if is_older || !finds { Turn::Supersede } else { Turn::Claim };
        let stays = row.status != Status::Queued || (self.without == Without::Superseding && !finds);
        state.consumers[consumer] = match stays {
            true => Consumer::Idle,
            false => Consumer::Decided { next, version: row.version, lane_fence, turn },
        };
    }

    fn write(&self, state: &mut State, consumer: usize) {
        let Consumer::Decided { next, version, lane_fence, turn } = state.consumers[consumer] else { return };
        state.consumers[consumer] = Consumer::Idle;
        let unchanged = state.row(next).version == version;
        let free = state.holder.is_none() && state.lane_fence == lane_fence;
        match turn {
            Turn::Claim if unchanged && free => {
                state.went_over_another |= !state.finds_what_it_expects(next, state.live);
                state.start(consumer, next);
            }
            Turn::Supersede if unchanged => state.change(next, Status::Superseded),
            _ => {}
        }
    }

    /// Lets one consumer act alone on a lane that nobody holds. Returns whether a deployment has left the queue.
    fn moves(&self, state: &State) -> bool {
        let mut after = state.clone();
        self.look(&mut after, 0);
        self.decide(&mut after, 0);
        self.write(&mut after, 0);
        after.deployments != state.deployments
    }
}

impl Model for Fenced {
    type State = State;
    type Action = Action;

    fn init_states(&self) -> Vec<State> {
        self.requests.iter().cloned().map(State::new).collect()
    }

    fn actions(&self, state: &State, actions: &mut Vec<Action>) {
        for (request, creation) in state.creations.iter().enumerate() {
            match creation {
                Creation::NotSent => actions.push(Action::Count(request)),
                Creation::Counted { .. } => actions.push(Action::Compare(request)),
                Creation::Compared { .. } => actions.push(Action::Create(request)),
                Creation::Created | Creation::Refused => {}
            }
        }
        for queued in state.with_status(Status::Queued) {
            if !state.row(queued).ready {
                actions.push(Action::Approve(queued));
            }
            if state.cancels > 0 {
                actions.push(Action::Cancel(queued));
            }
        }
        for (consumer, does) in state.consumers.iter().enumerate() {
            match does {
                Consumer::Idle => {
                    if state.with_status(Status::Queued).next().is_some() {
                        actions.push(Action::Look(consumer));
                    }
                    for deployment in state.with_status(Status::InProgress) {
                        if state.faults > 0 || !state.is_run(deployment) {
                            actions.push(Action::TakeOver { consumer, deployment });
                        }
                    }
                    continue;
                }
                Consumer::Looked { .. } => actions.push(Action::Decide(consumer)),
                Consumer::Decided { .. } => actions.push(Action::Write(consumer)),
                Consumer::Running { .. } => {
                    actions.push(Action::Finish { consumer, well: true });
                    actions.push(Action::Finish { consumer, well: false });
                }
            }
            if state.faults > 0 {
                actions.push(Action::Die(consumer));
            }
        }
    }

    fn next_state(&self, before: &State, action: Action) -> Option<State> {
        let mut state = before.clone();
        match action {
            Action::Count(request) => state.creations[request] = Creation::Counted { last: state.last_number },
            Action::Compare(request) => {
                let Creation::Counted { last } = state.creations[request] else { return None };
                let fences = state.fences(request);
                let skips = fences.expected_current.is_none() || self.without == Without::Comparison;
                state.creations[request] = match skips || fences.stale(&state.lane()).is_none() {
                    true => Creation::Compared { last },
                    false => Creation::Refused,
                };
            }
            Action::Create(request) => {
                let Creation::Compared { last } = state.creations[request] else { return None };
                let sequence = state.requests[request].sequence;
                let is_higher = sequence.is_none_or(|own| state.sequence.is_none_or(|(highest, _)| own > highest));
                if !is_higher && self.without != Without::Sequence {
                    state.creations[request] = Creation::Refused;
                } else if last != state.last_number && self.without != Without::Number {
                    let last = state.last_number;
                    state.creations[request] = match self.without {
                        Without::SecondComparison => Creation::Compared { last },
                        _ => Creation::Counted { last },
                    };
                } else {
                    state.create(request);
                    state.sequence = sequence.map(|sequence| (sequence, request)).or(state.sequence);
                }
            }
            Action::Approve(deployment) => {
                state.change(deployment, Status::Queued);
                state.deployments[deployment].as_mut().unwrap().ready = true;
            }
            Action::Cancel(deployment) => {
                state.cancels -= 1;
                state.change(deployment, Status::Canceled);
            }
            Action::Look(consumer) => self.look(&mut state, consumer),
            Action::Decide(consumer) => self.decide(&mut state, consumer),
            Action::Write(consumer) => self.write(&mut state, consumer),
            Action::Finish { consumer, well } => {
                let Consumer::Running { deployment, fence } = state.consumers[consumer] else { return None };
                state.consumers[consumer] = Consumer::Idle;
                let row = state.row(deployment);
                if row.status == Status::InProgress && (row.fence, state.holder) == (fence, Some(deployment)) {
                    state.holder = None;
                    if well {
                        state.went_over_another |= !state.finds_what_it_expects(deployment, state.live);
                        state.live = Some(deployment);
                    }
                    state.change(deployment, if well { Status::Succeeded } else { Status::Failed });
                }
            }
            Action::Die(consumer) => {
                state.faults -= 1;
                state.consumers[consumer] = Consumer::Idle;
            }
            Action::TakeOver { consumer, deployment } => {
                state.faults -= u8::from(state.is_run(deployment));
                state.start(consumer, deployment);
            }
        }
        (state != *before).then_some(state)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::always(ONE, |_, state: &State| {
                let may_succeed = [Status::Queued, Status::InProgress, Status::Succeeded];
                let mut expected: Vec<_> = may_succeed
                    .iter()
                    .flat_map(|status| state.with_status(*status))
                    .filter_map(|at| state.requests[at].expected_current)
                    .collect();
                expected.sort_unstable();
                expected.windows(2).all(|pair| pair[0] != pair[1])
            }),
            Property::always(OVER, |_, state: &State| !state.went_over_another),
            Property::always(SEQUENCE, |_, state: &State| {
                let rows = state.deployments.iter().zip(&state.requests);
                let mut accepted: Vec<_> =
                    rows.filter_map(|(row, request)| Some((row.as_ref()?.number, request.sequence?))).collect();
                accepted.sort_unstable();
                let rises = accepted.windows(2).all(|pair| pair[0].1 < pair[1].1);
                rises && state.sequence.map(|(highest, _)| highest) == accepted.last().map(|(_, last)| *last)
            }),
            Property::always(MOVES, |model: &Self, state: &State| {
                if let Some(holder) = state.holder {
                    return state.row(holder).status == Status::InProgress;
                }
                let all_ready = state.with_status(Status::Queued).all(|queued| state.row(queued).ready);
                let none_waits = state.with_status(Status::Queued).next().is_none();
                none_waits || !all_ready || model.moves(state)
            }),
            Property::always(TABLE, |_, state: &State| {
                !state.not_in_table && state.with_status(Status::InProgress).eq(state.holder)
            }),
            Property::sometimes("a creation is refused", |_, state: &State| {
                state.creations.contains(&Creation::Refused)
            }),
            Property::sometimes("a deployment is superseded at its turn", |model: &Self, state: &State| {
                let expects = |at: &usize| state.requests[*at].expected_current.is_some();
                model.concurrency == Concurrency::Supersede
                    || state.with_status(Status::Superseded).any(|at| expects(&at))
            }),
            Property::sometimes("a chain of three succeeds", |model: &Self, state: &State| {
                let follows = |at: usize| state.requests[at].expected_current == Some(at - 1);
                let succeeded = |at: &usize| state.with_status(Status::Succeeded).any(|other| other == *at);
                model.concurrency == Concurrency::Supersede
                    || (0..3).all(|at| succeeded(&at)) && follows(1) && follows(2)
            }),
            Property::sometimes(
                "one succeeds in place of the one that it supersedes",
                |model: &Self, state: &State| {
                    let in_place = |at: usize| {
                        let expected = state.requests[at].expected_current;
                        expected.is_some_and(|expected| {
                            state.with_status(Status::Superseded).any(|other| other == expected)
                                && state.requests[expected].expected_current.is_some()
                        })
                    };
                    model.concurrency == Concurrency::Queue || state.with_status(Status::Succeeded).any(in_place)
                },
            ),
        ]
    }
}

const ONE: &str = "of those that expect the same, one at most may succeed";
const OVER: &str = "none goes live over another than the one that it expects";
const SEQUENCE: &str = "accepted sequences rise, and the lane has the highest";
const MOVES: &str = "a lane that nobody holds moves";
const TABLE: &str = "states only move along the table, and the one in progress holds the lane";

/// Returns the combinations of requests: three after the first, which exists already, that expect any earlier one, or
/// have any sequence.
fn requests() -> Vec<Vec<Request>> {
    let expects = |expected_current| Request { expected_current, ..Request::default() };
    let mut all = Vec::new();
    for needs_approval in [false, true] {
        let first = Request { needs_approval, ..Request::default() };
        for second in [None, Some(0)] {
            for third in [None, Some(0), Some(1)] {
                all.push(vec![first, expects(second), expects(third)]);
            }
        }
    }
    // In a chain of four, one may be superseded.
    all.push([None, Some(0), Some(1), Some(2)].map(expects).to_vec());
    all.push([None, Some(0), Some(0), Some(1)].map(expects).to_vec());
    let counts = |sequence| Request { sequence: Some(sequence), ..Request::default() };
    all.push(vec![Request::default(), counts(1), counts(2), counts(2)]);
    all.push(vec![
        Request::default(),
        Request { expected_current: Some(0), ..counts(2) },
        Request { expected_current: Some(0), ..counts(1) },
    ]);
    all
}

fn start(concurrency: Concurrency, without: Without) -> Fenced {
    Fenced { concurrency, requests: requests(), without }
}

#[test]
fn no_order_of_events_breaks_a_fence() {
    for concurrency in [Concurrency::Queue, Concurrency::Supersede] {
        let checker = start(concurrency, Without::Nothing).checker().threads(2).spawn_bfs().join();
        checker.assert_properties();
        println!("{concurrency:?}: {} states", checker.unique_state_count());
        assert!(checker.unique_state_count() > 10_000);
    }
}

#[test]
fn the_absence_of_a_condition_of_fences_is_noticed() {
    for (without, broken) in [
        (Without::Comparison, ONE),
        (Without::SecondComparison, ONE),
        (Without::Number, ONE),
        (Without::Sequence, SEQUENCE),
        (Without::Turn, OVER),
        (Without::Superseding, MOVES),
    ] {
        let until = HasDiscoveries::AnyOf([broken].into());
        let checker = start(Concurrency::Queue, without).checker().finish_when(until).spawn_bfs().join();
        let path = checker.discovery(broken).unwrap_or_else(|| panic!("nothing notices the absence of {without:?}"));
        println!("{without:?}: {broken}: {:?}", path.into_actions());
    }
}
