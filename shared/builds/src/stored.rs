//! The files that a build has stored in the archive by itself: its artifacts, within what the account's plan allows, and its test
//! reports, which become a summary.
//!
//! A build chooses what it stores, so nothing of it is trusted: the numbers and sizes of files that are looked at, the memory, and
//! the time have bounds.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use archive::Artifact;
use futures_util::future::{try_join, try_join_all};
use junit::{MAX_BYTES, MAX_FILES, MAX_TOTAL_BYTES};
use redaction::{REDACTED, Redaction};
use shared::model::{BuildId, Deployment, Failure, FailureCode, Plan, TestSummary, Transition};
use tokio::task::spawn_blocking;
use tokio::time::{Instant, timeout, timeout_at};

use crate::client::Builds;
use crate::error::Error;
use crate::report::Report;

/// The time in which the test reports of a build are read. The events of a build have 29 seconds.
const READ_TIME: Duration = Duration::from_secs(10);
/// The maximum number of test reports that are read at once.
const BATCH: usize = 16;
/// The maximum size of the test reports that are read at once, in bytes. A report has at most [`MAX_BYTES`].
const BATCH_BYTES: u64 = 16 << 20;
/// The findings about the files that a build has stored.
#[derive(Debug)]
pub(crate) struct StoredFiles {
    /// The failure that keeps the artifacts from being kept.
    refusal: Option<Failure>,
    /// The names of the build's secret variables, if it has exported variables or stored test reports.
    pub(crate) secret: BTreeSet<String>,
    /// The summary of the test reports.
    pub(crate) tests: Option<TestSummary>,
}

impl StoredFiles {
    /// Returns whether the artifacts are not kept.
    pub(crate) fn are_refused(&self) -> bool {
        self.refusal.is_some()
    }

    /// Returns the end of the deployment, which fails if its artifacts are not kept. A deployment that fails for another reason says so.
    pub(crate) fn end(&self, end: Transition) -> Transition {
        match (end, &self.refusal) {
            (Transition::Succeed, Some(refusal)) => Transition::Fail(refusal.clone()),
            (Transition::Fail(Failure { code, message }), Some(refusal)) => {
                Transition::Fail(Failure::new(code, format!("{message}. {}", refusal.message)))
            }
            (end, _) => end,
        }
    }
}

impl Builds {
    /// Looks at the files that the deployment's build has stored.
    pub(crate) async fn stored(&self, deployment: &Deployment, report: &Report) -> Result<StoredFiles, Error> {
        let reports = async { self.readable(self.reports(deployment).await) };
        let (refusal, reports) = try_join(self.refuses_artifacts(deployment), reports).await?;
        let secret = match report.exported.is_empty() && reports.is_empty() {
            true => BTreeSet::new(),
            false => self.secret_variables(deployment).await?,
        };
        let tests = match reports.is_empty() {
            true => None,
            false => {
                let redaction = self.redaction(deployment, &report.build, &secret).await?;
                self.readable(self.tests(&reports, redaction).await)?
            }
        };
        Ok(StoredFiles { refusal, secret, tests })
    }

    /// Leaves out what the archive does not have or can't name. A failure of the archive that passes stays one.
    fn readable<T: Default>(&self, read: Result<T, Error>) -> Result<T, Error> {
        match read {
            Err(Error::Archive(error)) if !error.is_passing() => {
                self.app.log().warn("the test reports of a build can't be read", &error);
                Ok(T::default())
            }
            read => read,
        }
    }

