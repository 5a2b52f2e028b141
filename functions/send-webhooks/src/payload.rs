//! The bodies of messages, in the formats of webhooks.

use serde_json::{Value, json};
use shared::App;
use shared::body::{EventDeployment, WebhookEventBody};
use shared::model::{AuditEvent, Deployment, Repository, TargetKind, WebhookFormat};
use shared::table::TableError;

/// Reads what an event is about, and returns the message about it.
pub(crate) async fn event_body(app: &App, event: AuditEvent) -> Result<WebhookEventBody, TableError> {
    let (table, account) = (app.table(), &event.account_id);
    let deployment_id = match event.target.kind {
        TargetKind::Deployment => event.target.id.parse().ok(),
        _ => None,
    };
    let deployment = async {
        let Some(id) = deployment_id else { return Ok(None) };
        let url = app.url(&format!("/deployments/{id}"));
        let found = Deployment::load(table, account, &id).await?;
        Ok::<_, TableError>(found.map(|row| EventDeployment::new(row, url)))
    };
    let name = async {
        let Some(id) = &event.repository_id else { return Ok(None) };
        Repository::name_of(table, account, id).await
    };
    let (deployment, name) = futures_util::future::try_join(deployment, name).await?;
    Ok(WebhookEventBody::new(event, name, deployment))
}

/// Returns the body of a message.
pub(crate) fn render(format: WebhookFormat, event: &WebhookEventBody) -> Vec<u8> {
    let message = match format {
        WebhookFormat::Standard => return serde_json::to_vec(event).expect("an event is plain data"),
        WebhookFormat::Slack => slack(event),
        WebhookFormat::Teams => teams(event),
    };
    serde_json::to_vec(&message).expect("a message is plain data")
}

/// Returns a message of Slack. Its text is marked up, so that what users have named is escaped.
/// <https://docs.slack.dev/messaging/formatting-message-text>
fn slack(event: &WebhookEventBody) -> Value {
    let text = escaped(&sentence(event));
    let link = event.data.deployment.as_ref().map(|deployment| format!("\n<{}|Open the deployment>", deployment.url));
    json!({"text": format!("{text}{}", link.unwrap_or_default())})
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

/// Returns a card of Microsoft Teams. A text run is no Markdown, so nothing in it has to be escaped.
/// <https://learn.microsoft.com/en-us/microsoftteams/platform/webhooks-and-connectors/how-to/add-incoming-webhook>
fn teams(event: &WebhookEventBody) -> Value {
    let mut card = json!({
        "$schema": "http://adaptivecards.io/schemas/adaptive-card.json",
        "type": "AdaptiveCard",
        "version": "1.4",
        "body": [{"type": "RichTextBlock", "inlines": [{"type": "TextRun", "text": sentence(event)}]}],
    });
    if let Some(deployment) = &event.data.deployment {
        card["actions"] = json!([{"type": "Action.OpenUrl", "title": "Open the deployment", "url": deployment.url}]);
    }
    json!({
        "type": "message",
        "attachments": [{"contentType": "application/vnd.microsoft.card.adaptive", "content": card}],
    })
}

/// Returns a sentence about an event, for people.
fn sentence(event: &WebhookEventBody) -> String {
    let (resource, happened) = event.r#type.as_str().split_once('.').unwrap_or((event.r#type.as_str(), "changed"));
    let happened = happened.replace('_', " ");
    let by = event.data.actor_name();
    let repository = event.data.repository.as_ref().and_then(|repository| repository.full_name.as_deref());
    let place = repository.map(|name| format!("{name}: ")).unwrap_or_default();
    match &event.data.deployment {
        Some(deployment) => {
            let to = event.data.environment.map(|environment| format!(" to {environment}")).unwrap_or_default();
            let commit = deployment.sha.get(..7).unwrap_or(&deployment.sha);
            let EventDeployment { number, r#ref, .. } = deployment;
            format!("{place}deployment {number}{to} {happened} ({ref} at {commit}), by {by}", r#ref = r#ref)
        }
        None => format!("{place}{resource} {} {happened}, by {by}", event.data.target_name()),
    }
}
