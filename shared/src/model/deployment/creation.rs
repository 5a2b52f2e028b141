//! New deployments.

use std::collections::HashMap;

use super::counts::count_name;
use crate::capability::Capability;
use crate::clock::Timestamp;
use crate::error::{Error, ErrorCode};
use crate::id::DeploymentId;
use crate::model::environment::TOO_MANY;
use crate::model::{
    Action, Actor, Actors, Author, Awaited, BuildMachine, CommitTexts, Concurrency, Deployment, DeploymentCounts,
    DeploymentEvent, DeploymentVariables, Destination, Environment, EnvironmentSettings, Fences, Filter,
    IdempotencyClaim, Lane, Lock, MAX_ENVIRONMENTS, MAX_WAITING, MatchingPattern, Origin, OriginKind, PushClaim,
    PushContext, Repository, RepositoryPartition, SourceSettings, Status, key, not_succeeded_in,
};
use crate::name::Reason;
use crate::permitted::Permitted;
use crate::table::{Change, Item, Table, TableError, Transaction, Values, Write, read_item};

/// A deployment to create, before it has a number.
pub struct NewDeployment {
    /// The ID that the deployment gets. It is drawn before creation, so that variables can be encrypted for it.
    pub id: DeploymentId,
    /// The environment to deploy to.
    pub environment: Environment,
    /// The ref in the client's spelling.
    pub git_ref: String,
    /// The ref's full name, if it has one.
    pub ref_name: Option<String>,
    /// A branch or tag that points to the commit or has it in its history, if one is known.
    pub on_ref: Option<String>,
    /// Whether no branch or tag has the commit in its history.
    pub on_no_ref: bool,
    /// The SHA of the commit that the ref points to.
    pub sha: String,
    /// The subject and the author of the commit, if the git host told.
    pub commit: Option<CommitTexts>,
    /// The settings of the repository's source.
    pub source: SourceSettings,
    /// The machine of a build in CodeBuild.
    pub machine: BuildMachine,
    /// The variables, with the versions of stored ones.
    pub variables: DeploymentVariables,
    /// The names of the deployment's own variables, in order.
    pub variable_names: Vec<String>,
    /// The environment's settings, which the deployment keeps.
    pub settings: EnvironmentSettings,
    /// The pattern that the environment is created from if it does not exist.
    pub pattern: Option<MatchingPattern>,
    /// The reason for which an admin lets the deployment through the environment's rules, if one does.
    pub override_reason: Option<Reason>,
    /// The earlier deployment that this one repeats, if it repeats one.
    pub origin: Option<Origin>,
    /// The circumstances of the push that the deployment is of, or that the deployment which it retries is of.
    pub push: Option<PushContext>,
    /// The conditions on the state of the lane.
    pub fences: Fences,
    /// The claim that only one creation can complete, if the request has one.
    pub once: Option<Once>,
}

/// A claim that only one creation can complete.
#[derive(Clone, Debug)]
pub enum Once {
    /// The claim on the request's idempotency key.
    Idempotency(IdempotencyClaim),
    /// The claim on the commit of a ref that was pushed.
    Push(PushClaim),
}

impl Once {
    /// Returns the circumstances of the push, if the deployment is of one.
    pub fn push(&self) -> Option<&PushContext> {
        match self {
            Self::Idempotency(_) => None,
            Self::Push(claim) => Some(claim.context()),
        }
    }

    fn complete(&self, deployment: &DeploymentId) -> Result<Write, TableError> {
        match self {
            Self::Idempotency(claim) => Ok(claim.complete(deployment.as_str())),
            Self::Push(claim) => claim.complete(deployment),
        }
    }
}

