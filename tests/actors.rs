//! The world of an integration test: a whole stack of its own, and the actors that call it over HTTP.

pub mod copies;
pub mod issuer;

use std::collections::BTreeSet;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use aws_sdk_dynamodb::types::AttributeValue;
use aws_sdk_sqs::types::QueueAttributeName;
use axum::extract::{FromRef, State};
use lambda_http::RequestExt;
use local::functions::Environment;
use local::gateway::Gateway;
use local::route::Routes;
use local::stack::{Lifetime, Options, Services, Stack};
use reqwest::header::HeaderMap;
use reqwest::{Client, Method, RequestBuilder};
use serde_json::{Value, json};
use shared::access::{AuthorizedRepository, Scope, TOKEN_CACHE_TTL};
use shared::clock::{Clock, Timestamp};
use shared::id::{AccountId, InvitationId, RepositoryId, TokenId, UserId};
use shared::model::{
    self, AccessToken, Deployment, INVITATION_LIFE, Invitation, InvitationSecret, KnownRef, Repository, Role, Status,
    Terms, Visibility,
};
use shared::settings::{QUEUE_URL, Settings};
use shared::telemetry::Log;
use shared::token::TokenSecret;
use shared::{App, Endpoint, Route, pipeline};
use tempfile::TempDir;
use tower::ServiceExt;

/// Noon on 2026-01-01, at the start of a minute.
pub const NOON: Timestamp = Timestamp::from_millis(1_767_268_800_000);

/// A stack with nothing in it. Its clock stands until a test moves it.
pub struct World {
    pub stack: Stack,
    pub clock: Clock,
    log: Watched,
    secrets: Secrets,
    options: Options,
    data: TempDir,
}

/// The tokens that the world's actors have held.
#[derive(Clone, Debug, Default)]
struct Secrets(Arc<Mutex<BTreeSet<String>>>);

impl Secrets {
    /// Keeps the part that is nobody else's, of what looks like a token.
    fn keep(&self, token: &str) {
        let secret = match token.rsplit_once('.') {
            // Of a JWT the signature: header and claims have nothing secret.
            Some((_, signature)) if token.matches('.').count() == 2 => signature,
            _ if token.starts_with("dgp_") => &token[4..],
            _ => return,
        };
        // What tests make up to be refused may be shorter, and is no secret.
        if secret.len() >= 36 {
            self.0.lock().unwrap().insert(secret.to_owned());
        }
    }

    fn among(&self, text: &str) -> Option<String> {
        self.0.lock().unwrap().iter().find(|secret| text.contains(secret.as_str())).cloned()
    }
}

/// What the functions have logged. At its end it must not have any of the secrets.
struct Watched {
    log: Captured,
    secrets: Secrets,
}

impl Drop for Watched {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            let text = String::from_utf8_lossy(&self.log.0.lock().unwrap()).into_owned();
            assert_eq!(self.secrets.among(&text), None, "a token was logged");
        }
    }
}

#[derive(Clone, Default)]
struct Captured(Arc<Mutex<Vec<u8>>>);

impl Write for Captured {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// Deployments stay queued until a test delivers them, as if SQS had not taken their messages.
pub fn without_queue(options: &mut Options) {
    options.overrides.push((QUEUE_URL, "http://127.0.0.1/0/nowhere".to_owned()));
}

impl World {
    pub async fn start() -> Self {
        Self::start_with(|_| {}).await
    }

    /// A stack that differs from the usual one.
    pub async fn start_with(change: impl FnOnce(&mut Options)) -> Self {
        let data = tempfile::tempdir().unwrap();
        let clock = Clock::manual(NOON);
        let log = Captured::default();
        let secrets = Secrets::default();
        let mut options = Options::new(0, data.path().to_owned(), Log::to(log.clone()));
        options.table = Lifetime::Process;
        options.clock = clock.clone();
        options.visibility_timeout = Duration::from_secs(1);
        options.sweep_every = None;
        if let Ok(url) = std::env::var("TEST_SERVICES_URL") {
            options.services = Services::At { url, suffix: format!("-{}", AccountId::random()) };
        }
        change(&mut options);
        let stack = Stack::start(options.clone()).await.unwrap();
        let log = Watched { log, secrets: secrets.clone() };
        Self { stack, clock, log, secrets, options, data }
    }

