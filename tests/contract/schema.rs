//! Validation of values by the schemas of the OpenAPI document.

use serde_json::Value;

/// Checks a value against a schema of the document, by the keywords that the document uses. Fails for a member that the
/// schema of an object does not name, because all that the API answers is documented.
pub(crate) fn conforms(document: &Value, schema: &Value, value: &Value, at: &str) -> Result<(), String> {
    let members = || value.as_object().into_iter().flatten();
    let wrong = |what: &str| Err(format!("{at}: {value} {what}"));
    for (keyword, expected) in schema.as_object().unwrap() {
        match keyword.as_str() {
            "$ref" => {
                let target = expected.as_str().unwrap().trim_start_matches('#');
                conforms(document, document.pointer(target).unwrap(), value, at)?;
            }
            "type" => {
                let fits = |kind: &Value| match kind.as_str().unwrap() {
                    "object" => value.is_object(),
                    "array" => value.is_array(),
                    "string" => value.is_string(),
                    "integer" => value.is_i64() || value.is_u64(),
                    "boolean" => value.is_boolean(),
                    "null" => value.is_null(),
                    other => panic!("{at}: an unknown type {other}"),
                };
                let kinds = expected.as_array().map_or(std::slice::from_ref(expected), Vec::as_slice);
                if !kinds.iter().any(fits) {
                    return wrong(&format!("is not of type {expected}"));
                }
            }
            "enum" if !expected.as_array().unwrap().contains(value) => return wrong(&format!("is none of {expected}")),
            "oneOf" => {
                let schemas = expected.as_array().unwrap().iter();
                if schemas.filter(|schema| conforms(document, schema, value, at).is_ok()).count() != 1 {
                    return wrong(&format!("is not one of {expected}"));
                }
            }
            "minimum" if value.is_number() && value.as_f64() < expected.as_f64() => {
                return wrong(&format!("is less than {expected}"));
            }
            "maximum" if value.as_f64() > expected.as_f64() => return wrong(&format!("is more than {expected}")),
            "format" if expected == "date-time" => {
                let text = value.as_str().unwrap_or_default().as_bytes();
                let template = b"0000-00-00T00:00:00Z".iter();
                let fits = template.zip(text).all(|(t, c)| if *t == b'0' { c.is_ascii_digit() } else { t == c });
                if text.len() != 20 || !fits {
                    return wrong("is not a time");
                }
            }
            "required" => {
                let missing =
                    expected.as_array().unwrap().iter().find(|name| value.get(name.as_str().unwrap()).is_none());
                if let Some(name) = missing {
                    return wrong(&format!("lacks {name}"));
                }
            }
            "properties" => {
                for (name, value) in members() {
                    match expected.get(name).or(schema.get("additionalProperties")) {
                        Some(schema) if schema.is_object() => {
                            conforms(document, schema, value, &format!("{at}.{name}"))?
                        }
                        _ => return wrong(&format!("has an undocumented {name}")),
                    }
                }
            }
            "additionalProperties" if schema.get("properties").is_none() => {
                for (name, value) in members() {
                    conforms(document, expected, value, &format!("{at}.{name}"))?;
                }
            }
            "items" => {
                for (index, item) in value.as_array().into_iter().flatten().enumerate() {
                    conforms(document, expected, item, &format!("{at}[{index}]"))?;
                }
            }
            "minLength"
                if value.as_str().is_some_and(|text| (text.chars().count() as u64) < expected.as_u64().unwrap()) =>
            {
                return wrong(&format!("is shorter than {expected}"));
            }
            "maxLength"
                if value.as_str().is_some_and(|text| text.chars().count() as u64 > expected.as_u64().unwrap()) =>
            {
                return wrong(&format!("is longer than {expected}"));
            }
            "minItems" if value.as_array().is_some_and(|items| (items.len() as u64) < expected.as_u64().unwrap()) => {
                return wrong(&format!("has fewer items than {expected}"));
            }
            "maxItems" if value.as_array().is_some_and(|items| items.len() as u64 > expected.as_u64().unwrap()) => {
                return wrong(&format!("has more items than {expected}"));
            }
            "maxProperties" if members().count() as u64 > expected.as_u64().unwrap() => {
                return wrong("has too many members");
            }
            // Not checked: a pattern would need an engine for regular expressions.
            "additionalProperties"
            | "default"
            | "description"
            | "enum"
            | "examples"
            | "format"
            | "maxItems"
            | "maxLength"
            | "maxProperties"
            | "maximum"
            | "minItems"
            | "minLength"
            | "minimum"
            | "pattern"
            | "propertyNames"
            | "uniqueItems"
            | "writeOnly" => {}
            other => return wrong(&format!("has a schema with the unknown keyword {other}")),
        }
    }
    Ok(())
}