impl NewDeployment {
    /// Returns a deployment that repeats `earlier` on this machine. [`Deployment::create`] gets its variables separately.
    pub fn repeating(
        earlier: &Deployment,
        kind: OriginKind,
        destination: Destination,
        machine: BuildMachine,
        author: &Author,
    ) -> Self {
        Self {
            id: DeploymentId::random(),
            environment: earlier.environment,
            git_ref: earlier.git_ref.clone(),
            ref_name: earlier.ref_name.clone(),
            on_ref: earlier.on_ref.clone(),
            on_no_ref: earlier.on_no_ref,
            sha: earlier.sha.clone(),
            commit: earlier.commit.clone(),
            source: earlier.source.clone(),
            machine,
            variables: DeploymentVariables::default(),
            variable_names: earlier.variable_names.clone(),
            settings: destination.settings,
            pattern: destination.pattern,
            override_reason: None,
            push: earlier.push.clone().filter(|_| kind == OriginKind::Retry),
            origin: Some(Origin { kind, deployment_id: earlier.id.clone(), number: earlier.number }),
            fences: Fences::default(),
            once: author.claim().cloned().map(Once::Idempotency),
        }
    }
}

/// The reasons why a deployment is not created.
#[derive(Debug)]
pub enum CreateFailed {
    /// A newer request came first. The sentence names it.
    Stale(String),
    /// As many deployments wait in the lane as may, or the repository has as many environments. The sentence says so.
    Full(String),
    /// The repository does not have the environment any more. The error names those that it has.
    EnvironmentGone(Error),
    /// The commit has not succeeded in an environment that the deployment's environment requires, and is not on its way there.
    Unmet(Environment),
    /// Another request has completed the claim, or has claimed the idempotency key because this one took too long.
    ClaimLost,
    /// The repository was deleted meanwhile.
    RepositoryGone,
    /// The table refused the write or did not answer.
    Write(TableError),
}

/// The reasons to refuse a creation, each with the conflicting item.
enum CreateRefused {
    ClaimLost,
    RepositoryGone,
    Unmet,
    /// A deployment that this one would wait for has ended.
    AwaitedEnded,
    OutOfSequence(Option<Item>),
    /// A concurrent creation has taken the number, or the environment was created or deleted.
    CounterChanged(Option<Item>),
}

impl From<TableError> for CreateFailed {
    fn from(error: TableError) -> Self {
        Self::Write(error)
    }
}

impl From<CreateFailed> for Error {
    fn from(failed: CreateFailed) -> Self {
        match failed {
            CreateFailed::Stale(winner) => Error::new(ErrorCode::StaleRequest, winner),
            CreateFailed::Full(waiting) => Error::new(ErrorCode::LimitReached, waiting),
            CreateFailed::EnvironmentGone(error) => error,
            CreateFailed::Unmet(environment) => not_succeeded_in(environment),
            CreateFailed::ClaimLost => TableError::Claim.into(),
            CreateFailed::RepositoryGone => Error::not_found("Repository"),
            CreateFailed::Write(failed) => failed.into(),
        }
    }
}

