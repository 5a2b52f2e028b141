//! The functions, and the scheduler that decides which of them goes on.

use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use aws_smithy_runtime_api::client::http::SharedHttpClient;
use build_events::BuildEvents;
use builds::{Builds, CODEBUILD_PROJECT};
use local::table;
use serde_json::{Value, json};
use shared::App;
use shared::access::AuthorizedRepository;
use shared::attempts::Pauses;
use shared::aws::{Aws, Limits};
use shared::clock::{Clock, Timestamp};
use shared::dispatch::{Dispatched, dispatch, finish};
use shared::id::{DeploymentId, UserId};
use shared::model::{
    Action, Actor, Author, CreateFailed, Deployment, DeploymentCounts, DeploymentVariables, Destination, Due, DueEntry,
    Environment, EnvironmentSettings, Failure, FailureCode, Fences, NewDeployment, PermitLimits, Status, Terms,
    Transition,
};
use shared::queue::{DeploymentMessage, Queue};
use shared::settings::{ARCHIVE_URL, Settings};
use shared::table::Table;
use shared::telemetry::Log;
use tests::{NOON, Random};

use super::aws::{Broken, Wire};
use super::build::{Known, Run, Running};
use super::codebuild::PROJECT;
use super::{poll, run, step};

/// The kind of a scene.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// Runners run the deployments themselves, and the environments have no rules.
    Plain,
    /// Runners run the deployments themselves, and the environments have rules of every kind.
    Rules,
    /// CodeBuild runs the deployments, and one of two environments requires approvals.
    Builds,
}

impl Kind {
    /// Returns whether approvals or other rules hold deployments back.
    pub(super) fn has_rules(self) -> bool {
        self != Self::Plain
    }
}

const LEASE: Duration = Duration::from_secs(60);

/// A repository with its functions. Each task is one invocation of a function.
#[derive(Clone)]
pub(super) struct Scene {
    pub(super) app: App,
    pub(super) queue: Queue,
    pub(super) builds: Builds,
    pub(super) build_events: BuildEvents,
    pub(super) wire: Wire,
    pub(super) repository: AuthorizedRepository,
    pub(super) by: Author,
    /// Another account, whose deployments compete for the permits of the stack.
    rival: (AuthorizedRepository, Author),
    /// The numbers of deployments that the first account, and all accounts together, run at once.
    pub(super) limits: PermitLimits,
    pub(super) environments: Vec<Environment>,
    pub(super) kind: Kind,
    reviewers: [Author; 2],
    pub(super) known: Arc<Mutex<Known>>,
}

pub(super) type Task = Pin<Box<dyn Future<Output = ()>>>;

