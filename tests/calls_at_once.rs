//! The number of concurrent calls of DynamoDB that each endpoint declares. Init opens as many connections, so that no call of
//! the first request waits for one.

use std::collections::BTreeMap;
use std::future::poll_fn;
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::Poll;

use aws_smithy_runtime_api::client::http::{
    HttpClient, HttpConnector, HttpConnectorFuture, HttpConnectorSettings, SharedHttpClient, SharedHttpConnector,
};
use aws_smithy_runtime_api::client::orchestrator::{HttpRequest, HttpResponse};
use aws_smithy_runtime_api::client::result::ConnectorError;
use aws_smithy_runtime_api::client::runtime_components::RuntimeComponents;
use lambda_http::request::LambdaRequest;
use lambda_http::{Context, LambdaEvent};
use local::functions::{Environment, FUNCTIONS, Trigger};
use serde_json::{Value, json};
use shared::aws::Aws;
use shared::model::{Actor, Transition};
use shared::token::SESSION_PREFIX;
use shared::{App, pipeline, serve};
use tests::estate::{Estate, encoded_body};
use tests::{GitRepository, World, sample_event};
use tokio::sync::{Notify, oneshot};

/// An HTTP client that keeps the answers of DynamoDB until they are released together. So all calls take the same time, and
/// those that are held at once are those that do not depend on each other.
#[derive(Clone, Debug)]
struct Gate {
    inner: SharedHttpClient,
    calls: Arc<Calls>,
}

#[derive(Debug)]
struct Connector {
    inner: SharedHttpConnector,
    calls: Arc<Calls>,
}

#[derive(Debug, Default)]
struct Calls {
    state: Mutex<State>,
    arrived: Notify,
}

#[derive(Debug, Default)]
struct State {
    in_flight: usize,
    held: Vec<(Answer, oneshot::Sender<Answer>)>,
}

type Answer = Result<HttpResponse, ConnectorError>;

impl HttpClient for Gate {
    fn http_connector(&self, settings: &HttpConnectorSettings, components: &RuntimeComponents) -> SharedHttpConnector {
        let inner = self.inner.http_connector(settings, components);
        SharedHttpConnector::new(Connector { inner, calls: Arc::clone(&self.calls) })
    }
}

impl HttpConnector for Connector {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let target = request.headers().get("x-amz-target").unwrap_or_default();
        let body = request.body().bytes().unwrap_or_default();
        // The use of a token is recorded in the background, and no request waits for it.
        let in_background = String::from_utf8_lossy(body).contains("last_used_at");
        if !target.starts_with("DynamoDB") || in_background {
            return self.inner.call(request);
        }
        self.calls.state().in_flight += 1;
        let (answer, calls) = (self.inner.call(request), Arc::clone(&self.calls));
        let (release, released) = oneshot::channel();
        tokio::spawn(async move {
            let answer = answer.await;
            calls.state().held.push((answer, release));
            calls.arrived.notify_one();
        });
        HttpConnectorFuture::new(async { released.await.expect("each call is released") })
    }
}

impl Calls {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    /// Waits for the answers of all calls in flight, and releases them. Returns their number.
    async fn release(&self) -> usize {
        loop {
            let held = {
                let mut state = self.state();
                match state.held.len() == state.in_flight {
                    true => Some(std::mem::take(&mut *state).held),
                    false => None,
                }
            };
            match held {
                Some(held) => {
                    let number = held.len();
                    held.into_iter().for_each(|(answer, release)| drop(release.send(answer)));
                    return number;
                }
                None => self.arrived.notified().await,
            }
        }
    }

    /// Runs a future to its end. Returns its output and the largest number of its calls at once.
    async fn most_at_once<T>(&self, work: impl Future<Output = T>) -> (T, usize) {
        let mut work = pin!(work);
        let mut most = 0;
        loop {
            let done = poll_fn(|context| match work.as_mut().poll(context) {
                Poll::Ready(output) => Poll::Ready(Some(output)),
                // Every call that can begin without another's answer has begun.
                Poll::Pending if self.state().in_flight > 0 => Poll::Ready(None),
                Poll::Pending => Poll::Pending,
            });
            match done.await {
                Some(output) => return (output, most),
                None => most = most.max(self.release().await),
            }
        }
    }
}

