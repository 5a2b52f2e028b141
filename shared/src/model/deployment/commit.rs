//! The texts of a deployment's commit, for people to read.

use serde::{Deserialize, Serialize};

use crate::name::shown;

/// The maximum length of a subject, in characters. Each copy of the deployment's row in an index contains it.
const MAX_SUBJECT: usize = 120;
/// The maximum length of an author's name, in characters.
const MAX_AUTHOR: usize = 80;

/// The subject and the author of a commit. Anybody who can push chooses both, so they are cut, and characters that can't be seen
/// are replaced.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CommitTexts {
    /// The first paragraph of the message in one line.
    pub subject: String,
    /// The author's name, without the address.
    pub author: String,
    /// Whether the message asks not to be deployed. Counts when a push is followed, and is not stored.
    #[serde(skip)]
    pub asks_to_skip: bool,
}

impl CommitTexts {
    /// Returns the texts as people may see them.
    pub fn new(subject: &str, author: &str) -> Self {
        Self {
            subject: shown(subject.trim(), MAX_SUBJECT),
            author: shown(author.trim(), MAX_AUTHOR),
            asks_to_skip: false,
        }
    }
}
