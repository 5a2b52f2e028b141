//! Every function of the API, as the template has them.

use std::time::Duration;

use lambda_runtime::{LambdaEvent, service_fn};
use shared::clock::Clock;
use shared::settings::Settings;
use shared::telemetry::Log;
use shared::{App, Endpoint, InitError, Route, pipeline};

use crate::function::Function;

/// The time limit of a function behind the gateway, which gives up after 30 seconds.
const HTTP_TIME_LIMIT: Duration = Duration::from_secs(29);
/// Lambda's longest.
const CONSUMER_TIME_LIMIT: Duration = Duration::from_secs(900);
/// The time between two sweeps, so that no two run at once.
const SWEEP_TIME_LIMIT: Duration = Duration::from_secs(60);

type Constructor = fn(&App) -> Result<Endpoint, InitError>;

/// The endpoints, each with what its `main` serves.
pub const ENDPOINTS: [(Route, Constructor); 49] = [
    (list_repositories::ROUTE, list_repositories::endpoint),
    (create_repository::ROUTE, create_repository::endpoint),
    (get_repository::ROUTE, get_repository::endpoint),
    (create_deployment::ROUTE, create_deployment::endpoint),
    (list_deployments::ROUTE, list_deployments::endpoint),
    (get_deployment::ROUTE, get_deployment::endpoint),
    (get_deployment_log::ROUTE, get_deployment_log::endpoint),
    (list_tokens::ROUTE, list_tokens::endpoint),
    (create_token::ROUTE, create_token::endpoint),
    (get_token::ROUTE, get_token::endpoint),
    (update_token::ROUTE, update_token::endpoint),
    (rotate_token::ROUTE, rotate_token::endpoint),
    (delete_token::ROUTE, delete_token::endpoint),
    (list_teams::ROUTE, list_teams::endpoint),
    (create_team::ROUTE, create_team::endpoint),
    (get_team::ROUTE, get_team::endpoint),
    (update_team::ROUTE, update_team::endpoint),
    (delete_team::ROUTE, delete_team::endpoint),
    (list_team_members::ROUTE, list_team_members::endpoint),
    (add_team_member::ROUTE, add_team_member::endpoint),
    (remove_team_member::ROUTE, remove_team_member::endpoint),
    (list_team_repositories::ROUTE, list_team_repositories::endpoint),
    (add_team_repository::ROUTE, add_team_repository::endpoint),
    (remove_team_repository::ROUTE, remove_team_repository::endpoint),
    (get_account::ROUTE, get_account::endpoint),
    (update_account::ROUTE, update_account::endpoint),
    (list_members::ROUTE, list_members::endpoint),
    (update_member::ROUTE, update_member::endpoint),
    (remove_member::ROUTE, remove_member::endpoint),
    (list_invitations::ROUTE, list_invitations::endpoint),
    (create_invitation::ROUTE, create_invitation::endpoint),
    (delete_invitation::ROUTE, delete_invitation::endpoint),
    (accept_invitation::ROUTE, accept_invitation::endpoint),
    (list_applications::ROUTE, list_applications::endpoint),
    (create_application::ROUTE, create_application::endpoint),
    (delete_application::ROUTE, delete_application::endpoint),
    (get_user::ROUTE, get_user::endpoint),
    (list_deployment_events::ROUTE, list_deployment_events::endpoint),
    (cancel_deployment::ROUTE, cancel_deployment::endpoint),
    (retry_deployment::ROUTE, retry_deployment::endpoint),
    (approve_deployment::ROUTE, approve_deployment::endpoint),
    (reject_deployment::ROUTE, reject_deployment::endpoint),
    (create_rollback::ROUTE, create_rollback::endpoint),
    (list_environments::ROUTE, list_environments::endpoint),
    (get_environment::ROUTE, get_environment::endpoint),
    (update_environment::ROUTE, update_environment::endpoint),
    (get_rate_limit::ROUTE, get_rate_limit::endpoint),
    (get_openapi::ROUTE, get_openapi::endpoint),
    (not_found::ROUTE, not_found::endpoint),
];

