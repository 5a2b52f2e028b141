//! The memory of the local stack over many deployments.

use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use reqwest::{Client, Method, StatusCode};
use serde_json::{Value, json};
use tests::GitRepository;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};

use crate::Result;
use crate::binaries;
use crate::report::{Report, Table};

const LOOKS: [usize; 9] = [0, 200, 500, 1_000, 2_000, 4_000, 6_000, 8_000, 10_000];
/// The number of deployments after which the stack has what it keeps: its connections, its caches and the pages of its table.
const WARM: usize = 500;
/// The number of deployments over which the stack's memory has to be flat.
const MANY: usize = 2_000;
/// The number of deployments that take more than ten minutes. For so long, the database keeps the answers of transactions.
const SATURATED: usize = 8_000;
/// The number of deployments that are created together, each in a lane of its own.
const TOGETHER: usize = 20;
/// The growth of a stack that keeps nothing of a deployment.
const MOST_GROWTH: f64 = 1.1;

/// `cargo local` in a process of its own.
struct Stack {
    process: Child,
    client: Client,
    url: String,
    token: String,
}

/// The memory of a process in MiB.
#[derive(Clone, Copy)]
struct Memory {
    resident: f64,
    /// The part of it that no file backs.
    anonymous: f64,
}

pub(crate) async fn measure() -> Result<Report> {
    let mut report = Report::new("memory", "Memory");
    let source = GitRepository::with_commands(&["true"]);
    for at in 0..TOGETHER {
        source.git(&["branch", &format!("b{at}")]);
    }
    let data = tempfile::tempdir()?;
    let mut stack = Stack::start(&data.path().join("data"), Path::new(&source.url())).await?;
    let new = json!({"name": "measured", "clone_url": source.url()});
    stack.call(Method::POST, "/v1/repositories", Some(&new)).await?;
    let mut table = Table::new(["deployments", "minutes", "resident, MiB", "of it anonymous, MiB"]);
    let began = Instant::now();
    let (mut done, mut looks) = (0, Vec::new());
    for look in LOOKS {
        while done < look {
            stack.deploy_together().await?;
            done += TOGETHER;
        }
        let memory = stack.memory()?;
        eprintln!("{look} deployments: {:.1} MiB resident, {:.1} anonymous", memory.resident, memory.anonymous);
        let minutes = began.elapsed().as_secs_f64() / 60.0;
        let [minutes, resident, anonymous] =
            [minutes, memory.resident, memory.anonymous].map(|number| format!("{number:.1}"));
        table.row([look.to_string(), minutes, resident, anonymous]);
        looks.push((look, memory));
    }
    stack.process.kill().await?;
    let note = format!(
        "`cargo local` as its users run it: a debug build with the settings of `malloc` in `.cargo/config.toml`, and a table in a file. It is \
         looked at when all deployments have ended. Each has a build of one command that does nothing; {TOGETHER} are created together."
    );
    report.section("The local stack over many deployments", &note, &table);
    let after = |number| {
        looks.iter().find(|(look, _)| *look == number).map(|(_, memory)| *memory).ok_or("there is no such look")
    };
    let (warm, many, saturated, last) = (after(WARM)?, after(MANY)?, after(SATURATED)?, after(done)?);
    let grown = |from: Memory, to: Memory, count: usize| (to.anonymous - from.anonymous) * 1024.0 / count as f64;
    report.note(&format!(
        "Anonymous memory grew by {:.1} KiB a deployment from {WARM} to {MANY}, and by {:.1} KiB from {SATURATED} to {done}. The embedded \
         database keeps the answer of each transaction for ten minutes, as DynamoDB does.",
        grown(warm, many, MANY - WARM),
        grown(saturated, last, done - SATURATED),
    ));
    for (from, before, to, memory) in [(WARM, warm, MANY, many), (SATURATED, saturated, done, last)] {
        let growth = memory.resident / before.resident;
        let what = format!("resident memory of the local stack after {to} deployments, against {from}");
        report.target(&what, "≤ 1.1×", format!("{growth:.2}×"), growth <= MOST_GROWTH);
    }
    Ok(report)
}

