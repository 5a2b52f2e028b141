use std::time::{Duration, Instant};

use aws_sdk_sqs::Client;
use aws_sdk_sqs::types::{Message, MessageAttributeValue, MessageSystemAttributeName, QueueAttributeName};
use local::sqs::Sqs;
use serde_json::json;

use crate::{LONG_POLL, eventually, free_port, sqs_client};

pub(crate) async fn attribute(client: &Client, queue: &str, name: QueueAttributeName) -> String {
    let attributes = client.get_queue_attributes().queue_url(queue).attribute_names(name.clone()).send().await.unwrap();
    attributes.attributes.unwrap()[&name].clone()
}

/// Returns the numbers of visible and of received messages.
pub(crate) async fn counts(client: &Client, queue: &str) -> (String, String) {
    (
        attribute(client, queue, QueueAttributeName::ApproximateNumberOfMessages).await,
        attribute(client, queue, QueueAttributeName::ApproximateNumberOfMessagesNotVisible).await,
    )
}

/// Creates a queue with a visibility timeout in seconds, and its dead-letter queue. Returns both URLs.
pub(crate) async fn queue_with_dlq(client: &Client, visibility: u32, max_receives: u32) -> (String, String) {
    let dlq = client.create_queue().queue_name("work-dlq").send().await.unwrap().queue_url.unwrap();
    let target = attribute(client, &dlq, QueueAttributeName::QueueArn).await;
    let redrive = json!({ "deadLetterTargetArn": target, "maxReceiveCount": max_receives });
    let queue = client
        .create_queue()
        .queue_name("work")
        .attributes(QueueAttributeName::VisibilityTimeout, visibility.to_string())
        .attributes(QueueAttributeName::RedrivePolicy, redrive.to_string())
        .send()
        .await
        .unwrap();
    (queue.queue_url.unwrap(), dlq)
}

pub(crate) async fn receive(client: &Client, queue: &str, wait_seconds: i32) -> Vec<Message> {
    let received = client
        .receive_message()
        .queue_url(queue)
        .wait_time_seconds(wait_seconds)
        .max_number_of_messages(10)
        .message_system_attribute_names(MessageSystemAttributeName::All)
        .message_attribute_names("All")
        .send()
        .await
        .unwrap();
    received.messages.unwrap_or_default()
}

fn bodies(messages: &[Message]) -> Vec<&str> {
    messages.iter().filter_map(Message::body).collect()
}

fn count(available: u32, in_flight: u32) -> (String, String) {
    (available.to_string(), in_flight.to_string())
}

#[tokio::test]
async fn a_message_is_sent_received_and_deleted() {
    let sqs = Sqs::start(free_port()).await.unwrap();
    let client = sqs_client(&sqs.endpoint());
    let (queue, _) = queue_with_dlq(&client, 30, 3).await;
    assert_eq!(queue, format!("{}/000000000000/work", sqs.endpoint()));
    let arn = attribute(&client, &queue, QueueAttributeName::QueueArn).await;
    assert_eq!(arn, "arn:aws:sqs:us-east-1:000000000000:work");
    let by_name = client.get_queue_url().queue_name("work").send().await.unwrap();
    assert_eq!(by_name.queue_url(), Some(queue.as_str()));

    let trace = MessageAttributeValue::builder().data_type("String").string_value("abc").build().unwrap();
    let message = client.send_message().queue_url(&queue).message_body("one").message_attributes("trace", trace);
    let sent = message.send().await.unwrap();
    assert_eq!(counts(&client, &queue).await, count(1, 0));

    let messages = receive(&client, &queue, 0).await;
    assert_eq!(bodies(&messages), ["one"]);
    assert_eq!(messages[0].message_id(), sent.message_id());
    assert_eq!(messages[0].message_attributes().unwrap()["trace"].string_value(), Some("abc"));
    assert_eq!(messages[0].attributes().unwrap()[&MessageSystemAttributeName::ApproximateReceiveCount], "1");
    assert_eq!(counts(&client, &queue).await, count(0, 1));
    assert!(receive(&client, &queue, 0).await.is_empty(), "received while invisible");

    let handle = messages[0].receipt_handle().unwrap();
    client.delete_message().queue_url(&queue).receipt_handle(handle).send().await.unwrap();
    assert_eq!(counts(&client, &queue).await, count(0, 0));
}

