//! The outbox of an account: its audit events, and how far they have become deliveries.
//!
//! # Invariant: no event is lost
//!
//! An event is a row of the audit log, whose position begins with the time of its change. It becomes visible when its transaction
//! commits, which may be after a later event has become visible. So the outbox has two marks. The first, `read_to`, follows the
//! newest events closely. The second, `settled_to`, follows at a distance of [`SETTLED_AFTER`], which is longer than any function
//! lives: nothing becomes visible behind it any more, and it moves only over events that have their deliveries. An event that appears
//! behind the first mark gets its deliveries before the second one passes it.
//!
//! A mark moves once the deliveries of the events that it passes are written, and a delivery is written once, whoever finds its
//! event. So a function may die anywhere, and functions may find the same events at the same time.
//!
//! The rows of all outboxes are in one partition, which the sweep reads. An account that never had a webhook has none.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use futures_util::{StreamExt, TryStreamExt, stream};
use serde::Deserialize;

use super::{MAX_WEBHOOKS, Webhook, WebhookDelivery};
use crate::clock::Timestamp;
use crate::id::{AccountId, DeliveryId, WebhookId};
use crate::model::{AuditEvent, key};
use crate::sort::{Position, Sort};
use crate::table::{Change, Consistency, Order, Query, Source, Table, TableError, Values, Write, read_items};

/// The age at which events are read. Most transactions that began earlier have committed by then, so that events are found in order.
pub const READ_AFTER: Duration = Duration::from_secs(2);
/// The age at which no event can appear any more. A function lives for 15 minutes at most; the rest is for clocks that differ.
pub const SETTLED_AFTER: Duration = Duration::from_secs(20 * 60);
/// The time until events that could not settle yet are looked at again.
const SETTLES_AGAIN_AFTER: Duration = Duration::from_secs(5 * 60);
/// The time for which an account is followed after its last event.
pub const FOLLOWED_FOR: Duration = Duration::from_secs(10 * 60);
/// The time between two looks at an account that is followed.
pub const FOLLOWED_EVERY: Duration = Duration::from_secs(5);
/// The time after which a look that did not happen is taken for lost.
const LOST_AFTER: Duration = Duration::from_secs(30);
/// The number of events in one read.
const PAGE: i32 = 100;
/// The number of deliveries that are written concurrently.
const AT_ONCE: usize = 8;

/// The row of an outbox.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Outbox {
    /// The account of the events.
    pub account_id: AccountId,
    /// The number of the account's webhooks.
    pub webhooks: u64,
    /// The position of the last event that became deliveries.
    read_to: String,
    /// The position up to which no event can appear any more, and each has its deliveries.
    settled_to: String,
    /// The time at which the next events settle. `None` if all have.
    settles_at: Option<Timestamp>,
    /// The time until which the account is followed.
    followed_until: Option<Timestamp>,
    /// The time of the next look at an account that is followed. The message of that look has it too.
    looks_at: Option<Timestamp>,
}

/// The deliveries that a look at an outbox made, by webhook, in the order of their events.
pub type Dispatched = HashMap<WebhookId, Vec<DeliveryId>>;

/// The result of a look at an outbox.
#[derive(Clone, Debug, Default)]
pub struct Look {
    /// The new deliveries.
    pub deliveries: Dispatched,
    /// The time of the next look, if the account is followed from now on.
    pub next: Option<Timestamp>,
    /// Whether there may be more events.
    pub is_behind: bool,
}

impl Outbox {
    /// Returns the write that counts a new webhook, and makes the outbox if there is none. It is refused if the account has
    /// [`MAX_WEBHOOKS`].
    pub(super) fn counting_one_more(account: &AccountId, now: Timestamp) -> Write {
        let change = Change {
            expression: "SET account_id = :account, read_to = if_not_exists(read_to, :position), \
                         settled_to = if_not_exists(settled_to, :position) ADD webhooks :one"
                .to_owned(),
            condition: Some("attribute_not_exists(webhooks) OR webhooks < :max"),
            values: Values::new()
                .set(":account", account.as_str())
                .set(":position", position(now))
                .set(":one", 1)
                .set(":max", MAX_WEBHOOKS),
            ..Change::default()
        };
        Write::Update { key: key::outbox(account), change }
    }

    /// Returns the write that counts a deleted webhook.
    pub(super) fn counting_one_less(account: &AccountId) -> Write {
        let values = Values::new().set(":less", -1);
        let change = Change { expression: "ADD webhooks :less".to_owned(), values, ..Change::default() };
        Write::Update { key: key::outbox(account), change }
    }

    /// Returns the outbox of an account, if the account ever had a webhook.
    pub async fn load(table: &Table, account: &AccountId) -> Result<Option<Self>, TableError> {
        table.get(key::outbox(account), Consistency::Strong).await
    }

