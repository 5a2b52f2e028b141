//! The calls that a request makes, as seen by a proxy between a binary and the local services.

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, Response, StatusCode, header};
use bytes::Bytes;
use serde_json::Value;
use shared::settings::Settings;
use tokio::net::TcpListener;

use crate::Result;
use crate::environment::Environment;
use crate::fixture::{DYNAMODB, SQS};
use crate::partition::Partition;

/// The time that a call is delayed, so that concurrent calls overlap.
const DELAY: Duration = Duration::from_millis(20);
/// The answer of DynamoDB to a call that the item's partition does not take.
const THROTTLED: &[u8] = br#"{"__type":"com.amazonaws.dynamodb.v20120810#ProvisionedThroughputExceededException"}"#;
/// The pause after which create-deployment no longer uses a cached ref.
const PAUSE: Duration = Duration::from_millis(1100);

/// A call of an AWS service.
#[derive(Clone, Debug)]
pub(crate) struct Call {
    /// The operation, such as `GetItem`.
    pub operation: String,
    pub is_dynamodb: bool,
    /// Whether the call changes a rate-limit item.
    pub counts_a_request: bool,
    /// The capacity units that DynamoDB reports. It reports none for a write whose condition failed, which costs 1 for
    /// an item of up to 1 KB.
    pub units: f64,
    /// Whether the partition did not take the call.
    pub throttled: bool,
    /// The `:arrival` of a write of the rate limiter, in microseconds since the Unix epoch.
    pub arrival: Option<i64>,
    pub began: Instant,
    pub ended: Instant,
}

/// The calls that have passed some proxies.
#[derive(Clone, Debug, Default)]
pub(crate) struct Calls {
    log: Arc<Mutex<Vec<Call>>>,
    client: reqwest::Client,
    /// The capacity that the calls share, if it is bounded.
    partition: Option<Arc<Partition>>,
}

struct Proxy {
    service: String,
    /// The time that a call is delayed.
    delay: Duration,
    calls: Calls,
}

impl Call {
    fn is_write(&self) -> bool {
        !["GetItem", "Query", "BatchGetItem"].contains(&self.operation.as_str())
    }
}

impl Calls {
    /// Returns an empty log for other proxies.
    pub(crate) fn apart(&self) -> Self {
        Self { log: Arc::default(), ..self.clone() }
    }

    /// Returns the log with proxies that throttle the writes which a partition does not take.
    pub(crate) fn within(self, partition: Option<Arc<Partition>>) -> Self {
        Self { partition, ..self }
    }

