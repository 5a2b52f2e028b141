//! The list of functions.

mod environment;

use std::str::FromStr;

use shared::route::Content;
use shared::{App, Endpoint, InitError, Route};

pub use self::environment::Environment;
use crate::function::Function;

/// Constructs the endpoint of a function.
pub type Constructor = fn(&App) -> Result<Endpoint, InitError>;

/// A nested stack of the template, `infra/<name>.yaml`, which has the functions of one area.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Area {
    /// Repositories, their environments, their hooks, and the connections to their hosts.
    Repositories,
    /// Deployments, their logs and their approvals.
    Deployments,
    /// Teams with their members and repositories.
    Teams,
    /// The account, members, invitations, applications, trusts, tokens and sessions.
    Identity,
    /// The functions that run deployments and follow builds.
    Builds,
    /// The API itself: its document, its fallback, its pages, and the webhooks that send its events.
    Service,
}

impl Area {
    /// Every area, in the order of the documentation.
    pub const ALL: [Area; 6] =
        [Self::Repositories, Self::Deployments, Self::Teams, Self::Identity, Self::Builds, Self::Service];

    /// Returns the names of all areas, as a part of a sentence.
    #[must_use]
    pub fn names() -> String {
        Self::ALL.map(Self::name).join(", ")
    }

    /// Returns the name of the area's template, without its extension.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Repositories => "repositories",
            Self::Deployments => "deployments",
            Self::Teams => "teams",
            Self::Identity => "identity",
            Self::Builds => "builds",
            Self::Service => "service",
        }
    }
}

impl FromStr for Area {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        let named = Self::ALL.into_iter().find(|area| area.name() == name);
        named.ok_or_else(|| format!("use one of {}", Self::names()))
    }
}

/// A function of the stack.
#[derive(Clone, Copy, Debug)]
pub struct Registration {
    /// The name of the crate, the binary, the Lambda function and the sample event.
    pub name: &'static str,
    /// The area whose template has the function.
    pub area: Area,
    /// The caller of the function.
    pub trigger: Trigger,
}

/// The caller of a function.
#[derive(Clone, Copy, Debug)]
pub enum Trigger {
    /// The gateway, with requests of the route.
    Http {
        /// The contract of the endpoint.
        route: Route,
        /// Makes the endpoint of an app.
        constructor: Constructor,
        /// The operation in the OpenAPI document. The fallback and pages have none.
        documentation: Option<fn() -> utoipa::openapi::OpenApi>,
    },
    /// A queue, a schedule, CodeBuild or an operator.
    Event(fn(&Environment) -> Result<Function, InitError>),
}

impl Registration {
    /// Returns the route of an endpoint, and `None` for a function that no request reaches.
    #[must_use]
    pub const fn route(&self) -> Option<Route> {
        match self.trigger {
            Trigger::Http { route, .. } => Some(route),
            Trigger::Event(_) => None,
        }
    }

    /// Starts the function as its `main` does.
    ///
    /// # Errors
    /// Fails if a setting is missing or invalid.
    pub fn start(&self, environment: &Environment) -> Result<Function, InitError> {
        match self.trigger {
            Trigger::Http { route, constructor, .. } => environment.endpoint(route, constructor),
            Trigger::Event(start) => start(environment),
        }
    }
}

/// Registers a documented endpoint: its crate has `ROUTE`, `endpoint` and a handler with the name of the crate.
macro_rules! endpoint {
    ($area:ident, $function:ident) => {{
        #[derive(utoipa::OpenApi)]
        #[openapi(paths($function::$function))]
        struct Documentation;
        Registration {
            name: $function::ROUTE.function,
            area: Area::$area,
            trigger: Trigger::Http {
                route: $function::ROUTE,
                constructor: $function::endpoint,
                documentation: Some(<Documentation as utoipa::OpenApi>::openapi),
            },
        }
    }};
}

/// Registers an endpoint without an operation in the OpenAPI document.
macro_rules! undocumented {
    ($area:ident, $function:ident) => {
        Registration {
            name: $function::ROUTE.function,
            area: Area::$area,
            trigger: Trigger::Http { route: $function::ROUTE, constructor: $function::endpoint, documentation: None },
        }
    };
}

/// Registers a function that no request reaches.
macro_rules! event {
    ($area:ident, $name:literal, $start:expr) => {
        Registration { name: $name, area: Area::$area, trigger: Trigger::Event($start) }
    };
}