    /// Returns the failure of a build with more artifacts than the account's plan allows.
    async fn refuses_artifacts(&self, deployment: &Deployment) -> Result<Option<Failure>, Error> {
        let quota = Plan::of_account(self.app.table(), &deployment.account_id).await?.artifact_quota();
        let is_exceeded = |files, bytes| quota.is_exceeded(files, bytes);
        match self.archive.measure_artifacts(&deployment.artifacts_prefix(), is_exceeded).await {
            Ok((files, bytes)) => {
                let found = format!("at least {files} file(s) of {bytes} bytes");
                Ok(is_exceeded(files, bytes).then(|| quota.failure(&found)))
            }
            Err(error) if error.is_about_a_path() => {
                let message = "The artifacts are not kept: one of them has a path that the archive can't have";
                Ok(Some(Failure::new(FailureCode::ArtifactInvalid, message)))
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Returns the test reports that are read.
    async fn reports(&self, deployment: &Deployment) -> Result<Vec<Artifact>, Error> {
        // The buildspec is among the files, so that the reports are never without a file.
        let mut reports = self.archive.list_reports(&deployment.artifacts_prefix(), MAX_FILES + 1).await?;
        reports.retain(|report| report.path != deployment.source.buildspec_path.as_str());
        reports.truncate(MAX_FILES);
        let mut bytes = 0;
        reports.retain(|report| {
            let is_read = report.size <= MAX_BYTES && bytes + report.size <= MAX_TOTAL_BYTES;
            bytes += if is_read { report.size } else { 0 };
            is_read
        });
        Ok(reports)
    }

    /// Reads test reports. A file that can't be read is left out, and so are those that would take too long.
    ///
    /// # Errors
    /// Fails if other builds' reports take all of the time.
    async fn tests(&self, reports: &[Artifact], redaction: Option<Redaction>) -> Result<Option<TestSummary>, Error> {
        let waited = timeout(READ_TIME, self.reading.acquire()).await.map_err(|_| Error::Slow)?;
        let _reading = waited.expect("nothing closes it");
        let deadline = Instant::now() + READ_TIME;
        let redaction = Arc::new(redaction);
        let (mut summary, mut rest) = (None::<TestSummary>, reports);
        while !rest.is_empty() {
            let (batch, others) = rest.split_at(first_batch(rest));
            let files = try_join_all(batch.iter().map(|report| self.archive.read_whole(report)));
            let Ok(files) = timeout_at(deadline, files).await else {
                self.app.log().warn("the test reports of a build are not all read", &Error::Slow);
                break;
            };
            let (files, before, redaction) = (files?, summary.take(), redaction.clone());
            let added = move || {
                files.into_iter().flatten().fold(before, |sum, file| with(sum, &file, redaction.as_ref().as_ref()))
            };
            summary = spawn_blocking(added).await?;
            rest = others;
        }
        Ok(summary)
    }

    /// Returns the redaction of the build's secret variables, or `None` if they can't be read any more. A build has them by a secret.
    async fn redaction(
        &self,
        deployment: &Deployment,
        build: &BuildId,
        names: &BTreeSet<String>,
    ) -> Result<Option<Redaction>, Error> {
        if names.is_empty() {
            return Ok(Some(Redaction::new([])));
        }
        let secret = format!("{}/{}", build.project(), deployment.secret_name());
        let found = match self.secrets.get_secret_value().secret_id(secret).send().await {
            Err(error) if error.as_service_error().is_some_and(|error| error.is_resource_not_found_exception()) => {
                return Ok(None);
            }
            found => found.map_err(|error| Error::call("Secrets Manager", error))?,
        };
        let values: Option<BTreeMap<String, String>> =
            found.secret_string().and_then(|json| serde_json::from_str(json).ok());
        Ok(values.map(|values| Redaction::new(values.values().map(String::as_str))))
    }
}

/// Adds the tests of a report to a summary. Without a redaction, its texts are masked whole. Leaves out what is no report.
fn with(summary: Option<TestSummary>, file: &[u8], redaction: Option<&Redaction>) -> Option<TestSummary> {
    let Ok(one) = junit::read(file) else { return summary };
    let mut summary = summary.unwrap_or_default();
    summary.add(one, |text| match redaction {
        Some(redaction) => redaction.redact(text).into_owned(),
        None => REDACTED.to_owned(),
    });
    Some(summary)
}

/// Returns the number of the first reports that are read at once, which is at least one.
fn first_batch(reports: &[Artifact]) -> usize {
    let mut bytes = 0;
    let has_room = |report: &&Artifact| {
        bytes += report.size;
        bytes <= BATCH_BYTES
    };
    reports.iter().take(BATCH).take_while(has_room).count().max(1)
}
