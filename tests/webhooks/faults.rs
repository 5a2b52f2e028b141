//! Events under faults. Changes of an account, the sweep and the functions that send run against the embedded DynamoDB. A scheduler
//! decides by a seed alone which call comes next, which call fails before or after it took effect, which function dies at which of
//! its awaits, which message is lost, late or delivered twice, and what the receiver does.
//!
//! At the end, a receiver that ignores the IDs that it knows must have handled each event that was written, and no other.
//!
//!     FAULT_SEEDS=10000 cargo test --profile ci -p tests -- webhooks::faults:: --nocapture
//!
//! A failure names its seed. To repeat it: `FAULT_SEED=4711 cargo test -p tests -- webhooks::faults::`.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::pin::Pin;
use std::rc::Rc;
use std::time::Duration;

use aws_smithy_runtime_api::client::http::SharedHttpClient;
use local::table;
use send_webhooks::{Dispatching, Message, Response, Sender, Sending};
use serde_json::{Value, json};
use shared::App;
use shared::attempts::Pauses;
use shared::aws::{Aws, Limits};
use shared::clock::{Clock, Timestamp};
use shared::id::{TeamId, WebhookId};
use shared::model::{Author, Due, DueEntry, DueWebhookDelivery, Outbox, Team, Webhook, WebhookFilter, WebhookFormat};
use shared::queue::{WebhookMessage, WebhookQueue};
use shared::settings::{ARCHIVE_URL, Settings};
use shared::table::Table;
use shared::telemetry::Log;
use tests::{NOON, Random};

use crate::faults::aws::{Broken, Wire};
use crate::faults::{number, poll, run, runtime, step};

/// The number of webhooks. Each wants all events of teams.
const WEBHOOKS: usize = 2;

/// By receiver, the IDs of the events that it has handled, and the number of messages that it has accepted.
type Handled = BTreeMap<String, (BTreeSet<String>, usize)>;

#[derive(Clone)]
struct Scene {
    app: App,
    queue: WebhookQueue,
    wire: Wire,
    author: Author,
    sender: Rc<Sender>,
    handled: Rc<RefCell<Handled>>,
    teams: Rc<RefCell<usize>>,
    _key: Rc<tempfile::TempDir>,
}

type Task = Pin<Box<dyn Future<Output = ()>>>;

/// The numbers of a run, to see that faults happen.
#[derive(Clone, Copy, Debug, Default)]
struct Tally {
    events: usize,
    repeated: usize,
}

impl Scene {
    fn start(seed: u64, broken: Broken) -> Self {
        let key = tempfile::tempdir().unwrap();
        std::fs::write(key.path().join("key"), [7; 32]).unwrap();
        let wire = Wire::new(seed, broken);
        let settings = Settings::from([
            ("TABLE_NAME", "table".to_owned()),
            ("QUEUE_URL", "http://sqs/queue".to_owned()),
            ("STATUS_QUEUE_URL", "http://sqs/statuses".to_owned()),
            ("HOOK_QUEUE_URL", "http://sqs/hooks".to_owned()),
            ("WEBHOOK_QUEUE_URL", "http://sqs/webhooks".to_owned()),
            ("API_BASE_URL", "https://api.example.com".to_owned()),
            (ARCHIVE_URL, "memory:".to_owned()),
            ("VARIABLES_KEY", format!("file:{}", key.path().join("key").display())),
            ("AWS_REGION", "us-east-1".to_owned()),
            ("AWS_ACCESS_KEY_ID", "id".to_owned()),
            ("AWS_SECRET_ACCESS_KEY", "secret".to_owned()),
            ("AWS_ENDPOINT_URL", "http://aws".to_owned()),
        ]);
        let aws = Aws::new(&settings).unwrap().with_limits(Limits::PATIENT);
        let aws = aws.over(SharedHttpClient::new(wire.clone()));
        let table = Table::new(aws.dynamodb(), "table").with_pauses(Pauses::Never);
        let app = App::with_table(settings, aws, table, Clock::manual(NOON), Log::to(std::io::sink()));
        run(table::ensure(app.table().client(), "table")).unwrap();
        let (_, author) = run(tests::repository_of_a_new_account(&app, "acme", 10));
        for _ in 0..WEBHOOKS {
            run(webhook(&author, app.clock().now()).create(app.table(), &author)).unwrap();
        }
        let sender = Rc::new(Sender::new(&app).unwrap());
        let queue = WebhookQueue::new(&app).unwrap();
        let (handled, teams) = (Rc::default(), Rc::default());
        Self { app, queue, wire, author, sender, handled, teams, _key: Rc::new(key) }
    }

