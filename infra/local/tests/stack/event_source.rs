use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use aws_lambda_events::sqs::{SqsBatchResponse, SqsEvent};
use aws_sdk_sqs::Client;
use aws_sdk_sqs::primitives::Blob;
use aws_sdk_sqs::types::MessageAttributeValue;
use lambda_runtime::{LambdaEvent, service_fn};
use local::event_source::{EventSource, Mapping, StartError};
use local::function::Function;
use local::sqs::Sqs;
use serde_json::{Value, json};

use crate::sqs::{counts, queue_with_dlq, receive};
use crate::{LONG_POLL, clock, eventually, free_port, sqs_client};

const LIMIT: Duration = Duration::from_secs(60);

/// A queue whose messages are visible again after a second and dead after the second delivery.
struct Queue {
    client: Client,
    url: String,
    dlq: String,
    _sqs: Sqs,
}

impl Queue {
    async fn new() -> Self {
        let sqs = Sqs::start(free_port()).await.unwrap();
        let client = sqs_client(&sqs.endpoint());
        let (url, dlq) = queue_with_dlq(&client, 1, 2).await;
        Self { client, url, dlq, _sqs: sqs }
    }

    async fn send(&self, body: &str) -> String {
        let sent = self.client.send_message().queue_url(&self.url).message_body(body).send().await.unwrap();
        sent.message_id.unwrap()
    }

    async fn feed(&self, function: Function, batch_size: u8, maximum_concurrency: usize) -> EventSource {
        let mapping = Mapping { batch_size, maximum_concurrency, ..Mapping::new(&self.url) };
        EventSource::start(self.client.clone(), mapping, function).await.unwrap()
    }

    async fn until_empty(&self) {
        let empty = ("0".to_owned(), "0".to_owned());
        eventually("an empty queue", async || (counts(&self.client, &self.url).await == empty).then_some(())).await;
    }

    async fn dead(&self) -> Vec<String> {
        let messages = receive(&self.client, &self.dlq, 0).await;
        let mut bodies: Vec<_> = messages.into_iter().filter_map(|message| message.body).collect();
        bodies.sort();
        bodies
    }
}

/// The messages that a function received, in order.
#[derive(Clone, Default)]
struct Seen(Arc<Mutex<Vec<String>>>);

impl Seen {
    fn push(&self, event: &SqsEvent) {
        self.0.lock().unwrap().extend(event.records.iter().filter_map(|record| record.body.clone()));
    }

    fn count(&self, body: &str) -> usize {
        self.0.lock().unwrap().iter().filter(|seen| *seen == body).count()
    }
}

/// Returns a consumer that fails only the messages with this body.
fn failing_on(bad: &'static str, seen: Seen) -> Function {
    let service = service_fn(move |event: LambdaEvent<SqsEvent>| {
        seen.push(&event.payload);
        async move {
            let mut response = SqsBatchResponse::default();
            for record in event.payload.records {
                if record.body.as_deref() == Some(bad) {
                    response.add_failure(record.message_id.unwrap());
                }
            }
            Ok::<_, std::convert::Infallible>(response)
        }
    });
    Function::events("consumer", service, LIMIT, clock())
}

/// Returns a consumer that responds to each event by `respond`.
fn responding(seen: Seen, respond: impl Fn(SqsEvent) -> Value + Clone + Send + Sync + 'static) -> Function {
    let service = service_fn(move |event: LambdaEvent<SqsEvent>| {
        seen.push(&event.payload);
        let response = respond.clone();
        async move { Ok::<_, std::convert::Infallible>(response(event.payload)) }
    });
    Function::events("consumer", service, LIMIT, clock())
}

