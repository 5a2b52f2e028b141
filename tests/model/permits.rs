//! Explores every order in which deployments of two or three accounts take permits, wait for them and give them back, with two
//! consumers whose reads and writes interleave, messages that are lost, and deployments that are canceled while they wait. The code's
//! own rules decide who may start and how the ring changes; the conditions of its writes are repeated here.

use std::collections::BTreeSet;

use shared::id::{AccountId, DeploymentId};
use shared::model::{AccountPermits, Bound, Capacity, PermitLimits, StackPermits};
use stateright::{Checker, HasDiscoveries, Model, Property};

#[derive(Clone, Copy, Debug, Hash, PartialEq, Eq)]
enum Status {
    /// Queued, and in no queue for a permit.
    New,
    Waiting,
    Running,
    Ended,
}

/// The progress of an invocation.
#[derive(Clone, Debug, Hash, PartialEq, Eq)]
enum Task {
    /// A consumer has found no permit without a look at who waits.
    Refused {
        deployment: usize,
    },
    /// The consumer has read the permits, and not yet the queue.
    HasPermits {
        deployment: usize,
        capacity: Capacity,
    },
    /// The consumer has read the queue, and decides.
    HasQueue {
        deployment: usize,
        capacity: Capacity,
    },
    /// The end of a run has to send the messages of those that may take its permit.
    Ends {
        account: usize,
    },
    EndsWith {
        account: usize,
        capacity: Capacity,
    },
    /// A consumer of a message for a turn has to send the messages of further turns, those of the account's own queue among them.
    Passes {
        account: usize,
    },
    PassesWith {
        account: usize,
        capacity: Capacity,
    },
}

#[derive(Clone, Debug, Hash, PartialEq, Eq)]
struct State {
    deployments: Vec<Status>,
    accounts: Vec<AccountPermits>,
    stack: StackPermits,
    /// The queue of each account.
    queues: Vec<Vec<usize>>,
    messages: Vec<u8>,
    tasks: Vec<Task>,
    losses: u8,
    cancels: u8,
    /// For each account that waits, the turns of each other account since it began to wait.
    passed: Vec<Vec<u8>>,
    unfair: bool,
}

#[derive(Clone, Debug, PartialEq)]
enum Action {
    Deliver(usize),
    Lose(usize),
    Go(usize),
    /// The invocation dies. What it had to do is left to the sweep.
    Die(usize),
    End(usize),
    Cancel(usize),
    Sweep,
}

/// A rule of fairness that is removed, to prove that the property notices its absence.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Broken {
    Nothing,
    /// A deployment takes a permit that is kept for an account whose turn comes first.
    Turn,
    /// A deployment takes a permit without a look at who waits.
    Look,
    /// An account whose turn is over comes first again.
    End,
}

struct Permits {
    /// The account of each deployment.
    account_of: Vec<usize>,
    /// The number of permits of each account.
    limits: Vec<usize>,
    stack: usize,
    losses: u8,
    cancels: u8,
    broken: Broken,
}

fn account_id(account: usize) -> AccountId {
    format!("acct_{}", "abcd"[account..=account].repeat(16)).parse().unwrap()
}

fn deployment_id(deployment: usize) -> DeploymentId {
    format!("deploy_{}", "abcdef"[deployment..=deployment].repeat(16)).parse().unwrap()
}

fn account_at(id: &AccountId) -> usize {
    "abcd".find(|letter| id.as_str().ends_with(letter)).unwrap()
}

/// Returns whether nothing was given back since the permits were read, and the version is the same.
fn unchanged(then: (&BTreeSet<String>, u64), now: (&BTreeSet<String>, u64)) -> bool {
    then.1 == now.1 && now.0.len() >= then.0.len()
}

impl Permits {
    fn limits_of(&self, deployment: usize) -> PermitLimits {
        PermitLimits { account: self.limits[self.account_of[deployment]], stack: self.stack }
    }

