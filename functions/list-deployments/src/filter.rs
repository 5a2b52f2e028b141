//! The filters of the list.

use serde::Deserialize;
use shared::access::Tenant;
use shared::model::{Creator, DeployedRef, Environment, FullSha, Status, WantedDeployments};

/// The properties of the listed deployments.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
pub struct DeploymentFilter {
    /// Returns only deployments to this environment.
    environment: Option<Environment>,
    /// Returns only deployments in this state.
    status: Option<Status>,
    /// Returns only deployments of this ref: the one of the request, or its full name.
    #[param(inline)]
    r#ref: Option<DeployedRef>,
    /// Returns only deployments of this commit.
    #[param(inline)]
    sha: Option<FullSha>,
    /// Returns only deployments that this user created, or the application that this ID stands for. `me` is the caller.
    #[param(inline)]
    created_by: Option<Creator>,
}

impl DeploymentFilter {
    pub(crate) const PARAMETERS: [&str; 5] = ["environment", "status", "ref", "sha", "created_by"];

    /// Returns the properties as they are for the caller.
    pub(crate) fn of(self, caller: &Tenant) -> WantedDeployments {
        WantedDeployments {
            environment: self.environment,
            statuses: self.status.map_or_else(|| Status::ALL.to_vec(), |status| vec![status]),
            git_ref: self.r#ref,
            sha: self.sha,
            created_by: self.created_by.map(|creator| creator.of(caller.user_id())),
            awaits: None,
        }
    }
}