#[tokio::test]
async fn the_event_is_the_one_that_lambda_sends_and_success_deletes() {
    let queue = Queue::new().await;
    let events = Arc::new(Mutex::new(Vec::new()));
    let service = service_fn({
        let events = Arc::clone(&events);
        move |event: LambdaEvent<Value>| {
            events.lock().unwrap().push(event.payload);
            async { Ok::<_, std::convert::Infallible>(SqsBatchResponse::default()) }
        }
    });
    let source = queue.feed(Function::events("consumer", service, LIMIT, clock()), 1, 1).await;
    let text = MessageAttributeValue::builder().data_type("String").string_value("abc").build().unwrap();
    let bytes = MessageAttributeValue::builder().data_type("Binary").binary_value(Blob::new([0, 255]));
    let sent = queue
        .client
        .send_message()
        .queue_url(&queue.url)
        .message_body("hello")
        .message_attributes("text", text)
        .message_attributes("bytes", bytes.build().unwrap())
        .send()
        .await
        .unwrap();
    queue.until_empty().await;
    assert!(source.stop(LIMIT).await);

    let mut events = std::mem::take(&mut *events.lock().unwrap());
    assert_eq!(events.len(), 1);
    let record = &mut events[0]["Records"][0];
    assert!(record["receiptHandle"].take().is_string());
    let attributes = record["attributes"].take();
    let mut names: Vec<_> = attributes.as_object().unwrap().keys().map(String::as_str).collect();
    names.sort_unstable();
    assert_eq!(names, ["ApproximateFirstReceiveTimestamp", "ApproximateReceiveCount", "SenderId", "SentTimestamp"]);
    assert_eq!(attributes["ApproximateReceiveCount"], "1");
    assert_eq!(
        events[0],
        json!({
            "Records": [{
                "messageId": sent.message_id(),
                "receiptHandle": null,
                "body": "hello",
                "attributes": null,
                "messageAttributes": {
                    "text": {
                        "stringValue": "abc", "stringListValues": [], "binaryListValues": [], "dataType": "String",
                    },
                    "bytes": {
                        "binaryValue": "AP8=", "stringListValues": [], "binaryListValues": [], "dataType": "Binary",
                    },
                },
                "md5OfBody": "5d41402abc4b2a76b9719d911017c592",
                "md5OfMessageAttributes": sent.md5_of_message_attributes(),
                "eventSource": "aws:sqs",
                "eventSourceARN": "arn:aws:sqs:us-east-1:000000000000:work",
                "awsRegion": "us-east-1",
            }],
        })
    );
    serde_json::from_value::<SqsEvent>(events.remove(0)).unwrap();
    assert!(queue.dead().await.is_empty());
}

#[tokio::test]
async fn only_the_failed_messages_of_a_batch_come_back_until_they_are_dead() {
    let queue = Queue::new().await;
    for body in ["good", "poison", "better"] {
        queue.send(body).await;
    }
    let seen = Seen::default();
    let source = queue.feed(failing_on("poison", seen.clone()), 10, 1).await;
    queue.until_empty().await;
    let dead = eventually("the dead letter", async || Some(queue.dead().await).filter(|dead| !dead.is_empty())).await;
    assert!(source.stop(LIMIT).await);

    assert_eq!(dead, ["poison"]);
    assert_eq!((seen.count("good"), seen.count("better"), seen.count("poison")), (1, 1, 2));
}

#[tokio::test]
async fn a_failed_message_succeeds_when_it_comes_back() {
    let queue = Queue::new().await;
    let seen = Seen::default();
    let first_fails = {
        let seen = seen.clone();
        move |event: SqsEvent| match seen.count("one") {
            1 => json!({ "batchItemFailures": [{ "itemIdentifier": event.records[0].message_id }] }),
            _ => json!({ "batchItemFailures": [] }),
        }
    };
    let source = queue.feed(responding(seen.clone(), first_fails), 1, 4).await;
    queue.send("one").await;
    queue.until_empty().await;
    assert!(source.stop(LIMIT).await);
    assert_eq!(seen.count("one"), 2);
    assert!(queue.dead().await.is_empty());
}

