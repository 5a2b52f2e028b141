//! The cost of a request in a warm environment.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::Value;
use shared::settings::Settings;

use crate::calls::{Call, Calls, capacity, steps};
use crate::environment::Environment;
use crate::fixture::{Account, Fixture};
use crate::report::{Report, Table, median, percentile, ratio};
use crate::{Result, binaries};

/// The functions to measure, with their maximum number of sequential DynamoDB round trips.
const FUNCTIONS: [(&str, usize); 5] = [
    ("list-repositories", 1),
    ("get-deployment", 1),
    ("list-deployments", 1),
    ("create-deployment", 3),
    ("deployment-consumer", 1),
];
/// The number of rounds in which the binaries take turns.
const ROUNDS: usize = 10;
const REQUESTS_A_ROUND: usize = 500;
const WARM_UP: usize = 100;
/// The number of requests that callgrind counts. It also counts twice as many, because the difference contains no
/// start-up.
const COUNTED_REQUESTS: usize = 200;
/// The number of seconds with requests for the limiter. A new minute begins in between.
const MIX_SECONDS: u32 = 65;

/// A binary with its events.
struct Subject {
    name: String,
    binary: PathBuf,
    settings: Settings,
    event: Value,
}

/// A running binary, and the cost of its requests in microseconds: the CPU time of each round, and the duration of each
/// request.
struct Served<'a> {
    subject: &'a Subject,
    environment: Environment,
    cpu: Vec<f64>,
    took: Vec<f64>,
    bytes: usize,
}

/// The figures of a request.
struct Figures {
    name: String,
    cpu_micros: f64,
    p50_micros: f64,
    p99_micros: f64,
    instructions: f64,
    bytes: usize,
    peak_memory: u64,
    /// The number of calls in the function's own log.
    dynamodb_calls: f64,
    capacity_units: f64,
}

pub(crate) async fn measure() -> Result<Report> {
    let mut report = Report::new("warm", "A warm request");
    let (hello, tutorial, lean) =
        (binaries::stand_in("hello")?, binaries::stand_in("tutorial")?, binaries::stand_in("lean")?);
    let binaries = FUNCTIONS.map(|(function, _)| binaries::function(function));
    let fixture = Fixture::start().await;
    let account = fixture.account(fixture.world.owner("acme").await, 15).await;
    let new_account = fixture.account(fixture.world.owner("new").await, 0).await;
    let settings = fixture.settings();
    // The stand-ins are HTTP functions that answer every event alike.
    let for_stand_ins = account.event("list-repositories")?;

    let mut table = Table::new([
        "binary",
        "CPU µs",
        "CPU × lean",
        "instructions",
        "instructions × lean",
        "p50 µs",
        "p99 µs",
        "bytes",
        "peak RSS MB",
    ]);
    let mut calls_table = Table::new([
        "function",
        "DynamoDB calls",
        "in sequence",
        "capacity units read, written",
        "other calls",
        "DynamoDB calls by its log",
        "capacity units by its log",
    ]);
    for ((function, most), binary) in FUNCTIONS.into_iter().zip(binaries) {
        let (binary, event) = (binary?, account.event(function)?);
        let (_, calls) = Calls::of(&binary, &settings, &event).await?;
        let steps_of_all = steps(&calls);
        let lean = Subject {
            name: format!("lean, calls {}", shape(&steps_of_all)),
            binary: lean.clone(),
            settings: account.reader(&settings, &steps_of_all),
            event: for_stand_ins.clone(),
        };
        let subject = |name: String, event| Subject { name, binary: binary.clone(), settings: settings.clone(), event };
        let mut subjects = vec![subject(function.to_owned(), event), lean];
        if function.starts_with("list-") {
            subjects.push(subject(format!("{function}, new account"), new_account.event(function)?));
        }
        let figures = side_by_side(&subjects).await?;
        add_rows(&mut table, &figures, 1);

        let [ours, lean, ..] = &figures[..] else { unreachable!("two subjects or three") };
        let dynamodb = || calls.iter().filter(|call| call.is_dynamodb);
        let [read, written] = capacity(&calls);
        let in_sequence = steps(dynamodb());
        calls_table.row([
            function.to_owned(),
            dynamodb().count().to_string(),
            format!("{} ({})", in_sequence.len(), shape(&in_sequence)),
            format!("{read:.1}, {written:.1}"),
            others(&calls),
            format!("{:.3}", ours.dynamodb_calls),
            format!("{:.2}", ours.capacity_units),
        ]);
        let what = format!("DynamoDB round trips in sequence, warm: {function}");
        let target = if most == 1 { "1".to_owned() } else { format!("{most} or fewer") };
        report.target(&what, &target, in_sequence.len().to_string(), in_sequence.len() <= most);
        let times = ours.cpu_micros / lean.cpu_micros;
        let what = format!("CPU per warm request over a bare stand-in with as many calls: {function}");
        let measured = format!("{times:.2}× (by instructions {})", ratio(ours.instructions, lean.instructions));
        report.target(&what, "≤ 1.25×", measured, times <= 1.25);
    }
    let stand_ins = [("hello", hello), ("tutorial", tutorial), ("lean, calls 1", lean)].map(|(name, binary)| Subject {
        name: name.to_owned(),
        binary,
        settings: account.reader(&settings, &[1]),
        event: for_stand_ins.clone(),
    });
    let figures = side_by_side(&stand_ins).await?;
    add_rows(&mut table, &figures, 2);

    let note = format!(
        "{} requests through a Runtime API, in {ROUNDS} rounds in which the binaries take turns; each function beside the lean stand-in \
         with the same calls (`1,2` is one and then two at once). The page of repositories has 15 rows and that of deployments ten, \
         of eleven that are read; in a new account they have one and none, so the difference is what rows take. deployment-consumer \
         gets a message again and again whose deployment has ended. CPU is the median of the rounds, user and kernel together. \
         Instructions are callgrind's, of which the kernel's are not. p50 and p99 are with the embedded DynamoDB in a debug build \
         on the same cores: noisy, and no figures of AWS.",
        ROUNDS * REQUESTS_A_ROUND
    );
    report.section("CPU, time and memory", &note, &table);
    let note = "Seen by a proxy that holds each call for 20 ms, so that what is called at once overlaps, for a request after a pause of a \
                second. The log's figures are the mean of all requests in the table above: every 30 seconds the token is read again.";
    report.section("Calls", note, &calls_table);
    limiter(&fixture, &mut report).await?;
    Ok(report)
}

