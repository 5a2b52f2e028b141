//! The deployments that others repeat.

use serde::{Deserialize, Serialize};

use crate::id::DeploymentId;

/// The earlier deployment that a retry or a rollback repeats.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Origin {
    /// The reason for the repetition.
    pub kind: OriginKind,
    /// The earlier deployment, which is in the same repository.
    pub deployment_id: DeploymentId,
    /// The deployment's number in the repository.
    #[schema(examples(6))]
    pub number: u64,
}

/// The kind of repetition: `retry` repeats a deployment that has ended, `rollback` returns to one that succeeded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum OriginKind {
    /// Repeats a deployment that has ended, with the same commit.
    Retry,
    /// Returns to an earlier deployment that succeeded.
    Rollback,
}