#[tokio::test]
async fn a_panic_fails_the_whole_batch_and_nothing_else() {
    let queue = Queue::new().await;
    for body in ["good", "panic"] {
        queue.send(body).await;
    }
    let seen = Seen::default();
    let panicking = responding(seen.clone(), |event| {
        assert!(event.records.iter().all(|record| record.body.as_deref() == Some("fine")), "a bad batch");
        Value::Null
    });
    let source = queue.feed(panicking, 10, 1).await;
    queue.until_empty().await;
    queue.send("fine").await;
    eventually("the next event", async || (seen.count("fine") == 1).then_some(())).await;
    assert!(source.stop(LIMIT).await);

    assert_eq!((seen.count("good"), seen.count("panic")), (2, 2));
    assert_eq!(queue.dead().await, ["good", "panic"]);
}

#[tokio::test]
async fn an_invalid_batch_response_fails_the_whole_batch() {
    let responses: [fn(&str) -> Value; 6] = [
        |_| json!("done"),
        |_| json!({ "batchItemFailures": "all" }),
        |_| json!({ "batchItemFailures": [{ "itemIdentifier": "" }] }),
        |_| json!({ "batchItemFailures": [{ "itemIdentifier": null }] }),
        |id| json!({ "batchItemFailures": [{ "id": id }] }),
        |id| json!({ "batchItemFailures": [{ "itemIdentifier": id }, { "itemIdentifier": "another" }] }),
    ];
    let checks = responses.into_iter().enumerate().map(async |(index, respond)| {
        let queue = Queue::new().await;
        queue.send("good").await;
        queue.send("failed").await;
        let seen = Seen::default();
        let respond = move |event: SqsEvent| respond(event.records[0].message_id.as_deref().unwrap());
        let source = queue.feed(responding(seen.clone(), respond), 10, 1).await;
        queue.until_empty().await;
        assert!(source.stop(LIMIT).await);
        assert_eq!((seen.count("good"), seen.count("failed")), (2, 2), "response {index}");
        assert_eq!(queue.dead().await, ["failed", "good"], "response {index}");
    });
    futures_util::future::join_all(checks).await;
}

#[tokio::test]
async fn an_empty_batch_response_is_a_success() {
    for response in [json!(null), json!({}), json!({ "batchItemFailures": null }), json!({ "batchItemFailures": [] })] {
        let queue = Queue::new().await;
        queue.send("one").await;
        let seen = Seen::default();
        let source = queue.feed(responding(seen.clone(), move |_| response.clone()), 1, 1).await;
        queue.until_empty().await;
        assert!(source.stop(LIMIT).await);
        assert_eq!(seen.count("one"), 1);
        assert!(queue.dead().await.is_empty());
    }
}

#[tokio::test]
async fn a_message_is_noticed_at_once_and_no_more_run_than_may() {
    let queue = Queue::new().await;
    let (started, mut starts) = tokio::sync::mpsc::unbounded_channel();
    let release = Arc::new(tokio::sync::Semaphore::new(0));
    let service = service_fn({
        let release = Arc::clone(&release);
        move |_: LambdaEvent<SqsEvent>| {
            started.send(Instant::now()).unwrap();
            let release = Arc::clone(&release);
            async move {
                release.acquire().await.unwrap().forget();
                Ok::<_, std::convert::Infallible>(())
            }
        }
    });
    let source = queue.feed(Function::events("slow", service, LIMIT, clock()), 1, 2).await;
    tokio::time::sleep(Duration::from_millis(200)).await;
    let sent = Instant::now();
    queue.send("one").await;
    let noticed = starts.recv().await.unwrap() - sent;
    assert!(noticed < LONG_POLL / 2, "took {noticed:?}");

    queue.send("two").await;
    queue.send("three").await;
    starts.recv().await.unwrap();
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert!(starts.try_recv().is_err(), "three invocations at a time");
    release.add_permits(3);
    starts.recv().await.unwrap();
    queue.until_empty().await;
    assert!(source.stop(LIMIT).await);
}

