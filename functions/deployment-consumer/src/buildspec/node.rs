//! The YAML document of a buildspec as a tree. Each node has its position, and each scalar its spelling in the file.

use std::fmt;

use serde::de::{Deserialize, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_saphyr::{DuplicateKeyPolicy, NonFiniteFloatPolicy, Spanned};

use super::finding::{Finding, Position};
use super::parse::MAX_BYTES;
use super::syntax;

/// A value of the document.
#[derive(Clone, Debug)]
pub(super) struct Node {
    pub at: Position,
    pub content: Content,
}

/// The content of a node.
#[derive(Clone, Debug)]
pub(super) enum Content {
    /// Nothing, `~` or `null`.
    Null,
    /// A scalar. CodeBuild reads it as the text in the file: `1.10` and `yes` stay `1.10` and `yes`.
    Text(String),
    List(Vec<Node>),
    /// The entries in the order of the file. A key can occur twice.
    Map(Vec<(Node, Node)>),
}

impl Node {
    /// Reads the only document of a YAML file. Anchors, aliases and merge keys are resolved.
    pub(super) fn read(source: &str) -> Result<Self, Finding> {
        let options = serde_saphyr::options! {
            budget: serde_saphyr::budget! { max_depth: 16, max_total_scalar_bytes: 2 * MAX_BYTES },
            alias_limits: serde_saphyr::alias_limits! { max_total_replayed_events: 1000 },
            duplicate_keys: DuplicateKeyPolicy::PassThrough,
            non_finite_float_policy: NonFiniteFloatPolicy::PassThrough,
            ignore_binary_tag_for_string: true,
            with_snippet: false,
        };
        match serde_saphyr::from_str_with_options::<Spanned<Raw>>(source, options) {
            Ok(raw) => Ok(node(raw, source)),
            Err(error) => Err(syntax::explain(error, source)),
        }
    }

    /// Returns whether the node has no value.
    pub(super) fn is_null(&self) -> bool {
        matches!(self.content, Content::Null)
    }
}

fn node(raw: Spanned<Raw>, source: &str) -> Node {
    let content = match raw.value {
        Raw::Null => Content::Null,
        Raw::Text(text) => Content::Text(text),
        Raw::Typed(canonical) => {
            let span = raw.defined.span();
            let spelled = span.byte_offset().zip(span.byte_len()).and_then(|(offset, length)| {
                let start = usize::try_from(offset).ok()?;
                source.get(start..start + usize::try_from(length).ok()?)
            });
            Content::Text(spelled.map_or(canonical, |spelled| spelled.trim().to_owned()))
        }
        Raw::List(items) => Content::List(items.into_iter().map(|item| node(item, source)).collect()),
        Raw::Map(entries) => {
            Content::Map(entries.into_iter().map(|(key, value)| (node(key, source), node(value, source))).collect())
        }
    };
    Node { at: Position::of(raw.referenced), content }
}

/// A node without its position.
enum Raw {
    Null,
    Text(String),
    /// A plain scalar that YAML reads as a boolean or a number, in YAML's canonical form.
    Typed(String),
    List(Vec<Spanned<Self>>),
    Map(Vec<(Spanned<Self>, Spanned<Self>)>),
}

impl<'de> Deserialize<'de> for Raw {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(RawVisitor)
    }
}

struct RawVisitor;

impl<'de> Visitor<'de> for RawVisitor {
    type Value = Raw;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_unit<E: Error>(self) -> Result<Raw, E> {
        Ok(Raw::Null)
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Raw, E> {
        Ok(Raw::Text(text.to_owned()))
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<Raw, E> {
        Ok(Raw::Typed(value.to_string()))
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<Raw, E> {
        Ok(Raw::Typed(value.to_string()))
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<Raw, E> {
        Ok(Raw::Typed(value.to_string()))
    }

    fn visit_i128<E: Error>(self, value: i128) -> Result<Raw, E> {
        Ok(Raw::Typed(value.to_string()))
    }

    fn visit_u128<E: Error>(self, value: u128) -> Result<Raw, E> {
        Ok(Raw::Typed(value.to_string()))
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<Raw, E> {
        Ok(Raw::Typed(value.to_string()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Raw, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = list.next_element()? {
            items.push(item);
        }
        Ok(Raw::List(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Raw, A::Error> {
        let mut entries = Vec::new();
        while let Some(entry) = map.next_entry()? {
            entries.push(entry);
        }
        Ok(Raw::Map(entries))
    }
}