    fn random<T>(&self, draw: impl FnOnce(&mut Random) -> T) -> T {
        draw(&mut self.wire.services().random)
    }

    /// Makes an event, whose transaction may commit long after its time.
    async fn change(self) {
        *self.teams.borrow_mut() += 1;
        let now = self.app.clock().now();
        let team = Team {
            id: TeamId::random(),
            account_id: self.author.account_id().clone(),
            name: format!("team-{}", self.teams.borrow()).parse().unwrap(),
            description: "".parse().unwrap(),
            revision: 1,
            created_at: now,
            updated_at: now,
            deleting: false,
        };
        for _ in 0..self.random(|random| random.below(20)) {
            step().await;
        }
        let _ = team.create(self.app.table(), &self.author).await;
    }

    async fn handle(self, message: WebhookMessage) {
        let again = message.clone();
        let done = match message {
            WebhookMessage::Dispatch { account_id, planned } => {
                let dispatching = Dispatching { app: &self.app, queue: &self.queue };
                dispatching.dispatch(&account_id, planned).await.is_ok()
            }
            WebhookMessage::Send { account_id, webhook_id, deliveries } => {
                let sending = Sending { sender: &self.sender, post: |message| self.receive(message) };
                sending.send(&account_id, &webhook_id, deliveries, || true).await.is_ok()
            }
        };
        if !done {
            self.wire.services().sent.push(json!(again));
        }
    }

    /// Is the receiver: it may fail before or after it has handled the event.
    async fn receive(&self, message: Message) -> Response {
        step().await;
        let fate = if self.wire.services().faults { self.random(|random| random.below(10)) } else { 9 };
        let retry_after = (fate == 2).then(|| "30".to_owned());
        let answer = |status| Response::Answer { status, body: String::new(), retry_after };
        if fate == 0 {
            return Response::Silence("no".to_owned());
        }
        if fate <= 2 {
            return answer(503);
        }
        let id = message.headers.iter().find(|(name, _)| *name == "webhook-id").unwrap().1.clone();
        let body: Value = serde_json::from_slice(&message.body).unwrap();
        assert_eq!(body["id"], id);
        {
            let mut handled = self.handled.borrow_mut();
            let (ids, accepted) = handled.entry(message.url.to_string()).or_default();
            ids.insert(id);
            *accepted += 1;
        }
        step().await;
        match fate {
            3 => Response::Silence("the answer was lost".to_owned()),
            4 => answer(502),
            _ => answer(204),
        }
    }

    async fn sweep(self) {
        let mut context = lambda_runtime::Context::default();
        context.deadline = self.app.clock().now().plus(Duration::from_secs(60)).as_millis().unsigned_abs();
        let event = lambda_runtime::LambdaEvent::new(serde::de::IgnoredAny, context);
        let _ = sweep::Sweep::new(&self.app).unwrap().invoke(event).await;
    }

    fn take_message(&self) -> Option<WebhookMessage> {
        let mut services = self.wire.services();
        let waiting = services.sent.len();
        let at = (waiting > 0).then(|| services.random.below(waiting))?;
        Some(serde_json::from_value(services.sent.swap_remove(at)).unwrap())
    }

    /// Runs functions under faults. The seed alone decides their order.
    fn chaos(&self) {
        self.wire.services().faults = true;
        let mut tasks: Vec<Task> = Vec::new();
        for _ in 0..400 {
            match self.random(|random| random.below(100)) {
                0..=2 if *self.teams.borrow() < 8 => tasks.push(Box::pin(self.clone().change())),
                3..=12 => {
                    tasks.extend(self.take_message().map(|message| Box::pin(self.clone().handle(message)) as Task));
                }
                // The message is delivered twice.
                13..=14 => tasks.extend(self.take_message().map(|message| {
                    self.wire.services().sent.push(json!(message));
                    Box::pin(self.clone().handle(message)) as Task
                })),
                // The message is lost.
                15..=16 => drop(self.take_message()),
                17..=18 => tasks.push(Box::pin(self.clone().sweep())),
                19..=22 => {
                    let seconds = self.random(|random| 1 + random.below(30)) as u64;
                    self.app.clock().advance(Duration::from_secs(seconds));
                }
                // The function dies at one of its awaits.
                23..=24 if !tasks.is_empty() => {
                    let dies = self.random(|random| random.below(tasks.len()));
                    drop(tasks.swap_remove(dies));
                }
                _ if tasks.is_empty() => {}
                _ => {
                    let next = self.random(|random| random.below(tasks.len()));
                    if poll(tasks[next].as_mut()).is_ready() {
                        drop(tasks.swap_remove(next));
                    }
                }
            }
        }
        self.wire.services().faults = false;
    }

