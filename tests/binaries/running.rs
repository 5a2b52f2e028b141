//! An execution environment of Lambda.

use std::process::{ExitStatus, Stdio};
use std::sync::Arc;

use axum::Router;
use axum::http::StatusCode;
use axum::routing::{get, post};
use serde_json::Value;
use shared::clock::Clock;
use shared::settings::Settings;
use tempfile::TempDir;
use tests::body_of;
use tokio::io::AsyncReadExt;
use tokio::net::TcpListener;
use tokio::process::{Child, Command};
use tokio::sync::{Mutex, mpsc};

use super::{INVOCATION, PATIENCE, binary};

/// An execution environment: a binary and the Runtime API that it talks to.
pub(super) struct Running {
    pub(super) process: Child,
    _temporary: Arc<TempDir>,
    /// The host and port of the Runtime API.
    pub(super) address: String,
    events: mpsc::Sender<Value>,
    answers: mpsc::Receiver<Result<Value, Value>>,
}

impl Running {
    pub(super) async fn start(function: &str, settings: &Settings) -> Self {
        Self::start_in(Arc::new(tempfile::tempdir().unwrap()), function, settings).await
    }

    /// Starts a function whose temporary files are in a folder.
    pub(super) async fn start_in(temporary: Arc<TempDir>, function: &str, settings: &Settings) -> Self {
        Self::start_by(Command::new(binary(function)), temporary, function, settings).await
    }

    /// Starts a function by a command that runs its binary.
    pub(super) async fn start_by(
        mut command: Command,
        temporary: Arc<TempDir>,
        function: &str,
        settings: &Settings,
    ) -> Self {
        let (events, queued) = mpsc::channel(1);
        let (answered, answers) = mpsc::channel(1);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async { axum::serve(listener, runtime_api(queued, answered)).await });
        let process = command
            .env_clear()
            .envs(settings.iter())
            .env("PATH", std::env::var_os("PATH").unwrap())
            .env("AWS_LAMBDA_FUNCTION_NAME", function)
            .env("AWS_LAMBDA_FUNCTION_VERSION", "$LATEST")
            .env("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "256")
            .env("AWS_LAMBDA_RUNTIME_API", address.to_string())
            .env("AWS_LAMBDA_INITIALIZATION_TYPE", "on-demand")
            .env("TMPDIR", temporary.path())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        Self { process, _temporary: temporary, address: address.to_string(), events, answers }
    }

    /// Returns the function's response, or the error that it reports instead.
    pub(super) async fn invoke(&mut self, event: Value) -> Result<Value, Value> {
        self.events.send(event).await.unwrap();
        tokio::select! {
            answer = self.answers.recv() => answer.unwrap(),
            status = self.process.wait() => panic!("the process ended with {}", status.unwrap()),
            () = tokio::time::sleep(PATIENCE) => panic!("no answer"),
        }
    }

    /// Sends an event that the function does not survive. Returns how its process ended.
    pub(super) async fn die_of(&mut self, event: Value) -> ExitStatus {
        self.events.send(event).await.unwrap();
        tokio::select! {
            answer = self.answers.recv() => panic!("{answer:?}"),
            status = self.process.wait() => status.unwrap(),
            () = tokio::time::sleep(PATIENCE) => panic!("the process goes on"),
        }
    }

    /// Returns the response as an HTTP API would send it: status, headers and body.
    pub(super) async fn request(&mut self, event: Value) -> (u64, Value, Value) {
        let mut answer = self.invoke(event).await.unwrap();
        let body = body_of(&answer);
        (answer["statusCode"].as_u64().unwrap(), answer["headers"].take(), body)
    }

    /// Ends the process and returns its log lines.
    pub(super) async fn end(mut self) -> Vec<Value> {
        self.process.start_kill().unwrap();
        self.end_of_log().await
    }

    /// Returns the log lines of a process that ends.
    pub(super) async fn end_of_log(&mut self) -> Vec<Value> {
        let (mut log, mut errors) = (String::new(), String::new());
        self.process.stdout.take().unwrap().read_to_string(&mut log).await.unwrap();
        self.process.stderr.take().unwrap().read_to_string(&mut errors).await.unwrap();
        assert_eq!(errors, "");
        log.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }
}

fn runtime_api(events: mpsc::Receiver<Value>, answers: mpsc::Sender<Result<Value, Value>>) -> Router {
    let events = Arc::new(Mutex::new(events));
    let next = async move || match events.lock().await.recv().await {
        Some(event) => {
            let deadline = Clock::system().now().plus(PATIENCE).as_millis();
            let headers = [
                ("lambda-runtime-aws-request-id", INVOCATION.to_owned()),
                ("lambda-runtime-deadline-ms", deadline.to_string()),
                ("lambda-runtime-invoked-function-arn", "arn:aws:lambda:us-east-1:000000000000:function:f".to_owned()),
                ("lambda-runtime-trace-id", "Root=1-69243024-5d2f9a7b3c41e80617f6b2a9;Sampled=0".to_owned()),
            ];
            (headers, axum::Json(event))
        }
        None => std::future::pending().await,
    };
    let take = |outcome: fn(Value) -> Result<Value, Value>| {
        let answers = answers.clone();
        post(async move |body: String| {
            let body = serde_json::from_str(&body).unwrap();
            answers.send(outcome(body)).await.unwrap();
            StatusCode::ACCEPTED
        })
    };
    Router::new()
        .route("/2018-06-01/runtime/invocation/next", get(next))
        .route(&format!("/2018-06-01/runtime/invocation/{INVOCATION}/response"), take(Ok))
        .route(&format!("/2018-06-01/runtime/invocation/{INVOCATION}/error"), take(Err))
}