impl Scene {
    pub(super) fn start(seed: u64, broken: Broken, kind: Kind) -> Self {
        let wire = Wire::new(seed, broken);
        let limits = match seed % 3 {
            // Other conditions are tried with permits for all. Without them, two deployments of a lane seldom meet.
            _ if !matches!(broken, Broken::Nothing | Broken::Permit | Broken::GivenBack) => {
                PermitLimits { account: 100, stack: 100 }
            }
            0 => PermitLimits { account: 1, stack: 2 },
            1 => PermitLimits { account: 2, stack: 1 },
            _ => PermitLimits { account: 2, stack: 2 },
        };
        let settings = Settings::from([
            ("TABLE_NAME", "table".to_owned()),
            ("QUEUE_URL", "http://sqs/queue".to_owned()),
            ("STATUS_QUEUE_URL", "http://sqs/statuses".to_owned()),
            ("HOOK_QUEUE_URL", "http://sqs/hooks".to_owned()),
            ("WEBHOOK_QUEUE_URL", "http://sqs/webhooks".to_owned()),
            ("CONCURRENT_BUILDS", limits.stack.to_string()),
            (CODEBUILD_PROJECT, PROJECT.to_owned()),
            (ARCHIVE_URL, "memory:".to_owned()),
            ("AWS_REGION", "us-east-1".to_owned()),
            ("AWS_ACCESS_KEY_ID", "id".to_owned()),
            ("AWS_SECRET_ACCESS_KEY", "secret".to_owned()),
            ("AWS_ENDPOINT_URL", "http://aws".to_owned()),
        ]);
        let aws = Aws::new(&settings).unwrap().with_limits(Limits::PATIENT);
        let aws = aws.over(SharedHttpClient::new(wire.clone()));
        // The random length of a pause would decide the order of the calls.
        let table = Table::new(aws.dynamodb(), "table").with_pauses(Pauses::Never);
        let app = App::with_table(settings, aws, table, Clock::manual(NOON), Log::to(std::io::sink()));
        run(table::ensure(app.table().client(), "table")).unwrap();
        let (repository, by) = run(tests::repository_of_a_new_account(&app, "acme", limits.account as u32));
        let rival = run(tests::repository_of_a_new_account(&app, "rival", limits.account.max(2) as u32));
        // Deployments that share a lane compete more.
        let environments = match seed % 4 {
            _ if kind == Kind::Builds => vec![Environment::STAGING, Environment::PRODUCTION],
            0 | 1 if kind == Kind::Rules => vec![Environment::STAGING, Environment::PRODUCTION],
            // The second one is a member of a pattern, and its first deployment creates it.
            _ if kind == Kind::Rules => ["qa", "review-7"].map(|name| name.parse().unwrap()).to_vec(),
            0 => vec![Environment::PRODUCTION],
            1 => vec![Environment::PRODUCTION, Environment::PREVIEW],
            _ => vec![Environment::PREVIEW],
        };
        let queue = Queue::new(&app).unwrap();
        let reviewers = [(); 2].map(|()| Author::operator(&repository.account_id, &UserId::random()));
        {
            let codebuild = &mut wire.services().codebuild;
            (codebuild.clock, codebuild.machines) = (app.clock().clone(), 1 + seed as usize % 2);
        }
        let (builds, build_events) = (Builds::new(&app).unwrap(), BuildEvents::new(&app).unwrap());
        let known = Arc::default();
        let scene = Self {
            queue,
            builds,
            build_events,
            app,
            wire,
            repository,
            by,
            rival,
            limits,
            environments,
            kind,
            reviewers,
            known,
        };
        match kind {
            Kind::Plain => {}
            Kind::Rules => scene.protect(),
            Kind::Builds => scene.require_approvals(),
        }
        scene
    }

    pub(super) fn random<T>(&self, draw: impl FnOnce(&mut Random) -> T) -> T {
        draw(&mut self.wire.services().random)
    }

    /// Returns the terms of the consumers.
    pub(super) fn terms(&self) -> Terms {
        Terms { lease: LEASE, time_limit: Duration::from_secs(600), builds: self.limits.stack }
    }

    /// Creates a deployment of the other account.
    async fn create_elsewhere(self) {
        let (repository, by) = &self.rival;
        let at = self.random(|random| random.below(Environment::BUILT_IN.len()));
        let id = self.random_id();
        let (table, environment) = (self.app.table(), Environment::BUILT_IN[at]);
        let Ok(counts) = DeploymentCounts::load(table, &repository.partition()).await else { return };
        let settings = EnvironmentSettings::load(table, &repository.account_id, &repository.id, environment).await;
        let Ok(settings) = settings else { return };
        let destination = Destination { settings: settings.clone(), pattern: None };
        let new = self.new_deployment(id, environment, destination, Fences::default());
        let now = self.app.clock().now();
        if let Ok(created) = Deployment::create(table, repository, &counts, new, by, now).await {
            self.queue.announce(&self.app, &created, &settings).await;
        }
    }

    fn random_id(&self) -> DeploymentId {
        let id: String = self.random(|random| {
            (0..16).map(|_| char::from(b"abcdefghijklmnopqrstuvwxyz234567"[random.below(32)])).collect()
        });
        format!("deploy_{id}").parse().unwrap()
    }

    fn new_deployment(
        &self,
        id: DeploymentId,
        environment: Environment,
        Destination { settings, pattern }: Destination,
        fences: Fences,
    ) -> NewDeployment {
        NewDeployment {
            source: shared::model::SourceSettings::default(),
            machine: shared::model::BuildMachine::default(),
            id,
            environment,
            git_ref: "main".to_owned(),
            ref_name: None,
            on_ref: None,
            on_no_ref: false,
            sha: self.sha(),
            commit: None,
            variables: DeploymentVariables::default(),
            variable_names: Vec::new(),
            settings,
            pattern,
            override_reason: None,
            origin: None,
            push: None,
            fences,
            once: None,
        }
    }

