//! Deliveries to hooks that wait: their message was lost, or the git host could not be read.

use std::time::Duration;

use futures_util::{StreamExt, stream};
use shared::InitError;
use shared::clock::Timestamp;
use shared::model::{Delivery, DueDelivery, Handled, Outcome};
use shared::queue::DeliveryMessage;

use crate::pages::Pages;
use crate::{AT_ONCE, Sweep, Tally};

/// The outcome of looking at a due delivery.
enum Looked {
    Sent,
    Ended,
    Unchanged,
}

impl Sweep {
    /// Sends the messages of due deliveries again, and ends those that waited too long.
    pub(crate) async fn send_deliveries(&self, now: Timestamp, time: Duration) -> Tally {
        let (mut tally, mut pages) = (Tally::default(), Pages::<DueDelivery>::new(0, now, time));
        while let Some(page) = pages.next(self, &mut tally).await {
            let mut looks = stream::iter(page).map(|due| self.look_at_delivery(due, now)).buffer_unordered(AT_ONCE);
            while let Some(looked) = looks.next().await {
                match looked {
                    Ok(Looked::Sent) => tally.sent += 1,
                    Ok(Looked::Ended) => tally.ended += 1,
                    Ok(Looked::Unchanged) => tally.unchanged += 1,
                    Err(error) => self.failed(&mut tally, &*error),
                }
            }
        }
        tally
    }

    async fn look_at_delivery(&self, due: DueDelivery, now: Timestamp) -> Result<Looked, InitError> {
        let table = self.app.table();
        // The index may be behind the row, which decides.
        let found = Delivery::load(table, &due.hook_id, &due.delivery_id).await?;
        let Some(delivery) = found.filter(|found| found.due_at == Some(due.at)) else {
            return Ok(Looked::Unchanged);
        };
        if delivery.is_overdue(now) {
            let handled = Handled {
                outcome: Outcome::Failed,
                reason: "The delivery could not be handled; send it again".to_owned(),
                deployments: Vec::new(),
                sha: None,
            };
            let is_ended = delivery.finish(table, handled).await?;
            return Ok(if is_ended { Looked::Ended } else { Looked::Unchanged });
        }
        if !delivery.put_off(table, now).await? {
            return Ok(Looked::Unchanged);
        }
        self.hooks.send(&DeliveryMessage { hook_id: due.hook_id, delivery_id: due.delivery_id }).await?;
        Ok(Looked::Sent)
    }
}
