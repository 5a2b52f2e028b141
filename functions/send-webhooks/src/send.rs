//! Sending the deliveries of a webhook.

use std::time::{Duration, Instant};

use shared::InitError;
use shared::clock::Timestamp;
use shared::id::{AccountId, DeliveryId, WebhookId};
use shared::model::{
    Attempt, AuditEvent, DeliveryStatus, Ending, HookSecret, LONGEST_WAIT, SendingClaim, Webhook, WebhookDelivery,
};
use shared::queue::WebhookMessage;

use crate::client::{Message, Response};
use crate::{Sender, payload, signature};

/// The time after which no further attempt begins.
const BEGINS_WITHIN: Duration = Duration::from_secs(20);
/// The delay of a message about a webhook that another function sends to.
const ASKS_AGAIN_AFTER: Duration = Duration::from_secs(5);
/// The longest delay of a message in SQS. The sweep announces what is due later.
const MAX_DELAY: Duration = Duration::from_secs(15 * 60);
/// The reason for which deliveries of a disabled webhook end.
const DISABLED: &str = "The webhook was disabled";
/// The reason for which a webhook is disabled whose receiver did not accept an event.
const EXHAUSTED: &str = "An event could not be delivered for three days, and no other was accepted";
/// The reason for which a webhook is disabled whose receiver is gone.
const GONE: &str = "The receiver answered with the HTTP status 410: it wants no more events";

/// The result of a message about a webhook's deliveries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sent {
    /// A word for the log.
    pub outcome: &'static str,
    /// The number of attempts.
    pub deliveries: usize,
}

/// A function that sends to a webhook, and what it posts with.
#[derive(Debug)]
pub struct Sending<'a, Post> {
    /// The consumer of the queue.
    pub sender: &'a Sender,
    /// Posts a message.
    pub post: Post,
}

/// The decision after an attempt.
enum Next {
    /// The other deliveries are sent.
    GoOn,
    /// The receiver rests, or the webhook is disabled.
    Stop(&'static str),
}

impl Sender {
    /// Sends the deliveries that are due, over HTTP.
    pub(crate) async fn send(
        &self,
        account: &AccountId,
        webhook: &WebhookId,
        deliveries: Vec<DeliveryId>,
        started: Instant,
    ) -> Result<Sent, InitError> {
        let post = |message: Message| {
            let client = self.client.clone();
            async move {
                let posted = tokio::task::spawn_blocking(move || client.post(&message)).await;
                posted.unwrap_or_else(|_| Response::Silence("The receiver's answer can't be read".to_owned()))
            }
        };
        let sending = Sending { sender: self, post };
        sending.send(account, webhook, deliveries, || started.elapsed() < BEGINS_WITHIN).await
    }

