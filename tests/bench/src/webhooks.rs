//! The cost of webhooks, and the number of events that a function sends beside the posts of a client alone.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::Bytes;
use axum::http::StatusCode;
use futures_util::{StreamExt, TryStreamExt, stream};
use local::function::Function;
use local::functions::Environment;
use serde_json::{Value, json};
use shared::aws::{Aws, Limits};
use shared::model::{FOLLOWED_FOR, READ_AFTER, SENDING_SLOTS};
use shared::settings::WEBHOOK_QUEUE_URL;
use tests::{Actor, World};
use tokio::net::TcpListener;

use crate::Result;
use crate::calls::{Calls, capacity};
use crate::cost::price;
use crate::report::{Report, Table, ratio};

const DELIVERIES: usize = 1_000;
/// The number of events that are found together.
const TOGETHER: usize = 100;
/// The number of events that are found one at a time.
const ALONE: usize = 20;
const RECEIVERS: [usize; 2] = [1, 10];
/// The memory of the function, in gigabytes.
const MEMORY: f64 = 0.25;
/// The times of a call within a region and of a receiver's answer, in seconds. They are assumed, not measured.
const ROUND_TRIP: f64 = 0.005;
const ANSWER: f64 = 0.1;
/// The size of a line of the function's log.
const LOG_BYTES: f64 = 450.0;

/// The use of services by some deliveries.
#[derive(Clone, Copy, Default)]
struct Usage {
    deliveries: usize,
    invocations: usize,
    dynamodb: usize,
    read: f64,
    written: f64,
}

/// A stack whose function for webhooks is called by the measurement alone.
struct Bench {
    world: World,
    owner: Actor,
    calls: Calls,
    function: Function,
    sqs: aws_sdk_sqs::Client,
    queue: String,
    received: Arc<AtomicUsize>,
    invocations: AtomicUsize,
    url: String,
}

pub(crate) async fn measure() -> Result<Report> {
    let mut report = Report::new("webhooks", "Webhooks");
    let columns = [
        "",
        "deliveries",
        "DynamoDB calls",
        "read units",
        "write units",
        "SQS requests",
        "invocations",
        "dollars a million",
    ];
    let (mut costs, mut rates) = (Table::new(columns), Vec::new());
    for receivers in RECEIVERS {
        let bench = Bench::start(receivers).await?;
        let alone = bench.post_alone().await?;
        let (usage, took) = bench.together(DELIVERIES / receivers / TOGETHER).await?;
        let rate = usage.deliveries as f64 / took.as_secs_f64();
        rates.push((receivers, rate, alone));
        costs.row(usage.row(&format!("{TOGETHER} events found together, receivers: {receivers}")));
    }
    let bench = Bench::start(1).await?;
    costs.row(bench.one_at_a_time().await?.row("events found one at a time, receivers: 1"));
    let (looks, usage) = bench.follow().await?;
    let note = format!(
        "Counts for each delivery, of a team's events, and their price in us-east-1: each call takes {} ms and the receiver {} ms, which is \
         assumed, in a function of {MEMORY} GB that logs {LOG_BYTES} bytes for each message. A message is sent, received and deleted. An event about \
         a deployment costs two more reads. KMS is asked once for each webhook and execution environment. Not in it are the looks at a \
         followed account: {looks} in the {} minutes after its last event, each {:.0} calls, {:.1} read units and {:.0} SQS requests.",
        ROUND_TRIP * 1e3,
        ANSWER * 1e3,
        FOLLOWED_FOR.as_secs() / 60,
        usage.dynamodb as f64 / looks as f64,
        usage.read / looks as f64,
        usage.sqs() / looks as f64,
    );
    report.section("Cost of a delivery", &note, &costs);

    let mut table = Table::new(["receivers", "beside 1 receiver", "beside bare posts"]);
    for (receivers, rate, alone) in &rates {
        table.row([receivers.to_string(), ratio(*rate, rates[0].1), ratio(*rate, *alone)]);
    }
    let note = format!(
        "Deliveries a second of {DELIVERIES} deliveries, from the look at the outbox to the last answer, as ratios: to those to one receiver, and \
         to the posts that a client sends to the same receiver one after the other. {SENDING_SLOTS} webhooks of an account are sent to at a \
         time. The receiver answers at once, and all shares two cores with the embedded DynamoDB, a debug build, so what a delivery waits for \
         here is the table. A real receiver takes longer: one that answers in {ANSWER} s gets at most {:.0} events a second.",
        1.0 / ANSWER
    );
    report.section("Throughput", &note, &table);
    Ok(report)
}

