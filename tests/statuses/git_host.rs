//! A git host with the part of an API that takes commit statuses. It is written from the hosts' documentation and shares no code
//! with the functions.

use std::collections::VecDeque;
use std::path::PathBuf;
use std::process::Command;
use std::sync::{Arc, Mutex};

use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, Method, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use axum::routing::any;
use axum::{Json, Router};
use base64::Engine;
use base64::prelude::BASE64_STANDARD as BASE64;
use serde_json::{Value, json};
use tests::GitRepository;
use tests::git_server::{GitServer, Reply, Seen};
use tokio::sync::Notify;

pub(crate) const USERNAME: &str = "robot";
pub(crate) const PASSWORD: &str = "hunter2-of-the-git-host";
/// The token of a GitHub App that may report statuses.
const STATUS_TOKEN: &str = "ghs_of_statuses";
/// The installation of the GitHub App.
pub(crate) const INSTALLATION: u64 = 7;

/// The host.
pub(crate) struct GitHost {
    api: Arc<Api>,
    server: GitServer,
}

struct Api {
    provider: &'static str,
    /// The folder of the only repository.
    folder: PathBuf,
    state: Mutex<Shown>,
    released: Notify,
}

/// The statuses that the host shows, and the requests that its API got.
#[derive(Default)]
struct Shown {
    accepted: Vec<Report>,
    requests: usize,
    tokens: usize,
    faults: VecDeque<Fault>,
    /// The fault of every request, once the others are used up.
    always: Option<Fault>,
}

/// A status that the host accepted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Report {
    pub(crate) sha: String,
    pub(crate) context: String,
    pub(crate) state: String,
    pub(crate) description: String,
    pub(crate) target_url: String,
}

/// An answer other than the right one.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Fault {
    Status(u16),
    /// 429, with this time to wait in seconds.
    Busy(u32),
    /// 403 with this time to wait in seconds, when the GitHub App asks for a token.
    NoToken(u32),
    /// A redirect with this status to the same path of another host, by its port.
    Redirect(u16, u16),
    /// No answer, ever.
    Hang,
    /// The right answer, once the test releases it.
    Held,
}

impl GitHost {
    /// Starts a host of a provider's kind, with this repository at `acme/app`, or at `acme/web/app` on GitLab.
    pub(crate) async fn start(provider: &'static str, repository: &GitRepository) -> Self {
        Self::start_with(provider, repository, Router::new(), |_| Reply::Git).await
    }

    /// Starts a host that has more routes, and replies to requests of git as a function says.
    pub(crate) async fn start_with(
        provider: &'static str,
        repository: &GitRepository,
        more: Router,
        reply: impl Fn(&Seen) -> Reply + Send + Sync + 'static,
    ) -> Self {
        let api = Arc::new(Api {
            provider,
            folder: repository.path().to_owned(),
            state: Mutex::default(),
            released: Notify::new(),
        });
        let routes = Router::new().route("/api/{*path}", any(answer)).with_state(api.clone()).merge(more);
        Self { api, server: GitServer::with_api(repository, routes, reply).await }
    }

    /// Returns the host and its port.
    pub(crate) fn address(&self) -> String {
        self.server.host()
    }

    pub(crate) fn provider(&self) -> &'static str {
        self.api.provider
    }

    pub(crate) fn clone_url(&self) -> String {
        self.server.url(if self.api.provider == "gitlab" { "/acme/web/app.git" } else { "/acme/app.git" })
    }

    /// Makes the next request of the API fail.
    pub(crate) fn fail_once(&self, fault: Fault) {
        self.api.state.lock().unwrap().faults.push_back(fault);
    }

    /// Makes every request of the API fail, or none.
    pub(crate) fn fail_always(&self, fault: Option<Fault>) {
        self.api.state.lock().unwrap().always = fault;
    }

    /// Releases the request that is held.
    pub(crate) fn release(&self) {
        self.api.released.notify_one();
    }

    /// Returns the number of statuses that the API was sent.
    pub(crate) fn requests(&self) -> usize {
        self.api.state.lock().unwrap().requests
    }

    /// Returns the number of tokens that the GitHub App made to report statuses.
    pub(crate) fn tokens(&self) -> usize {
        self.api.state.lock().unwrap().tokens
    }

    /// Returns what the API accepted, in order.
    pub(crate) fn accepted(&self) -> Vec<Report> {
        self.api.accepted()
    }

    /// Returns the states that the API accepted, in order.
    pub(crate) fn states(&self) -> Vec<String> {
        self.accepted().into_iter().map(|report| report.state).collect()
    }
}

impl Api {
    fn accepted(&self) -> Vec<Report> {
        self.state.lock().unwrap().accepted.clone()
    }

    /// Makes a token of the GitHub App. The app's signature is another test's.
    fn token(&self, body: &[u8]) -> Response {
        let fault = self.state.lock().unwrap().faults.pop_front_if(|fault| matches!(fault, Fault::NoToken(_)));
        if let Some(Fault::NoToken(seconds)) = fault {
            return ([("retry-after", seconds.to_string())], refuse(403, "a secondary rate limit")).into_response();
        }
        let wanted: Value = serde_json::from_slice(body).unwrap();
        let of_statuses = wanted["permissions"] == json!({"statuses": "write"});
        self.state.lock().unwrap().tokens += usize::from(of_statuses);
        let token = if of_statuses { STATUS_TOKEN } else { "ghs_of_contents" };
        (StatusCode::CREATED, Json(json!({"token": token, "expires_at": "2026-01-01T13:00:00Z"}))).into_response()
    }

