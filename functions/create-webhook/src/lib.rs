//! `POST /v1/webhooks`: sends the account's events to a URL.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderName, StatusCode, header};
use serde::Deserialize;
use serde_bytes::ByteBuf;
use shared::access::{Scope, Tenant};
use shared::body::WebhookBody;
use shared::extract;
use shared::hosts::Hosts;
use shared::id::{RepositoryId, WebhookId};
use shared::model::{
    Author, DisplayName, Environment, EventPattern, HookSecret, Role, Webhook, WebhookFilter, WebhookFormat, WebhookUrl,
};
use shared::{App, Endpoint, Error, ErrorCode, InitError, Result, Route, With};
use vault::Vault;

/// The contract of the endpoint. The pipeline enforces it, and the templates and the OpenAPI document follow from it.
pub const ROUTE: Route = Route::post(env!("CARGO_PKG_NAME"), "/v1/webhooks")
    .takes_body()
    .requires(Scope::AccountWrite)
    .by(Role::Admin)
    .refuses_with(&[ErrorCode::LimitReached])
    .takes_idempotency_key()
    .sends_location();

/// Returns the endpoint with its dependencies.
///
/// # Errors
/// Fails if a setting is missing or malformed.
pub fn endpoint(app: &App) -> Result<Endpoint, InitError> {
    let creation = With(app.clone(), (Hosts::of(app.settings())?, Arc::new(Vault::new(app)?)));
    Ok(Endpoint::new(ROUTE, create_webhook, creation))
}

/// The webhook to create.
#[derive(Debug, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewWebhook {
    name: DisplayName,
    url: WebhookUrl,
    /// The form of the messages. Default: `standard`.
    format: Option<WebhookFormat>,
    /// The types of the events to send, at least one and at most 100.
    #[schema(min_items = 1, max_items = 100)]
    events: Vec<EventPattern>,
    /// The repositories whose events are sent, at most 100. Default: events of all repositories are sent, and events of none.
    #[schema(max_items = 100)]
    repositories: Option<Vec<RepositoryId>>,
    /// The environments whose events are sent, at most 100. The name of a pattern also means its members. Default: events of all
    /// environments are sent, and events of none.
    #[schema(max_items = 100)]
    environments: Option<Vec<Environment>>,
}

/// Create a webhook
///
/// Sends the account's events from now on to a URL. The secret that signs the messages is in no later response.
#[utoipa::path(
    post, path = ROUTE.path, tag = "Webhooks", request_body = NewWebhook, responses((status = 201, body = WebhookBody))
)]
pub async fn create_webhook(
    State(With(app, (hosts, vault))): State<With<(Hosts, Arc<Vault>)>>,
    author: Author,
    tenant: Tenant,
    extract::Json(new): extract::Json<NewWebhook>,
) -> Result<(StatusCode, [(HeaderName, String); 1], Json<WebhookBody>)> {
    let url = new.url.check(hosts);
    let filter = WebhookFilter {
        events: new.events,
        repositories: new.repositories.unwrap_or_default(),
        environments: new.environments.unwrap_or_default(),
    };
    Error::all([url, filter.check(app.table(), &tenant).await])?;
    let (id, account_id, now) = (WebhookId::random(), tenant.account().id.clone(), app.clock().now());
    let format = new.format.unwrap_or(WebhookFormat::Standard);
    let secret = format.is_signed().then(HookSecret::random);
    let sealed = match &secret {
        Some(secret) => {
            let sealed = vault.seal(&Webhook::sealing_context(&account_id, &id), secret.reveal().as_bytes()).await;
            Some(ByteBuf::from(sealed.map_err(Error::unavailable)?))
        }
        None => None,
    };
    let webhook = Webhook {
        id,
        account_id,
        name: new.name,
        url: new.url,
        format,
        filter,
        sealed,
        previous: None,
        since: now,
        disabled: None,
        created_by: author.actor().clone(),
        created_at: now,
        updated_at: now,
        revision: 1,
        audit_retention: author.retention(),
    };
    webhook.create(app.table(), &author).await?;
    let location = app.url(&format!("{}/{}", ROUTE.path, webhook.id));
    let body = WebhookBody::new(webhook, now).with_secret(secret);
    Ok((StatusCode::CREATED, [(header::LOCATION, location)], Json(body)))
}
