//! Bodies and query strings, parsed into types.
//!
//! A request is first read into [`Node`]s. A type's `Deserialize` then asks each node for a kind of value, and a node that is
//! of another kind says which kind was asked for. So a message never comes from a parser and never repeats a value, which
//! may be a secret.

mod bounds;
mod deserializer;
mod misfit;

use std::borrow::Cow;
use std::collections::HashSet;

use serde::de::{DeserializeOwned, DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, de};
use serde_json::Number;
use utoipa::PartialSchema;
use utoipa::openapi::RefOr;
use utoipa::openapi::schema::{Object, Schema};

use self::misfit::Step;
use crate::error::{Detail, Error, ErrorCode, MAX_DETAILS, REQUIRED, Result};

/// The depth below which values are skipped. No endpoint takes a body as deep.
const MAX_DEPTH: usize = 64;

/// The fields of a body or a query string.
pub(crate) struct Input {
    /// The name of the whole input in the `details` of an error.
    name: &'static str,
    root: Node,
}

impl Input {
    /// # Errors
    /// Fails with `invalid_json` if the text is not JSON in UTF-8.
    pub(crate) fn of_body(body: &[u8]) -> Result<Self> {
        let not_json = |why: String| Error::new(ErrorCode::InvalidJson, format!("The body is not valid JSON: {why}"));
        let text = std::str::from_utf8(body).map_err(|error| not_json(error.to_string()))?;
        let root = Node::of_json(text).map_err(|error| not_json(error.to_string()))?;
        Ok(Self { name: "body", root })
    }

    /// Reads a query string. All of its values are strings.
    pub(crate) fn of_query(query: &str) -> Self {
        Self::of_pairs("query", query.as_bytes())
    }

    /// Reads a form in a body. All of its values are strings.
    pub(crate) fn of_form(body: &[u8]) -> Self {
        Self::of_pairs("body", body)
    }

    fn of_pairs(name: &'static str, encoded: &[u8]) -> Self {
        let pairs = form_urlencoded::parse(encoded);
        let members = pairs.map(|(name, value)| (name.into_owned(), Node::String(value.into_owned())));
        Self { name, root: Node::Object(members.collect()) }
    }

    /// Reads a body.
    ///
    /// # Errors
    /// Fails with `invalid_request` if fields are missing or do not fit `T`. `details` names each by its path.
    pub(crate) fn parse<T: DeserializeOwned + PartialSchema>(&self) -> Result<T> {
        let schema = fields::<T>();
        let outside = bounds::exceeded(&self.root, &schema);
        let mut details = match self.read() {
            Ok(read) if outside.is_empty() => return Ok(read),
            Ok(_) => Vec::new(),
            Err(misfits) => misfits.into_iter().chain(self.missing(&schema.required)).collect(),
        };
        details.extend(outside);
        // A type may tell its own bounds, and the first missing field.
        let mut told = HashSet::new();
        details.retain(|detail| told.insert(detail.field.clone()));
        Err(Error::invalid_fields(details))
    }

    /// Reads the fields of `T`.
    ///
    /// # Errors
    /// Fails with a detail for each field that does not fit, and for the first required field of `T` that is missing.
    pub(crate) fn read<T: DeserializeOwned>(&self) -> Result<T, Vec<Detail>> {
        let mut rest = Cow::Borrowed(&self.root);
        let (mut details, mut left_out) = (Vec::new(), Vec::<Vec<Step>>::new());
        while details.len() < MAX_DETAILS {
            let misfit = match T::deserialize(rest.as_ref()) {
                Ok(read) if details.is_empty() => return Ok(read),
                Ok(_) => break,
                Err(misfit) => misfit,
            };
            // A field that was left out may be missing, and its object or array too short, only here.
            let mut place = misfit.place();
            if !left_out.iter().any(|field| field.starts_with(&place)) {
                details.push(Detail { field: misfit.path(self.name), message: misfit.message });
            }
            // A type stops at its first misfit. Without that field, or the object that lacks it, the type tells the next.
            while !place.is_empty() && !rest.to_mut().leave_out(&place) {
                place.pop();
            }
            if place.is_empty() {
                break;
            }
            left_out.push(place);
        }
        Err(details)
    }

