//! The states of a deployment.

use serde::{Deserialize, Serialize};

/// The status of a deployment. `succeeded`, `failed`, `canceled` and `superseded` are final.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// The deployment waits for approvals, for a required environment, for a timer, for the end of a freeze, for its turn in the lane, or
    /// for capacity.
    Queued,
    /// A runner has claimed the deployment, and holds its lane.
    InProgress,
    /// All commands succeeded. The deployment became its lane's live one.
    Succeeded,
    /// A command failed, a deadline passed, the approval was refused, or the runners were lost. See `failure`.
    Failed,
    /// A user canceled the deployment.
    Canceled,
    /// A newer deployment took the place of the queued one, or the lane's state was not the expected one.
    Superseded,
}

impl Status {
    /// Every status, in the order of a deployment's life.
    pub const ALL: [Status; 6] =
        [Self::Queued, Self::InProgress, Self::Succeeded, Self::Failed, Self::Canceled, Self::Superseded];

    /// Returns the status's name in bodies and keys.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::InProgress => "in_progress",
            Self::Succeeded => "succeeded",
            Self::Failed => "failed",
            Self::Canceled => "canceled",
            Self::Superseded => "superseded",
        }
    }

    /// Returns the states that may follow this one. A queued deployment stays queued when it is approved. A deployment
    /// in progress stays in progress when a build takes over, when another runner replaces a lost one, and when a user
    /// asks it to stop. It is queued again if CodeBuild has no capacity for its build, of which nothing has run then.
    pub const fn successors(self) -> &'static [Status] {
        match self {
            Self::Queued => &[Self::Queued, Self::InProgress, Self::Failed, Self::Canceled, Self::Superseded],
            Self::InProgress => &[Self::Queued, Self::InProgress, Self::Succeeded, Self::Failed, Self::Canceled],
            Self::Succeeded | Self::Failed | Self::Canceled | Self::Superseded => &[],
        }
    }

    /// Returns whether the deployment has ended.
    pub const fn is_final(self) -> bool {
        self.successors().is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn final_states_are_left_by_nothing() {
        let finals: Vec<_> = Status::ALL.into_iter().filter(|status| status.is_final()).collect();
        assert_eq!(finals, [Status::Succeeded, Status::Failed, Status::Canceled, Status::Superseded]);
        assert!(!Status::InProgress.successors().contains(&Status::Superseded));
    }
}
