//! Deployments: their rows and the lists that contain them. `creation` creates them, `transition` changes their state,
//! and `turn` decides which one runs next.

mod actors;
mod approval;
mod awaited;
mod build_clock;
mod build_log;
mod capacity;
mod commit;
mod commit_status;
mod counts;
mod creation;
mod creator;
mod due;
mod environment;
mod environment_state;
mod event;
mod failure;
mod fence;
mod lane;
mod lease;
mod listing;
mod names;
mod origin;
mod permit;
mod phases;
mod place;
mod pushed;
mod results;
mod settings;
mod status;
mod success;
mod test_summary;
mod transition;
mod turn;
mod variables;
mod waiting;
mod wanted;

pub use actors::*;
pub use awaited::*;
pub use build_clock::BUILD_QUEUE_LIMIT;
pub use build_log::{BuildLogPlace, LogBatch, TailPart};
pub use capacity::NoCapacity;
pub use commit::*;
pub use commit_status::*;
pub use counts::{DeploymentCounts, Filter};
pub(super) use counts::{ENVIRONMENTS, LAST_NUMBER, count_name, deleted_count_name, mark};
pub use creation::*;
pub use creator::*;
pub(super) use due::shard_of;
pub use due::*;
pub use environment::*;
pub use environment_state::*;
pub use event::*;
pub use failure::*;
pub use fence::*;
pub use lane::*;
pub use listing::*;
pub use origin::*;
pub use phases::*;
pub use place::*;
pub use pushed::*;
pub use results::*;
pub use settings::*;
pub use status::*;
pub use success::not_succeeded_in;
pub use test_summary::*;
pub use transition::*;
pub use turn::{Terms, Turn};
pub use variables::*;
pub use wanted::*;

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::capability::Capability;
use crate::clock::Timestamp;
use crate::id::{AccountId, ConnectionId, DeploymentId, RepositoryId, UserId};
use crate::model::{
    AuditRetention, BuildId, BuildMachine, LaneKey, PushContext, Repository, RepositoryPartition, SourceSettings, key,
};
use crate::name::Reason;
use crate::permitted::TenantId;
use crate::sort::{Position, Sort};
use crate::table::{Consistency, IndexKey, Key, Order, Partition, Query, Table, TableError};

