//! The filters of the list.

use serde::Deserialize;
use shared::access::Tenant;
use shared::model::{Creator, DeployedRef, Environment, FullSha, RepositorySlug, Status, WantedDeployments};

/// The properties of the listed deployments.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
pub struct DeploymentsFilter {
    /// Returns only deployments of this repository: its ID, its name or its full name.
    #[param(value_type = Option<String>, pattern = "^([A-Za-z0-9-]+/)?[A-Za-z0-9_-][A-Za-z0-9._-]*$", max_length = 100)]
    repository: Option<RepositoryText>,
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
    /// Returns only deployments that wait for an approval that the caller may give and has not given. Only people approve, so
    /// an application gets none.
    #[param(inline)]
    awaiting: Option<Awaiting>,
}

/// The text of a repository's name.
#[derive(Debug, Deserialize)]
#[serde(try_from = "String")]
struct RepositoryText(RepositorySlug);

impl TryFrom<String> for RepositoryText {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse().map(Self).map_err(|_| "must be the ID, the name or the full name of a repository".to_owned())
    }
}

/// The person whose approval deployments wait for.
#[derive(Clone, Copy, Debug, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "lowercase")]
enum Awaiting {
    /// The caller.
    Me,
}

impl DeploymentsFilter {
    pub(crate) const PARAMETERS: [&str; 7] =
        ["repository", "environment", "status", "ref", "sha", "created_by", "awaiting"];

    /// Returns the repository that the client asks for, and the other properties as they are for the caller.
    pub(crate) fn of(self, tenant: &Tenant) -> (Option<RepositorySlug>, WantedDeployments) {
        let awaits = self.awaiting.map(|Awaiting::Me| tenant.user_id().clone());
        let statuses = match (self.status, &awaits) {
            (None, None) => Status::ALL.to_vec(),
            (None | Some(Status::Queued), Some(_)) if tenant.is_person() => vec![Status::Queued],
            (_, Some(_)) => Vec::new(),
            (Some(status), None) => vec![status],
        };
        let wanted = WantedDeployments {
            environment: self.environment,
            statuses,
            git_ref: self.r#ref,
            sha: self.sha,
            created_by: self.created_by.map(|creator| creator.of(tenant.user_id())),
            awaits,
        };
        (self.repository.map(|RepositoryText(slug)| slug), wanted)
    }
}