impl Bench {
    /// Starts a stack with an account that has webhooks to one receiver.
    async fn start(webhooks: usize) -> Result<Self> {
        let world = World::start_with(|options| {
            options.overrides.push((WEBHOOK_QUEUE_URL, "http://127.0.0.1/0/nowhere".to_owned()));
        })
        .await;
        let owner = world.owner_with(1_000_000, 1_000_000, "acme").await;
        let (url, received) = receiver().await?;
        for _ in 0..webhooks {
            let new = json!({"name": "Board", "url": url, "events": ["team.updated"]});
            owner.post("/v1/webhooks", new).await;
        }
        let calls = Calls::default();
        let mut settings = calls.in_front_of(&world.stack.environment().settings, Duration::ZERO).await?;
        let queue = world.stack.dead_letter_queue().to_owned();
        settings.set(WEBHOOK_QUEUE_URL, queue.clone());
        let sqs = Aws::new(&settings)?.with_limits(Limits::PATIENT).sqs();
        let function = Environment { settings, ..world.stack.environment().clone() }.send_webhooks()?;
        let invocations = AtomicUsize::new(0);
        Ok(Self { world, owner, calls, function, sqs, queue, received, invocations, url })
    }

    /// Makes this number of events, a millisecond apart.
    async fn change(&self, events: usize) -> Result<()> {
        let team = self.owner.team(&format!("team-{}", self.received.load(Ordering::Relaxed))).await;
        let path = format!("/v1/teams/{}", team["id"].as_str().ok_or("no team")?);
        for event in 0..events {
            self.world.clock.advance(Duration::from_millis(1));
            let changed = self.owner.patch(&path, json!({"description": format!("{event}")})).await;
            if changed.status != 200 {
                return Err(format!("{changed:?}").into());
            }
        }
        self.world.clock.advance(READ_AFTER + Duration::from_secs(1));
        Ok(())
    }

    /// Delivers some rounds of events that are found together. Returns the use of services, and the time.
    async fn together(&self, rounds: usize) -> Result<(Usage, Duration)> {
        let (mut all, mut took) = (Usage::default(), Duration::ZERO);
        for _ in 0..rounds {
            self.change(TOGETHER).await?;
            let before = self.begin();
            let began = Instant::now();
            self.deliver().await?;
            took += began.elapsed();
            all = all.and(self.usage(before));
        }
        Ok((all, took))
    }

    /// Makes the deliveries of new events, and sends them until no message about them is left.
    async fn deliver(&self) -> Result<()> {
        self.dispatch().await?;
        loop {
            let messages = self.take().await?;
            if messages.is_empty() {
                return Ok(());
            }
            self.send(messages).await?;
        }
    }

    /// Delivers events that are found one at a time, each long after the one before.
    async fn one_at_a_time(&self) -> Result<Usage> {
        let mut all = Usage::default();
        // The first event also asks for the secret, and notes that the receiver works.
        for event in 0..=ALONE {
            self.world.clock.advance(FOLLOWED_FOR * 2);
            self.change(1).await?;
            let before = self.begin();
            self.deliver().await?;
            if event > 0 {
                all = all.and(self.usage(before));
            }
        }
        Ok(all)
    }

    /// Looks at an account that is followed and has no events. Returns the number of looks in the time for which it is followed.
    async fn follow(&self) -> Result<(usize, Usage)> {
        self.change(1).await?;
        self.dispatch().await?;
        let before = self.begin();
        let mut looks = 0;
        let end = self.world.clock.now().plus(FOLLOWED_FOR);
        while self.world.clock.now() < end {
            self.world.clock.advance(shared::model::FOLLOWED_EVERY);
            let planned = self.world.clock.now();
            self.invoke(&json!({"dispatch": {"account_id": self.owner.account_id, "planned": planned}})).await?;
            looks += 1;
        }
        Ok((looks, self.usage(before)))
    }

    /// Returns the number of messages a second that a client posts to the receiver one after the other.
    async fn post_alone(&self) -> Result<f64> {
        let (client, body) = (reqwest::Client::new(), vec![b'a'; 700]);
        let began = Instant::now();
        for _ in 0..DELIVERIES {
            client.post(&self.url).body(body.clone()).send().await?.error_for_status()?;
        }
        Ok(DELIVERIES as f64 / began.elapsed().as_secs_f64())
    }

