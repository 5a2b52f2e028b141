//! Deployments that CodeBuild runs: their consumers, the events of their builds, and what must be true of the builds.

use std::collections::{BTreeMap, BTreeSet};

use builds::{ATTEMPT_VARIABLE, Start, StartFailed};
use lambda_runtime::{Context, LambdaEvent};
use serde_json::{Value, json};
use shared::dispatch::put_back;
use shared::model::{CapacityUsage, Deployment, Filter, Repository, Status};

use super::aws::Broken;
use super::build::Tally;
use super::codebuild::{Build, PROJECT};
use super::run;
use super::scene::{Scene, Task};

impl Scene {
    /// Prepares a build and hands the claimed deployment over to it, as the consumer does.
    pub(super) async fn build(&self, claimed: &Deployment) -> Option<()> {
        // The source is fetched and kept.
        let (running, _) = self.hold(claimed, 3, 12).await?;
        let start = Start {
            project: PROJECT,
            deployment: claimed,
            bucket: "archive",
            source: "source.zip",
            buildspec: "version: 0.2\n",
            artifacts: None,
            reports: None,
            cache: None,
            secrets: &BTreeMap::new(),
            plain: &BTreeMap::new(),
            time_limit: claimed.time_limit(self.terms().time_limit),
        };
        let handed_over = self.builds.hand_over(start).await;
        drop(running);
        match handed_over {
            Ok(()) => match Deployment::load(self.app.table(), &claimed.account_id, &claimed.id).await.ok()? {
                Some(found) => self.builds.stop_if_canceled(&found).await.ok(),
                None => Some(()),
            },
            Err(StartFailed::Refused(_)) => {
                put_back(&self.app, &self.queue, claimed, self.terms()).await.ok().map(drop)
            }
            Err(_) => None,
        }
    }

    /// Lets CodeBuild go on, or EventBridge deliver an event: any of them, once, twice or never.
    pub(super) fn go_on_in_codebuild(&self, tasks: &mut Vec<Task>) {
        match self.random(|random| random.below(10)) {
            0..=3 => self.advance_codebuild(),
            4..=5 => self.known.lock().unwrap().tally.lost_events += u64::from(self.take_event().is_some()),
            6 => tasks.extend(self.take_event().map(|event| {
                self.wire.services().codebuild.events.push(event.clone());
                self.known.lock().unwrap().tally.doubled_events += 1;
                Box::pin(self.clone().tell(event)) as Task
            })),
            _ => tasks.extend(self.take_event().map(|event| Box::pin(self.clone().tell(event)) as Task)),
        }
    }

    /// Lets CodeBuild go on, and checks what has changed.
    fn advance_codebuild(&self) {
        {
            let services = &mut *self.wire.services();
            services.codebuild.advance(&mut services.random);
        }
        self.note_builds();
    }

    /// Ends all builds and delivers all events.
    pub(super) fn calm_codebuild(&self) {
        while self.wire.services().codebuild.is_busy() {
            self.advance_codebuild();
        }
        while let Some(event) = self.take_event() {
            run(self.clone().tell(event));
        }
    }

    /// Takes any event.
    fn take_event(&self) -> Option<(Value, u8)> {
        let services = &mut *self.wire.services();
        let waiting = services.codebuild.events.len();
        (waiting > 0).then(|| services.codebuild.events.swap_remove(services.random.below(waiting)))
    }

    /// Invokes the function for an event. Lambda invokes it twice more if it fails.
    async fn tell(self, (mut event, failures): (Value, u8)) {
        let (_, id) = event["detail"]["build-id"].as_str().unwrap().rsplit_once('/').unwrap();
        let build = self.wire.services().codebuild.builds.iter().find(|build| build.id == id).unwrap().clone();
        let broken = self.wire.services().broken;
        if broken == Broken::Attempt
            && let Some(row) = self.row_of(&build)
        {
            let variables = &mut event["detail"]["additional-information"]["environment"]["environment-variables"];
            for variable in variables.as_array_mut().unwrap().iter_mut().filter(|one| one["name"] == ATTEMPT_VARIABLE) {
                variable["value"] = json!(row.attempt.to_string());
            }
        }
        let payload = serde_json::from_value(event.clone()).unwrap();
        let told = self.build_events.invoke(LambdaEvent::new(payload, Context::default())).await;
        match told {
            Ok(_) => {
                // A build that the deployment does not have has been stopped.
                let ended =
                    self.wire.services().codebuild.builds.iter().any(|one| one.id == build.id && one.ended.is_some());
                if !ended && !self.row_of(&build).is_some_and(|row| has(&row, &build)) {
                    self.known.lock().unwrap().wrong(format!("{} goes on, and no deployment has it", build.id));
                }
            }
            Err(_) if failures < 2 => self.wire.services().codebuild.events.push((event, failures + 1)),
            Err(_) => self.known.lock().unwrap().tally.lost_events += 1,
        }
    }

