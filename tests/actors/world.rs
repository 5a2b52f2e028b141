//! A whole stack for one test.

use std::collections::{BTreeSet, HashMap};
use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::time::Duration;

use archive::{Archive, LogLine, Stream};
use aws_sdk_dynamodb::types::AttributeValue;
use aws_sdk_sqs::types::QueueAttributeName;
use local::functions::Environment;
use local::gateway::Gateway;
use local::route::Routes;
use local::stack::{Lifetime, Options, OwnIssuer, Services, Stack};
use reqwest::Client;
use reqwest::header::HeaderMap;
use serde_json::{Value, json};
use shared::access::{Proof, Scope, TOKEN_CACHE_TTL};
use shared::clock::{Clock, Timestamp};
use shared::id::{AccountId, InvitationId, RequestId, TokenId};
use shared::model::{
    self, AccessToken, AuditRetention, Author, Deployment, INVITATION_LIFE, Invitation, InvitationSecret,
    RequestOrigin, Role, Status, Terms,
};
use shared::settings::{CONCURRENT_BUILDS, DASHBOARD_CLIENT_ID, OIDC_AUDIENCE, OIDC_ISSUER, QUEUE_URL, Settings};
use shared::telemetry::Log;
use shared::token::TokenSecret;
use tempfile::TempDir;

use crate::issuer::{AUDIENCE, Issuer};
use crate::log::{Captured, Secrets, Watched, cost_of};
use crate::{Actor, Answer, GitRepository, eventually};

/// Returns the secret in a `Set-Cookie` of the API.
pub fn session_secret(cookie: &str) -> &str {
    let secret = cookie.strip_prefix("__Host-session=").and_then(|rest| rest.split_once(';'));
    secret.unwrap_or_else(|| panic!("no session: {cookie}")).0
}

/// Noon on 2026-01-01, at the start of a minute.
pub const NOON: Timestamp = Timestamp::from_millis(1_767_268_800_000);

/// An empty stack. Its clock stands still until a test advances it.
pub struct World {
    /// The stack that answers the requests.
    pub stack: Stack,
    /// The clock of the stack, which a test advances.
    pub clock: Clock,
    /// The issuer of OAuth2 tokens that the stack trusts, unless the test has another one.
    pub issuer: Issuer,
    log: Watched,
    secrets: Secrets,
    options: Options,
    data: TempDir,
}

/// Uses the embedded services even if `TEST_SERVICES_URL` names others, for a test that depends on an ability of theirs.
pub fn embedded(options: &mut Options) {
    options.services = Services::Embedded;
}

/// Makes every send to the queue fail, so that deployments stay queued until a test delivers them.
pub fn without_queue(options: &mut Options) {
    options.overrides.push((QUEUE_URL, "http://127.0.0.1/0/nowhere".to_owned()));
}

/// The time after which a message that a consumer returned, or still works on, is delivered again. It is longer than a test's
/// deployment takes on a slow machine, so that no other message is delivered twice.
const VISIBILITY_TIMEOUT: Duration = Duration::from_secs(30);

/// The factor by which a function may exceed its time limit.
const PATIENCE: u32 = 20;

/// Delivers a message again a second after a consumer returned it, and this many times in all.
pub fn redelivering(times: u32) -> impl FnOnce(&mut Options) {
    move |options| {
        options.visibility_timeout = Duration::from_secs(1);
        options.max_receive_count = times;
    }
}

impl World {
    /// Starts a stack.
    pub async fn start() -> Self {
        Self::start_with(|_| {}).await
    }

