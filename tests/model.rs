//! Explores every state of two deployments to one environment, with two consumers that may die at any step, a sweep,
//! and a queue that loses, delays and repeats messages. The steps are the reads and the conditional writes of the code.
//! The code's own table of transitions and order of a lane decide here too.

mod fences;
mod permits;

use shared::id::DeploymentId;
use shared::model::{Concurrency, Lane, Lock, Status, Waiting};
use stateright::{Checker, Model, Property};

/// The number of lost runners after which a deployment fails.
const MAX_ATTEMPTS: u8 = 3;

#[derive(Clone, Debug, Hash, PartialEq, Eq)]
struct Deployment {
    status: Status,
    /// The number of events so far, which conditional writes check.
    version: u8,
    attempt: u8,
    fence: u8,
    /// Whether the lease of the deployment's runner has not ended.
    leased: bool,
    cancel_requested: bool,
}

/// The progress of a consumer with a message.
#[derive(Clone, Debug, Hash, PartialEq, Eq)]
enum Consumer {
    Idle,
    /// The consumer has read the row of the deployment to claim, and the lock.
    Read {
        message: usize,
        next: usize,
        version: u8,
        lock_fence: u8,
    },
    /// The consumer runs the build.
    Running {
        message: usize,
        deployment: usize,
        fence: u8,
        stopping: bool,
    },
    /// The deployment has ended, and the next one's message is not sent yet.
    Ended {
        message: usize,
    },
}

#[derive(Clone, Debug, Hash, PartialEq, Eq)]
struct State {
    deployments: [Deployment; 2],
    holder: Option<usize>,
    lock_fence: u8,
    live: Option<usize>,
    last_success: Option<usize>,
    /// The number of messages in the queue for each deployment.
    messages: [u8; 2],
    consumers: [Consumer; 2],
    /// The number of faults that may still happen.
    losses: u8,
    deaths: u8,
    cancels: u8,
    /// Whether a transition was not in the table, or a write happened under another's lock.
    broken: bool,
}

#[derive(Clone, Debug, PartialEq)]
enum Action {
    Deliver {
        to: usize,
        message: usize,
    },
    DeliverTwice {
        to: usize,
        message: usize,
    },
    Lose {
        message: usize,
    },
    Claim {
        consumer: usize,
    },
    /// The build succeeds or fails.
    Finish {
        consumer: usize,
        well: bool,
    },
    LookWhetherToStop {
        consumer: usize,
    },
    SendNext {
        consumer: usize,
    },
    /// The consumer is told to stop before the build ends.
    GiveBack {
        consumer: usize,
    },
    /// CodeBuild has no capacity for the build. Nobody sends a message.
    AwaitCapacity {
        consumer: usize,
    },
    Die {
        consumer: usize,
    },
    /// The lease of a dead runner ends.
    EndLease {
        deployment: usize,
    },
    /// The lease of a runner that is alive but cut off ends. The runner continues without noticing.
    CutOff {
        consumer: usize,
    },
    Cancel {
        deployment: usize,
    },
    SweepSends {
        deployment: usize,
    },
    SweepEnds {
        deployment: usize,
    },
}

struct Environment {
    concurrency: Concurrency,
    losses: u8,
    deaths: u8,
}

impl State {
    fn is_over(&self) -> bool {
        self.deployments.iter().all(|one| one.status.is_final())
    }

    fn change(&mut self, deployment: usize, to: Status) {
        let row = &mut self.deployments[deployment];
        self.broken |= !row.status.successors().contains(&to);
        row.status = to;
        row.version += 1;
        if to.is_final() {
            row.leased = false;
        }
        if to == Status::Succeeded {
            self.last_success = Some(deployment);
        }
    }

    /// Returns the lane in the form that the code's Query reads.
    fn lane(&self) -> Lane {
        let queued = (0..2).filter(|one| self.deployments[*one].status == Status::Queued);
        let waiting = |one: usize| Waiting {
            deployment_id: id(one),
            number: one as u64 + 1,
            ready: true,
            wait_until: None,
            retry_at: None,
            awaits: false,
            is_override: false,
        };
        let lock = Lock { holder: self.holder.map(id), fence: self.lock_fence.into(), ..Lock::default() };
        Lane { lock, waiting: queued.map(waiting).collect(), followers: Vec::new() }
    }

