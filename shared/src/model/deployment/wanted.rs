//! The deployments that a filtered list has.

use super::{Deployment, Environment, Filter, ListedDeployment, Status};
use crate::id::UserId;
use crate::name::{DeployedRef, FullSha};

/// The properties of the listed deployments for one caller.
#[derive(Clone, Debug)]
pub struct WantedDeployments {
    /// The environment, or `None` for any.
    pub environment: Option<Environment>,
    /// All of the states, or the one that is asked for. Empty if no deployment can match.
    pub statuses: Vec<Status>,
    /// The ref of the request, or its full name.
    pub git_ref: Option<DeployedRef>,
    /// The commit.
    pub sha: Option<FullSha>,
    /// The user, or the user that stands for the application, who created the deployments.
    pub created_by: Option<UserId>,
    /// The person whose approval the deployments wait for.
    pub awaits: Option<UserId>,
}

impl WantedDeployments {
    /// Returns whether a listed deployment has the properties that never change.
    pub fn matches(&self, item: &ListedDeployment) -> bool {
        self.environment.is_none_or(|environment| item.environment == environment)
            && self.git_ref.as_ref().is_none_or(|name| item.is_of_ref(name.as_str()))
            && self.sha.as_ref().is_none_or(|sha| item.is_of_commit(sha.as_str()))
            && self.created_by.as_ref().is_none_or(|user| item.is_by(user))
            && self.awaits.as_ref().is_none_or(|user| item.is_approvable_by(user))
    }

    /// Returns whether a deployment has the properties that change.
    pub fn has(&self, row: &Deployment) -> bool {
        self.statuses.contains(&row.status) && self.awaits.as_ref().is_none_or(|user| row.awaits(user))
    }

    /// Returns whether the counters of repositories tell the number of such deployments.
    pub fn is_counted(&self) -> bool {
        self.git_ref.is_none() && self.sha.is_none() && self.created_by.is_none() && self.awaits.is_none()
    }

    /// Returns the properties that the counters distinguish.
    pub fn counted(&self) -> Filter {
        let status = self.statuses.first().copied().filter(|_| self.statuses.len() == 1);
        Filter { environment: self.environment, status }
    }
}
