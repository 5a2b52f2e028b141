//! The examples of the OpenAPI document: that of a request is the body of its sample event, and that of a response follows from
//! the examples of its fields.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use serde_json::{Value, json};
use utoipa::Number;
use utoipa::openapi::example::ExampleBuilder;
use utoipa::openapi::path::Operation;
use utoipa::openapi::schema::{Array, ArrayItems, Object, Schema, SchemaType, Type};
use utoipa::openapi::{Content, RefOr};

/// The sample events.
const EVENTS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../events");

/// The schemas of the document, by their names.
pub(super) type Schemas = BTreeMap<String, RefOr<Schema>>;

/// Adds the sample event's body to the body of an operation, and examples to the JSON of its successes.
pub(super) fn add(operation: &mut Operation, function: &str, schemas: &Schemas) {
    if let Some(RefOr::T(body)) = &mut operation.request_body {
        for (kind, content) in &mut body.content {
            show(content, "request", sample_body(function, kind));
        }
    }
    for (_, response) in operation.responses.responses.iter_mut().filter(|(status, _)| status.starts_with('2')) {
        if let RefOr::T(response) = response
            && let Some(content) = response.content.get_mut("application/json")
        {
            add_to(content, "response", schemas);
        }
    }
}

/// Adds an example that follows from the schema. A schema without fields, such as that of the document itself, has none.
pub(super) fn add_to(content: &mut RefOr<Content>, name: &str, schemas: &Schemas) {
    let RefOr::T(Content { schema: Some(schema), .. }) = content else { return };
    let example = of(schemas, schema);
    if example != json!({}) {
        show(content, name, example);
    }
}

fn show(content: &mut RefOr<Content>, name: &str, value: Value) {
    if let RefOr::T(content) = content {
        content.examples.insert(name.to_owned(), ExampleBuilder::new().value(Some(value)).into());
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

/// Returns a value of a schema. A field that may be null is null, unless it or the object in it has an example of its own.
fn of(schemas: &Schemas, schema: &RefOr<Schema>) -> Value {
    let schema = match schema {
        RefOr::T(schema) => schema,
        RefOr::Ref(reference) => {
            let name = reference.ref_location.rsplit('/').next().unwrap_or_default();
            return of(schemas, schemas.get(name).unwrap_or_else(|| panic!("there is no schema {name}")));
        }
    };
    match schema {
        Schema::Object(object) => of_object(schemas, object),
        Schema::Array(array) => of_array(schemas, array),
        Schema::OneOf(choice) => of_choice(schemas, &choice.examples, &choice.items),
        Schema::AnyOf(choice) => of_choice(schemas, &choice.examples, &choice.items),
        _ => Value::Null,
    }
}

fn of_object(schemas: &Schemas, object: &Object) -> Value {
    let default = object.default.as_ref().filter(|default| !default.is_null());
    let declared =
        object.examples.first().or(default).or(object.enum_values.as_ref().and_then(|values| values.first()));
    match (declared, &object.schema_type) {
        (Some(declared), _) => declared.clone(),
        (None, SchemaType::Type(Type::Object)) => {
            object.properties.iter().map(|(name, field)| (name.clone(), of(schemas, field))).collect()
        }
        (None, SchemaType::Type(Type::Boolean)) => json!(false),
        (None, SchemaType::Type(Type::Integer | Type::Number)) => match object.minimum {
            Some(Number::Int(least)) => json!(least),
            Some(Number::UInt(least)) => json!(least),
            Some(Number::Float(least)) if least.fract() == 0.0 => json!(least as i64),
            Some(Number::Float(least)) => json!(least),
            None => json!(1),
        },
        (None, SchemaType::Type(Type::String)) => json!("string"),
        _ => Value::Null,
    }
}

fn of_array(schemas: &Schemas, array: &Array) -> Value {
    let declared = array.examples.first().or(array.default.as_ref().filter(|default| !default.is_null()));
    match (declared, &array.schema_type, &array.items) {
        (Some(declared), ..) => declared.clone(),
        (None, SchemaType::Type(Type::Array), ArrayItems::RefOrSchema(items)) => json!([of(schemas, items)]),
        _ => Value::Null,
    }
}

fn of_choice(schemas: &Schemas, examples: &[Value], choices: &[RefOr<Schema>]) -> Value {
    let is_null = |choice: &RefOr<Schema>| {
        matches!(choice, RefOr::T(Schema::Object(Object { schema_type: SchemaType::Type(Type::Null), .. })))
    };
    match (examples.first(), choices.first()) {
        (Some(example), _) => example.clone(),
        (None, Some(first)) if !choices.iter().any(is_null) => of(schemas, first),
        _ => choices.iter().find_map(|choice| declared_object(schemas, choice)).cloned().unwrap_or_default(),
    }
}

/// Returns the example that an object's schema declares for the whole object.
fn declared_object<'a>(schemas: &'a Schemas, schema: &'a RefOr<Schema>) -> Option<&'a Value> {
    match schema {
        RefOr::Ref(reference) => declared_object(schemas, schemas.get(reference.ref_location.rsplit('/').next()?)?),
        RefOr::T(Schema::Object(Object { schema_type: SchemaType::Type(Type::Object), examples, .. })) => {
            examples.first()
        }
        RefOr::T(_) => None,
    }
}