/// The row of a deployment.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Deployment {
    /// The deployment's ID, which is unique over all accounts.
    pub id: DeploymentId,
    /// The account of the repository.
    pub account_id: AccountId,
    /// The repository, which outlives its deployments.
    pub repository_id: RepositoryId,
    /// The deployment's number in its repository: 1, 2, 3, …
    pub number: u64,
    /// The current state. Only a [`Transition`] changes it.
    pub status: Status,
    /// The environment, fixed at creation.
    pub environment: Environment,
    /// The ref in the client's spelling.
    pub git_ref: String,
    /// The SHA of the commit that the ref pointed to at creation, and that is deployed.
    pub sha: String,
    /// The subject and the author of the commit. `None` if the git host did not tell.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub commit: Option<CommitTexts>,
    /// The repository's clone URL at creation.
    pub clone_url: String,
    /// The repository's connection at creation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub connection_id: Option<ConnectionId>,
    /// The settings of the repository's source at creation, or those of the deployment that this one repeats.
    #[serde(flatten)]
    pub source: SourceSettings,
    /// The user, or the user that stands for the application, the trust or the hook, that created the deployment, retried it or
    /// rolled back to it.
    pub created_by: UserId,
    /// The person who registered the application that created the deployment. `None` if a person created it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) registered_by: Option<UserId>,
    /// The names of everybody who has acted on the deployment. A user of an older row has none.
    #[serde(default, skip_serializing_if = "Actors::is_empty")]
    pub actors: Actors,
    /// The time at which the deployment was created and queued.
    pub created_at: Timestamp,
    /// The time of the last transition.
    pub updated_at: Timestamp,
    /// The time at which a runner first claimed the deployment. `None` before, and while AWS refuses the build.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started_at: Option<Timestamp>,
    /// The time at which the deployment reached a final state. `None` before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub finished_at: Option<Timestamp>,
    /// The reason for the failure. `None` unless the status is `failed`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure: Option<Failure>,
    /// The number of events so far. Every transition adds one, so it is also the version that each conditional write
    /// checks.
    pub events: u64,
    /// The number of times that a runner has claimed the deployment. Names of what an attempt uses are made of it.
    pub attempt: u32,
    /// The last time that CodeBuild had no capacity for the deployment's build. `None` if it always had.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) no_capacity: Option<NoCapacity>,
    /// The number of the permit that the deployment holds, or held last. `None` if it has not been claimed, or has given its permit
    /// back to wait for a machine of CodeBuild.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) permit: Option<u64>,
    /// The place of the queued deployment in its account's queue for a permit. One that ends there keeps its place.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) waits_for_permit: Option<u64>,
    /// The time limit of the commands, since the first claim: that of the environment or of the runner.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) run_limit_seconds: Option<u32>,
    /// The time until which the runner that claimed the deployment counts as alive.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lease_until: Option<Timestamp>,
    /// The build that runs the deployment, if its runner has handed it over to CodeBuild. Such a deployment has no
    /// lease, because CodeBuild reports its end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub build: Option<BuildId>,
    /// The time at which the build left CodeBuild's queue. `None` if it waits there, or there is no build.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub build_started_at: Option<Timestamp>,
    /// The time at which the sweep looks at the deployment, unless its state changes before. Absent once the deployment
    /// has ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub due_at: Option<Timestamp>,
    /// The full name of the ref if one was found, or else the ref in the client's spelling.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ref_name: Option<String>,
    /// A branch or tag that at creation pointed to the commit or had it in its history, by its full name, if one was known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub on_ref: Option<String>,
    /// Whether no branch or tag had the commit in its history at creation.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) on_no_ref: bool,
    /// The account's time for audit events at creation.
    #[serde(default, skip_serializing_if = "AuditRetention::is_default")]
    pub(crate) audit_retention: AuditRetention,
    /// The time at which the deployment is ended if it is still in its current state.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deadline: Option<Timestamp>,
    /// The fencing number with which the deployment holds, or last held, its lane's lock. 0 before the first claim.
    #[serde(default)]
    pub fence: u64,
    /// The environment's time limit at creation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub time_limit_seconds: Option<u32>,
    /// The environment's build machine at creation.
    #[serde(flatten)]
    pub machine: BuildMachine,
    /// The end of the wait by the environment's timer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub wait_until: Option<Timestamp>,
    /// The deployments to required environments whose success the deployment waits for.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub awaits: Vec<Awaited>,
    /// The reason for which an admin let the deployment through the environment's rules. `None` if they hold for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub override_reason: Option<Reason>,
    /// The number of approvals that the environment required at creation.
    #[serde(default)]
    pub required_approvals: u8,
    /// The users who have approved the deployment, in the order of their approvals.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub approved_by: Vec<UserId>,
    /// The digest of all that the first approval covers. `None` if nobody has approved the deployment.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) approved_digest: Option<String>,
    /// The user who asked the deployment to stop while it was in progress.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cancel_requested_by: Option<UserId>,
    /// The earlier deployment that this one repeats. `None` if a client asked for a ref.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub origin: Option<Origin>,
    /// The circumstances of the push that the deployment is of. `None` if it is of none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub push: Option<PushContext>,
    /// The deployment that must be live when its turn comes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expected_current: Option<DeploymentId>,
    /// The names of the deployment's own variables, in order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub variable_names: Vec<String>,
    /// The reason why the git host was not told the deployment's last status. `None` if it was, or need not be.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub commit_status_error: Option<String>,
    /// The URL at which the build says that its environment can be opened.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub environment_url: Option<String>,
    /// Whether the deployment has [`Results`], which are beside its row.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub has_results: bool,
    /// The phases of the build of the last attempt, in their order, once the deployment has ended.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub phases: Vec<BuildPhase>,
    /// Whether the artifacts that a build by CodeBuild has stored are not kept: they are more than the plan allows.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub artifacts_refused: bool,
    /// The digest of [`DeploymentVariables`]. `None` if the deployment has no variables.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub variables_digest: Option<String>,
    /// The origin of the names that the deployment's builds use. Nothing but the row has it.
    #[serde(default = "Capability::random")]
    pub capability: Capability,
}