    /// Creates a deployment as its endpoint does.
    async fn create(self) {
        let environment = self.random(|random| self.environments[random.below(self.environments.len())]);
        let id = self.random_id();
        // A third of the creations expects one of the earlier deployments to be the newest, and a third has a sequence.
        let earlier = self.known.lock().unwrap().created.clone();
        let expected_current = self.random(|random| match random.below(3) {
            0 if !earlier.is_empty() => Some(earlier[earlier.len() - 1 - random.below(earlier.len().min(2))].clone()),
            _ => None,
        });
        let sequence = self.random(|random| (random.below(3) == 0).then(|| random.below(6) as u64));
        let table = self.app.table();
        let Ok(Some(destination)) = Destination::load(table, &self.repository, environment).await else { return };
        let settings = destination.settings.clone();
        let Ok(counts) = DeploymentCounts::load(table, &self.repository.partition()).await else { return };
        {
            let mut known = self.known.lock().unwrap();
            known.sequences.extend(sequence.map(|sequence| (id.clone(), sequence)));
            known.expected.extend(expected_current.clone().map(|expected| (id.clone(), expected)));
        }
        let new = self.new_deployment(id, environment, destination, Fences { expected_current, sequence });
        let now = self.app.clock().now();
        let created = Deployment::create(table, &self.repository, &counts, new, &self.by, now).await;
        let Ok(created) = created else {
            self.known.lock().unwrap().tally.refused_by_a_fence +=
                u64::from(matches!(created, Err(CreateFailed::Stale(_))));
            return;
        };
        self.known.lock().unwrap().created.push(created.id.clone());
        self.queue.announce(&self.app, &created, &settings).await;
    }

    /// Approves a deployment as its endpoint does.
    async fn approve(self, id: DeploymentId, by: Author) {
        let (table, now) = (self.app.table(), self.app.clock().now());
        let Ok(Some(found)) = Deployment::load(table, &self.repository.account_id, &id).await else { return };
        let is_open = found.status == Status::Queued && !found.is_approved() && !found.is_overdue(now);
        if !is_open || found.approved_by.contains(by.user_id()) {
            return;
        }
        let approve = Transition::Approve(by.user_id().clone());
        if let Ok(approved) = found.transition_by(&by, Action::DeploymentApproved, table, approve, now).await {
            let _ = self.queue.send_when_ready(&self.app, &approved).await;
        }
    }

    /// Consumes a message, which is delivered again unless the consumer is done with it.
    async fn consume(self, message: DeploymentMessage) {
        if Box::pin(self.clone().try_to_consume(&message)).await.is_none() {
            self.wire.services().sent.push(json!(message));
        }
    }

    async fn try_to_consume(self, message: &DeploymentMessage) -> Option<()> {
        let table = self.app.table();
        let Some(found) = Deployment::load(table, &message.account_id, &message.deployment_id).await.ok()? else {
            return Some(());
        };
        match dispatch(&self.app, &self.queue, found, self.terms()).await.ok()? {
            Dispatched::Claimed(claimed) if self.kind == Kind::Builds => self.build(&claimed).await,
            Dispatched::Claimed(claimed) => self.work(&claimed).await,
            Dispatched::InBuild(deployment) => self.builds.stop_if_canceled(&deployment).await.ok(),
            Dispatched::Held => None,
            _ => Some(()),
        }
    }

    /// Runs a claimed deployment in the consumer, to its end.
    async fn work(&self, claimed: &Deployment) -> Option<()> {
        // CodeBuild has no capacity for the build. A consumer that can't write this down is a lost runner.
        if self.random(|random| random.below(8)) == 0 {
            return claimed.await_capacity(self.app.table(), self.app.clock().now()).await.ok().map(drop);
        }
        let (running, is_canceled) = self.hold(claimed, 4, 8).await?;
        let end = match self.random(|random| random.below(3)) {
            _ if is_canceled => Transition::Cancel,
            0 => Transition::Fail(Failure::new(FailureCode::CommandFailed, "it failed")),
            _ => Transition::Succeed,
        };
        // The processes of a build end before the deployment does.
        drop(running);
        finish(&self.app, &self.queue, claimed, end).await.ok().map(drop)
    }

