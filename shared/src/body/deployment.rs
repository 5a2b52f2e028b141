//! Deployments and their place in the queue.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::BuildMachineBody;
use crate::app::App;
use crate::clock::{Rfc3339, Timestamp};
use crate::id::{DeploymentId, RepositoryId, UserId};
use crate::model::{
    Actors, BuildPhase, BuildPhaseName, BuildPhaseStatus, CommitTexts, Deployment, DeploymentVariable,
    DeploymentVariables, Environment, FailedCommand, Failure, Origin, Repository, Results, Status, TestSummary,
    VariableLevel, Waits,
};
use crate::name::{BuildspecPath, Reason, RepositoryName, RootFolder};
use crate::poll::PollInterval;

/// A deployment of a commit to an environment.
#[derive(Debug, Serialize, utoipa::ToSchema)]
#[schema(as = Deployment)]
pub struct DeploymentBody {
    /// The ID of the deployment.
    pub(crate) id: DeploymentId,
    pub(crate) status: Status,
    /// The URL at which the deployment can be polled.
    #[schema(examples("https://api.git.dev/v1/deployments/deploy_k3vyq2w7x5m4n6pa"))]
    pub url: String,
    /// The time of the creation.
    pub(crate) created_at: Rfc3339,
    pub(crate) repository_id: RepositoryId,
    /// The deployment's number in its repository: 1, 2, 3, …
    #[schema(examples(7))]
    pub(crate) number: u64,
    pub(crate) environment: Environment,
    /// The ref in the request that created the deployment, or the branch or tag that was pushed.
    #[schema(examples("main"))]
    pub(crate) r#ref: String,
    /// The commit that the ref pointed to at creation, and that is deployed.
    #[schema(examples("3f786850e387550fdab836ed7e6dc881de23001b"))]
    pub(crate) sha: String,
    pub(crate) commit: CommitBody,
    /// The machine of a build in AWS CodeBuild, as the environment's settings were when the deployment was created. Null for the
    /// operator's machine.
    #[schema(required)]
    pub(crate) machine: Option<BuildMachineBody>,
    /// The folder that is built, as a path from the repository's top. Empty for the top itself.
    pub(crate) root_folder: RootFolder,
    /// The path of the buildspec, from the root folder.
    pub(crate) buildspec_path: BuildspecPath,
    /// A branch or tag that had the commit when the deployment was created, by its full name: one that pointed to it, or else one with
    /// the commit in its history. Null if none is known.
    #[schema(required, examples("refs/heads/main"))]
    pub(crate) on_ref: Option<String>,
    /// Whether a branch or tag had the commit when the deployment was created. False for a commit that was never on any, or was removed
    /// from all: git hosts serve commits of forks and of closed pull requests too. Null if the git host did not tell, or has too many
    /// branches and tags to look through.
    #[schema(required, examples(true))]
    pub(crate) reachable: Option<bool>,
    /// The user who created the deployment, or the ID that stands for the application, the trust or the hook that did.
    pub(crate) created_by: UserId,
    /// The time of the last change.
    pub(crate) updated_at: Rfc3339,
    /// The time at which the deployment first started. Null if it has not started.
    #[schema(required)]
    pub(crate) started_at: Option<Rfc3339>,
    /// The time at which the deployment ended. Null if it has not ended.
    #[schema(required)]
    pub(crate) finished_at: Option<Rfc3339>,
    /// The reason for the failure. Null unless the deployment has failed.
    #[schema(required)]
    pub(crate) failure: Option<Failure>,
    /// The reason why the git host does not show the deployment's last status beside the commit. Null if it does, or will soon, or if
    /// the repository has no connection.
    #[schema(
        required,
        examples(
            "github.com answered with the HTTP status 403: the connection's credential may not write commit statuses"
        )
    )]
    pub(crate) commit_status_error: Option<String>,
    /// The URL at which the build says that the environment can be opened: the value of its exported variable `DEPLOYMENT_URL`.
    /// Null if the build has told none.
    #[schema(required, examples("https://pr-7.example.com/"))]
    pub(crate) environment_url: Option<String>,
    /// The values of the variables that the build has exported. Null if it has exported none, and always null in a list.
    #[schema(required)]
    pub(crate) outputs: Option<BTreeMap<String, String>>,
    /// The results of the build's tests. Null if its buildspec names no test reports or the build has written none, and always null in
    /// a list.
    #[schema(required)]
    pub(crate) tests: Option<TestSummary>,
    /// The phases of the build, in the order in which they ran. Empty until the deployment has ended, and if no phase has begun.
    pub(crate) phases: Vec<PhaseBody>,
    pub(crate) approvals: ApprovalsBody,
    /// The time before which the deployment does not start, by the environment's wait timer. Null if it need not wait.
    #[schema(required)]
    pub(crate) wait_until: Option<Rfc3339>,
    /// The override by which an admin let the deployment through the environment's rules. Null if they hold for it.
    #[schema(required)]
    pub(crate) r#override: Option<OverrideBody>,
    /// A digest of all that the build gets. Whoever approves the deployment sends it along, so that an approval covers
    /// nothing that the approver has not seen.
    #[schema(examples("8d969eef6ecad3c29a3a629280e686cf0c3f5d5a86aff3ca12020c923adc6c92"))]
    pub(crate) approval_digest: String,
    /// The names of the variables in the request that created the deployment, or the one that it repeats.
    #[schema(examples("LOG_LEVEL"))]
    pub(crate) variable_names: Vec<String>,
    /// The variables that the build gets, by name: those of the request, and stored ones in the versions that they had when the
    /// deployment was created. Only in the response of `GET /v1/deployments/{deployment_id}`; null in every other.
    #[schema(required)]
    pub(crate) variables: Option<Vec<BuildVariableBody>>,
    /// Whether a user has asked to cancel the deployment while it was in progress.
    pub(crate) cancel_requested: bool,
    /// The earlier deployment that this one repeats. Null if it repeats none.
    #[schema(required)]
    pub(crate) origin: Option<Origin>,
    /// The deployment's place in the queue. Null unless the deployment is queued, or its build waits for a machine of AWS CodeBuild.
    /// Always null in a list.
    #[schema(required)]
    pub(crate) queue: Option<QueueBody>,
    /// The names of the users and programs in `created_by` and `approvals`, and of everybody else who has acted on the
    /// deployment, by their IDs. A name is that of the time of the action. Those of deployments from before the API kept names
    /// are absent. A list has the names of all of its deployments beside `data` instead.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub(crate) actors: Option<Actors>,
    /// The deployment's repository. Only in the list of the account's deployments.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub(crate) repository: Option<RepositoryReference>,
}

