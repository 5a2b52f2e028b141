//! The demo: accounts with tokens, a registered repository, and a deployment that is approved and followed to its end.

mod hook;
mod reviewer;
mod run;
mod secret_file;
mod tokens;

pub use hook::DemoHook;
pub use reviewer::Reviewer;
pub use run::{Ended, Run};
pub use tokens::Tokens;

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use reqwest::header::CONTENT_TYPE;
use reqwest::{Client, Method, RequestBuilder, StatusCode, Url};
use serde::Deserialize;
use serde_json::{Value, json};
use shared::InitError;

use crate::git_host::GitHost;
use crate::issuer::{Client as OAuth2Client, Issuer};

/// The name of the repository that is read with a connection.
pub const PRIVATE_REPOSITORY: &str = "private-demo";
/// The time in which a stack that runs answers a request that needs no other service.
const ANSWERS_WITHIN: Duration = Duration::from_secs(5);

/// A repository that the demo has registered.
#[derive(Debug, Deserialize)]
pub struct Registered {
    /// The repository's name.
    pub name: String,
    clone_url: String,
    /// The branch that the demo deploys.
    pub default_branch: String,
}

/// A local repository with a detached HEAD, as CI leaves it. It has no branch that the API could take as the default,
/// so the demo deploys the commit.
#[derive(Debug)]
pub struct DetachedHead {
    /// The commit at HEAD.
    pub sha: String,
    branch: String,
}

impl DetachedHead {
    /// Returns the repository, or `None` if HEAD is at a branch or git finds no repository, which the API will report.
    ///
    /// # Errors
    /// Fails if git can't be run or there is no branch to register the repository with.
    pub fn of(repository: &Path) -> Result<Option<Self>, InitError> {
        let git = |arguments: &[&str]| Command::new("git").arg("-C").arg(repository).args(arguments).output();
        // The exit status is 1 for a detached HEAD, and 128 if there is no repository.
        if git(&["symbolic-ref", "--quiet", "HEAD"])?.status.code() != Some(1) {
            return Ok(None);
        }
        let text = |arguments: &[&str]| Ok::<_, InitError>(String::from_utf8(git(arguments)?.stdout)?);
        let branches = text(&["for-each-ref", "--format=%(refname:lstrip=2)", "refs/heads"])?;
        let Some(branch) = branches.lines().find(|name| *name == "main").or_else(|| branches.lines().next()) else {
            let folder = repository.display();
            let advice = format!("create one with: git -C '{folder}' branch main");
            return Err(format!("HEAD of {folder} is detached and there is no branch to register; {advice}").into());
        };
        Ok(Some(Self { sha: text(&["rev-parse", "HEAD"])?.trim().to_owned(), branch: branch.to_owned() }))
    }
}

/// A client of the API, written like a customer's.
pub struct Api {
    client: Client,
    base: String,
    token: String,
}

impl Api {
    /// Returns a client of the API at `base`, a URL without `/v1`.
    pub fn new(base: &str, token: &str) -> Self {
        Self { client: Client::new(), base: base.to_owned(), token: token.to_owned() }
    }

    /// Returns whether an API answers at the URL.
    pub async fn answers(base: &str) -> bool {
        let answer = Client::new().get(format!("{base}/v1/openapi.json")).timeout(ANSWERS_WITHIN).send().await;
        answer.is_ok_and(|answer| answer.status() == StatusCode::OK)
    }

    /// Registers the repository under its own name, unless it is registered already.
    ///
    /// # Errors
    /// Fails if the API refuses, or if another repository has the name.
    pub async fn ensure_repository(
        &self,
        clone_url: &str,
        head: Option<&DetachedHead>,
    ) -> Result<Registered, InitError> {
        let name = repository_name(clone_url);
        // A push of any branch is deployed to preview.
        let rules = json!([{"refs": ["**"], "environment": "preview"}]);
        let mut body = json!({"name": name, "clone_url": clone_url, "deploy_rules": rules});
        if let Some(head) = head {
            body["default_branch"] = json!(head.branch);
        }
        let answer = self.authorized(self.client.post(self.url("/v1/repositories"))).json(&body).send().await?;
        match answer.status() {
            StatusCode::CREATED | StatusCode::CONFLICT => {
                let found: Registered = serde_json::from_value(self.get(&format!("/v1/repositories/{name}")).await?)?;
                if found.clone_url != clone_url.trim_start_matches("file://") {
                    let advice = "start with --fresh or with another --data";
                    return Err(format!("'{name}' is already registered with {}; {advice}", found.clone_url).into());
                }
                Ok(found)
            }
            _ => Err(format!("{clone_url} can't be registered: {}", failure(answer.json().await?)).into()),
        }
    }