impl Deployment {
    /// Writes the deployment with the repository's next number, its first event, its variables and the counts in one
    /// transaction. Creations in one repository compete for the number; the loser takes the next one.
    pub async fn create(
        table: &Table,
        repository: &Permitted<Repository>,
        counts: &DeploymentCounts,
        new: NewDeployment,
        author: &Author,
        now: Timestamp,
    ) -> Result<Self, CreateFailed> {
        let mut deployment = Self {
            id: new.id,
            account_id: repository.account_id.clone(),
            repository_id: repository.id.clone(),
            number: counts.last_number() + 1,
            status: Status::Queued,
            environment: new.environment,
            git_ref: new.git_ref,
            sha: new.sha,
            commit: new.commit,
            clone_url: repository.clone_url.clone(),
            connection_id: repository.connection_id.clone(),
            source: new.source,
            created_by: author.user_id().clone(),
            registered_by: author.registered_by().cloned(),
            actors: Actors::from_iter([(author.user_id().clone(), author.name())]),
            created_at: now,
            updated_at: now,
            started_at: None,
            finished_at: None,
            failure: None,
            events: 1,
            attempt: 0,
            no_capacity: None,
            permit: None,
            waits_for_permit: None,
            run_limit_seconds: None,
            lease_until: None,
            build: None,
            build_started_at: None,
            due_at: None,
            ref_name: new.ref_name,
            on_ref: new.on_ref,
            on_no_ref: new.on_no_ref,
            audit_retention: author.retention(),
            deadline: None,
            fence: 0,
            wait_until: new.settings.wait_until(now).filter(|_| new.override_reason.is_none()),
            awaits: Vec::new(),
            override_reason: new.override_reason,
            time_limit_seconds: new.settings.time_limit_seconds,
            machine: new.machine,
            required_approvals: new.settings.required_approvals,
            approved_by: Vec::new(),
            approved_digest: None,
            cancel_requested_by: None,
            origin: new.origin,
            push: new.push,
            expected_current: new.fences.expected_current.clone(),
            capability: Capability::random(),
            variable_names: new.variable_names,
            variables_digest: new.variables.digest(),
            commit_status_error: None,
            environment_url: None,
            has_results: false,
            phases: Vec::new(),
            artifacts_refused: false,
        };
        match deployment.is_approved() {
            true => deployment.wait_for_turn(now),
            false => deployment.wait_for_approvals(now, new.settings.approval_timeout()),
        }
        // A rollback returns to a commit that has succeeded in the environment itself.
        let is_rollback = deployment.origin.as_ref().is_some_and(|origin| origin.kind == OriginKind::Rollback);
        let has_requirements = !is_rollback && !deployment.is_override();
        let lane = deployment.lane();
        let event = DeploymentEvent {
            number: 1,
            at: now,
            status: Status::Queued,
            actor: Actor::User(author.user_id().clone()),
            reason: "created".to_owned(),
            commands: Vec::new(),
        };
        let audit_event = deployment
            .audit_event(author, Action::DeploymentCreated, now)
            .numbered(deployment.events)
            .setting("ref", &deployment.git_ref)
            .setting("sha", &deployment.sha)
            .setting("override", &deployment.override_reason);
        let queued = Filter { environment: Some(deployment.environment), status: Some(Status::Queued) };
        let mut newer: Option<DeploymentCounts> = None;
        let mut attempts = table.attempts();
        while attempts.begin().await {
            let counts = newer.as_ref().unwrap_or(counts);
            deployment.number = counts.last_number() + 1;
            let member = match (counts.has(deployment.environment), &new.pattern) {
                (true, _) => None,
                (false, Some(_)) if !counts.has_room() => return Err(CreateFailed::Full(TOO_MANY.to_owned())),
                (false, Some(pattern)) => {
                    Some(pattern.member(repository, deployment.environment, author.retention(), now)?)
                }
                (false, None) => {
                    let gone = counts.invalid_environment("environment", deployment.environment);
                    return Err(CreateFailed::EnvironmentGone(gone));
                }
            };
            // A lane can only be full if its environment has as many queued deployments.
            let may_be_full =
                new.settings.concurrency == Concurrency::Queue && counts.total(queued) >= MAX_WAITING as u64;
            // The lane is read after the number that this attempt depends on. So no deployment has joined the lane meanwhile
            // if the number is still free. One that has left it is noticed at the deployment's turn.
            if new.fences.expected_current.is_some() || may_be_full {
                let lane = Lane::load(table, &lane).await?;
                if let Some(winner) = new.fences.stale(&lane) {
                    return Err(CreateFailed::Stale(winner));
                }
                if let Some(waiting) = lane.full(new.settings.concurrency) {
                    return Err(CreateFailed::Full(waiting));
                }
            }
            let audit_event = match &member {
                Some(_) => audit_event.clone().setting("creates_environment", true),
                None => audit_event.clone(),
            };
            let mut transaction = Transaction::new();
            if let Some(once) = &new.once {
                transaction = transaction.write(once.complete(&deployment.id)?).or(|_| CreateRefused::ClaimLost);
            }
            if let Some(check) = lane.check_sequence(&new.fences, &deployment.id) {
                transaction = transaction.write(check).or(CreateRefused::OutOfSequence);
            }
            if has_requirements {
                for (environment, check) in new.settings.requires.checks(&repository.partition(), &deployment.sha, now)
                {
                    transaction = match deployment.awaits.iter().find(|awaited| awaited.environment == environment) {
                        None => transaction.write(check).or(|_| CreateRefused::Unmet),
                        Some(awaited) => {
                            let [check, follower] = deployment.follow(awaited)?;
                            transaction.write(check).or(|_| CreateRefused::AwaitedEnded).write(follower)
                        }
                    };
                }
            }
            transaction = transaction
                .write(deployment.count_creation(member.is_some()))
                .or(CreateRefused::CounterChanged)
                .writes(member)
                .write(Write::create(deployment.key(), &deployment, deployment.index_keys())?)
                .write(event.write(&deployment)?)
                .recording(&audit_event)?
                .write(lane.join(&deployment.waiting())?)
                .write(repository.touch(now))
                .or(|_| CreateRefused::RepositoryGone)
                .writes(deployment.owe_report(None, now));
            if !new.variables.is_empty() {
                let key = key::deployment_variables(&deployment.account_id, &deployment.id);
                transaction = transaction.write(Write::create(key, &new.variables, Vec::new())?);
            }
            match transaction.commit(table).await? {
                Ok(()) => return Ok(deployment),
                Err(CreateRefused::ClaimLost) => return Err(CreateFailed::ClaimLost),
                Err(CreateRefused::Unmet) => {
                    let ref_name = deployment.ref_name.as_ref().unwrap_or(&deployment.git_ref);
                    let standing = new.settings.requires.standing(table, repository, ref_name, &deployment.sha, now);
                    let awaited = standing.await?.into_iter().map(|(environment, on_its_way)| {
                        let id = on_its_way.ok_or(CreateFailed::Unmet(environment))?;
                        Ok::<_, CreateFailed>(Awaited::new(environment, id, ref_name))
                    });
                    deployment.awaits = awaited.collect::<Result<_, _>>()?;
                }
                Err(CreateRefused::AwaitedEnded) => deployment.awaits.clear(),
                Err(CreateRefused::RepositoryGone) => return Err(CreateFailed::RepositoryGone),
                Err(CreateRefused::OutOfSequence(lock)) => {
                    let lock: Option<Lock> = lock.map(read_item).transpose()?;
                    let winner = new.fences.out_of_sequence(&lock.unwrap_or_default());
                    return Err(CreateFailed::Stale(
                        winner.unwrap_or_else(|| "A concurrent request changed the environment; try again".to_owned()),
                    ));
                }
                Err(CreateRefused::CounterChanged(counts)) => {
                    let counts: Option<DeploymentCounts> = counts.map(read_item).transpose()?;
                    newer = Some(counts.unwrap_or_default());
                }
            }
        }
        Err(TableError::Contended.into())
    }

