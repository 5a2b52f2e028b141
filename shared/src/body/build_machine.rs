//! The machines of builds by AWS CodeBuild.

use serde::Serialize;

use crate::model::{BuildMachine, ComputeType};
use crate::name::BuildImage;

/// The machine of a build in AWS CodeBuild.
#[derive(Debug, Serialize, utoipa::ToSchema)]
#[schema(as = BuildMachine)]
pub struct BuildMachineBody {
    /// The image. Null for the operator's.
    #[schema(required)]
    image: Option<BuildImage>,
    /// The size. Null for the operator's.
    #[schema(required)]
    compute_type: Option<ComputeType>,
    /// Whether the build may run Docker, and so do anything on its machine.
    privileged: bool,
}

impl BuildMachineBody {
    /// Returns the body of a machine, unless it is the operator's.
    pub(crate) fn of(machine: BuildMachine) -> Option<Self> {
        let is_own = !machine.is_default();
        let BuildMachine { image, compute_type, privileged } = machine;
        is_own.then_some(Self { image, compute_type, privileged })
    }
}
