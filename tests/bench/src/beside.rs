//! Compares the rate limiter with another one for DynamoDB.

use std::process::{Command, Stdio};
use std::time::Duration;

use shared::App;
use shared::clock::Clock;
use shared::id::AccountId;
use shared::model::{Quota, Subject};
use shared::telemetry::Log;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout};

use crate::calls::{Calls, capacity};
use crate::fixture::{DYNAMODB, Fixture};
use crate::report::{Report, Table};
use crate::{Result, binaries};

const QUOTA: Quota = Quota { per_minute: 600, burst: 100 };
/// The number of requests by one subject without a pause. The burst is admitted first, then the refilled tokens.
const REQUESTS: u32 = 1000;

/// The calls of the requests with one outcome.
#[derive(Default)]
struct Tally {
    requests: u32,
    calls: usize,
    read: f64,
    written: f64,
}

/// zae-limiter in a process that decides about one request for each line.
struct ZaeLimiter {
    process: Child,
    requests: ChildStdin,
    verdicts: Lines<BufReader<ChildStdout>>,
}

pub(crate) async fn measure() -> Result<Report> {
    let fixture = Fixture::start().await;
    let calls = Calls::default();
    let settings = calls.in_front_of(&fixture.settings(), Duration::ZERO).await?;
    let app = App::new(settings.clone(), Clock::system(), Log::to(std::io::sink()))?;
    let subject = Subject::Account(AccountId::random());
    let mut zae_limiter = ZaeLimiter::start(settings.require(DYNAMODB)?).await?;
    app.limiter().admit(&subject, QUOTA).await?;
    zae_limiter.admit().await?;
    calls.take();

    let (mut ours, mut theirs) = (<[Tally; 2]>::default(), <[Tally; 2]>::default());
    for _ in 0..REQUESTS {
        let admitted = app.limiter().admit(&subject, QUOTA).await?.refused_for.is_none();
        ours[usize::from(admitted)].add(&calls);
    }
    for _ in 0..REQUESTS {
        let admitted = zae_limiter.admit().await?;
        theirs[usize::from(admitted)].add(&calls);
    }
    zae_limiter.process.kill().await?;

    let mut table =
        Table::new(["limiter", "outcome", "requests", "calls each", "units read each", "units written each"]);
    for (name, [refused, admitted]) in [("this one", ours), ("zae-limiter", theirs)] {
        for (outcome, tally) in [("admitted", admitted), ("refused", refused)] {
            let each = |total: f64| format!("{:.3}", total / f64::from(tally.requests.max(1)));
            table.row([
                name.to_owned(),
                outcome.to_owned(),
                tally.requests.to_string(),
                each(tally.calls as f64),
                each(tally.read),
                each(tally.written),
            ]);
        }
    }
    let Quota { per_minute, burst } = QUOTA;
    let requirement = std::fs::read_to_string(folder().join("requirements.txt"))?;
    let note = format!(
        "{REQUESTS} requests by one subject without a pause, after one that is not counted: {per_minute} a minute, {burst} at once. `{}` \
         from PyPI does so by its synchronous API with a stored limit, on the same embedded DynamoDB; its bucket knows no clock \
         minute. A write whose condition fails counts as 1 unit.",
        requirement.trim()
    );
    let mut report = Report::new("beside", "Beside others");
    report.section("The rate limiter", &note, &table);
    report.note("The functions are beside stand-ins in [cold](cold.md) and [warm](warm.md).");
    Ok(report)
}

impl Tally {
    fn add(&mut self, calls: &Calls) {
        let calls = calls.take();
        let [read, written] = capacity(&calls);
        self.requests += 1;
        self.calls += calls.len();
        self.read += read;
        self.written += written;
    }
}

impl ZaeLimiter {
    async fn start(dynamodb: &str) -> Result<Self> {
        let environment = binaries::target().join("zae-limiter");
        run(Command::new("python3").args(["-m", "venv"]).arg(&environment))?;
        let python = environment.join("bin/python");
        let requirements = folder().join("requirements.txt");
        run(Command::new(&python).args(["-m", "pip", "install", "--quiet", "--requirement"]).arg(requirements))?;
        let mut process = tokio::process::Command::new(python)
            .arg(folder().join("main.py"))
            .args([dynamodb, &QUOTA.per_minute.to_string(), &QUOTA.burst.to_string()])
            .env("AWS_ACCESS_KEY_ID", "local")
            .env("AWS_SECRET_ACCESS_KEY", "local")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()?;
        let requests = process.stdin.take().ok_or("it is piped")?;
        let verdicts = BufReader::new(process.stdout.take().ok_or("it is piped")?).lines();
        Ok(Self { process, requests, verdicts })
    }

    async fn admit(&mut self) -> Result<bool> {
        self.requests.write_all(b"\n").await?;
        let verdict = self.verdicts.next_line().await?;
        Ok(verdict.ok_or("zae-limiter ended")? == "admitted")
    }
}

fn folder() -> std::path::PathBuf {
    binaries::workspace().join("tests/bench/stand-ins/limiter")
}

fn run(command: &mut Command) -> Result<()> {
    if command.status()?.success() { Ok(()) } else { Err(format!("{command:?} failed").into()) }
}
