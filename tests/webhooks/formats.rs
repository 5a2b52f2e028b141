//! Messages for people.

use serde_json::{Value, json};

use super::receiver::Receiver;
use super::{Scene, create};

#[tokio::test]
async fn slack_and_teams_get_a_readable_message_without_a_signature() {
    let scene = Scene::start_with(json!({"events": ["session.created"]})).await;
    let Scene { world, owner, .. } = &scene;
    let (slack, teams) = (Receiver::start().await, Receiver::start().await);
    for (receiver, format) in [(&slack, "slack"), (&teams, "teams")] {
        let fields = json!({"events": ["deployment.created", "token.created"], "format": format});
        let webhook = create(owner, &receiver.url("/services/T0"), fields).await;
        assert_eq!(webhook["secret"], Value::Null);
        let rotate = format!("/v1/webhooks/{}/rotate", webhook["id"].as_str().unwrap());
        owner.post(&rotate, json!({})).await.refused(409, "webhook_unsigned");
    }
    let source = tests::GitRepository::with_commands(&["true"]);
    owner.repository("app", &source).await;
    let deployment = owner.deploy("app", json!({"ref": "main", "environment": "production"})).await;
    world.clock.advance(std::time::Duration::from_secs(1));
    let token = json!({"name": "<!channel> & friends", "scopes": ["account:read"]});
    assert_eq!(owner.post("/v1/tokens", token).await.status, 201);
    scene.deliver().await;
    let url = format!("{}/deployments/{}", world.stack.url(), deployment["id"].as_str().unwrap());
    let sha = &deployment["sha"].as_str().unwrap()[..7];
    let created = format!("acme/app: deployment 1 to production created (main at {sha}), by owner@example.com");
    let [first, second] = &slack.received()[..] else { panic!("two messages") };
    assert_eq!(first.body, json!({"text": format!("{created}\n<{url}|Open the deployment>")}));
    assert_eq!(second.body, json!({"text": "token &lt;!channel&gt; &amp; friends created, by owner@example.com"}));
    assert!(first.headers.keys().all(|name| !name.as_str().starts_with("webhook-")));
    let [card, plain] = &teams.received()[..] else { panic!("two messages") };
    let content = &card.body["attachments"][0]["content"];
    assert_eq!(content["body"][0]["inlines"][0]["text"], created);
    assert_eq!(content["actions"][0]["url"], url);
    assert_eq!(card.body["attachments"][0]["contentType"], "application/vnd.microsoft.card.adaptive");
    let content = &plain.body["attachments"][0]["content"];
    assert_eq!(content["body"][0]["inlines"][0]["text"], "token <!channel> & friends created, by owner@example.com");
    assert_eq!(content["actions"], Value::Null);
}
