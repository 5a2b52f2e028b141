//! Deployments and their place in the queue.

use serde::Serialize;

use crate::app::App;
use crate::clock::Rfc3339;
use crate::id::{DeploymentId, RepositoryId, UserId};
use crate::model::{Deployment, Environment, Failure, Origin, Status, Waits};

#[derive(Debug, Serialize, utoipa::ToSchema)]
#[schema(as = Deployment)]
pub struct DeploymentBody {
    pub id: DeploymentId,
    pub status: Status,
    /// Where the deployment can be followed.
    #[schema(examples("https://api.git.dev/v1/deployments/deploy_k3vyq2w7x5m4n6pa"))]
    pub url: String,
    pub created_at: Rfc3339,
    pub repository_id: RepositoryId,
    /// 1, 2, 3, … in the repository.
    #[schema(examples(7))]
    pub number: u64,
    pub environment: Environment,
    /// The ref as it was asked for.
    #[schema(examples("main"))]
    pub r#ref: String,
    /// The commit that the ref stood for at creation, and that is deployed.
    #[schema(examples("3f786850e387550fdab836ed7e6dc881de23001b"))]
    pub sha: String,
    pub created_by: UserId,
    pub updated_at: Rfc3339,
    /// When a runner first took it.
    #[schema(required)]
    pub started_at: Option<Rfc3339>,
    #[schema(required)]
    pub finished_at: Option<Rfc3339>,
    /// Why it failed.
    #[schema(required)]
    pub failure: Option<Failure>,
    pub approvals: ApprovalsBody,
    /// Whether it was asked to stop while it was in progress.
    pub cancel_requested: bool,
    /// The deployment that it repeats.
    #[schema(required)]
    pub origin: Option<Origin>,
    /// Where it stands while it is queued. Only told where a single deployment is asked for; in a list it is null.
    #[schema(required)]
    pub queue: Option<QueueBody>,
}

#[derive(Debug, Serialize, utoipa::ToSchema)]
#[schema(as = Approvals)]
pub struct ApprovalsBody {
    /// How many it needs, as its environment asked at creation.
    #[schema(examples(1))]
    pub required: u8,
    /// Who gave one.
    pub given_by: Vec<UserId>,
}

/// Where a deployment stands that is queued.
#[derive(Debug, Serialize, utoipa::ToSchema)]
#[schema(as = Queue)]
pub struct QueueBody {
    /// 1 is next.
    #[schema(examples(2))]
    pub position: usize,
    /// What is in its way; null when it is about to start.
    #[schema(required)]
    pub blocked_by: Option<Blocker>,
    pub since: Rfc3339,
    /// When it fails if it did not start before.
    #[schema(required)]
    pub deadline: Option<Rfc3339>,
}

#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct Blocker {
    pub kind: BlockerKind,
    /// The deployment that is in the way.
    #[schema(required)]
    pub deployment_id: Option<DeploymentId>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum BlockerKind {
    /// It lacks an approval.
    Approval,
    /// The environment is frozen.
    Freeze,
    /// Another deployment is in progress, or before it.
    Deployment,
}

impl QueueBody {
    /// Where a deployment stands in its lane.
    pub fn new(row: &Deployment, Waits { settings, lane }: &Waits) -> Self {
        let before = || lane.waiting.iter().filter(|one| one.number < row.number);
        let other = |id: &DeploymentId| Blocker { kind: BlockerKind::Deployment, deployment_id: Some(id.clone()) };
        let of_kind = |kind| Some(Blocker { kind, deployment_id: None });
        let blocked_by = if !row.is_approved() {
            of_kind(BlockerKind::Approval)
        } else if settings.frozen {
            of_kind(BlockerKind::Freeze)
        } else {
            let first = || before().find(|one| one.ready).map(|one| &one.deployment_id);
            lane.lock.holder.as_ref().or_else(first).map(other)
        };
        Self {
            position: before().count() + 1,
            blocked_by,
            since: row.created_at.into(),
            deadline: row.deadline.map(Into::into),
        }
    }
}

impl DeploymentBody {
    pub fn new(app: &App, row: Deployment) -> Self {
        Self {
            url: app.url(&format!("/v1/deployments/{}", row.id)),
            id: row.id,
            status: row.status,
            created_at: row.created_at.into(),
            repository_id: row.repository_id,
            number: row.number,
            environment: row.environment,
            r#ref: row.git_ref,
            sha: row.sha,
            created_by: row.created_by,
            updated_at: row.updated_at.into(),
            started_at: row.started_at.map(Into::into),
            finished_at: row.finished_at.map(Into::into),
            failure: row.failure,
            approvals: ApprovalsBody { required: row.required_approvals, given_by: row.approved_by },
            cancel_requested: row.cancel_requested_by.is_some(),
            origin: row.origin,
            queue: None,
        }
    }
}