/// A phase of a deployment's build.
#[derive(Debug, Serialize, utoipa::ToSchema)]
#[schema(as = BuildPhase)]
pub struct PhaseBody {
    name: BuildPhaseName,
    /// The outcome of the phase, or of its last attempt.
    status: BuildPhaseStatus,
    /// The time at which the phase began.
    started_at: Rfc3339,
    /// The time that the phase took, with all attempts, in milliseconds. AWS CodeBuild tells whole seconds.
    #[schema(examples(5321))]
    duration_ms: u64,
    /// The number of attempts. It is more than 1 if the phase failed and its `on-failure` is `RETRY`. With AWS CodeBuild it is always 1.
    #[schema(examples(1))]
    attempts: u32,
    /// The command that failed. Null if none did.
    #[schema(required)]
    failed_command: Option<FailedCommand>,
}

impl From<BuildPhase> for PhaseBody {
    fn from(phase: BuildPhase) -> Self {
        let BuildPhase { name, status, started_at, duration_ms, attempts, failed_command, .. } = phase;
        Self { name, status, started_at: started_at.into(), duration_ms, attempts, failed_command }
    }
}

/// The repository of a deployment.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct RepositoryReference {
    id: RepositoryId,
    name: RepositoryName,
    /// The account's slug and the repository's name, separated by a slash.
    #[schema(examples("acme/frontend-app"))]
    full_name: String,
}