    /// Holds a claimed deployment for fewer than `most` renewals of its lease. Returns its run, and whether somebody has asked to cancel
    /// it. Returns `None` if the lease is lost, or if the consumer is told to stop, which happens at one of `stops` renewals.
    pub(super) async fn hold(&self, claimed: &Deployment, most: usize, stops: usize) -> Option<(Running, bool)> {
        let (table, clock) = (self.app.table(), self.app.clock());
        let running = Running::start(&self.known, Run::of(claimed), claimed.fence, clock, self.limits_of(claimed));
        let mut is_canceled = false;
        for _ in 0..self.random(|random| random.below(most)) {
            step().await;
            // Its function is replaced.
            if self.random(|random| random.below(stops)) == 0 {
                drop(running);
                let _ = claimed.report(table, Transition::GiveBack, Actor::Runner, clock.now()).await;
                return None;
            }
            let until = clock.now().plus(LEASE);
            match claimed.renew_lease(table, clock.now(), until).await {
                Ok(Some(renewed)) => {
                    running.renew(until);
                    is_canceled |= renewed.cancel_requested_by.is_some();
                }
                Ok(None) => return None,
                Err(_) if running.is_over(clock) => return None,
                Err(_) => {}
            }
        }
        (!running.is_over(clock)).then_some((running, is_canceled))
    }

    pub(super) fn rival(&self) -> &shared::model::Repository {
        &self.rival.0
    }

    pub(super) fn limits_of(&self, claimed: &Deployment) -> PermitLimits {
        let is_rival = claimed.account_id != self.repository.account_id;
        let account = if is_rival { self.limits.account.max(2) } else { self.limits.account };
        PermitLimits { account, ..self.limits }
    }

    /// Cancels a deployment as its endpoint does.
    async fn cancel(self, id: DeploymentId) {
        let table = self.app.table();
        if let Ok(Some(found)) = Deployment::load(table, &self.repository.account_id, &id).await {
            let _ = found.cancel(table, &self.by, self.app.clock().now()).await;
        }
    }

    /// Invokes the sweep.
    async fn sweep(self) {
        let mut context = lambda_runtime::Context::default();
        context.deadline = self.app.clock().now().plus(Duration::from_secs(60)).as_millis().unsigned_abs();
        let event = lambda_runtime::LambdaEvent::new(serde::de::IgnoredAny, context);
        let _ = sweep::Sweep::new(&self.app).unwrap().invoke(event).await;
    }

    /// Makes the next sweep compare every counter.
    fn forget_the_last_recount(&self) {
        let key = json!({"pk": {"S": "RECOUNT"}, "sk": {"S": "RECOUNT"}});
        self.by_hand("DeleteItem", json!({"TableName": "table", "Key": key}));
    }

    /// Adds to a counter behind the functions' back.
    fn falsify_a_counter(&self) {
        let counter = format!("ACCT#{}#REPO#{}", self.repository.account_id, self.repository.id);
        let by = self.random(|random| random.below(5)).to_string();
        self.by_hand(
            "UpdateItem",
            json!({
                "TableName": "table",
                "Key": {"pk": {"S": counter}, "sk": {"S": "DEPLOYS"}},
                "UpdateExpression": "ADD #count :by",
                "ExpressionAttributeNames": {"#count": "production.queued"},
                "ExpressionAttributeValues": {":by": {"N": by}},
            }),
        );
        self.wire.services().drifted = true;
    }

    /// Calls DynamoDB as an operator.
    fn by_hand(&self, operation: &str, request: Value) {
        let (status, answer) = self.wire.services().ask(operation, &request.to_string());
        assert_eq!(status, 200, "{answer}");
    }

    /// Takes any message from the queue.
    fn take_message(&self) -> Option<DeploymentMessage> {
        let mut services = self.wire.services();
        let waiting = services.sent.len();
        if waiting == 0 {
            return None;
        }
        let at = services.random.below(waiting);
        Some(serde_json::from_value(services.sent.swap_remove(at)).unwrap())
    }