    /// Returns a detail for each of these members that the input lacks.
    fn missing(&self, required: &[String]) -> Vec<Detail> {
        let Node::Object(members) = &self.root else { return Vec::new() };
        let missing = required.iter().filter(|name| !members.iter().any(|(member, _)| member == *name));
        missing.map(|name| Detail { field: name.clone(), message: REQUIRED.to_owned() }).collect()
    }

    /// Returns a detail for each parameter of a query string that is not one of `known`.
    pub(crate) fn unknown(&self, known: impl Iterator<Item = &'static str> + Clone) -> Vec<Detail> {
        let Node::Object(members) = &self.root else { return Vec::new() };
        let mut names: Vec<&str> = members.iter().map(|(name, _)| name.as_str()).collect();
        names.retain(|name| !known.clone().any(|known| known == *name));
        names.sort_unstable();
        names.dedup();
        let known: Vec<_> = known.collect();
        let detail = |name: &str| Detail { field: name.to_owned(), message: misfit::unknown(&known) };
        names.into_iter().take(MAX_DETAILS).map(detail).collect()
    }
}

/// Returns the schema of a body. `serde` knows neither the bounds of its lists nor all of its required fields.
fn fields<T: PartialSchema>() -> Object {
    match T::schema() {
        RefOr::T(Schema::Object(object)) => object,
        _ => Object::new(),
    }
}

/// A JSON value that keeps each member of an object, also those with the same name.
#[derive(Clone)]
enum Node {
    Null,
    Bool(bool),
    Number(Number),
    String(String),
    Array(Vec<Node>),
    Object(Vec<(String, Node)>),
    /// A value below [`MAX_DEPTH`], of which nothing but its place is known.
    Skipped,
    /// A value that does not fit. It is left out of its object or array, and the others keep their places.
    LeftOut,
}

impl Node {
    /// Leaves out the value at this place. Returns whether there was one.
    fn leave_out(&mut self, place: &[Step]) -> bool {
        let Some((step, inside)) = place.split_first() else {
            return !matches!(std::mem::replace(self, Self::LeftOut), Self::LeftOut);
        };
        match (self, step) {
            (Self::Object(members), Step::Member(name)) => {
                let same = members.iter_mut().filter(|(member, _)| member == name);
                same.fold(false, |found, (_, value)| value.leave_out(inside) | found)
            }
            (Self::Array(items), Step::Item(index)) => items.get_mut(*index).is_some_and(|item| item.leave_out(inside)),
            _ => false,
        }
    }

    fn of_json(text: &str) -> serde_json::Result<Self> {
        let mut json = serde_json::Deserializer::from_str(text);
        let node = Reader { depth: 0 }.deserialize(&mut json)?;
        json.end()?;
        Ok(node)
    }
}

/// Reads the node at a depth.
#[derive(Clone, Copy)]
struct Reader {
    depth: usize,
}

impl Reader {
    fn inside(self) -> Self {
        Self { depth: self.depth + 1 }
    }
}

impl<'de> DeserializeSeed<'de> for Reader {
    type Value = Node;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Node, D::Error> {
        match self.depth {
            MAX_DEPTH.. => IgnoredAny::deserialize(deserializer).map(|IgnoredAny| Node::Skipped),
            _ => deserializer.deserialize_any(self),
        }
    }
}