#[tokio::test]
async fn a_stop_waits_for_what_runs_but_not_for_long_polls() {
    let queue = Queue::new().await;
    let (started, mut starts) = tokio::sync::mpsc::unbounded_channel();
    let service = service_fn(move |event: LambdaEvent<SqsEvent>| {
        started.send(()).unwrap();
        let pause = event.payload.records[0].body.as_deref().unwrap().parse().unwrap();
        async move {
            tokio::time::sleep(Duration::from_millis(pause)).await;
            Ok::<_, std::convert::Infallible>(())
        }
    });
    let function = Function::events("slow", service, LIMIT, clock());

    let source = queue.feed(function.clone(), 1, 4).await;
    queue.send("300").await;
    starts.recv().await.unwrap();
    let asked = Instant::now();
    assert!(source.stop(LIMIT).await);
    assert!(asked.elapsed() < LONG_POLL / 2, "took {:?}", asked.elapsed());
    queue.until_empty().await;

    let source = queue.feed(function, 1, 1).await;
    queue.send("60000").await;
    starts.recv().await.unwrap();
    assert!(!source.stop(Duration::from_millis(50)).await);
    let back = receive(&queue.client, &queue.url, 5).await;
    assert_eq!(back.len(), 1, "the message of an unfinished invocation was deleted");
}

#[tokio::test]
async fn a_stop_returns_the_messages_that_were_not_consumed() {
    let sqs = Sqs::start(free_port()).await.unwrap();
    let client = sqs_client(&sqs.endpoint());
    let (url, dlq) = queue_with_dlq(&client, 1000, 5).await;
    let queue = Queue { client, url, dlq, _sqs: sqs };
    let (started, mut starts) = tokio::sync::mpsc::unbounded_channel();
    let release = Arc::new(tokio::sync::Notify::new());
    let service = service_fn({
        let release = Arc::clone(&release);
        move |event: LambdaEvent<SqsEvent>| {
            started.send(()).unwrap();
            let release = Arc::clone(&release);
            async move {
                match event.payload.records[0].body.as_deref() {
                    Some("endless") => std::future::pending().await,
                    _ => release.notified().await,
                }
                Err::<(), _>("it failed")
            }
        }
    });
    let source = queue.feed(Function::events("failing", service, Duration::from_secs(60), clock()), 1, 2).await;
    for body in ["endless", "failing"] {
        queue.send(body).await;
        starts.recv().await.unwrap();
    }
    let stopping = tokio::spawn(source.stop(Duration::from_millis(200)));
    tokio::task::yield_now().await;
    release.notify_one();
    assert!(!stopping.await.unwrap(), "one invocation never ends");
    let mut back: Vec<_> = Vec::new();
    while back.len() < 2 {
        back.extend(receive(&queue.client, &queue.url, 5).await.into_iter().filter_map(|message| message.body));
    }
    back.sort();
    assert_eq!(back, ["endless", "failing"]);
}

#[tokio::test]
async fn a_mapping_that_cannot_work_does_not_start() {
    let queue = Queue::new().await;
    let start = async |mapping| {
        let function = failing_on("nothing", Seen::default());
        EventSource::start(queue.client.clone(), mapping, function).await.err().unwrap()
    };
    let mapping = Mapping::new(&queue.url);
    assert!(matches!(start(Mapping { batch_size: 0, ..mapping.clone() }).await, StartError::BatchSize(0)));
    assert!(matches!(start(Mapping { batch_size: 11, ..mapping.clone() }).await, StartError::BatchSize(11)));
    assert!(matches!(start(Mapping { maximum_concurrency: 0, ..mapping }).await, StartError::NoConcurrency));
    let missing = Mapping::new(queue.url.replace("work", "none"));
    assert!(matches!(start(missing).await, StartError::Queue(_)));
}
