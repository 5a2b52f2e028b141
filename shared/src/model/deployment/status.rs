//! The states of a deployment.

use serde::{Deserialize, Serialize};

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    Queued,
    InProgress,
    Succeeded,
    Failed,
    Canceled,
    Superseded,
}

impl Status {
    pub const ALL: [Status; 6] =
        [Self::Queued, Self::InProgress, Self::Succeeded, Self::Failed, Self::Canceled, Self::Superseded];

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

    /// The table of transitions: what a state may become. Queued may become itself when it is approved, and in progress
    /// when a runner that was lost is followed by another or when it is asked to stop.
    pub const fn successors(self) -> &'static [Status] {
        match self {
            Self::Queued => &[Self::Queued, Self::InProgress, Self::Failed, Self::Canceled, Self::Superseded],
            Self::InProgress => &[Self::InProgress, Self::Succeeded, Self::Failed, Self::Canceled],
            Self::Succeeded | Self::Failed | Self::Canceled | Self::Superseded => &[],
        }
    }

    pub const fn is_final(self) -> bool {
        self.successors().is_empty()
    }
}

/// The reason why a deployment failed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Failure {
    /// A stable code for programs.
    #[schema(examples("command_failed"))]
    pub code: String,
    /// A sentence for people.
    #[schema(examples("Command 'make test' in phase build exited with status 2"))]
    pub message: String,
}

impl Failure {
    /// A message may quote a command of 64 KiB, and each of the five copies of the row has it.
    const MAX_MESSAGE_BYTES: usize = 1000;

    pub(super) fn shorten(&mut self) {
        if self.message.len() > Self::MAX_MESSAGE_BYTES {
            const ELLIPSIS: char = '…';
            self.message.truncate(self.message.floor_char_boundary(Self::MAX_MESSAGE_BYTES - ELLIPSIS.len_utf8()));
            self.message.push(ELLIPSIS);
        }
    }

    pub fn queue_deadline() -> Self {
        Self { code: "queue_deadline".to_owned(), message: "It did not get its turn within 24 hours".to_owned() }
    }

    pub fn run_deadline() -> Self {
        let message = "It was in progress for longer than its time limit and what comes before and after the commands";
        Self { code: "run_deadline".to_owned(), message: message.to_owned() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn final_states_are_left_by_nothing() {
        let finals: Vec<_> = Status::ALL.into_iter().filter(|status| status.is_final()).collect();
        assert_eq!(finals, [Status::Succeeded, Status::Failed, Status::Canceled, Status::Superseded]);
        assert!(!Status::InProgress.successors().contains(&Status::Queued));
    }
}
