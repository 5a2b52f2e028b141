//! CodeBuild as the functions see it: builds that wait for a machine, run and end, and the events about them.

use serde_json::{Value, json};
use shared::clock::{Clock, Rfc3339, Timestamp};
use shared::id::{AccountId, DeploymentId};
use tests::Random;

/// The project of the builds.
pub(super) const PROJECT: &str = "git-api";
/// The number of builds that may wait for a machine. CodeBuild refuses further ones.
const MAX_QUEUED: usize = 1;

/// CodeBuild and the events that are on their way from it.
#[derive(Default)]
pub(crate) struct CodeBuild {
    pub(super) clock: Clock,
    /// The number of builds that run at once.
    pub(super) machines: usize,
    pub(super) builds: Vec<Build>,
    /// The events that were not delivered yet, each with the number of its deliveries that failed.
    pub(super) events: Vec<(Value, u8)>,
    /// The number of builds that were refused.
    pub(super) refused: u64,
}

/// A build.
#[derive(Clone, Debug)]
pub(super) struct Build {
    pub(super) id: String,
    pub(super) account: AccountId,
    pub(super) deployment: DeploymentId,
    pub(super) attempt: u32,
    token: String,
    submitted_at: Timestamp,
    /// The number of minutes after which CodeBuild stops the build.
    minutes: i64,
    queued_minutes: i64,
    pub(super) left_queue_at: Option<Timestamp>,
    pub(super) ended: Option<(&'static str, Timestamp)>,
}

/// A phase of a build: its name, its status if it has ended, and the time of its start.
struct Phase(&'static str, Option<&'static str>, Timestamp);

impl CodeBuild {
    /// Answers a call of CodeBuild or Secrets Manager.
    pub(super) fn call(&mut self, operation: &str, body: &str) -> (u16, String) {
        let request: Value = serde_json::from_str(body).unwrap();
        let answer = match operation {
            "StartBuild" => self.start(&request),
            "StopBuild" => {
                let found = self.builds.iter().position(|build| request["id"] == build.id);
                found.map(|at| {
                    self.end(at, "STOPPED");
                    json!({"build": {"id": request["id"]}})
                })
            }
            "BatchGetBuilds" => {
                let asked = request["ids"].as_array().unwrap();
                let found = self.builds.iter().filter(|build| asked.contains(&json!(build.id)));
                Some(json!({"builds": found.map(Build::description).collect::<Vec<_>>()}))
            }
            "DeleteSecret" => Some(json!({})),
            other => panic!("the operation {other} is missing here"),
        };
        match answer {
            Some(answer) => (200, answer.to_string()),
            None => (400, json!({"__type": "AccountLimitExceededException", "message": "too many builds"}).to_string()),
        }
    }

    /// Puts a build into the queue, unless too many wait there. A repeated request gets the build that the first one has started.
    fn start(&mut self, request: &Value) -> Option<Value> {
        let token = request["idempotencyToken"].as_str().unwrap();
        if let Some(known) = self.builds.iter().find(|build| build.token == token) {
            return Some(json!({"build": {"id": known.id}}));
        }
        let queued = self.builds.iter().filter(|build| build.ended.is_none() && build.left_queue_at.is_none()).count();
        if queued >= MAX_QUEUED {
            self.refused += 1;
            return None;
        }
        let variables = request["environmentVariablesOverride"].as_array().unwrap();
        let value = |name: &str| {
            let variable = variables.iter().find(|variable| variable["name"] == name).unwrap();
            variable["value"].as_str().unwrap()
        };
        let build = Build {
            id: format!("{PROJECT}:{}", self.builds.len()),
            account: value(builds::ACCOUNT_VARIABLE).parse().unwrap(),
            deployment: value(builds::DEPLOYMENT_VARIABLE).parse().unwrap(),
            attempt: value(builds::ATTEMPT_VARIABLE).parse().unwrap(),
            token: token.to_owned(),
            submitted_at: self.clock.now(),
            minutes: request["timeoutInMinutesOverride"].as_i64().unwrap(),
            queued_minutes: request["queuedTimeoutInMinutesOverride"].as_i64().unwrap(),
            left_queue_at: None,
            ended: None,
        };
        let answer = json!({"build": {"id": build.id}});
        self.events.push((build.event(Some("IN_PROGRESS"), self.clock.now()), 0));
        self.builds.push(build);
        Some(answer)
    }

    /// Returns whether a build has not ended.
    pub(super) fn is_busy(&self) -> bool {
        self.builds.iter().any(|build| build.ended.is_none())
    }