    /// Returns a page of the outboxes of all accounts. An empty page is the last.
    pub async fn page(table: &Table, after: Option<&AccountId>, limit: i32) -> Result<Vec<Self>, TableError> {
        let query = Query {
            source: Source::Table,
            partition: key::outboxes(),
            order: Order::Ascending,
            after: after.map(AccountId::as_str),
            limit,
        };
        Ok(table.query(query, None).await?.0)
    }

    /// Returns whether a function has to look at the outbox: there are events to read or to settle, and nobody follows the account.
    pub async fn is_behind(&self, table: &Table, now: Timestamp) -> Result<bool, TableError> {
        if self.webhooks == 0 {
            return Ok(false);
        }
        if self.settles_at.is_some_and(|at| at <= now) {
            return Ok(true);
        }
        if self.looks_at.is_some_and(|at| at.plus(LOST_AFTER) > now) {
            return Ok(false);
        }
        Ok(!self.events(table, &self.read_to, now, READ_AFTER, 1).await?.is_empty())
    }

    /// Returns whether each event that was read has settled.
    pub fn is_settled(&self) -> bool {
        self.settles_at.is_none()
    }

    /// Makes the deliveries of the next events. `planned` is the time of the planned look that this one is, if it is one. Returns
    /// `None` if there is nothing to look at, or the look was planned anew.
    pub async fn look(
        table: &Table,
        account: &AccountId,
        planned: Option<Timestamp>,
        now: Timestamp,
    ) -> Result<Option<Look>, TableError> {
        let Some(outbox) = Self::load(table, account).await?.filter(|outbox| outbox.webhooks > 0) else {
            return Ok(None);
        };
        if planned.is_some() && outbox.looks_at != planned {
            return Ok(None);
        }
        let webhooks = Webhook::all(table, account).await?;
        let mut look = Look::default();
        let mut after = outbox.skipping(&webhooks, now);
        if after.settles_at.is_some_and(|at| at <= now) {
            look.is_behind |= after.settle(table, &webhooks, &mut look.deliveries, now).await?;
        }
        look.is_behind |= after.read(table, &webhooks, &mut look.deliveries, now).await?;
        let is_followed_by_others = planned.is_none() && outbox.looks_at.is_some_and(|at| at.plus(LOST_AFTER) > now);
        if !is_followed_by_others {
            after.looks_at = after.followed_until.filter(|until| *until > now).map(|_| now.plus(FOLLOWED_EVERY));
            look.next = after.looks_at;
        }
        if after != outbox && !after.replace(table, &outbox).await? {
            // Somebody else looks, and goes on.
            look = Look { next: None, is_behind: false, ..look };
        }
        Ok(Some(look))
    }

    /// Returns the outbox without the events that no webhook can want, because they are older than each of them.
    fn skipping(&self, webhooks: &[Webhook], now: Timestamp) -> Self {
        let enabled = webhooks.iter().filter(|webhook| webhook.disabled.is_none());
        // Without an enabled webhook, one may be enabled while this function looks. What has settled is older.
        let since = enabled
            .map(|webhook| position(webhook.since))
            .min()
            .unwrap_or_else(|| position(before(now, SETTLED_AFTER)));
        let later = |mark: &String| mark.max(&since).clone();
        Self { read_to: later(&self.read_to), settled_to: later(&self.settled_to), ..self.clone() }
    }

    /// Makes the deliveries of the events behind the first mark, and moves the mark. Returns whether there may be more.
    async fn read(
        &mut self,
        table: &Table,
        webhooks: &[Webhook],
        made: &mut Dispatched,
        now: Timestamp,
    ) -> Result<bool, TableError> {
        let events = self.events(table, &self.read_to, now, READ_AFTER, PAGE).await?;
        let Some(last) = events.last() else { return Ok(false) };
        let mark = last.position(Sort::Created);
        let wanted = wanted(webhooks, &events, now);
        make(table, wanted, made).await?;
        self.read_to = mark;
        self.settles_at = self.settles_at.or(Some(now.plus(SETTLED_AFTER)));
        self.followed_until = Some(now.plus(FOLLOWED_FOR));
        Ok(events.len() == PAGE as usize)
    }

