//! The cost of a million requests of one kind at list prices.

use std::path::PathBuf;
use std::time::Duration;

use serde_json::{Value, json};
use shared::settings::Settings;
use tests::World;

use crate::calls::{Calls, capacity, steps};
use crate::endpoints::{self, Served};
use crate::environment::Environment;
use crate::fixture::{Account, Fixture};
use crate::report::{Report, Table};
use crate::{Result, binaries};

/// The endpoints whose CPU time is measured.
const ENDPOINTS: [&str; 4] = ["list-repositories", "list-deployments", "get-deployment", "create-deployment"];
const CONSUMER: &str = "deployment-consumer";
/// The number of requests whose mean CPU time is taken.
const REQUESTS: u32 = 500;

/// Prices for a million in us-east-1, in US dollars, in November 2025: <https://aws.amazon.com/api-gateway/pricing/>
/// (HTTP API, the first 300 million), <https://aws.amazon.com/lambda/pricing/> (arm64),
/// <https://aws.amazon.com/dynamodb/pricing/on-demand/>, <https://aws.amazon.com/sqs/pricing/> (standard),
/// <https://aws.amazon.com/s3/pricing/> (PUT), <https://aws.amazon.com/cloudwatch/pricing/> (for a megabyte of logs, so
/// a million bytes).
pub(crate) mod price {
    pub(crate) const HTTP_API_REQUEST: f64 = 1.00;
    pub(crate) const LAMBDA_REQUEST: f64 = 0.20;
    pub(crate) const LAMBDA_GB_SECOND: f64 = 13.3334;
    pub(crate) const READ_UNIT: f64 = 0.125;
    pub(crate) const WRITE_UNIT: f64 = 0.625;
    pub(crate) const SQS_REQUEST: f64 = 0.40;
    pub(crate) const S3_PUT: f64 = 5.00;
    pub(crate) const KMS_REQUEST: f64 = 3.00;
    pub(crate) const LOG_GIGABYTE: f64 = 0.50;
}
/// The size of a line of the API's access log, in the template's format.
const ACCESS_LOG_BYTES: f64 = 330.0;
/// The time of a call to an AWS service within a region, in milliseconds. It is assumed, not measured.
const ROUND_TRIP: f64 = 5.0;
/// The memory with which a function gets a whole CPU, in MB
/// (<https://docs.aws.amazon.com/lambda/latest/dg/configuration-memory.html>).
const MEMORY_OF_A_CPU: f64 = 1769.0;

/// The resources that one request uses.
struct Usage {
    name: &'static str,
    memory: f64,
    http_api: f64,
    steps: usize,
    /// The time on a CPU of this machine, in milliseconds.
    cpu: f64,
    read: f64,
    written: f64,
    sqs: f64,
    s3_puts: f64,
    kms: f64,
    log_bytes: f64,
}

