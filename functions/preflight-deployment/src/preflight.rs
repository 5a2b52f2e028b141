//! The expected outcome of a creation, by the rows that a creation reads.

use connections::Connections;
use deploy::{DeploymentRequest, ResolvedRef};
use futures_util::future::try_join;
use git::Revision;
use serde::Serialize;
use shared::access::AuthorizedRepository;
use shared::model::{Concurrency, DeploymentCounts, Destination, Environment, Lane, LaneKey};
use shared::{App, ErrorCode, Result};

/// The expected outcome of a request to create a deployment.
#[derive(Debug, Serialize, utoipa::ToSchema)]
#[schema(as = Preflight)]
pub struct PreflightBody {
    pub(crate) outcome: PreflightOutcome,
    pub(crate) environment: Environment,
    /// The commit that would be deployed. Null if the ref does not exist.
    #[schema(required, examples("3f786850e387550fdab836ed7e6dc881de23001b"))]
    pub(crate) sha: Option<String>,
    /// A branch or tag that points to the commit, by its full name. Null if none does, or if the repository has too many to look
    /// through.
    #[schema(required, examples("refs/heads/main"))]
    pub(crate) on_ref: Option<String>,
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
}

/// The name of a condition. `permission`, `quota`, `ref`, `freeze`, `fences` (`expected_current` and `sequence`) and `queue`
/// (the number of deployments that wait) refuse a deployment. `approvals` and `lock` (the lane's other deployments) make it
/// wait.
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
    /// The environment is not frozen.
    Freeze,
    /// `expected_current` and `sequence`.
    Fences,
    /// Fewer deployments wait in the lane than may.
    Queue,
    /// The deployment has the approvals that the environment requires.
    Approvals,
    /// No other deployment is in progress or ahead in the queue.
    Lock,
}

impl Gate {
    /// Returns whether failing this gate refuses the deployment. If not, the deployment is created and waits.
    const fn refuses(self) -> bool {
        matches!(self, Self::Permission | Self::Quota | Self::Ref | Self::Freeze | Self::Fences | Self::Queue)
    }
}

pub(crate) async fn preflight(
    app: &App,
    connections: &Connections,
    repository: &AuthorizedRepository,
    request: &DeploymentRequest,
    revision: &Revision,
) -> Result<PreflightBody> {
    let (table, environment) = (app.table(), request.environment);
    let (resolved, missing) = match ResolvedRef::find(connections, repository, revision).await {
        Ok(resolved) => (Some(resolved), None),
        Err(error) if error.code() == ErrorCode::InvalidRef => (None, Some(error.message().to_owned())),
        Err(error) => return Err(error),
    };
    let ref_name = resolved.as_ref().and_then(|resolved| resolved.name.as_ref()).unwrap_or(&request.r#ref);
    let lane = LaneKey::new(&repository.account_id, &repository.id, environment, ref_name);
    let (destination, lane) =
        try_join(Destination::load(table, repository, environment), Lane::load(table, &lane)).await?;
    let Some(Destination { settings, .. }) = destination else {
        let counts = DeploymentCounts::load(table, &repository.partition()).await?;
        return Err(counts.invalid_environment("environment", environment));
    };

    let frozen = settings.admit(environment).err().map(|error| error.message().to_owned());
    let approvals = settings.required_approvals;
    let unapproved = match approvals {
        0 => None,
        1 => Some("1 approval by another user is required".to_owned()),
        _ => Some(format!("{approvals} approvals by other users are required")),
    };
    let ready = match settings.concurrency {
        Concurrency::Queue => lane.waiting.iter().filter(|waiting| waiting.ready).count(),
        Concurrency::Supersede => 0,
    };
    let blocked = match (&lane.lock.holder, ready) {
        (Some(holder), 0) => Some(format!("{holder} is in progress")),
        (Some(holder), _) => Some(format!("{holder} is in progress; queued before this one: {ready}")),
        (None, 0) => None,
        (None, _) => Some(format!("Queued before this one: {ready}")),
    };
    let on_ref = resolved.as_ref().and_then(|resolved| resolved.on_ref.clone());
    let exists = match on_ref {
        Some(_) => "The ref exists",
        None => "The commit exists, and no branch or tag is known to point to it",
    };
    let gates = [
        (Gate::Permission, None, "The caller may deploy this repository"),
        (Gate::Quota, None, "The rate limit allows this request"),
        (Gate::Ref, missing, exists),
        (Gate::Freeze, frozen, "The environment is not frozen"),
        (Gate::Fences, request.fences().stale(&lane), "No newer request has been accepted"),
        (Gate::Queue, lane.full(settings.concurrency), "The queue has room for the deployment"),
        (Gate::Approvals, unapproved, "No approval is needed"),
        (Gate::Lock, blocked, "No other deployment is in progress or queued"),
    ];
    let gates = gates.map(|(gate, fails, passes)| GateBody {
        gate,
        passes: fails.is_none(),
        message: fails.unwrap_or_else(|| passes.to_owned()),
    });
    let outcome = match gates.iter().find(|gate| !gate.passes).map(|gate| gate.gate) {
        None => PreflightOutcome::Starts,
        Some(first) if first.refuses() => PreflightOutcome::Refused,
        Some(_) => PreflightOutcome::Waits,
    };
    Ok(PreflightBody { outcome, environment, sha: resolved.map(|resolved| resolved.sha), on_ref, gates: gates.into() })
}
