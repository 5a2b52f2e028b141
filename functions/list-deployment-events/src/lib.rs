//! `GET /v1/deployments/{deployment_id}/events`: returns the events of a deployment after a position.

use axum::Json;
use axum::extract::State;
use serde::{Deserialize, Serialize};
use shared::access::{AuthorizedDeployment, Scope};
use shared::clock::Rfc3339;
use shared::extract::{LARGEST, Number, Query};
use shared::id::UserId;
use shared::model::{Actor, Actors, BuildCommand, BuildPhaseName, BuildPhaseStatus, DeploymentEvent, Status};
use shared::poll::{NothingNew, PollInterval};
use shared::{App, Endpoint, InitError, Result, Route};

/// The contract of the endpoint. The pipeline enforces it, and the templates and the OpenAPI document follow from it.
pub const ROUTE: Route = Route::get(env!("CARGO_PKG_NAME"), "/v1/deployments/{deployment_id}/events")
    .requires(Scope::DeploymentsRead)
    .follows()
    .takes(&["after", "limit"]);

/// Returns the endpoint with the app as its state.
pub fn endpoint(app: &App) -> Result<Endpoint, InitError> {
    Ok(Endpoint::new(ROUTE, list_deployment_events, app.clone()))
}

/// The position among the events, and the size of the page.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
pub struct EventPosition {
    /// The number of the last event that the client has. The response starts after it.
    #[serde(default)]
    #[param(value_type = u64, minimum = 0, default = 0)]
    after: Number<0, { LARGEST }, 0>,
    /// The maximum number of events to return.
    #[serde(default)]
    #[param(value_type = u32, minimum = 1, maximum = 100, default = 100)]
    limit: Number<1, 100, 100>,
}

/// The events of a deployment after a position.
#[derive(Debug, Serialize, utoipa::ToSchema)]
#[schema(as = Events)]
pub struct EventsBody {
    /// The events, oldest first.
    data: Vec<EventBody>,
    /// The names of the users and applications that caused these events, by their IDs.
    actors: Actors,
    meta: EventsMeta,
}

/// A change of a deployment.
#[derive(Debug, Serialize, utoipa::ToSchema)]
#[schema(as = Event)]
pub struct EventBody {
    /// The event's number in the deployment: 1, 2, 3, … without gaps.
    #[schema(examples(2))]
    number: u64,
    /// The time of the event.
    at: Rfc3339,
    /// The deployment's status after the event. An approval or a request to stop leaves the status unchanged.
    status: Status,
    actor: ActorKind,
    /// The user who caused the event. Null if no user did.
    #[schema(required)]
    user_id: Option<UserId>,
    /// A human-readable reason for the event.
    #[schema(examples("claimed, attempt 1"))]
    reason: String,
    /// The last 100 commands of the build, in their order, if this event ended the deployment. Empty for every other event, if no
    /// command has begun, and with AWS CodeBuild, which does not tell commands.
    commands: Vec<CommandBody>,
}

/// A command of a build.
#[derive(Debug, Serialize, utoipa::ToSchema)]
#[schema(as = BuildCommand)]
pub struct CommandBody {
    /// The command's number in the build: 1, 2, 3, … without gaps. If the first of the list has a higher one, those before it are left
    /// out.
    #[schema(examples(1))]
    number: u64,
    phase: BuildPhaseName,
    /// The attempt of the phase: 1, or more if its `on-failure` is `RETRY`.
    #[schema(examples(1))]
    attempt: u32,
    /// The command in the buildspec, cut to 200 bytes. Secret values are replaced by `***`.
    #[schema(examples("make test"))]
    command: String,
    /// The outcome of the command.
    status: BuildPhaseStatus,
    /// The exit status. Null if a signal, the time limit or a cancelation ended the command.
    #[schema(required, examples(0))]
    exit_code: Option<i32>,
    /// The number of the signal that ended the command. Null if none did, and if the runner stopped it.
    #[schema(required)]
    signal: Option<i32>,
    /// The time at which the command began.
    started_at: Rfc3339,
    /// The time that the command took, in milliseconds.
    #[schema(examples(5321))]
    duration_ms: u64,
}

impl From<BuildCommand> for CommandBody {
    fn from(command: BuildCommand) -> Self {
        let BuildCommand { number, phase, attempt, command, status, exit_code, signal, started_at, duration_ms } =
            command;
        Self { number, phase, attempt, command, status, exit_code, signal, started_at: started_at.into(), duration_ms }
    }
}

/// The kind of actor that caused an event: a user, or the API's `runner`, which runs deployments and ends those that
/// are past their deadline.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "lowercase")]
#[schema(as = Actor)]
pub enum ActorKind {
    /// A user, or an application, which `user_id` names.
    User,
    /// The API itself, which runs deployments and ends those that are past their deadline.
    Runner,
}

/// The position to continue from.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct EventsMeta {
    /// The value of `after` for the next request.
    #[schema(examples(2))]
    next_after: u64,
    /// Whether the deployment has ended and no more events follow.
    complete: bool,
}

/// List a deployment's events
///
/// Returns the events of the deployment after a position, each with its actor, time and reason. The event that ended the deployment
/// has the commands of its build, each with its phase, exit status and duration. To follow the
/// deployment, repeat the request with `after` set to `meta.next_after` after `X-Poll-Interval` seconds, until `meta.complete`
/// is true. A page without events does not count against the plan.
#[utoipa::path(get, path = ROUTE.path, tag = "Deployments", params(EventPosition), responses((status = 200, body = EventsBody)))]
pub async fn list_deployment_events(
    State(app): State<App>,
    Query(position): Query<EventPosition>,
    deployment: AuthorizedDeployment,
) -> Result<(Option<PollInterval>, Option<NothingNew>, Json<EventsBody>)> {
    let after = position.after.get();
    let limit = i32::try_from(position.limit.get()).expect("at most 100");
    let events = deployment.events(app.table(), after, limit).await?;
    let next_after = events.last().map_or(after, |event| event.number);
    // The state was read before the events, and a state that is final has no event after it.
    let complete = deployment.status.is_final() && next_after >= deployment.events;
    let interval = match next_after < deployment.events {
        true => Some(PollInterval::NOW),
        false => PollInterval::of(&deployment),
    };
    let nothing_new = events.is_empty().then_some(NothingNew);
    let meta = EventsMeta { next_after, complete };
    let has_acted = |user: &UserId| events.iter().any(|event| matches!(&event.actor, Actor::User(id) if id == user));
    let actors = deployment.actors.iter().filter(|(user, _)| has_acted(user));
    let actors = actors.map(|(user, name)| (user.clone(), name.clone())).collect();
    let body = EventsBody { actors, data: events.into_iter().map(EventBody::from).collect(), meta };
    Ok((interval, nothing_new, Json(body)))
}

impl From<DeploymentEvent> for EventBody {
    fn from(event: DeploymentEvent) -> Self {
        let (actor, user_id) = match event.actor {
            Actor::User(id) => (ActorKind::User, Some(id)),
            Actor::Runner => (ActorKind::Runner, None),
        };
        let DeploymentEvent { number, at, status, reason, commands, .. } = event;
        let commands = commands.into_iter().map(Into::into).collect();
        Self { number, at: at.into(), status, actor, user_id, reason, commands }
    }
}