pub(crate) async fn measure() -> Result<Report> {
    let fixture = Fixture::start().await;
    let account = fixture.account(fixture.world.owner("acme").await, 15).await;
    let settings = fixture.settings();
    let mut usages = Vec::new();
    for name in ENDPOINTS {
        usages.push(endpoint(name, &account, &settings).await?);
    }
    usages.push(consumer(&fixture.world, &account, &settings).await?);

    let columns = ["function", "API Gateway", "Lambda", "DynamoDB", "SQS", "S3", "KMS", "logs", "dollars a million"];
    let mut table = Table::new(columns);
    for usage in &usages {
        table.row(usage.bill());
    }
    let mut report = Report::new("cost", "What a million requests cost");
    let note = format!(
        "Counts times the list prices of us-east-1 in dollars a million (S3 a million PUTs, logs a gigabyte). A duration is \
         {ROUND_TRIP} ms for each call in sequence, which is assumed, and the CPU time of this machine times {MEMORY_OF_A_CPU} over the \
         function's memory, rounded up to a millisecond. Of logs there are the function's line and, behind the API, one of \
         {ACCESS_LOG_BYTES} bytes. deployment-consumer runs a build of one command that does nothing: a \
         real one adds its own time, {:.1} dollars for a million seconds, three units every 15 seconds and more log objects. Its SQS \
         requests are a receive and a delete; the send is create-deployment's, for which the time that the git host takes \
         is not in the duration. Deployments have a secret variable, for which KMS is asked. Not in it are X-Ray (off by \
         default), storage, data transfer, metrics and alarms.",
        memory(CONSUMER) / 1024.0 * price::LAMBDA_GB_SECOND
    );
    report.section("By function", &note, &table);

    let columns = ["endpoint", "DynamoDB calls", "in sequence", "capacity units read, written", "dollars a million"];
    let mut table = Table::new(columns);
    for served in endpoints::serve_each().await? {
        let dynamodb_calls = served.calls.iter().filter(|call| call.is_dynamodb).count();
        let round_trips = served.round_trips;
        let usage = Usage::from(served);
        table.row([
            usage.name.to_owned(),
            dynamodb_calls.to_string(),
            round_trips.to_string(),
            format!("{:.1}, {:.1}", usage.read, usage.written),
            format!("{:.2}", usage.dollars()),
        ]);
    }
    let note = "One request each, of a function that knows the caller but was not asked for this before, in an account with a page \
                of repositories and a page of deployments. The same arithmetic without the CPU time, which is one to four cents above. get-deployment-log \
                also asks S3, 0.40 dollars for a million objects of log.";
    report.section("Every endpoint", note, &table);
    Ok(report)
}

async fn endpoint(name: &'static str, account: &Account, settings: &Settings) -> Result<Usage> {
    let (binary, event) = (binaries::function(name)?, account.event(name)?);
    let (_, calls) = Calls::of(&binary, settings, &event).await?;
    let mut environment = Environment::start(&binary, settings).await?;
    environment.request(&event).await?;
    environment.log();
    let before = environment.cpu()?;
    for _ in 0..REQUESTS {
        environment.request(&event).await?;
    }
    let cpu = (environment.cpu()? - before) / REQUESTS;
    let log_bytes: usize = environment.log().iter().map(|line| line.to_string().len() + 1).sum();
    let round_trips = steps(calls.iter().filter(|call| call.is_dynamodb)).len();
    let served = Served { function: name, calls, round_trips, log_bytes: log_bytes / REQUESTS as usize };
    Ok(Usage { cpu: cpu.as_secs_f64() * 1e3, ..Usage::from(served) })
}

/// Runs two deployments whose build does nothing. Returns the usage of the second.
async fn consumer(world: &World, account: &Account, settings: &Settings) -> Result<Usage> {
    let name = CONSUMER;
    let calls = Calls::default();
    let proxied = calls.in_front_of(settings, Duration::ZERO).await?;
    let mut creator = Environment::start(&binaries::function("create-deployment")?, settings).await?;
    let mut environment = Environment::start(&binaries::function(name)?, &proxied).await?;
    let (mut cpu, mut s3_puts) = (Duration::ZERO, 0);
    for _ in 0..2 {
        let created = creator.request(&account.event("create-deployment")?).await?;
        let created: Value = serde_json::from_slice(&created.body)?;
        let deployment: Value = serde_json::from_str(created["body"].as_str().ok_or("no body")?)?;
        let mut event = account.event(name)?;
        let message = json!({"account_id": account.id(), "deployment_id": deployment["id"]});
        event["Records"][0]["body"] = json!(message.to_string());
        let (cpu_before, archived_before) = (environment.cpu()?, archived(world));
        calls.take();
        environment.request(&event).await?;
        (cpu, s3_puts) = (environment.cpu()? - cpu_before, archived(world) - archived_before);
    }
    let (calls, log) = (calls.take(), environment.log());
    let round_trips = steps(calls.iter().filter(|call| call.is_dynamodb)).len();
    let log_bytes = log.last().map_or(0, |line| line.to_string().len() + 1);
    Ok(Usage {
        http_api: 0.0,
        cpu: cpu.as_secs_f64() * 1e3,
        sqs: 2.0,
        s3_puts: s3_puts as f64,
        ..Usage::from(Served { function: name, calls, round_trips, log_bytes })
    })
}