    fn deployment_of(&self, id: &DeploymentId) -> usize {
        (0..self.account_of.len()).find(|one| deployment_id(*one) == *id).unwrap()
    }

    fn of(&self, state: &State, account: usize) -> Capacity {
        Capacity { account: state.accounts[account].clone(), stack: state.stack.clone(), queue: Vec::new() }
    }

    /// Takes the permits of a deployment.
    fn start(&self, state: &mut State, deployment: usize) {
        let account = self.account_of[deployment];
        state.accounts[account].running.insert(deployment.to_string());
        state.stack.running.insert(deployment.to_string());
        state.deployments[deployment] = Status::Running;
        state.queues[account].retain(|one| *one != deployment);
        state.passed[account].fill(0);
        let free = self.stack.saturating_sub(state.stack.running.len());
        for other in (0..self.limits.len()).filter(|other| *other != account) {
            let ring = &state.stack.ring;
            let place = ring.iter().position(|one| account_at(one) == other).unwrap_or(ring.len());
            // A permit that is still free is that of the account that waits.
            if !self.waits(state, other) || place < free {
                continue;
            }
            state.passed[other][account] += 1;
            state.unfair |= state.passed[other][account] > 1;
        }
    }

    /// Returns whether an account waits for a permit of the stack that it could have. An account outside of the ring does, unless a message
    /// or an invocation is on its way that lets it join.
    fn waits(&self, state: &State, account: usize) -> bool {
        if state.stack.ring.contains(&account_id(account)) {
            return true;
        }
        let has_its_own = state.accounts[account].running.len() < self.limits[account];
        let is_told = state.messages.iter().zip(&self.account_of).any(|(messages, of)| *of == account && *messages > 0);
        let is_looked_at = state.tasks.iter().any(|task| self.account_of_task(task) == account);
        has_its_own && !state.queues[account].is_empty() && !is_told && !is_looked_at
    }

    fn account_of_task(&self, task: &Task) -> usize {
        match task {
            Task::Refused { deployment } | Task::HasPermits { deployment, .. } | Task::HasQueue { deployment, .. } => {
                self.account_of[*deployment]
            }
            Task::Ends { account }
            | Task::EndsWith { account, .. }
            | Task::Passes { account }
            | Task::PassesWith { account, .. } => *account,
        }
    }

    fn set_ring(&self, state: &mut State, ring: Vec<AccountId>) {
        state.stack.ring = ring;
        state.stack.version += 1;
        for account in 0..self.limits.len() {
            if !self.waits(state, account) {
                state.passed[account].fill(0);
            }
        }
    }

    /// Claims the deployment, or lets it wait. Returns `false` if somebody came between.
    fn decide(&self, state: &mut State, deployment: usize, capacity: &Capacity) -> bool {
        let (account, id) = (self.account_of[deployment], deployment_id(deployment));
        let (own, limits) = (account_id(account), self.limits_of(deployment));
        let waits = state.deployments[deployment] == Status::Waiting;
        let versions = |state: &State| (state.accounts[account].version, state.stack.version);
        let mut seen = capacity.clone();
        if self.broken == Broken::Turn {
            seen.stack.ring.clear();
        }
        let bound = match seen.admit(&own, &id, limits) {
            Ok(()) => {
                let place = seen.place(&own);
                let is_free = state.accounts[account].running.len() < limits.account
                    && state.stack.running.len() < limits.stack - place;
                if !is_free || versions(state) != (capacity.account.version, capacity.stack.version) {
                    return false;
                }
                state.accounts[account].version += 1;
                state.accounts[account].waiting &= capacity.others_wait(&id);
                self.start(state, deployment);
                let mut ring = capacity.ring_after(&own, &id, limits);
                if self.broken == Broken::End && ring.last() == Some(&own) {
                    ring.rotate_right(1);
                }
                self.set_ring(state, ring);
                return true;
            }
            Err(bound) => bound,
        };
        if let Some(first) = capacity.first_to_start(&own, limits).filter(|first| **first != id) {
            state.messages[self.deployment_of(first)] = 1;
        }
        let stack_is_unchanged =
            unchanged((&capacity.stack.running, capacity.stack.version), (&state.stack.running, state.stack.version));
        if waits {
            let in_ring = capacity.stack.ring.contains(&own);
            let ring = match (bound, in_ring) {
                (Bound::Stack, false) => capacity.stack.ring_with(&own),
                (Bound::Account, true) if capacity.queue.first() == Some(&id) => capacity.stack.ring_without(&own),
                _ => return true,
            };
            if stack_is_unchanged {
                self.set_ring(state, ring);
            }
            return stack_is_unchanged;
        }
        let now = &state.accounts[account];
        let account_is_unchanged =
            unchanged((&capacity.account.running, capacity.account.version), (&now.running, now.version));
        if !account_is_unchanged || (bound == Bound::Stack && !stack_is_unchanged) {
            return false;
        }
        state.deployments[deployment] = Status::Waiting;
        state.queues[account].push(deployment);
        state.accounts[account].waiting = true;
        state.accounts[account].version += 1;
        if bound == Bound::Stack {
            self.set_ring(state, capacity.stack.ring_with(&own));
        }
        true
    }

