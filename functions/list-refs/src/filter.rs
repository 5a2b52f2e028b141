//! The properties of listed refs.

use serde::{Deserialize, Serialize};

/// The kind of a ref.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum RefKind {
    /// A branch.
    Branch,
    /// A tag.
    Tag,
}

/// The start of names of branches and tags.
#[derive(Clone, Debug, Deserialize, utoipa::ToSchema)]
#[serde(try_from = "String")]
#[schema(value_type = String, min_length = 1, max_length = 255, examples("release/"))]
pub struct RefPrefix(String);

/// The properties of the listed refs.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
pub struct RefsFilter {
    /// Returns only branches, or only tags.
    r#type: Option<RefKind>,
    /// Returns only branches and tags whose names start with this text.
    #[param(inline)]
    prefix: Option<RefPrefix>,
}

impl RefKind {
    const ALL: [Self; 2] = [Self::Branch, Self::Tag];

    /// Returns the kind of a ref and its name without the kind, or `None` if it is neither a branch nor a tag.
    pub(crate) fn of(full_name: &str) -> Option<(Self, &str)> {
        Self::ALL.into_iter().find_map(|kind| Some((kind, full_name.strip_prefix(kind.namespace())?)))
    }

    const fn namespace(self) -> &'static str {
        match self {
            Self::Branch => "refs/heads/",
            Self::Tag => "refs/tags/",
        }
    }

    const fn as_str(self) -> &'static str {
        match self {
            Self::Branch => "branch",
            Self::Tag => "tag",
        }
    }
}

impl TryFrom<String> for RefPrefix {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        match text.chars().count() {
            1..=255 => Ok(Self(text)),
            _ => Err("must be 1 to 255 characters"),
        }
    }
}

impl RefsFilter {
    /// Returns the starts of the full names of the listed refs.
    pub(crate) fn prefixes(&self) -> Vec<String> {
        let prefix = self.prefix.as_ref().map_or("", |RefPrefix(prefix)| prefix);
        let kinds = RefKind::ALL.into_iter().filter(|kind| self.r#type.is_none_or(|only| only == *kind));
        kinds.map(|kind| format!("{}{prefix}", kind.namespace())).collect()
    }

    /// Returns the query string of the filter, for links.
    pub(crate) fn query(&self) -> String {
        let mut query = form_urlencoded::Serializer::new(String::new());
        if let Some(kind) = self.r#type {
            query.append_pair("type", kind.as_str());
        }
        if let Some(RefPrefix(prefix)) = &self.prefix {
            query.append_pair("prefix", prefix);
        }
        match query.finish() {
            query if query.is_empty() => query,
            query => format!("?{query}"),
        }
    }
}