impl<'de> Visitor<'de> for Reader {
    type Value = Node;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<Node, E> {
        Ok(Node::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Node, E> {
        Ok(Node::Bool(value))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Node, E> {
        Ok(Node::Number(value.into()))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Node, E> {
        Ok(Node::Number(value.into()))
    }

    /// Reads `47.0` as 47. JSON does not tell them apart.
    fn visit_f64<E: de::Error>(self, value: f64) -> Result<Node, E> {
        /// The largest number below which each whole number is exact.
        const EXACT: f64 = 9_007_199_254_740_992.0;
        if value.fract() == 0.0 && value.abs() < EXACT {
            return Ok(Node::Number((value as i64).into()));
        }
        Number::from_f64(value).map(Node::Number).ok_or_else(|| E::custom("number out of range"))
    }

    fn visit_str<E>(self, value: &str) -> Result<Node, E> {
        Ok(Node::String(value.to_owned()))
    }

    fn visit_string<E>(self, value: String) -> Result<Node, E> {
        Ok(Node::String(value))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Node, A::Error> {
        let mut nodes = Vec::new();
        while let Some(node) = items.next_element_seed(self.inside())? {
            nodes.push(node);
        }
        Ok(Node::Array(nodes))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Node, A::Error> {
        let mut nodes = Vec::new();
        while let Some(name) = members.next_key()? {
            nodes.push((name, members.next_value_seed(self.inside())?));
        }
        Ok(Node::Object(nodes))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    #[derive(Debug, Deserialize, PartialEq, utoipa::ToSchema)]
    #[serde(deny_unknown_fields)]
    struct Door {
        name: String,
        #[serde(default)]
        color: Color,
        size: Option<Size>,
        #[serde(default)]
        locks: Vec<Size>,
        #[serde(default)]
        notes: BTreeMap<String, String>,
        open: Option<bool>,
        weight: Option<f64>,
        offset: Option<i8>,
    }

    #[derive(Debug, Default, Deserialize, PartialEq, utoipa::ToSchema)]
    #[serde(rename_all = "lowercase")]
    enum Color {
        #[default]
        Red,
        Green,
    }

    #[derive(Debug, Deserialize, PartialEq, utoipa::ToSchema)]
    struct Size {
        width: u8,
    }

    fn parse(text: &str) -> Result<Door> {
        Input::of_body(text.as_bytes())?.parse()
    }

    #[test]
    fn a_body_is_parsed() {
        let door = parse(
            r#"{"name": "a", "color": "green", "size": {"width": 255, "depth": 1}, "locks": [{"width": 0}],
                "notes": {"b": "c"}, "open": true, "weight": 2, "offset": -128}"#,
        );
        let expected = Door {
            name: "a".to_owned(),
            color: Color::Green,
            size: Some(Size { width: 255 }),
            locks: vec![Size { width: 0 }],
            notes: BTreeMap::from([("b".to_owned(), "c".to_owned())]),
            open: Some(true),
            weight: Some(2.0),
            offset: Some(-128),
        };
        assert_eq!(door.unwrap(), expected);
        let same = parse(r#"{"name": "a", "size": {"width": 255.0}, "weight": 2.0, "offset": -1.28e2}"#).unwrap();
        assert_eq!((same.size, same.weight, same.offset), (Some(Size { width: 255 }), Some(2.0), Some(-128)));
        let least = parse(r#"{"name": "a", "size": null, "open": null}"#).unwrap();
        assert_eq!((least.size, least.open, least.color), (None, None, Color::Red));
    }

    #[test]
    fn a_misfit_is_named_by_its_path_and_by_what_is_wanted() {
        let deep = format!(r#"{{"name": {}1{}}}"#, "[".repeat(1000), "]".repeat(1000));
        let deep_inside = format!(r#"{{"name": "a", "locks": {}1{}}}"#, "[".repeat(100), "]".repeat(100));
        for (body, message) in [
            ("[]", "body must be an object"),
            ("null", "body must be an object"),
            ("{}", "name is required"),
            (r#"{"name": null}"#, "name must be a string"),
            (&deep, "name must be a string"),
            (r#"{"name": "a", "name": "b"}"#, "name is given twice"),
            (
                r#"{"name": "a", "Name": "b"}"#,
                "Name is not one of `name`, `color`, `size`, `locks`, `notes`, `open`, `weight`, `offset`",
            ),
            (r#"{"color": "blue"}"#, "2 fields are invalid"),
            (r#"{"name": "a", "color": "blue"}"#, "color must be `red` or `green`"),
            (r#"{"name": "a", "color": {"red": null}}"#, "color must be a string"),
            (r#"{"name": "a", "size": []}"#, "size must be an object"),
            (r#"{"name": "a", "size": {}}"#, "size.width is required"),
            (r#"{"name": "a", "size": {"width": 256}}"#, "size.width must be a whole number from 0 to 255"),
            (r#"{"name": "a", "size": {"width": -1}}"#, "size.width must be a whole number from 0 to 255"),
            (r#"{"name": "a", "size": {"width": 1.5}}"#, "size.width must be a whole number from 0 to 255"),
            (r#"{"name": "a", "size": {"width": "1"}}"#, "size.width must be a whole number from 0 to 255"),
            (r#"{"name": "a", "size": {"width": 1, "width": 1}}"#, "size.width is given twice"),
            (r#"{"name": "a", "locks": {}}"#, "locks must be an array"),
            (
                r#"{"name": "a", "locks": [{"width": 1}, {"width": true}]}"#,
                "locks[1].width must be a whole number from 0 to 255",
            ),
            (&deep_inside, "locks[0] must be an object"),
            (r#"{"name": "a", "notes": {"a.b": 1}}"#, "notes.a.b must be a string"),
            (r#"{"name": "a", "open": "yes"}"#, "open must be a boolean"),
            (r#"{"name": "a", "weight": "1"}"#, "weight must be a number"),
            (r#"{"name": "a", "offset": 128}"#, "offset must be a whole number from -128 to 127"),
        ] {
            let refused = parse(body).unwrap_err();
            assert_eq!((refused.code(), refused.message()), (ErrorCode::InvalidRequest, message), "{body:.60}");
        }
    }

    #[derive(Debug, Deserialize, PartialEq, utoipa::ToSchema)]
    #[serde(deny_unknown_fields)]
    struct House {
        street: String,
        number: u8,
        door: Option<Size>,
        #[serde(default)]
        floors: u8,
        windows: Vec<Size>,
    }

    #[test]
    fn all_missing_unknown_and_unfit_fields_are_told_at_once() {
        let required = "is required";
        let no_width = "must be a whole number from 0 to 255";
        let unknown = "is not one of `street`, `number`, `door`, `floors`, `windows`";
        for (body, expected) in [
            ("{}", vec![("street", required), ("number", required), ("windows", required)]),
            (
                r#"{"number": "1", "x": 1, "y": 2}"#,
                vec![("number", no_width), ("x", unknown), ("y", unknown), ("street", required), ("windows", required)],
            ),
            (
                r#"{"street": "a", "door": {}, "windows": [{"width": 1}, {"width": -1}, 5, {}]}"#,
                vec![
                    ("door.width", required),
                    ("windows[1].width", no_width),
                    ("windows[2]", "must be an object"),
                    ("windows[3].width", required),
                    ("number", required),
                ],
            ),
            (
                r#"{"street": "a", "street": 1, "windows": []}"#,
                vec![("street", "is given twice"), ("number", required)],
            ),
            ("[]", vec![("body", "must be an object")]),
        ] {
            let refused = Input::of_body(body.as_bytes()).unwrap().parse::<House>().unwrap_err();
            let details = refused.details().iter();
            let details: Vec<_> = details.map(|detail| (detail.field.as_str(), detail.message.as_str())).collect();
            assert_eq!(details, expected, "{body}");
        }
    }

    #[test]
    fn a_text_that_is_not_json_has_its_own_code() {
        let unclosed = format!(r#"{{"name": {}"#, "[".repeat(100_000));
        for body in ["", "{", "{\"name\": \"a\"} x", "{\"name\": 1e400}", "{\"name\": \"\\ud800\"}", &unclosed] {
            assert_eq!(parse(body).unwrap_err().code(), ErrorCode::InvalidJson, "{body:.60}");
        }
        let refused = Input::of_body(b"{\"name\": \"\xff\"}").err().unwrap();
        assert_eq!(refused.code(), ErrorCode::InvalidJson);
    }

    #[test]
    fn a_query_is_parsed() {
        let query = |text| Input::of_query(text).read::<Door>().map_err(Error::invalid_fields);
        assert_eq!(query("name=a+b%26&color=green").unwrap().name, "a b&");
        for (text, message) in [
            ("", "name is required"),
            ("name=a&name=b", "name is given twice"),
            ("name=a&color=blue", "color must be `red` or `green`"),
        ] {
            assert_eq!(query(text).unwrap_err().message(), message, "{text}");
        }
    }
}
