//! The pauses between attempts.

use std::time::Duration;

/// The attempts of a call that conflicts with others.
pub(super) const MAX_CONFLICTS: u32 = 64;

/// Returns a random pause of up to 5 ms, 10 ms, … 160 ms, so that the same calls don't conflict again.
pub(super) fn jitter(attempt: u32) -> Duration {
    let mut byte = [0u8; 1];
    getrandom::fill(&mut byte).expect("the operating system gives random bytes");
    Duration::from_micros(u64::from(byte[0]) * (20 << attempt.min(5)))
}
