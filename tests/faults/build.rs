//! The builds that run, and the two invariants that they must keep: no two in one lane, and no claim twice.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};

use shared::clock::{Clock, Timestamp};
use shared::id::{AccountId, DeploymentId};
use shared::model::{Deployment, PermitLimits};

/// A build, as its runner knows it.
#[derive(Clone, Debug)]
pub(super) struct Run {
    pub(super) lane: String,
    pub(super) account: AccountId,
    pub(super) deployment: DeploymentId,
    pub(super) lease_until: Timestamp,
}

impl Run {
    pub(super) fn of(claimed: &Deployment) -> Self {
        Self {
            lane: format!("{:?}", claimed.lane()),
            account: claimed.account_id.clone(),
            deployment: claimed.id.clone(),
            lease_until: claimed.lease_until.unwrap(),
        }
    }
}

/// The number of times that each thing happened.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Tally {
    pub(super) seeds: u64,
    pub(super) deployments: u64,
    pub(super) fenced: u64,
    pub(super) refused_by_a_fence: u64,
    pub(super) fenced_off_at_their_turn: u64,
    pub(super) claims: u64,
    pub(super) given_back: u64,
    /// The deployments that started although a rule held them back after their creation.
    pub(super) starts_after_a_rule: u64,
    /// The starts of deployments that were created in a freeze window.
    pub(super) starts_after_a_freeze: u64,
    /// The deployments that started after a wait for the success of their commit in a required environment.
    pub(super) met: u64,
    /// The deployments that ended because such a success did not come.
    pub(super) unmet: u64,
    /// The deployments that ended because their approvals did not come in time.
    pub(super) expired: u64,
    /// The deployments to environments that are not built in.
    pub(super) by_name: u64,
    /// The builds in CodeBuild that a deployment had.
    pub(super) builds: u64,
    /// The builds in CodeBuild that no deployment had: the runner died, or the answer to its call was lost.
    pub(super) abandoned: u64,
    /// The builds that ended before they had a machine.
    pub(super) without_machine: u64,
    /// The builds that CodeBuild refused because its queue was full.
    pub(super) refused: u64,
    pub(super) lost_events: u64,
    pub(super) doubled_events: u64,
}

impl std::ops::AddAssign for Tally {
    fn add_assign(&mut self, other: Self) {
        self.seeds += other.seeds;
        self.deployments += other.deployments;
        self.fenced += other.fenced;
        self.refused_by_a_fence += other.refused_by_a_fence;
        self.fenced_off_at_their_turn += other.fenced_off_at_their_turn;
        self.claims += other.claims;
        self.given_back += other.given_back;
        self.starts_after_a_rule += other.starts_after_a_rule;
        self.starts_after_a_freeze += other.starts_after_a_freeze;
        self.met += other.met;
        self.unmet += other.unmet;
        self.expired += other.expired;
        self.by_name += other.by_name;
        self.builds += other.builds;
        self.abandoned += other.abandoned;
        self.without_machine += other.without_machine;
        self.refused += other.refused;
        self.lost_events += other.lost_events;
        self.doubled_events += other.doubled_events;
    }
}

/// The facts that the table is compared with.
#[derive(Debug, Default)]
pub(super) struct Known {
    /// The deployments whose creation was acknowledged.
    pub(super) created: Vec<DeploymentId>,
    /// The sequence of each creation that has one, whether it was acknowledged or not.
    pub(super) sequences: BTreeMap<DeploymentId, u64>,
    /// The deployment that each creation expects to be live, if it expects one.
    pub(super) expected: BTreeMap<DeploymentId, DeploymentId>,
    /// The claims that were run, each by its fencing number.
    claims: BTreeSet<(DeploymentId, u64)>,
    pub(super) tally: Tally,
    runs: BTreeMap<u64, Run>,
    next_run: u64,
    /// The first violation of an invariant.
    pub(super) wrong: Option<String>,
}

impl Known {
    pub(super) fn wrong(&mut self, what: String) {
        self.wrong.get_or_insert(what);
    }
}

/// A build that runs until it is dropped: at its end, or with the function that runs it.
pub(super) struct Running {
    known: Arc<Mutex<Known>>,
    number: u64,
}

impl Running {
    /// Starts a build. Records a violation if its lane has another one, if the claim was run before, or if more builds run than may.
    pub(super) fn start(known: &Arc<Mutex<Known>>, run: Run, fence: u64, clock: &Clock, limits: PermitLimits) -> Self {
        let mut all = known.lock().unwrap();
        let now = clock.now();
        let other = all.runs.values().find(|other| other.lane == run.lane && other.lease_until > now).cloned();
        if let Some(other) = other {
            all.wrong(format!("{} and {} run in one lane", run.deployment, other.deployment));
        }
        let running: Vec<_> = all.runs.values().filter(|other| other.lease_until > now).collect();
        let of_account = running.iter().filter(|other| other.account == run.account).count();
        if running.len() >= limits.stack || of_account >= limits.account {
            let number = running.len();
            all.wrong(format!("{} runs beside {number} builds, {of_account} of its account", run.deployment));
        }
        if !all.claims.insert((run.deployment.clone(), fence)) {
            all.wrong(format!("claim {fence} of {} is run twice", run.deployment));
        }
        all.next_run += 1;
        let number = all.next_run;
        all.runs.insert(number, run);
        Self { known: known.clone(), number }
    }

    pub(super) fn renew(&self, until: Timestamp) {
        self.known.lock().unwrap().runs.get_mut(&self.number).unwrap().lease_until = until;
    }

    /// Returns whether the lease is over.
    pub(super) fn is_over(&self, clock: &Clock) -> bool {
        self.known.lock().unwrap().runs[&self.number].lease_until <= clock.now()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.known.lock().unwrap().runs.remove(&self.number);
    }
}
