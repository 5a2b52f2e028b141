//! The settings that say which part of a repository is built, and how.

use std::ops::RangeInclusive;

use serde::{Deserialize, Serialize};

use crate::name::{BuildspecPath, RootFolder};
use crate::number::Whole;

/// The numbers of commits that a build can have of the history.
pub const FETCH_DEPTH: RangeInclusive<u16> = 1..=1000;

/// A number of commits in a request.
pub type FetchDepth = Whole<u16, { *FETCH_DEPTH.start() as u64 }, { *FETCH_DEPTH.end() as u64 }>;

/// The settings of a repository's source. A deployment keeps those of its creation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SourceSettings {
    /// The folder in which a build starts.
    #[serde(default)]
    pub root_folder: RootFolder,
    /// The path of the buildspec from the root folder.
    #[serde(default)]
    pub buildspec_path: BuildspecPath,
    /// The number of commits that a build has of the history, from its own commit backwards.
    #[serde(default = "only_the_commit")]
    pub fetch_depth: u16,
    /// Whether a build has the cache that its buildspec asks for.
    #[serde(default = "kept")]
    pub cache: bool,
}

/// The settings of an environment that take the place of the repository's. Absent ones are the repository's.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SourceOverrides {
    /// The folder in which a build starts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub root_folder: Option<RootFolder>,
    /// The path of the buildspec from the root folder.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub buildspec_path: Option<BuildspecPath>,
    /// Whether a build has the cache that its buildspec asks for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cache: Option<bool>,
}

impl SourceSettings {
    /// Returns the settings of a deployment to an environment with these settings.
    pub fn overridden_by(&self, environment: &SourceOverrides) -> Self {
        let SourceOverrides { root_folder, buildspec_path, cache } = environment.clone();
        Self {
            root_folder: root_folder.unwrap_or_else(|| self.root_folder.clone()),
            buildspec_path: buildspec_path.unwrap_or_else(|| self.buildspec_path.clone()),
            fetch_depth: self.fetch_depth,
            cache: cache.unwrap_or(self.cache),
        }
    }
}

impl Default for SourceSettings {
    fn default() -> Self {
        let (root_folder, buildspec_path) = (RootFolder::default(), BuildspecPath::default());
        Self { root_folder, buildspec_path, fetch_depth: only_the_commit(), cache: kept() }
    }
}

fn only_the_commit() -> u16 {
    *FETCH_DEPTH.start()
}

fn kept() -> bool {
    true
}