impl Deployment {
    pub(crate) async fn find(table: &Table, tenant: &TenantId, id: &DeploymentId) -> Result<Option<Self>, TableError> {
        Self::load(table, tenant, id).await
    }

    /// Returns the deployment that a queue message names. The queue's policy vouches for the message, instead of a
    /// token.
    pub async fn load(table: &Table, account: &AccountId, id: &DeploymentId) -> Result<Option<Self>, TableError> {
        table.get(key::deployment(account, id), Consistency::Strong).await
    }

    /// Returns the key of the deployment's lane.
    pub fn lane(&self) -> LaneKey {
        let ref_name = self.ref_name.as_ref().unwrap_or(&self.git_ref);
        LaneKey::new(&self.account_id, &self.repository_id, self.environment, ref_name)
    }

    /// Returns the time limit of the deployment's commands, or `otherwise` if its environment sets none.
    pub fn time_limit(&self, otherwise: Duration) -> Duration {
        self.time_limit_seconds.map_or(otherwise, |seconds| Duration::from_secs(seconds.into()))
    }

    /// Returns whether a branch or tag had the commit in its history at creation, if that was known.
    pub(crate) fn is_reachable(&self) -> Option<bool> {
        match (&self.on_ref, self.on_no_ref) {
            (Some(_), _) => Some(true),
            (None, true) => Some(false),
            (None, false) => None,
        }
    }

    /// Returns the variables that were fixed at creation.
    pub async fn variables(&self, table: &Table) -> Result<DeploymentVariables, TableError> {
        Ok(DeploymentVariables::load(table, &self.account_id, &self.id).await?.unwrap_or_default())
    }

    /// Returns the context to which a deployment's variables are sealed, so that no other deployment can open them.
    pub fn sealing_context(account: &AccountId, id: &DeploymentId) -> String {
        format!("{account}/{id}")
    }

    /// Returns the index partition that lists a repository's deployments by number.
    pub fn listed(repository: &RepositoryPartition, filter: Filter) -> Partition {
        Partition::of_index(filter.index(), repository.deployments(filter.environment, filter.status))
    }

    /// Returns the newest deployments of a list, newest first.
    pub async fn newest(
        table: &Table,
        repository: &Repository,
        filter: Filter,
        before: Option<u64>,
        limit: i32,
    ) -> Result<Vec<Self>, TableError> {
        let Partition { source, key: partition } = Self::listed(&repository.partition(), filter);
        let before = before.map(sort_key);
        let query = Query { source, partition, order: Order::Descending, after: before.as_deref(), limit };
        Ok(table.query(query, Self::ATTRIBUTES).await?.0)
    }

    fn sort_key(&self) -> String {
        sort_key(self.number)
    }

    fn index_keys(&self) -> Vec<IndexKey> {
        let repository = RepositoryPartition::new(&self.account_id, &self.repository_id);
        let (environment, status) = (Some(self.environment), Some(self.status));
        let lists = [(None, None), (environment, None), (None, status), (environment, status)];
        let key = |(environment, status)| {
            let index = Filter { environment, status }.index();
            IndexKey { index, partition: repository.deployments(environment, status), sort: self.sort_key() }
        };
        let due = self.due_at.map(|at| self.due(at).index_key());
        lists.into_iter().map(key).chain([self.account_index_key()]).chain(due).collect()
    }

    fn due(&self, at: Timestamp) -> Due {
        Due { at, account_id: self.account_id.clone(), deployment_id: self.id.clone() }
    }

    pub(super) fn key(&self) -> Key {
        key::deployment(&self.account_id, &self.id)
    }
}

