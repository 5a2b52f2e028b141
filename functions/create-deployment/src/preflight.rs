//! The dry run of a creation, requested with `"dry_run": true`. It reads what creation reads and writes nothing.

use futures_util::future::try_join;
use git::Revision;
use serde::Serialize;
use shared::access::AuthorizedRepository;
use shared::model::{Concurrency, Environment, EnvironmentSettings, Fences, KnownRef, Lane, LaneKey};
use shared::{ErrorCode, Result};

use crate::{Creation, DeploymentRequest, resolve};

#[derive(Debug, Serialize, utoipa::ToSchema)]
#[schema(as = Preflight)]
pub struct PreflightBody {
    pub outcome: PreflightOutcome,
    pub environment: Environment,
    /// The commit that would be deployed. Null if the ref does not exist.
    #[schema(required, examples("3f786850e387550fdab836ed7e6dc881de23001b"))]
    pub sha: Option<String>,
    pub gates: Vec<GateBody>,
}

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
    pub gate: Gate,
    pub passes: bool,
    /// A sentence for people.
    #[schema(examples("2 approvals are needed"))]
    pub message: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "lowercase")]
#[schema(as = GateName)]
pub enum Gate {
    Permission,
    Quota,
    Ref,
    Freeze,
    /// `expected_current` and `sequence`.
    Fences,
    Approvals,
    Lock,
}

impl Gate {
    /// Whether a deployment that fails the gate is not created at all.
    const fn refuses(self) -> bool {
        matches!(self, Self::Permission | Self::Quota | Self::Ref | Self::Freeze | Self::Fences)
    }
}

pub(crate) async fn preflight(
    Creation { app, hosts, .. }: &Creation,
    repository: &AuthorizedRepository,
    request: &DeploymentRequest,
    revision: &Revision,
) -> Result<PreflightBody> {
    let (table, environment) = (app.table(), request.environment);
    let branch = revision.branch_name();
    let known = KnownRef::load(table, repository, &branch).await?;
    let (resolved, missing) = match resolve(app, *hosts, repository, revision, known).await {
        Ok(resolved) => (Some(resolved), None),
        Err(error) if error.code() == ErrorCode::InvalidRef => (None, Some(error.message().to_owned())),
        Err(error) => return Err(error),
    };
    let ref_name = resolved.as_ref().and_then(|resolved| resolved.name.as_ref()).unwrap_or(&request.r#ref);
    let lane = LaneKey::new(&repository.account_id, &repository.id, environment, ref_name);
    let (settings, lane) = try_join(
        EnvironmentSettings::load(table, &repository.account_id, &repository.id, environment),
        Lane::load(table, &lane),
    )
    .await?;

    let fences = Fences { expected_current: request.expected_current.clone(), sequence: request.sequence };
    let frozen = settings.admit(environment).err().map(|error| error.message().to_owned());
    let approvals = settings.required_approvals;
    let lacks = (approvals > 0).then(|| format!("{approvals} approvals by others are needed"));
    let ready = match settings.concurrency {
        Concurrency::Queue => lane.waiting.iter().filter(|one| one.ready).count(),
        Concurrency::Supersede => 0,
    };
    let in_the_way = match (&lane.lock.holder, ready) {
        (Some(holder), _) => Some(format!("{holder} is in progress, and {ready} wait")),
        (None, 0) => None,
        (None, waiting) => Some(format!("{waiting} wait before it")),
    };
    let gates = [
        (Gate::Permission, None, "The token may deploy this repository"),
        (Gate::Quota, None, "The rate limit admitted this request, as it would admit the creation"),
        (Gate::Ref, missing, "The ref exists"),
        (Gate::Freeze, frozen, "The environment is not frozen"),
        (Gate::Fences, fences.stale(&lane.lock), "No newer request came before"),
        (Gate::Approvals, lacks, "No approval is needed"),
        (Gate::Lock, in_the_way, "Nothing is in progress or waits"),
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
    Ok(PreflightBody { outcome, environment, sha: resolved.map(|resolved| resolved.sha), gates: gates.into() })
}