/// Every function of the stack. The gateway, the OpenAPI document, the templates, the README's table and the tests read
/// this list.
pub const FUNCTIONS: &[Registration] = &[
    endpoint!(Repositories, list_repositories),
    endpoint!(Repositories, create_repository),
    endpoint!(Repositories, get_repository),
    endpoint!(Repositories, update_repository),
    endpoint!(Repositories, delete_repository),
    endpoint!(Repositories, delete_repository_cache),
    endpoint!(Repositories, list_refs),
    endpoint!(Repositories, list_connections),
    endpoint!(Repositories, create_connection),
    endpoint!(Repositories, get_connection),
    endpoint!(Repositories, update_connection),
    endpoint!(Repositories, delete_connection),
    endpoint!(Repositories, check_connection),
    endpoint!(Repositories, list_hooks),
    endpoint!(Repositories, create_hook),
    endpoint!(Repositories, rotate_hook),
    endpoint!(Repositories, delete_hook),
    endpoint!(Repositories, list_hook_deliveries),
    endpoint!(Repositories, receive_hook),
    endpoint!(Repositories, list_repository_variables),
    endpoint!(Repositories, set_repository_variable),
    endpoint!(Repositories, delete_repository_variable),
    endpoint!(Deployments, create_deployment),
    endpoint!(Deployments, list_deployments),
    endpoint!(Deployments, preflight_deployment),
    endpoint!(Deployments, list_account_deployments),
    endpoint!(Deployments, get_deployment),
    endpoint!(Deployments, get_deployment_log),
    endpoint!(Deployments, get_deployment_log_file),
    endpoint!(Deployments, list_deployment_events),
    endpoint!(Deployments, list_deployment_artifacts),
    endpoint!(Deployments, get_deployment_artifact),
    endpoint!(Deployments, get_deployment_artifacts_zip),
    endpoint!(Deployments, cancel_deployment),
    endpoint!(Deployments, retry_deployment),
    endpoint!(Deployments, approve_deployment),
    endpoint!(Deployments, reject_deployment),
    endpoint!(Deployments, create_rollback),
    endpoint!(Deployments, list_environments),
    endpoint!(Deployments, create_environment),
    endpoint!(Deployments, get_environment),
    endpoint!(Deployments, update_environment),
    endpoint!(Deployments, delete_environment),
    endpoint!(Deployments, list_environment_variables),
    endpoint!(Deployments, set_environment_variable),
    endpoint!(Deployments, delete_environment_variable),
    endpoint!(Identity, list_tokens),
    endpoint!(Identity, create_token),
    endpoint!(Identity, get_token),
    endpoint!(Identity, update_token),
    endpoint!(Identity, rotate_token),
    endpoint!(Identity, delete_token),
    endpoint!(Teams, list_teams),
    endpoint!(Teams, create_team),
    endpoint!(Teams, get_team),
    endpoint!(Teams, update_team),
    endpoint!(Teams, delete_team),
    endpoint!(Teams, list_team_members),
    endpoint!(Teams, add_team_member),
    endpoint!(Teams, remove_team_member),
    endpoint!(Teams, list_team_repositories),
    endpoint!(Teams, add_team_repository),
    endpoint!(Teams, remove_team_repository),
    endpoint!(Identity, get_account),
    endpoint!(Identity, update_account),
    endpoint!(Identity, list_account_variables),
    endpoint!(Identity, set_account_variable),
    endpoint!(Identity, delete_account_variable),
    endpoint!(Teams, list_members),
    endpoint!(Teams, update_member),
    endpoint!(Teams, remove_member),
    endpoint!(Teams, list_invitations),
    endpoint!(Teams, create_invitation),
    endpoint!(Teams, delete_invitation),
    endpoint!(Teams, accept_invitation),
    endpoint!(Identity, list_applications),
    endpoint!(Identity, create_application),
    endpoint!(Identity, delete_application),
    endpoint!(Identity, get_sign_in),
    endpoint!(Identity, create_session),
    endpoint!(Identity, end_session),
    endpoint!(Identity, list_sessions),
    endpoint!(Identity, delete_session),
    endpoint!(Identity, list_trusts),
    endpoint!(Identity, create_trust),
    endpoint!(Identity, delete_trust),
    endpoint!(Identity, exchange_token),
    endpoint!(Identity, get_user),
    endpoint!(Identity, list_user_invitations),
    endpoint!(Identity, join_account),
    endpoint!(Service, list_webhooks),
    endpoint!(Service, create_webhook),
    endpoint!(Service, get_webhook),
    endpoint!(Service, update_webhook),
    endpoint!(Service, delete_webhook),
    endpoint!(Service, test_webhook),
    endpoint!(Service, rotate_webhook),
    endpoint!(Service, list_webhook_deliveries),
    endpoint!(Service, redeliver_webhook),
    endpoint!(Identity, get_rate_limit),
    endpoint!(Identity, list_audit_events),
    endpoint!(Service, get_openapi),
    undocumented!(Service, not_found),
    undocumented!(Service, get_dashboard),
    event!(Repositories, "hook-consumer", Environment::hook_consumer),
    event!(Deployments, "deployment-consumer", Environment::consumer),
    event!(Deployments, "report-status", Environment::report_status),
    event!(Service, "send-webhooks", Environment::send_webhooks),
    event!(Builds, "build-events", Environment::build_events),
    event!(Builds, "build-log", Environment::build_log),
    event!(Builds, "sweep", Environment::sweep),
    event!(Deployments, "redrive-dead-letters", Environment::redrive_dead_letters),
    event!(Identity, "bootstrap", Environment::bootstrap),
];

/// Returns the route of each function behind the gateway, in the order of the list.
pub fn all_routes() -> impl Iterator<Item = Route> {
    FUNCTIONS.iter().filter_map(Registration::route)
}

/// Returns the route of each endpoint of the API, in the order of the list. Pages for browsers are not among them.
pub fn routes() -> impl Iterator<Item = Route> {
    all_routes().filter(|route| route.content == Content::Data)
}
