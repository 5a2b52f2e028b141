//! The section `reports`.

use std::collections::BTreeMap;
use std::path::Path;

use super::finding::Position;
use super::node::Node;
use super::reading::Reading;
use super::selection::Selection;
use super::{artifacts, pattern};

/// The files of a report group, which are JUnit XML. Their patterns can contain variables of the build's start.
#[derive(Clone, Debug)]
pub struct Report {
    files: Vec<String>,
    base_directory: Option<String>,
}

impl Report {
    /// Reads the section. Notes each group in a format that is not read.
    pub(super) fn read_all(path: &str, node: &Node, reading: &mut Reading) -> Vec<Self> {
        let mut reports = Vec::new();
        for (name, node) in reading.section(path, node).rest() {
            reports.extend(Self::read(name.at, &format!("{path}.{}", name.value), node, reading));
        }
        reports
    }

    fn read(at: Position, path: &str, node: &Node, reading: &mut Reading) -> Option<Self> {
        let mut section = reading.section(path, node);
        let files = section.take("files").map(|(_, key, node)| artifacts::patterns(reading, &key, node));
        let base_directory = section.take("base-directory");
        let base_directory = base_directory.and_then(|(_, key, node)| artifacts::patterns(reading, &key, node).pop());
        let format = section.take("file-format").and_then(|(_, key, node)| reading.text(&key, node));
        // The reports are read where they are.
        section.take("discard-paths");
        section.finish(reading);
        let format = format.map(|format| format.value.to_ascii_uppercase());
        if let Some(other) = format.filter(|format| format != "JUNITXML" && !format.is_empty()) {
            reading.note(at, format!("`{path}` is ignored: its files are {other}, and only JUNITXML is read"));
            return None;
        }
        let files: Vec<_> = files.unwrap_or_default().into_iter().map(|file| file.value).collect();
        if files.is_empty() {
            reading.note(at, format!("`{path}` is ignored: it names no file"));
            return None;
        }
        Some(Self { files, base_directory: base_directory.map(|directory| directory.value) })
    }

    /// Returns the patterns of the files, all from the source folder.
    pub(super) fn patterns(&self) -> impl Iterator<Item = String> {
        let base = inside(self.base_directory.as_deref().unwrap_or_default()).trim_end_matches('/');
        self.files.iter().map(move |file| match (base, inside(file)) {
            ("" | ".", file) => file.to_owned(),
            (base, file) => format!("{base}/{file}"),
        })
    }

    /// Returns the selection of files in a source folder, and a sentence about each pattern that selects nothing because it leads
    /// out of the folder or is no pattern.
    pub fn select(&self, source: &Path, variables: &BTreeMap<String, String>) -> (Selection, Vec<String>) {
        let files: Vec<_> = self.files.iter().map(|text| pattern::expand(text, variables)).collect();
        let base = self.base_directory.as_ref().map(|base| pattern::expand(base, variables));
        Selection::new(source, base, &files, &[], false)
    }
}

/// Returns a pattern without the source folder at its beginning.
fn inside(pattern: &str) -> &str {
    let source = ["$CODEBUILD_SRC_DIR", "${CODEBUILD_SRC_DIR}"].into_iter().find_map(|name| pattern.strip_prefix(name));
    match source {
        Some("") => "",
        Some(rest) if rest.starts_with('/') => rest.trim_start_matches('/'),
        _ => pattern,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_for_codebuild_start_at_the_source_folder() {
        let of = |files: &[&str], base: Option<&str>| {
            let files = files.iter().map(|file| (*file).to_owned()).collect();
            Report { files, base_directory: base.map(str::to_owned) }.patterns().collect::<Vec<_>>()
        };
        assert_eq!(of(&["a.xml", "**/*"], None), ["a.xml", "**/*"]);
        assert_eq!(
            of(&["**/*", "$CODEBUILD_SRC_DIR/b.xml"], Some("target/reports/")),
            ["target/reports/**/*", "target/reports/b.xml"]
        );
        for source in ["$CODEBUILD_SRC_DIR", "${CODEBUILD_SRC_DIR}", "$CODEBUILD_SRC_DIR/", "."] {
            assert_eq!(of(&["*.xml"], Some(source)), ["*.xml"], "{source}");
        }
        assert_eq!(of(&["*.xml"], Some("$CODEBUILD_SRC_DIRECTORY")), ["$CODEBUILD_SRC_DIRECTORY/*.xml"]);
    }
}
