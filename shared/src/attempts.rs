//! The attempts of a call that competes with others.

use std::time::Duration;

/// The maximum number of attempts. A failed attempt means that another one succeeded, so this many in a row mean a fault.
const MAX_ATTEMPTS: u32 = 64;
/// The number of pauses after which the longest pause no longer doubles. All pauses together are at most 5 s, half of the
/// time of most functions.
const DOUBLINGS: u32 = 4;

/// The pauses between the attempts of an operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pauses {
    /// Of a random length, so that rivals don't meet again.
    Random,
    /// None, for a test that decides itself which call comes next.
    Never,
}

/// The attempts of one operation that begins again when a concurrent one comes first.
///
/// ```ignore
/// let mut attempts = table.attempts();
/// while attempts.begin().await {
///     // Read, decide, write, and return if the write succeeds.
/// }
/// Err(TableError::Contended)
/// ```
#[derive(Debug)]
pub struct Attempts {
    begun: u32,
    pauses: Pauses,
}

impl Attempts {
    /// Returns the attempts of an operation that has not begun yet.
    pub(crate) fn new(pauses: Pauses) -> Self {
        Self { begun: 0, pauses }
    }

    /// Begins the next attempt, after a pause if it is not the first. Returns `false` if no attempts are left.
    pub async fn begin(&mut self) -> bool {
        if self.begun == MAX_ATTEMPTS {
            return false;
        }
        if let (Some(failed), Pauses::Random) = (self.begun.checked_sub(1), self.pauses) {
            tokio::time::sleep(pause(failed, random_byte())).await;
        }
        self.begun += 1;
        true
    }
}

/// Returns a pause between nothing and the longest one ("full jitter"), so that rivals don't meet again. The longest one
/// is 5 ms after the first failure, then 10 ms, and at last 80 ms.
fn pause(failed_before: u32, random: u8) -> Duration {
    Duration::from_micros(u64::from(random) * (20 << failed_before.min(DOUBLINGS)))
}

pub(crate) fn random_byte() -> u8 {
    let mut byte = [0u8; 1];
    getrandom::fill(&mut byte).expect("the operating system gives random bytes");
    byte[0]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pause_is_random_up_to_a_bound_that_doubles_four_times() {
        let longest = |failed| pause(failed, u8::MAX).as_micros();
        assert_eq!([0, 1, 2, 3, 4, 5, 62].map(longest), [5_100, 10_200, 20_400, 40_800, 81_600, 81_600, 81_600]);
        assert_eq!([0, 1, 62].map(|failed| pause(failed, 0)), [Duration::ZERO; 3]);
        let all: Duration = (0..MAX_ATTEMPTS - 1).map(|failed| pause(failed, u8::MAX)).sum();
        assert!(all <= Duration::from_secs(5), "{all:?}");
    }

    #[tokio::test]
    async fn the_last_attempt_is_the_last() {
        let mut attempts = Attempts { begun: MAX_ATTEMPTS - 2, pauses: Pauses::Random };
        assert!(attempts.begin().await);
        assert!(attempts.begin().await);
        assert!(!attempts.begin().await);
        assert!(!attempts.begin().await);
    }
}