/// Serves the requests of all subjects in turns.
async fn side_by_side(subjects: &[Subject]) -> Result<Vec<Figures>> {
    let mut all = Vec::new();
    for subject in subjects {
        all.push(Served::warm(subject).await?);
    }
    for round in 0..ROUNDS {
        let mut turns: Vec<_> = all.iter_mut().collect();
        if round % 2 == 1 {
            turns.reverse();
        }
        for served in turns {
            served.round().await?;
        }
    }
    let mut figures = Vec::new();
    for served in all {
        figures.push(served.end().await?);
    }
    Ok(figures)
}

impl<'a> Served<'a> {
    async fn warm(subject: &'a Subject) -> Result<Self> {
        let mut environment = Environment::start(&subject.binary, &subject.settings).await?;
        for _ in 0..WARM_UP {
            environment.request(&subject.event).await?;
        }
        environment.log();
        Ok(Self { subject, environment, cpu: Vec::new(), took: Vec::new(), bytes: 0 })
    }

    async fn round(&mut self) -> Result<()> {
        let before = self.environment.cpu()?;
        for _ in 0..REQUESTS_A_ROUND {
            let answer = self.environment.request(&self.subject.event).await?;
            self.took.push(micros(answer.took));
            self.bytes = answer.body.len();
        }
        self.cpu.push(micros(self.environment.cpu()? - before) / REQUESTS_A_ROUND as f64);
        Ok(())
    }

    async fn end(mut self) -> Result<Figures> {
        let log = self.environment.log();
        let mean = |name: &str| log.iter().filter_map(|line| line[name].as_f64()).sum::<f64>() / self.took.len() as f64;
        let figures = Figures {
            name: self.subject.name.clone(),
            cpu_micros: median(self.cpu),
            p50_micros: percentile(self.took.iter().copied(), 50),
            p99_micros: percentile(self.took.iter().copied(), 99),
            instructions: instructions(self.subject).await?,
            bytes: self.bytes,
            peak_memory: self.environment.peak_memory()?,
            dynamodb_calls: mean("dynamodb_calls"),
            capacity_units: mean("dynamodb_capacity_units"),
        };
        self.environment.end().await?;
        Ok(figures)
    }
}

/// Returns the instructions of a request.
async fn instructions(subject: &Subject) -> Result<f64> {
    let folder = tempfile::tempdir()?;
    let mut counts = Vec::new();
    for requests in [COUNTED_REQUESTS, 2 * COUNTED_REQUESTS] {
        let file = folder.path().join("callgrind.out");
        let mut environment = Environment::start_counting(&subject.binary, &subject.settings, &file).await?;
        for _ in 0..requests {
            environment.request(&subject.event).await?;
        }
        environment.end().await?;
        counts.push(counted(&file)?);
    }
    Ok((counts[1] - counts[0]) / COUNTED_REQUESTS as f64)
}

fn counted(callgrind: &Path) -> Result<f64> {
    let output = std::fs::read_to_string(callgrind)?;
    let total = output.lines().find_map(|line| line.strip_prefix("totals: ").or(line.strip_prefix("summary: ")));
    Ok(total.ok_or("callgrind gives no total")?.trim().parse()?)
}

