//! Environments with rules, and the check that nothing broke one.

use std::time::Duration;

use serde_json::json;
use shared::model::{
    Deployment, Environment, EnvironmentChange, EnvironmentSettings, FailureCode, NewEnvironment, Status,
};

use super::build::Tally;
use super::run;
use super::scene::{Kind, Scene};

/// The time that a deployment to the second environment has for its approvals.
const APPROVAL_TIMEOUT: Duration = Duration::from_secs(3600);

impl Scene {
    /// Gives both environments rules whose times are those of the chaos. Those that are not built in are created first: the first
    /// by its name, and the pattern of the second.
    pub(super) fn protect(&self) {
        let wait = self.random(|random| [0, 30, 1200][random.below(3)]);
        let minutes = self.random(|random| [1, 40, 1300][random.below(3)]);
        // The clock starts at noon.
        let window = json!([{"cron": "1 13 * * *", "duration_seconds": minutes * 60, "time_zone": "Europe/Berlin"}]);
        let staging = EnvironmentChange {
            wait_seconds: Some(Some(wait)),
            freeze_windows: Some(serde_json::from_value(window.clone()).unwrap()),
            ..EnvironmentChange::default()
        };
        let [first, second] = self.environments[..] else { panic!("there are two environments") };
        let second = if second.is_built_in() { second } else { "review-*".parse().unwrap() };
        let now = self.app.clock().now();
        for name in [first, second].into_iter().filter(|name| !name.is_built_in()) {
            let removed_after_days = name.is_pattern().then_some(30);
            let new = NewEnvironment { name, removed_after_days };
            run(new.create(self.app.table(), &self.repository, &self.by, now)).unwrap();
        }
        let production = EnvironmentChange {
            required_approvals: Some(Some(self.random(|random| random.below(3) as u8))),
            approval_timeout_seconds: Some(Some(APPROVAL_TIMEOUT.as_secs() as u32)),
            requires: Some(serde_json::from_value(json!([first])).unwrap()),
            ..staging.clone()
        };
        for (environment, change) in [(first, staging), (second, production)] {
            self.change(environment, &change);
        }
    }

    /// Requires approvals in the second environment.
    pub(super) fn require_approvals(&self) {
        let change = EnvironmentChange {
            required_approvals: Some(Some(self.random(|random| 1 + random.below(2) as u8))),
            approval_timeout_seconds: Some(Some(APPROVAL_TIMEOUT.as_secs() as u32)),
            ..EnvironmentChange::default()
        };
        self.change(self.environments[1], &change);
    }

    fn change(&self, environment: Environment, change: &EnvironmentChange) {
        let (table, now) = (self.app.table(), self.app.clock().now());
        let check = |_: &_, after: &_| change.check(environment, after);
        run(EnvironmentSettings::change(table, &self.repository, environment, change, check, &self.by, now)).unwrap();
    }

    /// Returns one of two commits, if rules compare commits.
    pub(super) fn sha(&self) -> String {
        let digit = if self.kind == Kind::Rules { self.random(|random| ["0", "1"][random.below(2)]) } else { "0" };
        digit.repeat(40)
    }

    /// Checks the rules on the events. Counts the deployments that started although a rule held them back first, and those that ended
    /// because their commit did not succeed in a required environment.
    pub(super) async fn check_rules(&self, rows: &[Deployment], tally: &mut Tally) -> Result<(), String> {
        let table = self.app.table();
        for row in rows {
            let (account, repository) = (&row.account_id, &row.repository_id);
            let settings = EnvironmentSettings::load(table, account, repository, row.environment).await.unwrap();
            let wrong = |what: &str| Err(format!("deployment {} in {:?} {what}", row.number, row.environment));
            let of_commit = |environment| {
                rows.iter().filter(move |other| (other.environment, &other.sha) == (environment, &row.sha))
            };
            let has_succeeded = |environment| of_commit(environment).any(|other| other.status == Status::Succeeded);
            let was_on_its_way = |environment| {
                let is_ahead =
                    |other: &Deployment| other.number < row.number && other.finished_at >= Some(row.created_at);
                of_commit(environment).any(is_ahead)
            };
            if !settings.requires.iter().all(|required| has_succeeded(required) || was_on_its_way(required)) {
                return wrong(
                    "was created, and its commit neither has succeeded where it has to nor was on its way there",
                );
            }
            let events = row.events(table, 0, 100).await.unwrap();
            let is_unmet = row.failure.as_ref().is_some_and(|failure| failure.code == FailureCode::RequirementNotMet);
            if is_unmet && events.iter().any(|event| event.status == Status::InProgress) {
                return wrong("started, and failed because its commit has not succeeded where it has to");
            }
            tally.unmet += u64::from(is_unmet);
            let is_approval = |reason: &str| reason.starts_with("approved");
            let has_expired = row.failure.as_ref().is_some_and(|failure| failure.code == FailureCode::ApprovalExpired);
            if has_expired {
                let given = events.iter().filter(|event| is_approval(&event.reason)).count();
                let is_late = row.finished_at >= Some(row.created_at.plus(APPROVAL_TIMEOUT));
                let has_started = events.iter().any(|event| event.status == Status::InProgress);
                if given >= usize::from(row.required_approvals) || !is_late || has_started {
                    return wrong(&format!("failed for lack of approvals, with {given}, at {:?}", row.finished_at));
                }
            }
            tally.expired += u64::from(has_expired);
            tally.by_name += u64::from(!row.environment.is_built_in());
            let Some(start) = events.iter().find(|event| event.status == Status::InProgress) else { continue };
            if !settings.requires.iter().all(has_succeeded) {
                return wrong("started, and its commit has not succeeded where it has to");
            }
            if settings.freeze(start.at).is_some() {
                return wrong(&format!("started at {}, in a freeze window", start.at));
            }
            if row.wait_until.is_some_and(|until| until > start.at) {
                return wrong(&format!("started at {}, before its wait was over", start.at));
            }
            let given = events.iter().filter(|event| event.number < start.number && is_approval(&event.reason)).count();
            if given < usize::from(row.required_approvals) {
                return wrong(&format!("started with {given} approvals"));
            }
            tally.met += u64::from(events.iter().any(|event| event.reason.starts_with("the commit has succeeded in")));
            let (was_frozen, has_waited) = (settings.freeze(row.created_at).is_some(), row.wait_until.is_some());
            tally.starts_after_a_freeze += u64::from(was_frozen);
            tally.starts_after_a_rule += u64::from(was_frozen || has_waited || row.required_approvals > 0);
        }
        Ok(())
    }
}