    /// Returns the secrets that sign a webhook's messages at a time, the current one first.
    async fn secrets(&self, webhook: &Webhook, now: Timestamp) -> Result<Vec<HookSecret>, InitError> {
        let mut secrets = match self.secrets.get(&(webhook.id.clone(), webhook.revision)) {
            Some(known) => known,
            None => {
                let context = Webhook::sealing_context(&webhook.account_id, &webhook.id);
                let mut opened = Vec::new();
                for sealed in webhook.sealed_secrets(now) {
                    let text = self.vault.open(&context, sealed).await?;
                    opened.push(HookSecret::opened(text).ok_or("a webhook's secret can't be read")?);
                }
                self.secrets.insert((webhook.id.clone(), webhook.revision), opened.clone());
                opened
            }
        };
        secrets.truncate(webhook.sealed_secrets(now).count());
        Ok(secrets)
    }
}

impl<Post, Posted> Sending<'_, Post>
where
    Post: Fn(Message) -> Posted,
    Posted: Future<Output = Response>,
{
    /// Sends the deliveries that are due, in the order of their events, as long as `has_time`.
    ///
    /// # Errors
    /// Fails if a service of the stack fails. The sweep announces the deliveries again.
    pub async fn send(
        &self,
        account: &AccountId,
        webhook_id: &WebhookId,
        deliveries: Vec<DeliveryId>,
        has_time: impl Fn() -> bool,
    ) -> Result<Sent, InitError> {
        let app = &self.sender.app;
        let (table, now) = (app.table(), app.clock().now());
        let webhook = Webhook::load(table, account, webhook_id).await?;
        let Some(webhook) = webhook.filter(|webhook| webhook.disabled.is_none()) else {
            self.end(account, webhook_id, &deliveries, now).await?;
            return Ok(Sent { outcome: "nobody_to_tell", deliveries: 0 });
        };
        let mut sending = match shared::model::Sending::claim(table, account, webhook_id, now).await? {
            SendingClaim::Claimed(sending) => sending,
            SendingClaim::Resting(_) => return Ok(Sent { outcome: "resting", deliveries: 0 }),
            SendingClaim::Held => {
                self.announce(account, webhook_id, deliveries, ASKS_AGAIN_AFTER).await;
                return Ok(Sent { outcome: "held", deliveries: 0 });
            }
        };
        let sent = self.send_due(&webhook, deliveries, &mut sending, has_time).await;
        sending.end(table, app.clock().now()).await?;
        sent
    }

    /// Sends the deliveries that are due while this function holds the lease.
    async fn send_due(
        &self,
        webhook: &Webhook,
        ids: Vec<DeliveryId>,
        sending: &mut shared::model::Sending,
        has_time: impl Fn() -> bool,
    ) -> Result<Sent, InitError> {
        let app = &self.sender.app;
        let mut sent = Sent { outcome: "sent", deliveries: 0 };
        let mut left = ids.into_iter();
        while let Some(id) = left.next() {
            if !has_time() {
                let rest = [id].into_iter().chain(left).collect();
                self.announce(&webhook.account_id, &webhook.id, rest, Duration::ZERO).await;
                return Ok(Sent { outcome: "sent_some", ..sent });
            }
            let now = app.clock().now();
            let found = WebhookDelivery::load(app.table(), &webhook.account_id, &webhook.id, &id).await?;
            let Some(delivery) = found.filter(|delivery| delivery.is_due(now)) else { continue };
            if delivery.is_overdue(now) {
                let reason = "The receiver was silent for three days".to_owned();
                delivery.clone().fail(app.table(), Ending::Reason(reason), now).await?;
                self.exhausted(webhook, &delivery, sending, now).await?;
                return Ok(Sent { outcome: "given_up", ..sent });
            }
            sent.deliveries += 1;
            if let Next::Stop(outcome) = self.attempt(webhook, delivery, sending).await? {
                return Ok(Sent { outcome, ..sent });
            }
        }
        Ok(sent)
    }

    /// Sends one delivery, and records how it went.
    async fn attempt(
        &self,
        webhook: &Webhook,
        delivery: WebhookDelivery,
        sending: &mut shared::model::Sending,
    ) -> Result<Next, InitError> {
        let app = &self.sender.app;
        let (table, at) = (app.table(), app.clock().now());
        let event = AuditEvent::load(table, &webhook.account_id, delivery.event_at, &delivery.event_id).await?;
        let Some(event) = event else {
            delivery.fail(table, Ending::Reason("The event was deleted".to_owned()), at).await?;
            return Ok(Next::GoOn);
        };
        let body = payload::render(webhook.format, &payload::event_body(app, event).await?);
        let mut headers = Vec::new();
        if webhook.format.is_signed() {
            let (secrets, id) = (self.sender.secrets(webhook, at).await?, delivery.event_id.as_str());
            headers.push(("webhook-id", id.to_owned()));
            headers.push(("webhook-timestamp", at.as_seconds().to_string()));
            headers.push(("webhook-signature", signature::sign(&secrets, id, at, &body)));
        }
        let posted = Instant::now();
        let response = (self.post)(Message { url: webhook.url.clone(), headers, body }).await;
        let took_ms = u64::try_from(posted.elapsed().as_millis()).unwrap_or(u64::MAX);
        let now = app.clock().now();
        let attempt = Attempt { at, took_ms, response_status: None, response_body: None, error: None };
        match response {
            Response::Answer { status, body, retry_after } => {
                let attempt = Attempt { response_status: Some(status), response_body: Some(body), ..attempt };
                if (200..300).contains(&status) {
                    sending.note_success(now);
                    delivery.succeed(table, attempt).await?;
                    return Ok(Next::GoOn);
                }
                let attempt = Attempt { error: Some(refusal(status)), ..attempt };
                if status == 410 {
                    delivery.fail(table, Ending::Attempt(attempt), now).await?;
                    Webhook::disable(table, &webhook.account_id, &webhook.id, GONE, now).await?;
                    return Ok(Next::Stop("gone"));
                }
                let wait = retry_after.filter(|_| [429, 503].contains(&status)).and_then(|text| now.wait_of(&text));
                let wait = wait.map(|wait| wait.min(LONGEST_WAIT)).filter(|wait| !wait.is_zero());
                let next = self.postpone(webhook, delivery, attempt, wait, sending, now).await?;
                match (next, wait) {
                    (Next::GoOn, Some(wait)) => {
                        sending.note_wait(now.plus(wait));
                        Ok(Next::Stop("told_to_wait"))
                    }
                    (next, _) => Ok(next),
                }
            }
            Response::Silence(reason) => {
                sending.note_silence(now);
                self.postpone(webhook, delivery, Attempt { error: Some(reason), ..attempt }, None, sending, now)
                    .await?;
                Ok(Next::Stop("silent"))
            }
        }
    }

    /// Records an attempt that failed, and announces the next one.
    async fn postpone(
        &self,
        webhook: &Webhook,
        delivery: WebhookDelivery,
        attempt: Attempt,
        wait: Option<Duration>,
        sending: &shared::model::Sending,
        now: Timestamp,
    ) -> Result<Next, InitError> {
        let Some(after) = delivery.postpone(self.sender.app.table(), attempt, wait, now).await? else {
            return Ok(Next::GoOn);
        };
        match (after.status, after.due_at.map(|at| at.since(now))) {
            (DeliveryStatus::Failed, _) => {
                self.exhausted(webhook, &after, sending, now).await?;
                Ok(Next::Stop("given_up"))
            }
            (_, Some(pause)) if pause <= MAX_DELAY => {
                self.announce(&webhook.account_id, &webhook.id, vec![after.id], pause).await;
                Ok(Next::GoOn)
            }
            _ => Ok(Next::GoOn),
        }
    }

    /// Disables a webhook one of whose deliveries was given up, unless the receiver has accepted others meanwhile.
    async fn exhausted(
        &self,
        webhook: &Webhook,
        delivery: &WebhookDelivery,
        sending: &shared::model::Sending,
        now: Timestamp,
    ) -> Result<(), InitError> {
        if sending.last_success_at().is_none_or(|at| at < delivery.tried_since) {
            Webhook::disable(self.sender.app.table(), &webhook.account_id, &webhook.id, EXHAUSTED, now).await?;
        }
        Ok(())
    }

    /// Ends the deliveries of a webhook that is deleted or disabled.
    async fn end(
        &self,
        account: &AccountId,
        webhook: &WebhookId,
        ids: &[DeliveryId],
        now: Timestamp,
    ) -> Result<(), InitError> {
        let table = self.sender.app.table();
        for id in ids {
            let found = WebhookDelivery::load(table, account, webhook, id).await?;
            if let Some(delivery) = found.filter(|delivery| delivery.status == DeliveryStatus::Pending) {
                delivery.fail(table, Ending::Reason(DISABLED.to_owned()), now).await?;
            }
        }
        Ok(())
    }

    /// Sends the message of deliveries. After a failure, the sweep does.
    async fn announce(&self, account: &AccountId, webhook: &WebhookId, deliveries: Vec<DeliveryId>, after: Duration) {
        let message = WebhookMessage::Send { account_id: account.clone(), webhook_id: webhook.clone(), deliveries };
        if let Err(error) = self.sender.queue.send_after(after, &message).await {
            let message = "deliveries to a webhook could not be announced; the sweep will announce them";
            self.sender.app.log().warn(message, &error);
        }
    }
}

/// Returns the reason why an event was not accepted.
fn refusal(status: u16) -> String {
    match status {
        300..400 => format!("The receiver answered with the HTTP status {status}; redirects are not followed"),
        _ => format!("The receiver answered with the HTTP status {status}"),
    }
}
