//! The filters of the list.

use serde::Deserialize;
use shared::access::Tenant;
use shared::id::UserId;
use shared::model::{Deployment, Environment, Filter, ListedDeployment, RepositorySlug, Status};

/// The maximum length of a ref, in bytes.
const MAX_REF_BYTES: usize = 255;

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
    #[param(value_type = Option<String>, min_length = 1, max_length = 255)]
    r#ref: Option<RefText>,
    /// Returns only deployments of this commit.
    #[param(value_type = Option<String>, pattern = "^([0-9a-f]{40}|[0-9a-f]{64})$")]
    sha: Option<Sha>,
    /// Returns only deployments that this user created, or the application that this ID stands for. `me` is the caller.
    #[param(value_type = Option<String>, pattern = "^(me|user_[a-z2-7]{16})$")]
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

#[derive(Debug, Deserialize)]
#[serde(try_from = "String")]
struct RefText(String);

impl TryFrom<String> for RefText {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        match text.len() {
            1..=MAX_REF_BYTES => Ok(Self(text)),
            _ => Err(format!("must be a ref of 1 to {MAX_REF_BYTES} bytes")),
        }
    }
}

#[derive(Debug, Deserialize)]
#[serde(try_from = "String")]
struct Sha(String);

impl TryFrom<String> for Sha {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, &'static str> {
        let is_hex = text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        match is_hex && [40, 64].contains(&text.len()) {
            true => Ok(Self(text)),
            false => Err("must be the full SHA of a commit in lower case"),
        }
    }
}

#[derive(Debug, Deserialize)]
#[serde(try_from = "String")]
enum Creator {
    Me,
    User(UserId),
}

impl TryFrom<String> for Creator {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        match text.as_str() {
            "me" => Ok(Self::Me),
            _ => text.parse().map(Self::User).map_err(|_| "must be 'me' or the ID of a user".to_owned()),
        }
    }
}

/// The person whose approval deployments wait for.
#[derive(Clone, Copy, Debug, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "lowercase")]
enum Awaiting {
    /// The caller.
    Me,
}

/// The properties of the listed deployments for one caller.
#[derive(Debug)]
pub(crate) struct Wanted {
    pub(crate) environment: Option<Environment>,
    /// All of the states, or the one that is asked for. Empty if no deployment can match.
    pub(crate) statuses: Vec<Status>,
    git_ref: Option<String>,
    sha: Option<String>,
    created_by: Option<UserId>,
    /// The person whose approval the deployments wait for.
    pub(crate) awaits: Option<UserId>,
}

impl DeploymentsFilter {
    pub(crate) const PARAMETERS: [&str; 7] =
        ["repository", "environment", "status", "ref", "sha", "created_by", "awaiting"];

    /// Returns the repository that the client asks for, and the other properties as they are for the caller.
    pub(crate) fn of(self, tenant: &Tenant) -> (Option<RepositorySlug>, Wanted) {
        let me = || tenant.user_id().clone();
        let awaits = self.awaiting.map(|Awaiting::Me| me());
        let statuses = match (self.status, &awaits) {
            (None, None) => Status::ALL.to_vec(),
            (None | Some(Status::Queued), Some(_)) if tenant.is_person() => vec![Status::Queued],
            (_, Some(_)) => Vec::new(),
            (Some(status), None) => vec![status],
        };
        let wanted = Wanted {
            environment: self.environment,
            statuses,
            git_ref: self.r#ref.map(|RefText(name)| name),
            sha: self.sha.map(|Sha(sha)| sha),
            created_by: self.created_by.map(|creator| match creator {
                Creator::Me => me(),
                Creator::User(id) => id,
            }),
            awaits,
        };
        (self.repository.map(|RepositoryText(slug)| slug), wanted)
    }
}

impl Wanted {
    /// Returns whether a listed deployment has the properties that never change.
    pub(crate) fn matches(&self, item: &ListedDeployment) -> bool {
        self.environment.is_none_or(|environment| item.environment == environment)
            && self.git_ref.as_ref().is_none_or(|name| item.is_of_ref(name))
            && self.sha.as_ref().is_none_or(|sha| item.is_of_commit(sha))
            && self.created_by.as_ref().is_none_or(|user| item.is_by(user))
            && self.awaits.as_ref().is_none_or(|user| item.is_approvable_by(user))
    }

    /// Returns whether a deployment has the properties that change.
    pub(crate) fn has(&self, row: &Deployment) -> bool {
        self.statuses.contains(&row.status) && self.awaits.as_ref().is_none_or(|user| row.awaits(user))
    }

    /// Returns whether the counters of repositories tell the number of such deployments.
    pub(crate) fn is_counted(&self) -> bool {
        self.git_ref.is_none() && self.sha.is_none() && self.created_by.is_none() && self.awaits.is_none()
    }

    /// Returns the properties that the counters distinguish.
    pub(crate) fn counted(&self) -> Filter {
        let status = self.statuses.first().copied().filter(|_| self.statuses.len() == 1);
        Filter { environment: self.environment, status }
    }
}