    /// Frees the lane and ends the deployment in one transaction that checks both.
    fn end(&mut self, deployment: usize, fence: u8, to: Status) -> bool {
        let row = &self.deployments[deployment];
        let ours = row.status == Status::InProgress && row.fence == fence;
        if !ours || self.holder != Some(deployment) || self.lock_fence != fence {
            return false;
        }
        self.change(deployment, to);
        self.holder = None;
        if to == Status::Succeeded {
            self.live = Some(deployment);
        }
        true
    }

    fn send(&mut self, deployment: usize) {
        self.messages[deployment] = (self.messages[deployment] + 1).min(2);
    }
}

const LETTERS: &str = "abcd";

fn id(deployment: usize) -> DeploymentId {
    format!("deploy_{}", LETTERS[deployment..=deployment].repeat(16)).parse().unwrap()
}

fn index(id: &DeploymentId) -> usize {
    LETTERS.find(|letter| id.as_str().ends_with(letter)).unwrap()
}

impl Model for Environment {
    type State = State;
    type Action = Action;

    fn init_states(&self) -> Vec<State> {
        let queued = Deployment {
            status: Status::Queued,
            version: 1,
            attempt: 0,
            fence: 0,
            leased: false,
            cancel_requested: false,
        };
        vec![State {
            deployments: [queued.clone(), queued],
            holder: None,
            lock_fence: 0,
            live: None,
            last_success: None,
            messages: [1, 1],
            consumers: [Consumer::Idle, Consumer::Idle],
            losses: self.losses,
            deaths: self.deaths,
            cancels: 1,
            broken: false,
        }]
    }

    fn actions(&self, state: &State, actions: &mut Vec<Action>) {
        for message in 0..2 {
            if state.messages[message] == 0 {
                continue;
            }
            for to in (0..2).filter(|to| state.consumers[*to] == Consumer::Idle) {
                actions.push(Action::Deliver { to, message });
                if state.losses > 0 {
                    actions.push(Action::DeliverTwice { to, message });
                }
            }
            if state.losses > 0 {
                actions.push(Action::Lose { message });
            }
        }
        for (consumer, does) in state.consumers.iter().enumerate() {
            match does {
                Consumer::Idle => continue,
                Consumer::Read { .. } => actions.push(Action::Claim { consumer }),
                Consumer::Running { deployment, stopping, .. } => {
                    actions.push(Action::Finish { consumer, well: true });
                    actions.push(Action::Finish { consumer, well: false });
                    if state.deployments[*deployment].cancel_requested && !stopping {
                        actions.push(Action::LookWhetherToStop { consumer });
                    }
                    if state.deaths > 0 {
                        actions.push(Action::GiveBack { consumer });
                        actions.push(Action::AwaitCapacity { consumer });
                        if state.deployments[*deployment].leased {
                            actions.push(Action::CutOff { consumer });
                        }
                    }
                }
                Consumer::Ended { .. } => actions.push(Action::SendNext { consumer }),
            }
            if state.deaths > 0 {
                actions.push(Action::Die { consumer });
            }
        }
        for (deployment, row) in state.deployments.iter().enumerate() {
            if row.status.is_final() {
                continue;
            }
            let runner_lives = state.consumers.iter().any(|consumer| {
                matches!(consumer, Consumer::Running { deployment: one, fence, .. } if *one == deployment && *fence == row.fence)
            });
            if row.leased && !runner_lives {
                actions.push(Action::EndLease { deployment });
            }
            if state.cancels > 0 && !row.cancel_requested {
                actions.push(Action::Cancel { deployment });
            }
            if !row.leased {
                if state.messages[deployment] == 0 {
                    actions.push(Action::SweepSends { deployment });
                }
                actions.push(Action::SweepEnds { deployment });
            }
        }
    }