    /// Returns the write that counts the deployment as the next one. It fails if the number is taken, if an environment that is
    /// created exists, or if another one does not.
    fn count_creation(&self, creates_environment: bool) -> Write {
        let is_first = self.number == 1;
        let condition = match (creates_environment, self.environment.is_built_in()) {
            (true, _) if is_first => {
                "(attribute_not_exists(last_number) OR last_number = :last) AND attribute_not_exists(#to) AND \
                 (attribute_not_exists(environments) OR environments < :max)"
            }
            (true, _) => {
                "last_number = :last AND attribute_not_exists(#to) AND \
                 (attribute_not_exists(environments) OR environments < :max)"
            }
            (false, false) if is_first => {
                "(attribute_not_exists(last_number) OR last_number = :last) AND attribute_exists(#to)"
            }
            (false, false) => "last_number = :last AND attribute_exists(#to)",
            (false, true) if is_first => "attribute_not_exists(last_number) OR last_number = :last",
            (false, true) => "last_number = :last",
        };
        let counts_environment = if creates_environment { ", environments :one" } else { "" };
        let change = Change {
            expression: format!("SET last_number = :number ADD #to :one, changes :one{counts_environment}"),
            condition: Some(condition),
            names: Some(HashMap::from([("#to".to_owned(), count_name(self.environment, self.status))])),
            values: Values::new()
                .set(":number", self.number)
                .set(":one", 1)
                .set(":last", self.number - 1)
                .set_if(":max", creates_environment.then_some(MAX_ENVIRONMENTS)),
        };
        Write::Update {
            key: RepositoryPartition::new(&self.account_id, &self.repository_id).deployment_counts(),
            change,
        }
    }
}