    /// Starts a stack with other options.
    pub async fn start_with(change: impl FnOnce(&mut Options)) -> Self {
        let data = tempfile::tempdir().unwrap();
        let clock = Clock::manual(NOON);
        let log = Captured::default();
        let secrets = Secrets::default();
        let mut options = Options::new(0, data.path().to_owned(), Log::to(log.clone()));
        options.table = Lifetime::Process;
        options.issuer = OwnIssuer::Absent;
        options.clock = clock.clone();
        options.sweep_every = None;
        options.visibility_timeout = VISIBILITY_TIMEOUT;
        options.patience = PATIENCE;
        options.overrides.push((CONCURRENT_BUILDS, "1000".to_owned()));
        if let Ok(url) = std::env::var("TEST_SERVICES_URL") {
            options.services = Services::At { url, suffix: format!("-{}", AccountId::random()) };
        }
        change(&mut options);
        let issuer = Issuer::start().await;
        let has_an_issuer = options.overrides.iter().any(|(name, _)| *name == OIDC_ISSUER);
        if options.issuer == OwnIssuer::Absent && !has_an_issuer {
            let settings = [
                (OIDC_ISSUER, issuer.url().to_owned()),
                (OIDC_AUDIENCE, AUDIENCE.to_owned()),
                (DASHBOARD_CLIENT_ID, "dashboard".to_owned()),
            ];
            options.overrides.extend(settings);
        }
        let stack = Stack::start(options.clone()).await.unwrap();
        let log = Watched { log, secrets: secrets.clone() };
        Self { stack, clock, issuer, log, secrets, options, data }
    }

    /// Starts a stack whose queue takes no messages.
    pub async fn start_without_queue() -> Self {
        Self::start_with(without_queue).await
    }

    /// Stores an artifact of a deployment, whether a runner has claimed it or will.
    pub async fn put_artifact(&self, owner: &Actor, deployment: &Value, path: &str, content: &[u8]) {
        let archive = Archive::new(self.stack.app()).unwrap();
        let mut stored = self.stored(owner, deployment).await;
        for attempt in [0, 1] {
            stored.attempt = attempt;
            archive.put_artifact(&stored.artifacts_prefix(), path, &mut &*content).await.unwrap();
        }
    }

    /// Stores the only line of a deployment's log.
    pub async fn put_log(&self, owner: &Actor, deployment: &Value, text: &str) {
        let line = LogLine { number: 1, at_ms: 0, stream: Stream::Stdout, text: text.to_owned() };
        let archive = Archive::new(self.stack.app()).unwrap();
        archive.store_chunk(&self.stored(owner, deployment).await.log_prefix(), &[line]).await.unwrap();
    }

    /// Stops the stack and starts another one on its data, with a queue that works.
    pub async fn restart(self) -> Self {
        let Self { stack, clock, issuer, log, secrets, mut options, data } = self;
        stack.shutdown().await;
        options.overrides.retain(|(name, _)| *name != QUEUE_URL);
        let stack = start_again(&options).await;
        Self { stack, clock, issuer, log, secrets, options, data }
    }

    /// Sets the time after which the queue of deployments delivers a message again that nobody has deleted. A message that was
    /// received before keeps its own.
    pub async fn redeliver_after(&self, time: Duration) {
        let timeout = (QueueAttributeName::VisibilityTimeout, time.as_secs().to_string());
        let queue = self.stack.queue();
        let sqs = self.stack.app().aws().sqs();
        sqs.set_queue_attributes().queue_url(queue).attributes(timeout.0, timeout.1).send().await.unwrap();
    }

    /// Returns the environment of the functions with another value of a setting.
    pub fn environment_with(&self, setting: &'static str, value: &str) -> Environment {
        let mut environment = self.stack.environment().clone();
        environment.settings.set(setting, value.to_owned());
        environment
    }

    /// Returns the actor as a caller of the restarted stack.
    pub fn again(&self, actor: &Actor) -> Actor {
        Actor { base: self.stack.url(), ..actor.clone() }
    }

    /// Creates an account with limits that no test reaches. Returns its owner, whose token has every scope.
    pub async fn owner(&self, account: &str) -> Actor {
        self.owner_with(1_000_000, 1_000_000, account).await
    }

