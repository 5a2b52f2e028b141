//! Response bodies that several endpoints have in common.

use futures_util::future::try_join3;
use serde::{Serialize, Serializer};

use crate::access::{Permission, Scope};
use crate::app::App;
use crate::clock::Rfc3339;
use crate::id::{AccountId, DeploymentId, InvitationId, RepositoryId, TeamId, TokenId, UserId};
use crate::model::{
    Account, Application, BasePermission, ClientId, Concurrency, Deployment, Description, DisplayName, Email,
    Environment, EnvironmentSettings, Failure, Filter, Invitation, Lane, LaneKey, Live, Origin, Plan, Repository,
    RepositoryName, Role, Status, Team, TeamGrant, TeamMember, TeamName, TokenRecord, User, Visibility, Waits,
};
use crate::rate_limit::Quota;
use crate::table::TableError;
use crate::token::{PREFIX, TokenSecret};

/// What was deleted: the contract has JSON in every answer.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct Deleted {
    /// The last id in the path.
    pub id: String,
    #[schema(default = true)]
    pub deleted: bool,
}

impl Deleted {
    pub fn new(id: impl ToString) -> Self {
        Self { id: id.to_string(), deleted: true }
    }
}

#[derive(Debug, Serialize, utoipa::ToSchema)]
#[schema(as = Account)]
pub struct AccountBody {
    pub id: AccountId,
    #[schema(examples("acme"))]
    pub slug: String,
    pub plan: Plan,
    pub rate_limit: Quota,
    /// What every member may do in every repository.
    pub base_permission: BasePermission,
    /// Whether its users may make tokens that never expire.
    pub permanent_tokens: bool,
    pub created_at: Rfc3339,
}

impl From<Account> for AccountBody {
    fn from(row: Account) -> Self {
        Self {
            rate_limit: row.quota(),
            id: row.id,
            slug: row.slug.to_string(),
            plan: row.plan,
            base_permission: row.base_permission,
            permanent_tokens: row.permanent_tokens,
            created_at: row.created_at.into(),
        }
    }
}

#[derive(Debug, Serialize, utoipa::ToSchema)]
#[schema(as = Repository)]
pub struct RepositoryBody {
    pub id: RepositoryId,
    pub name: RepositoryName,
    /// The account's slug and the name.
    #[schema(examples("acme/frontend-app"))]
    pub full_name: String,
    pub visibility: Visibility,
    pub created_at: Rfc3339,
    pub updated_at: Rfc3339,
    #[schema(examples("main"))]
    pub default_branch: String,
    #[schema(examples("https://git.example.com/acme/frontend-app.git"))]
    pub clone_url: String,
}

impl From<Repository> for RepositoryBody {
    fn from(row: Repository) -> Self {
        Self {
            full_name: row.full_name(),
            id: row.id,
            name: row.name,
            visibility: row.visibility,
            created_at: row.created_at.into(),
            updated_at: row.updated_at.into(),
            default_branch: row.default_branch,
            clone_url: row.clone_url,
        }
    }
}

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

/// An environment of a repository: what is live there, what is on its way, and what is set.
#[derive(Debug, Serialize, utoipa::ToSchema)]
#[schema(as = EnvironmentState)]
pub struct EnvironmentBody {
    pub name: Environment,
    /// The deployment that succeeded last; in preview, where each ref has its own, the newest of them all.
    #[schema(required)]
    pub live: Option<LiveBody>,
    /// Deployments in progress: one at most, in preview one for each ref.
    pub in_progress: Vec<DeploymentId>,
    /// Deployments that are queued, in their order, 100 at most.
    pub queued: Vec<DeploymentId>,
    /// Whether a newer deployment waits behind those that are queued, or takes their place.
    pub concurrency: Concurrency,
    /// Approvals by others than the creator that a new deployment needs.
    #[schema(minimum = 0, maximum = 6, examples(1))]
    pub required_approvals: u8,
    /// Whether nothing new may start.
    pub frozen: bool,
    /// Seconds that the commands of a deployment may take together; null for the runner's own limit.
    #[schema(required, examples(600))]
    pub time_limit_seconds: Option<u32>,
    /// When a setting was last changed.
    #[schema(required)]
    pub updated_at: Option<Rfc3339>,
}

