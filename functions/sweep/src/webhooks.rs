//! Events that are no deliveries to webhooks yet, and deliveries that are due.

use std::collections::HashMap;
use std::time::Duration;

use futures_util::{StreamExt, stream};
use shared::InitError;
use shared::clock::Timestamp;
use shared::id::{AccountId, DeliveryId, WebhookId};
use shared::model::{DueWebhookDelivery, Outbox};
use shared::queue::WebhookMessage;

use crate::pages::Pages;
use crate::{AT_ONCE, PAGE, Sweep, Tally};

/// The number of deliveries that a message names.
const NAMED: usize = 100;
/// The number of deliveries of a webhook that one sweep announces. A receiver that rests costs no more.
const ANNOUNCED: usize = 1_000;

impl Sweep {
    /// Sends the messages of accounts whose events nobody has looked at.
    pub(crate) async fn dispatch_events(&self, now: Timestamp, time: Duration) -> Tally {
        let (mut tally, mut last) = (Tally { complete: true, ..Tally::default() }, None::<AccountId>);
        loop {
            if self.app.clock().now().since(now) >= time {
                tally.complete = false;
                return tally;
            }
            let page = match Outbox::page(self.app.table(), last.as_ref(), PAGE).await {
                Ok(page) => page,
                Err(error) => {
                    self.failed(&mut tally, &error);
                    return tally;
                }
            };
            let Some(end) = page.last() else { return tally };
            last = Some(end.account_id.clone());
            let mut looks = stream::iter(page).map(|outbox| self.look_at_outbox(outbox, now)).buffer_unordered(AT_ONCE);
            while let Some(looked) = looks.next().await {
                match looked {
                    Ok(true) => tally.sent += 1,
                    Ok(false) => {}
                    Err(error) => self.failed(&mut tally, &*error),
                }
            }
        }
    }

    async fn look_at_outbox(&self, outbox: Outbox, now: Timestamp) -> Result<bool, InitError> {
        if !outbox.is_behind(self.app.table(), now).await? {
            return Ok(false);
        }
        let message = WebhookMessage::Dispatch { account_id: outbox.account_id, planned: None };
        self.webhooks.send(&message).await?;
        Ok(true)
    }

    /// Sends the messages of the due deliveries of one shard.
    pub(crate) async fn announce_deliveries(&self, shard: u8, now: Timestamp, time: Duration) -> Tally {
        let (mut tally, mut pages) = (Tally::default(), Pages::<DueWebhookDelivery>::new(shard, now, time));
        let mut due: HashMap<(AccountId, WebhookId), Vec<DeliveryId>> = HashMap::new();
        while let Some(page) = pages.next(self, &mut tally).await {
            for DueWebhookDelivery { account_id, webhook_id, delivery_id, .. } in page {
                let deliveries = due.entry((account_id, webhook_id)).or_default();
                if deliveries.len() < ANNOUNCED {
                    deliveries.push(delivery_id);
                }
            }
        }
        for ((account_id, webhook_id), deliveries) in due {
            for named in deliveries.chunks(NAMED) {
                let (account_id, webhook_id) = (account_id.clone(), webhook_id.clone());
                let message = WebhookMessage::Send { account_id, webhook_id, deliveries: named.to_vec() };
                match self.webhooks.send(&message).await {
                    Ok(()) => tally.sent += 1,
                    Err(error) => self.failed(&mut tally, &error),
                }
            }
        }
        tally
    }
}
