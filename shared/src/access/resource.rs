//! The resources that a path can name, and their authorization.

use http::request::Parts;

use super::tenant::{Tenant, oversees_tokens};
use crate::app::App;
use crate::error::{Error, Result};
use crate::extract::{path_parameter, repository_parameter};
use crate::id::{ConnectionId, DeploymentId, HookId, InvitationId, TeamId, TokenId, TrustId, UserId, WebhookId};
use crate::model::{
    Connection, Deployment, Hook, Invitation, Repository, RepositorySlug, Team, TokenRecord, Trust, User, Webhook,
};
use crate::permission::{Permission, check_permission};
use crate::route::Route;
use crate::table::TableError;

/// A resource that a path names.
pub trait Resource: Clone + Send + Sync + 'static {
    /// The name of the kind in error messages.
    const KIND: &'static str;
    /// The name in the path, once it is well-formed: an id, or for a repository also a name.
    type Name: Send;

    /// Returns the name in the path, or `None` if it is malformed.
    fn name(parts: &Parts) -> Result<Option<Self::Name>>;

    /// Returns the resource of that name, or `None` if the caller can't see it. Fails if the caller lacks the needed permission.
    fn authorize(
        app: &App,
        tenant: &Tenant,
        name: Self::Name,
        needed: Permission,
    ) -> impl Future<Output = Result<Option<Self>>> + Send;
}

/// Returns the permission that the request's route needs on a repository.
pub(super) fn needed(parts: &Parts) -> Result<Permission> {
    let route = parts.extensions.get::<Route>();
    Ok(route.ok_or_else(|| Error::internal("the pipeline gave no route"))?.permission)
}

impl Resource for Repository {
    const KIND: &'static str = "Repository";
    type Name = RepositorySlug;

    fn name(parts: &Parts) -> Result<Option<RepositorySlug>> {
        Ok(repository_parameter(parts)?.parse().ok())
    }

    async fn authorize(app: &App, tenant: &Tenant, slug: RepositorySlug, needed: Permission) -> Result<Option<Self>> {
        let found = match &slug {
            RepositorySlug::Id(id) => Repository::by_id(app.table(), tenant, id).await?,
            RepositorySlug::FullName(owner, _) if !tenant.account().slug.is(owner) => None,
            RepositorySlug::FullName(_, name) | RepositorySlug::Name(name) => {
                Repository::by_name(app.table(), tenant, name).await?
            }
        };
        let Some(repository) = found else { return Ok(None) };
        check_permission(tenant.permission_on(&repository), needed, Self::KIND)?;
        match slug.names(&repository) {
            true => Ok(Some(repository)),
            false => Err(Error::renamed(&repository.id, &repository.full_name())),
        }
    }
}

/// A hook is named by its repository and its own id.
impl Resource for Hook {
    const KIND: &'static str = "Hook";
    type Name = (RepositorySlug, HookId);

    fn name(parts: &Parts) -> Result<Option<Self::Name>> {
        let hook = path_parameter(parts, "hook_id")?.parse().ok();
        Ok(Repository::name(parts)?.zip(hook))
    }

    async fn authorize(app: &App, tenant: &Tenant, (slug, id): Self::Name, needed: Permission) -> Result<Option<Self>> {
        let repository = Repository::authorize(app, tenant, slug, needed);
        let hook = async { Ok(Hook::find(app.table(), tenant, &id).await?) };
        let (repository, hook) = futures_util::future::try_join(repository, hook).await?;
        Ok(repository.zip(hook).and_then(|(repository, hook)| (hook.repository_id == repository.id).then_some(hook)))
    }
}

impl Resource for Deployment {
    const KIND: &'static str = "Deployment";
    type Name = DeploymentId;

    fn name(parts: &Parts) -> Result<Option<DeploymentId>> {
        Ok(path_parameter(parts, "deployment_id")?.parse().ok())
    }

    async fn authorize(app: &App, tenant: &Tenant, id: DeploymentId, needed: Permission) -> Result<Option<Self>> {
        let deployment = if tenant.permission_everywhere() >= Some(needed) {
            let Some(deployment) = Deployment::find(app.table(), tenant, &id).await? else { return Ok(None) };
            deployment
        } else {
            let Some((deployment, repository)) = with_repository(app, tenant, &id).await? else { return Ok(None) };
            check_permission(tenant.permission_on(&repository), needed, Self::KIND)?;
            deployment
        };
        if needed >= Permission::Deploy {
            tenant.check_environment(deployment.environment)?;
        }
        Ok(Some(deployment))
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

impl Resource for Trust {
    const KIND: &'static str = "Trust";
    type Name = TrustId;

    fn name(parts: &Parts) -> Result<Option<TrustId>> {
        Ok(path_parameter(parts, "trust_id")?.parse().ok())
    }

    async fn authorize(app: &App, tenant: &Tenant, id: TrustId, _: Permission) -> Result<Option<Self>> {
        Ok(Trust::find(app.table(), tenant, &id).await?)
    }
}

impl Resource for Connection {
    const KIND: &'static str = "Connection";
    type Name = ConnectionId;

    fn name(parts: &Parts) -> Result<Option<ConnectionId>> {
        Ok(path_parameter(parts, "connection_id")?.parse().ok())
    }

    async fn authorize(app: &App, tenant: &Tenant, id: ConnectionId, _: Permission) -> Result<Option<Self>> {
        Ok(Connection::find(app.table(), tenant, &id).await?)
    }
}

impl Resource for Webhook {
    const KIND: &'static str = "Webhook";
    type Name = WebhookId;

    fn name(parts: &Parts) -> Result<Option<WebhookId>> {
        Ok(path_parameter(parts, "webhook_id")?.parse().ok())
    }

    async fn authorize(app: &App, tenant: &Tenant, id: WebhookId, _: Permission) -> Result<Option<Self>> {
        Ok(Webhook::find(app.table(), tenant, &id).await?)
    }
}

impl Resource for TokenRecord {
    const KIND: &'static str = "Token";
    type Name = TokenId;

    fn name(parts: &Parts) -> Result<Option<TokenId>> {
        Ok(path_parameter(parts, "token_id")?.parse().ok())
    }

    async fn authorize(app: &App, tenant: &Tenant, id: TokenId, _: Permission) -> Result<Option<Self>> {
        let found = TokenRecord::find(app.table(), tenant, &id).await?;
        Ok(found.filter(|found| found.token().user_id == *tenant.user_id() || oversees_tokens(tenant.caller())))
    }
}

/// Returns the deployment and its repository. Reads both at once if this environment has cached the deployment's place,
/// because clients poll deployments.
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
