//! A line of a log.

use serde::{Deserialize, Serialize};

/// The text of the last line of a log that was cut.
pub(super) const LOG_CUT: &str = "The log reached 10 MiB; later lines are not kept.";

#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct LogLine {
    /// The line's number, counted from 1 without gaps.
    pub number: u64,
    /// The Unix time in milliseconds.
    pub at_ms: i64,
    pub stream: Stream,
    pub text: String,
}

/// The source of a line: a command's output, or the pipeline itself.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Stream {
    Stdout,
    Stderr,
    System,
}

impl Stream {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Stdout => "stdout",
            Self::Stderr => "stderr",
            Self::System => "system",
        }
    }
}

impl LogLine {
    /// Returns whether this is the last line of a log that was cut.
    pub(super) fn is_log_cut(&self) -> bool {
        self.stream == Stream::System && self.text == LOG_CUT
    }
}
