//! The state of a rate limit. [`rate_limit`](crate::rate_limit) decides by it.

use std::fmt;
use std::net::IpAddr;

use serde::de::{Error, IgnoredAny, MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};

use crate::id::{AccountId, HookId, UserId};

pub(crate) const MICROS_PER_MINUTE: i64 = 60_000_000;

/// The rate limit of a plan.
#[derive(Clone, Copy, Debug, Hash, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Quota {
    /// The maximum number of requests in a clock minute. It is also the number of tokens that return to the bucket in a
    /// minute.
    pub per_minute: u32,
    /// The maximum number of requests at once: the size of the token bucket.
    pub burst: u32,
}

impl Quota {
    /// The rate limit of a source address, for requests that count against no account.
    pub(crate) const ANONYMOUS: Quota = Quota { per_minute: 60, burst: 20 };

    /// The rate limit of a hook, for deliveries that have its secret. A push of a git host must not be lost because the account
    /// has used up its plan, so they count apart.
    pub const HOOK: Quota = Quota { per_minute: 300, burst: 100 };

    /// The bound of an account's look-ups on slow git hosts. Each holds an execution for four seconds more, so an account holds two of
    /// them for long, and twelve at most.
    pub(crate) const SLOW_LOOK_UPS: Quota = Quota { per_minute: 30, burst: 10 };

    /// The smallest allowance for following: five clients that ask every two seconds about a deployment and its log.
    const LEAST_FOLLOWING: Quota = Quota { per_minute: 300, burst: 100 };

    /// Returns the allowance for requests that may bring nothing new: five times the plan's.
    pub(crate) fn for_following(self) -> Self {
        let Self { per_minute, burst } = Self::LEAST_FOLLOWING;
        Self {
            per_minute: self.per_minute.saturating_mul(5).max(per_minute),
            burst: self.burst.saturating_mul(5).max(burst),
        }
    }

    /// Returns the time in which one token comes back, in microseconds, rounded up so that rounding never admits more.
    pub(crate) fn interval(self) -> i64 {
        let per_minute = i64::from(self.per_minute.max(1));
        (MICROS_PER_MINUTE + per_minute - 1) / per_minute
    }

    /// Returns the time for which a lease is valid, in microseconds. The lease keeps the tokens of this time from others:
    /// at most a quarter of a large plan's bucket, and one token of a small plan's.
    pub(crate) fn lease_micros(self) -> i64 {
        let longest = if self.is_large() { self.capacity() / 4 } else { self.interval() };
        longest.min(1_000_000)
    }

    /// Returns whether the plan allows so much in a minute that the bucket is a small part of it.
    pub(crate) fn is_large(self) -> bool {
        (self.capacity() + 1_000_000) * 8 <= MICROS_PER_MINUTE
    }

    /// Returns the time that a full bucket holds, in microseconds: how far `tat` may be ahead of the clock.
    pub(crate) fn capacity(self) -> i64 {
        i64::from(self.burst) * self.interval()
    }

    /// Returns how far `tat` may be ahead of the clock before an admission.
    pub(crate) fn tolerance(self) -> i64 {
        self.capacity() - self.interval()
    }
}

/// The account, user or source address that a request counts against. Each user has an allowance for following, which never uses up the
/// plan or what others follow. An address has two, so that requests with a valid token never use up that of requests without one.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Subject {
    /// An account, for requests with a valid token.
    Account(AccountId),
    /// A user or an application, for requests that may bring nothing new.
    Following(UserId),
    /// An account, for look-ups on slow git hosts.
    SlowLookUps(AccountId),
    /// A hook, for deliveries that have its secret.
    Hook(HookId),
    /// A source address, for requests without one. See [`Subject::source`].
    Source(IpAddr),
    /// A source address, for requests with a valid token that count against no account. See [`Subject::uncounted`].
    Uncounted(IpAddr),
}

impl Subject {
    /// Returns the subject of a source address. An IPv6 address stands for its /64, which is the share of one customer.
    pub fn source(address: IpAddr) -> Self {
        Self::Source(network(address))
    }

    /// Returns the subject of a source address for requests that count against no account.
    pub fn uncounted(address: IpAddr) -> Self {
        Self::Uncounted(network(address))
    }
}

fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(v6) => IpAddr::from((v6.to_bits() & (u128::MAX << 64)).to_be_bytes()),
        v4 => v4,
    }
}

/// A rate-limit item. Every admission moves `tat`, so the later of two states has the greater one.
///
/// The admissions of a minute are in an attribute that has the minute in its name, such as `used_29481234`. An update
/// that counts an admission therefore needs no guess about the minute in which the item was last changed.
#[derive(Clone, Debug, Hash, PartialEq, Eq)]
pub struct State {
    /// The time at which the bucket will be full again, in microseconds since the Unix epoch: the theoretical arrival
    /// time of the GCRA (ITU-T I.371).
    pub tat: i64,
    /// The counted minutes since the Unix epoch, each with its admissions.
    pub(crate) minutes: Vec<(i64, u32)>,
}

impl State {
    const TAT: &str = "tat";
    const USED: &str = "used_";

    /// Returns the number of requests admitted in a minute.
    pub fn used(&self, minute: i64) -> u32 {
        self.minutes.iter().find(|(counted, _)| *counted == minute).map_or(0, |(_, used)| *used)
    }

    /// Returns the name of the attribute that counts a minute.
    pub(crate) fn attribute(minute: i64) -> String {
        format!("{}{minute}", Self::USED)
    }
}

impl<'de> Deserialize<'de> for State {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(Attributes)
    }
}

struct Attributes;

impl<'de> Visitor<'de> for Attributes {
    type Value = State;

    fn expecting(&self, formatter: &mut fmt::Formatter) -> fmt::Result {
        formatter.write_str("a rate-limit item")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut attributes: A) -> Result<State, A::Error> {
        let (mut tat, mut minutes) = (None, Vec::with_capacity(2));
        while let Some(name) = attributes.next_key::<String>()? {
            if name == State::TAT {
                tat = Some(attributes.next_value()?);
            } else if let Some(Ok(minute)) = name.strip_prefix(State::USED).map(str::parse) {
                // A number out of range does not make the account unusable.
                let used = attributes.next_value::<i64>()?.clamp(0, u32::MAX.into());
                minutes.push((minute, u32::try_from(used).expect("the number is clamped")));
            } else {
                attributes.next_value::<IgnoredAny>()?;
            }
        }
        let tat = tat.ok_or_else(|| A::Error::missing_field(State::TAT))?;
        Ok(State { tat, minutes })
    }
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

    #[test]
    fn a_count_out_of_range_is_the_nearest_in_range() {
        let item =
            serde_json::json!({"tat": 7, "used_1": -3, "used_2": 5, "used_3": 5_000_000_000i64, "expires_at": 9});
        let State { tat, minutes } = serde_json::from_value(item).unwrap();
        assert_eq!((tat, minutes), (7, vec![(1, 0), (2, 5), (3, u32::MAX)]));
    }
}