    /// Runs functions under faults. The seed alone decides their order.
    pub(super) fn chaos(&self) {
        self.wire.services().faults = true;
        let recounts = self.wire.services().recounts;
        let drifts = recounts && self.random(|random| random.below(2)) == 0;
        let mut tasks: Vec<Task> = Vec::new();
        for _ in 0..3 {
            tasks.push(Box::pin(self.clone().create()));
        }
        for _ in 0..2 {
            tasks.push(Box::pin(self.clone().create_elsewhere()));
        }
        for _ in 0..150 + self.random(|random| random.below(150)) {
            if self.kind == Kind::Builds && self.random(|random| random.below(4)) == 0 {
                self.go_on_in_codebuild(&mut tasks);
            }
            if self.kind.has_rules() && self.random(|random| random.below(10)) == 0 {
                let created = self.known.lock().unwrap().created.clone();
                if !created.is_empty() {
                    let id = created[self.random(|random| random.below(created.len()))].clone();
                    let by = self.reviewers[self.random(|random| random.below(self.reviewers.len()))].clone();
                    tasks.push(Box::pin(self.clone().approve(id, by)));
                }
            }
            match self.random(|random| random.below(100)) {
                0..=2 if self.known.lock().unwrap().created.len() < 5 => tasks.push(Box::pin(self.clone().create())),
                0..=1 => tasks.push(Box::pin(self.clone().create_elsewhere())),
                3..=9 => {
                    tasks.extend(self.take_message().map(|message| Box::pin(self.clone().consume(message)) as Task))
                }
                // The message is delivered twice.
                10..=11 => tasks.extend(self.take_message().map(|message| {
                    self.wire.services().sent.push(json!(message));
                    Box::pin(self.clone().consume(message)) as Task
                })),
                // The message is lost.
                12 => drop(self.take_message()),
                13 => {
                    let created = self.known.lock().unwrap().created.clone();
                    if !created.is_empty() {
                        let id = created[self.random(|random| random.below(created.len()))].clone();
                        tasks.push(Box::pin(self.clone().cancel(id)));
                    }
                }
                14..=15 => tasks.push(Box::pin(self.clone().sweep())),
                16..=18 => {
                    let seconds = self.random(|random| 1 + random.below(40)) as u64;
                    self.app.clock().advance(Duration::from_secs(seconds));
                }
                // The function dies at one of its awaits.
                19..=20 if !tasks.is_empty() => {
                    let dies = self.random(|random| random.below(tasks.len()));
                    drop(tasks.swap_remove(dies));
                }
                21 if recounts => self.forget_the_last_recount(),
                22 if drifts => self.falsify_a_counter(),
                // Time for CodeBuild's own limits, and for approvals to come too late.
                23 if self.kind == Kind::Builds => self.app.clock().advance(Duration::from_secs(20 * 60)),
                // Events of builds that come when their runners count as lost.
                24..=25 if self.kind == Kind::Builds => self.app.clock().advance(LEASE),
                _ if tasks.is_empty() => {}
                _ => {
                    let next = self.random(|random| random.below(tasks.len()));
                    if poll(tasks[next].as_mut()).is_ready() {
                        drop(tasks.swap_remove(next));
                    }
                }
            }
        }
        self.wire.services().faults = false;
    }

    /// Runs the sweep and delivers messages without faults until nothing is left to do.
    pub(super) fn calm(&self) {
        // A rule may hold a deployment back until it has waited for a day.
        let rounds = if self.kind.has_rules() { 350 } else { 60 };
        for _ in 0..rounds {
            self.app.clock().advance(Duration::from_secs(301));
            run(self.clone().sweep());
            self.calm_codebuild();
            for _ in 0..20 {
                let Some(message) = self.take_message() else { break };
                run(self.clone().consume(message));
            }
            let unfinished = (0..Due::SHARDS).any(|shard| {
                let end = Timestamp::from_millis(i64::MAX);
                !run(Due::page(self.app.table(), shard, end, None, 1)).unwrap().is_empty()
            });
            if !unfinished && self.wire.services().sent.is_empty() && !self.wire.services().codebuild.is_busy() {
                break;
            }
        }
        // The last sweeps see the permits that the last ends gave back.
        self.forget_the_last_recount();
        for _ in 0..2 {
            self.app.clock().advance(Duration::from_secs(60));
            run(self.clone().sweep());
        }
    }
}
