//! Lifetimes of tokens.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::clock::Timestamp;
use crate::error::Error;
use crate::id::AccountId;
use crate::model::Account;
use crate::table::Guard;

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// The time that a token is valid after its creation or rotation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Lifetime {
    /// The number of days until the token expires.
    Days(u64),
    /// The token never expires.
    Permanent,
}

impl Lifetime {
    /// The default lifetime, as in the contract: 90 days.
    pub const DEFAULT: Lifetime = Lifetime::Days(90);

    /// Returns the lifetime that a request asks for, or `None` if it names none.
    ///
    /// # Errors
    /// Fails if the request names both.
    pub fn asked_for(expires_in_days: Option<u64>, permanent: bool) -> Result<Option<Self>, Error> {
        match (expires_in_days, permanent) {
            (Some(_), true) => Err(Error::invalid("expires_in_days", "must be absent if permanent is true")),
            (Some(days), false) => Ok(Some(Self::Days(days))),
            (None, true) => Ok(Some(Self::Permanent)),
            (None, false) => Ok(None),
        }
    }

    /// # Errors
    /// Fails with `insufficient_permission` if the token is permanent and the account does not allow that.
    pub fn check(self, account: &Account) -> Result<(), Error> {
        if self == Self::Permanent && !account.permanent_tokens {
            return Err(Error::not_permitted(
                "The account does not allow permanent tokens; set expires_in_days instead",
            ));
        }
        Ok(())
    }

    /// Returns the condition that the account allows a token of this lifetime.
    pub(super) fn guard(self, account: &AccountId) -> Option<Guard> {
        (self == Self::Permanent).then(|| Account::allows_permanent_tokens(account))
    }

    /// Returns the time at which a token of this lifetime expires, or `None` if it never does.
    pub fn end(self, start: Timestamp) -> Option<Timestamp> {
        match self {
            Self::Days(days) => Some(start.plus(DAY * u32::try_from(days).unwrap_or(u32::MAX))),
            Self::Permanent => None,
        }
    }
}