    /// Starts a proxy in front of a service and returns its URL.
    async fn through(&self, service: &str, delay: Duration) -> Result<String> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let url = format!("http://{}", listener.local_addr()?);
        let proxy = Proxy { service: service.to_owned(), delay, calls: self.clone() };
        let router = Router::new().fallback(pass).with_state(Arc::new(proxy));
        tokio::spawn(async { axum::serve(listener, router).await });
        Ok(url)
    }

    /// Returns settings with proxies in front of both services.
    pub(crate) async fn in_front_of(&self, settings: &Settings, delay: Duration) -> Result<Settings> {
        let mut proxied = settings.clone();
        for name in [DYNAMODB, SQS] {
            proxied.set(name, self.through(settings.require(name)?, delay).await?);
        }
        Ok(proxied)
    }

    /// Returns the calls of a binary for its first event, and for a later event after a pause.
    pub(crate) async fn of(binary: &Path, settings: &Settings, event: &Value) -> Result<(Vec<Call>, Vec<Call>)> {
        let calls = Self::default();
        let settings = calls.in_front_of(settings, DELAY).await?;
        let mut environment = Environment::start(binary, &settings).await?;
        calls.take();
        environment.invoke(event).await?;
        let first = calls.take();
        for _ in 0..3 {
            environment.invoke(event).await?;
        }
        tokio::time::sleep(PAUSE).await;
        calls.take();
        environment.invoke(event).await?;
        Ok((first, calls.take()))
    }

    /// Takes the calls since the last take.
    pub(crate) fn take(&self) -> Vec<Call> {
        std::mem::take(&mut *self.log.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

async fn pass(State(proxy): State<Arc<Proxy>>, headers: HeaderMap, body: Bytes) -> Response<Body> {
    let began = Instant::now();
    tokio::time::sleep(proxy.delay).await;
    match proxy.forward(headers, body, began).await {
        Ok(response) => response,
        Err(error) => {
            eprintln!("a call was not passed on: {error}");
            let mut response = Response::new(Body::empty());
            *response.status_mut() = StatusCode::BAD_GATEWAY;
            response
        }
    }
}

impl Proxy {
    async fn forward(&self, mut headers: HeaderMap, mut body: Bytes, began: Instant) -> Result<Response<Body>> {
        let target = headers.get("x-amz-target").and_then(|target| target.to_str().ok()).unwrap_or_default();
        let (service, operation) = target.split_once('.').unwrap_or_default();
        let (is_dynamodb, operation) = (service.starts_with("DynamoDB"), operation.to_owned());
        let counts_a_request = body.windows(6).any(|text| text == b"\"RATE#") && operation == "UpdateItem";
        for name in [header::HOST, header::CONTENT_LENGTH] {
            headers.remove(name);
        }
        let (mut arrival, mut throttled) = (None, false);
        if is_dynamodb {
            let mut request: Value = serde_json::from_slice(&body)?;
            if let Some(partition) = self.calls.partition.as_ref().filter(|_| operation == "UpdateItem") {
                throttled = !partition.takes(&request["Key"].to_string(), Instant::now());
            }
            let number = request["ExpressionAttributeValues"][":arrival"]["N"].as_str();
            arrival = number.and_then(|number| number.parse().ok());
            request["ReturnConsumedCapacity"] = "TOTAL".into();
            body = request.to_string().into();
        }
        let mut response = Response::new(Body::empty());
        let body = if throttled {
            *response.status_mut() = StatusCode::BAD_REQUEST;
            Bytes::from_static(THROTTLED)
        } else {
            let mut answer = self.calls.client.post(&self.service).headers(headers).body(body).send().await?;
            *response.status_mut() = answer.status();
            *response.headers_mut() = std::mem::take(answer.headers_mut());
            answer.bytes().await?
        };
        let units = if is_dynamodb { units(&body) } else { 0.0 };
        let ended = Instant::now();
        let call = Call { operation, is_dynamodb, counts_a_request, units, throttled, arrival, began, ended };
        self.calls.log.lock().unwrap_or_else(PoisonError::into_inner).push(call);
        *response.body_mut() = body.into();
        Ok(response)
    }
}

fn units(body: &[u8]) -> f64 {
    let body: Value = serde_json::from_slice(body).unwrap_or_default();
    if body["__type"].as_str().is_some_and(|name| name.ends_with("#ConditionalCheckFailedException")) {
        return 1.0;
    }
    let of = |consumed: &Value| consumed["CapacityUnits"].as_f64().unwrap_or_default();
    match &body["ConsumedCapacity"] {
        Value::Array(tables) => tables.iter().map(of).sum(),
        consumed => of(consumed),
    }
}

/// Returns the capacity units of reads, and of writes.
pub(crate) fn capacity(calls: &[Call]) -> [f64; 2] {
    [false, true]
        .map(|write| calls.iter().filter(|call| call.is_write() == write).fold(0.0, |sum, call| sum + call.units))
}

/// Returns the number of concurrent calls of each sequential step of a request. A call belongs to the step after the
/// last step that ended before the call began.
pub(crate) fn steps<'a>(calls: impl IntoIterator<Item = &'a Call>) -> Vec<usize> {
    let mut calls: Vec<&Call> = calls.into_iter().collect();
    calls.sort_by_key(|call| call.began);
    let mut placed: Vec<(&Call, usize)> = Vec::new();
    let mut steps = Vec::new();
    for call in calls {
        let before = placed.iter().filter(|(earlier, _)| earlier.ended <= call.began);
        let step = before.map(|(_, step)| step + 1).max().unwrap_or(0);
        placed.push((call, step));
        steps.resize(steps.len().max(step + 1), 0);
        steps[step] += 1;
    }
    steps
}
