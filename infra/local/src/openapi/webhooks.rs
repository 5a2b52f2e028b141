//! The messages of webhooks in the format `standard`, one for each type of events.

use serde_json::json;
use shared::model::{Action, TargetKind};
use utoipa::openapi::path::{HttpMethod, OperationBuilder, ParameterIn, PathItem};
use utoipa::openapi::request_body::RequestBodyBuilder;
use utoipa::openapi::schema::{Components, Object, ObjectBuilder, Schema, Type};
use utoipa::openapi::{Content, Paths, PathsBuilder, Ref, RefOr, Required, Response};

use super::examples;
use super::parameters::described;

/// The headers of a message, each with its description.
const HEADERS: [(&str, &str); 3] = [
    ("webhook-id", "The ID of the event, the same in each message about it"),
    ("webhook-timestamp", "The time of the attempt, in seconds since the Unix epoch"),
    ("webhook-signature", "The signatures of the message, separated by spaces: `v1,` and an HMAC-SHA256 in base64"),
];

/// How often events about a kind of resource have a field.
#[derive(Clone, Copy)]
enum Presence {
    Always,
    Sometimes,
    Never,
}

/// Replaces the schema of all events by one for each type, and returns the section `webhooks`.
pub(super) fn section(components: &mut Components) -> Paths {
    let [event, data, target] =
        ["WebhookEvent", "WebhookEventData", "AuditTarget"].map(|name| object(components, name));
    components.schemas.remove("WebhookEvent");
    components.schemas.remove("WebhookEventData");
    for (name, text) in HEADERS {
        let schema = ObjectBuilder::new().schema_type(Type::String);
        let header = described(name, ParameterIn::Header, Required::True, text, schema);
        components.parameters.insert(name.to_owned(), header.into());
    }
    for kind in TargetKind::ALL {
        components.schemas.insert(payload_name(kind.as_str()), payload(*kind, data.clone(), target.clone()).into());
    }
    let mut paths = PathsBuilder::new();
    for action in Action::ALL {
        let schema = message_name(*action);
        components.schemas.insert(schema.clone(), message(*action, event.clone()).into());
        let mut content = Content::new(Some(Ref::from_schema_name(schema))).into();
        examples::add_to(&mut content, "event", &components.schemas);
        paths = paths.path(action.as_str(), webhook(*action, content));
    }
    paths.build()
}

/// Returns the message about an event, which differs from others in its type and its data.
fn message(action: Action, mut event: Object) -> Schema {
    let name = action.as_str();
    let (resource, _) = name.split_once('.').expect("a type of events starts with its resource");
    event.description = Some(format!("The message about an event of the type `{name}`."));
    event.properties.insert("type".to_owned(), only(name));
    let data = Ref::builder().ref_location_from_schema_name(payload_name(resource)).description(Some("The change."));
    event.properties.insert("data".to_owned(), RefOr::Ref(data.build()));
    let ordering_key = match action {
        // The exchange of a token does not change the trust.
        Action::TrustExchanged => example(TargetKind::Token).0,
        _ => example(kind_of(resource)).0,
    };
    show(&mut event, "ordering_key", Some(ordering_key));
    event.into()
}

/// Returns the data of events about a kind of resource.
fn payload(kind: TargetKind, mut data: Object, mut target: Object) -> Schema {
    data.description =
        Some(format!("The change that an event about a resource of the kind `{}` tells.", kind.as_str()));
    target.properties.insert("type".to_owned(), only(kind.as_str()));
    let (id, name) = example(kind);
    show(&mut target, "id", Some(id));
    show(&mut target, "name", name);
    data.properties.insert("target".to_owned(), RefOr::T(target.into()));
    let [repository, environment, deployment] = presence(kind);
    for (name, schema, presence) in [
        ("repository", "EventRepository", repository),
        ("environment", "Environment", environment),
        ("deployment", "EventDeployment", deployment),
    ] {
        match presence {
            Presence::Always => drop(data.properties.insert(name.to_owned(), Ref::from_schema_name(schema).into())),
            // A field that is never there is null. Generators of clients know no type that has this value only.
            Presence::Sometimes | Presence::Never => {}
        }
    }
    data.into()
}