fn add_rows(table: &mut Table, figures: &[Figures], lean: usize) {
    let lean = &figures[lean];
    for each in figures {
        table.row([
            each.name.clone(),
            format!("{:.0}", each.cpu_micros),
            ratio(each.cpu_micros, lean.cpu_micros),
            format!("{:.0}", each.instructions),
            ratio(each.instructions, lean.instructions),
            format!("{:.0}", each.p50_micros),
            format!("{:.0}", each.p99_micros),
            each.bytes.to_string(),
            format!("{:.1}", each.peak_memory as f64 / 1e6),
        ]);
    }
}

/// Measures the rate limiter: with eight requests at the start of each second, and with requests beyond the limit.
async fn limiter(fixture: &Fixture, report: &mut Report) -> Result<()> {
    const MIX: [&str; 8] = [
        "list-repositories",
        "get-deployment",
        "list-deployments",
        "get-deployment",
        "create-deployment",
        "get-deployment",
        "list-repositories",
        "get-deployment",
    ];
    let account = fixture.account(fixture.world.owner_on("pro", "busy").await, 1).await;
    let calls = Calls::default();
    let settings = calls.in_front_of(&fixture.settings(), Duration::ZERO).await?;
    let mut environments = BTreeMap::new();
    for function in BTreeSet::from(MIX) {
        let mut environment = Environment::start(&binaries::function(function)?, &settings).await?;
        environment.request(&account.event(function)?).await?;
        environments.insert(function, environment);
    }
    let mut table = Table::new(["requests", "number", "rate-limit writes each", "DynamoDB calls each"]);
    let mut writes_each = Vec::new();
    for (what, mix) in [("admitted, by four functions", MIX), ("admitted, by one function", ["get-deployment"; 8])] {
        calls.take();
        let mut seconds = tokio::time::interval(Duration::from_secs(1));
        for _ in 0..MIX_SECONDS {
            seconds.tick().await;
            for function in mix {
                let environment = environments.get_mut(function).ok_or("a function of the mix is not started")?;
                environment.request(&account.event(function)?).await?;
            }
        }
        let (calls, requests) = (calls.take(), MIX_SECONDS as usize * mix.len());
        let each = |count: usize| count as f64 / requests as f64;
        let writes = each(calls.iter().filter(|call| call.counts_a_request).count());
        let dynamodb = each(calls.iter().filter(|call| call.is_dynamodb).count());
        table.row([what.to_owned(), requests.to_string(), format!("{writes:.3}"), format!("{dynamodb:.3}")]);
        writes_each.push(writes);
    }

    let account = Account::with_nothing(fixture.world.owner_on("starter", "small").await);
    let environment = environments.get_mut("list-repositories").ok_or("it is in the mix")?;
    let event = account.event("list-repositories")?;
    while status(environment, &event).await? == 200 {}
    let (mut refused, mut calls_of_refused) = (0, 0);
    for _ in 0..500 {
        calls.take();
        if status(environment, &event).await? == 429 {
            refused += 1;
            calls_of_refused += calls.take().len();
        }
    }
    let calls_each = format!("{:.3}", calls_of_refused as f64 / f64::from(refused));
    table.row(["refused".to_owned(), refused.to_string(), calls_each.clone(), calls_each.clone()]);

    let note = format!(
        "An account on the plan Pro sends eight requests at the start of each of {MIX_SECONDS} seconds, half of them get-deployment \
         and one create-deployment, and then the same number of get-deployment only. One on the plan Starter goes on when its \
         burst is used up. A write is repeated when another function has counted a request since the one that writes last saw \
         the limit, and the bucket is in use because of that."
    );
    report.section("The rate limit", &note, &table);
    for (writes, of) in writes_each.into_iter().zip(["of four functions", "of one function"]) {
        let what = format!("rate-limit writes per admitted request over a realistic mix {of}");
        report.target(&what, "≤ 1.05", format!("{writes:.3}"), writes <= 1.05);
    }
    report.target("DynamoDB calls per refused request, warm", "0", calls_each, calls_of_refused == 0);
    Ok(())
}

async fn status(environment: &mut Environment, event: &Value) -> Result<u64> {
    let response: Value = serde_json::from_slice(&environment.invoke(event).await?.body)?;
    response["statusCode"].as_u64().ok_or_else(|| format!("no status: {response}").into())
}

fn shape(steps: &[usize]) -> String {
    steps.iter().map(usize::to_string).collect::<Vec<_>>().join(",")
}

fn others(calls: &[Call]) -> String {
    let others: Vec<_> = calls.iter().filter(|call| !call.is_dynamodb).map(|call| call.operation.as_str()).collect();
    if others.is_empty() { "none".to_owned() } else { others.join(", ") }
}

fn micros(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e6
}
