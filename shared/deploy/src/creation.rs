//! The creation of a deployment.

use std::sync::Arc;

use axum::extract::FromRef;
use connections::Connections;
use futures_util::future::{join, try_join3};
use git::{Reach, Revision};
use shared::id::DeploymentId;
use shared::model::{
    Account, Author, BuildLimits, BuildMinutes, CurrentVariables, Deployment, DeploymentCounts, Destination,
    Environment, IdempotencyClaim, NewDeployment, Once, Repository,
};
use shared::permitted::Permitted;
use shared::queue::Queue;
use shared::table::TableError;
use shared::{App, InitError, Result};
use vault::Vault;

use crate::request::DeploymentRequest;
use crate::resolved_ref::ResolvedRef;

/// Creates deployments. Clones share everything.
#[derive(Clone, Debug)]
pub struct Creation {
    /// The function's app.
    pub app: App,
    connections: Connections,
    queue: Queue,
    vault: Arc<Vault>,
    limits: BuildLimits,
}

/// The rows that a creation depends on.
#[derive(Debug)]
pub struct Snapshot {
    /// The environment, or `None` if the repository does not have it.
    destination: Option<Destination>,
    counts: DeploymentCounts,
    variables: CurrentVariables,
}

impl FromRef<Creation> for App {
    fn from_ref(creation: &Creation) -> App {
        creation.app.clone()
    }
}

impl Snapshot {
    /// Reads the environment, the repository's counts and the stored variables, strongly consistent, and the account's build minutes if
    /// the account has a bound of them.
    ///
    /// # Errors
    /// Fails with `build_minutes_exhausted` if the account has used its minutes.
    pub async fn load(app: &App, account: &Account, repository: &Repository, environment: Environment) -> Result<Self> {
        let (table, partition) = (app.table(), repository.partition());
        let rows = try_join3(
            Destination::load(table, repository, environment),
            DeploymentCounts::load(table, &partition),
            CurrentVariables::load(table, &repository.account_id, &repository.id, environment),
        );
        let (rows, minutes) = join(rows, BuildMinutes::check(table, account, app.clock().now())).await;
        let (destination, counts, variables) = rows?;
        minutes?;
        Ok(Self { destination, counts, variables })
    }

    /// Reads what [`Snapshot::load`] reads, and the account before it.
    ///
    /// # Errors
    /// Fails as [`Snapshot::load`] does.
    pub async fn load_by_id(app: &App, repository: &Repository, environment: Environment) -> Result<Self> {
        let account = Account::load(app.table(), &repository.account_id).await?.ok_or(TableError::Contended)?;
        Self::load(app, &account, repository, environment).await
    }

    /// Returns the environment that the deployment goes to.
    fn destination(&self, environment: Environment) -> Result<&Destination> {
        let found = self.destination.as_ref();
        found.ok_or_else(|| self.counts.invalid_environment("environment", environment))
    }
}

impl Creation {
    /// # Errors
    /// Fails if a setting is missing or malformed.
    pub fn new(app: &App) -> Result<Self, InitError> {
        Ok(Self {
            connections: Connections::new(app)?,
            queue: Queue::with_statuses(app)?,
            vault: Arc::new(Vault::new(app)?),
            limits: BuildLimits::of(app.settings())?,
            app: app.clone(),
        })
    }

    /// Returns the commit of a revision, as the git host has it now.
    ///
    /// # Errors
    /// Fails if the revision does not exist, or the git host does not answer.
    pub async fn resolve(&self, repository: &Permitted<Repository>, revision: &Revision) -> Result<ResolvedRef> {
        ResolvedRef::find(&self.connections, repository, revision).await
    }

    /// Creates the deployment and queues it.
    ///
    /// # Errors
    /// Fails if the environment or the ref does not exist, the git host does not answer, or the environment's rules or the lane refuse.
    pub async fn create(
        &self,
        repository: &Permitted<Repository>,
        request: DeploymentRequest,
        revision: &Revision,
        snapshot: Snapshot,
        once: Option<Once>,
        author: &Author,
    ) -> Result<Deployment> {
        let destination = snapshot.destination(request.environment)?;
        if request.r#override.is_none() {
            destination.settings.admit(request.environment, self.app.clock().now())?;
        }
        let resolved = self.resolve(repository, revision).await?;
        Box::pin(self.create_resolved(repository, request, resolved, snapshot, once, author)).await
    }

    /// Creates the deployment of a commit that has been read from the git host, and queues it.
    ///
    /// # Errors
    /// Fails if the environment does not exist, or its rules or the lane refuse.
    pub async fn create_resolved(
        &self,
        repository: &Permitted<Repository>,
        request: DeploymentRequest,
        mut resolved: ResolvedRef,
        snapshot: Snapshot,
        once: Option<Once>,
        author: &Author,
    ) -> Result<Deployment> {
        let Self { app, queue, vault, .. } = self;
        let Destination { settings, pattern } = snapshot.destination(request.environment)?.clone();
        if request.r#override.is_none() {
            settings.admit(request.environment, app.clock().now())?;
            resolved.admit(&self.connections, repository, &settings, request.environment).await?;
        }
        let machine = repository.machine.overridden_by(&settings.machine);
        self.limits.admit(&machine)?;
        let id = DeploymentId::random();
        let context = Deployment::sealing_context(&repository.account_id, &id);
        let new = NewDeployment {
            settings: settings.clone(),
            pattern,
            override_reason: request.r#override.as_ref().map(|given| given.reason.clone()),
            id,
            environment: request.environment,
            fences: request.fences(),
            variable_names: request.variables.names(),
            variables: request.variables.fix(&snapshot.variables, vault, &context).await?,
            git_ref: request.r#ref,
            on_ref: resolved.on_ref().cloned(),
            on_no_ref: resolved.reach == Reach::Nowhere,
            ref_name: resolved.name,
            sha: resolved.sha,
            commit: resolved.commit,
            source: repository.source.overridden_by(&settings.source),
            machine,
            origin: None,
            push: once.as_ref().and_then(Once::push).cloned(),
            once,
        };
        let deployment =
            Deployment::create(app.table(), repository, &snapshot.counts, new, author, app.clock().now()).await?;
        queue.announce(app, &deployment, &settings).await;
        Ok(deployment)
    }

    /// Creates the deployment that an idempotency key was claimed for. Releases the key if there will be none.
    ///
    /// # Errors
    /// Fails as [`Creation::create`] does.
    pub async fn create_claimed(
        &self,
        repository: &Permitted<Repository>,
        request: DeploymentRequest,
        revision: &Revision,
        snapshot: Result<Snapshot>,
        claim: IdempotencyClaim,
        author: &Author,
    ) -> Result<Deployment> {
        let result = match snapshot {
            Ok(snapshot) => {
                let once = Some(Once::Idempotency(claim.clone()));
                self.create(repository, request, revision, snapshot, once, author).await
            }
            Err(error) => Err(error),
        };
        if result.is_err()
            && let Err(error) = claim.release(self.app.table()).await
        {
            self.app.log().warn("an idempotency key could not be released; its lease will end", &error);
        }
        result
    }
}
