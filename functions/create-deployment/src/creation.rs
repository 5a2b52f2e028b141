//! The creation of a deployment.

use std::sync::Arc;

use axum::extract::FromRef;
use deploy::{DeploymentRequest, ResolvedRef};
use futures_util::future::try_join;
use git::Revision;
use shared::access::AuthorizedRepository;
use shared::hosts::Hosts;
use shared::id::DeploymentId;
use shared::model::{
    Author, Deployment, DeploymentCounts, Environment, EnvironmentSettings, IdempotencyClaim, NewDeployment, Repository,
};
use shared::queue::Queue;
use shared::table::TableError;
use shared::{App, InitError, Result};
use vault::Vault;

/// Creates deployments. Clones share everything.
#[derive(Clone)]
pub struct Creation {
    pub(crate) app: App,
    hosts: Hosts,
    queue: Queue,
    vault: Arc<Vault>,
}

/// The rows that a creation depends on.
pub(crate) struct Snapshot {
    settings: EnvironmentSettings,
    counts: DeploymentCounts,
}

impl FromRef<Creation> for App {
    fn from_ref(creation: &Creation) -> App {
        creation.app.clone()
    }
}

impl Snapshot {
    pub(crate) async fn load(app: &App, repository: &Repository, environment: Environment) -> Result<Self, TableError> {
        let (table, partition) = (app.table(), repository.partition());
        let (settings, counts) = try_join(
            EnvironmentSettings::load(table, &repository.account_id, &repository.id, environment),
            DeploymentCounts::load(table, &partition),
        )
        .await?;
        Ok(Self { settings, counts })
    }
}

impl Creation {
    pub(crate) fn new(app: &App) -> Result<Self, InitError> {
        Ok(Self {
            hosts: Hosts::of(app.settings())?,
            queue: Queue::new(app)?,
            vault: Arc::new(Vault::new(app)?),
            app: app.clone(),
        })
    }

    /// Creates the deployment and queues it.
    pub(crate) async fn create(
        &self,
        repository: &AuthorizedRepository,
        request: DeploymentRequest,
        revision: &Revision,
        Snapshot { settings, counts }: Snapshot,
        idempotency: Option<IdempotencyClaim>,
        author: &Author,
    ) -> Result<Deployment> {
        let Self { app, hosts, queue, vault } = self;
        settings.admit(request.environment)?;
        let resolved = ResolvedRef::find(*hosts, repository, revision).await?;

        let id = DeploymentId::random();
        let context = Deployment::sealing_context(&repository.account_id, &id);
        let new = NewDeployment {
            sealed_variables: request.variables.seal(vault, &context).await?,
            variable_names: request.variables.names(),
            settings,
            id,
            environment: request.environment,
            fences: request.fences(),
            git_ref: request.r#ref,
            ref_name: resolved.name,
            on_ref: resolved.on_ref,
            sha: resolved.sha,
            commit: resolved.commit,
            source: repository.source.clone(),
            origin: None,
            idempotency,
        };
        let deployment = Deployment::create(app.table(), repository, &counts, new, author, app.clock().now()).await?;
        queue.announce(app, &deployment, &settings).await;
        Ok(deployment)
    }

    /// Creates the deployment that an idempotency key was claimed for. Releases the key if there will be none.
    pub(crate) async fn create_claimed(
        &self,
        repository: &AuthorizedRepository,
        request: DeploymentRequest,
        revision: &Revision,
        snapshot: Result<Snapshot, TableError>,
        claim: IdempotencyClaim,
        author: &Author,
    ) -> Result<Deployment> {
        let result = match snapshot {
            Ok(snapshot) => self.create(repository, request, revision, snapshot, Some(claim.clone()), author).await,
            Err(error) => Err(error.into()),
        };
        if result.is_err()
            && let Err(error) = claim.release(self.app.table()).await
        {
            self.app.log().warn("an idempotency key could not be released; its lease will end", &error);
        }
        result
    }
}