    /// Creates the account `acme` with the repository `app`, whose builds succeed. Returns its owner, and the remote of the
    /// repository, which exists as long as the value.
    pub async fn app(&self) -> (Actor, GitRepository) {
        let owner = self.owner("acme").await;
        let source = GitRepository::with_commands(&["true"]);
        owner.repository("app", &source).await;
        (owner, source)
    }

    /// Creates an account on a plan and returns its owner.
    pub async fn owner_on(&self, plan: &str, account: &str) -> Actor {
        self.bootstrapped(json!({"account": account, "plan": plan, "owner_email": "owner@example.com"})).await
    }

    /// Creates an account with its own rate limits and returns its owner.
    pub async fn owner_with(&self, per_minute: u32, burst: u32, account: &str) -> Actor {
        let quota = json!({"per_minute": per_minute, "burst": burst});
        self.bootstrapped(json!({
            "account": account, "plan": "enterprise", "rate_limit": quota, "owner_email": "owner@example.com",
            "concurrent_builds": 1_000_000,
        }))
        .await
    }

    /// Creates an account by a `bootstrap` event and returns its owner.
    pub async fn bootstrapped(&self, event: Value) -> Actor {
        let created = self.stack.bootstrap(event).await.unwrap();
        let text = |name: &str| created[name].as_str().unwrap().to_owned();
        let account_id = text("account_id").parse().ok();
        let actor = Actor { account_id, user_id: text("user_id").parse().ok(), ..self.anonymous() };
        actor.holding(&text("token"))
    }

