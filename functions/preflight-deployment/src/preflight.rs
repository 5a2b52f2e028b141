//! The expected outcome of a creation, by the rows that a creation reads.

use connections::Connections;
use deploy::{DeploymentRequest, ResolvedRef};
use futures_util::future::try_join4;
use git::{Reach, Revision};
use serde::Serialize;
use shared::access::AuthorizedRepository;
use shared::clock::{Rfc3339, Timestamp};
use shared::model::{
    Account, BuildLimits, CapacityUsage, Concurrency, CurrentVariables, DeploymentCounts, Destination, Environment,
    EnvironmentSettings, Freeze, Lane, LaneKey, Month, Reviewers, not_succeeded_in,
};
use shared::{App, Error, ErrorCode, Result};

/// The expected outcome of a request to create a deployment.
#[derive(Debug, Serialize, utoipa::ToSchema)]
#[schema(as = Preflight)]
pub struct PreflightBody {
    pub(crate) outcome: PreflightOutcome,
    pub(crate) environment: Environment,
    /// The commit that would be deployed. Null if the ref does not exist.
    #[schema(required, examples("3f786850e387550fdab836ed7e6dc881de23001b"))]
    pub(crate) sha: Option<String>,
    /// A branch or tag that has the commit, by its full name: one that points to it, or else one with the commit in its history. Null if
    /// none is known.
    #[schema(required, examples("refs/heads/main"))]
    pub(crate) on_ref: Option<String>,
    /// Whether a branch or tag has the commit. False for a commit that may be one of a fork. Null if the git host does not tell, or has
    /// too many branches and tags to look through.
    #[schema(required, examples(true))]
    pub(crate) reachable: Option<bool>,
    /// The conditions, in the order in which they are checked.
    pub(crate) gates: Vec<GateBody>,
}

/// The expected outcome: `starts` if the deployment would start at once, `waits` if it would be queued, `refused` if it
/// would not be created.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum PreflightOutcome {
    /// The deployment would start at once.
    Starts,
    /// The deployment would be created and wait.
    Waits,
    /// The deployment would not be created.
    Refused,
}

/// A condition that a deployment has to meet before it starts.
#[derive(Debug, Serialize, utoipa::ToSchema)]
#[schema(as = Gate)]
pub struct GateBody {
    pub(crate) gate: Gate,
    /// Whether the deployment meets the condition now.
    pub(crate) passes: bool,
    /// A human-readable explanation.
    #[schema(examples("2 approvals by other users are required"))]
    pub(crate) message: String,
    /// The time at which the deployment would meet the condition without anybody's help. Null if it meets it now, or somebody has
    /// to help.
    #[schema(required)]
    pub(crate) until: Option<Rfc3339>,
    /// Whether a deployment that fails this gate is created and waits.
    #[serde(skip)]
    waits: bool,
}

/// The name of a condition. `permission`, `quota`, `ref`, `refs` (the branches and tags that the environment takes), `requires` (a success
/// in other environments), `freeze`, `machine` (the build machine of the environment and the repository, within what the operator allows), `variables` (their number and size, with the stored ones), `minutes` (the build minutes of the account),
/// `fences` (`expected_current` and `sequence`) and `queue` (the number of deployments that wait) refuse a deployment. `approvals`, `wait` (the
/// wait timer), `lock` (the lane's other deployments) and `capacity` (the number of the account's deployments in progress) make it wait, and so
/// does `requires` while a deployment of the commit is queued or in progress where it has to succeed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "lowercase")]
#[schema(as = GateName)]
pub enum Gate {
    /// The caller may deploy the repository.
    Permission,
    /// The request was within the rate limit.
    Quota,
    /// The ref exists.
    Ref,
    /// The environment takes the ref.
    Refs,
    /// The commit has succeeded in the environments that this one requires.
    Requires,
    /// The environment is not frozen.
    Freeze,
    /// The operator allows the build machine.
    Machine,
    /// The variables that the build gets are not too many and not too large.
    Variables,
    /// The account has build minutes left in this month.
    Minutes,
    /// `expected_current` and `sequence`.
    Fences,
    /// Fewer deployments wait in the lane than may.
    Queue,
    /// The deployment has the approvals that the environment requires.
    Approvals,
    /// The environment has no wait timer.
    Wait,
    /// No other deployment is in progress or ahead in the queue.
    Lock,
    /// The account runs fewer deployments than it may at once.
    Capacity,
}