    /// Runs the sweep and delivers messages without faults until nothing is left to do.
    fn calm(&self) {
        for _ in 0..200 {
            self.app.clock().advance(Duration::from_secs(307));
            run(self.clone().sweep());
            for _ in 0..200 {
                let Some(message) = self.take_message() else { break };
                // An account is followed by messages that would follow each other here without a pause.
                if !matches!(message, WebhookMessage::Dispatch { planned: Some(_), .. }) {
                    run(self.clone().handle(message));
                }
            }
            let (table, end) = (self.app.table(), Timestamp::from_millis(i64::MAX));
            let is_pending = |shard| !run(DueWebhookDelivery::page(table, shard, end, None, 1)).unwrap().is_empty();
            let outbox = run(Outbox::load(table, self.author.account_id())).unwrap().unwrap();
            if !(0..Due::SHARDS).any(is_pending) && outbox.is_settled() {
                return;
            }
        }
    }

    /// Compares what the receivers have handled with the events that were written.
    fn check(&self) -> Result<Tally, String> {
        let partition = format!("ACCT#{}#AUDIT", self.author.account_id());
        let query = json!({
            "TableName": "table", "KeyConditionExpression": "pk = :pk",
            "ExpressionAttributeValues": {":pk": {"S": partition}},
        });
        let (status, answer) = self.wire.services().ask("Query", &query.to_string());
        assert_eq!(status, 200, "{answer}");
        let answer: Value = serde_json::from_str(&answer).unwrap();
        let events = answer["Items"].as_array().unwrap().iter().filter(|item| item["action"]["S"] == "team.created");
        let written: BTreeSet<String> = events.map(|item| item["id"]["S"].as_str().unwrap().to_owned()).collect();
        let handled = self.handled.borrow();
        let mut tally = Tally { events: written.len() * WEBHOOKS, repeated: 0 };
        if handled.len() != WEBHOOKS && !written.is_empty() {
            return Err(format!("{} receivers of {WEBHOOKS} got events", handled.len()));
        }
        for (receiver, (ids, accepted)) in handled.iter() {
            if *ids != written {
                let lost: Vec<_> = written.difference(ids).collect();
                return Err(format!("{receiver} did not get {lost:?} of {}", written.len()));
            }
            tally.repeated += accepted - ids.len();
        }
        Ok(tally)
    }
}

fn webhook(author: &Author, now: Timestamp) -> Webhook {
    let id = WebhookId::random();
    Webhook {
        url: format!("https://{}.example.com/", id.as_str().replace('_', "-")).parse().unwrap(),
        id,
        account_id: author.account_id().clone(),
        name: "Board".parse().unwrap(),
        format: WebhookFormat::Standard,
        filter: WebhookFilter {
            events: vec!["team.*".to_owned().try_into().unwrap()],
            repositories: Vec::new(),
            environments: Vec::new(),
        },
        sealed: None,
        previous: None,
        since: now,
        disabled: None,
        created_by: author.actor().clone(),
        created_at: now,
        updated_at: now,
        revision: 1,
        audit_retention: author.retention(),
    }
}

fn try_seed(seed: u64, broken: Broken) -> Result<Tally, String> {
    runtime().block_on(async {
        let scene = Scene::start(seed, broken);
        scene.chaos();
        scene.calm();
        scene.check()
    })
}

#[test]
fn no_fault_loses_an_event_or_makes_two_of_it() {
    let seeds = match number("FAULT_SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..number("FAULT_SEEDS").unwrap_or(30),
    };
    let mut all = Tally::default();
    for seed in seeds.clone() {
        let tally = try_seed(seed, Broken::Nothing).unwrap_or_else(|wrong| panic!("FAULT_SEED={seed}: {wrong}"));
        all = Tally { events: all.events + tally.events, repeated: all.repeated + tally.repeated };
    }
    println!("{} seeds: {all:?}", seeds.end - seeds.start);
    assert!(seeds.end - seeds.start < 30 || all.repeated > 0, "no fault has repeated a message: {all:?}");
}

/// Without its entry in the index of what is due, a delivery whose message is lost is lost. Without the second mark, an event that
/// becomes visible late is.
#[test]
fn the_absence_of_a_part_of_the_outbox_is_noticed() {
    for broken in [Broken::Pending, Broken::Settled] {
        let found = (0..300).find_map(|seed| Some((seed, try_seed(seed, broken).err()?)));
        let (seed, wrong) = found.unwrap_or_else(|| panic!("no seed notices the absence of {broken:?}"));
        println!("{broken:?}, seed {seed}: {wrong}");
    }
}