    pub async fn start_without_queue() -> Self {
        Self::start_with(without_queue).await
    }

    /// Ends the process and starts another on the same data, with the queue working.
    pub async fn restart(self) -> Self {
        let Self { stack, clock, log, secrets, mut options, data } = self;
        stack.shutdown().await;
        options.overrides.retain(|(name, _)| *name != QUEUE_URL);
        let stack = Stack::start(options.clone()).await.unwrap();
        Self { stack, clock, log, secrets, options, data }
    }

    /// The same person after a restart.
    pub fn again(&self, actor: &Actor) -> Actor {
        Actor { base: self.stack.url(), ..actor.clone() }
    }

    /// The owner of a new account without a limit that a test could meet, with a token for everything.
    pub async fn owner(&self, account: &str) -> Actor {
        self.owner_with(1_000_000, 1_000_000, account).await
    }

    /// The owner of a new account on a plan.
    pub async fn owner_on(&self, plan: &str, account: &str) -> Actor {
        self.bootstrapped(json!({"account": account, "plan": plan, "owner_email": "owner@example.com"})).await
    }

    /// The owner of a new account with limits of its own.
    pub async fn owner_with(&self, per_minute: u32, burst: u32, account: &str) -> Actor {
        let quota = json!({"per_minute": per_minute, "burst": burst});
        self.bootstrapped(json!({
            "account": account, "plan": "enterprise", "rate_limit": quota, "owner_email": "owner@example.com",
        }))
        .await
    }

    /// The owner of a new account that differs from the usual one.
    pub async fn bootstrapped(&self, event: Value) -> Actor {
        let created = self.stack.bootstrap(event).await.unwrap();
        let text = |name: &str| created[name].as_str().unwrap().to_owned();
        let account_id = text("account_id").parse().ok();
        let actor = Actor { account_id, user_id: text("user_id").parse().ok(), ..self.anonymous() };
        actor.holding(&text("token"))
    }

    /// Another user of the owner's account, with a token for everything.
    pub async fn member(&self, owner: &Actor, role: Role) -> Actor {
        let (id, now, secret) = (InvitationId::random(), self.clock.now(), TokenSecret::random());
        let invitation = Invitation {
            email: format!("{id}@example.com").parse().unwrap(),
            id,
            account_id: owner.account_id.clone().unwrap(),
            role,
            teams: Vec::new(),
            secret_hash: InvitationSecret::random().hash(),
            invited_by: owner.user_id.clone().unwrap(),
            created_at: now,
            valid_until: now.plus(INVITATION_LIFE),
        };
        let table = self.stack.app().table();
        invitation.create(table).await.unwrap();
        let user = invitation.accept(table, now, |user| {
            let token = AccessToken {
                id: TokenId::random(),
                account_id: user.account_id.clone(),
                user_id: user.id.clone(),
                name: "test".parse().unwrap(),
                scopes: Scope::ALL.to_vec(),
                last_four: secret.last_four().to_owned(),
                created_at: now,
                expires_at: None,
                revoked_at: None,
                superseded_at: None,
            };
            token.creation(&secret, model::Lifetime::DEFAULT)
        });
        Actor { user_id: Some(user.await.unwrap().id), ..owner.holding(secret.reveal()) }
    }

    /// What each execution environment knows of callers is too old now.
    pub fn callers_are_forgotten(&self) {
        self.clock.advance(TOKEN_CACHE_TTL);
    }

    /// Sets what every member of an account may do in its repositories, and lets it take effect.
    pub async fn set_base_permission(&self, owner: &Actor, base: &str) {
        let account = format!("ACCT#{}", owner.account_id.as_ref().unwrap());
        let base = AttributeValue::S(base.to_owned());
        self.set_attribute((&account, "ACCOUNT"), "base_permission", base).await;
        self.callers_are_forgotten();
    }

    /// Somebody without a token.
    pub fn anonymous(&self) -> Actor {
        Actor {
            client: Client::new(),
            base: self.stack.url(),
            secrets: self.secrets.clone(),
            token: None,
            account_id: None,
            user_id: None,
        }
    }

