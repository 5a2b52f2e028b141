//! A circuit breaker for each git host, so that a silent host holds few executions.
//!
//! After some look-ups in a row that a host did not answer, it is left alone for a while, and look-ups fail at once. Then a single one
//! tries the host again. If it is not answered either, the host is left alone for twice as long. Any answer closes the breaker.
//!
//! The breakers are in memory: each execution environment of a function finds out by itself. A look-up through shared state would
//! cost each request a call, and save a silent host's second environment three look-ups. Only silence counts, and not an answer
//! that takes long to end or says no, because that can be the fault of one repository.

use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::{Duration, Instant};

use http::Uri;
use shared::cache::Cache;

use crate::error::RemoteError;

/// The number of look-ups in a row without an answer that open a breaker.
const TRIPS_AFTER: u32 = 3;
/// The bounds of the time for which a host is left alone. It doubles with each further look-up without an answer.
const FIRST_PAUSE: Duration = Duration::from_secs(10);
const LONGEST_PAUSE: Duration = Duration::from_secs(120);
/// The number of hosts that are remembered.
const MAX_HOSTS: NonZeroUsize = NonZeroUsize::new(1_000).unwrap();

/// A breaker for each host that was silent lately, by its name and port. Clones share them.
#[derive(Clone, Debug)]
pub struct Breakers(Arc<Cache<String, Breaker>>);

#[derive(Clone, Copy, Default)]
struct Breaker {
    /// The look-ups in a row without an answer.
    silent: u32,
    /// The time until which the host is left alone.
    open_until: Option<Instant>,
}

impl Default for Breakers {
    fn default() -> Self {
        Self(Arc::new(Cache::new(MAX_HOSTS)))
    }
}

impl Breakers {
    /// Lets a look-up ask the host. If the host was left alone until now, this look-up is the one that tries it again.
    ///
    /// # Errors
    /// Fails with the time for which the host is still left alone.
    pub(crate) fn admit(&self, host: &str, now: Instant) -> Result<(), RemoteError> {
        let admit = |breaker: &mut Breaker| match breaker.open_until {
            Some(until) if until > now => Err(RemoteError::Resting(until - now)),
            until => {
                breaker.open_until = until.map(|_| now + breaker.pause());
                Ok(())
            }
        };
        self.0.change(host, admit).unwrap_or(Ok(()))
    }

    /// Records whether the host has answered a look-up.
    pub(crate) fn record(&self, host: &str, answered: bool, now: Instant) {
        if answered {
            return self.0.remove(host);
        }
        self.0.with(&host.to_owned(), |breaker| {
            breaker.silent += 1;
            breaker.open_until = (breaker.silent >= TRIPS_AFTER).then(|| now + breaker.pause());
        });
    }
}

/// Returns the name and the port of the host that a request to this URL asks.
pub(crate) fn host_of(uri: &Uri) -> Option<String> {
    uri.authority().map(|authority| authority.as_str().to_ascii_lowercase())
}

impl Breaker {
    fn pause(self) -> Duration {
        let doublings = self.silent.saturating_sub(TRIPS_AFTER).min(8);
        (FIRST_PAUSE * 2_u32.pow(doublings)).min(LONGEST_PAUSE)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOST: &str = "git.example.com:443";

    #[test]
    fn a_silent_host_is_left_alone_and_then_tried_by_one_look_up() {
        let (breakers, start) = (Breakers::default(), Instant::now());
        let at = |seconds| start + Duration::from_secs(seconds);
        for _ in 0..TRIPS_AFTER {
            breakers.admit(HOST, start).unwrap();
            breakers.record(HOST, false, start);
        }
        for (after, left) in [(0, 10), (9, 1)] {
            let Err(RemoteError::Resting(time)) = breakers.admit(HOST, at(after)) else { panic!("{after}") };
            assert_eq!(time, Duration::from_secs(left));
        }
        breakers.admit("other.example.com:443", start).unwrap();
        breakers.admit(HOST, at(10)).unwrap();
        breakers.admit(HOST, at(10)).unwrap_err();
        breakers.record(HOST, false, at(15));
        breakers.admit(HOST, at(34)).unwrap_err();
        breakers.admit(HOST, at(35)).unwrap();
        breakers.record(HOST, true, at(36));
        for _ in 1..TRIPS_AFTER {
            breakers.record(HOST, false, at(36));
            breakers.admit(HOST, at(36)).unwrap();
        }
    }

    #[test]
    fn the_pause_is_bounded() {
        let (breakers, start) = (Breakers::default(), Instant::now());
        (0..100).for_each(|_| breakers.record(HOST, false, start));
        breakers.admit(HOST, start + LONGEST_PAUSE - Duration::from_secs(1)).unwrap_err();
        breakers.admit(HOST, start + LONGEST_PAUSE).unwrap();
    }
}
