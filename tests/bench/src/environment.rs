//! An execution environment: a binary as Lambda starts it, and the Runtime API that it polls for events
//! (<https://docs.aws.amazon.com/lambda/latest/dg/runtimes-api.html>).

use std::path::Path;
use std::process::Stdio;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::IntoResponse;
use axum::routing::{get, post};
use bytes::Bytes;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use shared::clock::Clock;
use shared::settings::Settings;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::net::TcpListener;
use tokio::process::{Child, Command};
use tokio::sync::{Mutex, mpsc, watch};

use crate::Result;

const INVOCATION: &str = "8476a536-e9f4-11e8-9739-2dfe598c3fcd";
/// The time after which a process counts as hung.
const PATIENCE: Duration = Duration::from_secs(60);

pub(crate) struct Environment {
    process: Child,
    /// The time from exec to the first call for an event.
    pub init: Duration,
    events: mpsc::Sender<Bytes>,
    answers: mpsc::Receiver<Result<Answer>>,
    log: mpsc::UnboundedReceiver<Value>,
}

/// The response to an event, and the time that it took.
pub(crate) struct Answer {
    pub body: Bytes,
    pub took: Duration,
}

struct RuntimeApi {
    events: Mutex<mpsc::Receiver<Bytes>>,
    answers: mpsc::Sender<Result<Answer>>,
    first_asked: watch::Sender<Option<Instant>>,
    given: std::sync::Mutex<Instant>,
}

impl Environment {
    /// Starts a binary and waits until it asks for an event.
    pub(crate) async fn start(binary: &Path, settings: &Settings) -> Result<Self> {
        Self::start_as(Command::new(binary), settings).await
    }

    /// Starts a binary under callgrind, which counts instructions into a file.
    pub(crate) async fn start_counting(binary: &Path, settings: &Settings, counts: &Path) -> Result<Self> {
        let mut valgrind = Command::new("valgrind");
        valgrind.arg("--tool=callgrind").arg(format!("--callgrind-out-file={}", counts.display())).arg(binary);
        Self::start_as(valgrind, settings).await
    }

    async fn start_as(mut command: Command, settings: &Settings) -> Result<Self> {
        let (events, queued) = mpsc::channel(1);
        let (answered, answers) = mpsc::channel(1);
        let (first_asked, mut asked) = watch::channel(None);
        let api = RuntimeApi {
            events: Mutex::new(queued),
            answers: answered,
            first_asked,
            given: std::sync::Mutex::new(Instant::now()),
        };
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        tokio::spawn(async { axum::serve(listener, api.router()).await });

        command
            .env_clear()
            .envs(settings.iter())
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("AWS_LAMBDA_FUNCTION_NAME", "measured")
            .env("AWS_LAMBDA_FUNCTION_VERSION", "$LATEST")
            .env("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "256")
            .env("AWS_LAMBDA_RUNTIME_API", address.to_string())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .kill_on_drop(true);
        let started = Instant::now();
        let mut process = command.spawn()?;
        let (lines, log) = mpsc::unbounded_channel();
        let mut stdout = BufReader::new(process.stdout.take().expect("it is piped")).lines();
        tokio::spawn(async move {
            while let Ok(Some(line)) = stdout.next_line().await {
                let _ = serde_json::from_str(&line).map(|line| lines.send(line));
            }
        });
        let asked = tokio::select! {
            asked = asked.wait_for(Option::is_some) => asked?.expect("it was waited for"),
            status = process.wait() => return Err(format!("{command:?} ended with {}", status?).into()),
            () = tokio::time::sleep(PATIENCE) => return Err(format!("{command:?} asks for no event").into()),
        };
        Ok(Self { process, init: asked - started, events, answers, log })
    }

    /// # Errors
    /// Fails if the binary answers with an error, or not at all.
    pub(crate) async fn invoke(&mut self, event: &Value) -> Result<Answer> {
        self.events.send(event.to_string().into()).await?;
        let answer = tokio::time::timeout(PATIENCE, self.answers.recv()).await?;
        answer.ok_or("the Runtime API is gone")?
    }

    /// Invokes the binary, and fails unless API Gateway would return a success or SQS would delete the messages.
    pub(crate) async fn request(&mut self, event: &Value) -> Result<Answer> {
        let answer = self.invoke(event).await?;
        let response: Value = serde_json::from_slice(&answer.body)?;
        match response["statusCode"].as_u64() {
            Some(200..300) => Ok(answer),
            None if response == json!({"batchItemFailures": []}) => Ok(answer),
            _ => Err(format!("{response}").into()),
        }
    }

    /// Returns the lines that the binary has logged since the last call.
    pub(crate) fn log(&mut self) -> Vec<Value> {
        std::iter::from_fn(|| self.log.try_recv().ok()).collect()
    }

    /// Returns the time that the binary's threads have run on a CPU so far.
    pub(crate) fn cpu(&self) -> Result<Duration> {
        let mut total = Duration::ZERO;
        for task in std::fs::read_dir(format!("{}/task", self.proc()))? {
            let statistics = std::fs::read_to_string(task?.path().join("schedstat"))?;
            let on_cpu = statistics.split(' ').next().unwrap_or_default();
            total += Duration::from_nanos(on_cpu.parse()?);
        }
        Ok(total)
    }

    /// Returns the peak memory of the binary, in bytes.
    pub(crate) fn peak_memory(&self) -> Result<u64> {
        let status = std::fs::read_to_string(format!("{}/status", self.proc()))?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).ok_or("no VmHWM")?;
        Ok(line.trim().trim_end_matches(" kB").parse::<u64>()? * 1024)
    }

