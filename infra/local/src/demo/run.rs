//! The run of the demo: a deployment that is followed to its end.

use std::time::{Duration, Instant};

use console::{StyledObject, style};
use reqwest::StatusCode;
use serde_json::{Value, json};
use shared::InitError;

use super::{Api, failure, text};
use crate::progress::Progress;

const POLL_EVERY: Duration = Duration::from_millis(300);

impl Api {
    /// Lists the repositories, deploys one and follows the deployment to its end. Writes each step. Returns whether the
    /// deployment succeeded.
    ///
    /// # Errors
    /// Fails if the API refuses or the output can't be written.
    pub async fn run(&self, repository: &str, git_ref: &str, progress: &Progress) -> Result<bool, InitError> {
        let started = Instant::now();
        let page = self.get("/v1/repositories?sort=name").await?;
        let total = &page["meta"]["total"];
        progress.line(format_args!("{total} {}:", if total == 1 { "repository" } else { "repositories" }))?;
        for row in page["data"].as_array().into_iter().flatten() {
            let [id, name, visibility] = ["id", "full_name", "visibility"].map(|field| text(&row[field]));
            progress.line(format_args!("  {id}  {name}  {visibility}"))?;
        }
        progress.status(format_args!("Creating a deployment of {git_ref}"));
        let path = format!("/v1/repositories/{repository}/deployments");
        let body = json!({"ref": git_ref});
        let answer = self.authorized(self.client.post(self.url(&path))).json(&body).send().await?;
        let created = answer.status() == StatusCode::CREATED;
        let deployment: Value = answer.json().await?;
        if !created {
            return Err(failure(deployment));
        }
        let id = text(&deployment["id"]);
        progress.line(format_args!("Created {id} of {git_ref} ({})", text(&deployment["sha"])))?;
        let ended = self.follow(id, started, progress).await?;
        let status = text(&ended["status"]);
        if let Some(message) = ended["failure"]["message"].as_str() {
            progress.line(format_args!("{}: {message}", text(&ended["failure"]["code"])))?;
        }
        let end = format!("The deployment {status} after {:.1} s", started.elapsed().as_secs_f64());
        let succeeded = status == "succeeded";
        progress.line(if succeeded { style(end).green() } else { style(end).red() }.bold())?;
        Ok(succeeded)
    }

    /// Writes the lines of the deployment's log as they come. Returns the deployment when it has ended.
    async fn follow(&self, id: &str, started: Instant, progress: &Progress) -> Result<Value, InitError> {
        let write = |label: StyledObject<&str>, text: &str| {
            let time = style(format!("[{:6.1} s]", started.elapsed().as_secs_f64())).dim();
            progress.line(format_args!("{time} {label:>6} | {text}"))
        };
        let mut shown = String::new();
        let mut after = 0;
        loop {
            let deployment = self.get(&format!("/v1/deployments/{id}")).await?;
            let status = text(&deployment["status"]);
            if status != shown {
                write(style("api").bold(), status)?;
                progress.status(status.replace('_', " "));
                status.clone_into(&mut shown);
            }
            let log = self.get(&format!("/v1/deployments/{id}/log?after={after}")).await?;
            for line in log["data"].as_array().into_iter().flatten() {
                let stream = style(text(&line["stream"]));
                let stream = match text(&line["stream"]) {
                    "stderr" => stream.yellow(),
                    "system" => stream.cyan(),
                    _ => stream,
                };
                write(stream, text(&line["text"]))?;
            }
            after = log["meta"]["next_after"].as_u64().unwrap_or(after);
            if log["meta"]["complete"] == true {
                return Ok(deployment);
            }
            tokio::time::sleep(POLL_EVERY).await;
        }
    }
}
