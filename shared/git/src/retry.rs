//! Attempts of an operation on a server.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

const MAX_ATTEMPTS: u32 = 4;

/// The pause after the first failure. It doubles after each further one.
const FIRST_PAUSE: Duration = Duration::from_millis(500);

/// The time after which a pause looks whether it is still needed.
const SLICE: Duration = Duration::from_millis(50);

/// A failure of an operation on a server.
pub trait Passing {
    /// Returns whether another attempt may succeed, because of what the server answered.
    fn may_pass(&self) -> bool;

    /// Returns whether the server was not reached, or did not answer.
    fn is_silence(&self) -> bool;

    /// Returns the time that the server asked to wait before another attempt.
    fn retry_after(&self) -> Option<Duration>;
}

/// The failures after which an operation is tried again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Retries {
    /// Failures of a server that answers. A breaker counts the others, and a client waits meanwhile.
    Answers,
    /// All failures that may pass, also those of a server that is not reached. A fetch has the time for them.
    All,
}

/// Runs an operation, and runs it again after a failure that may pass. Waits as long as the server asks for in between, but never
/// beyond the deadline.
pub(crate) fn retry<T, E: Passing>(
    retries: Retries,
    deadline: Instant,
    interrupt: &AtomicBool,
    mut operation: impl FnMut() -> Result<T, E>,
) -> Result<T, E> {
    let mut pause = FIRST_PAUSE;
    for _ in 1..MAX_ATTEMPTS {
        match operation() {
            Err(error) if error.may_pass() || (retries == Retries::All && error.is_silence()) => {
                if !wait(error.retry_after().unwrap_or(pause), deadline, interrupt) {
                    return Err(error);
                }
            }
            ended => return ended,
        }
        pause *= 2;
    }
    operation()
}

/// Waits. Returns `false`, as early as it can, if the time does not suffice or nobody waits for the result any more.
fn wait(pause: Duration, deadline: Instant, interrupt: &AtomicBool) -> bool {
    let begin = Instant::now();
    if pause >= deadline.saturating_duration_since(begin) {
        return false;
    }
    while let Some(left) = pause.checked_sub(begin.elapsed()) {
        if interrupt.load(Ordering::Relaxed) {
            return false;
        }
        thread::sleep(left.min(SLICE));
    }
    true
}

#[cfg(test)]
mod tests {
    use http::StatusCode;

    use super::*;
    use crate::error::RemoteError;

    fn busy(seconds: Option<u64>) -> RemoteError {
        RemoteError::Failed(StatusCode::SERVICE_UNAVAILABLE, seconds.map(Duration::from_secs))
    }

    /// Returns how often a look-up is tried that fails like this, and then succeeds.
    fn attempts(failures: Vec<RemoteError>, deadline: Instant, interrupt: bool) -> (u32, bool) {
        attempts_with(Retries::Answers, failures, deadline, interrupt)
    }

    fn attempts_with(retries: Retries, failures: Vec<RemoteError>, deadline: Instant, interrupt: bool) -> (u32, bool) {
        let (mut count, mut failures) = (0, failures.into_iter());
        let ended = retry(retries, deadline, &AtomicBool::new(interrupt), || {
            count += 1;
            failures.next().map_or(Ok(()), Err)
        });
        (count, ended.is_ok())
    }

    #[test]
    fn a_failure_that_may_pass_is_tried_again() {
        let deadline = Instant::now() + Duration::from_secs(60);
        assert_eq!(attempts(vec![busy(None), busy(Some(0))], deadline, false), (3, true));
        assert_eq!(attempts(vec![RemoteError::NotARepository], deadline, false), (1, false));
        let always = || vec![busy(Some(0)), busy(Some(0)), busy(Some(0)), busy(Some(0)), busy(Some(0))];
        assert_eq!(attempts(always(), deadline, false), (MAX_ATTEMPTS, false));
        assert_eq!(attempts(vec![busy(None)], deadline, true), (1, false));
    }

    #[test]
    fn a_fetch_tries_a_server_again_that_was_not_reached() {
        let deadline = Instant::now() + Duration::from_secs(60);
        let unreached = || vec![RemoteError::Unreachable("refused".into())];
        assert_eq!(attempts_with(Retries::Answers, unreached(), deadline, false), (1, false));
        assert_eq!(attempts_with(Retries::All, unreached(), deadline, false), (2, true));
        assert_eq!(attempts_with(Retries::All, vec![RemoteError::NoSuchHost], deadline, false), (1, false));
        assert_eq!(attempts_with(Retries::All, unreached(), Instant::now(), false), (1, false));
    }

    #[test]
    fn no_pause_outlasts_the_deadline() {
        let deadline = Instant::now() + Duration::from_secs(60);
        assert_eq!(attempts(vec![busy(Some(3600))], deadline, false), (1, false));
        assert_eq!(attempts(vec![busy(None)], Instant::now(), false), (1, false));
    }
}