    /// Asks the process to end, and waits.
    pub(crate) async fn end(mut self) -> Result<()> {
        let id = self.process.id().and_then(|id| Pid::from_raw(id.cast_signed()));
        kill_process(id.ok_or("it has ended already")?, Signal::TERM)?;
        self.process.wait().await?;
        Ok(())
    }

    fn proc(&self) -> String {
        format!("/proc/{}", self.process.id().unwrap_or_default())
    }
}

impl RuntimeApi {
    fn router(self) -> Router {
        Router::new()
            .route("/2018-06-01/runtime/invocation/next", get(next))
            .route("/2018-06-01/runtime/invocation/{id}/response", post(response))
            .route("/2018-06-01/runtime/invocation/{id}/error", post(failed))
            .with_state(Arc::new(self))
    }
}

async fn next(State(api): State<Arc<RuntimeApi>>) -> impl IntoResponse {
    api.first_asked.send_if_modified(|asked| asked.is_none() && asked.replace(Instant::now()).is_none());
    let Some(event) = api.events.lock().await.recv().await else { return std::future::pending().await };
    let deadline = Clock::system().now().plus(PATIENCE).as_millis();
    let headers = [
        ("content-type", "application/json".to_owned()),
        ("lambda-runtime-aws-request-id", INVOCATION.to_owned()),
        ("lambda-runtime-deadline-ms", deadline.to_string()),
        ("lambda-runtime-invoked-function-arn", "arn:aws:lambda:us-east-1:000000000000:function:f".to_owned()),
        ("lambda-runtime-trace-id", "Root=1-69243024-5d2f9a7b3c41e80617f6b2a9;Sampled=0".to_owned()),
    ];
    *api.given.lock().expect("nobody panics with it") = Instant::now();
    (headers, event)
}

async fn response(State(api): State<Arc<RuntimeApi>>, body: Bytes) -> StatusCode {
    let took = api.given.lock().expect("nobody panics with it").elapsed();
    let _ = api.answers.send(Ok(Answer { body, took })).await;
    StatusCode::ACCEPTED
}

async fn failed(State(api): State<Arc<RuntimeApi>>, error: String) -> StatusCode {
    let _ = api.answers.send(Err(error.into())).await;
    StatusCode::ACCEPTED
}
