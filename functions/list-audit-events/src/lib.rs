//! `GET /v1/audit_events`: lists the changes that were made in the account, newest first.

use std::net::IpAddr;

use axum::Json;
use axum::extract::State;
use serde::{Deserialize, Serialize};
use shared::access::{Scope, Tenant};
use shared::body::{ActorBody, FieldChangeBody, TargetBody};
use shared::clock::{Rfc3339, Time};
use shared::extract::Filtered;
use shared::id::{AuditEventId, RepositoryId, RequestId, SessionId, TokenId, UserId};
use shared::model::{Action, AuditEvent, AuditFilter, ClientId, Credential, Role};
use shared::timeline::{Timeline, TimelineQuery};
use shared::{App, Endpoint, ErrorCode, InitError, Result, Route};

/// The contract of the endpoint. The pipeline enforces it, and the templates and the OpenAPI document follow from it.
pub const ROUTE: Route = Route::get(env!("CARGO_PKG_NAME"), "/v1/audit_events")
    .requires(Scope::AccountRead)
    .by(Role::Admin)
    .takes(&["per_page", "cursor", "actor", "action", "target", "repository", "since", "until"])
    .refuses_with(&[ErrorCode::InvalidCursor]);

/// Returns the endpoint with the app as its state.
pub fn endpoint(app: &App) -> Result<Endpoint, InitError> {
    Ok(Endpoint::new(ROUTE, list_audit_events, app.clone()))
}

/// The events to return.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
pub struct EventFilter {
    /// Returns only changes that this user made, or the application or the trust that this ID stands for.
    actor: Option<UserId>,
    /// Returns only changes of this kind.
    action: Option<Action>,
    /// Returns only changes of the resource with this ID. The ID of an environment is that of its repository, a slash and the
    /// environment's name.
    #[param(value_type = Option<String>, min_length = 1, max_length = 128)]
    target: Option<TargetId>,
    /// Returns only changes of the repository with this ID and of what belongs to it: its deployments, environments, variables and hooks.
    repository: Option<RepositoryId>,
    /// Returns only changes at this time or later.
    #[param(value_type = Option<Rfc3339>)]
    since: Option<Time>,
    /// Returns only changes before this time.
    #[param(value_type = Option<Rfc3339>)]
    until: Option<Time>,
}

/// The ID of a resource of any kind.
#[derive(Debug, Deserialize)]
#[serde(try_from = "String")]
struct TargetId(String);

impl TryFrom<String> for TargetId {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, &'static str> {
        match text.chars().count() {
            1..=128 => Ok(Self(text)),
            _ => Err("must be an ID of 1 to 128 characters"),
        }
    }
}

/// A change that somebody made.
#[derive(Debug, Serialize, utoipa::ToSchema)]
#[schema(as = AuditEvent)]
pub struct AuditEventBody {
    id: AuditEventId,
    /// The time of the change.
    created_at: Rfc3339,
    action: Action,
    actor: ActorBody,
    /// The token of the request: a personal access token, or one that a trust issued. Null for any other credential.
    #[schema(required)]
    token_id: Option<TokenId>,
    /// The OAuth2 client whose token the request had. Null for any other credential.
    #[schema(required)]
    client_id: Option<ClientId>,
    /// The session of the dashboard whose cookie the request had. Null for any other credential.
    #[schema(required)]
    session_id: Option<SessionId>,
    /// The IP address that the request came from. Null if no request made the change.
    #[schema(required, value_type = Option<String>, examples("203.0.113.5"))]
    source_address: Option<IpAddr>,
    /// The ID of the request, as in its `X-Request-Id` header. Null if no request made the change.
    #[schema(required)]
    request_id: Option<RequestId>,
    target: TargetBody,
    /// The repository that the target belongs to. Null if it belongs to none.
    #[schema(required)]
    repository_id: Option<RepositoryId>,
    /// The changed fields. A value of a secret is never among them.
    changes: Vec<FieldChangeBody>,
}

/// List audit events
///
/// Returns the changes that were made in the account, newest first. An event is kept for 400 days. A change is in the
/// list as soon as the request that made it is answered, and a few seconds later if `actor` or `target` is given.
#[utoipa::path(
    get, path = ROUTE.path, tag = "Account", params(TimelineQuery, EventFilter),
    responses((status = 200, body = Timeline<AuditEventBody>))
)]
pub async fn list_audit_events(
    State(app): State<App>,
    tenant: Tenant,
    Filtered(page, filter): Filtered<TimelineQuery, EventFilter>,
) -> Result<Json<Timeline<AuditEventBody>>> {
    let EventFilter { actor, action, target, repository, since, until } = filter;
    let (since, until) = (since.map(Time::get), until.map(Time::get));
    let target = target.map(|TargetId(id)| id);
    let filter = AuditFilter { actor, action, target, repository, since, until };
    let events = AuditEvent::page(app.table(), &tenant, &filter, &page).await?;
    Ok(Json(events.map(AuditEventBody::from)))
}

impl From<AuditEvent> for AuditEventBody {
    fn from(event: AuditEvent) -> Self {
        let (token_id, client_id, session_id) = match event.credential {
            Credential::Token(id) => (Some(id), None, None),
            Credential::OAuth(client) => (None, Some(client), None),
            Credential::Session(id) => (None, None, Some(id)),
            Credential::Other => (None, None, None),
        };
        Self {
            id: event.id,
            created_at: event.created_at.into(),
            action: event.action,
            actor: event.actor.into(),
            token_id,
            client_id,
            session_id,
            source_address: event.source_address,
            request_id: event.request_id,
            target: event.target.into(),
            repository_id: event.repository_id,
            changes: event.changes.into_iter().map(FieldChangeBody::from).collect(),
        }
    }
}