/// Returns the ID of a resource of a kind for the examples, and its name if it has one.
fn example(kind: TargetKind) -> (&'static str, Option<&'static str>) {
    match kind {
        TargetKind::Account => ("acct_k3vyq2w7x5m4n6pa", Some("acme")),
        TargetKind::Application => ("7l8q2n3c4v5b6m7k8j9h0g1f2d", Some("release-bot")),
        TargetKind::Connection => ("conn_k3vyq2w7x5m4n6pa", Some("GitHub")),
        TargetKind::Deployment => ("deploy_k3vyq2w7x5m4n6pa", None),
        TargetKind::Environment => ("repo_k3vyq2w7x5m4n6pa/preview", None),
        TargetKind::Hook => ("hook_k3vyq2w7x5m4n6pa", Some("GitHub hook")),
        TargetKind::Invitation => ("inv_k3vyq2w7x5m4n6pa", Some("ada@example.com")),
        TargetKind::Member => ("user_k3vyq2w7x5m4n6pa", Some("ben@acme.example")),
        TargetKind::Repository => ("repo_k3vyq2w7x5m4n6pa", Some("frontend-app")),
        TargetKind::Session => ("session_k3vyq2w7x5m4n6pa", None),
        TargetKind::Team => ("team_k3vyq2w7x5m4n6pa", Some("Platform")),
        TargetKind::Token => ("tok_k3vyq2w7x5m4n6pa", Some("ci")),
        TargetKind::Trust => ("trust_k3vyq2w7x5m4n6pa", Some("CI")),
        TargetKind::Variable => ("repo_k3vyq2w7x5m4n6pa/preview/API_URL", Some("API_URL")),
        TargetKind::Webhook => ("webhook_k3vyq2w7x5m4n6pa", Some("Board")),
    }
}

/// Replaces the example of a text. Without one, the example of a text that may be null is null.
fn show(object: &mut Object, name: &str, example: Option<&str>) {
    match object.properties.get_mut(name) {
        Some(RefOr::T(Schema::Object(text))) => text.examples = example.map(|text| json!(text)).into_iter().collect(),
        _ => panic!("{name} is no text"),
    }
}

/// Returns how often events about a kind of resource name a repository, an environment and a deployment.
fn presence(kind: TargetKind) -> [Presence; 3] {
    use Presence::{Always, Never, Sometimes};
    match kind {
        // A deployment may be gone when its event is sent.
        TargetKind::Deployment => [Always, Always, Sometimes],
        TargetKind::Environment => [Always, Always, Never],
        TargetKind::Hook => [Always, Sometimes, Never],
        TargetKind::Repository => [Always, Never, Never],
        TargetKind::Team => [Sometimes, Never, Never],
        TargetKind::Variable => [Sometimes, Sometimes, Never],
        _ => [Never, Never, Never],
    }
}

fn webhook(action: Action, content: RefOr<Content>) -> PathItem {
    let name = action.as_str();
    let mut body = RequestBodyBuilder::new().required(Some(Required::True)).build();
    body.content.insert("application/json".to_owned(), content);
    let operation = OperationBuilder::new()
        .operation_id(Some(format!("{}-event", name.replace(['.', '_'], "-"))))
        .summary(Some(format!("An event of the type {name}")))
        .description(Some(
            "Sent to each webhook in the format `standard` that is for the event, as Standard Webhooks say. An event may come \
            more than once, and later than a newer one.",
        ))
        .tag("Webhooks")
        .securities(Some([]))
        .request_body(Some(body))
        .response("2XX", Response::new("The event is accepted, and not sent again"))
        .response("410", Response::new("The webhook is disabled"));
    let mut operation = operation.build();
    let header = |(name, _): (&str, _)| RefOr::Ref(Ref::new(format!("#/components/parameters/{name}")));
    operation.parameters = Some(HEADERS.map(header).into());
    PathItem::new(HttpMethod::Post, operation)
}

/// Returns the schema of a text that has one value.
fn only(value: &str) -> RefOr<Schema> {
    RefOr::T(ObjectBuilder::new().schema_type(Type::String).enum_values(Some([json!(value)])).into())
}

fn object(components: &Components, name: &str) -> Object {
    match components.schemas.get(name) {
        Some(RefOr::T(Schema::Object(object))) => object.clone(),
        _ => panic!("{name} is no object"),
    }
}

fn kind_of(resource: &str) -> TargetKind {
    *TargetKind::ALL
        .iter()
        .find(|kind| kind.as_str() == resource)
        .expect("each type of events is about a kind of resource")
}

fn message_name(action: Action) -> String {
    super::pascal_case(action.as_str()) + "Event"
}

fn payload_name(resource: &str) -> String {
    super::pascal_case(resource) + "EventPayload"
}
