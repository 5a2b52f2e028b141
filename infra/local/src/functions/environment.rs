//! The start of each function in the local stack.

use std::time::Duration;

use lambda_runtime::{Diagnostic, LambdaEvent, service_fn};
use serde::Serialize;
use serde::de::DeserializeOwned;
use shared::aws::{Aws, Limits};
use shared::clock::Clock;
use shared::settings::Settings;
use shared::telemetry::Log;
use shared::{App, InitError, Route, pipeline};
use tokio_util::sync::CancellationToken;
use tower::Service;

use super::{Constructor, FUNCTIONS};
use crate::function::Function;

/// The time limit of a function behind the gateway, whose own is 30 seconds.
const HTTP_TIME_LIMIT: Duration = Duration::from_secs(29);
/// Lambda's longest time limit.
const CONSUMER_TIME_LIMIT: Duration = Duration::from_secs(900);
/// The time limit of the function that handles deliveries, as in its function.yaml.
const HOOK_TIME_LIMIT: Duration = Duration::from_secs(300);
/// The time between two sweeps, so that no two run concurrently.
const SWEEP_TIME_LIMIT: Duration = Duration::from_secs(60);

/// The time limit of the function that copies the lines of builds, as in its function.yaml.
const BUILD_LOG_TIME_LIMIT: Duration = Duration::from_secs(60);

/// The time limit of the function that sends events to webhooks, as in its function.yaml.
const WEBHOOK_TIME_LIMIT: Duration = Duration::from_secs(60);

/// The time limit of the function that tells git hosts the statuses of commits.
const REPORT_TIME_LIMIT: Duration = Duration::from_secs(60);

/// The settings, the clock, the log and the limits of the functions. Each function gets an [`App`] of its own, like an
/// execution environment.
#[derive(Clone, Debug)]
pub struct Environment {
    /// The settings that every function gets.
    pub settings: Settings,
    /// The clock of the functions.
    pub clock: Clock,
    /// The log of the functions.
    pub log: Log,
    /// The time limits of the functions' calls of AWS.
    pub limits: Limits,
    /// The factor by which an invocation may exceed its time limit.
    pub patience: u32,
}

impl Environment {
    /// Returns the state of a new execution environment.
    ///
    /// # Errors
    /// Fails if a setting is missing.
    pub fn app(&self) -> Result<App, InitError> {
        let aws = Aws::new(&self.settings)?.with_limits(self.limits);
        Ok(App::with_aws(self.settings.clone(), aws, self.clock.clone(), self.log.clone())?)
    }

    /// Starts the functions behind the gateway, and returns each with its route keys.
    ///
    /// # Errors
    /// Fails if a function can't start.
    pub fn http(&self) -> Result<Vec<(String, Function)>, InitError> {
        let mut functions = Vec::new();
        for registration in FUNCTIONS {
            let Some(route) = registration.route() else { continue };
            let function = registration.start(self)?;
            functions.extend(route.keys().into_iter().map(|key| (key, function.clone())));
        }
        Ok(functions)
    }

    pub(super) fn endpoint(&self, route: Route, endpoint: Constructor) -> Result<Function, InitError> {
        let app = self.app()?;
        let service = pipeline::service(app.clone(), endpoint(&app)?);
        Ok(Function::http(route.function, service, HTTP_TIME_LIMIT, self.clock.clone()).with_patience(self.patience))
    }

    /// Starts the function that consumes the queue.
    ///
    /// # Errors
    /// Fails if the function can't start.
    pub fn consumer(&self) -> Result<Function, InitError> {
        self.consumer_until(CancellationToken::new())
    }

    /// Starts the function that consumes the queue. It gives its deployments back when `stopping` is canceled.
    ///
    /// # Errors
    /// Fails if the function can't start.
    pub fn consumer_until(&self, stopping: CancellationToken) -> Result<Function, InitError> {
        let consumer = deployment_consumer::Consumer::new(&self.app()?)?.stopping_with(stopping);
        let consume = move |event: LambdaEvent<_>| {
            let consumer = consumer.clone();
            async move { consumer.invoke(event).await }
        };
        Ok(self.of_events("deployment-consumer", service_fn(consume), CONSUMER_TIME_LIMIT))
    }

