//! `GET /v1/deployments/{deployment_id}/events`: what happened to a deployment, from a position.

use axum::Json;
use axum::extract::State;
use serde::{Deserialize, Serialize};
use shared::access::{AuthorizedDeployment, Scope};
use shared::clock::Rfc3339;
use shared::extract::{Number, Query};
use shared::id::UserId;
use shared::model::{Actor, DeploymentEvent, Status};
use shared::{App, Endpoint, InitError, Result, Route};

pub const ROUTE: Route =
    Route::get(env!("CARGO_PKG_NAME"), "/v1/deployments/{deployment_id}/events").requires(Scope::DeploymentsRead);

pub fn endpoint(app: &App) -> Result<Endpoint, InitError> {
    Ok(Endpoint::new(ROUTE, list_deployment_events, app.clone()))
}

#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
pub struct EventPosition {
    /// The number of the last event that the client has.
    #[serde(default)]
    #[param(value_type = u64, minimum = 0, default = 0)]
    after: Number<0, { u64::MAX }, 0>,
    /// The most events to return.
    #[serde(default)]
    #[param(value_type = u32, minimum = 1, maximum = 100, default = 100)]
    limit: Number<1, 100, 100>,
}

#[derive(Debug, Serialize, utoipa::ToSchema)]
#[schema(as = Events)]
pub struct EventsBody {
    pub data: Vec<EventBody>,
    pub meta: EventsMeta,
}

#[derive(Debug, Serialize, utoipa::ToSchema)]
#[schema(as = Event)]
pub struct EventBody {
    /// 1, 2, 3, …, without gaps.
    #[schema(examples(2))]
    pub number: u64,
    pub at: Rfc3339,
    /// The state from then on. An approval and the request to stop leave it as it was.
    pub status: Status,
    pub actor: ActorKind,
    /// The user, where one did it.
    #[schema(required)]
    pub user_id: Option<UserId>,
    /// A sentence for a person.
    #[schema(examples("claimed, attempt 1"))]
    pub reason: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "lowercase")]
#[schema(as = Actor)]
pub enum ActorKind {
    User,
    /// What runs deployments, or ends them when their time is over.
    Runner,
}

#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct EventsMeta {
    /// What to send as `after` next.
    #[schema(examples(2))]
    pub next_after: u64,
    /// Whether the deployment has ended and there are no events after these.
    pub complete: bool,
}

/// List a deployment's events
///
/// Returns each change of the deployment's state after a position: who made it, when and why. Ask again with
/// `meta.next_after` until `meta.complete`.
#[utoipa::path(get, path = ROUTE.path, tag = "Deployments", params(EventPosition), responses((status = 200, body = EventsBody)))]
pub async fn list_deployment_events(
    State(app): State<App>,
    Query(position): Query<EventPosition>,
    deployment: AuthorizedDeployment,
) -> Result<Json<EventsBody>> {
    let after = position.after.get();
    let limit = i32::try_from(position.limit.get()).expect("at most 100");
    let events = deployment.events(app.table(), after, limit).await?;
    let next_after = events.last().map_or(after, |event| event.number);
    // The state was read before the events, and a state that is final has no event after it.
    let complete = deployment.status.is_final() && next_after >= deployment.events;
    let meta = EventsMeta { next_after, complete };
    Ok(Json(EventsBody { data: events.into_iter().map(EventBody::from).collect(), meta }))
}

impl From<DeploymentEvent> for EventBody {
    fn from(event: DeploymentEvent) -> Self {
        let (actor, user_id) = match event.actor {
            Actor::User(id) => (ActorKind::User, Some(id)),
            Actor::Runner => (ActorKind::Runner, None),
        };
        let DeploymentEvent { number, at, status, reason, .. } = event;
        Self { number, at: at.into(), status, actor, user_id, reason }
    }
}
