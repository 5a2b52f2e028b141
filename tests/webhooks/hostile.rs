//! Receivers that would cost others something.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use serde_json::{Value, json};
use shared::settings::CLONE_HOSTS;
use tests::{World, eventually};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use super::receiver::{Receiver, Reply};
use super::{Scene, create, deliveries};

/// The behavior of a socket after it has received a request.
#[derive(Clone, Copy, Debug)]
enum Trick {
    /// Accepts the connection, and says nothing.
    Silence,
    /// Sends one byte of the header a second.
    SlowHeader,
    /// Accepts the event, and sends one byte of the body a second.
    SlowBody,
    /// Accepts the event, and sends a body that does not end.
    EndlessBody,
    /// Sends a header that does not end.
    EndlessHeader,
    /// Answers with what is no HTTP.
    Noise,
}

/// Starts a receiver that plays a trick. Returns its URL and the number of bytes that it could send.
async fn trickster(trick: Trick) -> (String, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (url, sent) = (format!("http://{}/", listener.local_addr().unwrap()), Arc::<AtomicUsize>::default());
    let counter = sent.clone();
    tokio::spawn(async move {
        loop {
            let (mut socket, _) = listener.accept().await.unwrap();
            let sent = counter.clone();
            tokio::spawn(async move {
                let mut request = [0; 65536];
                let _ = socket.read(&mut request).await;
                let lines = b"x-filler: aaaaaaaaaaaaaaaaaaaaaaaa\r\n".repeat(500);
                let (start, unit, pause): (&[u8], &[u8], u64) = match trick {
                    Trick::Silence => (b"", b"", 1000),
                    Trick::SlowHeader => (b"HTTP/1.1 200 OK\r\nx: ", b"a", 1000),
                    Trick::SlowBody => (b"HTTP/1.1 200 OK\r\ncontent-length: 100000\r\n\r\n", b"a", 1000),
                    Trick::EndlessBody => (b"HTTP/1.1 200 OK\r\n\r\n", &[b'a'; 16384], 0),
                    Trick::EndlessHeader => (b"HTTP/1.1 200 OK\r\n", &lines, 0),
                    Trick::Noise => (b"220 smtp.example.com ready\r\n", b"", 0),
                };
                let mut part = start;
                while socket.write_all(part).await.is_ok() {
                    sent.fetch_add(part.len(), Ordering::Relaxed);
                    part = unit;
                    if unit.is_empty() && pause == 0 {
                        break;
                    }
                    tokio::time::sleep(Duration::from_millis(pause)).await;
                }
            });
        }
    });
    (url, sent)
}

/// Every trickster belongs to one account. The other account's event does not wait for any of them.
#[tokio::test]
async fn a_hostile_receiver_is_bounded_and_nobody_else_waits() {
    let world = World::start().await;
    let (mallory, owner) = (world.owner("mallory").await, world.owner("acme").await);
    let tricks = [
        (Trick::Silence, "The receiver took longer than 10 seconds"),
        (Trick::SlowHeader, "The receiver took longer than 10 seconds"),
        (Trick::EndlessHeader, "The receiver can't be reached, or its answer is no HTTP"),
        (Trick::Noise, "The receiver can't be reached, or its answer is no HTTP"),
        (Trick::SlowBody, ""),
        (Trick::EndlessBody, ""),
    ];
    let mut hostile = Vec::new();
    for (trick, error) in tricks {
        let (url, sent) = trickster(trick).await;
        hostile.push((trick, error, create(&mallory, &url, json!({"events": ["team.*"]})).await, sent));
    }
    let receiver = Receiver::start().await;
    create(&owner, &receiver.url("/"), json!({"events": ["team.*"]})).await;
    mallory.team("trouble").await;
    owner.team("platform").await;
    world.clock.advance(Duration::from_secs(60));
    world.sweep().await.unwrap();
    eventually("the event of the other account", async || (!receiver.received().is_empty()).then_some(())).await;
    for (trick, error, webhook, sent) in &hostile {
        let attempt = eventually("the attempt", async || {
            let delivery = deliveries(&mallory, webhook).await.pop()?;
            Some(delivery["last_attempt"].clone()).filter(Value::is_object)
        })
        .await;
        match error.is_empty() {
            true => {
                assert_eq!((&attempt["response_status"], &attempt["error"]), (&json!(200), &Value::Null), "{trick:?}");
                assert!(attempt["response_body"].as_str().unwrap().len() <= 1024, "{trick:?}");
            }
            false => assert_eq!(attempt["error"], *error, "{trick:?}: {attempt}"),
        }
        // What is in the sockets' buffers was sent, and not read.
        assert!(sent.load(Ordering::Relaxed) < 16 << 20, "{trick:?}");
    }
}

