//! A caller of the API.

use reqwest::{Client, Method, RequestBuilder};
use serde_json::{Value, json};
use shared::id::{AccountId, UserId};
use shared::token::SESSION_PREFIX;

use crate::log::Secrets;
use crate::{Answer, GitRepository, eventually};

/// A caller of the API.
#[derive(Clone, Debug)]
pub struct Actor {
    pub(crate) client: Client,
    pub(crate) base: String,
    pub(crate) secrets: Secrets,
    /// The bearer token, or the secret of a session, which is sent as a page of the API's own origin would. `None` for a caller
    /// without one.
    pub token: Option<String>,
    /// The account of the token. `None` without a token of an account.
    pub account_id: Option<AccountId>,
    /// The user of the token. `None` without a token of a user.
    pub user_id: Option<UserId>,
}

impl Actor {
    /// Returns the actor with this text as the token.
    pub fn holding(&self, token: &str) -> Self {
        self.secrets.keep(token);
        Self { token: Some(token.to_owned()), ..self.clone() }
    }

    /// Returns the actor as a caller of another address.
    pub fn at(&self, url: String) -> Self {
        Self { base: url, ..self.clone() }
    }

    /// Returns whether the actor has a session of the dashboard instead of a token.
    pub fn has_a_session(&self) -> bool {
        self.token.as_ref().is_some_and(|secret| secret.starts_with(SESSION_PREFIX))
    }

    /// Sends a GET.
    pub async fn get(&self, path: &str) -> Answer {
        self.send(self.request(Method::GET, path)).await
    }

    /// Reads the pages of a list from this one on, along a relation of `Link`.
    pub async fn walk(&self, path: &str, relation: &str) -> Vec<Answer> {
        let mut pages = Vec::new();
        let mut next = Some(path.to_owned());
        while let Some(path) = next {
            let page = self.get(&path).await;
            assert_eq!(page.status, 200, "{page:?}");
            next = page.link(relation);
            pages.push(page);
            assert!(pages.len() < 100, "{path} goes round in circles");
        }
        pages
    }

    /// Sends a POST with a JSON body.
    pub async fn post(&self, path: &str, body: Value) -> Answer {
        self.send(self.request(Method::POST, path).json(&body)).await
    }

    /// Sends a PUT with a JSON body.
    pub async fn put(&self, path: &str, body: Value) -> Answer {
        self.send(self.request(Method::PUT, path).json(&body)).await
    }

    /// Sends a PATCH with a JSON body.
    pub async fn patch(&self, path: &str, body: Value) -> Answer {
        self.send(self.request(Method::PATCH, path).json(&body)).await
    }

    /// Sends a DELETE.
    pub async fn delete(&self, path: &str) -> Answer {
        self.send(self.request(Method::DELETE, path)).await
    }

    /// Builds a request with the actor's token or session.
    pub fn request(&self, method: Method, path: &str) -> RequestBuilder {
        // A link is an absolute URL.
        let url = if path.starts_with("http") { path.to_owned() } else { format!("{}{path}", self.base) };
        let request = self.client.request(method, url);
        match &self.token {
            Some(secret) if self.has_a_session() => {
                request.header("cookie", format!("__Host-session={secret}")).header("sec-fetch-site", "same-origin")
            }
            Some(token) => request.bearer_auth(token),
            None => request,
        }
    }

    /// Sends a GET for an answer other than the one with this ETag.
    pub async fn get_unless(&self, path: &str, etag: &str) -> Answer {
        self.send(self.request(Method::GET, path).header("if-none-match", etag)).await
    }

    /// Sends a request. Fails the test if the response has a body that is neither JSON nor a file, or repeats a token and is not the repeated
    /// response of a creation, or if a 304 has a body.
    pub async fn send(&self, request: RequestBuilder) -> Answer {
        let response = request.send().await.unwrap();
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        let is_file = [".zip", ".txt"].iter().any(|end| response.url().path().ends_with(end));
        let body = response.text().await.unwrap();
        let is_repeated = headers.contains_key("idempotent-replayed");
        assert!(is_repeated || self.secrets.among(&body).is_none(), "a token is sent back: {body}");
        if status == 304 {
            assert_eq!(body, "", "a 304 has a body");
            return Answer { status, headers, body: Value::Null };
        }
        if status < 300 && is_file {
            return Answer { status, headers, body: Value::Null };
        }
        let body: Value =
            serde_json::from_str(&body).unwrap_or_else(|_| panic!("{status} with a body that is not JSON: {body}"));
        for token in ["token", "access_token"].iter().filter_map(|field| body[field].as_str()) {
            self.secrets.keep(token);
        }
        Answer { status, headers, body }
    }