    /// Adds a user to the owner's account. The user's token has every scope.
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
            audit_retention: AuditRetention::default(),
        };
        let table = self.stack.app().table();
        let author = Author::operator(&invitation.account_id, &invitation.invited_by);
        invitation.create(table, &author).await.unwrap();
        let token = |user: &model::User| AccessToken {
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
            version: 1,
        };
        let user = invitation.accept_with_token(table, None, now, &secret, model::Lifetime::DEFAULT, token).await;
        Actor { user_id: Some(user.unwrap().id), ..owner.holding(secret.reveal()) }
    }

    /// Registers an OAuth2 client of the world's issuer as an application that may read repositories.
    pub async fn register(&self, owner: &Actor, client: &str) -> Answer {
        let token = self.issuer.client_token(client, self.clock.now());
        let new = json!({
            "name": "CI", "client_id": client, "access_token": token, "scopes": ["repositories:read"],
        });
        owner.post("/v1/applications", new).await
    }

    /// Lets the caller cache of every execution environment expire.
    pub fn callers_are_forgotten(&self) {
        self.clock.advance(TOKEN_CACHE_TTL);
    }

    /// Sets the permission that an account gives to every member, and lets it take effect.
    pub async fn set_base_permission(&self, owner: &Actor, base: &str) {
        let account = format!("ACCT#{}", owner.account_id.as_ref().unwrap());
        let base = AttributeValue::S(base.to_owned());
        self.set_attribute((&account, "ACCOUNT"), "base_permission", base).await;
        self.callers_are_forgotten();
    }

    /// Fails the test if an answer or the log has this text, from now on.
    pub fn hide(&self, secret: &str) {
        self.secrets.hide(secret);
    }

    /// Returns a caller without a token.
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

    /// Creates another token for the actor's user and returns a caller that holds it.
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
            version: 1,
        };
        change(&mut token);
        let author = Author::operator(&token.account_id, &token.user_id);
        token.create(&secret, model::Lifetime::DEFAULT, self.stack.app().table(), &author).await.unwrap();
        owner.holding(secret.reveal())
    }

    /// Signs the holder of a token in to the dashboard, without a request that counts. Returns a caller that has the session, and
    /// the session's ID.
    pub async fn session(&self, holder: &Actor) -> (Actor, String) {
        let token = holder.token.clone().unwrap();
        let origin = RequestOrigin { source_address: Ipv4Addr::LOCALHOST.into(), request_id: RequestId::random() };
        let app = self.stack.app();
        let signed_in = app.sign_in(&Proof::Token(token.into()), &HeaderMap::new(), &origin).await.unwrap();
        let cookie = signed_in.cookie.to_str().unwrap().to_owned();
        (holder.holding(session_secret(&cookie)), signed_in.session.id.to_string())
    }

    /// Claims a deployment for a runner that never reports again.
    pub async fn lose_a_runner(&self, owner: &Actor, deployment: &Value) -> Deployment {
        let (stored, now, table) = (self.stored(owner, deployment).await, self.clock.now(), self.stack.app().table());
        match stored.status {
            Status::Queued => {
                let turn = stored.claim_next_in_lane(table, self.terms(), now).await.unwrap();
                turn.into_claimed().expect("its lane and a permit are free")
            }
            _ => stored.claim_again(table, self.terms(), now).await.unwrap(),
        }
    }

    /// Ends the lease of a runner that does not renew it.
    pub async fn expire_lease(&self, owner: &Actor, deployment: &Value) {
        let pk = format!("ACCT#{}#DEPLOY#{}", owner.account_id.as_ref().unwrap(), deployment["id"].as_str().unwrap());
        self.set_attribute((&pk, "DEPLOY"), "lease_until", AttributeValue::N("0".to_owned())).await;
    }

    /// Returns the terms on which the stack's consumers claim deployments.
    pub fn terms(&self) -> Terms {
        let builds = self.stack.environment().settings.concurrent_builds().unwrap();
        Terms { lease: Duration::from_secs(60), time_limit: Duration::from_secs(600), builds }
    }

    /// Returns the items of repositories, deployments and idempotency keys, sorted.
    pub async fn items(&self) -> Vec<String> {
        let table = self.stack.app().table();
        let scanned = table.client().scan().table_name(table.name()).send().await.unwrap();
        assert!(scanned.last_evaluated_key().is_none());
        let of_deployments = |pk: &str| ["#REPO#", "#DEPLOY#", "#IDEM#"].iter().any(|kind| pk.contains(kind));
        let kept = scanned.items().iter().filter(|item| of_deployments(item["pk"].as_s().unwrap()));
        let mut items: Vec<_> = kept.map(text_of).collect();
        items.sort_unstable();
        items
    }

    /// Returns all texts and bytes of the table, bytes as the text that they would be if nobody had encrypted them.
    pub async fn items_in_clear(&self) -> String {
        let table = self.stack.app().table();
        let mut scanned = table.client().scan().table_name(table.name()).into_paginator().items().send();
        let mut text = String::new();
        while let Some(item) = scanned.try_next().await.unwrap() {
            for (name, value) in &item {
                let value = match value {
                    AttributeValue::B(bytes) => String::from_utf8_lossy(bytes.as_ref()).into_owned(),
                    other => format!("{other:?}"),
                };
                text.push_str(&format!("{name}: {value}\n"));
            }
        }
        text
    }

    /// Makes a connection look as if no repository used it.
    pub async fn forget_uses(&self, owner: &Actor, connection: &Value) {
        let (account, id) = (owner.account_id.as_ref().unwrap(), connection["id"].as_str().unwrap());
        let row = format!("ACCT#{account}#CONNECTION#{id}");
        self.set_attribute((&row, "CONNECTION"), "repositories", AttributeValue::N("0".to_owned())).await;
    }

    /// Reads a deployment from the table.
    pub async fn stored(&self, owner: &Actor, deployment: &Value) -> Deployment {
        let id = deployment["id"].as_str().unwrap().parse().unwrap();
        let found = Deployment::load(self.stack.app().table(), owner.account_id.as_ref().unwrap(), &id).await;
        found.unwrap().expect("the deployment is in the table")
    }

    /// Invokes the sweep as its schedule does. Returns its report or its error.
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

    /// Sends the message that names a deployment.
    pub async fn deliver(&self, owner: &Actor, deployment: &Value) {
        let message = json!({"account_id": owner.account_id, "deployment_id": deployment["id"]});
        self.send(&message.to_string()).await;
    }

    /// Counts the messages of a queue, including hidden and delayed ones.
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

    /// Reads every file of the data folder: logs, artifacts, and the table if it is kept.
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

    /// Starts new execution environments of the functions, with these settings, behind a gateway of their own.
    pub async fn gateway(&self, settings: Settings) -> Gateway {
        self.gateway_of(&Environment { settings, ..self.stack.environment().clone() }).await
    }

    /// Starts new execution environments of the functions behind a gateway of their own.
    pub async fn gateway_of(&self, environment: &Environment) -> Gateway {
        let routes = Routes::new(environment.http().unwrap()).unwrap();
        Gateway::start(([127, 0, 0, 1], 0).into(), routes, self.clock.clone()).await.unwrap()
    }

    /// Returns the lines that the functions have logged so far.
    pub fn log(&self) -> Vec<Value> {
        self.log.lines_with("")
    }

    /// Returns the line that the log has for an answer.
    pub fn line_of(&self, answer: &Answer) -> Value {
        let id = answer.header("x-request-id");
        let mut lines = self.log.lines_with(id);
        lines.retain(|line| line["request_id"] == id);
        assert_eq!(lines.len(), 1, "one line for {id}: {lines:?}");
        lines.remove(0)
    }

    /// Returns the DynamoDB calls and the capacity units of a request.
    pub fn cost(&self, answer: &Answer) -> (u64, f64) {
        cost_of(&self.line_of(answer))
    }

    /// Reads an item of the table.
    pub async fn item(&self, pk: String, sk: &str) -> HashMap<String, AttributeValue> {
        let table = self.stack.app().table();
        let (pk, sk) = (AttributeValue::S(pk), AttributeValue::S(sk.to_owned()));
        let read = table.client().get_item().table_name(table.name()).key("pk", pk).key("sk", sk).consistent_read(true);
        read.send().await.unwrap().item.unwrap()
    }

    /// Reads the items of the table whose sort key begins so.
    pub async fn items_with_prefix(&self, start: &str) -> Vec<HashMap<String, AttributeValue>> {
        let table = self.stack.app().table();
        let found = table.client().scan().table_name(table.name()).send().await.unwrap();
        assert!(found.last_evaluated_key.is_none(), "one page has the table");
        let starts = |item: &HashMap<String, AttributeValue>| item["sk"].as_s().unwrap().starts_with(start);
        found.items.unwrap().into_iter().filter(starts).collect()
    }

    /// Sets an attribute of an item in the table, as an operator would.
    pub async fn set_attribute(&self, (pk, sk): (&str, &str), attribute: &str, value: AttributeValue) {
        let table = self.stack.app().table();
        let key = |text: &str| AttributeValue::S(text.to_owned());
        let update = table.client().update_item().table_name(table.name()).key("pk", key(pk)).key("sk", key(sk));
        let update =
            update.update_expression("SET #attribute = :value").expression_attribute_names("#attribute", attribute);
        update.expression_attribute_values(":value", value).send().await.unwrap();
    }
}

/// Starts a stack on the ports of one that has stopped. A child process that another test starts has them too, until it runs its
/// program.
async fn start_again(options: &Options) -> Stack {
    let started = async || match Stack::start(options.clone()).await {
        Err(error) if error.to_string().contains("is in use") => None,
        started => Some(started.unwrap()),
    };
    eventually("a stack on the ports of the stopped one", started).await
}

/// Returns an item with its attributes in order, also those of the maps in it.
fn text_of(item: &HashMap<String, AttributeValue>) -> String {
    let field = |(name, value): (&String, &AttributeValue)| match value {
        AttributeValue::M(inner) => format!("{name:?}: M({})", text_of(inner)),
        other => format!("{name:?}: {other:?}"),
    };
    let fields: BTreeSet<_> = item.iter().map(field).collect();
    format!("{{{}}}", fields.into_iter().collect::<Vec<_>>().join(", "))
}
