//! EventBridge events of CodeBuild
//! (<https://docs.aws.amazon.com/codebuild/latest/userguide/sample-build-notifications.html>).

use builds::{ACCOUNT_VARIABLE, ATTEMPT_VARIABLE, BuildStatus, DEPLOYMENT_VARIABLE, PhaseReport, Report};
use serde::Deserialize;
use serde_json::Value;
use shared::InitError;
use shared::clock::{Time, Timestamp};
use shared::id::{AccountId, DeploymentId};
use shared::model::BuildId;

const STATE_CHANGE: &str = "CodeBuild Build State Change";
/// The event of a phase that has ended. The rule passes only that of the phase in which a build waits for a machine.
const PHASE_CHANGE: &str = "CodeBuild Build Phase Change";

/// An EventBridge event.
#[derive(Debug, Deserialize)]
pub struct Event {
    #[serde(default)]
    pub(crate) id: Option<String>,
    #[serde(rename = "detail-type")]
    kind: String,
    time: Time,
    detail: Value,
}

/// A report about the build of a deployment.
pub(crate) struct BuildUpdate {
    pub(crate) account: AccountId,
    pub(crate) deployment: DeploymentId,
    pub(crate) report: Report,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct StateChange {
    /// Absent in the event of a phase, after which another one begins or the build's end is told by an event of its own.
    #[serde(default)]
    build_status: Option<String>,
    project_name: String,
    /// An ARN that ends with the build's id.
    build_id: String,
    additional_information: Information,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Information {
    environment: BuildEnvironment,
    #[serde(default)]
    phases: Vec<Phase>,
    #[serde(default)]
    exported_environment_variables: Vec<Variable>,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct BuildEnvironment {
    #[serde(default)]
    environment_variables: Vec<Variable>,
}

#[derive(Deserialize)]
struct Variable {
    name: String,
    value: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Phase {
    phase_type: String,
    #[serde(default)]
    phase_status: Option<String>,
    #[serde(default)]
    phase_context: Vec<String>,
    #[serde(default)]
    start_time: Option<String>,
    #[serde(default)]
    duration_in_seconds: Option<u64>,
}

impl Event {
    /// Returns the update that the event has about a deployment's build in `project`, or `None` for any other event.
    pub(crate) fn update(self, project: &str) -> Result<Option<BuildUpdate>, InitError> {
        if self.kind != STATE_CHANGE && self.kind != PHASE_CHANGE {
            return Ok(None);
        }
        let change: StateChange = serde_json::from_value(self.detail)?;
        if change.project_name != project {
            return Ok(None);
        }
        let variables = &change.additional_information.environment.environment_variables;
        let value =
            |name: &str| variables.iter().find(|variable| variable.name == name).map(|found| found.value.as_str());
        // A build without a deployment was started by hand.
        let Some(deployment) = value(DEPLOYMENT_VARIABLE) else { return Ok(None) };
        let exported = &change.additional_information.exported_environment_variables;
        let exported = exported.iter().map(|one| (one.name.clone(), one.value.clone())).collect();
        let status = match (&change.build_status, &*self.kind) {
            (Some(status), _) => BuildStatus::parse(status)?,
            (None, PHASE_CHANGE) => BuildStatus::InProgress,
            (None, _) => return Err("the build has no status".into()),
        };
        let (_, build) = change.build_id.rsplit_once('/').ok_or("the build's ARN has no build id")?;
        Ok(Some(BuildUpdate {
            account: value(ACCOUNT_VARIABLE).ok_or("the build names no account")?.parse()?,
            deployment: deployment.parse()?,
            report: Report::of_event(
                build.parse::<BuildId>()?,
                value(ATTEMPT_VARIABLE).ok_or("the build names no attempt")?.parse()?,
                status,
                change.additional_information.phases.iter().map(Phase::report).collect(),
                exported,
                self.time.get(),
            ),
        }))
    }
}

impl Phase {
    fn report(&self) -> PhaseReport {
        let contexts = self.phase_context.iter().map(String::as_str);
        let started_at = self.start_time.as_deref().and_then(time);
        PhaseReport::new(&self.phase_type, self.phase_status.as_deref(), contexts)
            .taking(started_at, self.duration_in_seconds)
    }
}

/// Reads a time such as `Nov 24, 2025 10:16:10 AM`, which is in UTC.
fn time(text: &str) -> Option<Timestamp> {
    let time = jiff::civil::DateTime::strptime("%b %d, %Y %I:%M:%S %p", text).ok()?;
    let time = time.to_zoned(jiff::tz::TimeZone::UTC).ok()?;
    Some(Timestamp::from_millis(time.timestamp().as_millisecond()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_read_as_codebuild_writes_it() {
        let read = |text| time(text).map(|time| time.to_string());
        assert_eq!(read("Nov 24, 2025 10:16:10 AM").as_deref(), Some("2025-11-24T10:16:10Z"));
        assert_eq!(read("Sep 1, 2017 4:12:29 PM").as_deref(), Some("2017-09-01T16:12:29Z"));
        assert_eq!(read("Jan 1, 2026 12:00:00 AM").as_deref(), Some("2026-01-01T00:00:00Z"));
        assert_eq!(read("2025-11-24T10:16:10Z"), None);
    }
}