    /// Records a violation if a build goes on without its deployment, if two builds of a lane do, or if more deployments are in progress
    /// than may be. A build that was abandoned goes on until its first event: its runner died before the deployment had it.
    fn note_builds(&self) {
        let builds: Vec<_> = self.wire.services().codebuild.builds.clone();
        let mut lanes: BTreeMap<String, String> = BTreeMap::new();
        for build in builds.into_iter().filter(|build| build.ended.is_none()) {
            let Some(row) = self.row_of(&build).filter(|row| has(row, &build)) else { continue };
            if row.status != Status::InProgress {
                self.known.lock().unwrap().wrong(format!("{} is {:?}, and its build goes on", row.id, row.status));
            }
            if let Some(other) = lanes.insert(format!("{:?}", row.lane()), build.id.clone()) {
                self.known.lock().unwrap().wrong(format!("{other} and {} go on in one lane", build.id));
            }
        }
        let rows = self.all_rows();
        let in_progress: Vec<_> = rows.iter().filter(|row| row.status == Status::InProgress).collect();
        for row in &in_progress {
            let of_account = in_progress.iter().filter(|other| other.account_id == row.account_id).count();
            let limits = self.limits_of(row);
            if in_progress.len() > limits.stack || of_account > limits.account {
                let wrong = format!("{} are in progress, {of_account} of one account", in_progress.len());
                self.known.lock().unwrap().wrong(wrong);
            }
        }
    }

    /// Returns the deployment that a build was started for.
    fn row_of(&self, build: &Build) -> Option<Deployment> {
        self.look(Deployment::load(self.app.table(), &build.account, &build.deployment)).unwrap()
    }

    /// Returns the deployments of both accounts.
    fn all_rows(&self) -> Vec<Deployment> {
        let table = self.app.table();
        let of = |repository: &Repository| {
            self.look(Deployment::newest(table, repository, Filter::default(), None, 100)).unwrap()
        };
        [of(&self.repository), of(self.rival())].concat()
    }

    /// Runs a future without faults.
    fn look<T>(&self, future: impl Future<Output = T>) -> T {
        let faults = std::mem::replace(&mut self.wire.services().faults, false);
        let output = run(future);
        self.wire.services().faults = faults;
        output
    }

    /// Checks that each deployment has ended as its build did, and that the minutes are the times that builds have had a machine.
    pub(super) async fn check_builds(&self, tally: &mut Tally) -> Result<(), String> {
        let (builds, refused) = {
            let codebuild = &self.wire.services().codebuild;
            (codebuild.builds.clone(), codebuild.refused)
        };
        let (rows, mut seconds) = (self.all_rows(), BTreeMap::new());
        let mut recorded = BTreeSet::new();
        for row in &rows {
            let wrong = |what: &str| Err(format!("deployment {} of {}: {what}", row.number, row.account_id));
            let finished = row.finished_at.unwrap();
            let build = row.build.as_ref().map(|id| builds.iter().find(|build| build.id == id.as_str()).unwrap());
            let began = match build {
                Some(build) => {
                    recorded.insert(&build.id);
                    let (end, _) = build.ended.unwrap();
                    if build.attempt != row.attempt {
                        return wrong(&format!("its build is that of attempt {}, not {}", build.attempt, row.attempt));
                    }
                    if (row.status == Status::Succeeded) != (end == "SUCCEEDED") {
                        return wrong(&format!("it is {:?}, and its build {end}", row.status));
                    }
                    tally.without_machine += u64::from(build.left_queue_at.is_none());
                    build.left_queue_at
                }
                None if row.status == Status::Succeeded => return wrong("it has succeeded without a build"),
                None => row.started_at,
            };
            *seconds.entry(&row.account_id).or_insert(0) += began.map_or(0, |began| finished.since(began).as_secs());
        }
        for (account, seconds) in seconds {
            let usage = CapacityUsage::load(self.app.table(), account, self.app.clock().now()).await.unwrap();
            if usage.minutes.seconds != seconds {
                let counted = usage.minutes.seconds;
                return Err(format!("{counted} seconds are counted for {account}, whose builds took {seconds}"));
            }
        }
        tally.builds += recorded.len() as u64;
        tally.abandoned += (builds.len() - recorded.len()) as u64;
        tally.refused += refused;
        Ok(())
    }
}

/// Returns whether a deployment has this build.
fn has(row: &Deployment, build: &Build) -> bool {
    row.build.as_ref().is_some_and(|id| id.as_str() == build.id)
}
