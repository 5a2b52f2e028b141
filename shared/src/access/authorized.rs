//! What a caller may use, as extractors.

use std::collections::HashMap;
use std::ops::Deref;
use std::sync::{Mutex, PoisonError};

use axum::extract::{FromRef, FromRequestParts};
use http::request::Parts;

use super::permission::{check_permission, check_role, permission};
use super::{Caller, Permission};
use crate::app::App;
use crate::endpoint::Route;
use crate::error::{Error, Result};
use crate::extract::{path_parameter, repository_parameter};
use crate::id::{DeploymentId, InvitationId, RepositoryId, TeamId, UserId};
use crate::model::{Account, Deployment, Invitation, Repository, RepositorySlug, Role, Team, User, Visibility};
use crate::table::{Table, TableError};

/// The caller's account, on an endpoint whose [`Route`] let the caller in.
#[derive(Clone, Debug)]
pub struct Tenant(Caller);

impl Tenant {
    pub fn account(&self) -> &Account {
        self.0.account()
    }

    pub fn user_id(&self) -> &UserId {
        self.0.user_id()
    }

    /// The caller as they were when the token was last looked up.
    pub fn user(&self) -> &User {
        self.0.user()
    }

    /// What the caller may do in a repository.
    pub fn permission_on(&self, repository: &Repository) -> Option<Permission> {
        let granted = repository.grants.highest(&self.user().teams);
        permission(self.user().role, self.account().base_permission.permission(), granted, repository.visibility)
    }

    /// What the caller may do in every repository of the account.
    pub fn permission_everywhere(&self) -> Option<Permission> {
        permission(self.user().role, self.account().base_permission.permission(), None, Visibility::Private)
    }

    /// Whether the caller may see a team: those that administer the account see all, others those that they are in.
    pub fn sees(&self, team: &TeamId) -> bool {
        self.sees_all_teams() || self.user().teams.contains(team)
    }

    pub fn sees_all_teams(&self) -> bool {
        self.user().role >= Role::Admin
    }

    /// Only owners make owners and unmake them.
    ///
    /// # Errors
    /// `insufficient_permission`
    pub fn may_assign(&self, role: Role) -> Result<()> {
        if role == Role::Owner { check_role(self.user().role, Role::Owner) } else { Ok(()) }
    }
}

impl<S: Sync> FromRequestParts<S> for Tenant {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self> {
        let caller = parts.extensions.get::<Caller>().cloned();
        caller.map(Tenant).ok_or_else(|| Error::internal("a public endpoint asked for its caller"))
    }
}

/// The permission that the request's route needs on a repository.
fn needed(parts: &Parts) -> Result<Permission> {
    let route = parts.extensions.get::<Route>();
    Ok(route.ok_or_else(|| Error::internal("the pipeline gave no route"))?.permission)
}

/// The repository in the path, in which the caller may do what the endpoint's [`Route`] needs.
#[derive(Clone, Debug)]
pub struct AuthorizedRepository {
    repository: Repository,
    tenant: Tenant,
}

impl AuthorizedRepository {
    pub fn tenant(&self) -> &Tenant {
        &self.tenant
    }

    pub fn into_inner(self) -> Repository {
        self.repository
    }
}

impl Deref for AuthorizedRepository {
    type Target = Repository;

    fn deref(&self) -> &Repository {
        &self.repository
    }
}

impl<S> FromRequestParts<S> for AuthorizedRepository
where
    S: Send + Sync,
    App: FromRef<S>,
{
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self> {
        let tenant = Tenant::from_request_parts(parts, state).await?;
        let not_found = || Error::not_found("Repository");
        // A name that no repository can have is one that does not exist.
        let slug: RepositorySlug = repository_parameter(parts)?.parse().map_err(|_| not_found())?;
        let repository = Repository::find(App::from_ref(state).table(), &tenant, &slug).await?;
        let repository = repository.ok_or_else(not_found)?;
        check_permission(tenant.permission_on(&repository), needed(parts)?, "Repository")?;
        Ok(Self { repository, tenant })
    }
}

/// The deployment in the path, in whose repository the caller may do what the endpoint's [`Route`] needs.
#[derive(Clone, Debug)]
pub struct AuthorizedDeployment {
    deployment: Deployment,
    tenant: Tenant,
}

impl AuthorizedDeployment {
    pub fn tenant(&self) -> &Tenant {
        &self.tenant
    }

    pub fn into_inner(self) -> Deployment {
        self.deployment
    }

    /// The repository that was deployed.
    pub async fn repository(&self, table: &Table) -> Result<AuthorizedRepository> {
        let repository = Repository::by_id(table, &self.tenant, &self.deployment.repository_id).await?;
        let repository = repository.ok_or_else(|| Error::not_found("Repository"))?;
        Ok(AuthorizedRepository { repository, tenant: self.tenant.clone() })
    }
}

impl Deref for AuthorizedDeployment {
    type Target = Deployment;

    fn deref(&self) -> &Deployment {
        &self.deployment
    }
}