    /// The same person with another token.
    pub async fn with_token(&self, owner: &Actor, change: impl FnOnce(&mut AccessToken)) -> Actor {
        let secret = TokenSecret::random();
        let mut token = AccessToken {
            id: TokenId::random(),
            account_id: owner.account_id.clone().unwrap(),
            user_id: owner.user_id.clone().unwrap(),
            name: "test".parse().unwrap(),
            scopes: Scope::ALL.to_vec(),
            last_four: secret.last_four().to_owned(),
            created_at: self.clock.now(),
            expires_at: None,
            revoked_at: None,
            superseded_at: None,
        };
        change(&mut token);
        token.create(&secret, model::Lifetime::DEFAULT, self.stack.app().table()).await.unwrap();
        owner.holding(secret.reveal())
    }

    /// Claims a deployment for a runner that is never heard of again.
    pub async fn lose_a_runner(&self, owner: &Actor, deployment: &Value) -> Deployment {
        let (stored, now, table) = (self.stored(owner, deployment).await, self.clock.now(), self.stack.app().table());
        let terms = Terms { lease: Duration::from_secs(60), time_limit: Duration::from_secs(600) };
        match stored.status {
            Status::Queued => stored.claim_next_in_lane(table, terms, now).await.unwrap().expect("its lane is free"),
            _ => stored.claim_again(table, terms, now).await.unwrap(),
        }
    }

    /// Every item that has to do with deployments.
    pub async fn items(&self) -> Vec<String> {
        let table = self.stack.app().table();
        let scanned = table.client().scan().table_name(table.name()).send().await.unwrap();
        assert!(scanned.last_evaluated_key().is_none());
        let of_deployments = |pk: &str| ["#REPO#", "#DEPLOY#", "#IDEM#"].iter().any(|kind| pk.contains(kind));
        let kept = scanned.items().iter().filter(|item| of_deployments(item["pk"].as_s().unwrap()));
        let sorted = |item: &std::collections::HashMap<_, _>| {
            format!("{:?}", item.iter().collect::<std::collections::BTreeMap<_, _>>())
        };
        let mut items: Vec<_> = kept.map(sorted).collect();
        items.sort_unstable();
        items
    }

    /// A deployment as it is stored.
    pub async fn stored(&self, owner: &Actor, deployment: &Value) -> Deployment {
        let id = deployment["id"].as_str().unwrap().parse().unwrap();
        let found = Deployment::load(self.stack.app().table(), owner.account_id.as_ref().unwrap(), &id).await;
        found.unwrap().expect("the deployment is in the table")
    }

    /// Invokes the sweep as its schedule does; gives what it did, or what it reports.
    pub async fn sweep(&self) -> Result<Value, String> {
        let event = json!({"source": "aws.events", "detail-type": "Scheduled Event", "detail": {}});
        let swept = self.stack.environment().sweep().unwrap().invoke(event).await;
        swept.map_err(|error| error.to_string())
    }

    /// Sends a message to the queue of deployments.
    pub async fn send(&self, body: &str) {
        let sqs = self.stack.app().aws().sqs();
        sqs.send_message().queue_url(self.stack.queue()).message_body(body).send().await.unwrap();
    }

    /// Sends the message that names a deployment, once more or for the first time.
    pub async fn deliver(&self, owner: &Actor, deployment: &Value) {
        let message = json!({"account_id": owner.account_id, "deployment_id": deployment["id"]});
        self.send(&message.to_string()).await;
    }

    /// How many messages a queue has, hidden and delayed ones too.
    pub async fn messages(&self, queue: &str) -> u32 {
        let sqs = self.stack.app().aws().sqs();
        let names = [
            QueueAttributeName::ApproximateNumberOfMessages,
            QueueAttributeName::ApproximateNumberOfMessagesDelayed,
            QueueAttributeName::ApproximateNumberOfMessagesNotVisible,
        ];
        let answer =
            sqs.get_queue_attributes().queue_url(queue).set_attribute_names(Some(names.into())).send().await.unwrap();
        answer.attributes.unwrap().values().map(|number| number.parse::<u32>().unwrap()).sum()
    }