    /// Sends the messages of the first accounts in the ring, and takes out those of which none waits.
    fn send_turns(&self, state: &mut State, stack: &StackPermits, turns: usize) {
        let mut ring = stack.ring.clone();
        let mut version = stack.version;
        let mut at = 0;
        while at < turns.min(ring.len()) {
            let account = account_at(&ring[at]);
            if let Some(first) = state.queues[account].first() {
                state.messages[*first] = 1;
                at += 1;
            } else if unchanged((&stack.running, version), (&state.stack.running, state.stack.version)) {
                ring.remove(at);
                self.set_ring(state, ring.clone());
                version += 1;
            } else {
                (ring, version) = (state.stack.ring.clone(), state.stack.version);
                at = 0;
            }
        }
    }

    fn go(&self, state: &mut State, at: usize) {
        match state.tasks.remove(at) {
            Task::Refused { deployment } => {
                let capacity = self.of(state, self.account_of[deployment]);
                state.tasks.push(Task::HasPermits { deployment, capacity });
            }
            Task::HasPermits { deployment, mut capacity } => {
                let queue = &state.queues[self.account_of[deployment]];
                capacity.queue = queue.iter().map(|one| deployment_id(*one)).collect();
                state.tasks.push(Task::HasQueue { deployment, capacity });
            }
            Task::HasQueue { deployment, capacity } => {
                let (is_over, had_waited) = match state.deployments[deployment] {
                    Status::New => (false, false),
                    Status::Waiting => (false, true),
                    Status::Running | Status::Ended => (true, true),
                };
                if !is_over && !self.decide(state, deployment, &capacity) {
                    state.tasks.push(Task::Refused { deployment });
                } else if had_waited {
                    state.tasks.push(Task::Passes { account: self.account_of[deployment] });
                }
            }
            Task::Ends { account } => {
                let capacity = self.of(state, account);
                state.tasks.push(Task::EndsWith { account, capacity });
            }
            Task::EndsWith { account, capacity } => {
                let in_ring = capacity.stack.ring.contains(&account_id(account));
                if let Some(first) = state.queues[account].first().filter(|_| capacity.account.waiting && !in_ring) {
                    state.messages[*first] = 1;
                }
                self.send_turns(state, &capacity.stack, 1);
            }
            Task::Passes { account } => {
                let capacity = self.of(state, account);
                state.tasks.push(Task::PassesWith { account, capacity });
            }
            Task::PassesWith { account, mut capacity } => {
                capacity.queue = state.queues[account].iter().map(|one| deployment_id(*one)).collect();
                let limits = PermitLimits { account: self.limits[account], stack: self.stack };
                if let Some(first) = capacity.first_to_start(&account_id(account), limits) {
                    state.messages[self.deployment_of(first)] = 1;
                }
                let turns = capacity.stack.next(self.stack).len();
                self.send_turns(state, &capacity.stack, turns);
            }
        }
    }
}

