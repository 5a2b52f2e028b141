//! The section `artifacts`.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use super::finding::Position;
use super::node::Node;
use super::pattern;
use super::reading::{Reading, Text};
use super::selection::Selection;

/// The files that are the build's result. Their patterns can contain variables, which have their values only after the last
/// command.
#[derive(Clone, Debug)]
pub struct Artifacts {
    /// The patterns of the files, as the file has them.
    pub files: Vec<String>,
    /// The pattern of the folder that the other patterns start from.
    pub base_directory: Option<String>,
    /// The patterns of files that are left out.
    pub exclude_paths: Vec<String>,
    /// Whether a file is named without its folders.
    pub discard_paths: bool,
    /// Whether symbolic links are kept as links.
    pub enable_symlinks: bool,
}

impl Artifacts {
    pub(super) fn read(at: Position, path: &str, node: &Node, reading: &mut Reading) -> Option<Self> {
        let mut section = reading.section(path, node);
        let files = section.take("files").map(|(at, key, node)| (at, patterns(reading, &key, node), key));
        let base_directory = match section.take("base-directory") {
            Some((_, key, node)) => patterns(reading, &key, node).pop().map(|directory| directory.value),
            None => None,
        };
        let exclude_paths = match section.take("exclude-paths") {
            Some((_, key, node)) => patterns(reading, &key, node),
            None => Vec::new(),
        };
        let mut flag = |key, reading: &mut Reading| {
            section.take(key).is_some_and(|(_, key, node): (_, String, _)| reading.yes_or_no(&key, node))
        };
        let discard_paths = flag("discard-paths", reading);
        let enable_symlinks = flag("enable-symlinks", reading);
        for (key, why) in [
            ("name", "the API names the artifacts by their deployment"),
            ("s3-prefix", "the API chooses where artifacts are stored"),
            ("secondary-artifacts", "a deployment has one set of artifacts"),
        ] {
            if let Some((at, key, _)) = section.take(key) {
                reading.note(at, format!("`{key}` is ignored: {why}"));
            }
        }
        section.finish(reading);
        let (at, files, key) = files.unwrap_or((at, Vec::new(), format!("{path}.files")));
        for file in files.iter().filter(|file| pattern::is_source_folder(&file.value)) {
            reading.refuse(file.at, format!("`{key}`: {:?} names a folder; write `**/*` for all files", file.value));
        }
        if files.is_empty() {
            reading.note(at, format!("no artifacts are kept: `{key}` names no file"));
            return None;
        }
        let values = |texts: Vec<Text>| texts.into_iter().map(|text| text.value).collect();
        Some(Self {
            files: values(files),
            base_directory,
            exclude_paths: values(exclude_paths),
            discard_paths,
            enable_symlinks,
        })
    }

    /// Returns the names of the variables in the patterns.
    pub fn variables(&self) -> BTreeSet<&str> {
        self.patterns().flat_map(pattern::variables).collect()
    }

    /// Returns the selection of files in a source folder, once the patterns' variables have their values, and a sentence about
    /// each pattern that selects nothing because it leads out of the folder or is no pattern.
    pub fn select(&self, source: &Path, variables: &BTreeMap<String, String>) -> (Selection, Vec<String>) {
        let expanded = |texts: &[String]| texts.iter().map(|text| pattern::expand(text, variables)).collect::<Vec<_>>();
        let base = self.base_directory.as_ref().map(|base| pattern::expand(base, variables));
        Selection::new(source, base, &expanded(&self.files), &expanded(&self.exclude_paths), self.discard_paths)
    }

    fn patterns(&self) -> impl Iterator<Item = &str> {
        self.files.iter().chain(&self.base_directory).chain(&self.exclude_paths).map(String::as_str)
    }
}

/// Reads patterns of files. A pattern without variables must be one already.
pub(super) fn patterns(reading: &mut Reading, key: &str, node: &Node) -> Vec<Text> {
    let mut patterns = reading.texts(key, node);
    patterns.retain(|text| !text.value.is_empty());
    for text in &patterns {
        if let Err(why) = pattern::check(&text.value) {
            reading.refuse(text.at, format!("`{key}`: {why}"));
        }
    }
    patterns
}
