//! Patterns of files, with variables.

use std::collections::BTreeMap;

use globset::{GlobBuilder, GlobSet, GlobSetBuilder};

/// The maximum length of a pattern, in bytes. Patterns with `{}` are parsed recursively.
const MAX_BYTES: usize = 1024;

/// A piece of a text with variables.
enum Piece<'a> {
    Literal(&'a str),
    /// `$NAME` or `${NAME}`.
    Variable(&'a str),
}

/// Returns why the text is not a pattern, as far as that can be said before its variables have values.
pub(super) fn check(text: &str) -> Result<(), String> {
    if text.len() > MAX_BYTES {
        return Err("a pattern must be at most 1,024 bytes long".to_owned());
    }
    if variables(text).next().is_some() { Ok(()) } else { compile([text]).map(drop) }
}

/// Returns whether the pattern means the source folder itself.
pub(super) fn is_source_folder(text: &str) -> bool {
    text.split('/').all(|name| matches!(name, "" | ".")) && !text.starts_with('/')
}

/// Compiles patterns. `*` and `?` do not match a slash.
pub(crate) fn compile<'a>(patterns: impl IntoIterator<Item = &'a str>) -> Result<GlobSet, String> {
    let mut set = GlobSetBuilder::new();
    for text in patterns {
        if text.len() > MAX_BYTES {
            return Err("a pattern must be at most 1,024 bytes long".to_owned());
        }
        let glob = GlobBuilder::new(text).literal_separator(true).build();
        set.add(glob.map_err(|_| format!("{text:?} is no pattern; check its brackets and braces"))?);
    }
    // A set reports a pattern that it can't compile; a single matcher panics.
    set.build().map_err(|_| "a pattern is too complex; use fewer braces".to_owned())
}

/// Returns the names of the variables in a text.
pub(super) fn variables(text: &str) -> impl Iterator<Item = &str> {
    pieces(text).into_iter().filter_map(|piece| match piece {
        Piece::Variable(name) => Some(name),
        Piece::Literal(_) => None,
    })
}

/// Puts the values of the variables into a text. A variable that is not set is empty.
pub(super) fn expand(text: &str, variables: &BTreeMap<String, String>) -> String {
    let value = |piece| match piece {
        Piece::Literal(text) => text,
        Piece::Variable(name) => variables.get(name).map_or("", String::as_str),
    };
    pieces(text).into_iter().map(value).collect()
}

fn pieces(text: &str) -> Vec<Piece<'_>> {
    let mut pieces = Vec::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('$') {
        let (name, end) = match after.strip_prefix('{') {
            Some(braced) => braced.split_once('}').map_or(("", ""), |(name, end)| (name, end)),
            None => after.split_at(after.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(after.len())),
        };
        let is_name = name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
            && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
        if is_name {
            pieces.extend([Piece::Literal(before), Piece::Variable(name)]);
            rest = end;
        } else {
            pieces.push(Piece::Literal(&rest[..=before.len()]));
            rest = after;
        }
    }
    pieces.push(Piece::Literal(rest));
    pieces
}
