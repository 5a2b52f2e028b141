//! The results of a run: artifacts, test reports and outputs.

use std::io;

use archive::Archive;
use redaction::Redaction;
use shared::InitError;
use shared::model::{
    ArtifactQuota, Deployment, Failure, FailureCode, MAX_OUTPUT_BYTES, MAX_OUTPUTS, Outputs, TestSummary,
};
use tokio::fs::File;
use tokio::task::{JoinError, spawn_blocking};

use crate::beneath::Folder;
use crate::buildspec::Buildspec;
use crate::process::{Artifact, Run};
use crate::retry::Retry;
use crate::run_log::RunLog;
use crate::test_reports;
use crate::variables::Variables;

/// Stores the artifacts. Returns a failure and stores nothing if the build is at fault: they are more than the account's plan allows, or
/// one of them can't be read or stored.
pub(crate) async fn store(
    archive: &Archive,
    deployment: &Deployment,
    source: &Folder,
    artifacts: &[Artifact],
    quota: Option<ArtifactQuota>,
) -> Result<Option<Failure>, Retry> {
    let Some(quota) = quota.filter(|_| !artifacts.is_empty()) else { return Ok(None) };
    let prefix = deployment.artifacts_prefix();
    for Artifact { name, .. } in artifacts {
        if let Some(why) = archive.refuses_artifact(&prefix, name) {
            return Ok(Some(invalid(name, why)));
        }
    }
    let of_thread = |error: JoinError| Retry::Infrastructure("an artifact can't be read", error.into());
    let failed = |error: io::Error| Retry::Infrastructure("an artifact can't be read", error.into());
    let (folder, paths) = (source.try_clone().map_err(failed)?, artifacts.to_vec());
    let bytes = match spawn_blocking(move || size(&folder, &paths)).await.map_err(of_thread)? {
        Ok(bytes) => bytes,
        Err((name, error)) => return Ok(Some(invalid(&name, &format!("it can't be read ({error})")))),
    };
    if quota.is_exceeded(artifacts.len(), bytes) {
        return Ok(Some(quota.failure(&format!("{} file(s) of {bytes} bytes", artifacts.len()))));
    }
    for artifact in artifacts {
        let (folder, path) = (source.try_clone().map_err(failed)?, artifact.path.clone());
        let file = spawn_blocking(move || folder.file(&path)).await.map_err(of_thread)?.map_err(failed)?;
        archive.put_artifact(&prefix, &artifact.name, &mut File::from_std(file)).await?;
    }
    Ok(None)
}

/// Returns the size of all files in bytes, or the name of the first one that can't be opened.
fn size(source: &Folder, artifacts: &[Artifact]) -> Result<u64, (String, io::Error)> {
    artifacts.iter().try_fold(0_u64, |bytes, artifact| {
        let length = source.file(&artifact.path).and_then(|file| Ok(file.metadata()?.len()));
        Ok(bytes.saturating_add(length.map_err(|error| (artifact.name.clone(), error))?))
    })
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
    let failed = |error: InitError| Retry::Infrastructure("the test reports can't be read", error);
    let source = run.source.try_clone().map_err(|error| failed(error.into()))?;
    let (reports, redaction) = (buildspec.reports.clone(), run.redaction.clone());
    let read = move || test_reports::read(&source, &reports, &variables, &redaction);
    let (summary, notes) = spawn_blocking(read).await.map_err(|error| failed(error.into()))?;
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

fn invalid(name: &str, why: &str) -> Failure {
    Failure::new(FailureCode::ArtifactInvalid, format!("The artifacts are not kept: {name}: {why}"))
}
