//! A Lambda function, invoked as Lambda does: one JSON event in, one JSON response or function error out.

use std::any::Any;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use lambda_runtime::{Config, Context, Diagnostic, LambdaEvent};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use tower::{Service, ServiceExt};
use uuid::Uuid;

use crate::{ACCOUNT_ID, REGION};
use shared::clock::Clock;
use shared::{pipeline, serve};

/// The maximum size of a function's response: 6 MiB and 100 bytes of Lambda's own.
/// <https://docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html>
pub const RESPONSE_LIMIT: usize = 6 * 1024 * 1024 + 100;

type Handler = Arc<dyn Fn(LambdaEvent<Value>) -> BoxFuture<'static, Result<Value, FunctionError>> + Send + Sync>;

/// A function with its name and its time limit. Clones are the same function.
#[derive(Clone)]
pub struct Function {
    name: Arc<str>,
    timeout: Duration,
    patience: u32,
    clock: Clock,
    handler: Handler,
}

/// The failure that Lambda reports instead of a response.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs, reason = "the message of each variant describes it")]
pub enum FunctionError {
    #[error("{error_type}: {error_message}")]
    Failed { error_type: String, error_message: String },
    #[error("the function does not accept the event: {0}")]
    Event(serde_json::Error),
    #[error("the response cannot be written as JSON: {0}")]
    Response(serde_json::Error),
    #[error("the response of {0} bytes is larger than the {RESPONSE_LIMIT} that Lambda allows")]
    ResponseTooLarge(usize),
    #[error("panicked: {0}")]
    Panicked(String),
    #[error("timed out after {0:?}")]
    TimedOut(Duration),
}

impl Function {
    /// Returns a function behind an HTTP API, which [`shared::serve()`] would serve.
    pub fn http(name: &str, service: pipeline::Service, timeout: Duration, clock: Clock) -> Self {
        Self::new(name, timeout, clock, move |event| serve::handle(service.clone(), event))
    }

    /// Returns a function for any other event, which `lambda_runtime::run` would serve.
    pub fn events<S, T, R, E>(name: &str, service: S, timeout: Duration, clock: Clock) -> Self
    where
        S: Service<LambdaEvent<T>, Response = R, Error = E> + Clone + Send + Sync + 'static,
        S::Future: Send + 'static,
        T: DeserializeOwned + Send + 'static,
        R: Serialize + Send + 'static,
        E: Into<Diagnostic> + Send + 'static,
    {
        Self::new(name, timeout, clock, move |event| service.clone().oneshot(event))
    }

    fn new<T, R, E, F>(
        name: &str,
        timeout: Duration,
        clock: Clock,
        call: impl Fn(LambdaEvent<T>) -> F + Send + Sync + 'static,
    ) -> Self
    where
        F: Future<Output = Result<R, E>> + Send + 'static,
        T: DeserializeOwned + 'static,
        R: Serialize,
        E: Into<Diagnostic>,
    {
        let handler: Handler = Arc::new(move |event: LambdaEvent<Value>| {
            let (payload, context) = event.into_parts();
            let response = match serde_json::from_str(&payload.to_string()) {
                Ok(event) => call(LambdaEvent::new(event, context)),
                Err(error) => return Box::pin(async { Err(FunctionError::Event(error)) }),
            };
            Box::pin(async {
                let response = response.await.map_err(failed)?;
                let response = serde_json::to_string(&response).map_err(FunctionError::Response)?;
                if response.len() > RESPONSE_LIMIT {
                    return Err(FunctionError::ResponseTooLarge(response.len()));
                }
                serde_json::from_str(&response).map_err(FunctionError::Response)
            })
        });
        Self { name: name.into(), timeout, patience: 1, clock, handler }
    }

    /// Lets an invocation take this many times as long as the time limit that it is told.
    #[must_use]
    pub fn with_patience(self, patience: u32) -> Self {
        Self { patience, ..self }
    }

    /// Returns the function's name, as in its ARN.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Invokes the function and waits for its response. As in Lambda, an invocation outlives a caller that stops
    /// waiting, and ends at the function's time limit.
    ///
    /// # Errors
    ///
    /// Fails if the function returned an error, panicked, exceeded its time limit or could not read the event.
    pub async fn invoke(&self, event: Value) -> Result<Value, FunctionError> {
        let event = LambdaEvent::new(event, self.context());
        let handler = Arc::clone(&self.handler);
        let timeout = self.timeout * self.patience;
        let invocation = tokio::spawn(async move {
            tokio::time::timeout(timeout, async { handler(event).await })
                .await
                .unwrap_or(Err(FunctionError::TimedOut(timeout)))
        });
        invocation.await.unwrap_or_else(|error| {
            Err(match error.try_into_panic() {
                Ok(panic) => FunctionError::Panicked(panic_message(panic.as_ref())),
                Err(error) => failed(error.to_string()),
            })
        })
    }

    fn context(&self) -> Context {
        let timeout = i64::try_from(self.timeout.as_millis()).unwrap_or(i64::MAX);
        let config =
            Config { function_name: self.name.to_string(), version: "$LATEST".to_owned(), ..Config::default() };
        let mut context = Context::default();
        context.request_id = Uuid::new_v4().to_string();
        context.deadline = self.clock.now().as_millis().saturating_add(timeout).max(0).unsigned_abs();
        context.invoked_function_arn = format!("arn:aws:lambda:{REGION}:{ACCOUNT_ID}:function:{}", self.name);
        context.env_config = Arc::new(config);
        context
    }
}

impl fmt::Debug for Function {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Function").field("name", &self.name).field("timeout", &self.timeout).finish_non_exhaustive()
    }
}

fn failed(error: impl Into<Diagnostic>) -> FunctionError {
    let Diagnostic { error_type, error_message } = error.into();
    FunctionError::Failed { error_type, error_message }
}

fn panic_message(panic: &(dyn Any + Send)) -> String {
    panic
        .downcast_ref::<&str>()
        .map(|message| (*message).to_owned())
        .or_else(|| panic.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "no message".to_owned())
}
