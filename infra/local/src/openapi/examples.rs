//! The examples of the OpenAPI document: that of a request is the body of its sample event, and that of a response follows from
//! the examples of its fields.

use std::fs;
use std::path::Path;

use serde_json::{Value, json};
use shared::Route;

/// The sample events.
const EVENTS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../events");

/// Adds an example to the body of each operation, and to each of its successful responses.
pub(super) fn add(document: &mut Value, routes: &[Route]) {
    let schemas = document["components"]["schemas"].clone();
    for route in routes {
        let operation = &mut document["paths"][route.path][route.method.as_str().to_lowercase()];
        let content = operation.pointer_mut("/requestBody/content").and_then(Value::as_object_mut);
        for (kind, media_type) in content.into_iter().flatten() {
            media_type["examples"] = json!({"request": {"value": sample_body(route.function, kind)}});
        }
        let responses = operation["responses"].as_object_mut().expect("every operation has a response");
        for (_, response) in responses.iter_mut().filter(|(status, _)| status.starts_with('2')) {
            if let Some(media_type) = response.pointer_mut("/content/application~1json") {
                let example = example(&schemas, &media_type["schema"]);
                // A schema without fields, such as that of the document itself, has no example.
                if example != json!({}) {
                    media_type["examples"] = json!({"response": {"value": example}});
                }
            }
        }
    }
}

/// Returns the body of a function's sample event. The fields of a form become those of an object.
fn sample_body(function: &str, kind: &str) -> Value {
    let path = Path::new(EVENTS).join(format!("{function}.json"));
    let event = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let event: Value = serde_json::from_str(&event).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let body = event["body"].as_str().unwrap_or_else(|| panic!("events/{function}.json has no body"));
    match kind {
        "application/x-www-form-urlencoded" => {
            form_urlencoded::parse(body.as_bytes()).map(|(name, value)| (name.into_owned(), json!(value))).collect()
        }
        _ => serde_json::from_str(body).unwrap_or_else(|error| panic!("the body of events/{function}.json: {error}")),
    }
}

/// Returns a value of a schema. A field that may be null and has no example of its own is null.
fn example(schemas: &Value, schema: &Value) -> Value {
    if let Some(example) = schema["examples"].get(0) {
        return example.clone();
    }
    if let Some(name) = schema["$ref"].as_str().and_then(|reference| reference.rsplit('/').next()) {
        return example(schemas, &schemas[name]);
    }
    if let Some(value) = schema.get("default").filter(|value| !value.is_null()).or(schema["enum"].get(0)) {
        return value.clone();
    }
    for key in ["oneOf", "anyOf"] {
        if let Some(choices) = schema[key].as_array() {
            let is_nullable = choices.iter().any(|choice| choice["type"] == "null");
            return if is_nullable { Value::Null } else { example(schemas, &choices[0]) };
        }
    }
    match schema["type"].as_str() {
        Some("object") => {
            let fields = schema["properties"].as_object().into_iter().flatten();
            fields.map(|(name, field)| (name.clone(), example(schemas, field))).collect()
        }
        Some("array") => json!([example(schemas, &schema["items"])]),
        Some("boolean") => json!(false),
        Some("integer" | "number") => schema.get("minimum").cloned().unwrap_or_else(|| json!(1)),
        Some("string") => json!("string"),
        _ => Value::Null,
    }
}
