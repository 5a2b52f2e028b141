//! The builds that run, and the two invariants that they must keep: no two in one lane, and no attempt twice.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};

use shared::clock::{Clock, Timestamp};
use shared::id::DeploymentId;

/// A build, as its runner knows it.
#[derive(Clone, Debug)]
pub(super) struct Run {
    pub(super) lane: String,
    pub(super) deployment: DeploymentId,
    pub(super) lease_until: Timestamp,
}

/// The facts that the table is compared with.
#[derive(Debug, Default)]
pub(super) struct Known {
    /// The deployments whose creation was acknowledged.
    pub(super) created: Vec<DeploymentId>,
    /// The attempts that were run.
    attempts: BTreeSet<(DeploymentId, u32)>,
    runs: BTreeMap<u64, Run>,
    next_run: u64,
    /// The first violation of an invariant.
    pub(super) wrong: Option<String>,
}

impl Known {
    fn wrong(&mut self, what: String) {
        self.wrong.get_or_insert(what);
    }
}

/// A build that runs until it is dropped: at its end, or with the function that runs it.
pub(super) struct Running {
    known: Arc<Mutex<Known>>,
    number: u64,
}

impl Running {
    /// Starts a build. Records a violation if its lane has another one, or if the attempt was run before.
    pub(super) fn start(known: &Arc<Mutex<Known>>, run: Run, attempt: u32, clock: &Clock) -> Self {
        let mut all = known.lock().unwrap();
        let now = clock.now();
        let other = all.runs.values().find(|other| other.lane == run.lane && other.lease_until > now).cloned();
        if let Some(other) = other {
            all.wrong(format!("{} and {} run in one lane", run.deployment, other.deployment));
        }
        if !all.attempts.insert((run.deployment.clone(), attempt)) {
            all.wrong(format!("attempt {attempt} of {} is run twice", run.deployment));
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
