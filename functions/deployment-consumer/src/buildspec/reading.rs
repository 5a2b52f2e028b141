//! A reading of the document, which goes on after a problem and so finds all of them.

use super::finding::{BuildspecError, Finding, Position};
use super::node::{Content, Node};

/// The problems and the notes so far.
#[derive(Default)]
pub(super) struct Reading {
    problems: Vec<Finding>,
    notes: Vec<Finding>,
}

/// A text with its position.
#[derive(Clone, Debug)]
pub(super) struct Text {
    pub at: Position,
    pub value: String,
}

/// The map at a key, whose entries are taken one by one.
pub(super) struct Section<'a> {
    /// The path of the key, empty for the document itself.
    path: String,
    entries: Vec<(Text, &'a Node)>,
    known: Vec<&'static str>,
}

impl Reading {
    pub(super) fn refuse(&mut self, at: Position, message: impl Into<String>) {
        self.problems.push(Finding::new(at, message));
    }

    /// Returns the number of problems so far.
    pub(super) fn problems(&self) -> usize {
        self.problems.len()
    }

    /// Notes what will not be done as the file says.
    pub(super) fn note(&mut self, at: Position, message: impl Into<String>) {
        self.notes.push(Finding::new(at, message));
    }

    /// Returns the notes, or all problems if there is one.
    pub(super) fn finish(self) -> Result<Vec<Finding>, BuildspecError> {
        let Self { mut problems, mut notes } = self;
        problems.sort_by_key(|problem| problem.at);
        notes.sort_by_key(|note| note.at);
        if problems.is_empty() { Ok(notes) } else { Err(BuildspecError { problems }) }
    }

    /// Reads a map. A key without a value counts as absent. Of a key that is there twice, the last value counts.
    pub(super) fn section<'a>(&mut self, path: &str, node: &'a Node) -> Section<'a> {
        let mut section = Section { path: path.to_owned(), entries: Vec::new(), known: Vec::new() };
        let entries = match &node.content {
            Content::Null => return section,
            Content::Map(entries) => entries,
            Content::Text(_) | Content::List(_) => {
                self.refuse(node.at, format!("`{path}` must be a map of keys and values"));
                return section;
            }
        };
        for (key, value) in entries {
            let Content::Text(name) = &key.content else {
                self.refuse(key.at, "a key must be a text");
                continue;
            };
            let full = section.full(name);
            if let Some(earlier) = section.entries.iter().position(|(earlier, _)| earlier.value == *name) {
                let (earlier, _) = section.entries.remove(earlier);
                let line = earlier.at.line;
                self.note(
                    key.at,
                    format!("`{full}` is already in line {line}; this value counts, and that one is ignored"),
                );
            }
            section.entries.push((Text { at: key.at, value: name.clone() }, value));
        }
        section
    }

    /// Reads a scalar. No value is an empty text.
    pub(super) fn text(&mut self, key: &str, node: &Node) -> Option<Text> {
        let value = match &node.content {
            Content::Null => String::new(),
            Content::Text(text) if text.contains('\0') => {
                self.refuse(node.at, format!("`{key}` contains a NUL character, which no command can get; remove it"));
                return None;
            }
            Content::Text(text) => text.clone(),
            Content::List(_) => {
                self.refuse(node.at, format!("`{key}` must be a text, not a list"));
                return None;
            }
            Content::Map(_) => {
                self.refuse(
                    node.at,
                    format!("`{key}` must be a text, not a map; quote a text that contains `: ` or starts with `{{`"),
                );
                return None;
            }
        };
        Some(Text { at: node.at, value })
    }

    /// Reads a list of scalars, or one scalar. Items without a value are left out.
    pub(super) fn texts(&mut self, key: &str, node: &Node) -> Vec<Text> {
        let items = match &node.content {
            Content::Null => return Vec::new(),
            Content::List(items) => items.as_slice(),
            Content::Text(_) => std::slice::from_ref(node),
            Content::Map(_) => {
                self.refuse(
                    node.at,
                    format!(
                        "`{key}` must be a list, not a map; start each item with `- `, and quote one that contains `: `"
                    ),
                );
                return Vec::new();
            }
        };
        items.iter().filter(|item| !item.is_null()).filter_map(|item| self.text(key, item)).collect()
    }

    /// Reads one of YAML 1.1's booleans. No value is no.
    pub(super) fn yes_or_no(&mut self, key: &str, node: &Node) -> bool {
        let Some(text) = self.text(key, node) else { return false };
        match text.value.to_ascii_lowercase().as_str() {
            "yes" | "true" | "on" | "y" => true,
            "no" | "false" | "off" | "n" | "" => false,
            _ => {
                self.refuse(text.at, format!("`{key}` must be yes or no"));
                false
            }
        }
    }
}

impl<'a> Section<'a> {
    fn full(&self, key: &str) -> String {
        if self.path.is_empty() { key.to_owned() } else { format!("{}.{key}", self.path) }
    }

    /// Takes the value of a key out of the section, with the key's position and path. A key without a value is absent.
    pub(super) fn take(&mut self, key: &'static str) -> Option<(Position, String, &'a Node)> {
        self.known.push(key);
        let index = self.entries.iter().position(|(name, _)| name.value == key)?;
        let (name, node) = self.entries.remove(index);
        (!node.is_null()).then(|| (name.at, self.full(key), node))
    }

    /// Returns the entries that nothing has taken.
    pub(super) fn rest(self) -> Vec<(Text, &'a Node)> {
        self.entries
    }

    /// Notes the keys that nothing has taken.
    pub(super) fn finish(self, reading: &mut Reading) {
        let known = self.known.join(", ");
        for (key, _) in &self.entries {
            let full = self.full(&key.value);
            reading.note(key.at, format!("`{full}` is unknown and ignored; known here: {known}"));
        }
    }
}
