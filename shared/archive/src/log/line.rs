//! A line of a log.

use serde::{Deserialize, Serialize};

/// A stored line.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct LogLine {
    /// The line's number, counted from 1 without gaps.
    pub number: u64,
    /// The Unix time in milliseconds.
    pub at_ms: i64,
    /// The source of the line.
    pub stream: Stream,
    /// The text without its line end. Text beyond [`MAX_LINE_BYTES`](crate::MAX_LINE_BYTES) is cut.
    pub text: String,
}

/// The source of a line: a command's output, or the pipeline itself. Sources may be added.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(as = LogStream)]
pub enum Stream {
    /// The standard output of a command.
    Stdout,
    /// The standard error of a command.
    Stderr,
    /// The pipeline itself.
    System,
}
