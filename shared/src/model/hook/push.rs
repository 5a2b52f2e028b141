//! The changes of refs that a delivery tells of.

use serde::{Deserialize, Serialize};

/// The maximum size of the paths that a delivery keeps. With more, the paths count as unknown.
const MAX_PATH_BYTES: usize = 64 * 1024;
/// The maximum length of the ID of an account at a git host, in bytes.
const MAX_ACCOUNT_BYTES: usize = 128;

/// A change of a ref.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Push {
    /// The full name of the branch or tag: `refs/heads/main`.
    pub ref_name: String,
    /// The commit that the ref points to after the push. `None` if the push deleted the ref.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sha: Option<String>,
    /// Whether the message of that commit asks not to be deployed.
    pub skips: bool,
    /// The changed paths.
    pub paths: ChangedPaths,
    /// Further facts for the build.
    #[serde(default)]
    pub context: PushContext,
}

/// The circumstances of a push, as the git host tells them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PushContext {
    /// The commit that the ref pointed to before. `None` if the ref is new.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before: Option<String>,
    /// The ID of the account at the git host that pushed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub account: Option<String>,
}

/// The paths that a push changed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ChangedPaths {
    /// All of them.
    Known(Vec<String>),
    /// The reason why they are not known, as a sentence.
    Unknown(String),
}

impl PushContext {
    /// Returns what can be a commit and the ID of an account.
    pub fn new(before: Option<String>, account: Option<String>) -> Self {
        let is_commit = |sha: &String| sha.len() <= 64 && sha.bytes().all(|digit| digit.is_ascii_hexdigit());
        let is_id =
            |id: &String| (1..=MAX_ACCOUNT_BYTES).contains(&id.len()) && id.bytes().all(|c| c.is_ascii_graphic());
        Self { before: before.filter(is_commit), account: account.filter(is_id) }
    }
}

impl ChangedPaths {
    /// Returns the paths of the commits of a push, without repetitions. They are unknown if there are too many to keep.
    pub fn of(paths: impl IntoIterator<Item = String>) -> Self {
        let mut kept = std::collections::BTreeSet::new();
        let mut bytes = 0;
        for path in paths {
            if kept.contains(&path) {
                continue;
            }
            bytes += path.len();
            if bytes > MAX_PATH_BYTES {
                return Self::Unknown("The push changed too many paths to compare them".to_owned());
            }
            kept.insert(path);
        }
        Self::Known(kept.into_iter().collect())
    }

    /// Returns paths that are not known, for this reason.
    pub fn unknown(reason: &str) -> Self {
        Self::Unknown(reason.to_owned())
    }
}

impl Push {
    /// Returns the short name of the branch or tag, for people to read.
    pub fn short_name(&self) -> &str {
        short_name(&self.ref_name)
    }
}

/// Returns the name of a branch or tag without `refs/heads/` or `refs/tags/`.
pub fn short_name(ref_name: &str) -> &str {
    let of_branch = ref_name.strip_prefix("refs/heads/");
    of_branch.or_else(|| ref_name.strip_prefix("refs/tags/")).unwrap_or(ref_name)
}

/// Returns whether the message of a commit asks not to be deployed.
pub fn asks_to_skip(message: &str) -> bool {
    let message = message.to_ascii_lowercase();
    ["[skip deploy]", "[deploy skip]"].iter().any(|mark| message.contains(mark))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_kept_once_and_up_to_a_bound() {
        let paths = |paths: &[&str]| ChangedPaths::of(paths.iter().map(|path| (*path).to_owned()));
        assert_eq!(paths(&["b", "a", "b"]), ChangedPaths::Known(vec!["a".to_owned(), "b".to_owned()]));
        let long = "x".repeat(MAX_PATH_BYTES);
        assert!(matches!(paths(&[&long, &long]), ChangedPaths::Known(_)));
        assert!(matches!(paths(&[&long, "y"]), ChangedPaths::Unknown(_)));
    }

    #[test]
    fn a_commit_asks_to_be_skipped_in_two_ways() {
        for message in ["Fix [skip deploy]", "Fix\n\n[Deploy Skip]", "[SKIP DEPLOY]"] {
            assert!(asks_to_skip(message), "{message}");
        }
        for message in ["", "skip deploy", "[skip ci]", "[skip  deploy]"] {
            assert!(!asks_to_skip(message), "{message}");
        }
    }

    #[test]
    fn a_short_name_is_that_of_a_branch_or_a_tag() {
        assert_eq!(short_name("refs/heads/feature/x"), "feature/x");
        assert_eq!(short_name("refs/tags/v1"), "v1");
        assert_eq!(short_name("refs/pull/7/head"), "refs/pull/7/head");
    }
}