/// Returns the sample event of a function, as a request about the estate.
async fn event(world: &World, function: &str, route: &str, estate: &Estate) -> LambdaRequest {
    let parameters = estate.ready(world, function).await;
    let mut event = sample_event(function);
    event["rawQueryString"] = json!("");
    event["queryStringParameters"] = json!({});
    if function == "receive-hook" {
        event["rawQueryString"] = json!(format!("key={}", parameters["hook_key"]));
    }
    let secret = estate.caller(route).token.as_ref().unwrap();
    if secret.starts_with(SESSION_PREFIX) {
        event["headers"].as_object_mut().unwrap().remove("authorization");
        event["headers"]["sec-fetch-site"] = json!("same-origin");
        event["cookies"] = json!([format!("__Host-session={secret}")]);
    } else {
        event["headers"]["authorization"] = json!(format!("Bearer {secret}"));
    }
    for (name, value) in event["pathParameters"].as_object_mut().into_iter().flatten() {
        *value = json!(parameters[name.as_str()]);
    }
    if event["body"].is_string() {
        let (content_type, body) = encoded_body(route, &parameters).unwrap();
        event["body"] = json!(body);
        event["headers"]["content-type"] = json!(content_type);
    }
    serde_json::from_str(&event.to_string()).unwrap()
}

#[tokio::test]
async fn each_endpoint_makes_as_many_calls_at_once_as_it_declares() {
    let world = World::start_without_queue().await;
    let source = GitRepository::new(&[]);
    let Environment { settings, clock, log, limits, .. } = world.stack.environment().clone();
    let (mut declared, mut measured, mut whole) = (BTreeMap::new(), BTreeMap::new(), None);
    for (number, registration) in FUNCTIONS.iter().enumerate() {
        let Trigger::Http { route, constructor, documentation: Some(_) } = registration.trigger else { continue };
        let key = route.key();
        let goes_back = ["create-rollback", "retry-deployment"].contains(&route.function);
        let estate = match whole.take().filter(|_| !goes_back) {
            Some(estate) => estate,
            None => Estate::new(&world, &format!("acme-{number}"), &source).await,
        };
        if goes_back {
            let deployment = json!({"id": estate.parameters["deployment_id"]});
            let claimed = world.lose_a_runner(&estate.owner, &deployment).await;
            let table = world.stack.app().table();
            claimed.transition(table, Transition::Succeed, Actor::Runner, clock.now()).await.unwrap();
        }
        let aws = Aws::new(&settings).unwrap().with_limits(limits);
        let inner = aws.client("AWS_ENDPOINT_URL_DYNAMODB").http_client().unwrap();
        let gate = Gate { inner, calls: Arc::default() };
        let aws = aws.over(SharedHttpClient::new(gate.clone()));
        let app = App::with_aws(settings.clone(), aws, clock.clone(), log.clone()).unwrap();
        let endpoint = constructor(&app).unwrap();
        declared.insert(route.function, endpoint.calls_at_once);
        let service = pipeline::service(app, endpoint);
        let event = LambdaEvent::new(event(&world, route.function, &key, &estate).await, Context::default());
        let (answer, calls) = gate.calls.most_at_once(serve::handle(service, event)).await;
        let answer: Value = serde_json::to_value(answer.unwrap()).unwrap();
        let status = answer["statusCode"].as_u64().unwrap();
        assert!([200, 201, 202].contains(&status), "{}: {answer}", route.function);
        measured.insert(route.function, calls);
        let removes_something = key.starts_with("DELETE") || route.function == "accept-invitation";
        whole = (!removes_something).then_some(estate);
    }
    assert_eq!(measured, declared);
}