impl From<&Repository> for RepositoryReference {
    fn from(row: &Repository) -> Self {
        Self { id: row.id.clone(), name: row.name.clone(), full_name: row.full_name() }
    }
}

/// The commit of a deployment.
#[derive(Debug, Serialize, utoipa::ToSchema)]
#[schema(as = Commit)]
pub struct CommitBody {
    /// The commit's SHA.
    #[schema(examples("3f786850e387550fdab836ed7e6dc881de23001b"))]
    sha: String,
    /// The subject of the commit's message, at most 120 characters. U+FFFD stands for characters that can't be seen. Null if
    /// the git host did not tell.
    #[schema(required, examples("Fix the build"))]
    subject: Option<String>,
    /// The name of the commit's author, at most 80 characters. Null if the git host did not tell.
    #[schema(required, examples("Ada Lovelace"))]
    author: Option<String>,
}

impl CommitBody {
    fn new(sha: String, texts: Option<CommitTexts>) -> Self {
        let (subject, author) = texts.map(|texts| (texts.subject, texts.author)).unzip();
        Self { sha, subject, author }
    }
}

/// A variable that a build gets.
#[derive(Debug, Serialize, utoipa::ToSchema)]
#[schema(as = BuildVariable)]
pub struct BuildVariableBody {
    #[schema(examples("LOG_LEVEL"))]
    name: String,
    from: VariableLevel,
    /// Whether the value is secret. No response contains it, and the log shows `***` instead.
    secret: bool,
    /// The version of the variables of the account, the repository or the environment that the variable is from. Null if it is from
    /// the deployment itself.
    #[schema(required, examples(3))]
    version: Option<u64>,
    /// The value. Null unless the variable is plain and from the deployment itself.
    #[schema(required, examples("debug"))]
    value: Option<String>,
}

impl From<DeploymentVariable> for BuildVariableBody {
    fn from(variable: DeploymentVariable) -> Self {
        let DeploymentVariable { name, level, secret, version, value } = variable;
        Self { name, from: level, secret, version, value }
    }
}

/// An override of an environment's rules by somebody who may change them.
#[derive(Clone, Debug, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = Override)]
pub struct OverrideBody {
    /// The reason, which the deployment and its audit event show.
    pub reason: Reason,
}

/// The approvals of a deployment.
#[derive(Debug, Serialize, utoipa::ToSchema)]
#[schema(as = Approvals)]
pub struct ApprovalsBody {
    /// The number of approvals that the deployment requires, fixed at its creation.
    #[schema(examples(1))]
    pub(crate) required: u8,
    /// The users who have approved the deployment.
    pub(crate) given_by: Vec<UserId>,
}

/// The place of a deployment that waits. A deployment that is in progress is the next one as long as its build has no machine.
#[derive(Debug, Serialize, utoipa::ToSchema)]
#[schema(as = Queue, examples(json!({
    "position": 1,
    "blocked_by": {"kind": "capacity", "deployment_id": null, "position": 3, "until": null, "reason": null},
    "since": "2024-12-01T14:30:00Z",
    "deadline": "2024-12-02T14:30:00Z",
})))]
pub struct QueueBody {
    /// The position in the queue. 1 is next.
    #[schema(examples(2))]
    pub(crate) position: usize,
    /// The first reason why the deployment is waiting. Null if it is about to start.
    #[schema(required)]
    pub(crate) blocked_by: Option<Blocker>,
    /// The time at which the deployment was queued.
    pub(crate) since: Rfc3339,
    /// The time at which the deployment fails unless it has started.
    #[schema(required)]
    pub(crate) deadline: Option<Rfc3339>,
}