#[derive(Debug, Serialize, utoipa::ToSchema)]
#[schema(as = Live)]
pub struct LiveBody {
    pub deployment_id: DeploymentId,
    /// The deployment's number in its repository.
    #[schema(examples(7))]
    pub number: u64,
    #[schema(examples("3f786850e387550fdab836ed7e6dc881de23001b"))]
    pub sha: String,
    pub since: Rfc3339,
}

/// Deployments of an environment's queue that are shown.
const SHOWN: i32 = 100;

impl EnvironmentBody {
    pub async fn load(app: &App, repository: &Repository, name: Environment) -> Result<Self, TableError> {
        let settings = EnvironmentSettings::load(app.table(), &repository.account_id, &repository.id, name).await?;
        Self::with_settings(app, repository, name, settings).await
    }

    pub async fn with_settings(
        app: &App,
        repository: &Repository,
        name: Environment,
        settings: EnvironmentSettings,
    ) -> Result<Self, TableError> {
        let (live, in_progress, queued) = match name {
            Environment::Preview => Self::of_refs(app, repository).await?,
            _ => {
                let lane = LaneKey::new(&repository.account_id, &repository.id, name, "");
                let Lane { lock, waiting } = Lane::load(app.table(), &lane).await?;
                let queued = waiting.into_iter().map(|one| one.deployment_id).take(SHOWN as usize).collect();
                (lock.live, lock.holder.into_iter().collect(), queued)
            }
        };
        let live = live.map(|Live { deployment_id, number, sha, since }| LiveBody {
            deployment_id,
            number,
            sha,
            since: since.into(),
        });
        let EnvironmentSettings { concurrency, required_approvals, frozen, time_limit_seconds, updated_at } = settings;
        let updated_at = updated_at.map(Into::into);
        Ok(Self {
            name,
            live,
            in_progress,
            queued,
            concurrency,
            required_approvals,
            frozen,
            time_limit_seconds,
            updated_at,
        })
    }

    /// In preview the lanes are as many as the refs, so the lists are asked.
    async fn of_refs(
        app: &App,
        repository: &Repository,
    ) -> Result<(Option<Live>, Vec<DeploymentId>, Vec<DeploymentId>), TableError> {
        let of = |status, limit| {
            let filter = Filter { environment: Some(Environment::Preview), status: Some(status) };
            Deployment::newest(app.table(), repository, filter, None, limit)
        };
        let (mut succeeded, in_progress, queued) =
            try_join3(of(Status::Succeeded, 1), of(Status::InProgress, SHOWN), of(Status::Queued, SHOWN)).await?;
        let live = succeeded.pop().map(|row| Live {
            since: row.finished_at.unwrap_or(row.updated_at),
            deployment_id: row.id,
            number: row.number,
            sha: row.sha,
        });
        let ids = |rows: Vec<Deployment>| rows.into_iter().rev().map(|row| row.id).collect();
        Ok((live, ids(in_progress), ids(queued)))
    }
}

#[derive(Debug, Serialize, utoipa::ToSchema)]
#[schema(as = Token)]
pub struct TokenBody {
    pub id: TokenId,
    pub name: DisplayName,
    /// Whose it is.
    pub user_id: UserId,
    /// What the secret starts with.
    #[schema(examples("dgp_"))]
    pub prefix: &'static str,
    /// What the secret ends with.
    #[schema(examples("6u5b"))]
    pub last_four: String,
    pub scopes: Vec<Scope>,
    pub created_at: Rfc3339,
    pub updated_at: Rfc3339,
    /// `null`: never.
    #[schema(required)]
    pub expires_at: Option<Rfc3339>,
    /// To the hour. `null`: not yet.
    #[schema(required)]
    pub last_used_at: Option<Rfc3339>,
    /// The secret, in the answer to the call that made it and never again.
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "reveal")]
    #[schema(value_type = String, required = false, examples("dgp_0000000000000000000000000000003A6u5b"))]
    pub token: Option<TokenSecret>,
}