    /// Makes the deliveries of the events that have appeared behind the first mark, and moves the second mark. Returns whether
    /// there may be more.
    async fn settle(
        &mut self,
        table: &Table,
        webhooks: &[Webhook],
        made: &mut Dispatched,
        now: Timestamp,
    ) -> Result<bool, TableError> {
        let mut events = self.events(table, &self.settled_to, now, SETTLED_AFTER, PAGE).await?;
        let is_behind = events.len() == PAGE as usize;
        // The first mark has not passed the others yet.
        events.retain(|event| event.position(Sort::Created) <= self.read_to);
        let wanted = wanted(webhooks, &events, now);
        let keys = wanted.iter().map(|(_, delivery)| delivery.key()).collect();
        let known: HashSet<_> = table.batch_get::<Known>(keys).await?.into_iter().map(|known| known.id).collect();
        let missing = wanted.into_iter().filter(|(_, delivery)| !known.contains(&delivery.id)).collect();
        make(table, missing, made).await?;
        let mark = match events.last() {
            Some(last) if is_behind => last.position(Sort::Created),
            _ => position(before(now, SETTLED_AFTER)).min(self.read_to.clone()),
        };
        self.settled_to = mark.max(self.settled_to.clone());
        self.settles_at = match (is_behind, self.settled_to < self.read_to) {
            (true, _) => Some(now),
            (false, true) => Some(now.plus(SETTLES_AGAIN_AFTER)),
            (false, false) => None,
        };
        Ok(is_behind)
    }

    /// Returns the first events behind a position that have an age, oldest first and strongly consistent.
    async fn events(
        &self,
        table: &Table,
        after: &str,
        now: Timestamp,
        age: Duration,
        limit: i32,
    ) -> Result<Vec<AuditEvent>, TableError> {
        // `!` sorts before every character that follows the time in a position.
        let (from, to) = (format!("{after}!"), position(before(now, age)));
        if from > to {
            return Ok(Vec::new());
        }
        let (items, _) = table.range(key::audit_events(&self.account_id), (&from, &to), Some(limit)).await?;
        read_items(items)
    }

    /// Replaces the marks if they are still those that were read. Returns `false` if they are not.
    async fn replace(&self, table: &Table, was: &Self) -> Result<bool, TableError> {
        let mut expression = "SET read_to = :read, settled_to = :settled".to_owned();
        let mut removed = Vec::new();
        let mut values = Values::new()
            .set(":read", self.read_to.as_str())
            .set(":settled", self.settled_to.as_str())
            .set(":was_read", was.read_to.as_str())
            .set(":was_settled", was.settled_to.as_str());
        let times =
            [("settles_at", self.settles_at), ("followed_until", self.followed_until), ("looks_at", self.looks_at)];
        for (name, time) in times {
            match time {
                Some(time) => {
                    expression.push_str(&format!(", {name} = :{name}"));
                    values = values.set(format!(":{name}"), time);
                }
                None => removed.push(name),
            }
        }
        if !removed.is_empty() {
            expression.push_str(&format!(" REMOVE {}", removed.join(", ")));
        }
        let condition = Some("read_to = :was_read AND settled_to = :was_settled");
        let change = Change { expression, condition, values, ..Change::default() };
        Ok(table.update(key::outbox(&self.account_id), change).await?.is_ok())
    }
}

/// A delivery that exists.
#[derive(Deserialize)]
struct Known {
    id: DeliveryId,
}

/// Returns the deliveries of events to the webhooks that want them, each with its webhook, in the order of the events. Events of one
/// millisecond are in the order of their numbers.
fn wanted(webhooks: &[Webhook], events: &[AuditEvent], now: Timestamp) -> Vec<(WebhookId, WebhookDelivery)> {
    let mut events: Vec<_> = events.iter().collect();
    events.sort_by_key(|event| (event.created_at, event.sequence()));
    let of_event = |event| {
        let wanting = webhooks.iter().filter(move |webhook| webhook.wants(event));
        wanting.map(move |webhook| (webhook.id.clone(), WebhookDelivery::of(webhook, event, now)))
    };
    events.into_iter().flat_map(of_event).collect()
}

/// Writes deliveries, and adds those that did not exist.
async fn make(
    table: &Table,
    wanted: Vec<(WebhookId, WebhookDelivery)>,
    made: &mut Dispatched,
) -> Result<(), TableError> {
    let write = async |(webhook, delivery): (WebhookId, WebhookDelivery)| {
        let is_new = delivery.create(table).await?;
        Ok::<_, TableError>(is_new.then_some((webhook, delivery.id)))
    };
    let written: Vec<_> = stream::iter(wanted).map(write).buffered(AT_ONCE).try_collect().await?;
    for (webhook, delivery) in written.into_iter().flatten() {
        made.entry(webhook).or_default().push(delivery);
    }
    Ok(())
}

/// Returns the position before those of all events of a time or later.
fn position(time: Timestamp) -> String {
    format!("{:015}", time.as_millis().max(0))
}

fn before(now: Timestamp, age: Duration) -> Timestamp {
    Timestamp::from_millis(now.as_millis() - i64::try_from(age.as_millis()).expect("an age is short"))
}
