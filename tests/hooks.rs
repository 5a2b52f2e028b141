//! Hooks: deliveries of git hosts and calls of programs, and what they deploy.

mod calls;
mod deletions;
mod deliveries;
mod management;
mod proofs;
mod pushes;
mod remotes;

use aws_sdk_dynamodb::types::AttributeValue;
use reqwest::Method;
use ring::hmac;
use serde_json::{Value, json};
use tests::{Actor, Answer, GitRepository, World, eventually};

/// The commit that stands for none.
const ZEROS: &str = "0000000000000000000000000000000000000000";

/// An account with a repository that deploys pushes, and a hook of it. Deployments stay queued.
struct Acme {
    world: World,
    owner: Actor,
    source: GitRepository,
    repository: Value,
    hook: Value,
    secret: String,
}

impl Acme {
    /// Starts with rules for `main`, for tags of versions and for features, and a hook of GitHub.
    async fn start() -> Self {
        Self::with_rules(json!([
            {"refs": ["main"], "environment": "production"},
            {"refs": ["tags/v*"], "environment": "staging"},
            {"refs": ["feature/*"], "environment": "preview"},
        ]))
        .await
    }

    async fn with_rules(rules: Value) -> Self {
        Self::in_world(World::start_without_queue().await, rules).await
    }

    async fn in_world(world: World, rules: Value) -> Self {
        let owner = world.owner("acme").await;
        let source = GitRepository::with_commands(&["true"]);
        let new = json!({"name": "app", "clone_url": source.url(), "deploy_rules": rules});
        let created = owner.post("/v1/repositories", new).await;
        assert_eq!(created.status, 201, "{created:?}");
        let (hook, secret) = new_hook(&owner, json!({"provider": "github"})).await;
        Self { world, owner, source, repository: created.body, hook, secret }
    }

    /// Starts with a hook of another provider.
    async fn of(new: Value) -> Self {
        let acme = Self::start().await;
        let (hook, secret) = new_hook(&acme.owner, new).await;
        Self { hook, secret, ..acme }
    }

    fn url(&self) -> &str {
        self.hook["url"].as_str().unwrap()
    }

    /// Sends an event as GitHub does, signed with the hook's secret.
    async fn send(&self, event: &str, id: &str, body: &Value) -> Answer {
        let body = body.to_string();
        let signature = format!("sha256={}", hmac_of(self.secret.as_bytes(), body.as_bytes()));
        let headers = [("x-github-event", event), ("x-github-delivery", id), ("x-hub-signature-256", &signature)];
        post(&self.world, self.url(), &headers, body).await
    }

    /// Sends a push to a ref, whose commit is `sha`. Returns the delivery once it is handled.
    async fn push(&self, id: &str, ref_name: &str, sha: &str) -> Value {
        self.push_of(id, &push(ref_name, sha, json!([]))).await
    }

    async fn push_of(&self, id: &str, body: &Value) -> Value {
        let accepted = self.send("push", id, body).await;
        assert_eq!(accepted.status, 202, "{accepted:?}");
        self.handled(&accepted.body).await
    }

    /// Waits until a delivery is handled.
    async fn handled(&self, delivery: &Value) -> Value {
        eventually("the result of the delivery", async || {
            let found = self.delivery(delivery).await;
            (found["outcome"] != "queued").then_some(found)
        })
        .await
    }

    /// Reads a delivery.
    async fn delivery(&self, delivery: &Value) -> Value {
        let all = self.deliveries().await;
        all.into_iter().find(|found| found["id"] == delivery["id"]).expect("the delivery is listed")
    }

    async fn deliveries(&self) -> Vec<Value> {
        let path = format!("{}/deliveries?per_page=100", path_of(&self.hook));
        let page = self.owner.get(&path).await;
        assert_eq!(page.status, 200, "{page:?}");
        page.body["data"].as_array().unwrap().clone()
    }

    /// Reads all deployments of the repository, newest first.
    async fn deployments(&self) -> Vec<Value> {
        let page = self.owner.get("/v1/repositories/app/deployments?per_page=100").await;
        page.body["data"].as_array().unwrap().clone()
    }

    async fn head(&self) -> String {
        self.source.git(&["rev-parse", "HEAD"])
    }

    /// Moves the repository to another address, as if its host did not answer or answered again.
    async fn is_at(&self, clone_url: &str) {
        let account = format!("ACCT#{}", self.owner.account_id.as_ref().unwrap());
        let repository = format!("REPO#{}", self.repository["id"].as_str().unwrap());
        let url = AttributeValue::S(clone_url.to_owned());
        self.world.set_attribute((&account, &repository), "clone_url", url).await;
    }
}

/// Makes a hook. Returns it with its secret.
pub(crate) async fn new_hook(owner: &Actor, new: Value) -> (Value, String) {
    let created = owner.post("/v1/repositories/app/hooks", new).await;
    assert_eq!(created.status, 201, "{created:?}");
    let secret = created.body["secret"].as_str().unwrap().to_owned();
    // No later answer and no line of the log may have it.
    owner.holding(&secret);
    (created.body, secret)
}

pub(crate) fn path_of(hook: &Value) -> String {
    format!("/v1/repositories/app/hooks/{}", hook["id"].as_str().unwrap())
}

/// Returns the HMAC-SHA256 of a body in hexadecimal digits.
pub(crate) fn hmac_of(key: &[u8], body: &[u8]) -> String {
    let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), body);
    tag.as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Sends a delivery without a token of the API.
pub(crate) async fn post(world: &World, url: &str, headers: &[(&str, &str)], body: String) -> Answer {
    let sender = world.anonymous();
    let request = sender.request(Method::POST, url).header("content-type", "application/json").body(body);
    let request = headers.iter().fold(request, |request, (name, value)| request.header(*name, *value));
    sender.send(request).await
}

/// Returns GitHub's event of a push.
pub(crate) fn push(ref_name: &str, sha: &str, commits: Value) -> Value {
    let head = commits.as_array().unwrap().last().cloned();
    json!({
        "ref": ref_name, "before": ZEROS, "after": sha, "created": false, "deleted": sha == ZEROS, "forced": false,
        "commits": commits, "head_commit": head,
    })
}

/// Returns a commit of an event.
pub(crate) fn commit(sha: &str, message: &str, modified: &[&str]) -> Value {
    json!({"id": sha, "message": message, "added": [], "removed": [], "modified": modified})
}
