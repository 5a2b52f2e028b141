//! The conversions of a file by `.gitattributes` at checkout: `ident`, line ends, encoding, and Git LFS.

use std::borrow::Cow;

use gix::ObjectId;
use gix::attrs::StateRef;
use gix::attrs::search::Outcome;
use gix::bstr::{BString, ByteSlice};
use gix::filter::plumbing::eol::{AttributesDigest, Configuration, Mode, convert_to_worktree};

use super::encoding::{self, Encoded};
use super::ident;
use crate::checkout::local;
use crate::error::RemoteError;

/// The attributes that count at checkout, in the order in which [`Conversion::of`] reads them.
pub(super) const ATTRIBUTES: [&str; 6] = ["text", "crlf", "eol", "ident", "working-tree-encoding", "filter"];

/// The conversions of one file, in the order in which git applies them.
#[derive(Debug)]
pub(super) struct Conversion {
    ident: bool,
    /// Whether git decides by the content what is text.
    is_auto: bool,
    line_ends: AttributesDigest,
    encoding: Option<BString>,
    /// Whether the file is kept in Git LFS if its content is a pointer. No other filter runs: its program is on the machine of
    /// whoever configured it.
    pub(super) is_lfs: bool,
}

/// A file's content as it is written, and whether its encoding could not be applied.
pub(super) struct Converted<'a> {
    pub(super) content: Cow<'a, [u8]>,
    pub(super) is_not_encoded: bool,
}

impl Conversion {
    /// Reads what was matched for [`ATTRIBUTES`], by the rules of `convert_attrs` in git.
    pub(super) fn of(outcome: &Outcome) -> Self {
        let mut states = outcome.iter_selected().map(|found| found.assignment.state);
        let [text, crlf, eol, ident, encoding, filter] =
            std::array::from_fn(|_| states.next().unwrap_or(StateRef::Unspecified));
        let text = text_of(text).or_else(|| text_of(crlf));
        let line_ends = match (text, value(eol)) {
            (Some(AttributesDigest::Binary), _) => AttributesDigest::Binary,
            (Some(AttributesDigest::TextAuto), Some(b"crlf")) => AttributesDigest::TextAutoCrlf,
            (_, Some(b"crlf")) => AttributesDigest::TextCrlf,
            // Files keep the line ends that git stores.
            _ => AttributesDigest::Binary,
        };
        Self {
            ident: matches!(ident, StateRef::Set),
            is_auto: text == Some(AttributesDigest::TextAuto) && value(eol) != Some(b"lf"),
            line_ends,
            encoding: value(encoding).filter(|name| !name.is_empty()).map(BString::from),
            is_lfs: value(filter) == Some(b"lfs"),
        }
    }

    /// Converts the content of the blob `id`.
    pub(super) fn apply<'a>(&self, content: &'a [u8], id: ObjectId) -> Result<Converted<'a>, RemoteError> {
        let mut content = Cow::Borrowed(content);
        if self.ident {
            // Git streams a file unless it must have all of it to decide.
            let is_streamed = self.encoding.is_none() && !self.is_auto;
            content = Cow::Owned(if is_streamed { ident::stream(&content, id) } else { ident::replace(&content, id) });
        }
        let mut with_crlf = Vec::new();
        let lf_is_native = Configuration { eol: Some(Mode::Lf), ..Configuration::default() };
        if convert_to_worktree(&content, self.line_ends, &mut with_crlf, lf_is_native).map_err(local)? {
            content = Cow::Owned(with_crlf);
        }
        let mut is_not_encoded = false;
        if let Some(name) = self.encoding.as_ref().filter(|_| !content.is_empty()) {
            match encoding::encode(&content, &name.to_str_lossy()) {
                Encoded::Bytes(bytes) => content = Cow::Owned(bytes),
                Encoded::Same => {}
                Encoded::Impossible => is_not_encoded = true,
            }
        }
        Ok(Converted { content, is_not_encoded })
    }

    pub(super) fn encoding(&self) -> Cow<'_, str> {
        self.encoding.as_ref().map_or(Cow::Borrowed("UTF-8"), |name| name.to_str_lossy())
    }
}

fn value(state: StateRef<'_>) -> Option<&[u8]> {
    match state {
        StateRef::Value(value) => Some(value.as_bstr().as_bytes()),
        _ => None,
    }
}

fn text_of(state: StateRef<'_>) -> Option<AttributesDigest> {
    match state {
        StateRef::Set => Some(AttributesDigest::Text),
        StateRef::Unset => Some(AttributesDigest::Binary),
        StateRef::Value(value) if value.as_bstr() == "input" => Some(AttributesDigest::TextInput),
        StateRef::Value(value) if value.as_bstr() == "auto" => Some(AttributesDigest::TextAuto),
        StateRef::Value(_) | StateRef::Unspecified => None,
    }
}