    /// Registers a repository. Fails the test unless the API accepts it.
    pub async fn repository(&self, name: &str, source: &GitRepository) -> Value {
        self.repository_at(name, &source.url()).await
    }

    /// Registers the repository at a URL. Fails the test unless the API accepts it.
    pub async fn repository_at(&self, name: &str, url: &str) -> Value {
        let created = self.post("/v1/repositories", json!({"name": name, "clone_url": url})).await;
        assert_eq!(created.status, 201, "{created:?}");
        created.body
    }

    /// Creates a connection with a user name and a password. Fails the test unless the API accepts it.
    pub async fn connection(&self, host: &str, username: &str, password: &str) -> Value {
        let new = json!({
            "name": "Deploy bot", "kind": "basic", "host": host, "username": username, "password": password,
        });
        let created = self.post("/v1/connections", new).await;
        assert_eq!(created.status, 201, "{created:?}");
        created.body
    }

    /// Creates a team. Fails the test unless the API accepts it.
    pub async fn team(&self, name: &str) -> Value {
        let created = self.post("/v1/teams", json!({"name": name})).await;
        assert_eq!(created.status, 201, "{created:?}");
        created.body
    }

    /// Adds a user to a team.
    pub async fn add_to_team(&self, team: &Value, somebody: &Actor) {
        let (team, user) = (team["id"].as_str().unwrap(), somebody.user_id.as_ref().unwrap());
        let added = self.put(&format!("/v1/teams/{team}/members/{user}"), json!({})).await;
        assert_eq!(added.status, 200, "{added:?}");
    }

    /// Grants a team a permission on a repository.
    pub async fn grant(&self, team: &Value, repository: &str, permission: &str) {
        let path = format!("/v1/teams/{}/repositories/{repository}", team["id"].as_str().unwrap());
        let granted = self.put(&path, json!({"permission": permission})).await;
        assert_eq!(granted.status, 200, "{granted:?}");
    }

    /// Creates a deployment. Fails the test unless the API accepts it.
    pub async fn deploy(&self, repository: &str, body: Value) -> Value {
        let created = self.post(&format!("/v1/repositories/{repository}/deployments"), body).await;
        assert_eq!(created.status, 201, "{created:?}");
        created.body
    }

    /// Changes settings of an environment. Fails the test unless the API accepts them.
    pub async fn set(&self, repository: &str, environment: &str, body: Value) -> Value {
        let updated = self.patch(&format!("/v1/repositories/{repository}/environments/{environment}"), body).await;
        assert_eq!(updated.status, 200, "{updated:?}");
        updated.body
    }

    /// Reads a deployment.
    pub async fn deployment(&self, deployment: &Value) -> Value {
        let found = self.get(&format!("/v1/deployments/{}", deployment["id"].as_str().unwrap())).await;
        assert_eq!(found.status, 200, "{found:?}");
        found.body
    }

    /// Cancels, retries, approves or rejects a deployment: `action` is the last part of the path.
    pub async fn act(&self, deployment: &Value, action: &str, body: Value) -> Answer {
        self.post(&format!("/v1/deployments/{}/{action}", deployment["id"].as_str().unwrap()), body).await
    }

    /// Reads a deployment's events, each as `number status actor: reason`.
    pub async fn events(&self, deployment: &Value) -> Vec<String> {
        let events = self.get(&format!("/v1/deployments/{}/events", deployment["id"].as_str().unwrap())).await;
        assert_eq!(events.status, 200, "{events:?}");
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        let event = |event: &Value| {
            let [status, actor, reason] = ["status", "actor", "reason"].map(|field| text(&event[field]));
            format!("{} {status} {actor}: {reason}", event["number"])
        };
        events.body["data"].as_array().unwrap().iter().map(event).collect()
    }

    /// Waits until a deployment has ended.
    pub async fn ended(&self, deployment: &Value) -> Value {
        let path = format!("/v1/deployments/{}", deployment["id"].as_str().unwrap());
        eventually("the deployment's end", async || {
            let found = self.get(&path).await;
            assert_eq!(found.status, 200, "{found:?}");
            let running = ["queued", "in_progress"].contains(&found.body["status"].as_str().unwrap());
            (!running).then_some(found.body)
        })
        .await
    }

    /// Reads the lines of a deployment's log, each as `stream: text`.
    pub async fn log(&self, deployment: &Value) -> Vec<String> {
        let path = format!("/v1/deployments/{}/log", deployment["id"].as_str().unwrap());
        let log = self.get(&path).await;
        assert_eq!(log.status, 200, "{log:?}");
        let line = |line: &Value| format!("{}: {}", line["stream"].as_str().unwrap(), line["text"].as_str().unwrap());
        log.body["data"].as_array().unwrap().iter().map(line).collect()
    }
}
