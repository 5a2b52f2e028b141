//! `PATCH /v1/webhooks/{webhook_id}`: changes a webhook, or enables or disables it.

use axum::extract::State;
use serde::Deserialize;
use shared::access::{AuthorizedWebhook, Scope};
use shared::body::WebhookBody;
use shared::extract;
use shared::hosts::Hosts;
use shared::id::RepositoryId;
use shared::model::{
    Author, DisplayName, Environment, EventPattern, Role, Webhook, WebhookChange, WebhookFilter, WebhookUrl,
};
use shared::precondition::{IfMatch, Versioned};
use shared::{App, Endpoint, Error, InitError, Result, Route, With};

/// The contract of the endpoint. The pipeline enforces it, and the templates and the OpenAPI document follow from it.
pub const ROUTE: Route = Route::patch(env!("CARGO_PKG_NAME"), "/v1/webhooks/{webhook_id}")
    .takes_body()
    .requires(Scope::AccountWrite)
    .by(Role::Admin)
    .compares_etag();

/// Returns the endpoint with its dependencies.
///
/// # Errors
/// Fails if a setting is malformed.
pub fn endpoint(app: &App) -> Result<Endpoint, InitError> {
    Ok(Endpoint::new(ROUTE, update_webhook, With(app.clone(), Hosts::of(app.settings())?)))
}

/// The fields to change. An absent field keeps its value. The format can't be changed.
#[derive(Debug, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct WebhookPatch {
    #[serde(default, deserialize_with = "extract::given")]
    #[schema(required = false, nullable = false)]
    name: Option<DisplayName>,
    #[serde(default, deserialize_with = "extract::given")]
    #[schema(required = false, nullable = false)]
    url: Option<WebhookUrl>,
    /// The types of the events to send, at least one and at most 100.
    #[serde(default, deserialize_with = "extract::given")]
    #[schema(required = false, nullable = false, min_items = 1, max_items = 100)]
    events: Option<Vec<EventPattern>>,
    /// The repositories whose events are sent, at most 100. `null` or an empty list sends events of all repositories, and of none.
    #[serde(default, deserialize_with = "extract::given")]
    #[schema(value_type = Option<Vec<RepositoryId>>, max_items = 100)]
    repositories: Option<Option<Vec<RepositoryId>>>,
    /// The environments whose events are sent, at most 100. `null` or an empty list sends events of all environments, and of none.
    #[serde(default, deserialize_with = "extract::given")]
    #[schema(value_type = Option<Vec<Environment>>, max_items = 100)]
    environments: Option<Option<Vec<Environment>>>,
    /// Whether events are sent. A webhook that is enabled again gets the events from then on.
    #[serde(default, deserialize_with = "extract::given")]
    #[schema(required = false, nullable = false)]
    enabled: Option<bool>,
}

/// Update a webhook
///
/// Changes the given fields. Enables a webhook that was disabled with `enabled`.
#[utoipa::path(
    patch, path = ROUTE.path, tag = "Webhooks", request_body = WebhookPatch,
    responses((status = 200, body = WebhookBody))
)]
pub async fn update_webhook(
    State(With(app, hosts)): State<With<Hosts>>,
    author: Author,
    webhook: AuthorizedWebhook,
    expected: IfMatch,
    extract::Json(patch): extract::Json<WebhookPatch>,
) -> Result<Versioned<u64, WebhookBody>> {
    let url = patch.url.as_ref().map_or(Ok(()), |url| url.check(hosts));
    let filter = patch.filter(&webhook.filter);
    let filtered = match &filter {
        Some(filter) => filter.check(app.table(), webhook.tenant()).await,
        None => Ok(()),
    };
    Error::all([url, filtered])?;
    let change = WebhookChange { name: patch.name, url: patch.url, filter, enabled: patch.enabled };
    let now = app.clock().now();
    let expected = |webhook: &Webhook| expected.check(webhook.revision);
    let changed = webhook.into_inner().change(app.table(), change, expected, &author, now).await?;
    Ok(Versioned(changed.revision, WebhookBody::new(changed, now)))
}

impl WebhookPatch {
    /// Returns the new filter, if a part of it is given.
    fn filter(&self, now: &WebhookFilter) -> Option<WebhookFilter> {
        let Self { events, repositories, environments, .. } = self;
        let is_given = events.is_some() || repositories.is_some() || environments.is_some();
        is_given.then(|| WebhookFilter {
            events: events.clone().unwrap_or_else(|| now.events.clone()),
            repositories: repositories.clone().map_or_else(|| now.repositories.clone(), Option::unwrap_or_default),
            environments: environments.clone().map_or_else(|| now.environments.clone(), Option::unwrap_or_default),
        })
    }
}