    /// Starts the function that tells git hosts the statuses of commits.
    ///
    /// # Errors
    /// Fails if the function can't start.
    pub fn report_status(&self) -> Result<Function, InitError> {
        let reporter = report_status::Reporter::new(&self.app()?)?;
        let report = move |event: LambdaEvent<_>| {
            let reporter = reporter.clone();
            async move { reporter.invoke(event).await }
        };
        Ok(self.of_events("report-status", service_fn(report), REPORT_TIME_LIMIT))
    }

    /// Starts the function that sends events to webhooks.
    ///
    /// # Errors
    /// Fails if the function can't start.
    pub fn send_webhooks(&self) -> Result<Function, InitError> {
        let sender = send_webhooks::Sender::new(&self.app()?)?;
        let send = move |event: LambdaEvent<_>| {
            let sender = sender.clone();
            async move { sender.invoke(event).await }
        };
        Ok(self.of_events("send-webhooks", service_fn(send), WEBHOOK_TIME_LIMIT))
    }

    /// Starts the function that handles the deliveries to hooks.
    ///
    /// # Errors
    /// Fails if the function can't start.
    pub fn hook_consumer(&self) -> Result<Function, InitError> {
        let consumer = hook_consumer::HookConsumer::new(&self.app()?)?;
        let consume = move |event: LambdaEvent<_>| {
            let consumer = consumer.clone();
            async move { consumer.invoke(event).await }
        };
        Ok(self.of_events("hook-consumer", service_fn(consume), HOOK_TIME_LIMIT))
    }

    /// Starts the function that a schedule invokes.
    ///
    /// # Errors
    /// Fails if the function can't start.
    pub fn sweep(&self) -> Result<Function, InitError> {
        let sweep = sweep::Sweep::new(&self.app()?)?;
        let run = move |event: LambdaEvent<_>| {
            let sweep = sweep.clone();
            async move { sweep.invoke(event).await }
        };
        Ok(self.of_events("sweep", service_fn(run), SWEEP_TIME_LIMIT))
    }

    /// Starts the function that handles CodeBuild's events.
    ///
    /// # Errors
    /// Fails if the function can't start, for example because no CodeBuild project is set.
    pub fn build_events(&self) -> Result<Function, InitError> {
        let events = build_events::BuildEvents::new(&self.app()?)?;
        let handle = move |event: LambdaEvent<_>| {
            let events = events.clone();
            async move { events.invoke(event).await }
        };
        Ok(self.of_events("build-events", service_fn(handle), HTTP_TIME_LIMIT))
    }

    /// Starts the function that copies the lines of builds.
    ///
    /// # Errors
    /// Fails if the function can't start.
    pub fn build_log(&self) -> Result<Function, InitError> {
        let log = build_log::BuildLog::new(&self.app()?)?;
        let handle = move |event: LambdaEvent<_>| {
            let log = log.clone();
            async move { log.invoke(event).await }
        };
        Ok(self.of_events("build-log", service_fn(handle), BUILD_LOG_TIME_LIMIT))
    }

    /// Starts the function with which operators inspect and redrive dead letters.
    ///
    /// # Errors
    /// Fails if the function can't start.
    pub fn redrive_dead_letters(&self) -> Result<Function, InitError> {
        let redrive = redrive_dead_letters::Redrive::new(&self.app()?)?;
        let run = move |event: LambdaEvent<_>| {
            let redrive = redrive.clone();
            async move { redrive.invoke(event).await }
        };
        Ok(self.of_events("redrive-dead-letters", service_fn(run), SWEEP_TIME_LIMIT))
    }

    /// Starts the function with which operators create accounts.
    ///
    /// # Errors
    /// Fails if the function can't start.
    pub fn bootstrap(&self) -> Result<Function, InitError> {
        let app = self.app()?;
        let bootstrap = move |event: LambdaEvent<_>| {
            let app = app.clone();
            async move { bootstrap::bootstrap(&app, event.payload).await }
        };
        Ok(self.of_events("bootstrap", service_fn(bootstrap), HTTP_TIME_LIMIT))
    }

    fn of_events<S, T, R, E>(&self, name: &str, service: S, time_limit: Duration) -> Function
    where
        S: Service<LambdaEvent<T>, Response = R, Error = E> + Clone + Send + Sync + 'static,
        S::Future: Send + 'static,
        T: DeserializeOwned + Send + 'static,
        R: Serialize + Send + 'static,
        E: Into<Diagnostic> + Send + 'static,
    {
        Function::events(name, service, time_limit, self.clock.clone()).with_patience(self.patience)
    }
}