#[tokio::test]
async fn a_receiver_that_is_silent_rests_and_keeps_its_events() {
    let scene = Scene::start().await;
    let Scene { world, owner, receiver, .. } = &scene;
    // Nobody listens at a port that was free a moment ago.
    let gone = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    owner.patch(&scene.path(), json!({"url": format!("http://{gone}/")})).await;
    for name in ["one", "two", "three"] {
        owner.team(name).await;
        world.clock.advance(Duration::from_secs(1));
    }
    world.clock.advance(Duration::from_secs(3));
    scene.dispatch().await;
    assert_eq!(scene.send().await, ["silent"]);
    assert_eq!(scene.send().await, ["resting"]);
    let attempts = async || -> u64 {
        scene.deliveries().await.iter().map(|delivery| delivery["attempts"].as_u64().unwrap()).sum()
    };
    assert_eq!(attempts().await, 1, "one attempt tells enough");
    world.clock.advance(Duration::from_secs(30));
    assert_eq!(scene.send().await, ["silent"]);
    world.clock.advance(Duration::from_secs(59));
    assert_eq!(scene.send().await, ["resting"]);
    owner.patch(&scene.path(), json!({"url": receiver.url("/")})).await;
    world.clock.advance(Duration::from_secs(3600));
    assert_eq!(scene.send().await, ["sent"]);
    assert_eq!((attempts().await, receiver.types().len()), (5, 3));
}

#[tokio::test]
async fn a_redirect_is_not_followed() {
    let scene = Scene::start().await;
    let Scene { owner, receiver, .. } = &scene;
    let inside = Receiver::start().await;
    for status in [301, 302, 303, 307, 308] {
        receiver.reply_once(Reply(status, "there", Some(inside.url("/latest/meta-data"))));
        owner.team(&format!("team-{status}")).await;
        scene.deliver().await;
        let error = format!("The receiver answered with the HTTP status {status}; redirects are not followed");
        let attempts = scene.deliveries().await;
        assert!(attempts.iter().any(|delivery| delivery["last_attempt"]["error"] == error), "{attempts:?}");
    }
    assert_eq!(inside.received().len(), 0);
}

/// The name of a receiver is resolved for each connection, and the addresses are checked then. So a name that leads inside later on
/// leads nowhere.
#[tokio::test]
async fn a_name_that_leads_to_a_private_address_is_not_connected_to() {
    let scene = Scene::start().await;
    let Scene { world, owner, .. } = &scene;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("https://localhost:{}/", listener.local_addr().unwrap().port());
    owner.patch(&scene.path(), json!({"url": url})).await;
    owner.team("platform").await;
    world.clock.advance(Duration::from_secs(3));
    scene.dispatch().await;
    let environment = world.environment_with(CLONE_HOSTS, "public");
    let outside = Scene { function: environment.send_webhooks().unwrap(), ..scene };
    assert_eq!(outside.send().await, ["silent"]);
    let [delivery] = &outside.deliveries().await[..] else { panic!("one delivery") };
    assert_eq!(delivery["last_attempt"]["error"], "The receiver is at an address that is not public");
    let connected = tokio::time::timeout(Duration::from_millis(1), listener.accept()).await;
    assert!(connected.is_err(), "{connected:?}");
}