impl Position for Deployment {
    const ATTRIBUTES: Option<&'static str> = Some(
        "id, account_id, repository_id, #number, #status, environment, git_ref, sha, clone_url, connection_id, created_by, \
         created_at, updated_at, started_at, finished_at, failure, events, attempt, lease_until, build, due_at, ref_name, deadline, \
         fence, time_limit_seconds, wait_until, awaits, override_reason, required_approvals, approved_by, approved_digest, cancel_requested_by, origin, push, \
         expected_current, \
         capability, registered_by, variable_names, variables_digest, \
         on_ref, on_no_ref, audit_retention, no_capacity, permit, waits_for_permit, run_limit_seconds, build_started_at, actors, #commit, commit_status_error, root_folder, buildspec_path, fetch_depth, cache, environment_url, has_results, \
         phases, image, compute_type, privileged, artifacts_refused",
    );

    fn position(&self, _: Sort) -> String {
        self.sort_key()
    }
}

pub(super) fn sort_key(number: u64) -> String {
    format!("{number:012}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::ComputeType;
    use crate::table::Item;

    #[test]
    fn a_list_reads_all_attributes() {
        let (now, user) = (Timestamp::from_millis(0), UserId::random());
        let awaited =
            serde_json::json!({"environment": "preview", "deployment_id": DeploymentId::random(), "ref_name": ""});
        let full = Deployment {
            id: DeploymentId::random(),
            account_id: AccountId::random(),
            repository_id: RepositoryId::random(),
            number: 1,
            status: Status::Failed,
            environment: Environment::PREVIEW,
            git_ref: String::new(),
            sha: String::new(),
            commit: Some(CommitTexts::new("", "")),
            clone_url: String::new(),
            connection_id: Some(ConnectionId::random()),
            source: SourceSettings::default(),
            created_by: user.clone(),
            registered_by: Some(user.clone()),
            actors: Actors::from_iter([(user.clone(), ActorName { kind: None, name: String::new(), email: None })]),
            created_at: now,
            updated_at: now,
            started_at: Some(now),
            finished_at: Some(now),
            failure: Some(Failure::run_deadline()),
            events: 1,
            attempt: 1,
            no_capacity: Some(NoCapacity { since: now, until: now, attempt: 1 }),
            permit: Some(1),
            waits_for_permit: Some(1),
            run_limit_seconds: Some(1),
            build_started_at: Some(now),
            lease_until: Some(now),
            build: "git-api:5f0c1c7e-6a5e-4d26-8f7a-1d2e3c4b5a69".parse().ok(),
            due_at: Some(now),
            ref_name: Some(String::new()),
            on_ref: Some(String::new()),
            on_no_ref: true,
            audit_retention: 30.try_into().unwrap(),
            deadline: Some(now),
            fence: 1,
            time_limit_seconds: Some(1),
            machine: BuildMachine {
                image: "aws/codebuild/standard:7.0".parse().ok(),
                compute_type: Some(ComputeType::Small),
                privileged: true,
            },
            wait_until: Some(now),
            awaits: vec![serde_json::from_value(awaited).unwrap()],
            override_reason: "x".parse().ok(),
            required_approvals: 1,
            approved_by: vec![user.clone()],
            approved_digest: Some(String::new()),
            cancel_requested_by: Some(user),
            origin: Some(Origin { kind: OriginKind::Retry, deployment_id: DeploymentId::random(), number: 1 }),
            push: Some(PushContext::default()),
            expected_current: Some(DeploymentId::random()),
            capability: Capability::random(),
            variable_names: vec![String::new()],
            variables_digest: Some(String::new()),
            commit_status_error: Some(String::new()),
            environment_url: Some(String::new()),
            has_results: true,
            artifacts_refused: true,
            phases: vec![BuildPhase {
                name: BuildPhaseName::Build,
                status: BuildPhaseStatus::Failed,
                started_at: now,
                duration_ms: 1,
                attempts: 1,
                failed_command: Some(FailedCommand::new("make", Some(2), None, None)),
                commands: Vec::new(),
            }],
        };
        let written: Item = serde_dynamo::to_item(full).unwrap();
        assert_eq!(crate::sort::attributes_read::<Deployment>(), written.into_keys().collect());
    }
}
