//! The bounds of the lists in a body, which only the schema of the body declares.

use utoipa::openapi::RefOr;
use utoipa::openapi::schema::{Object, Schema};

use super::Node;
use crate::error::Detail;

/// Returns a detail for each list of a body with fewer or more items than its schema allows.
pub(super) fn exceeded(body: &Node, schema: &Object) -> Vec<Detail> {
    let Node::Object(members) = body else { return Vec::new() };
    let lists = members.iter().filter_map(|(name, value)| {
        let (Node::Array(items), RefOr::T(Schema::Array(list))) = (value, schema.properties.get(name)?) else {
            return None;
        };
        let message = match (list.min_items, list.max_items) {
            (Some(least), _) if items.len() < least => format!("must have at least {}", entries(least)),
            (_, Some(most)) if items.len() > most => format!("must have at most {}", entries(most)),
            _ => return None,
        };
        Some(Detail { field: name.clone(), message })
    });
    lists.collect()
}

fn entries(count: usize) -> String {
    if count == 1 { "one entry".to_owned() } else { format!("{count} entries") }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use serde::Deserialize;

    use crate::input::Input;

    #[derive(Debug, Deserialize, utoipa::ToSchema)]
    #[serde(deny_unknown_fields)]
    #[allow(dead_code, reason = "only the schema and the parser are looked at")]
    struct Gate {
        #[schema(min_items = 1, max_items = 2)]
        keys: Vec<String>,
        #[schema(max_items = 1)]
        guards: Option<Vec<u8>>,
        name: String,
    }

    #[test]
    fn the_bounds_of_a_list_are_those_of_its_schema() {
        for (body, expected) in [
            (r#"{"keys": []}"#, vec![("name", "is required"), ("keys", "must have at least one entry")]),
            (
                r#"{"name": "a", "keys": ["a", "b", "c"], "guards": [1, 2]}"#,
                vec![("keys", "must have at most 2 entries"), ("guards", "must have at most one entry")],
            ),
            (
                r#"{"name": 1, "keys": ["a"], "guards": [1, 256]}"#,
                vec![
                    ("name", "must be a string"),
                    ("guards[1]", "must be a whole number from 0 to 255"),
                    ("guards", "must have at most one entry"),
                ],
            ),
        ] {
            let refused = Input::of_body(body.as_bytes()).unwrap().parse::<Gate>().unwrap_err();
            let details = refused.details().iter();
            let details: BTreeSet<_> = details.map(|detail| (detail.field.as_str(), detail.message.as_str())).collect();
            assert_eq!(details, BTreeSet::from_iter(expected), "{body}");
        }
        for body in [r#"{"name": "a", "keys": ["a", "b"], "guards": null}"#, r#"{"name": "a", "keys": ["a"]}"#] {
            assert!(Input::of_body(body.as_bytes()).unwrap().parse::<Gate>().is_ok(), "{body}");
        }
    }
}
