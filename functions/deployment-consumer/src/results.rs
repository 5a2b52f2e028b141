//! The results of a run: artifacts, test reports and outputs.

use std::path::Path;

use archive::Archive;
use shared::model::{ArtifactQuota, Deployment, Failure, MAX_OUTPUT_BYTES, MAX_OUTPUTS, Outputs, TestSummary};

use crate::buildspec::Buildspec;
use crate::process::{Artifact, Run};
use crate::redaction::Redaction;
use crate::retry::Retry;
use crate::run_log::RunLog;
use crate::variables::Variables;
use crate::{beneath, test_reports};

/// Stores the artifacts. Returns a failure and stores nothing if they are more than the account's plan allows.
pub(crate) async fn store(
    archive: &Archive,
    deployment: &Deployment,
    source: &Path,
    artifacts: &[Artifact],
    quota: Option<ArtifactQuota>,
) -> Result<Option<Failure>, Retry> {
    let Some(quota) = quota.filter(|_| !artifacts.is_empty()) else { return Ok(None) };
    let failed = |error: std::io::Error| Retry::Infrastructure("an artifact can't be read", error.into());
    let open = |artifact: &Artifact| beneath::open(source, &artifact.path).map_err(failed);
    let mut bytes = 0;
    for artifact in artifacts {
        bytes += open(artifact)?.metadata().map_err(failed)?.len();
    }
    if quota.is_exceeded(artifacts.len(), bytes) {
        return Ok(Some(too_large(quota, artifacts.len(), bytes)));
    }
    let prefix = deployment.artifacts_prefix();
    for artifact in artifacts {
        let mut file = tokio::fs::File::from_std(open(artifact)?);
        archive.put_artifact(&prefix, &artifact.name, &mut file).await?;
    }
    Ok(None)
}

/// Reads the test reports of a run, and logs what they say.
pub(crate) async fn read_tests(
    buildspec: &Buildspec,
    run: &Run<'_>,
    log: &RunLog,
) -> Result<Option<TestSummary>, Retry> {
    if buildspec.reports.is_empty() {
        return Ok(None);
    }
    let variables = run.variables_at_start();
    let (source, reports, redaction) = (run.source.to_owned(), buildspec.reports.clone(), run.redaction.clone());
    let read = move || test_reports::read(&source, &reports, &variables, &redaction);
    let failed = |error: tokio::task::JoinError| Retry::Infrastructure("the test reports can't be read", error.into());
    let (summary, notes) = tokio::task::spawn_blocking(read).await.map_err(failed)?;
    for note in notes {
        log.say(note).await;
    }
    if let Some(TestSummary { total, failed, skipped, .. }) = &summary {
        log.say(format!("Tests: {total}, failed: {failed}, skipped: {skipped}")).await;
    }
    Ok(summary)
}

/// Returns the outputs of a run, in which secret values are masked as they are in its log. Logs what is kept and what is not.
pub(crate) async fn outputs(exported: &Variables, redaction: &Redaction, log: &RunLog) -> Variables {
    let masked = exported.iter().map(|(name, value)| (name.clone(), redaction.redact(value).into_owned()));
    let Outputs { kept, left_out } = Outputs::of(masked);
    if !kept.is_empty() {
        let names: Vec<_> = kept.keys().map(String::as_str).collect();
        log.say(format!("Exported variables: {}", names.join(", "))).await;
    }
    for name in left_out {
        log.say(format!(
            "The variable {name} is not exported: a deployment has at most {MAX_OUTPUTS} outputs of {MAX_OUTPUT_BYTES} bytes together."
        ))
        .await;
    }
    kept
}

fn too_large(quota: ArtifactQuota, files: usize, bytes: u64) -> Failure {
    let ArtifactQuota { files: most_files, mebibytes } = quota;
    let message = format!(
        "The artifacts are not kept: they are {files} file(s) of {bytes} bytes, and the account's plan allows {most_files} files of \
         {mebibytes} MiB together; name fewer files in the buildspec's artifacts"
    );
    Failure::new("artifacts_too_large", message)
}