#[tokio::test]
async fn a_waiting_receive_gets_a_message_when_it_is_sent() {
    let sqs = Sqs::start(free_port()).await.unwrap();
    let client = sqs_client(&sqs.endpoint());
    let (queue, _) = queue_with_dlq(&client, 30, 3).await;

    let start = Instant::now();
    assert!(receive(&client, &queue, 1).await.is_empty());
    assert!(start.elapsed() >= Duration::from_millis(900), "did not wait");

    let waiting = tokio::spawn({
        let (client, queue) = (client.clone(), queue.clone());
        async move { (receive(&client, &queue, 20).await, Instant::now()) }
    });
    tokio::time::sleep(Duration::from_millis(200)).await;
    let sent = Instant::now();
    client.send_message().queue_url(&queue).message_body("one").send().await.unwrap();
    let (messages, received) = waiting.await.unwrap();
    assert_eq!(bodies(&messages), ["one"]);
    assert!(received - sent < LONG_POLL / 2, "took {:?}", received - sent);
}

#[tokio::test]
async fn visibility_can_be_given_back_and_extended() {
    let sqs = Sqs::start(free_port()).await.unwrap();
    let client = sqs_client(&sqs.endpoint());
    let (queue, _) = queue_with_dlq(&client, 3, 100).await;
    client.send_message().queue_url(&queue).message_body("one").send().await.unwrap();
    let change = async |message: &Message, seconds| {
        let change = client.change_message_visibility().queue_url(&queue).visibility_timeout(seconds);
        change.receipt_handle(message.receipt_handle().unwrap()).send().await.unwrap();
    };

    let first = receive(&client, &queue, 0).await;
    change(&first[0], 0).await;
    let again = receive(&client, &queue, 0).await;
    assert_eq!(bodies(&again), ["one"]);

    change(&again[0], 30).await;
    tokio::time::sleep(Duration::from_millis(3300)).await;
    assert!(receive(&client, &queue, 0).await.is_empty(), "visible before its extended timeout");
}

#[tokio::test]
async fn a_message_moves_to_the_dead_letter_queue_after_its_last_receive() {
    let sqs = Sqs::start(free_port()).await.unwrap();
    let client = sqs_client(&sqs.endpoint());
    let (queue, dlq) = queue_with_dlq(&client, 1, 2).await;
    let sent = client.send_message().queue_url(&queue).message_body("poison").send().await.unwrap();

    for _ in 0..2 {
        assert_eq!(bodies(&receive(&client, &queue, 5).await), ["poison"]);
        assert_eq!(counts(&client, &dlq).await, count(0, 0));
    }
    tokio::time::sleep(Duration::from_millis(1100)).await;
    assert!(receive(&client, &queue, 1).await.is_empty(), "received more often than allowed");
    eventually("the move", async || (counts(&client, &dlq).await == count(1, 0)).then_some(())).await;
    assert_eq!(counts(&client, &queue).await, count(0, 0));

    let dead = receive(&client, &dlq, 0).await;
    assert_eq!(bodies(&dead), ["poison"]);
    assert_eq!(dead[0].message_id(), sent.message_id());
}

#[tokio::test]
async fn a_queue_that_is_not_there_is_the_sdks_own_error() {
    let sqs = Sqs::start(free_port()).await.unwrap();
    let client = sqs_client(&sqs.endpoint());
    let queue = format!("{}/000000000000/none", sqs.endpoint());
    let refused = client.send_message().queue_url(queue).message_body("one").send().await.unwrap_err();
    assert!(refused.into_service_error().is_queue_does_not_exist());
}

#[tokio::test]
async fn a_shutdown_does_not_wait_for_long_polls() {
    let sqs = Sqs::start(free_port()).await.unwrap();
    let client = sqs_client(&sqs.endpoint());
    let (queue, _) = queue_with_dlq(&client, 30, 3).await;
    let waiting = tokio::spawn({
        let (client, queue) = (client.clone(), queue.clone());
        async move { client.receive_message().queue_url(queue).wait_time_seconds(20).send().await }
    });
    tokio::time::sleep(Duration::from_millis(100)).await;
    let start = Instant::now();
    sqs.shutdown().await;
    assert!(start.elapsed() < LONG_POLL / 2, "took {:?}", start.elapsed());
    assert!(waiting.await.unwrap().is_err());
}
