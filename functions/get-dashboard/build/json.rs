//! JSON in the notations of the samples, with the members of an object in the order in which its schema declares them.

use serde_json::Value;

use crate::api::Api;

/// A notation of JSON's values.
#[derive(Clone, Copy)]
pub(crate) struct Notation {
    pub(crate) indent: usize,
    pub(crate) null: &'static str,
    pub(crate) yes: &'static str,
    pub(crate) no: &'static str,
}

/// JSON itself, which is TypeScript and `serde_json::json!` too.
pub(crate) const JSON: Notation = Notation { indent: 2, null: "null", yes: "true", no: "false" };
/// Python.
pub(crate) const PYTHON: Notation = Notation { indent: 4, null: "None", yes: "True", no: "False" };

/// An object or an array in one line has at most this many characters.
const LINE: usize = 60;

/// Writes a value. `before` is the indentation of the line that it begins in.
pub(crate) fn write(api: &Api, schema: &Value, value: &Value, notation: Notation, before: usize) -> String {
    let schema = concrete(api, schema);
    let (inner, outer) = (" ".repeat(before + notation.indent), " ".repeat(before));
    let block = |open: char, items: Vec<String>, close: char| {
        let line = format!("{open}{}{close}", items.join(", "));
        if line.len() <= LINE && !line.contains('\n') {
            return line;
        }
        format!("{open}\n{inner}{}\n{outer}{close}", items.join(&format!(",\n{inner}")))
    };
    match value {
        Value::Object(members) => {
            let item = |name: &String| {
                let value = write(api, &schema["properties"][name], &members[name], notation, before + notation.indent);
                format!("\"{name}\": {value}")
            };
            block('{', ordered(schema, members.keys().collect()).into_iter().map(item).collect(), '}')
        }
        Value::Array(items) => {
            let item = |value| write(api, &schema["items"], value, notation, before + notation.indent);
            block('[', items.iter().map(item).collect(), ']')
        }
        Value::Null => notation.null.to_owned(),
        Value::Bool(true) => notation.yes.to_owned(),
        Value::Bool(false) => notation.no.to_owned(),
        other => other.to_string(),
    }
}

/// Returns names in the order of `required`, and the others after them.
pub(crate) fn ordered<'a>(schema: &Value, mut names: Vec<&'a String>) -> Vec<&'a String> {
    let required: Vec<_> = schema["required"].as_array().into_iter().flatten().collect();
    names.sort_by_key(|name| required.iter().position(|required| *required == *name).unwrap_or(usize::MAX));
    names
}

/// Returns the schema behind references, and the one that is not null of a choice.
pub(crate) fn concrete<'a>(api: &'a Api, schema: &'a Value) -> &'a Value {
    let schema = api.resolved(schema);
    let choice = ["oneOf", "anyOf", "allOf"].iter().find_map(|key| schema[key].as_array());
    match choice.and_then(|choice| choice.iter().find(|schema| schema["type"] != "null")) {
        Some(chosen) => concrete(api, chosen),
        None => schema,
    }
}
