//! The section `cache`.

use std::collections::BTreeMap;
use std::path::Path;

use super::artifacts::patterns;
use super::finding::Position;
use super::node::Node;
use super::pattern;
use super::reading::{Reading, Text};
use super::selection::Selection;

/// The maximum number of fallback keys, as in CodeBuild.
const MAX_FALLBACK_KEYS: usize = 5;
/// The home folder in CodeBuild's images.
const CODEBUILD_HOME: &str = "/root";

/// The files that a build leaves to the next one.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Cache {
    /// The patterns of the files, as the file has them.
    pub paths: Vec<String>,
    /// The key, with variables and commands of the shell. `None` if there is one cache, which each build saves again.
    pub key: Option<String>,
    /// The beginnings of the keys of caches that will do instead, in the order of preference.
    pub fallback_keys: Vec<String>,
    /// Whether a build restores the cache, saves it, or does both.
    pub action: CacheAction,
}

/// The part of caching that a build does.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum CacheAction {
    /// Restores the cache before the first phase, and saves it after the last one.
    #[default]
    Both,
    /// Only restores.
    Restore,
    /// Only saves.
    Save,
}

/// The files of a cache, in the two folders of a build in which it can have any.
#[derive(Clone, Debug)]
pub struct CachedFiles {
    /// The files in the source folder.
    pub source: Selection,
    /// The files in the home folder.
    pub home: Selection,
}

impl CacheAction {
    /// Returns whether a build restores the cache.
    pub fn restores(self) -> bool {
        self != Self::Save
    }

    /// Returns whether a build saves the cache.
    pub fn saves(self) -> bool {
        self != Self::Restore
    }

    /// Returns the value of `action`, if the file needs one.
    pub(super) fn as_str(self) -> Option<&'static str> {
        match self {
            Self::Both => None,
            Self::Restore => Some("restore"),
            Self::Save => Some("save"),
        }
    }
}

impl Cache {
    pub(super) fn read(at: Position, path: &str, node: &Node, reading: &mut Reading) -> Option<Self> {
        let mut section = reading.section(path, node);
        let paths = section.take("paths").map(|(_, key, node)| patterns(reading, &key, node)).unwrap_or_default();
        let key = section.take("key").and_then(|(_, key, node)| reading.cache_key(&key, node));
        let fallback_keys = match section.take("fallback-keys") {
            Some((at, path, _)) if key.is_none() => {
                reading.note(at, format!("`{path}` is ignored without a `key`"));
                Vec::new()
            }
            Some((_, path, node)) => reading.fallback_keys(&path, node),
            None => Vec::new(),
        };
        let action = section.take("action").map(|(_, key, node)| reading.cache_action(&key, node));
        section.finish(reading);
        if paths.is_empty() {
            reading.note(at, format!("no cache is kept: `{path}.paths` names no file"));
            return None;
        }
        let paths = paths.into_iter().map(|text| text.value).collect();
        Some(Self { paths, key, fallback_keys, action: action.unwrap_or_default() })
    }

    /// Returns the selection of files, once the paths' variables have their values, and a sentence about each path that selects
    /// nothing. A path that names a folder selects all files in it. `/root` and `~` are the home folder.
    pub fn select(
        &self,
        source: &Path,
        home: &Path,
        variables: &BTreeMap<String, String>,
    ) -> (CachedFiles, Vec<String>) {
        let (mut in_source, mut in_home) = (Vec::new(), Vec::new());
        for path in &self.paths {
            let path = pattern::expand(path, variables);
            let inside = ["~", CODEBUILD_HOME, &home.to_string_lossy()].into_iter().find_map(|home| {
                let inside = path.strip_prefix(home)?;
                (inside.is_empty() || inside.starts_with('/')).then(|| inside.trim_start_matches('/').to_owned())
            });
            let (list, path) = match inside {
                Some(inside) => (&mut in_home, inside),
                None => (&mut in_source, path),
            };
            let folder = path.trim_end_matches('/');
            list.push(if folder.is_empty() { "**".to_owned() } else { format!("{folder}/**") });
            list.push(path);
        }
        in_home.retain(|path| !path.is_empty());
        let (source, mut unusable) = Selection::new(source, None, &in_source, &[], false);
        let (home, unusable_in_home) = Selection::new(home, None, &in_home, &[], false);
        unusable.extend(unusable_in_home);
        unusable.dedup();
        (CachedFiles { source, home }, unusable)
    }
}

impl Reading {
    fn cache_key(&mut self, path: &str, node: &Node) -> Option<String> {
        let Text { at, value } = self.text(path, node)?;
        let key = value.trim();
        if key.contains('\n') {
            self.refuse(at, format!("`{path}` must be one line"));
        }
        (!key.is_empty()).then(|| key.to_owned())
    }

    fn fallback_keys(&mut self, path: &str, node: &Node) -> Vec<String> {
        let mut keys = self.texts(path, node);
        keys.retain(|key| !key.value.trim().is_empty());
        for key in keys.iter().filter(|key| key.value.trim().contains('\n')) {
            self.refuse(key.at, format!("`{path}` must be lines of text, each with one key"));
        }
        if let Some(first) = keys.get(MAX_FALLBACK_KEYS) {
            self.note(
                first.at,
                format!("`{path}` has more than {MAX_FALLBACK_KEYS} keys; this one and those after it are ignored"),
            );
            keys.truncate(MAX_FALLBACK_KEYS);
        }
        keys.into_iter().map(|key| key.value.trim().to_owned()).collect()
    }

    fn cache_action(&mut self, path: &str, node: &Node) -> CacheAction {
        let Some(action) = self.text(path, node) else { return CacheAction::Both };
        match action.value.to_ascii_lowercase().as_str() {
            "restore" => CacheAction::Restore,
            "save" => CacheAction::Save,
            "" => CacheAction::Both,
            _ => {
                self.refuse(action.at, format!("`{path}` must be restore or save; without it the build does both"));
                CacheAction::Both
            }
        }
    }
}