impl Model for Permits {
    type State = State;
    type Action = Action;

    fn init_states(&self) -> Vec<State> {
        let accounts = self.limits.len();
        vec![State {
            deployments: vec![Status::New; self.account_of.len()],
            accounts: vec![AccountPermits::default(); accounts],
            stack: StackPermits::default(),
            queues: vec![Vec::new(); accounts],
            messages: vec![1; self.account_of.len()],
            tasks: Vec::new(),
            losses: self.losses,
            cancels: self.cancels,
            passed: vec![vec![0; accounts]; accounts],
            unfair: false,
        }]
    }

    fn actions(&self, state: &State, actions: &mut Vec<Action>) {
        for (deployment, status) in state.deployments.iter().enumerate() {
            if state.messages[deployment] > 0 {
                if state.tasks.len() < 2 {
                    actions.push(Action::Deliver(deployment));
                }
                if state.losses > 0 {
                    actions.push(Action::Lose(deployment));
                }
            }
            match status {
                Status::Running if state.tasks.len() < 2 => actions.push(Action::End(deployment)),
                Status::Waiting if state.cancels > 0 => actions.push(Action::Cancel(deployment)),
                _ => {}
            }
        }
        for task in 0..state.tasks.len() {
            actions.push(Action::Go(task));
            if state.losses > 0 {
                actions.push(Action::Die(task));
            }
        }
        // Without a loss, nothing may depend on the sweep.
        if state.losses < self.losses && state.tasks.is_empty() && state.messages.iter().all(|messages| *messages == 0)
        {
            actions.push(Action::Sweep);
        }
    }

    fn next_state(&self, before: &State, action: Action) -> Option<State> {
        let mut state = before.clone();
        match action {
            Action::Deliver(deployment) => {
                state.messages[deployment] = 0;
                let account = self.account_of[deployment];
                let limits = self.limits_of(deployment);
                match state.deployments[deployment] {
                    Status::New | Status::Waiting => {
                        let own = &state.accounts[account];
                        let nobody_waits = self.broken == Broken::Look || (!own.waiting && state.stack.ring.is_empty());
                        let is_free = own.running.len() < limits.account && state.stack.running.len() < limits.stack;
                        match nobody_waits && is_free {
                            true => self.start(&mut state, deployment),
                            false => state.tasks.push(Task::Refused { deployment }),
                        }
                    }
                    Status::Ended => state.tasks.push(Task::Passes { account }),
                    Status::Running => {}
                }
            }
            Action::Lose(deployment) => {
                state.losses -= 1;
                state.messages[deployment] = 0;
            }
            Action::Go(task) => self.go(&mut state, task),
            Action::Die(task) => {
                state.losses -= 1;
                state.tasks.remove(task);
            }
            Action::End(deployment) => {
                let account = self.account_of[deployment];
                state.accounts[account].running.remove(&deployment.to_string());
                state.stack.running.remove(&deployment.to_string());
                state.deployments[deployment] = Status::Ended;
                state.tasks.push(Task::Ends { account });
            }
            Action::Cancel(deployment) => {
                state.cancels -= 1;
                state.deployments[deployment] = Status::Ended;
                state.queues[self.account_of[deployment]].retain(|one| *one != deployment);
            }
            Action::Sweep => {
                let stack = state.stack.clone();
                let turns = stack.next(self.stack).len();
                self.send_turns(&mut state, &stack, turns);
                for (deployment, status) in before.deployments.iter().enumerate() {
                    if matches!(status, Status::New | Status::Waiting) {
                        state.messages[deployment] = 1;
                    }
                }
            }
        }
        Some(state)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::always("no more run than permitted", |model: &Self, state: &State| {
                let running = |account: usize| {
                    let of_account = |(at, status): &(usize, &Status)| {
                        model.account_of[*at] == account && **status == Status::Running
                    };
                    state.deployments.iter().enumerate().filter(of_account).count()
                };
                let each: Vec<_> = (0..model.limits.len()).map(running).collect();
                each.iter().zip(&model.limits).all(|(running, limit)| running <= limit)
                    && each.iter().sum::<usize>() <= model.stack
            }),
            Property::always("each permit is held by one that runs", |_, state: &State| {
                let running = (0..state.deployments.len()).filter(|one| state.deployments[*one] == Status::Running);
                running.map(|one| one.to_string()).collect::<BTreeSet<_>>() == state.stack.running
            }),
            Property::always(FAIR, |_, state: &State| !state.unfair),
            Property::always("nothing waits for what can't come", |model: &Self, state: &State| {
                let mut actions = Vec::new();
                model.actions(state, &mut actions);
                !actions.is_empty() || state.deployments.iter().all(|status| *status == Status::Ended)
            }),
            Property::sometimes("all run, and some wait before", |_, state: &State| {
                let waited = state.accounts.iter().any(|account| account.version > 1);
                waited && state.deployments.iter().all(|status| *status == Status::Ended)
            }),
        ]
    }
}