impl From<TokenRecord> for TokenBody {
    fn from(row: TokenRecord) -> Self {
        let token = row.token();
        Self {
            id: token.id.clone(),
            name: token.name.clone(),
            user_id: token.user_id.clone(),
            prefix: PREFIX,
            last_four: token.last_four.clone(),
            scopes: token.scopes.clone(),
            created_at: token.created_at.into(),
            updated_at: row.updated_at().into(),
            expires_at: token.expires_at.map(Into::into),
            last_used_at: row.last_used_at().map(Into::into),
            token: None,
        }
    }
}

impl TokenBody {
    /// The answer that shows the secret.
    pub fn with_secret(row: TokenRecord, secret: TokenSecret) -> Self {
        Self { token: Some(secret), ..row.into() }
    }
}

fn reveal<S: Serializer>(secret: &Option<TokenSecret>, serializer: S) -> Result<S::Ok, S::Error> {
    match secret {
        Some(secret) => serializer.serialize_str(secret.reveal()),
        None => serializer.serialize_none(),
    }
}

#[derive(Debug, Serialize, utoipa::ToSchema)]
#[schema(as = Team)]
pub struct TeamBody {
    pub id: TeamId,
    pub name: TeamName,
    pub description: Description,
    pub created_at: Rfc3339,
    pub updated_at: Rfc3339,
}

impl From<Team> for TeamBody {
    fn from(row: Team) -> Self {
        Self {
            id: row.id,
            name: row.name,
            description: row.description,
            created_at: row.created_at.into(),
            updated_at: row.updated_at.into(),
        }
    }
}

#[derive(Debug, Serialize, utoipa::ToSchema)]
#[schema(as = Member)]
pub struct MemberBody {
    pub id: UserId,
    pub email: Email,
    pub role: Role,
    pub created_at: Rfc3339,
}

impl From<User> for MemberBody {
    fn from(row: User) -> Self {
        Self { id: row.id, email: row.email, role: row.role, created_at: row.created_at.into() }
    }
}

#[derive(Debug, Serialize, utoipa::ToSchema)]
#[schema(as = TeamMember)]
pub struct TeamMemberBody {
    pub member: MemberBody,
    pub added_at: Rfc3339,
}

impl From<(TeamMember, User)> for TeamMemberBody {
    fn from((row, user): (TeamMember, User)) -> Self {
        Self { member: user.into(), added_at: row.added_at.into() }
    }
}

#[derive(Debug, Serialize, utoipa::ToSchema)]
#[schema(as = TeamRepository)]
pub struct TeamRepositoryBody {
    pub repository: RepositoryBody,
    pub permission: Permission,
    pub added_at: Rfc3339,
}

impl From<(TeamGrant, Repository)> for TeamRepositoryBody {
    fn from((row, repository): (TeamGrant, Repository)) -> Self {
        Self { repository: repository.into(), permission: row.permission, added_at: row.granted_at.into() }
    }
}

#[derive(Debug, Serialize, utoipa::ToSchema)]
#[schema(as = Invitation)]
pub struct InvitationBody {
    pub id: InvitationId,
    pub email: Email,
    /// The role that the user will have.
    pub role: Role,
    /// The teams that the user will be in.
    pub teams: Vec<TeamId>,
    pub invited_by: UserId,
    pub created_at: Rfc3339,
    /// Seven days after its creation.
    pub expires_at: Rfc3339,
}

impl From<Invitation> for InvitationBody {
    fn from(row: Invitation) -> Self {
        Self {
            id: row.id,
            email: row.email,
            role: row.role,
            teams: row.teams,
            invited_by: row.invited_by,
            created_at: row.created_at.into(),
            expires_at: row.valid_until.into(),
        }
    }
}

#[derive(Debug, Serialize, utoipa::ToSchema)]
#[schema(as = Application)]
pub struct ApplicationBody {
    /// The client's identifier at the identity provider.
    pub id: ClientId,
    pub name: DisplayName,
    /// The most that its tokens can do.
    pub scopes: Vec<Scope>,
    /// What it goes by where a user is named, as in a deployment's `created_by`.
    pub user_id: UserId,
    pub created_by: UserId,
    pub created_at: Rfc3339,
}

impl From<Application> for ApplicationBody {
    fn from(row: Application) -> Self {
        Self {
            id: row.id,
            name: row.name,
            scopes: row.scopes,
            user_id: row.user_id,
            created_by: row.created_by,
            created_at: row.created_at.into(),
        }
    }
}
