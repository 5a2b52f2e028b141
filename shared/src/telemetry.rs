//! One JSON line per request or queue message, in CloudWatch's embedded metric format.
//!
//! The format is written by hand: it is the few lines of [`Metrics`], and the metrics crates would bring a global
//! recorder or a background thread.

use std::error::Error;
use std::fmt;
use std::io::Write;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde::ser::Error as _;
use serde::{Serialize, Serializer};

use crate::capability::conceal;
use crate::clock::{Clock, Timestamp};
use crate::error::chain;
use crate::id::{AccountId, DeploymentId, RequestId, SessionId, TokenId, UserId};
use crate::name::ClientId;
use crate::settings::Settings;
use crate::trace::TraceContext;
use crate::usage::Usage;

/// The target of log lines: stdout in Lambda, a file in the local stack, memory in tests.
#[derive(Clone)]
pub struct Log {
    writer: Arc<Mutex<dyn Write + Send>>,
    clock: Clock,
}

/// A line with the time at which it was written, and the span that it belongs to. Lambda takes a line without a `timestamp` in RFC 3339 for one of level INFO
/// (<https://docs.aws.amazon.com/lambda/latest/dg/monitoring-cloudwatchlogs-log-level.html>).
#[derive(Serialize)]
struct Line<'a, L> {
    #[serde(serialize_with = "rfc_3339")]
    timestamp: Timestamp,
    #[serde(flatten)]
    span: Option<TraceContext>,
    #[serde(flatten)]
    line: &'a L,
}

fn rfc_3339<S: Serializer>(timestamp: &Timestamp, serializer: S) -> Result<S::Ok, S::Error> {
    let time = jiff::Timestamp::from_millisecond(timestamp.as_millis()).map_err(S::Error::custom)?;
    serializer.collect_str(&format_args!("{time:.3}"))
}

impl Log {
    /// Returns a log that takes the time of its lines from the system. An [`App`](crate::App) sets its own clock.
    pub fn to(writer: impl Write + Send + 'static) -> Self {
        Self { writer: Arc::new(Mutex::new(writer)), clock: Clock::system() }
    }

    pub(crate) fn timed_by(self, clock: Clock) -> Self {
        Self { clock, ..self }
    }

    /// Returns the log that Lambda reads.
    pub fn stdout() -> Self {
        Self::to(std::io::stdout())
    }

    /// Writes a line. Loses the line if it can't be written: no request fails for its log.
    pub fn write(&self, line: &impl Serialize) {
        let line = Line { timestamp: self.clock.now(), span: TraceContext::current(), line };
        let Ok(text) = serde_json::to_string(&line) else { return };
        // An error of the archive or of AWS may name an object or a secret.
        let mut text = conceal(&text).into_owned();
        text.push('\n');
        let mut writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner);
        let _ = writer.write_all(text.as_bytes()).and_then(|()| writer.flush());
    }
}

/// A failure that the request survives.
#[derive(Serialize)]
struct WarningLine<'a> {
    level: Level,
    message: &'a str,
    cause: String,
}

impl Log {
    /// Logs a failure that the caller survives.
    pub fn warn(&self, message: &str, cause: &dyn Error) {
        self.write(&WarningLine { level: Level::Warn, message, cause: chain(cause) });
    }
}

impl fmt::Debug for Log {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Log")
    }
}

/// The level of a line, as Lambda filters by it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Level {
    /// The request or the message was handled, or refused for a fault of the client.
    Info,
    /// A failure that the request survived.
    Warn,
    /// The request or the message failed for a fault of the stack.
    Error,
}

/// The line of one request. It never has a body, a token or a variable's value.
#[derive(Serialize)]
pub(crate) struct RequestLine<'a> {
    #[serde(flatten)]
    pub metrics: Metrics<'a>,
    pub level: Level,
    pub request_id: &'a RequestId,
    /// The ids of the request and of the invocation in the gateway's access log.
    pub(crate) gateway_request_id: Option<&'a str>,
    pub(crate) lambda_request_id: Option<&'a str>,
    #[serde(flatten)]
    pub trace: Option<&'a TraceContext>,
    pub route: &'a str,
    pub status: u16,
    pub account_id: Option<&'a AccountId>,
    /// The user, or the user that stands for the application.
    pub actor_id: Option<&'a UserId>,
    /// The personal access token, or else the OAuth2 client whose token the request has.
    pub token_id: Option<&'a TokenId>,
    pub client_id: Option<&'a ClientId>,
    /// The session whose cookie the request has.
    pub session_id: Option<&'a SessionId>,
    /// The address as the gateway reports it.
    pub source_address: IpAddr,
    pub code: Option<&'static str>,
    pub cause: Option<String>,
    /// The limiter's failure, if it failed.
    pub(crate) limiter_failure: Option<String>,
}

/// The line of one queue message.
#[derive(Serialize)]
pub struct MessageLine<'a> {
    /// The cost and the duration of the message.
    #[serde(flatten)]
    pub metrics: Metrics<'a>,
    /// [`Level::Error`] if the message could not be handled and comes again.
    pub level: Level,
    /// The ID in SQS or EventBridge, if there is one.
    pub message_id: Option<&'a str>,
    /// The deployment, once the message could be parsed.
    pub deployment_id: Option<&'a DeploymentId>,
    /// A word for the result, such as `succeeded` or `waits`.
    pub outcome: &'a str,
    /// The error with its sources, if there is one.
    pub cause: Option<String>,
}

