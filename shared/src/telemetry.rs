//! One JSON line per request or queue message, in CloudWatch's embedded metric format.
//!
//! The format is written by hand: it is the few lines of [`Metrics`], and the metrics crates would bring a global
//! recorder or a background thread.

use std::error::Error;
use std::fmt;
use std::io::Write;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use http::HeaderMap;
use serde::Serialize;

use crate::clock::Timestamp;
use crate::error::chain;
use crate::id::{AccountId, DeploymentId, RequestId};
use crate::usage::Usage;

/// The target of log lines: stdout in Lambda, a file in the local stack, memory in tests.
#[derive(Clone)]
pub struct Log(Arc<Mutex<dyn Write + Send>>);

impl Log {
    pub fn to(writer: impl Write + Send + 'static) -> Self {
        Self(Arc::new(Mutex::new(writer)))
    }

    pub fn stdout() -> Self {
        Self::to(std::io::stdout())
    }

    /// Writes a line. Loses the line if it can't be written: no request fails for its log.
    pub fn write(&self, line: &impl Serialize) {
        let Ok(mut text) = serde_json::to_vec(line) else { return };
        text.push(b'\n');
        let mut writer = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let _ = writer.write_all(&text).and_then(|()| writer.flush());
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

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Level {
    Info,
    Warn,
    Error,
}

/// The line of one request. It never has a body, a token or a variable's value.
#[derive(Serialize)]
pub(crate) struct RequestLine<'a> {
    #[serde(flatten)]
    pub metrics: Metrics<'a>,
    pub level: Level,
    pub request_id: &'a RequestId,
    pub lambda_request_id: Option<&'a str>,
    #[serde(flatten)]
    pub trace: Option<&'a TraceContext>,
    pub route: &'a str,
    pub status: u16,
    pub account_id: Option<&'a AccountId>,
    pub code: Option<&'static str>,
    pub cause: Option<String>,
    /// The limiter's failure, if it failed.
    pub limiter_failure: Option<String>,
}

/// The line of one queue message.
#[derive(Serialize)]
pub struct MessageLine<'a> {
    #[serde(flatten)]
    pub metrics: Metrics<'a>,
    pub level: Level,
    pub message_id: Option<&'a str>,
    pub deployment_id: Option<&'a DeploymentId>,
    pub outcome: &'a str,
    pub cause: Option<String>,
}

/// The members that CloudWatch turns into metrics of the namespace `GitApi`, by function
/// (<https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/CloudWatch_Embedded_Metric_Format_Specification.html>).
#[derive(Serialize)]
pub struct Metrics<'a> {
    _aws: Metadata,
    function: &'a str,
    duration_ms: f64,
    dynamodb_calls: u32,
    dynamodb_capacity_units: f64,
    /// The round trips, in the log only: a metric of its own would cost money and say little.
    dynamodb_round_trips: u32,
    server_errors: u8,
}

impl<'a> Metrics<'a> {
    pub fn new(function: &'a str, at: Timestamp, duration: Duration, usage: Usage, failed: bool) -> Self {
        Self {
            _aws: Metadata { timestamp: at.as_millis(), directives: [Directive::default()] },
            function,
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
    directives: [Directive; 1],
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Directive {
    namespace: &'static str,
    dimensions: [[&'static str; 1]; 1],
    metrics: [Metric; 4],
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Metric {
    name: &'static str,
    unit: &'static str,
}

impl Default for Directive {
    fn default() -> Self {
        Self {
            namespace: "GitApi",
            dimensions: [["function"]],
            metrics: [
                Metric { name: "duration_ms", unit: "Milliseconds" },
                Metric { name: "dynamodb_calls", unit: "Count" },
                Metric { name: "dynamodb_capacity_units", unit: "Count" },
                Metric { name: "server_errors", unit: "Count" },
            ],
        }
    }
}

/// The caller's span in its trace, from W3C Trace Context's `traceparent`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct TraceContext {
    trace_id: String,
    parent_id: String,
}

impl TraceContext {
    /// Parses the header. Returns `None` if it is absent or malformed
    /// (<https://www.w3.org/TR/trace-context/#traceparent-header>).
    pub fn from_headers(headers: &HeaderMap) -> Option<Self> {
        let mut fields = headers.get("traceparent")?.to_str().ok()?.split('-');
        let mut hex = |length: usize| {
            let field = fields.next()?;
            let lower_hex = field.bytes().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte));
            (field.len() == length && lower_hex).then(|| field.to_owned())
        };
        let (version, trace_id, parent_id, _flags) = (hex(2)?, hex(32)?, hex(16)?, hex(2)?);
        let zero = |text: &str| text.bytes().all(|byte| byte == b'0');
        let valid = version != "ff" && !zero(&trace_id) && !zero(&parent_id);
        valid.then_some(Self { trace_id, parent_id })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_malformed_traceparent_is_no_trace() {
        let parse = |value: &str| {
            let headers = HeaderMap::from_iter([("traceparent".parse().unwrap(), value.parse().unwrap())]);
            TraceContext::from_headers(&headers)
        };
        let good = parse("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01").unwrap();
        assert_eq!(good.trace_id, "4bf92f3577b34da6a3ce929d0e0e4736");
        for bad in [
            "",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7",
            "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01",
            "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
            "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
        ] {
            assert_eq!(parse(bad), None, "{bad}");
        }
    }
}
