//! What a caller may use, as extractors.

use std::ops::Deref;

use axum::extract::{FromRef, FromRequestParts};
use http::request::Parts;

use super::permission::{check_permission, check_role, permission};
use super::{Caller, Permission, Requested};
use crate::app::App;
use crate::error::{Error, Result};
use crate::extract::{path_parameter, repository_parameter};
use crate::id::{DeploymentId, InvitationId, TeamId, TokenId, UserId};
use crate::model::{
    Account, Deployment, Invitation, Repository, RepositorySlug, Role, Team, TokenRecord, User, Visibility,
};
use crate::route::Route;
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

/// What a path can name and a caller may use.
pub trait Resource: Clone + Send + Sync + 'static {
    /// As an error calls it.
    const KIND: &'static str;
    type Name: Send;

    /// What the path has for its name, or `None` when nothing can be called that.
    fn name(parts: &Parts) -> Result<Option<Self::Name>>;

    /// The one of that name, if the caller may see it and has the permission that the route needs.
    fn authorize(
        app: &App,
        tenant: &Tenant,
        name: Self::Name,
        needed: Permission,
    ) -> impl Future<Output = Result<Option<Self>>> + Send;
}

/// The resource in the path, with which the caller may do what the endpoint's [`Route`] needs.
#[derive(Clone, Debug)]
pub struct Authorized<T> {
    pub(super) resource: T,
    pub(super) tenant: Tenant,
}

pub type AuthorizedRepository = Authorized<Repository>;
pub type AuthorizedDeployment = Authorized<Deployment>;
/// A team that the caller may see.
pub type AuthorizedTeam = Authorized<Team>;
/// A member of the caller's account.
pub type AuthorizedMember = Authorized<User>;
/// An invitation to the caller's account.
pub type AuthorizedInvitation = Authorized<Invitation>;
/// A token that the caller may see and revoke: their own, and for the account's owners and admins everybody's.
pub type AuthorizedToken = Authorized<TokenRecord>;

impl<T> Authorized<T> {
    pub fn tenant(&self) -> &Tenant {
        &self.tenant
    }

    pub fn into_inner(self) -> T {
        self.resource
    }
}

impl<T> Deref for Authorized<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.resource
    }
}

impl<S, T> FromRequestParts<S> for Authorized<T>
where
    S: Send + Sync,
    App: FromRef<S>,
    T: Resource,
{
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self> {
        if let Some(Early(found)) = parts.extensions.remove() {
            return Ok(found);
        }
        Requested::from_request_parts(parts, state).await?.authorize().await
    }
}

/// The permission that the request's route needs on a repository.
pub(super) fn needed(parts: &Parts) -> Result<Permission> {
    let route = parts.extensions.get::<Route>();
    Ok(route.ok_or_else(|| Error::internal("the pipeline gave no route"))?.permission)
}

/// What was found before its extractor asked.
#[derive(Clone)]
struct Early<T>(T);

/// Finds the resource for its extractor. One that is not found is looked for again there, which then says so.
pub(crate) async fn find_early<T: Resource>(parts: &mut Parts, app: &App) {
    if let Ok(found) = Authorized::<T>::from_request_parts(parts, app).await {
        parts.extensions.insert(Early(found));
    }
}

impl Resource for Repository {
    const KIND: &'static str = "Repository";
    type Name = RepositorySlug;

    fn name(parts: &Parts) -> Result<Option<RepositorySlug>> {
        Ok(repository_parameter(parts)?.parse().ok())
    }

    async fn authorize(app: &App, tenant: &Tenant, slug: RepositorySlug, needed: Permission) -> Result<Option<Self>> {
        let Some(repository) = Repository::find(app.table(), tenant, &slug).await? else { return Ok(None) };
        check_permission(tenant.permission_on(&repository), needed, Self::KIND)?;
        Ok(Some(repository))
    }
}

impl Resource for Deployment {
    const KIND: &'static str = "Deployment";
    type Name = DeploymentId;

    fn name(parts: &Parts) -> Result<Option<DeploymentId>> {
        Ok(path_parameter(parts, "deployment_id")?.parse().ok())
    }

    async fn authorize(app: &App, tenant: &Tenant, id: DeploymentId, needed: Permission) -> Result<Option<Self>> {
        if tenant.permission_everywhere() >= Some(needed) {
            return Ok(Deployment::find(app.table(), tenant, &id).await?);
        }
        let Some((deployment, repository)) = with_repository(app, tenant, &id).await? else { return Ok(None) };
        check_permission(tenant.permission_on(&repository), needed, Self::KIND)?;
        Ok(Some(deployment))
    }
}

