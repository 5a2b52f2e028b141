//! Measures the time that the first request of an environment waits.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use serde_json::Value;
use shared::settings::Settings;

use crate::calls::{Calls, steps};
use crate::environment::Environment;
use crate::fixture::{DYNAMODB, Fixture, SQS};
use crate::report::{Report, Table, median, ratio};
use crate::tls::Authority;
use crate::{Result, binaries};

const FUNCTIONS: [&str; 4] = ["list-repositories", "create-deployment", "get-deployment", "deployment-consumer"];
/// The functions that read git repositories, and are larger because of gix.
const WITH_GIX: [&str; 2] = ["create-deployment", "deployment-consumer"];
const STAND_INS: [&str; 3] = ["hello", "tutorial", "lean"];
/// The number of starts of each binary. The binaries take turns.
const RUNS: usize = 81;
/// The pause before each start, in which the previous process finishes its work.
const PAUSE: Duration = Duration::from_millis(20);
const WARM_REQUESTS: usize = 20;

struct Subject {
    name: &'static str,
    binary: PathBuf,
    event: Value,
    starts: Vec<Start>,
    starts_with_tls: Vec<Start>,
}

/// One start, in milliseconds and bytes.
struct Start {
    init: f64,
    init_cpu: f64,
    connections_in_init: f64,
    connections_in_first: f64,
    first: f64,
    warm: f64,
    peak_memory: f64,
}

pub(crate) async fn measure() -> Result<Report> {
    let fixture = Fixture::start().await;
    let account = fixture.account(fixture.world.owner("acme").await, 11).await;
    let mut subjects = Vec::new();
    let mut add = |name, binary: PathBuf, event| {
        subjects.push(Subject { name, binary, event, starts: Vec::new(), starts_with_tls: Vec::new() });
    };
    for name in FUNCTIONS {
        add(name, binaries::function(name)?, account.event(name)?);
    }
    for name in STAND_INS {
        add(name, binaries::stand_in(name)?, account.event("list-repositories")?);
    }

    let plain = account.reader(&fixture.settings(), &[1]);
    let (authority, roots) = (Authority::new()?, tempfile::tempdir()?);
    let (aws_roots, system_roots) = (roots.path().join("aws.pem"), roots.path().join("system.pem"));
    authority.write_roots(&aws_roots, &system_roots)?;
    let (mut tls, connections) = (plain.clone(), Arc::new(AtomicUsize::new(0)));
    for service in [DYNAMODB, SQS] {
        tls.set(service, authority.in_front_of(plain.require(service)?, &connections).await?);
    }
    tls.set("AWS_CA_BUNDLE", aws_roots.display().to_string());
    tls.set("SSL_CERT_FILE", system_roots.display().to_string());
    for run in 0..RUNS {
        let mut turns: Vec<_> = subjects.iter_mut().collect();
        if run % 2 == 1 {
            turns.reverse();
        }
        for subject in turns {
            subject.starts.push(start(subject, &plain, &connections).await?);
            subject.starts_with_tls.push(start(subject, &tls, &connections).await?);
        }
    }

    let mut report = Report::new("cold", "A cold start");
    let lean = subjects.last().ok_or("there are stand-ins")?;
    let lean_size = binaries::sizes(&lean.binary)?.0 as f64;
    let lean_init = [lean.median(false, |start| start.init), lean.median(true, |start| start.init)];
    let lean_cpu = lean.median(true, |start| start.init_cpu);
    let mut sizes = Table::new(["binary", "MB", "× lean", "zipped MB", "peak RSS MB", "with TLS"]);
    let mut inits = Table::new(["binary", "init ms", "× lean", "init with TLS ms", "× lean", "its CPU ms", "× lean"]);
    let mut firsts = Table::new([
        "binary",
        "first ms",
        "warm ms",
        "first × warm",
        "first with TLS ms",
        "warm with TLS ms",
        "first × warm",
    ]);
    let columns = ["binary", "calls in sequence, first", "warm", "connections opened in init", "in the first request"];
    let mut why = Table::new(columns);
    for subject in &subjects {
        let name = subject.name;
        let (size, zipped) = binaries::sizes(&subject.binary)?;
        let size_over_lean = size as f64 / lean_size;
        sizes.row([
            name.to_owned(),
            megabytes(size as f64),
            ratio(size as f64, lean_size),
            megabytes(zipped as f64),
            megabytes(subject.median(false, |start| start.peak_memory)),
            megabytes(subject.median(true, |start| start.peak_memory)),
        ]);
        let init_cpu = subject.median(true, |start| start.init_cpu);
        let [init, init_with_tls] = [false, true].map(|tls| subject.median(tls, |start| start.init));
        inits.row([
            name.to_owned(),
            format!("{init:.2}"),
            ratio(init, lean_init[0]),
            format!("{init_with_tls:.2}"),
            ratio(init_with_tls, lean_init[1]),
            format!("{init_cpu:.2}"),
            ratio(init_cpu, lean_cpu),
        ]);
        let [first, first_with_tls] = [false, true].map(|tls| subject.median(tls, |start| start.first));
        let [warm, warm_with_tls] = [false, true].map(|tls| subject.median(tls, |start| start.warm));
        let milliseconds = |time: f64| format!("{time:.2}");
        firsts.row([
            name.to_owned(),
            milliseconds(first),
            milliseconds(warm),
            ratio(first, warm),
            milliseconds(first_with_tls),
            milliseconds(warm_with_tls),
            ratio(first_with_tls, warm_with_tls),
        ]);
        let (first, warm) = Calls::of(&subject.binary, &plain, &subject.event).await?;
        let connections = |figure| format!("{:.0}", subject.median(true, figure));
        why.row([
            name.to_owned(),
            steps(&first).len().to_string(),
            steps(&warm).len().to_string(),
            connections(|start| start.connections_in_init),
            connections(|start| start.connections_in_first),
        ]);
        if FUNCTIONS.contains(&name) {
            let times = init_with_tls / lean_init[1];
            let what = format!("init over the leanest stand-in, with TLS: {name}");
            report.target(&what, "≤ 1.3×", format!("{times:.2}×"), times <= 1.3);
            let times = first_with_tls / warm_with_tls;
            let what = format!("first request after init over a warm one, with TLS: {name}");
            report.target(&what, "≤ 2×", format!("{times:.2}×"), times <= 2.0);
        }
        if FUNCTIONS.contains(&name) && !WITH_GIX.contains(&name) {
            let what = format!("binary size over the leanest stand-in: {name}");
            report.target(&what, "≤ 1.4×", format!("{size_over_lean:.2}×"), size_over_lean <= 1.4);
        }
    }
    let note =
        "The zip is what Lambda gets. Memory is the most that the process had after one first and 20 warm requests.";
    report.section("Size", note, &sizes);
    let note = format!(
        "From exec to the first call for an event: the median of {RUNS} starts in which the binaries take turns. With TLS, DynamoDB and SQS \
         are behind TLS 1.3 with a certificate of P-256; the functions trust Amazon's roots and one more, the tutorial's the \
         system's. `lean` and the functions open their connection in init, `tutorial` in its first request and `hello` never."
    );
    report.section("Init", &note, &inits);
    let note = "From the event to its response: the first of a start, and the median of the 20 after it. deployment-consumer gets a message \
                once more whose deployment has ended. The embedded DynamoDB is a debug build, so trust the ratios.";
    report.section("First request", note, &firsts);
    let note = "Calls of AWS services in sequence, and new TLS connections. The first request of a token reads the token, and then whom it \
                stands for and where their rate limit stands; calls at once need a connection each.";
    report.section("What the first request does more", note, &why);
    Ok(report)
}