/// The deployed version of a function, as Lambda names it to the function.
#[derive(Clone, Debug)]
pub(crate) struct Release {
    /// The stack's name, a dash and the function's.
    function: String,
    version: String,
}

impl Release {
    pub(crate) fn of(settings: &Settings) -> Self {
        let text = |name, otherwise: &str| settings.get(name).unwrap_or(otherwise).to_owned();
        Self { function: text("AWS_LAMBDA_FUNCTION_NAME", ""), version: text("AWS_LAMBDA_FUNCTION_VERSION", "$LATEST") }
    }

    /// Returns the name of the stack, or `local` outside of a stack: the value of a dimension can't be empty.
    fn stack(&self, function: &str) -> &str {
        let stack = self.function.strip_suffix(function).and_then(|stack| stack.strip_suffix('-'));
        stack.filter(|stack| !stack.is_empty()).unwrap_or("local")
    }
}

/// The members that CloudWatch turns into metrics of the namespace `GitApi`, by stack and function
/// (<https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/CloudWatch_Embedded_Metric_Format_Specification.html>).
#[derive(Serialize)]
pub struct Metrics<'a> {
    _aws: Metadata,
    stack: &'a str,
    function: &'a str,
    version: &'a str,
    duration_ms: f64,
    dynamodb_calls: u32,
    dynamodb_capacity_units: f64,
    /// The round trips, in the log only: a metric of its own would cost money and say little.
    dynamodb_round_trips: u32,
    /// Whether this version failed. The alarm that stops a rollout counts it by version, so it counts only failures that a bad
    /// version can have.
    server_errors: u8,
}

impl<'a> Metrics<'a> {
    pub(crate) fn new(
        release: &'a Release,
        function: &'a str,
        at: Timestamp,
        duration: Duration,
        usage: Usage,
        failed: bool,
    ) -> Self {
        Self {
            _aws: Metadata { timestamp: at.as_millis(), directives: Directive::ALL },
            stack: release.stack(function),
            function,
            version: &release.version,
            duration_ms: duration.as_secs_f64() * 1000.0,
            dynamodb_calls: usage.calls,
            dynamodb_capacity_units: usage.capacity_units,
            dynamodb_round_trips: usage.round_trips,
            server_errors: failed.into(),
        }
    }
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Metadata {
    timestamp: i64,
    #[serde(rename = "CloudWatchMetrics")]
    directives: [Directive; 2],
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Directive {
    namespace: &'static str,
    dimensions: [&'static [&'static str]; 1],
    metrics: &'static [Metric],
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Metric {
    name: &'static str,
    unit: &'static str,
}

impl Directive {
    const ALL: [Self; 2] = [
        Self {
            namespace: "GitApi",
            dimensions: [&["stack", "function"]],
            metrics: &[
                Metric { name: "duration_ms", unit: "Milliseconds" },
                Metric { name: "dynamodb_calls", unit: "Count" },
                Metric { name: "dynamodb_capacity_units", unit: "Count" },
            ],
        },
        Self {
            namespace: "GitApi",
            dimensions: [&["stack", "function", "version"]],
            metrics: &[Metric { name: "server_errors", unit: "Count" }],
        },
    ];
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metrics_tell_the_stack_and_the_version() {
        let of = |name: &str| {
            let settings = Settings::from([
                ("AWS_LAMBDA_FUNCTION_NAME", name.to_owned()),
                ("AWS_LAMBDA_FUNCTION_VERSION", "12".to_owned()),
            ]);
            let release = Release::of(&settings);
            let at = Timestamp::from_millis(1_733_063_400_999);
            let metrics = Metrics::new(&release, "get-team", at, Duration::ZERO, Usage::default(), true);
            serde_json::to_value(metrics).unwrap()
        };
        let line = of("git-api-prod-get-team");
        let values = ["stack", "function", "version", "server_errors"].map(|name| line[name].clone());
        assert_eq!(values, ["git-api-prod".into(), "get-team".into(), "12".into(), serde_json::json!(1)]);
        // CloudWatch takes a metric's value, and those of its dimensions, from members of the line.
        for directive in line["_aws"]["CloudWatchMetrics"].as_array().unwrap() {
            let metrics = directive["Metrics"].as_array().unwrap().iter().map(|metric| &metric["Name"]);
            for name in directive["Dimensions"][0].as_array().unwrap().iter().chain(metrics) {
                assert!(!line[name.as_str().unwrap()].is_null(), "{name}");
            }
        }
        for outside in ["", "get-team", "-get-team", "other"] {
            assert_eq!(of(outside)["stack"], "local", "{outside}");
        }
    }

    #[test]
    fn each_line_tells_its_level_and_when_it_was_written() {
        #[derive(Clone, Default)]
        struct Memory(Arc<Mutex<Vec<u8>>>);
        impl Write for Memory {
            fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
                self.0.lock().unwrap().write(bytes)
            }
            fn flush(&mut self) -> std::io::Result<()> {
                Ok(())
            }
        }
        let memory = Memory::default();
        let log = Log::to(memory.clone()).timed_by(Clock::manual(Timestamp::from_millis(1_733_063_400_050)));
        log.warn("it was not stored", &std::io::Error::other("disk full"));
        let line: serde_json::Value = serde_json::from_slice(&memory.0.lock().unwrap()).unwrap();
        let expected = serde_json::json!({
            "timestamp": "2024-12-01T14:30:00.050Z", "level": "WARN", "message": "it was not stored", "cause": "disk full",
        });
        assert_eq!(line, expected);
    }
}