    fn begin(&self) -> usize {
        self.calls.take();
        self.invocations.store(0, Ordering::Relaxed);
        self.received.load(Ordering::Relaxed)
    }

    fn usage(&self, received_before: usize) -> Usage {
        let calls = self.calls.take();
        let [read, written] = capacity(&calls);
        let dynamodb = calls.iter().filter(|call| call.is_dynamodb).count();
        Usage {
            deliveries: self.received.load(Ordering::Relaxed) - received_before,
            invocations: self.invocations.load(Ordering::Relaxed),
            dynamodb,
            read,
            written,
        }
    }

    async fn dispatch(&self) -> Result<()> {
        self.invoke(&json!({"dispatch": {"account_id": self.owner.account_id}})).await
    }

    async fn invoke(&self, message: &Value) -> Result<()> {
        self.invocations.fetch_add(1, Ordering::Relaxed);
        let event = json!({"Records": [{"messageId": "m", "body": message.to_string()}]});
        let handled = self.function.invoke(event).await?;
        if handled == json!({"batchItemFailures": []}) { Ok(()) } else { Err(handled.to_string().into()) }
    }

    /// Receives and deletes the messages about deliveries, as Lambda does, and returns them by webhook.
    async fn take(&self) -> Result<BTreeMap<String, Vec<Value>>> {
        let mut by_webhook = BTreeMap::<_, Vec<Value>>::new();
        loop {
            let received = self.sqs.receive_message().queue_url(&self.queue).send().await?;
            let Some(message) = received.messages().first() else { return Ok(by_webhook) };
            let delete = self.sqs.delete_message().queue_url(&self.queue);
            delete.set_receipt_handle(message.receipt_handle().map(str::to_owned)).send().await?;
            let body: Value = serde_json::from_str(message.body().unwrap_or_default())?;
            if let Some(webhook) = body["send"]["webhook_id"].as_str() {
                by_webhook.entry(webhook.to_owned()).or_default().push(body);
            }
        }
    }

    /// Handles the messages of each webhook one after the other, and those of as many webhooks as may be sent to at a time.
    async fn send(&self, messages: BTreeMap<String, Vec<Value>>) -> Result<()> {
        let of_webhook = |messages: Vec<Value>| async move {
            for message in messages {
                self.invoke(&message).await?;
            }
            Ok(())
        };
        let all = stream::iter(messages.into_values().map(of_webhook)).buffer_unordered(SENDING_SLOTS);
        all.try_collect().await
    }
}

impl Usage {
    fn and(self, other: Self) -> Self {
        Self {
            deliveries: self.deliveries + other.deliveries,
            invocations: self.invocations + other.invocations,
            dynamodb: self.dynamodb + other.dynamodb,
            read: self.read + other.read,
            written: self.written + other.written,
        }
    }

    /// Returns the number of requests of SQS: each invocation has a message, which was sent and received and is deleted.
    fn sqs(&self) -> f64 {
        3.0 * self.invocations as f64
    }

    fn dollars(&self) -> f64 {
        let (deliveries, invocations) = (self.deliveries as f64, self.invocations as f64);
        let seconds = (self.dynamodb as f64 + invocations) * ROUND_TRIP + deliveries * ANSWER;
        let all = self.read * price::READ_UNIT
            + self.written * price::WRITE_UNIT
            + self.sqs() * price::SQS_REQUEST
            + invocations * price::LAMBDA_REQUEST
            + seconds * MEMORY * price::LAMBDA_GB_SECOND
            + invocations * LOG_BYTES / 1e3 * price::LOG_GIGABYTE;
        all / deliveries
    }

    fn row(&self, what: &str) -> [String; 8] {
        let each = |count: f64| format!("{:.2}", count / self.deliveries as f64);
        [
            what.to_owned(),
            self.deliveries.to_string(),
            each(self.dynamodb as f64),
            each(self.read),
            each(self.written),
            each(self.sqs()),
            each(self.invocations as f64),
            format!("{:.2}", self.dollars()),
        ]
    }
}

/// Starts a receiver that accepts everything at once. Returns its URL and the number of its messages.
async fn receiver() -> Result<(String, Arc<AtomicUsize>)> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let (url, received) = (format!("http://{}/", listener.local_addr()?), Arc::<AtomicUsize>::default());
    let count = received.clone();
    let accept = async move |_: Bytes| {
        count.fetch_add(1, Ordering::Relaxed);
        StatusCode::NO_CONTENT
    };
    tokio::spawn(async { axum::serve(listener, Router::new().fallback(accept)).await });
    Ok((url, received))
}
