//! The lease on a webhook's deliveries.
//!
//! Only the holder of the lease sends. So a receiver gets one request at a time, a webhook occupies one function at most, and its
//! deliveries are sent in order as long as they succeed. A lease takes one of the few slots of its account, so that the slow
//! receivers of an account leave most functions to others. A receiver that can't be reached, takes too long, or asks to wait, rests.

use std::collections::HashMap;
use std::time::Duration;

use serde::Deserialize;
use serde_json::{Map, Value};

use crate::clock::Timestamp;
use crate::id::{AccountId, WebhookId};
use crate::model::deployment::shard_of;
use crate::model::key;
use crate::table::{Change, Consistency, Table, TableError, Values, read_item};

/// The time that the holder of a lease may take. The function that sends gives up before.
pub const SENDING_LEASE: Duration = Duration::from_secs(60);
/// The number of an account's webhooks that are sent to at a time. `FREE` names each slot.
pub const SENDING_SLOTS: usize = 4;
/// The condition of a lease: the slot is free, and no other one has the webhook.
const FREE: &str = "(attribute_not_exists(#until) OR #until <= :now) \
     AND (attribute_not_exists(until_0) OR until_0 <= :now OR webhook_0 <> :webhook) \
     AND (attribute_not_exists(until_1) OR until_1 <= :now OR webhook_1 <> :webhook) \
     AND (attribute_not_exists(until_2) OR until_2 <= :now OR webhook_2 <> :webhook) \
     AND (attribute_not_exists(until_3) OR until_3 <= :now OR webhook_3 <> :webhook)";
/// The first rest of a receiver that can't be reached or takes too long. Each is twice as long as the one before.
const FIRST_REST: Duration = Duration::from_secs(30);
/// The longest rest of a receiver.
const LONGEST_REST: Duration = Duration::from_secs(15 * 60);
/// The time for which a success is not noted again.
const NOTED_FOR: Duration = Duration::from_secs(60);
/// The time that the row is kept after the last note. It outlasts every retry of a delivery.
const KEPT: Duration = Duration::from_secs(30 * 24 * 60 * 60);

/// The lease on a webhook's deliveries.
#[derive(Clone, Debug)]
pub struct Sending {
    account_id: AccountId,
    webhook_id: WebhookId,
    slot: usize,
    until: Timestamp,
    before: State,
    state: State,
}

/// The result of a claim of the lease.
#[derive(Clone, Debug)]
pub enum SendingClaim {
    /// The holder may send.
    Claimed(Sending),
    /// Another function sends to the webhook, or as many as may send to others of the account.
    Held,
    /// The receiver is left alone until this time.
    Resting(Timestamp),
}

/// The knowledge about the receiver.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
struct State {
    rests_until: Option<Timestamp>,
    /// The number of times in a row that the receiver could not be reached or took too long.
    #[serde(default)]
    silences: u32,
    last_success_at: Option<Timestamp>,
}

/// The leases of an account.
#[derive(Default)]
struct Slots(Map<String, Value>);

impl Slots {
    fn is_free(&self, slot: usize, now: Timestamp) -> bool {
        self.0.get(&format!("until_{slot}")).and_then(Value::as_i64).is_none_or(|until| until <= now.as_millis())
    }

    fn has(&self, slot: usize, webhook: &WebhookId) -> bool {
        self.0.get(&format!("webhook_{slot}")).and_then(Value::as_str) == Some(webhook.as_str())
    }
}

impl Sending {
    /// Claims the lease, unless another function has it, the account has no free slot, or the receiver rests.
    pub async fn claim(
        table: &Table,
        account: &AccountId,
        webhook: &WebhookId,
        now: Timestamp,
    ) -> Result<SendingClaim, TableError> {
        let state: Option<State> = table.get(key::sending(account, webhook), Consistency::Strong).await?;
        let state = state.unwrap_or_default();
        if let Some(until) = state.rests_until.filter(|until| *until > now) {
            return Ok(SendingClaim::Resting(until));
        }
        let until = now.plus(SENDING_LEASE);
        // Webhooks begin at different slots, so that one call mostly finds a free one.
        let mut slot = usize::from(shard_of(webhook.as_str())) % SENDING_SLOTS;
        for _ in 0..SENDING_SLOTS {
            let change = Change {
                expression: "SET #until = :until, #webhook = :webhook, expires_at = :expiry".to_owned(),
                condition: Some(FREE),
                names: Some(names(slot)),
                values: Values::new()
                    .set(":until", until)
                    .set(":webhook", webhook.as_str())
                    .set(":now", now)
                    .set(":expiry", now.plus(KEPT).as_seconds()),
            };
            let Err(failed) = table.update(key::sending_slots(account), change).await? else {
                let (account_id, webhook_id) = (account.clone(), webhook.clone());
                let before = state.clone();
                return Ok(SendingClaim::Claimed(Self { account_id, webhook_id, slot, until, before, state }));
            };
            let slots = Slots(failed.current.map(read_item).transpose()?.unwrap_or_default());
            if (0..SENDING_SLOTS).any(|slot| slots.has(slot, webhook) && !slots.is_free(slot, now)) {
                break;
            }
            let Some(free) = (0..SENDING_SLOTS).find(|slot| slots.is_free(*slot, now)) else { break };
            slot = free;
        }
        Ok(SendingClaim::Held)
    }

    /// Returns the time at which the receiver last accepted a delivery.
    pub fn last_success_at(&self) -> Option<Timestamp> {
        self.state.last_success_at
    }

    /// Notes that the receiver accepted a delivery. A later success within a minute is not worth a write.
    pub fn note_success(&mut self, at: Timestamp) {
        let noted = self.state.last_success_at.filter(|noted| noted.plus(NOTED_FOR) > at);
        self.state = State { rests_until: None, silences: 0, last_success_at: noted.or(Some(at)) };
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

    /// Keeps what was noted, and ends the lease unless another function has it by now.
    pub async fn end(self, table: &Table, now: Timestamp) -> Result<(), TableError> {
        if self.state != self.before {
            self.keep(table, now).await?;
        }
        let change = Change {
            expression: "REMOVE #until, #webhook".to_owned(),
            condition: Some("#until = :lease AND #webhook = :webhook"),
            names: Some(names(self.slot)),
            values: Values::new().set(":lease", self.until).set(":webhook", self.webhook_id.as_str()),
        };
        table.update(key::sending_slots(&self.account_id), change).await.map(drop)
    }

    async fn keep(&self, table: &Table, now: Timestamp) -> Result<(), TableError> {
        let State { rests_until, silences, last_success_at } = self.state;
        let mut expression = "SET silences = :silences, expires_at = :expiry".to_owned();
        if last_success_at.is_some() {
            expression.push_str(", last_success_at = :success");
        }
        expression.push_str(match rests_until {
            Some(_) => ", rests_until = :rests",
            None => " REMOVE rests_until",
        });
        let values = Values::new()
            .set(":silences", silences)
            .set(":expiry", now.plus(KEPT).as_seconds())
            .set_if(":success", last_success_at)
            .set_if(":rests", rests_until);
        let change = Change { expression, values, ..Change::default() };
        table.update(key::sending(&self.account_id, &self.webhook_id), change).await.map(drop)
    }
}

/// Returns the attributes of a slot by their placeholders.
fn names(slot: usize) -> HashMap<String, String> {
    let name = |name: &str| (format!("#{name}"), format!("{name}_{slot}"));
    HashMap::from([name("until"), name("webhook")])
}
