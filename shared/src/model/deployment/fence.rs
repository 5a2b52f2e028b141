//! Fences: what a client expects of the lane when it creates a deployment, so that a late request can't undo a newer one.

use crate::id::DeploymentId;
use crate::model::{Deployment, Lane, LaneKey, Live, Lock, Status};
use crate::table::{Change, Table, TableError, Values, Write};

/// The number of superseded deployments that [`Deployment::finds_what_it_expects`] looks through.
const MAX_SUPERSEDED: usize = 100;

/// The state of the lane that a client expects when it creates a deployment.
#[derive(Clone, Debug, Default)]
pub struct Fences {
    /// The deployment that must be live once everything ahead in the lane has succeeded.
    pub expected_current: Option<DeploymentId>,
    /// The sequence number, which must be higher than any before it in the lane.
    pub sequence: Option<u64>,
}

impl Fences {
    /// Returns why a request with these fences is stale, or `None` if it is not. The sentence names the conflicting
    /// deployment.
    pub fn stale(&self, lane: &Lane) -> Option<String> {
        if let Some(expected) = &self.expected_current {
            match lane.will_be_live() {
                Some((newest, _)) if newest == expected => {}
                Some((live, true)) => return Some(format!("{live} is live, not {expected}")),
                Some((ahead, false)) => return Some(format!("{ahead} is ahead and will be live, not {expected}")),
                None => return Some(format!("No deployment is live, and {expected} was expected")),
            }
        }
        self.out_of_sequence(&lane.lock)
    }

    /// Returns why the sequence number is stale, or `None` if it is not.
    pub(super) fn out_of_sequence(&self, lock: &Lock) -> Option<String> {
        match (self.sequence, lock.sequence, &lock.sequence_by) {
            (Some(sequence), Some(highest), Some(by)) if sequence <= highest => {
                Some(format!("Sequence {sequence} is not higher than {highest}, the sequence of {by}"))
            }
            _ => None,
        }
    }
}

impl LaneKey {
    /// Returns the write that keeps a sequence number, and refuses one that is not above the last.
    pub(super) fn check_sequence(&self, fences: &Fences, by: &DeploymentId) -> Option<Write> {
        let sequence = fences.sequence?;
        let change = Change {
            expression: "SET #sequence = :sequence, sequence_by = :id".to_owned(),
            condition: Some("attribute_not_exists(#sequence) OR #sequence < :sequence"),
            // `sequence` is a reserved word.
            names: Some([("#sequence".to_owned(), "sequence".to_owned())].into()),
            values: Values::new().set(":sequence", sequence).set(":id", by.as_str()),
        };
        Some(Write::Update { key: self.lock(), change })
    }
}

impl Deployment {
    /// Returns whether the live deployment is the one that this deployment expects. A deployment that was superseded
    /// before it ran stands for the one that it expected itself.
    pub(super) async fn finds_what_it_expects(&self, table: &Table, live: Option<&Live>) -> Result<bool, TableError> {
        let mut expected = self.expected_current.clone();
        for _ in 0..MAX_SUPERSEDED {
            let Some(id) = expected else { return Ok(true) };
            if live.is_some_and(|live| live.deployment_id == id) {
                return Ok(true);
            }
            expected = match Self::load(table, &self.account_id, &id).await? {
                Some(superseded) if superseded.status == Status::Superseded => superseded.expected_current,
                _ => return Ok(false),
            };
        }
        Ok(false)
    }
}
