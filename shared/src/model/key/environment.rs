//! The keys of environments.

use sha2::{Digest, Sha256};

use super::RepositoryPartition;
use crate::hex::hex;
use crate::model::Environment;
use crate::table::Key;

/// The range of the sort keys of a repository's patterns. `~` sorts after every character of a name.
pub(in crate::model) const PATTERNS: (&str, &str) = ("PATTERN#", "PATTERN#~");
/// The range of the sort keys of the numbers of deployments to environments that were deleted.
pub(in crate::model) const DELETED_COUNTS: (&str, &str) = ("DELETED#", "DELETED#~");

/// The range of the sort keys of the rows that list a repository's caches.
pub(in crate::model) const BUILD_CACHES: (&str, &str) = ("CACHE#", "CACHE#~");

impl RepositoryPartition {
    /// The settings of an environment or of a pattern. One that is not built in has them as long as it exists.
    pub(in crate::model) fn environment_settings(&self, environment: Environment) -> Key {
        let kind = if environment.is_pattern() { "PATTERN" } else { "ENV" };
        Key::new(self.items(), format!("{kind}#{environment}"))
    }

    /// The numbers of the deployments to an environment that it had when it was deleted.
    pub(in crate::model) fn deleted_counts(&self, environment: Environment) -> Key {
        Key::new(self.items(), format!("DELETED#{environment}"))
    }

    /// The commit of a ref that a push deployed last to an environment.
    pub(in crate::model) fn pushed(&self, ref_name: &str, environment: Environment) -> Key {
        Key::new(self.items(), format!("{}{environment}", pushed_prefix(ref_name)))
    }

    /// The caches of the builds of a branch or tag in an environment.
    pub(in crate::model) fn build_caches(&self, ref_name: &str, environment: Environment) -> Key {
        Key::new(self.items(), format!("CACHE#{}#{environment}", hex(&Sha256::digest(ref_name))))
    }

    /// The range of the sort keys of a ref's commits that pushes deployed last.
    pub(in crate::model) fn pushed_anywhere(ref_name: &str) -> (String, String) {
        let prefix = pushed_prefix(ref_name);
        (prefix.clone(), format!("{prefix}~"))
    }
}

/// Refs are hashed, because they may contain what separates the parts of a key.
fn pushed_prefix(ref_name: &str) -> String {
    format!("PUSHED#{}#", hex(&Sha256::digest(ref_name)))
}

/// The index partition of the environments that are removed if nothing is deployed to them.
pub(in crate::model) fn due_environments() -> String {
    "DUE#ENVIRONMENTS".to_owned()
}