impl<S> FromRequestParts<S> for AuthorizedDeployment
where
    S: Send + Sync,
    App: FromRef<S>,
{
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self> {
        let tenant = Tenant::from_request_parts(parts, state).await?;
        let not_found = || Error::not_found("Deployment");
        let id: DeploymentId = path_parameter(parts, "deployment_id")?.parse().map_err(|_| not_found())?;
        let (app, needed) = (App::from_ref(state), needed(parts)?);
        if tenant.permission_everywhere() >= Some(needed) {
            let found = Deployment::find(app.table(), &tenant, &id).await?;
            return Ok(Self { deployment: found.ok_or_else(not_found)?, tenant });
        }
        let (deployment, repository) = with_repository(&app, &tenant, &id).await?.ok_or_else(not_found)?;
        check_permission(tenant.permission_on(&repository), needed, "Deployment")?;
        Ok(Self { deployment, tenant })
    }
}

/// Which repositories deployments are in, as far as the execution environment has seen. That never changes.
#[derive(Debug, Default)]
pub(crate) struct Homes(Mutex<HashMap<DeploymentId, RepositoryId>>);

/// Deployments remembered in one execution environment, about 100 bytes each.
const REMEMBERED: usize = 2_000;

impl Homes {
    fn of(&self, id: &DeploymentId) -> Option<RepositoryId> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(id).cloned()
    }

    fn remember(&self, deployment: &Deployment) {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if known.len() >= REMEMBERED {
            known.clear();
        }
        known.insert(deployment.id.clone(), deployment.repository_id.clone());
    }
}

/// The deployment and its repository. Who follows a deployment asks for it again and again; from the second
/// time on both are read at once.
async fn with_repository(
    app: &App,
    tenant: &Tenant,
    id: &DeploymentId,
) -> Result<Option<(Deployment, Repository)>, TableError> {
    let deployment = Deployment::find(app.table(), tenant, id);
    let (deployment, repository) = match app.homes().of(id) {
        Some(home) => {
            let repository = Repository::by_id(app.table(), tenant, &home);
            futures_util::future::try_join(deployment, repository).await?
        }
        None => {
            let Some(deployment) = deployment.await? else { return Ok(None) };
            app.homes().remember(&deployment);
            let repository = Repository::by_id(app.table(), tenant, &deployment.repository_id).await?;
            (Some(deployment), repository)
        }
    };
    Ok(deployment.zip(repository))
}

/// The team in the path, which the caller may see.
#[derive(Clone, Debug)]
pub struct AuthorizedTeam {
    team: Team,
    tenant: Tenant,
}

impl AuthorizedTeam {
    pub fn tenant(&self) -> &Tenant {
        &self.tenant
    }

    pub fn into_inner(self) -> Team {
        self.team
    }
}

impl Deref for AuthorizedTeam {
    type Target = Team;

    fn deref(&self) -> &Team {
        &self.team
    }
}

impl<S> FromRequestParts<S> for AuthorizedTeam
where
    S: Send + Sync,
    App: FromRef<S>,
{
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self> {
        let tenant = Tenant::from_request_parts(parts, state).await?;
        let not_found = || Error::not_found("Team");
        let id: TeamId = path_parameter(parts, "team_id")?.parse().map_err(|_| not_found())?;
        if !tenant.sees(&id) {
            return Err(not_found());
        }
        let team = Team::find(App::from_ref(state).table(), &tenant, &id).await?.ok_or_else(not_found)?;
        Ok(Self { team, tenant })
    }
}

/// The member of the caller's account that the path names.
#[derive(Clone, Debug)]
pub struct AuthorizedMember {
    user: User,
    tenant: Tenant,
}

impl AuthorizedMember {
    pub fn tenant(&self) -> &Tenant {
        &self.tenant
    }

    pub fn into_inner(self) -> User {
        self.user
    }
}

impl Deref for AuthorizedMember {
    type Target = User;

    fn deref(&self) -> &User {
        &self.user
    }
}

impl<S> FromRequestParts<S> for AuthorizedMember
where
    S: Send + Sync,
    App: FromRef<S>,
{
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self> {
        let tenant = Tenant::from_request_parts(parts, state).await?;
        let not_found = || Error::not_found("Member");
        let id: UserId = path_parameter(parts, "user_id")?.parse().map_err(|_| not_found())?;
        let user = User::find(App::from_ref(state).table(), &tenant, &id).await?.ok_or_else(not_found)?;
        Ok(Self { user, tenant })
    }
}

/// The invitation to the caller's account that the path names.
#[derive(Clone, Debug)]
pub struct AuthorizedInvitation {
    invitation: Invitation,
    tenant: Tenant,
}

impl AuthorizedInvitation {
    pub fn tenant(&self) -> &Tenant {
        &self.tenant
    }

    pub fn into_inner(self) -> Invitation {
        self.invitation
    }
}

impl Deref for AuthorizedInvitation {
    type Target = Invitation;

    fn deref(&self) -> &Invitation {
        &self.invitation
    }
}

impl<S> FromRequestParts<S> for AuthorizedInvitation
where
    S: Send + Sync,
    App: FromRef<S>,
{
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self> {
        let tenant = Tenant::from_request_parts(parts, state).await?;
        let not_found = || Error::not_found("Invitation");
        let id: InvitationId = path_parameter(parts, "invitation_id")?.parse().map_err(|_| not_found())?;
        let found = Invitation::find(App::from_ref(state).table(), &tenant, &id).await?.ok_or_else(not_found)?;
        Ok(Self { invitation: found, tenant })
    }
}
