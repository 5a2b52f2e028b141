//! What a million of a request costs at list prices.

use std::path::PathBuf;
use std::time::Duration;

use serde_json::{Value, json};
use shared::settings::Settings;
use tests::World;

use crate::calls::{Calls, capacity, steps};
use crate::environment::Environment;
use crate::fixture::{Account, Fixture};
use crate::report::{Report, Table};
use crate::{Result, binaries};

/// With the memory that the template gives them.
const ENDPOINTS: [(&str, f64); 4] = [
    ("list-repositories", 256.0),
    ("list-deployments", 256.0),
    ("get-deployment", 256.0),
    ("create-deployment", 512.0),
];
const CONSUMER: (&str, f64) = ("deployment-consumer", 2048.0);
/// Requests that CPU time is the mean of.
const REQUESTS: u32 = 500;

/// Dollars for a million in us-east-1, in November 2025: <https://aws.amazon.com/api-gateway/pricing/> (HTTP API, the first 300
/// million), <https://aws.amazon.com/lambda/pricing/> (arm64), <https://aws.amazon.com/dynamodb/pricing/on-demand/>,
/// <https://aws.amazon.com/sqs/pricing/> (standard), <https://aws.amazon.com/s3/pricing/> (PUT),
/// <https://aws.amazon.com/cloudwatch/pricing/> (for a megabyte of logs, so a million bytes).
mod price {
    pub const HTTP_API_REQUEST: f64 = 1.00;
    pub const LAMBDA_REQUEST: f64 = 0.20;
    pub const LAMBDA_GB_SECOND: f64 = 13.3334;
    pub const READ_UNIT: f64 = 0.125;
    pub const WRITE_UNIT: f64 = 0.625;
    pub const SQS_REQUEST: f64 = 0.40;
    pub const S3_PUT: f64 = 5.00;
    pub const LOG_GIGABYTE: f64 = 0.50;
}
/// What a call of an AWS service takes within a region, in milliseconds: an assumption, and not measured here.
const ROUND_TRIP: f64 = 5.0;
/// The memory with which a function gets a whole CPU, in MB
/// (<https://docs.aws.amazon.com/lambda/latest/dg/configuration-memory.html>).
const MEMORY_OF_A_CPU: f64 = 1769.0;

/// What one request uses.
struct Usage {
    name: &'static str,
    memory: f64,
    http_api: f64,
    steps: usize,
    /// Milliseconds on a CPU of this machine.
    cpu: f64,
    read: f64,
    written: f64,
    sqs: f64,
    s3_puts: f64,
    log_bytes: f64,
}

pub async fn measure() -> Result<Report> {
    let fixture = Fixture::start().await;
    let account = fixture.account(fixture.world.owner("acme").await, 15).await;
    let settings = fixture.settings();
    let mut usages = Vec::new();
    for (name, memory) in ENDPOINTS {
        usages.push(endpoint(name, memory, &account, &settings).await?);
    }
    usages.push(consumer(&fixture.world, &account, &settings).await?);

    let columns = ["function", "API Gateway", "Lambda", "DynamoDB", "SQS", "S3", "logs", "dollars a million"];
    let mut table = Table::new(columns);
    for usage in &usages {
        table.row(usage.bill());
    }
    let mut report = Report::new("cost", "What a million requests cost");
    let note = format!(
        "Counts times the list prices of us-east-1 in dollars a million (S3 a million PUTs, logs a gigabyte). A duration is \
         {ROUND_TRIP} ms for each call in sequence, which is assumed, and the CPU time of this machine times {MEMORY_OF_A_CPU} over the \
         function's memory, rounded up to a millisecond. deployment-consumer runs a build of one command that does nothing: a \
         real one adds its own time, {:.1} dollars for a million seconds, three units every 15 seconds and more log objects. Its SQS \
         requests are a receive and a delete; the send is create-deployment's, for which the time that the git host takes \
         is not in the duration.",
        CONSUMER.1 / 1024.0 * price::LAMBDA_GB_SECOND
    );
    report.section("By function", &note, &table);
    Ok(report)
}

async fn endpoint(name: &'static str, memory: f64, account: &Account, settings: &Settings) -> Result<Usage> {
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
    let [read, written] = capacity(&calls);
    Ok(Usage {
        name,
        memory,
        http_api: 1.0,
        steps: steps(&calls).len(),
        cpu: cpu.as_secs_f64() * 1e3,
        read,
        written,
        sqs: calls.iter().filter(|call| !call.is_dynamodb).count() as f64,
        s3_puts: 0.0,
        log_bytes: log_bytes as f64 / f64::from(REQUESTS),
    })
}

/// Runs two deployments whose build does nothing; tells of the second.
async fn consumer(world: &World, account: &Account, settings: &Settings) -> Result<Usage> {
    let (name, memory) = CONSUMER;
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
        let answer: Value = serde_json::from_slice(&environment.invoke(&event).await?.body)?;
        if answer != json!({"batchItemFailures": []}) {
            return Err(answer.to_string().into());
        }
        (cpu, s3_puts) = (environment.cpu()? - cpu_before, archived(world) - archived_before);
    }
    let (calls, log) = (calls.take(), environment.log());
    let [read, written] = capacity(&calls);
    Ok(Usage {
        name,
        memory,
        http_api: 0.0,
        steps: steps(&calls).len(),
        cpu: cpu.as_secs_f64() * 1e3,
        read,
        written,
        sqs: 2.0,
        s3_puts: s3_puts as f64,
        log_bytes: log.last().map_or(0, |line| line.to_string().len() + 1) as f64,
    })
}

/// Files in the archive, each of which is an object of S3.
fn archived(world: &World) -> usize {
    let in_archive = |path: &PathBuf| path.components().any(|part| part.as_os_str() == "archive");
    world.files().iter().filter(|(path, _)| in_archive(path)).count()
}

impl Usage {
    fn bill(&self) -> [String; 8] {
        let mut total = 0.0;
        let mut times = |count: f64, price: f64| {
            total += count * price;
            format!("{} × {price} = {:.2}", (count * 1e5).round() / 1e5, count * price)
        };
        let share = self.memory / MEMORY_OF_A_CPU;
        let duration = (self.steps as f64 * ROUND_TRIP + self.cpu / share.min(1.0)).ceil();
        let gb_seconds = duration / 1e3 * self.memory / 1024.0;
        let api = times(self.http_api, price::HTTP_API_REQUEST);
        let lambda = [times(1.0, price::LAMBDA_REQUEST), times(gb_seconds, price::LAMBDA_GB_SECOND)];
        let dynamodb = [times(self.read, price::READ_UNIT), times(self.written, price::WRITE_UNIT)];
        let sqs = times(self.sqs, price::SQS_REQUEST);
        let s3 = times(self.s3_puts, price::S3_PUT);
        // A million lines of n bytes are n / 1000 gigabytes.
        let log = times(self.log_bytes / 1e3, price::LOG_GIGABYTE);
        [
            self.name.to_owned(),
            api,
            format!(
                "{}; {} × {ROUND_TRIP} ms + {:.2} ms ÷ {:.3} → {duration} ms: {}",
                lambda[0],
                self.steps,
                self.cpu,
                share.min(1.0),
                lambda[1]
            ),
            format!("reads {}; writes {}", dynamodb[0], dynamodb[1]),
            sqs,
            s3,
            log,
            format!("{total:.2}"),
        ]
    }
}