    /// Waits until no message is left in the queue of deployments.
    pub async fn queue_is_empty(&self) {
        let left = async || (self.messages(self.stack.queue()).await == 0).then_some(());
        eventually("an empty queue", left).await
    }

    /// Every file of the data folder: the table too where it is kept, logs and artifacts.
    pub fn files(&self) -> Vec<(PathBuf, Vec<u8>)> {
        let mut files = Vec::new();
        let mut folders = vec![self.data.path().to_owned()];
        while let Some(folder) = folders.pop() {
            for entry in std::fs::read_dir(folder).unwrap().map(Result::unwrap) {
                match entry.file_type().unwrap().is_dir() {
                    true => folders.push(entry.path()),
                    false => files.push((entry.path(), std::fs::read(entry.path()).unwrap())),
                }
            }
        }
        files
    }

    /// The functions once more, which know nothing yet and have these settings, behind a gateway of their own.
    pub async fn gateway(&self, settings: Settings) -> Gateway {
        let environment = Environment { settings, ..self.stack.environment().clone() };
        let routes = Routes::new(environment.http().unwrap()).unwrap();
        Gateway::start(([127, 0, 0, 1], 0).into(), routes, self.clock.clone()).await.unwrap()
    }

    /// The lines that the functions have logged so far.
    pub fn log(&self) -> Vec<Value> {
        let text = self.log.log.0.lock().unwrap().clone();
        text.split(|byte| *byte == b'\n')
            .filter(|line| !line.is_empty())
            .map(|line| serde_json::from_slice(line).unwrap())
            .collect()
    }

    /// The line that the function which gave this answer has logged for it.
    pub fn line_of(&self, answer: &Answer) -> Value {
        let id = answer.header("x-request-id");
        let mut lines = self.log();
        lines.retain(|line| line["request_id"] == id);
        assert_eq!(lines.len(), 1, "one line for {id}: {lines:?}");
        lines.remove(0)
    }

    /// What a request cost in DynamoDB: calls and capacity units.
    pub fn cost(&self, answer: &Answer) -> (u64, f64) {
        cost_of(&self.line_of(answer))
    }

    /// Sets an attribute of an item in the table, behind the functions' back, as an operator would.
    pub async fn set_attribute(&self, (pk, sk): (&str, &str), attribute: &str, value: AttributeValue) {
        let table = self.stack.app().table();
        let key = |text: &str| AttributeValue::S(text.to_owned());
        let update = table.client().update_item().table_name(table.name()).key("pk", key(pk)).key("sk", key(sk));
        let update =
            update.update_expression("SET #attribute = :value").expression_attribute_names("#attribute", attribute);
        update.expression_attribute_values(":value", value).send().await.unwrap();
    }
}

/// Somebody who calls the API.
#[derive(Clone, Debug)]
pub struct Actor {
    client: Client,
    base: String,
    secrets: Secrets,
    pub token: Option<String>,
    pub account_id: Option<AccountId>,
    pub user_id: Option<UserId>,
}

/// What came back.
#[derive(Clone, Debug)]
pub struct Answer {
    pub status: u16,
    pub headers: HeaderMap,
    /// The body, which is JSON in every answer of this API that has one.
    pub body: Value,
}

/// The rate limit as the headers of an answer tell it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RateLimit {
    /// `X-RateLimit-Limit`, `-Remaining` and `-Reset`.
    pub limit: i64,
    pub remaining: i64,
    pub reset: i64,
    /// Seconds until `reset`.
    pub reset_after: i64,
    pub burst: i64,
    pub burst_left: i64,
}

impl Actor {
    /// The same actor with this text as the token.
    pub fn holding(&self, token: &str) -> Self {
        self.secrets.keep(token);
        Self { token: Some(token.to_owned()), ..self.clone() }
    }

    /// The same actor at another address of the API.
    pub fn at(&self, url: String) -> Self {
        Self { base: url, ..self.clone() }
    }

    pub async fn get(&self, path: &str) -> Answer {
        self.send(self.request(Method::GET, path)).await
    }

    /// The pages of a list from this one on, along a relation of `Link`.
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

