//! Reports that failed.

use std::time::Duration;

use providers::{ApiError, AppError, ReportError};
use shared::InitError;
use shared::name::GitHost;

/// The time that a host is left alone after it could not be reached or took too long.
const REST: Duration = Duration::from_secs(30);
/// The shortest time between two reports of a change.
const FIRST_RETRY: Duration = Duration::from_secs(10);
/// The number of failures after which the time between two reports no longer doubles. It is half an hour then.
const DOUBLINGS: u32 = 8;
/// The time for which a report is tried.
pub(crate) const TRIED_FOR: Duration = Duration::from_secs(24 * 60 * 60);

/// The reason why a report failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    /// The host may take the report later.
    #[error("{reason}")]
    Later {
        /// A sentence for the users of the repository.
        reason: String,
        /// The time that the host asks to wait.
        wait: Option<Duration>,
        /// The time for which nothing is asked of the host through the connection.
        rest: Option<Duration>,
    },
    /// The host will not take the report. The text is a sentence for the users of the repository.
    #[error("{0}")]
    Never(String),
    /// A service of the stack failed.
    #[error("{0}")]
    Infrastructure(&'static str, #[source] InitError),
}

impl Failure {
    pub(crate) fn of_report(host: &GitHost, error: &ReportError) -> Self {
        let reason = format!("{} {error}", host.as_str());
        match error {
            ReportError::Refused { .. } => Self::Never(reason),
            ReportError::Later { cause, wait } => {
                Self::Later { reason, wait: *wait, rest: wait.or_else(|| rest(cause)) }
            }
        }
    }

    pub(crate) fn of_app(error: &AppError) -> Self {
        let reason = sentence(&error.to_string());
        match error {
            AppError::Api(cause) if may_pass(cause) => {
                let wait = cause.retry_after();
                Self::Later { reason, wait, rest: wait.or_else(|| rest(cause)) }
            }
            _ => Self::Never(reason),
        }
    }

    pub(crate) fn late(host: &GitHost) -> Self {
        Self::Later { reason: format!("{} took too long to answer", host.as_str()), wait: None, rest: Some(REST) }
    }
}

/// Returns the time until the next report of a change after this many failures. The host may ask for a longer time.
pub(crate) fn pause(failures: u32, asked: Option<Duration>) -> Duration {
    let own = FIRST_RETRY * (1 << failures.saturating_sub(1).min(DOUBLINGS));
    own.min(Duration::from_secs(30 * 60)).max(asked.unwrap_or_default())
}

fn may_pass(error: &ApiError) -> bool {
    match error {
        ApiError::Unreachable(_) | ApiError::TimedOut | ApiError::Busy(..) => true,
        ApiError::Status(status) => status.is_server_error() || status.as_u16() == 429,
        ApiError::Refused(_) | ApiError::Malformed(_) => false,
    }
}

fn rest(error: &ApiError) -> Option<Duration> {
    matches!(error, ApiError::Unreachable(_) | ApiError::TimedOut).then_some(REST)
}

fn sentence(text: &str) -> String {
    let mut chars = text.chars();
    chars.next().map(|first| first.to_uppercase().chain(chars).collect()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_half_an_hour_unless_the_host_asks_for_more() {
        let seconds = |failures| pause(failures, None).as_secs();
        assert_eq!([1, 2, 3, 8, 9, 100].map(seconds), [10, 20, 40, 1280, 1800, 1800]);
        assert_eq!(pause(1, Some(Duration::from_secs(7200))).as_secs(), 7200);
        assert_eq!(pause(9, Some(Duration::from_secs(1))).as_secs(), 1800);
    }
}
