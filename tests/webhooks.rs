//! Webhooks: events that are sent to receivers, whatever the receivers and the stack do.

mod deliveries;
mod ends;
mod faults;
mod formats;
mod hostile;
mod management;
mod order;
pub(crate) mod receiver;
mod shares;

use std::collections::BTreeMap;
use std::time::Duration;

use local::function::Function;
use local::stack::Options;
use serde_json::{Value, json};
use shared::clock::Timestamp;
use shared::model::{Due, DueEntry, DueWebhookDelivery, READ_AFTER};
use shared::settings::WEBHOOK_QUEUE_URL;
use tests::{Actor, World};

use self::receiver::Receiver;

/// Makes every send to the queue of webhooks fail, so that events are sent only when a test says so.
pub(crate) fn by_hand(options: &mut Options) {
    options.overrides.push((WEBHOOK_QUEUE_URL, "http://127.0.0.1/0/nowhere".to_owned()));
}

/// An account with a webhook to a receiver, in which the test delivers the messages.
struct Scene {
    world: World,
    owner: Actor,
    receiver: Receiver,
    webhook: Value,
    function: Function,
}

impl Scene {
    /// Starts a scene whose webhook wants the events of teams.
    async fn start() -> Self {
        Self::start_with(json!({"events": ["team.*"]})).await
    }

    /// Starts a scene whose webhook has these fields besides its name and its URL.
    async fn start_with(fields: Value) -> Self {
        let world = World::start_with(by_hand).await;
        let owner = world.owner("acme").await;
        let receiver = Receiver::start().await;
        let webhook = create(&owner, &receiver.url("/in"), fields).await;
        let function = world.stack.environment().send_webhooks().unwrap();
        Self { world, owner, receiver, webhook, function }
    }

    fn path(&self) -> String {
        path_of(&self.webhook)
    }

    /// Returns the webhook as it is now.
    async fn now(&self) -> Value {
        let answer = self.owner.get(&self.path()).await;
        assert_eq!(answer.status, 200, "{answer:?}");
        answer.body
    }

    async fn deliveries(&self) -> Vec<Value> {
        deliveries(&self.owner, &self.webhook).await
    }

    /// Makes the deliveries of events that are old enough, and sends those that are due.
    async fn deliver(&self) {
        self.world.clock.advance(READ_AFTER + Duration::from_secs(1));
        self.dispatch().await;
        self.send().await;
    }

    async fn dispatch(&self) {
        self.invoke(json!({"dispatch": {"account_id": self.owner.account_id}})).await;
    }

    /// Sends the deliveries that are due, as the sweep has it done. Returns the outcomes that the function logs.
    async fn send(&self) -> Vec<String> {
        let mut outcomes = Vec::new();
        for ((account_id, webhook_id), deliveries) in due(&self.world).await {
            let message = json!({"account_id": account_id, "webhook_id": webhook_id, "deliveries": deliveries});
            outcomes.push(self.invoke(json!({"send": message})).await);
        }
        outcomes
    }

    async fn invoke(&self, message: Value) -> String {
        let event = json!({"Records": [{"messageId": "m", "body": message.to_string()}]});
        let handled = self.function.invoke(event).await.unwrap();
        assert_eq!(handled, json!({"batchItemFailures": []}), "{:?}", self.world.log().last());
        let line = self.world.log().into_iter().rfind(|line| line["function"] == "send-webhooks").unwrap();
        line["outcome"].as_str().unwrap().to_owned()
    }
}

/// Creates a webhook with these fields besides its name and its URL.
pub(crate) async fn create(owner: &Actor, url: &str, fields: Value) -> Value {
    let mut new = json!({"name": "Board", "url": url});
    new.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
    let created = owner.post("/v1/webhooks", new).await;
    assert_eq!(created.status, 201, "{created:?}");
    created.body
}

fn path_of(webhook: &Value) -> String {
    format!("/v1/webhooks/{}", webhook["id"].as_str().unwrap())
}

/// Returns the newest deliveries of a webhook, newest first.
async fn deliveries(owner: &Actor, webhook: &Value) -> Vec<Value> {
    let answer = owner.get(&format!("{}/deliveries?per_page=100", path_of(webhook))).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    answer.body["data"].as_array().unwrap().clone()
}

/// Returns the deliveries that are due, by account and webhook, in the order in which they became due.
async fn due(world: &World) -> BTreeMap<(String, String), Vec<String>> {
    let mut due = Vec::new();
    for shard in 0..Due::SHARDS {
        let page = DueWebhookDelivery::page(world.stack.app().table(), shard, world.clock.now(), None, 1000).await;
        due.extend(page.unwrap());
    }
    due.sort_by_key(|due: &DueWebhookDelivery| due.at);
    let mut by_webhook = BTreeMap::<_, Vec<String>>::new();
    for DueWebhookDelivery { account_id, webhook_id, delivery_id, .. } in due {
        by_webhook.entry((account_id.to_string(), webhook_id.to_string())).or_default().push(delivery_id.to_string());
    }
    by_webhook
}

/// Returns the number of deliveries that are pending, whenever they are due.
async fn pending(world: &World) -> usize {
    let mut pending = 0;
    for shard in 0..Due::SHARDS {
        let end = Timestamp::from_millis(i64::MAX);
        pending += DueWebhookDelivery::page(world.stack.app().table(), shard, end, None, 1000).await.unwrap().len();
    }
    pending
}