    pub async fn post(&self, path: &str, body: Value) -> Answer {
        self.send(self.request(Method::POST, path).json(&body)).await
    }

    pub async fn put(&self, path: &str, body: Value) -> Answer {
        self.send(self.request(Method::PUT, path).json(&body)).await
    }

    pub async fn patch(&self, path: &str, body: Value) -> Answer {
        self.send(self.request(Method::PATCH, path).json(&body)).await
    }

    pub async fn delete(&self, path: &str) -> Answer {
        self.send(self.request(Method::DELETE, path)).await
    }

    /// A request to be changed before it is sent.
    pub fn request(&self, method: Method, path: &str) -> RequestBuilder {
        // A Link is a whole URL.
        let url = if path.starts_with("http") { path.to_owned() } else { format!("{}{path}", self.base) };
        let request = self.client.request(method, url);
        match &self.token {
            Some(token) => request.bearer_auth(token),
            None => request,
        }
    }

    pub async fn send(&self, request: RequestBuilder) -> Answer {
        let response = request.send().await.unwrap();
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        let body = response.text().await.unwrap();
        assert_eq!(self.secrets.among(&body), None, "a token is sent back: {body}");
        let body: Value =
            serde_json::from_str(&body).unwrap_or_else(|_| panic!("{status} with a body that is not JSON: {body}"));
        if let Some(token) = body["token"].as_str() {
            self.secrets.keep(token);
        }
        Answer { status, headers, body }
    }

    /// Registers a repository that must be accepted.
    pub async fn repository(&self, name: &str, source: &GitRepository) -> Value {
        let created = self.post("/v1/repositories", json!({"name": name, "clone_url": source.url()})).await;
        assert_eq!(created.status, 201, "{created:?}");
        created.body
    }

    /// Creates a team that must be accepted.
    pub async fn team(&self, name: &str) -> Value {
        let created = self.post("/v1/teams", json!({"name": name})).await;
        assert_eq!(created.status, 201, "{created:?}");
        created.body
    }

    /// Puts somebody into a team.
    pub async fn add_to_team(&self, team: &Value, somebody: &Actor) {
        let (team, user) = (team["id"].as_str().unwrap(), somebody.user_id.as_ref().unwrap());
        let added = self.put(&format!("/v1/teams/{team}/members/{user}"), json!({})).await;
        assert_eq!(added.status, 200, "{added:?}");
    }

    /// Gives a team a permission on a repository.
    pub async fn grant(&self, team: &Value, repository: &str, permission: &str) {
        let path = format!("/v1/teams/{}/repositories/{repository}", team["id"].as_str().unwrap());
        let granted = self.put(&path, json!({"permission": permission})).await;
        assert_eq!(granted.status, 200, "{granted:?}");
    }

    /// Creates a deployment that must be accepted.
    pub async fn deploy(&self, repository: &str, body: Value) -> Value {
        let created = self.post(&format!("/v1/repositories/{repository}/deployments"), body).await;
        assert_eq!(created.status, 201, "{created:?}");
        created.body
    }

    /// Changes settings of an environment, which must be accepted.
    pub async fn set(&self, repository: &str, environment: &str, body: Value) -> Value {
        let updated = self.patch(&format!("/v1/repositories/{repository}/environments/{environment}"), body).await;
        assert_eq!(updated.status, 200, "{updated:?}");
        updated.body
    }

    /// A deployment as it is now.
    pub async fn deployment(&self, deployment: &Value) -> Value {
        let found = self.get(&format!("/v1/deployments/{}", deployment["id"].as_str().unwrap())).await;
        assert_eq!(found.status, 200, "{found:?}");
        found.body
    }

    /// Does something to a deployment: `cancel`, `retry`, `approve` or `reject`.
    pub async fn act(&self, deployment: &Value, action: &str, body: Value) -> Answer {
        self.post(&format!("/v1/deployments/{}/{action}", deployment["id"].as_str().unwrap()), body).await
    }

    /// A deployment's events, each as `number status actor: reason`.
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

    /// Waits until a deployment has ended, for 30 seconds at most.
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

