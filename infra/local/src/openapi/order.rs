//! The order of the document's properties: that of their declarations. The maps of `serde_json` sort them by name.

use std::collections::BTreeMap;

use serde::{Serialize, Serializer};
use serde_json::Value;
use utoipa::openapi::schema::{ArrayItems, Schema};
use utoipa::openapi::{OpenApi, RefOr};

/// The names of the properties of the schemas, by the JSON pointers of the objects that have them.
pub(super) struct Order(BTreeMap<String, Vec<String>>);

/// A value that is written in an order.
pub(super) struct Ordered<'a> {
    value: &'a Value,
    pointer: String,
    order: &'a Order,
}

impl Order {
    /// Reads the order of the components.
    pub(super) fn of(document: &OpenApi) -> Self {
        let mut order = Self(BTreeMap::new());
        for (name, schema) in document.components.iter().flat_map(|components| &components.schemas) {
            order.add(schema, format!("/components/schemas/{name}"));
        }
        order
    }

    fn add(&mut self, schema: &RefOr<Schema>, pointer: String) {
        let RefOr::T(schema) = schema else { return };
        match schema {
            Schema::Object(object) => {
                let properties = format!("{pointer}/properties");
                for (name, property) in &object.properties {
                    self.add(property, format!("{properties}/{name}"));
                }
                self.0.insert(properties, object.properties.keys().cloned().collect());
            }
            Schema::Array(array) => {
                if let ArrayItems::RefOrSchema(items) = &array.items {
                    self.add(items, format!("{pointer}/items"));
                }
            }
            Schema::OneOf(choice) => self.add_choices(&choice.items, &format!("{pointer}/oneOf")),
            Schema::AnyOf(choice) => self.add_choices(&choice.items, &format!("{pointer}/anyOf")),
            Schema::AllOf(parts) => self.add_choices(&parts.items, &format!("{pointer}/allOf")),
            _ => {}
        }
    }

    fn add_choices(&mut self, choices: &[RefOr<Schema>], pointer: &str) {
        for (at, choice) in choices.iter().enumerate() {
            self.add(choice, format!("{pointer}/{at}"));
        }
    }

    /// Returns the document as it is to be written.
    pub(super) fn apply<'a>(&'a self, document: &'a Value) -> Ordered<'a> {
        Ordered { value: document, pointer: String::new(), order: self }
    }
}

impl Serialize for Ordered<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Self { value, pointer, order } = self;
        let inner = |name: &str, value| Ordered { value, pointer: format!("{pointer}/{name}"), order };
        match value {
            Value::Object(members) => {
                let mut members: Vec<_> = members.iter().collect();
                if let Some(declared) = order.0.get(pointer) {
                    let place = |name: &String| declared.iter().position(|declared| declared == name);
                    members.sort_by_key(|(name, _)| place(name).unwrap_or(usize::MAX));
                }
                serializer.collect_map(members.into_iter().map(|(name, value)| (name, inner(name, value))))
            }
            Value::Array(items) => {
                let items = items.iter().enumerate();
                serializer.collect_seq(items.map(|(at, value)| inner(&at.to_string(), value)))
            }
            other => other.serialize(serializer),
        }
    }
}
