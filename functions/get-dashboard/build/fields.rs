//! The fields of a schema and the parameters of an operation, as tables.

use serde_json::Value;

use crate::api::{Api, text};
use crate::json::{concrete, ordered};

/// The depth to which a table names the fields of objects in objects.
const DEPTH: usize = 4;

/// A row of a table of fields.
struct Row {
    name: String,
    kind: String,
    required: bool,
    description: String,
}

/// Returns the table of a body's fields.
pub(crate) fn of_body(api: &Api, schema: &Value) -> String {
    let mut rows = Vec::new();
    collect(api, schema, "", 0, &mut rows);
    let line = |row: &Row| {
        let required = if row.required { ", required" } else { "" };
        format!("| `{}` | {}{required} | {} |\n", row.name, row.kind, row.description)
    };
    table("| Field | Type | Description |\n|---|---|---|\n", rows.iter().map(line))
}

/// Returns the table of a response's fields.
pub(crate) fn of_response(api: &Api, schema: &Value) -> String {
    let mut rows = Vec::new();
    collect(api, schema, "", 0, &mut rows);
    let line = |row: &Row| format!("| `{}` | {} | {} |\n", row.name, row.kind, row.description);
    table("| Field | Type | Description |\n|---|---|---|\n", rows.iter().map(line))
}

/// Returns the table of parameters at one place.
pub(crate) fn of_parameters(api: &Api, parameters: &[&Value]) -> String {
    let line = |parameter: &&Value| {
        let schema = &parameter["schema"];
        let description = cell(text(&parameter["description"]), &rules(api, schema));
        format!("| `{}` | {} | {description} |\n", text(&parameter["name"]), kind(api, schema))
    };
    table("| Name | Type | Description |\n|---|---|---|\n", parameters.iter().map(line))
}

fn table(head: &str, lines: impl Iterator<Item = String>) -> String {
    let lines: String = lines.collect();
    if lines.is_empty() { lines } else { format!("{head}{lines}\n") }
}

fn collect(api: &Api, schema: &Value, prefix: &str, depth: usize, rows: &mut Vec<Row>) {
    let schema = concrete(api, schema);
    let Some(properties) = schema["properties"].as_object() else { return };
    let required = schema["required"].as_array();
    for name in ordered(schema, properties.keys().collect()) {
        let field = &properties[name];
        let inner = concrete(api, field);
        let is_list = inner["items"].is_object();
        let full = format!("{prefix}{name}");
        rows.push(Row {
            name: full.clone(),
            kind: kind(api, field),
            required: required.is_some_and(|required| required.iter().any(|required| required == name)),
            description: cell(&description(api, field), &rules(api, field)),
        });
        if depth < DEPTH {
            let (schema, prefix) = match is_list {
                true => (&inner["items"], format!("{full}[].")),
                false => (inner, format!("{full}.")),
            };
            collect(api, schema, &prefix, depth + 1, rows);
        }
    }
}

/// Returns the description of a field, or else that of its type.
fn description(api: &Api, schema: &Value) -> String {
    let choice = ["oneOf", "anyOf"].iter().find_map(|key| schema[key].as_array()).into_iter().flatten();
    let own = std::iter::once(schema).chain(choice).map(|schema| text(&schema["description"]));
    let described = own.chain([text(&concrete(api, schema)["description"])]).find(|text| !text.is_empty());
    described.unwrap_or_default().to_owned()
}

/// Returns the type of a schema: `string`, `array of objects`, `integer or null`.
fn kind(api: &Api, schema: &Value) -> String {
    let inner = concrete(api, schema);
    let names = match &inner["type"] {
        Value::String(name) => vec![name.as_str()],
        Value::Array(names) => names.iter().filter_map(Value::as_str).collect(),
        _ => vec!["any"],
    };
    let mut name = names.iter().find(|name| **name != "null").copied().unwrap_or("null").to_owned();
    if name == "array" {
        name = format!("array of {}s", kind(api, &inner["items"]));
    }
    let choices = ["oneOf", "anyOf"].iter().filter_map(|key| schema[key].as_array()).flatten();
    let is_nullable = names.contains(&"null") || choices.into_iter().any(|choice| choice["type"] == "null");
    if is_nullable { format!("{name} or null") } else { name }
}

/// Returns the values that a schema allows, as sentences.
fn rules(api: &Api, schema: &Value) -> Vec<String> {
    let (own, inner) = (schema, concrete(api, schema));
    let rule = |name: &str| [&own[name], &inner[name], &inner["items"][name]].into_iter().find(|rule| !rule.is_null());
    let mut rules = Vec::new();
    let values = api.resolved(&inner["items"])["enum"].as_array().or(inner["enum"].as_array());
    if let Some(values) = values {
        let values: Vec<_> = values.iter().map(|value| format!("`{}`", text(value))).collect();
        rules.push(format!("One of {}.", values.join(", ")));
    }
    rules.extend(match (rule("minimum"), rule("maximum")) {
        (Some(least), Some(most)) => Some(format!("{least} to {most}.")),
        (Some(least), None) if *least != 0 => Some(format!("At least {least}.")),
        (None, Some(most)) => Some(format!("At most {most}.")),
        _ => None,
    });
    rules.extend(rule("maxLength").map(|most| format!("At most {most} characters.")));
    rules.extend(rule("default").filter(|default| !default.is_null()).map(|default| match default.as_str() {
        Some(text) => format!("Default: `{text}`."),
        None => format!("Default: `{default}`."),
    }));
    rules
}

/// Returns a description and its rules as one cell.
fn cell(description: &str, rules: &[String]) -> String {
    let mut description = description.trim().to_owned();
    if !description.is_empty() && !description.ends_with(['.', '!', '?', ':', '…']) {
        description.push('.');
    }
    let parts = std::iter::once(description.as_str()).chain(rules.iter().map(String::as_str));
    let parts: Vec<_> = parts.filter(|part| !part.is_empty()).collect();
    parts.join(" ").replace('\n', " ").replace('|', "\\|")
}