impl AuthorizedDeployment {
    /// The repository that was deployed.
    pub async fn repository(&self, table: &Table) -> Result<AuthorizedRepository> {
        let repository = Repository::by_id(table, &self.tenant, &self.repository_id).await?;
        let resource = repository.ok_or_else(|| Error::not_found(Repository::KIND))?;
        Ok(Authorized { resource, tenant: self.tenant.clone() })
    }
}

impl Resource for Team {
    const KIND: &'static str = "Team";
    type Name = TeamId;

    fn name(parts: &Parts) -> Result<Option<TeamId>> {
        Ok(path_parameter(parts, "team_id")?.parse().ok())
    }

    async fn authorize(app: &App, tenant: &Tenant, id: TeamId, _: Permission) -> Result<Option<Self>> {
        if !tenant.sees(&id) {
            return Ok(None);
        }
        Ok(Team::find(app.table(), tenant, &id).await?)
    }
}

impl Resource for User {
    const KIND: &'static str = "Member";
    type Name = UserId;

    fn name(parts: &Parts) -> Result<Option<UserId>> {
        Ok(path_parameter(parts, "user_id")?.parse().ok())
    }

    async fn authorize(app: &App, tenant: &Tenant, id: UserId, _: Permission) -> Result<Option<Self>> {
        Ok(User::find(app.table(), tenant, &id).await?)
    }
}

impl Resource for Invitation {
    const KIND: &'static str = "Invitation";
    type Name = InvitationId;

    fn name(parts: &Parts) -> Result<Option<InvitationId>> {
        Ok(path_parameter(parts, "invitation_id")?.parse().ok())
    }

    async fn authorize(app: &App, tenant: &Tenant, id: InvitationId, _: Permission) -> Result<Option<Self>> {
        Ok(Invitation::find(app.table(), tenant, &id).await?)
    }
}

impl Resource for TokenRecord {
    const KIND: &'static str = "Token";
    type Name = TokenId;

    fn name(parts: &Parts) -> Result<Option<TokenId>> {
        Ok(path_parameter(parts, "token_id")?.parse().ok())
    }

    async fn authorize(app: &App, tenant: &Tenant, id: TokenId, _: Permission) -> Result<Option<Self>> {
        let found = TokenRecord::find(app.table(), &tenant.account().id, &id).await?;
        Ok(found.filter(|found| found.token().user_id == *tenant.user_id() || oversees_tokens(&tenant.0)))
    }
}

/// A token of the caller's own, who may change it. Changing somebody else's would be acting in their name.
#[derive(Clone, Debug)]
pub struct OwnToken(TokenRecord);

impl OwnToken {
    pub fn into_inner(self) -> TokenRecord {
        self.0
    }
}

impl Deref for OwnToken {
    type Target = TokenRecord;

    fn deref(&self) -> &TokenRecord {
        &self.0
    }
}

impl<S> FromRequestParts<S> for OwnToken
where
    S: Send + Sync,
    App: FromRef<S>,
{
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self> {
        let found = AuthorizedToken::from_request_parts(parts, state).await?;
        if found.token().user_id != *found.tenant().user_id() {
            return Err(Error::not_permitted("Only the user who made the token may change or rotate it"));
        }
        Ok(Self(found.into_inner()))
    }
}

/// Whether the caller may see and revoke everybody's tokens.
pub fn oversees_tokens(caller: &Caller) -> bool {
    caller.application().is_none() && caller.user().role >= Role::Admin
}

/// The deployment and its repository. Who follows a deployment asks for it again and again; from the second
/// time on both are read at once.
async fn with_repository(
    app: &App,
    tenant: &Tenant,
    id: &DeploymentId,
) -> Result<Option<(Deployment, Repository)>, TableError> {
    let deployment = Deployment::find(app.table(), tenant, id);
    let (deployment, repository) = match app.places().of_deployment(id) {
        Some(place) => {
            let repository = Repository::by_id(app.table(), tenant, &place.repository_id);
            futures_util::future::try_join(deployment, repository).await?
        }
        None => {
            let Some(deployment) = deployment.await? else { return Ok(None) };
            app.places().remember_deployment(&deployment);
            let repository = Repository::by_id(app.table(), tenant, &deployment.repository_id).await?;
            (Some(deployment), repository)
        }
    };
    Ok(deployment.zip(repository))
}
