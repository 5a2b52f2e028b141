//! The run of the demo: a deployment to a protected environment, which is followed to its end.

use std::time::{Duration, Instant};

use console::{StyledObject, style};
use indicatif::HumanBytes;
use serde_json::{Value, json};
use shared::InitError;

use super::{Api, Reviewer, text};
use crate::progress::Progress;

const POLL_EVERY: Duration = Duration::from_millis(300);
const ENVIRONMENT: &str = "production";
/// The number of artifacts that are shown.
const SHOWN: usize = 10;

/// A run of the demo. It writes each step.
pub struct Run<'a> {
    api: &'a Api,
    reviewer: &'a Reviewer,
    progress: &'a Progress,
    started: Instant,
}

/// The end of a run.
#[derive(Clone, Copy, Debug)]
pub struct Ended {
    /// Whether the deployment succeeded.
    pub succeeded: bool,
    /// Whether the deployment has artifacts.
    pub has_artifacts: bool,
}

impl<'a> Run<'a> {
    /// Starts a run as the owner of the demo's account.
    pub fn start(api: &'a Api, reviewer: &'a Reviewer, progress: &'a Progress) -> Self {
        Self { api, reviewer, progress, started: Instant::now() }
    }

    /// Lists the repositories, protects production, deploys to it, has the deployment approved by the reviewer, and follows it to
    /// its end.
    ///
    /// # Errors
    /// Fails if the API refuses or the output can't be written.
    pub async fn deploy(&self, repository: &str, git_ref: &str) -> Result<Ended, InitError> {
        let Self { api, reviewer, progress, started } = self;
        self.list().await?;
        progress.status(format_args!("Protecting {ENVIRONMENT}"));
        let rule = reviewer.protect(api, repository).await?;
        progress.line(rule)?;
        progress.status(format_args!("Creating a deployment of {git_ref}"));
        let path = format!("/v1/repositories/{repository}/deployments");
        let deployment = api.create(&path, json!({"ref": git_ref, "environment": ENVIRONMENT})).await?;
        let id = text(&deployment["id"]);
        progress.line(format_args!("Created {id} of {git_ref} ({})", text(&deployment["sha"])))?;
        let ended = self.follow(id).await?;
        if let Some(message) = ended["failure"]["message"].as_str() {
            progress.line(format_args!("{}: {message}", text(&ended["failure"]["code"])))?;
        }
        let status = text(&ended["status"]);
        let end = format!("The deployment {status} after {:.1} s", started.elapsed().as_secs_f64());
        let succeeded = status == "succeeded";
        progress.line(if succeeded { style(end).green() } else { style(end).red() }.bold())?;
        self.show_results(&ended)?;
        Ok(Ended { succeeded, has_artifacts: self.show_artifacts(id).await? })
    }

    async fn list(&self) -> Result<(), InitError> {
        let page = self.api.get("/v1/repositories?sort=name").await?;
        let total = &page["meta"]["total"];
        self.progress.line(format_args!("{total} {}:", if total == 1 { "repository" } else { "repositories" }))?;
        for row in rows(&page) {
            let [id, name, visibility] = ["id", "full_name", "visibility"].map(|field| text(&row[field]));
            self.progress.line(format_args!("  {id}  {name}  {visibility}"))?;
        }
        Ok(())
    }

    /// Writes the deployment's states and the lines of its log as they come, and has it approved. Returns the deployment when it has
    /// ended.
    async fn follow(&self, id: &str) -> Result<Value, InitError> {
        let (mut shown, mut after, mut is_complete) = (String::new(), 0, false);
        loop {
            let deployment = self.api.get(&format!("/v1/deployments/{id}")).await?;
            let status = text(&deployment["status"]);
            if status != shown {
                self.write(style("api").bold(), status)?;
                self.progress.status(status.replace('_', " "));
                status.clone_into(&mut shown);
            }
            // The deployment may have ended after it was read and before its log was.
            if is_complete {
                return Ok(deployment);
            }
            if deployment["queue"]["blocked_by"]["kind"] == "approval" {
                self.have_approved(&deployment).await?;
                continue;
            }
            let log = self.api.get(&format!("/v1/deployments/{id}/log?after={after}")).await?;
            for line in rows(&log) {
                let stream = style(text(&line["stream"]));
                let stream = match text(&line["stream"]) {
                    "stderr" => stream.yellow(),
                    "system" => stream.cyan(),
                    _ => stream,
                };
                self.write(stream, text(&line["text"]))?;
            }
            after = log["meta"]["next_after"].as_u64().unwrap_or(after);
            is_complete = log["meta"]["complete"] == true;
            if !is_complete {
                tokio::time::sleep(POLL_EVERY).await;
            }
        }
    }

    async fn have_approved(&self, deployment: &Value) -> Result<(), InitError> {
        let deadline = text(&deployment["queue"]["deadline"]);
        self.progress.status("waiting for an approval");
        self.write(style("api").bold(), &format!("waits for an approval, until {deadline} at the latest"))?;
        let person = self.reviewer.approve(self.api, deployment).await?;
        self.write(style("api").bold(), &format!("approved by {person}"))
    }

    fn write(&self, label: StyledObject<&str>, text: &str) -> Result<(), InitError> {
        let time = style(format!("[{:6.1} s]", self.started.elapsed().as_secs_f64())).dim();
        Ok(self.progress.line(format_args!("{time} {label:>6} | {text}"))?)
    }

    /// Writes the outputs and the summary of the tests, if the build has any.
    fn show_results(&self, ended: &Value) -> Result<(), InitError> {
        let tests = &ended["tests"];
        if tests.is_object() {
            self.progress.line(format_args!("Tests: {} of {} passed", tests["passed"], tests["total"]))?;
        }
        for (name, value) in ended["outputs"].as_object().into_iter().flatten() {
            self.progress.line(format_args!("Output: {name}={}", text(value)))?;
        }
        Ok(())
    }

    /// Writes the URLs of the artifacts, and how to download one. Returns whether there are any.
    async fn show_artifacts(&self, id: &str) -> Result<bool, InitError> {
        let page = self.api.get(&format!("/v1/deployments/{id}/artifacts?per_page={SHOWN}")).await?;
        let Some(first) = rows(&page).next() else { return Ok(false) };
        self.progress.line(format_args!("Artifacts: {}", page["meta"]["total"]))?;
        for artifact in rows(&page) {
            let size = HumanBytes(artifact["size"].as_u64().unwrap_or_default());
            self.progress.line(format_args!("  {}  {size}", text(&artifact["url"])))?;
        }
        let (token, url) = (&self.api.token, text(&first["url"]));
        self.progress.line(format_args!("  curl --location -H 'Authorization: Bearer {token}' '{url}'"))?;
        Ok(true)
    }
}

fn rows(page: &Value) -> impl Iterator<Item = &Value> {
    page["data"].as_array().into_iter().flatten()
}
