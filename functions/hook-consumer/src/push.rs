//! Pushes that git hosts tell of.

use deploy::{Creation, DeploymentRequest, ResolvedRef, Snapshot, Variables};
use git::Revision;
use shared::model::{
    Author, ChangedPaths, Delivery, Deployment, Environment, Filter, Once, Outcome, Push, PushClaim, PushedCommit,
    Repository, Status,
};
use shared::permitted::Permitted;
use shared::{Error, ErrorCode};

use crate::outcome::{Later, Part};

/// The number of deployments that are read at once to find those of a deleted ref.
const PAGE: i32 = 100;

/// A push of a delivery, with everything that decides about it.
pub(crate) struct Following<'a> {
    pub creation: &'a Creation,
    pub repository: &'a Permitted<Repository>,
    pub delivery: &'a Delivery,
    pub author: &'a Author,
    pub push: &'a Push,
}

impl Following<'_> {
    /// Follows the push: deploys the newest commit of the ref as the repository's rules say, or cancels the queued deployments of
    /// a ref that was deleted.
    pub(crate) async fn follow(&self) -> Result<Part, Later> {
        let Self { repository, push, .. } = self;
        let name = push.short_name();
        let revision = match Revision::parse(&push.ref_name) {
            Ok(revision) => revision,
            Err(invalid) => return Ok(Part::skipped(format!("The name of a ref {invalid}"))),
        };
        if push.sha.is_none() {
            return self.cancel(&revision).await;
        }
        let Some(rule) = repository.deploy_rules.environment_of(&push.ref_name) else {
            return Ok(Part::skipped(format!("No deploy rule of the repository is about '{name}'")));
        };
        let note = match &push.paths {
            ChangedPaths::Known(paths) if !rule.concerns(paths) => {
                return Ok(Part::skipped(format!("The push to '{name}' changed no path that its deploy rule names")));
            }
            ChangedPaths::Unknown(reason) if rule.has_paths() => {
                format!(". {reason}, so that it counts as a change of every path")
            }
            _ => String::new(),
        };
        if push.skips {
            return Ok(skipped_by_commit(name));
        }
        Box::pin(self.deploy(&revision, rule.environment.of_ref(&push.ref_name), &note)).await
    }

    /// Deploys the newest commit of the ref, unless it was deployed last.
    async fn deploy(&self, revision: &Revision, environment: Environment, note: &str) -> Result<Part, Later> {
        let Self { creation, repository, delivery, push, .. } = self;
        let (app, name) = (&creation.app, push.short_name());
        let reason = format!("'{name}' was deployed to {environment}{note}");
        let mut attempts = app.table().attempts();
        while attempts.begin().await {
            // The row is read before the git host. So if it is unchanged at the creation, no other delivery has seen a newer
            // commit.
            let before = PushedCommit::load(app.table(), repository, environment, &push.ref_name).await?;
            if let Some(ours) = before.as_ref().filter(|before| before.delivery_id == delivery.id) {
                return Ok(Part::made(ours.deployment_id.clone(), reason).of_commit(&ours.sha));
            }
            let resolved = match creation.resolve(repository, revision).await {
                Ok(resolved) => resolved,
                Err(error) if error.code() == ErrorCode::InvalidRef => {
                    return Ok(Part::skipped(format!("'{name}' does not exist any more")));
                }
                Err(error) => return Part::of_error(error),
            };
            let sha = resolved.sha.clone();
            if let Some(before) = before.as_ref().filter(|before| before.sha == sha) {
                let reason = format!("The newest commit of '{name}' was deployed before, by {}", before.deployment_id);
                return Ok(Part::new(Outcome::AlreadyDeployed, reason).of_commit(&sha));
            }
            if resolved.commit.as_ref().is_some_and(|texts| texts.asks_to_skip) {
                return Ok(skipped_by_commit(name).of_commit(&sha));
            }
            let partition = repository.partition();
            let claim = PushClaim::new(
                &partition,
                environment,
                &push.ref_name,
                before.as_ref(),
                &sha,
                &delivery.id,
                &push.context,
            );
            match Box::pin(self.create(resolved, environment, claim)).await {
                Ok(deployment) => return Ok(Part::deployed(&deployment, reason)),
                // Another delivery has deployed the ref meanwhile.
                Err(error) if error.code() == ErrorCode::IdempotencyKeyInUse => {}
                Err(error) => return Ok(Part::of_error(error)?.of_commit(&sha)),
            }
        }
        Err(Later::Infrastructure("other deliveries kept deploying the ref".into()))
    }

    async fn create(
        &self,
        resolved: ResolvedRef,
        environment: Environment,
        claim: PushClaim,
    ) -> Result<Deployment, Error> {
        let Self { creation, repository, author, push, .. } = self;
        let request = DeploymentRequest {
            r#ref: push.short_name().to_owned(),
            environment,
            variables: Variables::default(),
            expected_current: None,
            sequence: None,
            r#override: None,
        };
        let snapshot = Snapshot::load_by_id(&creation.app, repository, environment).await?;
        creation.create_resolved(repository, request, resolved, snapshot, Some(Once::Push(claim)), author).await
    }

    /// Cancels the queued deployments of the ref that a hook has created, if the git host does not have the ref.
    async fn cancel(&self, revision: &Revision) -> Result<Part, Later> {
        let Self { creation, repository, author, push, .. } = self;
        let (app, name) = (&creation.app, push.short_name());
        match creation.resolve(repository, revision).await {
            Ok(_) => return Ok(Part::skipped(format!("'{name}' was deleted, and exists again"))),
            Err(error) if error.code() == ErrorCode::InvalidRef => {}
            Err(error) => return Part::of_error(error),
        }
        PushedCommit::forget(app.table(), repository, &push.ref_name).await?;
        let mut canceled = Vec::new();
        for deployment in self.queued().await? {
            let number = deployment.number;
            let ended = deployment.cancel_queued(app.table(), author, app.clock().now()).await;
            if ended.map_err(|failed| Later::Infrastructure(failed.into()))? {
                canceled.push(number.to_string());
            }
        }
        Ok(match canceled.len() {
            0 => Part::skipped(format!("'{name}' was deleted, and none of its pushes waits to be deployed")),
            1 => Part::new(Outcome::Canceled, format!("'{name}' was deleted: deployment {} was canceled", canceled[0])),
            _ => {
                let all = canceled.join(", ");
                Part::new(Outcome::Canceled, format!("'{name}' was deleted: deployments {all} were canceled"))
            }
        })
    }

    /// Returns the queued deployments of the ref that a hook has created.
    async fn queued(&self) -> Result<Vec<Deployment>, Later> {
        let table = self.creation.app.table();
        let filter = Filter { environment: None, status: Some(Status::Queued) };
        let (mut found, mut before) = (Vec::new(), None);
        loop {
            let page = Deployment::newest(table, self.repository, filter, before, PAGE).await?;
            let Some(last) = page.last() else { return Ok(found) };
            before = Some(last.number);
            let is_meant = |deployment: &Deployment| {
                deployment.ref_name.as_ref() == Some(&self.push.ref_name) && deployment.is_of_a_hook()
            };
            found.extend(page.into_iter().filter(is_meant));
        }
    }
}

fn skipped_by_commit(name: &str) -> Part {
    Part::skipped(format!("The newest commit of '{name}' asks not to be deployed"))
}
