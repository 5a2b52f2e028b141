//! Response bodies that several endpoints have in common.

use serde::{Serialize, Serializer};

use crate::access::{Permission, Scope};
use crate::app::App;
use crate::clock::Rfc3339;
use crate::id::{DeploymentId, InvitationId, RepositoryId, TeamId, TokenId, UserId};
use crate::model::{
    Application, ClientId, Deployment, Description, DisplayName, Email, Environment, Failure, Invitation, Repository,
    RepositoryName, Role, Status, Team, TeamGrant, TeamMember, TeamName, TokenRecord, User, Visibility,
};
use crate::token::{PREFIX, TokenSecret};

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
        }
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
