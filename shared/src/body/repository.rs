//! Repositories.

use serde::Serialize;

use crate::access::Tenant;
use crate::clock::Rfc3339;
use crate::error::{Error, Result};
use crate::id::{ConnectionId, RepositoryId};
use crate::model::{ComputeType, DeployRule, DeployRules, Repository};
use crate::name::{BuildImage, BuildspecPath, RepositoryName, RootFolder};
use crate::permission::{Permission, Visibility};

/// A git repository that deployments are made from.
#[derive(Debug, Serialize, utoipa::ToSchema)]
#[schema(as = Repository)]
pub struct RepositoryBody {
    pub(crate) id: RepositoryId,
    pub(crate) name: RepositoryName,
    /// The account's slug and the repository's name, separated by a slash.
    #[schema(examples("acme/frontend-app"))]
    pub(crate) full_name: String,
    pub(crate) visibility: Visibility,
    /// The time of the registration.
    pub(crate) created_at: Rfc3339,
    /// The time of the last change of the settings, of the newest deployment, or of the registration.
    pub(crate) updated_at: Rfc3339,
    /// The name of the default branch.
    #[schema(examples("main"))]
    pub(crate) default_branch: String,
    /// The URL that the source is fetched from.
    #[schema(examples("https://git.example.com/acme/frontend-app.git"))]
    pub(crate) clone_url: String,
    /// The connection whose credential the source is fetched with. Null if none is needed.
    #[schema(required)]
    pub(crate) connection_id: Option<ConnectionId>,
    pub(crate) root_folder: RootFolder,
    pub(crate) buildspec_path: BuildspecPath,
    /// The number of commits of the history that a build has.
    #[schema(minimum = 1, maximum = 1000, examples(1))]
    pub(crate) fetch_depth: u16,
    /// Whether a build has the cache that its buildspec asks for.
    pub(crate) cache: bool,
    /// The image of a build in AWS CodeBuild, unless the environment has its own. Null for the operator's.
    #[schema(required)]
    pub(crate) image: Option<BuildImage>,
    /// The size of the machine of a build in AWS CodeBuild, unless the environment has its own. Null for the operator's.
    #[schema(required)]
    pub(crate) compute_type: Option<ComputeType>,
    /// Whether a build in AWS CodeBuild may run Docker, unless the environment decides.
    pub(crate) privileged: bool,
    /// The rules that say which pushes are deployed, and to which environment. The first rule whose `refs` match decides.
    #[schema(value_type = Vec<DeployRule>)]
    pub(crate) deploy_rules: DeployRules,
    /// The permission of the caller on the repository: the highest of those that the caller's role, the account and the
    /// caller's teams give. The scopes of the request's token can allow less.
    pub(crate) permission: Permission,
}

impl RepositoryBody {
    /// Returns the body as the caller gets it.
    ///
    /// # Errors
    /// Fails with `not_found` if the caller can't see the repository.
    pub fn new(row: &Repository, tenant: &Tenant) -> Result<Self> {
        Ok(Self {
            id: row.id.clone(),
            name: row.name.clone(),
            full_name: row.full_name(),
            visibility: row.visibility,
            created_at: row.created_at.into(),
            updated_at: row.updated_at.into(),
            default_branch: row.default_branch.clone(),
            clone_url: row.clone_url.clone(),
            connection_id: row.connection_id.clone(),
            root_folder: row.source.root_folder.clone(),
            buildspec_path: row.source.buildspec_path.clone(),
            fetch_depth: row.source.fetch_depth,
            cache: row.source.cache,
            image: row.machine.image.clone(),
            compute_type: row.machine.compute_type,
            privileged: row.machine.privileged,
            deploy_rules: row.deploy_rules.clone(),
            permission: tenant.permission_on(row).ok_or_else(|| Error::not_found("Repository"))?,
        })
    }
}