    /// Registers the repository of a git host that asks for a password, with a connection to the host. Returns whether it is
    /// registered with this host: its name may belong to one from an earlier start, whose port was another.
    ///
    /// # Errors
    /// Fails if the API refuses.
    pub async fn ensure_private_repository(&self, host: &GitHost, branch: &str) -> Result<bool, InitError> {
        let path = format!("/v1/repositories/{PRIVATE_REPOSITORY}");
        let found = self.authorized(self.client.get(self.url(&path))).send().await?;
        if found.status() == StatusCode::OK {
            let found: Registered = found.json().await?;
            return Ok(found.clone_url == host.clone_url());
        }
        let (username, password) = host.credential();
        let connection = json!({
            "name": "Demo", "kind": "basic", "host": host.host(), "username": username, "password": password,
        });
        let connection = self.create("/v1/connections", connection).await?;
        let repository = json!({
            "name": PRIVATE_REPOSITORY, "clone_url": host.clone_url(), "connection_id": connection["id"],
            "default_branch": branch,
        });
        self.create("/v1/repositories", repository).await?;
        Ok(true)
    }

    /// Returns a client that calls as somebody else.
    fn with_token(&self, token: &str) -> Self {
        Self { client: self.client.clone(), base: self.base.clone(), token: token.to_owned() }
    }

    async fn create(&self, path: &str, body: Value) -> Result<Value, InitError> {
        self.change(Method::POST, path, body).await
    }

    async fn change(&self, method: Method, path: &str, body: Value) -> Result<Value, InitError> {
        let answer = self.authorized(self.client.request(method, self.url(path))).json(&body).send().await?;
        match answer.status().is_success() {
            true => Ok(answer.json().await?),
            false => Err(failure(answer.json().await?)),
        }
    }

    /// Registers the issuer's client of machines as an application of the account, unless it is registered already.
    ///
    /// # Errors
    /// Fails if the issuer or the API refuses.
    pub async fn ensure_application(&self, issuer: &Issuer) -> Result<(), InitError> {
        let (client, scopes) = (OAuth2Client::Machines, OAuth2Client::MACHINES_SCOPES);
        let request = self.client.post(format!("{}/oauth2/token", issuer.url()));
        let request = request.basic_auth(client.id(), Some(issuer.client_secret()));
        let request = request.header(CONTENT_TYPE, "application/x-www-form-urlencoded");
        let granted: Value =
            request.body("grant_type=client_credentials").send().await?.error_for_status()?.json().await?;
        let body = json!({
            "name": "Demo", "client_id": client.id(), "access_token": granted["access_token"], "scopes": scopes,
        });
        let answer = self.authorized(self.client.post(self.url("/v1/applications"))).json(&body).send().await?;
        match answer.status() {
            StatusCode::CREATED | StatusCode::CONFLICT => Ok(()),
            _ => Err(format!("the demo's application can't be registered: {}", failure(answer.json().await?)).into()),
        }
    }

    /// Returns the commit of a branch, or `None` if the repository has no such branch.
    ///
    /// # Errors
    /// Fails if the API refuses.
    pub async fn head(&self, repository: &str, branch: &str) -> Result<Option<String>, InitError> {
        let query = [("type", "branch"), ("prefix", branch), ("per_page", "100")];
        let url = Url::parse_with_params(&self.url(&format!("/v1/repositories/{repository}/refs")), query)?;
        let path = url.as_str().strip_prefix(&self.base).ok_or("the API is at another address")?;
        let page = self.get(path).await?;
        let mut found = page["data"].as_array().into_iter().flatten();
        Ok(found.find(|found| found["name"] == branch).map(|found| text(&found["sha"]).to_owned()))
    }

    async fn get(&self, path: &str) -> Result<Value, InitError> {
        loop {
            let answer = self.authorized(self.client.get(self.url(path))).send().await?;
            match answer.status() {
                StatusCode::OK => return Ok(answer.json().await?),
                StatusCode::TOO_MANY_REQUESTS => {
                    let seconds =
                        answer.headers().get("retry-after").and_then(|value| value.to_str().ok()?.parse().ok());
                    tokio::time::sleep(Duration::from_secs(seconds.unwrap_or(1))).await;
                }
                _ => return Err(failure(answer.json().await?)),
            }
        }
    }

    fn authorized(&self, request: RequestBuilder) -> RequestBuilder {
        request.bearer_auth(&self.token)
    }

    fn url(&self, path: &str) -> String {
        format!("{}{path}", self.base)
    }
}

/// Returns the last part of the path without `.git`. Replaces characters that a name can't have.
fn repository_name(clone_url: &str) -> String {
    let last = clone_url.trim_end_matches('/').rsplit('/').next().unwrap_or_default();
    let allowed = |char: char| if char.is_ascii_alphanumeric() || "._-".contains(char) { char } else { '-' };
    let name: String = last.trim_end_matches(".git").chars().map(allowed).collect();
    match name.trim_start_matches('.') {
        "" => "repository".to_owned(),
        name => name.to_owned(),
    }
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

fn failure(answer: Value) -> InitError {
    let error = &answer["error"];
    format!("{}: {}", text(&error["code"]), text(&error["message"])).into()
}
