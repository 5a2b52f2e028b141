//! The lease on a webhook's deliveries.
//!
//! Only the holder of the lease sends. So a receiver gets one request at a time, a webhook occupies one function at most, and its
//! deliveries are sent in order as long as they succeed. A receiver that can't be reached, takes too long, or asks to wait, rests.

use std::time::Duration;

use serde::Deserialize;

use crate::clock::Timestamp;
use crate::id::{AccountId, WebhookId};
use crate::model::key;
use crate::table::{Change, Table, TableError, Values, read_item};

/// The time that the holder of a lease may take. The function that sends gives up before.
pub const SENDING_LEASE: Duration = Duration::from_secs(60);
/// The first rest of a receiver that can't be reached or takes too long. Each is twice as long as the one before.
const FIRST_REST: Duration = Duration::from_secs(30);
/// The longest rest of a receiver.
const LONGEST_REST: Duration = Duration::from_secs(15 * 60);
/// The time that the row is kept after the last lease. It outlasts every retry of a delivery.
const KEPT: Duration = Duration::from_secs(30 * 24 * 60 * 60);

/// The lease on a webhook's deliveries.
#[derive(Clone, Debug)]
pub struct Sending {
    account_id: AccountId,
    webhook_id: WebhookId,
    until: Timestamp,
    state: State,
}

/// The result of a claim of the lease.
#[derive(Clone, Debug)]
pub enum SendingClaim {
    /// The holder may send.
    Claimed(Sending),
    /// Another function sends.
    Held,
    /// The receiver is left alone until this time.
    Resting(Timestamp),
}

/// The knowledge about the receiver.
#[derive(Clone, Debug, Default, Deserialize)]
struct State {
    rests_until: Option<Timestamp>,
    /// The number of times in a row that the receiver could not be reached or took too long.
    #[serde(default)]
    silences: u32,
    last_success_at: Option<Timestamp>,
}

impl Sending {
    /// Claims the lease, unless another function has it or the receiver rests.
    pub async fn claim(
        table: &Table,
        account: &AccountId,
        webhook: &WebhookId,
        now: Timestamp,
    ) -> Result<SendingClaim, TableError> {
        let until = now.plus(SENDING_LEASE);
        let change = Change {
            expression: "SET lease_until = :until, expires_at = :expiry".to_owned(),
            condition: Some(
                "(attribute_not_exists(lease_until) OR lease_until <= :now) AND \
                 (attribute_not_exists(rests_until) OR rests_until <= :now)",
            ),
            values: Values::new().set(":until", until).set(":now", now).set(":expiry", now.plus(KEPT).as_seconds()),
            ..Change::default()
        };
        match table.update(key::sending(account, webhook), change).await? {
            Ok(item) => {
                let (account_id, webhook_id) = (account.clone(), webhook.clone());
                Ok(SendingClaim::Claimed(Self { account_id, webhook_id, until, state: read_item(item)? }))
            }
            Err(failed) => {
                let state: State = failed.current.map(read_item).transpose()?.unwrap_or_default();
                Ok(match state.rests_until.filter(|until| *until > now) {
                    Some(until) => SendingClaim::Resting(until),
                    None => SendingClaim::Held,
                })
            }
        }
    }

    /// Returns the time at which the receiver last accepted a delivery.
    pub fn last_success_at(&self) -> Option<Timestamp> {
        self.state.last_success_at
    }

    /// Notes that the receiver accepted a delivery.
    pub fn note_success(&mut self, at: Timestamp) {
        self.state = State { rests_until: None, silences: 0, last_success_at: Some(at) };
    }

    /// Notes that the receiver asked to be left alone for a time.
    pub fn note_wait(&mut self, until: Timestamp) {
        self.state.rests_until = Some(until);
    }

    /// Notes that the receiver could not be reached or took too long. Returns the time until which it rests.
    pub fn note_silence(&mut self, at: Timestamp) -> Timestamp {
        let rest = FIRST_REST.saturating_mul(1 << self.state.silences.min(10)).min(LONGEST_REST);
        let until = at.plus(rest);
        self.state.silences += 1;
        self.state.rests_until = Some(until);
        until
    }

    /// Ends the lease, unless another function has it by now, and keeps what was noted.
    pub async fn end(self, table: &Table) -> Result<(), TableError> {
        let State { rests_until, silences, last_success_at } = self.state;
        let mut expression = "SET silences = :silences".to_owned();
        if last_success_at.is_some() {
            expression.push_str(", last_success_at = :success");
        }
        expression.push_str(match rests_until {
            Some(_) => ", rests_until = :rests REMOVE lease_until",
            None => " REMOVE lease_until, rests_until",
        });
        let change = Change {
            expression,
            condition: Some("lease_until = :lease"),
            values: Values::new()
                .set(":lease", self.until)
                .set(":silences", silences)
                .set_if(":success", last_success_at)
                .set_if(":rests", rests_until),
            ..Change::default()
        };
        table.update(key::sending(&self.account_id, &self.webhook_id), change).await.map(drop)
    }
}