/// What every function is started with. Each one gets an [`App`] of its own, like an execution environment.
#[derive(Clone, Debug)]
pub struct Environment {
    pub settings: Settings,
    pub clock: Clock,
    pub log: Log,
}

impl Environment {
    fn app(&self) -> Result<App, InitError> {
        Ok(App::new(self.settings.clone(), self.clock.clone(), self.log.clone())?)
    }

    /// The functions behind the gateway, by route key.
    ///
    /// # Errors
    /// When a function can't start.
    pub fn http(&self) -> Result<Vec<(String, Function)>, InitError> {
        let mut functions = Vec::new();
        for (route, endpoint) in ENDPOINTS {
            let function = self.endpoint(route, endpoint)?;
            functions.extend(route.keys().into_iter().map(|key| (key, function.clone())));
        }
        Ok(functions)
    }

    fn endpoint(&self, route: Route, endpoint: Constructor) -> Result<Function, InitError> {
        let app = self.app()?;
        let service = pipeline::service(app.clone(), endpoint(&app)?);
        Ok(Function::http(route.function, service, HTTP_TIME_LIMIT, self.clock.clone()))
    }

    /// The function that the queue feeds.
    ///
    /// # Errors
    /// When it can't start.
    pub fn consumer(&self) -> Result<Function, InitError> {
        let consumer = deployment_consumer::Consumer::new(&self.app()?)?;
        let consume = move |event: LambdaEvent<_>| {
            let consumer = consumer.clone();
            async move { consumer.invoke(event).await }
        };
        Ok(Function::events("deployment-consumer", service_fn(consume), CONSUMER_TIME_LIMIT, self.clock.clone()))
    }

    /// The function that a schedule invokes.
    ///
    /// # Errors
    /// When it can't start.
    pub fn sweep(&self) -> Result<Function, InitError> {
        let sweep = sweep::Sweep::new(&self.app()?)?;
        let run = move |event: LambdaEvent<_>| {
            let sweep = sweep.clone();
            async move { Box::pin(sweep.invoke(event)).await }
        };
        Ok(Function::events("sweep", service_fn(run), SWEEP_TIME_LIMIT, self.clock.clone()))
    }

    /// The function that CodeBuild's events are for.
    ///
    /// # Errors
    /// When it can't start, for example because no project is named.
    pub fn build_events(&self) -> Result<Function, InitError> {
        let events = build_events::BuildEvents::new(&self.app()?)?;
        let handle = move |event: LambdaEvent<_>| {
            let events = events.clone();
            async move { Box::pin(events.invoke(event)).await }
        };
        Ok(Function::events("build-events", service_fn(handle), HTTP_TIME_LIMIT, self.clock.clone()))
    }

    /// The function that operations look after dead letters with.
    ///
    /// # Errors
    /// When it can't start.
    pub fn redrive_dead_letters(&self) -> Result<Function, InitError> {
        let redrive = redrive_dead_letters::Redrive::new(&self.app()?)?;
        let run = move |event: LambdaEvent<_>| {
            let redrive = redrive.clone();
            async move { Box::pin(redrive.invoke(event)).await }
        };
        Ok(Function::events("redrive-dead-letters", service_fn(run), SWEEP_TIME_LIMIT, self.clock.clone()))
    }

    /// The function that operations create accounts with.
    ///
    /// # Errors
    /// When it can't start.
    pub fn bootstrap(&self) -> Result<Function, InitError> {
        let app = self.app()?;
        let bootstrap = move |event: LambdaEvent<_>| {
            let app = app.clone();
            async move { bootstrap::bootstrap(&app, event.payload).await }
        };
        Ok(Function::events("bootstrap", service_fn(bootstrap), HTTP_TIME_LIMIT, self.clock.clone()))
    }
}
