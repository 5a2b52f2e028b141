//! The state of a rate limit. [`rate_limit`](crate::rate_limit) decides by it.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use crate::id::AccountId;

pub(crate) const MICROS_PER_MINUTE: i64 = 60_000_000;

/// The rate limit of a plan.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Quota {
    /// The number of requests in a clock minute. It is also the number of tokens that return to the bucket in a minute.
    pub per_minute: u32,
    /// The number of requests at once: the size of the token bucket.
    pub burst: u32,
}

impl Quota {
    /// For requests without a valid token, by source address.
    pub const ANONYMOUS: Quota = Quota { per_minute: 60, burst: 20 };

    /// Returns the time in which one token comes back, in microseconds, rounded up so that rounding never admits more.
    pub(crate) fn interval(self) -> i64 {
        let per_minute = i64::from(self.per_minute.max(1));
        (MICROS_PER_MINUTE + per_minute - 1) / per_minute
    }

    /// Returns how far `tat` may be ahead of the clock before an admission.
    pub(crate) fn tolerance(self) -> i64 {
        i64::from(self.burst.saturating_sub(1)) * self.interval()
    }
}

/// The account or source address that a request counts against.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Subject {
    Account(AccountId),
    Source(IpAddr),
}

impl Subject {
    /// Returns the subject of a source address. An IPv6 address stands for its /64, which is the share of one customer.
    pub fn source(address: IpAddr) -> Self {
        Self::Source(match address.to_canonical() {
            IpAddr::V6(v6) => IpAddr::from((v6.to_bits() & (u128::MAX << 64)).to_be_bytes()),
            v4 => v4,
        })
    }
}

/// A rate-limit item. Later states compare greater, because every admission moves `tat`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
pub struct State {
    /// Minutes since the Unix epoch.
    #[serde(rename = "window_minute")] // `window` is one of DynamoDB's reserved words
    pub window: i64,
    /// Requests admitted in that minute.
    pub used: u32,
    /// Microseconds since the Unix epoch.
    pub tat: i64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_ipv6_source_is_its_64() {
        let one = Subject::source("2001:db8:1:2:aaaa::1".parse().unwrap());
        assert_eq!(one, Subject::source("2001:db8:1:2:bbbb::2".parse().unwrap()));
        assert_ne!(one, Subject::source("2001:db8:1:3::1".parse().unwrap()));
        let mapped = Subject::source("::ffff:192.0.2.1".parse().unwrap());
        assert_eq!(mapped, Subject::source("192.0.2.1".parse().unwrap()));
    }
}
