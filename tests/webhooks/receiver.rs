//! A receiver of webhooks. It is written from the specification of Standard Webhooks and shares no code with the functions.

use std::collections::{BTreeSet, VecDeque};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, Method, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use ring::hmac;
use serde_json::Value;

/// The receiver, at an address of this machine.
pub(crate) struct Receiver {
    address: SocketAddr,
    shelf: Arc<Mutex<Shelf>>,
}

#[derive(Default)]
struct Shelf {
    received: Vec<Received>,
    replies: VecDeque<Reply>,
    always: Option<Reply>,
}

/// A message that came.
#[derive(Clone, Debug)]
pub(crate) struct Received {
    pub(crate) path: String,
    pub(crate) headers: HeaderMap,
    pub(crate) text: String,
    pub(crate) body: Value,
}

/// An answer: the status, the body, and the target of a redirect or the value of `Retry-After`.
#[derive(Clone, Debug)]
pub(crate) struct Reply(pub(crate) u16, pub(crate) &'static str, pub(crate) Option<String>);

impl Reply {
    pub(crate) const fn status(status: u16) -> Self {
        Self(status, "no", None)
    }
}

impl Receiver {
    pub(crate) async fn start() -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (address, shelf) = (listener.local_addr().unwrap(), Arc::<Mutex<Shelf>>::default());
        let router = Router::new().fallback(receive).with_state(shelf.clone());
        tokio::spawn(async { axum::serve(listener, router).await.unwrap() });
        Self { address, shelf }
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// Answers the next message so.
    pub(crate) fn reply_once(&self, reply: Reply) {
        self.shelf.lock().unwrap().replies.push_back(reply);
    }

    /// Answers every message so, or accepts it.
    pub(crate) fn reply_always(&self, reply: Option<Reply>) {
        self.shelf.lock().unwrap().always = reply;
    }

    /// Returns the messages so far, in order.
    pub(crate) fn received(&self) -> Vec<Received> {
        self.shelf.lock().unwrap().received.clone()
    }

    /// Returns the types of the events so far, each event once, in the order in which they came first.
    pub(crate) fn types(&self) -> Vec<String> {
        let (mut seen, mut types) = (BTreeSet::new(), Vec::new());
        for message in self.received() {
            if seen.insert(message.header("webhook-id").to_owned()) {
                types.push(message.body["type"].as_str().unwrap().to_owned());
            }
        }
        types
    }
}

impl Received {
    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).unwrap_or_else(|| panic!("no {name}: {self:?}")).to_str().unwrap()
    }

    /// Returns whether one of the signatures is of this secret.
    pub(crate) fn is_signed_with(&self, secret: &Value) -> bool {
        let key = BASE64_STANDARD.decode(secret.as_str().unwrap().strip_prefix("whsec_").unwrap()).unwrap();
        let signed = format!("{}.{}.{}", self.header("webhook-id"), self.header("webhook-timestamp"), self.text);
        let signature = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, &key), signed.as_bytes());
        let expected = format!("v1,{}", BASE64_STANDARD.encode(signature));
        self.header("webhook-signature").split(' ').any(|given| given == expected)
    }

    pub(crate) fn signatures(&self) -> usize {
        self.header("webhook-signature").split(' ').count()
    }
}

async fn receive(
    State(shelf): State<Arc<Mutex<Shelf>>>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let mut shelf = shelf.lock().unwrap();
    let text = String::from_utf8(body.to_vec()).unwrap();
    assert_eq!((method, headers["content-type"].to_str().unwrap()), (Method::POST, "application/json"));
    let body = serde_json::from_str(&text).unwrap();
    shelf.received.push(Received { path: uri.to_string(), headers, text, body });
    let Reply(status, text, header) =
        shelf.replies.pop_front().or(shelf.always.clone()).unwrap_or(Reply(200, "ok", None));
    let status = StatusCode::from_u16(status).unwrap();
    let name = if status.is_redirection() { "location" } else { "retry-after" };
    match header {
        Some(value) => (status, [(name, value)], text).into_response(),
        None => (status, text).into_response(),
    }
}
