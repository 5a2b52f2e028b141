//! The files that a build has stored in the archive by itself: its artifacts, within what the account's plan allows, and its test
//! reports, which become a summary.
//!
//! A build chooses what it stores, so nothing of it is trusted: the numbers and sizes of files that are looked at, the memory, and
//! the time have bounds.

use std::collections::BTreeMap;
use std::io::BufReader;
use std::time::Duration;

use archive::Artifact;
use futures_util::future::try_join_all;
use junit::{MAX_BYTES, MAX_FILES, MAX_TOTAL_BYTES};
use redaction::Redaction;
use shared::model::{BuildId, Deployment, Failure, FailureCode, Plan, TestSummary, Transition};
use tokio::time::{Instant, timeout_at};

use crate::client::Builds;
use crate::error::Error;

/// The time in which the test reports of a build are read. The events of a build have 29 seconds.
const READ_TIME: Duration = Duration::from_secs(10);
/// The maximum number of test reports that are read at once.
const BATCH: usize = 16;
/// The maximum size of the test reports that are read at once, in bytes. A report has at most [`MAX_BYTES`].
const BATCH_BYTES: u64 = 16 << 20;
/// The text in the place of one that may contain a secret.
const MASKED: &str = "***";

/// The findings about the files that a build has stored.
#[derive(Debug)]
pub(crate) struct StoredFiles {
    /// The failure that keeps the artifacts from being kept.
    refusal: Option<Failure>,
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
    pub(crate) async fn stored(&self, deployment: &Deployment, build: &BuildId) -> Result<StoredFiles, Error> {
        let refusal = self.refuses_artifacts(deployment).await?;
        let tests = match self.tests(deployment, build).await {
            Ok(tests) => tests,
            Err(Error::Archive(error)) if !error.is_passing() => {
                self.app.log().warn("the test reports of a build can't be read", &error);
                None
            }
            Err(error) => return Err(error),
        };
        Ok(StoredFiles { refusal, tests })
    }

    /// Returns the failure of a build with more artifacts than the account's plan allows.
    async fn refuses_artifacts(&self, deployment: &Deployment) -> Result<Option<Failure>, Error> {
        let prefix = deployment.artifacts_prefix();
        // Most builds keep nothing. The plan is read for the others.
        let found = async {
            if self.archive.measure_artifacts(&prefix, |_, _| true).await? == (0, 0) {
                return Ok(None);
            }
            let quota = Plan::of_account(self.app.table(), &deployment.account_id).await?.artifact_quota();
            let is_exceeded = |files, bytes| quota.is_exceeded(files, bytes);
            let (files, bytes) = self.archive.measure_artifacts(&prefix, is_exceeded).await?;
            let found = format!("at least {files} file(s) of {bytes} bytes");
            Ok::<_, Error>(is_exceeded(files, bytes).then(|| quota.failure(&found)))
        };
        match found.await {
            Err(Error::Archive(error)) if error.is_about_a_path() => {
                let message = "The artifacts are not kept: one of them has a path that the archive can't have";
                Ok(Some(Failure::new(FailureCode::ArtifactInvalid, message)))
            }
            found => found,
        }
    }

    /// Reads the test reports. A file that can't be read is left out.
    async fn tests(&self, deployment: &Deployment, build: &BuildId) -> Result<Option<TestSummary>, Error> {
        // The buildspec is among the files, so that the reports are never without a file.
        let mut reports = self.archive.list_reports(&deployment.artifacts_prefix(), MAX_FILES + 1).await?;
        reports.retain(|report| report.path != deployment.source.buildspec_path.as_str());
        reports.truncate(MAX_FILES);
        if reports.is_empty() {
            return Ok(None);
        }
        let deadline = Instant::now() + READ_TIME;
        let Ok(reading) = timeout_at(deadline, self.reading.acquire()).await else { return Ok(None) };
        let _reading = reading.expect("nothing closes it");
        let redaction = self.redaction(deployment, build).await?;
        let masked = |text: &str| match &redaction {
            Some(redaction) => redaction.redact(text).into_owned(),
            None => MASKED.to_owned(),
        };
        let mut bytes = 0;
        reports.retain(|report| {
            let is_read = report.size <= MAX_BYTES && bytes + report.size <= MAX_TOTAL_BYTES;
            bytes += if is_read { report.size } else { 0 };
            is_read
        });
        let mut summary = None::<TestSummary>;
        let mut rest = &reports[..];
        while let Some((batch, others)) = rest.split_at_checked(batch(rest)).filter(|(batch, _)| !batch.is_empty()) {
            let files = try_join_all(batch.iter().map(|report| self.archive.read_whole(report)));
            let Ok(files) = timeout_at(deadline, files).await else {
                self.app.log().warn("the test reports of a build are not all read", &Error::Slow);
                break;
            };
            for file in files?.into_iter().flatten() {
                let mut one = TestSummary::default();
                if junit::read(BufReader::new(&*file), &mut one).is_ok() {
                    summary.get_or_insert_default().add(one, masked);
                }
            }
            rest = others;
        }
        Ok(summary)
    }

    /// Returns the redaction of the build's secret variables, or `None` if they can't be read any more. A build has them by a secret.
    async fn redaction(&self, deployment: &Deployment, build: &BuildId) -> Result<Option<Redaction>, Error> {
        if self.secret_names(deployment).await?.is_empty() {
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

/// Returns the number of the first files that are read at once.
fn batch(files: &[Artifact]) -> usize {
    let mut bytes = 0;
    let has_room = |file: &&Artifact| {
        bytes += file.size;
        bytes <= BATCH_BYTES
    };
    files.iter().take(BATCH).take_while(has_room).count()
}