impl Gate {
    /// Returns whether a deployment that fails this gate is created and waits. If not, it is refused.
    const fn makes_wait(self) -> bool {
        matches!(self, Self::Approvals | Self::Wait | Self::Lock | Self::Capacity)
    }
}

/// The rules of an environment that a commit does not meet, each with its message.
#[derive(Default)]
struct Unmet {
    refs: Option<String>,
    requires: Option<String>,
    /// Whether deployments of the commit are on their way wherever it has not succeeded.
    is_on_its_way: bool,
    freeze: Option<(String, Option<Timestamp>)>,
    wait: Option<(String, Option<Timestamp>)>,
}

impl GateBody {
    /// Returns a gate that fails with a message, if there is one, or else passes with the other.
    fn new(gate: Gate, fails: Option<String>, passes: &str) -> Self {
        Self::until(gate, fails.map(|message| (message, None)), passes)
    }

    fn until(gate: Gate, fails: Option<(String, Option<Timestamp>)>, passes: &str) -> Self {
        let is_passed = fails.is_none();
        let (message, until) = fails.unwrap_or_else(|| (passes.to_owned(), None));
        Self { gate, passes: is_passed, message, until: until.map(Into::into), waits: gate.makes_wait() }
    }
}

pub(crate) async fn preflight(
    app: &App,
    connections: &Connections,
    limits: &BuildLimits,
    repository: &AuthorizedRepository,
    request: &DeploymentRequest,
    revision: &Revision,
) -> Result<PreflightBody> {
    let (table, environment) = (app.table(), request.environment);
    let (mut resolved, missing) = match ResolvedRef::find(connections, repository, revision).await {
        Ok(resolved) => (Some(resolved), None),
        Err(error) if error.code() == ErrorCode::InvalidRef => (None, Some(error.message().to_owned())),
        Err(error) => return Err(error),
    };
    let ref_name = resolved.as_ref().and_then(|resolved| resolved.name.as_ref()).unwrap_or(&request.r#ref);
    let lane = LaneKey::new(&repository.account_id, &repository.id, environment, ref_name);
    let (account, now) = (repository.tenant().account(), app.clock().now());
    let (destination, lane, stored, usage) = try_join4(
        Destination::load(table, repository, environment),
        Lane::load(table, &lane),
        CurrentVariables::load(table, &repository.account_id, &repository.id, environment),
        CapacityUsage::load(table, &account.id, now),
    )
    .await?;
    let too_large = stored.freeze(request.variables.sizes()).err();
    let too_large = too_large.map(|error| error.message().to_owned());
    let Some(Destination { settings, .. }) = destination else {
        let counts = DeploymentCounts::load(table, &repository.partition()).await?;
        return Err(counts.invalid_environment("environment", environment));
    };

    let is_override = request.r#override.is_some();
    let unmet = match is_override {
        true => Unmet::default(),
        false => unmet(app, connections, repository, request, &settings, resolved.as_mut(), now).await?,
    };
    let rule = |otherwise| if is_override { "The deployment overrides this rule" } else { otherwise };

    let ready = match settings.concurrency {
        Concurrency::Queue => lane.waiting.iter().filter(|waiting| waiting.may_start(now)).count(),
        Concurrency::Supersede => 0,
    };
    let blocked = match (&lane.lock.holder, ready) {
        (Some(holder), 0) => Some(format!("{holder} is in progress")),
        (Some(holder), _) => Some(format!("{holder} is in progress; queued before this one: {ready}")),
        (None, 0) => None,
        (None, _) => Some(format!("Queued before this one: {ready}")),
    };
    let exists = match resolved.as_ref().map(|resolved| &resolved.reach) {
        Some(Reach::On(_)) | None => "The ref exists",
        Some(Reach::Nowhere) => {
            "The commit exists, but no branch or tag has it: it may be one of a fork, or one that a push by force has left behind"
        }
        Some(Reach::Unknown) => "The commit exists, and it is not known whether a branch or tag has it",
    };
    let machine = repository.machine.overridden_by(&settings.machine);
    let gates = vec![
        GateBody::new(Gate::Permission, None, "The caller may deploy this repository"),
        GateBody::new(Gate::Quota, None, "The rate limit allows this request"),
        GateBody::new(Gate::Ref, missing, exists),
        GateBody::new(Gate::Refs, unmet.refs, rule("The environment takes the ref")),
        GateBody {
            waits: unmet.is_on_its_way,
            ..GateBody::new(Gate::Requires, unmet.requires, rule("The commit has succeeded wherever it has to"))
        },
        GateBody::until(Gate::Freeze, unmet.freeze, rule("The environment is not frozen")),
        GateBody::new(Gate::Machine, limits.refusal_of_deployment(&machine), limits.approval_of(&machine)),
        GateBody::new(Gate::Variables, too_large, "The build can get all of its variables"),
        GateBody::until(Gate::Minutes, exhausted(account, &usage, now), "The account has build minutes left"),
        GateBody::new(Gate::Fences, request.fences().stale(&lane), "No newer request has been accepted"),
        GateBody::new(Gate::Queue, lane.full(settings.concurrency), "The queue has room for the deployment"),
        GateBody::new(Gate::Approvals, unapproved(&settings), "No approval is needed"),
        GateBody::until(Gate::Wait, unmet.wait, rule("The environment has no wait timer")),
        GateBody::new(Gate::Lock, blocked, "No other deployment is in progress or queued"),
        GateBody::new(Gate::Capacity, at_capacity(account, &usage), "The account may run another deployment at once"),
    ];
    let failing = || gates.iter().filter(|gate| !gate.passes);
    let outcome = match failing().all(|gate| gate.waits) {
        false => PreflightOutcome::Refused,
        true if failing().next().is_some() => PreflightOutcome::Waits,
        true => PreflightOutcome::Starts,
    };
    let on_ref = resolved.as_ref().and_then(ResolvedRef::on_ref).cloned();
    let reachable = resolved.as_ref().and_then(ResolvedRef::is_reachable);
    Ok(PreflightBody { outcome, environment, sha: resolved.map(|resolved| resolved.sha), on_ref, reachable, gates })
}

/// Returns the rules of the environment that a commit does not meet.
async fn unmet(
    app: &App,
    connections: &Connections,
    repository: &AuthorizedRepository,
    request: &DeploymentRequest,
    settings: &EnvironmentSettings,
    resolved: Option<&mut ResolvedRef>,
    now: Timestamp,
) -> Result<Unmet> {
    let message = |error: Error| error.message().to_owned();
    let mut unmet = Unmet::default();
    if let Some(resolved) = resolved {
        let admitted = resolved.admit(connections, repository, settings, request.environment).await;
        unmet.refs = match admitted {
            Ok(()) => None,
            Err(error) if error.code() == ErrorCode::RefNotAllowed => Some(message(error)),
            Err(error) => return Err(error),
        };
        let ref_name = resolved.name.as_ref().unwrap_or(&request.r#ref);
        let missing = settings.requires.standing(app.table(), repository, ref_name, &resolved.sha, now).await?;
        let refused = missing.iter().find(|(_, on_its_way)| on_its_way.is_none());
        unmet.is_on_its_way = refused.is_none();
        unmet.requires = match (refused, missing.first()) {
            (Some((environment, _)), _) => Some(message(not_succeeded_in(*environment))),
            (None, Some((environment, Some(id)))) => Some(format!("{id} has to succeed in {environment} first")),
            (None, _) => None,
        };
    }
    let frozen = settings.admit(request.environment, now).err().map(message);
    unmet.freeze = frozen.zip(settings.freeze(now).map(|Freeze { until, .. }| until));
    unmet.wait = settings
        .wait_until(now)
        .map(|until| (format!("The wait timer is {} seconds", settings.wait_seconds), Some(until)));
    Ok(unmet)
}

/// Returns the refusal if the account has used its build minutes, with the time at which the next month begins.
fn exhausted(account: &Account, usage: &CapacityUsage, now: Timestamp) -> Option<(String, Option<Timestamp>)> {
    let refusal = usage.minutes.exhausted(account, now)?;
    Some((refusal.message().to_owned(), Some(Month::of(now).end())))
}

/// Returns the reason if the account runs as many deployments as it may.
fn at_capacity(account: &Account, usage: &CapacityUsage) -> Option<String> {
    let (running, limit) = (usage.permits.running.len(), account.concurrent_builds());
    let is_full = running >= usize::try_from(limit).unwrap_or(usize::MAX);
    is_full.then(|| format!("{running} of {limit} deployments that the account may run at once are in progress"))
}

/// Returns how many approvals a deployment needs, and by whom.
fn unapproved(settings: &EnvironmentSettings) -> Option<String> {
    let by = settings.reviewers.as_ref().map_or("another user".to_owned(), Reviewers::names);
    match settings.required_approvals {
        0 => None,
        1 => Some(format!("1 approval by {by} is required")),
        many if settings.reviewers.is_none() => Some(format!("{many} approvals by other users are required")),
        many => Some(format!("{many} approvals by {by} are required")),
    }
}