const FAIR: &str = "no account waits while another gets two turns in a row";

fn check(permits: Permits) {
    let checker = permits.checker().threads(2).spawn_bfs().join();
    checker.assert_properties();
    println!("{} states", checker.unique_state_count());
    assert!(checker.unique_state_count() > 100, "it looked at all of them: {}", checker.unique_state_count());
}

/// Returns a model with one permit for all, in which nothing is lost, canceled or broken.
fn whole(account_of: &[usize], limits: &[usize]) -> Permits {
    let (account_of, limits) = (account_of.to_vec(), limits.to_vec());
    Permits { account_of, limits, stack: 1, losses: 0, cancels: 0, broken: Broken::Nothing }
}

#[test]
fn accounts_take_turns_and_no_order_of_steps_leaves_one_waiting() {
    // A greedy account, and one with a single deployment.
    check(whole(&[0, 0, 0, 1], &[3, 1]));
}

#[test]
fn bounds_of_accounts_and_of_the_stack_hold_together() {
    check(Permits { stack: 2, cancels: 1, ..whole(&[0, 0, 1], &[1, 1]) });
}

#[test]
fn a_turn_in_an_accounts_own_queue_passes_on_when_its_deployment_is_canceled() {
    check(Permits { stack: 2, cancels: 1, ..whole(&[0, 0, 0], &[1]) });
    check(Permits { stack: 3, ..whole(&[0, 0, 0, 0], &[2]) });
}

#[test]
fn what_is_lost_is_found_by_the_sweep() {
    check(Permits { losses: 1, cancels: 1, ..whole(&[0, 1], &[1, 1]) });
}

/// Three accounts wait, of which one has more deployments than the others.
const THREE: &[usize] = &[0, 0, 1, 2];

fn three(account_of: &[usize], broken: Broken) -> Permits {
    Permits { broken, ..whole(account_of, &[3, 2, 2]) }
}

#[test]
fn of_three_accounts_none_waits_while_another_gets_two_turns() {
    check(three(THREE, Broken::Nothing));
}

#[test]
#[ignore = "it has millions of states"]
fn of_three_accounts_with_many_deployments_none_waits_while_another_gets_two_turns() {
    check(three(&[0, 0, 0, 1, 1, 2], Broken::Nothing));
    check(Permits { stack: 2, ..three(&[0, 0, 0, 1, 2], Broken::Nothing) });
    check(Permits { cancels: 1, ..three(&[0, 0, 0, 1, 2], Broken::Nothing) });
}

#[test]
fn the_absence_of_a_rule_of_fairness_is_noticed() {
    for broken in [Broken::Turn, Broken::Look, Broken::End] {
        let found = HasDiscoveries::AnyOf([FAIR].into());
        let checker = three(THREE, broken).checker().threads(2).finish_when(found).spawn_bfs().join();
        assert!(checker.discovery(FAIR).is_some(), "{broken:?} is not noticed");
    }
}