    /// The texts of a deployment's log, as stored now, each as `stream: text`.
    pub async fn log(&self, deployment: &Value) -> Vec<String> {
        let path = format!("/v1/deployments/{}/log", deployment["id"].as_str().unwrap());
        let log = self.get(&path).await;
        assert_eq!(log.status, 200, "{log:?}");
        let line = |line: &Value| format!("{}: {}", line["stream"].as_str().unwrap(), line["text"].as_str().unwrap());
        log.body["data"].as_array().unwrap().iter().map(line).collect()
    }
}

impl Answer {
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).unwrap_or_else(|| panic!("no {name} in {self:?}")).to_str().unwrap()
    }

    /// Asserts the status, the code and the envelope.
    #[track_caller]
    pub fn refused(&self, status: u16, code: &str) -> &Self {
        assert_eq!((self.status, self.body["error"]["code"].as_str()), (status, Some(code)), "{self:?}");
        assert_eq!(self.body["error"]["request_id"], self.header("x-request-id"), "{self:?}");
        assert!(!self.body["error"]["message"].as_str().unwrap().is_empty());
        self
    }

    /// What the headers tell of the rate limit, which every answer does.
    #[track_caller]
    pub fn rate_limit(&self) -> RateLimit {
        let numbers = |name: &str| {
            let digits = self.header(name).split(|c: char| !c.is_ascii_digit()).filter(|number| !number.is_empty());
            digits.map(|number| number.parse().unwrap()).collect::<Vec<i64>>()
        };
        let number = |name: &str| self.header(name).parse::<i64>().unwrap_or_else(|_| panic!("no number: {self:?}"));
        let [limit, remaining, reset] = ["x-ratelimit-limit", "x-ratelimit-remaining", "x-ratelimit-reset"].map(number);
        let [per_minute, 60, burst, window] = numbers("ratelimit-policy")[..] else { panic!("{self:?}") };
        let [left, reset_after, burst_left] = numbers("ratelimit")[..] else { panic!("{self:?}") };
        let policy = format!("\"minute\";q={per_minute};w=60, \"burst\";q={burst};w={window}");
        assert_eq!(self.header("ratelimit-policy"), policy);
        assert_eq!(self.header("ratelimit"), format!("\"minute\";r={left};t={reset_after}, \"burst\";r={burst_left}"));
        assert_eq!((per_minute, left), (limit, remaining), "both kinds of headers say the same: {self:?}");
        assert!((0..=limit).contains(&remaining) && (0..=burst).contains(&burst_left), "{self:?}");
        assert!(reset % 60 == 0 && (1..=60).contains(&reset_after), "{self:?}");
        RateLimit { limit, remaining, reset, reset_after, burst, burst_left }
    }

    /// The URL of a relation in `Link`.
    pub fn link(&self, relation: &str) -> Option<String> {
        let ending = format!("; rel=\"{relation}\"");
        let link = self.header("link").split(", ").find_map(|link| link.strip_suffix(&ending))?;
        Some(link.trim_start_matches('<').trim_end_matches('>').to_owned())
    }

    /// One field of every row of a page.
    pub fn column(&self, field: &str) -> Vec<String> {
        let rows = self.body["data"].as_array().unwrap_or_else(|| panic!("no page: {self:?}"));
        rows.iter().map(|row| row[field].as_str().unwrap().to_owned()).collect()
    }
}

/// A real git repository with a branch `main`.
pub struct GitRepository(TempDir);

impl GitRepository {
    pub fn new(files: &[(&str, &str)]) -> Self {
        let repository = Self(tempfile::tempdir().unwrap());
        repository.git(&["init", "--quiet", "--initial-branch=main"]);
        repository.commit(files);
        repository
    }

    /// One whose buildspec runs these commands, which are YAML scalars.
    pub fn with_commands(commands: &[&str]) -> Self {
        Self::new(&[("buildspec.yml", &buildspec(commands))])
    }

