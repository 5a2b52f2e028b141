//! The share of the functions that one account's receivers can hold.

use std::sync::Mutex;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use send_webhooks::{Dispatching, Message, Response, Sender, Sending};
use serde_json::json;
use shared::model::{READ_AFTER, SENDING_SLOTS};
use shared::queue::WebhookQueue;
use tests::World;
use tokio::sync::watch;

use super::{by_hand, create, due};

/// The slow receivers answer when the test says so. Until then they hold as many functions as they can.
#[tokio::test]
async fn slow_receivers_hold_the_slots_of_their_own_account_and_of_no_other() {
    let world = World::start_with(by_hand).await;
    let (mallory, owner) = (world.owner("mallory").await, world.owner("acme").await);
    for at in 0..=SENDING_SLOTS {
        create(&mallory, &format!("https://slow-{at}.example.com/"), json!({"events": ["team.*"]})).await;
    }
    create(&owner, "https://fast.example.com/", json!({"events": ["team.*"]})).await;
    mallory.team("trouble").await;
    owner.team("platform").await;
    world.clock.advance(READ_AFTER + Duration::from_secs(1));
    let app = world.stack.environment().app().unwrap();
    let (sender, queue) = (Sender::new(&app).unwrap(), WebhookQueue::new(&app).unwrap());
    for account in [&mallory, &owner] {
        let account_id = account.account_id.as_ref().unwrap();
        Dispatching { app: &app, queue: &queue }.dispatch(account_id, None).await.unwrap();
    }

    let (release, released) = watch::channel(false);
    let posted = Mutex::new(Vec::new());
    let post = |message: Message| {
        let (url, mut released) = (message.url.to_string(), released.clone());
        posted.lock().unwrap().push(url.clone());
        async move {
            if url.contains("slow") {
                released.wait_for(|released| *released).await.unwrap();
            }
            Response::Answer { status: 200, body: String::new(), retry_after: None }
        }
    };
    let sending = Sending { sender: &sender, post };
    let send = async |account: &str, webhook: &str, deliveries: &[String]| {
        let deliveries = deliveries.iter().map(|id| id.parse().unwrap()).collect();
        sending.send(&account.parse().unwrap(), &webhook.parse().unwrap(), deliveries, || true).await.unwrap().outcome
    };
    let (send, due) = (&send, due(&world).await);
    let of = |owner: &tests::Actor| {
        let account = owner.account_id.as_ref().unwrap().to_string();
        due.iter().filter(move |((id, _), _)| *id == account).collect::<Vec<_>>()
    };
    let slow = of(&mallory);
    assert_eq!(slow.len(), SENDING_SLOTS + 1);
    let mut running: FuturesUnordered<_> = slow
        .iter()
        .map(|((account, webhook), deliveries)| async move { (webhook, send(account, webhook, deliveries).await) })
        .collect();
    let (left, outcome) = running.next().await.unwrap();
    assert_eq!(outcome, "held", "the others wait for their receivers");

    let [((account, webhook), deliveries)] = of(&owner)[..] else { panic!("one webhook") };
    assert_eq!(send(account, webhook, deliveries).await, "sent");
    assert!(posted.lock().unwrap().contains(&"https://fast.example.com/".to_owned()));

    release.send_replace(true);
    let outcomes: Vec<_> = running.map(|(_, outcome)| outcome).collect().await;
    assert_eq!(outcomes, ["sent"; SENDING_SLOTS]);
    let ((account, _), deliveries) = slow.iter().find(|((_, webhook), _)| webhook == left).unwrap();
    assert_eq!(send(account, left, deliveries).await, "sent");
    assert_eq!(posted.lock().unwrap().len(), SENDING_SLOTS + 2);
}
