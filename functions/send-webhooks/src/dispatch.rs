//! Making deliveries of an account's events.

use shared::clock::Timestamp;
use shared::id::AccountId;
use shared::model::Outbox;
use shared::queue::{WebhookMessage, WebhookQueue};
use shared::{App, InitError};

/// The number of looks of one message. Each makes the deliveries of up to 100 new events, and of as many that have settled.
const MAX_LOOKS: usize = 10;

/// The clients of a dispatch.
#[derive(Clone, Copy, Debug)]
pub struct Dispatching<'a> {
    /// The app.
    pub app: &'a App,
    /// The queue of webhooks.
    pub queue: &'a WebhookQueue,
}

impl Dispatching<'_> {
    /// Makes the deliveries of an account's new events, and announces them. Returns a word for the log, and their number.
    ///
    /// # Errors
    /// Fails if the table fails. The sweep sends the message again.
    pub async fn dispatch(
        &self,
        account: &AccountId,
        planned: Option<Timestamp>,
    ) -> Result<(&'static str, usize), InitError> {
        let (table, now) = (self.app.table(), self.app.clock().now());
        let (mut made, mut next, mut planned) = (0, None, planned);
        for _ in 0..MAX_LOOKS {
            let Some(look) = Outbox::look(table, account, planned.take(), now).await? else { break };
            next = look.next.or(next);
            for (webhook_id, deliveries) in look.deliveries {
                made += deliveries.len();
                self.announce(&WebhookMessage::Send { account_id: account.clone(), webhook_id, deliveries }).await;
            }
            if !look.is_behind {
                break;
            }
        }
        if let Some(at) = next {
            let message = WebhookMessage::Dispatch { account_id: account.clone(), planned: Some(at) };
            if let Err(error) = self.queue.send_after(at.since(now), &message).await {
                self.app.log().warn("an account's events could not be followed; the sweep will look at them", &error);
            }
        }
        Ok((if made > 0 { "dispatched" } else { "nothing_new" }, made))
    }

    async fn announce(&self, message: &WebhookMessage) {
        if let Err(error) = self.queue.send(message).await {
            self.app.log().warn("deliveries to a webhook could not be announced; the sweep will announce them", &error);
        }
    }
}
