//! Processes of a run that could not be ended.

use std::fmt;
use std::sync::Arc;

use serde::Serialize;

/// A process of a run that goes on after its run: it has become another user's, or the kernel does not end it.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
pub struct Survivor {
    /// The ID of the process.
    pub process_id: i32,
    /// The name of its program, at most 15 bytes. The process chooses it.
    pub program: String,
    /// The ID of the user that it runs as.
    pub user_id: u32,
}

/// The receiver of the processes that a run has left. Nobody else hears of them if the run is dropped.
#[derive(Clone)]
pub struct Survivors(Arc<Report>);

type Report = dyn Fn(&[Survivor]) + Send + Sync;

impl Survivors {
    /// Returns a receiver that calls a function, from whatever thread ends the run.
    pub fn reported_to(report: impl Fn(&[Survivor]) + Send + Sync + 'static) -> Self {
        Self(Arc::new(report))
    }

    pub(super) fn report(&self, survivors: &[Survivor]) {
        if !survivors.is_empty() {
            (self.0)(survivors);
        }
    }
}

impl fmt::Display for Survivor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { process_id, program, user_id } = self;
        write!(f, "{process_id} ({program}, user {user_id})")
    }
}