    /// Commits these files on the current branch; gives the SHA.
    pub fn commit(&self, files: &[(&str, &str)]) -> String {
        for (path, content) in files {
            let path = self.0.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, content).unwrap();
        }
        self.git(&["add", "--all"]);
        self.git(&["commit", "--quiet", "--allow-empty", "--message=change"]);
        self.git(&["rev-parse", "HEAD"])
    }

    /// Runs git there; gives what it printed.
    pub fn git(&self, arguments: &[&str]) -> String {
        let output = Command::new("git")
            .args(arguments)
            .current_dir(self.0.path())
            .env("GIT_CONFIG_GLOBAL", "/dev/null")
            .env("GIT_CONFIG_SYSTEM", "/dev/null")
            .envs(["GIT_AUTHOR_NAME", "GIT_COMMITTER_NAME"].map(|name| (name, "Test")))
            .envs(["GIT_AUTHOR_EMAIL", "GIT_COMMITTER_EMAIL"].map(|name| (name, "test@example.com")))
            .output()
            .unwrap();
        assert!(output.status.success(), "git {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    }

    pub fn path(&self) -> &Path {
        self.0.path()
    }

    /// What to register it by.
    pub fn url(&self) -> String {
        self.0.path().display().to_string()
    }
}

/// A buildspec whose build phase runs these commands, which are YAML scalars.
/// The calls of DynamoDB and the capacity units in a line of the log.
pub fn cost_of(line: &Value) -> (u64, f64) {
    (line["dynamodb_calls"].as_u64().unwrap(), line["dynamodb_capacity_units"].as_f64().unwrap())
}

pub fn buildspec(commands: &[&str]) -> String {
    let commands: String = commands.iter().map(|command| format!("      - {command}\n")).collect();
    format!("version: 0.2\nphases:\n  build:\n    commands:\n{commands}")
}

/// Asks until the answer is there, for 30 seconds at most.
pub async fn eventually<T>(what: &str, mut ask: impl AsyncFnMut() -> Option<T>) -> T {
    let asked = async {
        loop {
            match ask().await {
                Some(answer) => return answer,
                None => tokio::time::sleep(Duration::from_millis(30)).await,
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(30), asked).await.unwrap_or_else(|_| panic!("{what} did not come"))
}

/// A repository of a new account as an endpoint is given it, and the account's owner.
pub async fn repository_of_a_new_account(app: &App) -> (AuthorizedRepository, UserId) {
    let request = json!({
        "account": "acme", "plan": "enterprise", "rate_limit": {"per_minute": 1_000_000, "burst": 1_000_000},
        "owner_email": "owner@example.com",
    });
    let created = bootstrap::bootstrap(app, serde_json::from_value(request).unwrap()).await.unwrap();
    let now = app.clock().now();
    let repository = Repository {
        id: RepositoryId::random(),
        account_id: created.account_id.clone(),
        account_slug: "acme".parse().unwrap(),
        name: "app".parse().unwrap(),
        visibility: Visibility::Private,
        clone_url: "https://git.example.com/acme/app.git".to_owned(),
        default_branch: "main".to_owned(),
        grants: Default::default(),
        created_at: now,
        updated_at: now,
    };
    let tip = KnownRef { name: "refs/heads/main".to_owned(), sha: "0".repeat(40), read_at: now };
    repository.create(app.table(), &tip).await.unwrap();

    let found = Found { app: app.clone(), repository: Arc::default() };
    let keep = async |State(found): State<Found>, repository: AuthorizedRepository| {
        *found.repository.lock().unwrap() = Some(repository);
    };
    let route = Route::get("found", "/v1/repositories/{repo_id}").requires(Scope::RepositoriesRead);
    let parameters = std::collections::HashMap::from([("repo_id".to_owned(), vec![repository.id.to_string()])]);
    let request =
        http::Request::get("/v1/repositories/app").header("authorization", format!("Bearer {}", created.token));
    let request = request.body(lambda_http::Body::Empty).unwrap().with_path_parameters(parameters);
    let service = pipeline::service(app.clone(), Endpoint::new(route, keep, found.clone()));
    let answer = service.oneshot(request).await.unwrap();
    let repository = found.repository.lock().unwrap().take();
    (repository.unwrap_or_else(|| panic!("{answer:?}")), created.user_id)
}

#[derive(Clone)]
struct Found {
    app: App,
    repository: Arc<Mutex<Option<AuthorizedRepository>>>,
}

impl FromRef<Found> for App {
    fn from_ref(found: &Found) -> App {
        found.app.clone()
    }
}