impl Stack {
    async fn start(data: &Path, repository: &Path) -> Result<Self> {
        let mut command = Command::new(binaries::local()?);
        command.args(["--port", "0", "--data"]).arg(data).arg("--repo").arg(repository);
        for name in ["MALLOC_MMAP_THRESHOLD_", "MALLOC_TRIM_THRESHOLD_"] {
            command.env(name, "131072");
        }
        let mut process = command.stdin(Stdio::null()).stdout(Stdio::piped()).kill_on_drop(true).spawn()?;
        let mut lines = BufReader::new(process.stdout.take().ok_or("it is piped")?).lines();
        let mut printed = String::new();
        while !printed.ends_with("Press Ctrl-C to stop.") {
            printed.push('\n');
            printed.push_str(&lines.next_line().await?.ok_or_else(|| format!("the stack has ended: {printed}"))?);
        }
        // Nothing else is printed, and the pipe stays open.
        tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
        let after = |mark: &str| {
            let found = printed.split_once(mark).and_then(|(_, after)| after.split_whitespace().next());
            found.map(str::to_owned).ok_or_else(|| format!("the stack does not tell its {mark}: {printed}"))
        };
        let (url, token) = (after("The .git API runs at ")?, after("export TOKEN=")?);
        Ok(Self { process, client: Client::new(), url, token })
    }

    /// Creates a deployment of each branch, and waits until all have succeeded.
    async fn deploy_together(&self) -> Result<()> {
        for at in 0..TOGETHER {
            let new = json!({"ref": format!("b{at}")});
            self.call(Method::POST, "/v1/repositories/measured/deployments", Some(&new)).await?;
        }
        loop {
            let newest = self.call(Method::GET, &format!("/v1/deployments?per_page={TOGETHER}"), None).await?;
            let statuses = newest["data"].as_array().into_iter().flatten().map(|deployment| &deployment["status"]);
            let statuses: Vec<_> = statuses.filter_map(Value::as_str).collect();
            if statuses.iter().all(|status| *status == "succeeded") {
                return Ok(());
            }
            if let Some(other) = statuses.iter().find(|status| !["queued", "in_progress", "succeeded"].contains(status))
            {
                return Err(format!("a deployment is {other}").into());
            }
            tokio::time::sleep(Duration::from_millis(500)).await;
        }
    }

    /// Calls the API, and waits as long as it says if the account has too many requests.
    async fn call(&self, method: Method, path: &str, body: Option<&Value>) -> Result<Value> {
        loop {
            let request = self.client.request(method.clone(), format!("{}{path}", self.url)).bearer_auth(&self.token);
            let answer = match body {
                Some(body) => request.json(body),
                None => request,
            };
            let answer = answer.send().await?;
            if answer.status() == StatusCode::TOO_MANY_REQUESTS {
                let after = answer.headers().get("retry-after").and_then(|after| after.to_str().ok()?.parse().ok());
                tokio::time::sleep(Duration::from_secs(after.unwrap_or(1))).await;
                continue;
            }
            let status = answer.status();
            let answer: Value = answer.json().await?;
            return if status.is_success() { Ok(answer) } else { Err(format!("{path}: {answer}").into()) };
        }
    }

    fn memory(&self) -> Result<Memory> {
        let id = self.process.id().ok_or("the stack has ended")?;
        let status = std::fs::read_to_string(format!("/proc/{id}/status"))?;
        let field = |name: &str| -> Result<f64> {
            let line = status.lines().find_map(|line| line.strip_prefix(name)).ok_or("the kernel tells no memory")?;
            Ok(line.trim().trim_end_matches(" kB").parse::<f64>()? / 1024.0)
        };
        Ok(Memory { resident: field("VmRSS:")?, anonymous: field("RssAnon:")? })
    }
}