    fn next_state(&self, before: &State, action: Action) -> Option<State> {
        let mut state = before.clone();
        match action {
            Action::Deliver { to, message } | Action::DeliverTwice { to, message } => {
                if matches!(action, Action::DeliverTwice { .. }) {
                    state.losses -= 1;
                } else {
                    state.messages[message] -= 1;
                }
                let row = &state.deployments[message];
                let next = match row.status {
                    // The message is delivered again later.
                    Status::InProgress if row.leased => return None,
                    Status::InProgress => Some(message),
                    Status::Queued => {
                        let lane = state.lane();
                        if let Some((older, _)) = lane.superseded(self.concurrency) {
                            let older: Vec<_> = older.iter().map(|one| index(&one.deployment_id)).collect();
                            older.into_iter().for_each(|one| state.change(one, Status::Superseded));
                        }
                        let next = lane.next(self.concurrency, tests::NOON, false).filter(|_| state.holder.is_none());
                        next.map(|next| index(&next.deployment_id))
                    }
                    _ => None,
                };
                state.consumers[to] = match next {
                    Some(next) => Consumer::Read {
                        message,
                        next,
                        version: state.deployments[next].version,
                        lock_fence: state.lock_fence,
                    },
                    None => Consumer::Idle,
                };
            }
            Action::Lose { message } => {
                state.losses -= 1;
                state.messages[message] -= 1;
            }
            Action::Claim { consumer } => {
                let Consumer::Read { message, next, version, lock_fence } = state.consumers[consumer] else {
                    return None;
                };
                let row = &state.deployments[next];
                let again = row.status == Status::InProgress;
                let locked = if again { state.holder == Some(next) } else { state.holder.is_none() };
                if row.version != version || row.status.is_final() || !locked || state.lock_fence != lock_fence {
                    state.consumers[consumer] = Consumer::Idle;
                    state.send(message);
                    return Some(state);
                }
                if again && (row.cancel_requested || row.attempt >= MAX_ATTEMPTS) {
                    let to = if row.cancel_requested { Status::Canceled } else { Status::Failed };
                    state.end(next, lock_fence, to);
                    state.consumers[consumer] = Consumer::Ended { message };
                    return Some(state);
                }
                state.change(next, Status::InProgress);
                state.holder = Some(next);
                state.lock_fence += 1;
                let row = &mut state.deployments[next];
                (row.attempt, row.fence, row.leased) = (row.attempt + 1, state.lock_fence, true);
                state.consumers[consumer] =
                    Consumer::Running { message, deployment: next, fence: state.lock_fence, stopping: false };
            }
            Action::Finish { consumer, well } => {
                let Consumer::Running { message, deployment, fence, stopping } = state.consumers[consumer] else {
                    return None;
                };
                let to = match (stopping, well) {
                    (true, _) => Status::Canceled,
                    (false, true) => Status::Succeeded,
                    (false, false) => Status::Failed,
                };
                state.consumers[consumer] = match state.end(deployment, fence, to) {
                    true => Consumer::Ended { message },
                    false => Consumer::Idle,
                };
            }
            Action::LookWhetherToStop { consumer } => {
                if let Consumer::Running { stopping, .. } = &mut state.consumers[consumer] {
                    *stopping = true;
                }
            }
            Action::SendNext { consumer } => {
                if let Some(next) = state.lane().waiting.iter().find(|one| one.ready) {
                    state.send(index(&next.deployment_id));
                }
                state.consumers[consumer] = Consumer::Idle;
            }
            Action::GiveBack { consumer } => {
                let Consumer::Running { message, deployment, fence, .. } = state.consumers[consumer] else {
                    return None;
                };
                state.deaths -= 1;
                let row = &state.deployments[deployment];
                if row.status == Status::InProgress && row.fence == fence {
                    state.change(deployment, Status::InProgress);
                    let row = &mut state.deployments[deployment];
                    (row.attempt, row.leased) = (row.attempt - 1, false);
                }
                state.send(message);
                state.consumers[consumer] = Consumer::Idle;
            }
            Action::AwaitCapacity { consumer } => {
                let Consumer::Running { deployment, fence, .. } = state.consumers[consumer] else {
                    return None;
                };
                state.deaths -= 1;
                state.consumers[consumer] = Consumer::Idle;
                let asked = state.deployments[deployment].cancel_requested;
                if state.end(deployment, fence, if asked { Status::Canceled } else { Status::Queued }) && !asked {
                    let row = &mut state.deployments[deployment];
                    (row.attempt, row.leased) = (0, false);
                }
            }
            Action::Die { consumer } => {
                state.deaths -= 1;
                // The message was not deleted. Losing it for good is another action.
                let (Consumer::Read { message, .. } | Consumer::Running { message, .. } | Consumer::Ended { message }) =
                    state.consumers[consumer]
                else {
                    return None;
                };
                state.send(message);
                state.consumers[consumer] = Consumer::Idle;
            }
            Action::CutOff { consumer } => {
                let Consumer::Running { deployment, fence, .. } = state.consumers[consumer] else { return None };
                if state.deployments[deployment].fence != fence {
                    return None;
                }
                state.deaths -= 1;
                state.deployments[deployment].leased = false;
            }
            Action::EndLease { deployment } => state.deployments[deployment].leased = false,
            Action::Cancel { deployment } => {
                state.cancels -= 1;
                match state.deployments[deployment].status {
                    Status::Queued => state.change(deployment, Status::Canceled),
                    _ => {
                        state.change(deployment, Status::InProgress);
                        state.deployments[deployment].cancel_requested = true;
                    }
                }
            }
            Action::SweepSends { deployment } => state.send(deployment),
            Action::SweepEnds { deployment } => {
                let row = &state.deployments[deployment];
                match row.status {
                    Status::Queued => state.change(deployment, Status::Failed),
                    _ => {
                        let fence = row.fence;
                        state.end(deployment, fence, Status::Failed);
                    }
                }
            }
        }
        Some(state)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::always("one at most is in progress, and it holds the lock", |_, state: &State| {
                let running: Vec<_> =
                    (0..2).filter(|one| state.deployments[*one].status == Status::InProgress).collect();
                running.len() <= 1 && state.holder == running.first().copied()
            }),
            Property::always("states only move along the table", |_, state: &State| !state.broken),
            Property::always("what is live is the last success", |_, state: &State| state.live == state.last_success),
            Property::always("nothing waits for what can't come", |model: &Self, state: &State| {
                let mut actions = Vec::new();
                model.actions(state, &mut actions);
                state.is_over() || actions.into_iter().any(|action| model.next_state(state, action).is_some())
            }),
            Property::sometimes("both succeed", |_, state: &State| {
                state.deployments.iter().all(|one| one.status == Status::Succeeded)
            }),
            Property::sometimes("a runner that was cut off ends while another runs", |_, state: &State| {
                state.deployments.iter().any(|one| one.attempt == 2 && one.status == Status::Succeeded)
            }),
            Property::sometimes("one is canceled while it is in progress", |_, state: &State| {
                state.deployments.iter().any(|one| one.status == Status::Canceled && one.cancel_requested)
            }),
        ]
    }
}

fn check(environment: Environment) -> usize {
    let checker = environment.checker().threads(2).spawn_bfs().join();
    checker.assert_properties();
    checker.unique_state_count()
}

#[test]
fn no_order_of_events_breaks_a_queue() {
    let states = check(Environment { concurrency: Concurrency::Queue, losses: 2, deaths: 2 });
    println!("{states} states");
    assert!(states > 1000, "it looked at all of them: {states}");
}

#[test]
fn of_a_superseding_lane_the_newest_runs_whatever_happens() {
    let environment = Environment { concurrency: Concurrency::Supersede, losses: 2, deaths: 2 };
    let checker = environment.checker().threads(2).spawn_bfs().join();
    for name in [
        "one at most is in progress, and it holds the lock",
        "states only move along the table",
        "what is live is the last success",
        "nothing waits for what can't come",
    ] {
        checker.assert_no_discovery(name);
    }
    println!("{} states", checker.unique_state_count());
}