async fn start(subject: &Subject, settings: &Settings, connections: &AtomicUsize) -> Result<Start> {
    tokio::time::sleep(PAUSE).await;
    connections.store(0, Ordering::Relaxed);
    let mut environment = Environment::start(&subject.binary, settings).await?;
    let (init_cpu, connections_in_init) = (environment.cpu()?, connections.swap(0, Ordering::Relaxed));
    let first = environment.invoke(&subject.event).await?.took;
    let connections_in_first = connections.load(Ordering::Relaxed);
    let mut warm = Vec::new();
    for _ in 0..WARM_REQUESTS {
        warm.push(environment.invoke(&subject.event).await?.took.as_secs_f64() * 1e3);
    }
    let start = Start {
        init: environment.init.as_secs_f64() * 1e3,
        init_cpu: init_cpu.as_secs_f64() * 1e3,
        connections_in_init: connections_in_init as f64,
        connections_in_first: connections_in_first as f64,
        first: first.as_secs_f64() * 1e3,
        warm: median(warm),
        peak_memory: environment.peak_memory()? as f64,
    };
    environment.end().await?;
    Ok(start)
}

impl Subject {
    fn median(&self, tls: bool, figure: fn(&Start) -> f64) -> f64 {
        let starts = if tls { &self.starts_with_tls } else { &self.starts };
        median(starts.iter().map(figure))
    }
}

fn megabytes(bytes: f64) -> String {
    format!("{:.2}", bytes / 1e6)
}