/// Returns the memory that the template gives a function, in MB.
fn memory(function: &str) -> f64 {
    match function {
        CONSUMER => 2048.0,
        "create-deployment" | "create-repository" => 512.0,
        _ => 256.0,
    }
}

/// Returns the number of requests to KMS, which the local stack does not make: one creates a data key for what is stored, such as a
/// deployment's secrets or the secret of a hook, and one decrypts it. A repeated deployment has both. A variable is a secret only if the
/// request says so, and the measured one does not.
fn kms_requests(function: &str) -> usize {
    match function {
        "create-deployment" | CONSUMER => 1,
        "create-connection" | "update-connection" | "check-connection" => 1,
        "create-hook" | "rotate-hook" | "create-webhook" | "rotate-webhook" => 1,
        // A function remembers the secrets of hooks, and the first delivery to one asks.
        "receive-hook" => 1,
        "retry-deployment" | "create-rollback" => 2,
        _ => 0,
    }
}

/// Returns the number of files in the archive, each of which is an object in S3.
fn archived(world: &World) -> usize {
    let in_archive = |path: &PathBuf| path.components().any(|part| part.as_os_str() == "archive");
    world.files().iter().filter(|(path, _)| in_archive(path)).count()
}

impl From<Served> for Usage {
    /// Returns the usage of a request without its CPU time. Calls to other services wait for one DynamoDB call.
    fn from(Served { function, calls, round_trips, log_bytes }: Served) -> Self {
        let [read, written] = capacity(&calls);
        let (sqs, kms) = (calls.iter().filter(|call| !call.is_dynamodb).count(), kms_requests(function));
        Self {
            name: function,
            memory: memory(function),
            http_api: 1.0,
            steps: round_trips + sqs + kms,
            cpu: 0.0,
            read,
            written,
            sqs: sqs as f64,
            s3_puts: 0.0,
            kms: kms as f64,
            log_bytes: log_bytes as f64,
        }
    }
}

impl Usage {
    /// Returns the billed duration in milliseconds.
    fn duration(&self) -> f64 {
        (self.steps as f64 * ROUND_TRIP + self.cpu / self.share_of_a_cpu()).ceil()
    }

    fn share_of_a_cpu(&self) -> f64 {
        (self.memory / MEMORY_OF_A_CPU).min(1.0)
    }

    /// Returns the billed items of a request: the amount of each, and the price of a million.
    fn items(&self) -> [(f64, f64); 9] {
        [
            (self.http_api, price::HTTP_API_REQUEST),
            (1.0, price::LAMBDA_REQUEST),
            (self.duration() / 1e3 * self.memory / 1024.0, price::LAMBDA_GB_SECOND),
            (self.read, price::READ_UNIT),
            (self.written, price::WRITE_UNIT),
            (self.sqs, price::SQS_REQUEST),
            (self.s3_puts, price::S3_PUT),
            (self.kms, price::KMS_REQUEST),
            // A million lines of n bytes are n / 1000 gigabytes.
            ((self.log_bytes + self.http_api * ACCESS_LOG_BYTES) / 1e3, price::LOG_GIGABYTE),
        ]
    }

    fn dollars(&self) -> f64 {
        self.items().iter().map(|(count, price)| count * price).sum()
    }

    /// Returns the bill with its arithmetic.
    fn bill(&self) -> [String; 9] {
        let times = |(count, price): (f64, f64)| {
            let rounded = (count * 1e5).round() / 1e5;
            if count == 0.0 { "none".to_owned() } else { format!("{rounded} × {price} = {:.2}", count * price) }
        };
        let [api, request, gb_seconds, read, written, sqs, s3, kms, log] = self.items().map(times);
        let (steps, share, duration) = (self.steps, self.share_of_a_cpu(), self.duration());
        let time = format!("{steps} × {ROUND_TRIP} ms + {:.2} ms ÷ {share:.3} → {duration} ms", self.cpu);
        [
            self.name.to_owned(),
            api,
            format!("{request}; {time}: {gb_seconds}"),
            format!("reads {read}; writes {written}"),
            sqs,
            s3,
            kms,
            log,
            format!("{:.2}", self.dollars()),
        ]
    }
}
