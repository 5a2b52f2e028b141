//! Environments with rules, and the check that nothing broke one.

use serde_json::json;
use shared::model::{Deployment, Environment, EnvironmentChange, EnvironmentSettings, Status};

use super::run;
use super::scene::Scene;

impl Scene {
    /// Gives both environments rules whose times are those of the chaos.
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
        let production = EnvironmentChange {
            required_approvals: Some(Some(self.random(|random| random.below(3) as u8))),
            approval_timeout_seconds: Some(Some(3600)),
            requires: Some(serde_json::from_value(json!(["staging"])).unwrap()),
            ..staging.clone()
        };
        for (environment, change) in [(Environment::STAGING, staging), (Environment::PRODUCTION, production)] {
            let (table, tenant, now) = (self.app.table(), self.repository.tenant(), self.app.clock().now());
            run(EnvironmentSettings::change(table, tenant, &self.repository, environment, &change, &self.by, now))
                .unwrap();
        }
    }

    /// Returns one of two commits, if rules compare commits.
    pub(super) fn sha(&self) -> String {
        let digit = if self.protected { self.random(|random| ["0", "1"][random.below(2)]) } else { "0" };
        digit.repeat(40)
    }

    /// Checks the rules on the events. Returns the number of deployments that started although a rule held them back first.
    pub(super) async fn check_rules(&self, rows: &[Deployment]) -> Result<u64, String> {
        let table = self.app.table();
        let mut held_back = 0;
        for row in rows {
            let (account, repository) = (&row.account_id, &row.repository_id);
            let settings = EnvironmentSettings::load(table, account, repository, row.environment).await.unwrap();
            let wrong = |what: &str| Err(format!("deployment {} in {:?} {what}", row.number, row.environment));
            let has_succeeded = |environment| {
                rows.iter().any(|other| {
                    (other.environment, &other.sha, other.status) == (environment, &row.sha, Status::Succeeded)
                })
            };
            if !settings.requires.iter().all(has_succeeded) {
                return wrong("was created before its commit has succeeded in staging");
            }
            let events = row.events(table, 0, 100).await.unwrap();
            let Some(start) = events.iter().find(|event| event.status == Status::InProgress) else { continue };
            if settings.freeze(start.at).is_some() {
                return wrong(&format!("started at {}, in a freeze window", start.at));
            }
            if row.wait_until.is_some_and(|until| until > start.at) {
                return wrong(&format!("started at {}, before its wait was over", start.at));
            }
            let is_approval = |reason: &str| reason.starts_with("approved");
            let given = events.iter().filter(|event| event.number < start.number && is_approval(&event.reason)).count();
            if given < usize::from(row.required_approvals) {
                return wrong(&format!("started with {given} approvals"));
            }
            let has_waited = row.wait_until.is_some() || row.required_approvals > 0;
            held_back += u64::from(has_waited || settings.freeze(row.created_at).is_some());
        }
        Ok(held_back)
    }
}