    /// Lets a build go on: it gets a machine if one is free, or ends.
    pub(super) fn advance(&mut self, random: &mut Random) {
        let now = self.clock.now();
        for at in 0..self.builds.len() {
            if self.builds[at].is_late(now) {
                self.end(at, "TIMED_OUT");
            }
        }
        let going = |build: &Build| build.ended.is_none();
        let running = self.builds.iter().filter(|build| going(build) && build.left_queue_at.is_some()).count();
        let may_go_on = |build: &Build| going(build) && (build.left_queue_at.is_some() || running < self.machines);
        let candidates: Vec<_> = (0..self.builds.len()).filter(|at| may_go_on(&self.builds[*at])).collect();
        if candidates.is_empty() {
            return;
        }
        let at = candidates[random.below(candidates.len())];
        if self.builds[at].left_queue_at.is_some() {
            self.end(at, ["SUCCEEDED", "SUCCEEDED", "SUCCEEDED", "FAILED", "FAULT"][random.below(5)]);
        } else if random.below(6) == 0 {
            self.end(at, "FAULT");
        } else {
            self.builds[at].left_queue_at = Some(now);
            self.events.push((self.builds[at].event(None, now), 0));
        }
    }

    fn end(&mut self, at: usize, status: &'static str) {
        let now = self.clock.now();
        let build = &mut self.builds[at];
        if build.ended.is_none() {
            build.ended = Some((status, now));
            self.events.push((build.event(Some(status), now), 0));
        }
    }
}

impl Build {
    /// Returns whether CodeBuild's own limit of the build's time is over.
    fn is_late(&self, now: Timestamp) -> bool {
        let (since, minutes) = match self.left_queue_at {
            Some(at) => (at, self.minutes),
            None => (self.submitted_at, self.queued_minutes),
        };
        self.ended.is_none() && now.as_millis() - since.as_millis() >= minutes * 60_000
    }

    fn phases(&self) -> Vec<Phase> {
        let end = self.ended.map(|(status, _)| status);
        let submitted = Phase("SUBMITTED", Some("SUCCEEDED"), self.submitted_at);
        match self.left_queue_at {
            None => vec![submitted, Phase("QUEUED", end, self.submitted_at)],
            Some(at) => vec![
                submitted,
                Phase("QUEUED", Some("SUCCEEDED"), self.submitted_at),
                Phase("PROVISIONING", Some("SUCCEEDED"), at),
                Phase("BUILD", end, at),
            ],
        }
    }

    /// Returns the answer to a question about the build.
    fn description(&self) -> Value {
        let phases = self.phases().into_iter().map(|Phase(name, status, at)| match status {
            Some(status) => json!({"phaseType": name, "phaseStatus": status, "startTime": at.as_seconds()}),
            None => json!({"phaseType": name, "startTime": at.as_seconds()}),
        });
        let status = self.ended.map_or("IN_PROGRESS", |(status, _)| status);
        json!({"id": self.id, "buildStatus": status, "phases": phases.collect::<Vec<_>>()})
    }

    /// Returns the event that the build has this status, or that it has left the queue.
    fn event(&self, status: Option<&str>, now: Timestamp) -> Value {
        let phases = self.phases().into_iter().map(|Phase(name, status, at)| {
            let at = jiff::Timestamp::from_second(at.as_seconds()).unwrap().to_zoned(jiff::tz::TimeZone::UTC);
            let at = at.strftime("%b %-d, %Y %-I:%M:%S %p").to_string();
            json!({"phase-type": name, "phase-status": status, "phase-context": [], "start-time": at})
        });
        let variables = [
            (builds::DEPLOYMENT_VARIABLE, self.deployment.to_string()),
            (builds::ACCOUNT_VARIABLE, self.account.to_string()),
            (builds::ATTEMPT_VARIABLE, self.attempt.to_string()),
        ];
        let variables = variables.map(|(name, value)| json!({"name": name, "type": "PLAINTEXT", "value": value}));
        let kind = if status.is_some() { "State" } else { "Phase" };
        json!({
            "detail-type": format!("CodeBuild Build {kind} Change"),
            "time": Rfc3339(now),
            "detail": {
                "build-status": status,
                "project-name": PROJECT,
                "build-id": format!("arn:aws:codebuild:us-east-1:123456789012:build/{}", self.id),
                "additional-information": {
                    "environment": {"environment-variables": variables},
                    "phases": phases.collect::<Vec<_>>(),
                },
            },
        })
    }
}