/// The reason why a deployment waits.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct Blocker {
    pub(crate) kind: BlockerKind,
    /// The deployment that has to end first. For the kind `requirement`, it has to succeed.
    #[schema(required)]
    pub deployment_id: Option<DeploymentId>,
    /// The position among the account's deployments that wait for capacity. 1 is next. Null for any other kind, and if the build waits for
    /// a machine of AWS CodeBuild.
    #[schema(required, minimum = 1, examples(3))]
    pub(crate) position: Option<usize>,
    /// The time at which the reason ends by itself, or at which the build is tried again for lack of capacity. Null if somebody or another
    /// deployment has to end it, or a machine has to become free. A missing approval does not end by itself: `deadline` has the time
    /// until which it has to be given.
    #[schema(required)]
    pub(crate) until: Option<Rfc3339>,
    /// The reason of the freeze window that is open. Null if it has none, and for any other kind.
    #[schema(required)]
    pub(crate) reason: Option<Reason>,
}

/// The kind of reason: `approval` if an approval is missing, `requirement` if another deployment of the commit has to succeed in a
/// required environment first, `freeze` if the environment is frozen, `wait` if its wait timer has not ended, `deployment` if another
/// deployment has to end first, `capacity` if the account or all accounts together run as many deployments as they may, or AWS CodeBuild
/// has no free machine for the build.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum BlockerKind {
    /// The deployment lacks an approval.
    Approval,
    /// The commit has not succeeded in a required environment yet.
    Requirement,
    /// The environment is frozen.
    Freeze,
    /// The wait timer has not ended.
    Wait,
    /// Another deployment is in progress or earlier in the queue.
    Deployment,
    /// The account or all accounts together run as many deployments as they may, or CodeBuild has no free machine.
    Capacity,
}

impl Blocker {
    fn of_kind(kind: BlockerKind) -> Self {
        Self { kind, deployment_id: None, position: None, until: None, reason: None }
    }
}

impl QueueBody {
    /// Returns the place of a deployment in its lane.
    pub fn new(row: &Deployment, Waits { settings, lane, permit_position }: &Waits, now: Timestamp) -> Self {
        let before = || lane.waiting.iter().filter(|one| one.number < row.number);
        let of_kind = Blocker::of_kind;
        let other = |id: &DeploymentId| Blocker { deployment_id: Some(id.clone()), ..of_kind(BlockerKind::Deployment) };
        let capacity = |until: Timestamp| Blocker { until: Some(until.into()), ..of_kind(BlockerKind::Capacity) };
        let freeze = settings.freeze(now).filter(|_| !row.is_override());
        let wait = row.waits_until(now);
        let required = row.awaits.first().map(|awaited| &awaited.deployment_id);
        // Of a freeze and a wait, the one that ends last is told.
        let blocked_by = match (freeze, wait) {
            _ if !row.is_approved() => Some(of_kind(BlockerKind::Approval)),
            _ if required.is_some() => {
                Some(Blocker { deployment_id: required.cloned(), ..of_kind(BlockerKind::Requirement) })
            }
            (Some(freeze), wait) if freeze.until.is_none_or(|until| Some(until) > wait) => {
                let until = freeze.until.map(Into::into);
                Some(Blocker { until, reason: freeze.reason, ..of_kind(BlockerKind::Freeze) })
            }
            (_, Some(until)) => Some(Blocker { until: Some(until.into()), ..of_kind(BlockerKind::Wait) }),
            _ => {
                let first = || before().find(|one| one.may_start(now)).map(|one| &one.deployment_id);
                let ahead = lane.lock.holder.as_ref().or_else(first).map(other);
                let permit = permit_position.map(|at| Blocker { position: Some(at), ..of_kind(BlockerKind::Capacity) });
                ahead.or_else(|| row.retry_at(now).map(capacity)).or(permit)
            }
        };
        Self {
            position: before().count() + 1,
            blocked_by,
            since: row.created_at.into(),
            deadline: row.deadline.map(Into::into),
        }
    }