    async fn report(&self, method: &Method, path: &str, headers: &HeaderMap, body: &[u8]) -> Response {
        let fault = {
            let mut state = self.state.lock().unwrap();
            state.requests += 1;
            state.faults.pop_front().or(state.always)
        };
        match fault {
            Some(Fault::Status(status)) => return refuse(status, "the host's own words"),
            Some(Fault::Busy(seconds)) => {
                return ([("retry-after", seconds.to_string())], refuse(429, "slow down")).into_response();
            }
            Some(Fault::Redirect(status, port)) => {
                let to = format!("http://127.0.0.1:{port}{path}");
                return ([("location", to)], refuse(status, "moved")).into_response();
            }
            Some(Fault::Hang) => std::future::pending().await,
            Some(Fault::Held) => self.released.notified().await,
            Some(Fault::NoToken(_)) | None => {}
        }
        let Some((authorizations, sha)) = self.find(path) else { return refuse(404, "Not Found") };
        if headers.get("authorization").is_none_or(|sent| !authorizations.iter().any(|one| sent == one)) {
            return refuse(401, "Bad credentials");
        }
        if *method != Method::POST || headers["content-type"] != "application/json" {
            return refuse(405, "Method Not Allowed");
        }
        let Ok(body) = serde_json::from_slice::<Value>(body) else { return refuse(400, "Problems parsing JSON") };
        match self.read(&sha, &body) {
            Err((status, message)) => refuse(status, &message),
            Ok(report) => {
                self.state.lock().unwrap().accepted.push(report);
                (StatusCode::CREATED, Json(json!({"id": 1}))).into_response()
            }
        }
    }

    /// Returns the headers with which a path may be called, and the commit that the path names.
    fn find(&self, path: &str) -> Option<(Vec<String>, String)> {
        let bearer = format!("Bearer {PASSWORD}");
        let (authorizations, sha) = match self.provider {
            "github" => {
                let of_app = format!("Bearer {STATUS_TOKEN}");
                (vec![bearer, of_app], path.strip_prefix("/api/v3/repos/acme/app/statuses/")?)
            }
            "gitlab" => (vec![bearer], path.strip_prefix("/api/v4/projects/acme%2Fweb%2Fapp/statuses/")?),
            "gitea" => {
                let pair = BASE64.encode(format!("{USERNAME}:{PASSWORD}"));
                (vec![format!("Basic {pair}")], path.strip_prefix("/api/v1/repos/acme/app/statuses/")?)
            }
            _ => return None,
        };
        Some((authorizations, sha.to_owned()))
    }

    /// Reads a report as the provider does, or returns its refusal.
    fn read(&self, sha: &str, body: &Value) -> Result<Report, (u16, String)> {
        let gitlab = self.provider == "gitlab";
        let (fields, states): (_, &[&str]) = match self.provider {
            "gitlab" => (
                ["state", "target_url", "description", "name"],
                &["pending", "running", "success", "failed", "canceled", "skipped"],
            ),
            "gitea" => (
                ["state", "target_url", "description", "context"],
                &["pending", "success", "error", "failure", "warning"],
            ),
            _ => (["state", "target_url", "description", "context"], &["pending", "success", "error", "failure"]),
        };
        let known = body.as_object().is_some_and(|body| body.keys().all(|key| fields.contains(&key.as_str())));
        let [state, target_url, description, context] =
            fields.map(|field| body[field].as_str().unwrap_or_default().to_owned());
        let invalid = |why: &str| Err((if gitlab { 400 } else { 422 }, why.to_owned()));
        if !known || !states.contains(&state.as_str()) || context.is_empty() {
            return invalid("state does not have a valid value");
        }
        if !target_url.starts_with("http") || description.chars().count() > if gitlab { 255 } else { 140 } {
            return invalid("a field is invalid");
        }
        if !self.has(sha) {
            return Err((if gitlab { 404 } else { 422 }, format!("No commit found for SHA: {sha}")));
        }
        let last = self.accepted().into_iter().rfind(|report| report.sha == sha && report.context == context);
        if gitlab && last.is_some_and(|last| last.state == state) {
            return Err((400, format!("Cannot transition status via :x from :{state} (Reason(s): …)")));
        }
        Ok(Report { sha: sha.to_owned(), context, state, description, target_url })
    }

    fn has(&self, sha: &str) -> bool {
        let git = Command::new("git").args(["cat-file", "-e", sha]).current_dir(&self.folder).output();
        git.unwrap().status.success()
    }
}

async fn answer(State(api): State<Arc<Api>>, method: Method, uri: Uri, headers: HeaderMap, body: Bytes) -> Response {
    match uri.path() == format!("/api/v3/app/installations/{INSTALLATION}/access_tokens") {
        true => api.token(&body),
        false => api.report(&method, uri.path(), &headers, &body).await,
    }
}

fn refuse(status: u16, message: &str) -> Response {
    (StatusCode::from_u16(status).unwrap(), Json(json!({"message": message}))).into_response()
}