    /// Returns the place of a deployment whose build waits in CodeBuild's queue, or `None` for any other.
    pub fn of_build(row: &Deployment) -> Option<Self> {
        row.waits_for_machine().then(|| Self {
            position: 1,
            blocked_by: Some(Blocker::of_kind(BlockerKind::Capacity)),
            since: row.created_at.into(),
            deadline: row.deadline.map(Into::into),
        })
    }

    /// Returns the time until asking for the place again makes sense.
    pub fn poll_interval(&self) -> PollInterval {
        match self.blocked_by.as_ref().map(|blocker| blocker.kind) {
            Some(BlockerKind::Approval | BlockerKind::Freeze | BlockerKind::Wait) => PollInterval::WAITING_FOR_PEOPLE,
            Some(BlockerKind::Deployment | BlockerKind::Requirement | BlockerKind::Capacity) => PollInterval::WAITING,
            None => PollInterval::RUNNING,
        }
    }
}

impl DeploymentBody {
    /// Returns the body with the variables of the deployment.
    pub fn with_variables(app: &App, row: Deployment, variables: DeploymentVariables) -> Self {
        let variables = variables.merged(&row).into_iter().map(Into::into).collect();
        Self { variables: Some(variables), ..Self::new(app, row) }
    }

    /// Returns the body without a place in the queue and without variables, as lists show it.
    pub fn new(app: &App, row: Deployment) -> Self {
        Self {
            approval_digest: row.approval_digest(),
            reachable: row.is_reachable(),
            variable_names: row.variable_names,
            variables: None,
            url: app.url(&format!("/v1/deployments/{}", row.id)),
            id: row.id,
            status: row.status,
            created_at: row.created_at.into(),
            repository_id: row.repository_id,
            number: row.number,
            environment: row.environment,
            r#ref: row.git_ref,
            commit: CommitBody::new(row.sha.clone(), row.commit),
            machine: BuildMachineBody::of(row.machine),
            root_folder: row.source.root_folder,
            buildspec_path: row.source.buildspec_path,
            sha: row.sha,
            on_ref: row.on_ref,
            created_by: row.created_by,
            updated_at: row.updated_at.into(),
            started_at: row.started_at.map(Into::into),
            finished_at: row.finished_at.map(Into::into),
            failure: row.failure,
            commit_status_error: row.commit_status_error,
            environment_url: row.environment_url,
            outputs: None,
            tests: None,
            phases: row.phases.into_iter().map(Into::into).collect(),
            approvals: ApprovalsBody { required: row.required_approvals, given_by: row.approved_by },
            wait_until: row.wait_until.map(Into::into),
            r#override: row.override_reason.map(|reason| OverrideBody { reason }),
            cancel_requested: row.cancel_requested_by.is_some(),
            origin: row.origin,
            queue: None,
            actors: Some(row.actors),
            repository: None,
        }
    }

    /// Moves the names of the actors into those of a list.
    pub fn listed(mut self, actors: &mut Actors) -> Self {
        actors.extend(self.actors.take().into_iter().flatten());
        self
    }

    /// Returns the body with the deployment's repository.
    pub fn in_repository(self, repository: &Repository) -> Self {
        Self { repository: Some(repository.into()), ..self }
    }

    /// Returns the body with the results of the deployment.
    pub fn with_results(self, results: Results) -> Self {
        let outputs = Some(results.outputs).filter(|outputs| !outputs.is_empty());
        Self { outputs, tests: results.tests, ..self }
    }

    /// Returns the body with the deployment's place in the queue. It is `None` unless the deployment waits.
    pub fn with_queue(self, queue: Option<QueueBody>) -> Self {
        Self { queue, ..self }
    }
}
