//! Builds by CodeBuild.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// The id of a build in CodeBuild: the project, a colon and a UUID.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct BuildId(String);

/// The error for a text that is not the id of a build.
#[derive(Debug, thiserror::Error)]
#[error("a build's id is its project, a colon and a UUID")]
pub struct InvalidBuildId;

impl BuildId {
    /// Returns the project, a colon and a UUID.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Returns the name of the CodeBuild project, which is the part before the colon.
    pub fn project(&self) -> &str {
        self.parts().0
    }

    /// Returns the UUID, after which CodeBuild names the build's log stream.
    pub fn uuid(&self) -> &str {
        self.parts().1
    }

    fn parts(&self) -> (&str, &str) {
        self.0.split_once(':').expect("parsing has found the colon")
    }
}

impl FromStr for BuildId {
    type Err = InvalidBuildId;

    fn from_str(text: &str) -> Result<Self, InvalidBuildId> {
        let plain =
            |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_".contains(&b));
        match text.split_once(':') {
            Some((project, uuid)) if plain(project) && plain(uuid) => Ok(Self(text.to_owned())),
            _ => Err(InvalidBuildId),
        }
    }
}

impl TryFrom<String> for BuildId {
    type Error = InvalidBuildId;

    fn try_from(text: String) -> Result<Self, InvalidBuildId> {
        text.parse()
    }
}

impl From<BuildId> for String {
    fn from(id: BuildId) -> Self {
        id.0
    }
}

impl fmt::Display for BuildId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_has_a_project_and_a_uuid() {
        let id: BuildId = "git-api-dev:2d5b9a1c-0a4e-4a50-8f7e-6a6f3f0f5b11".parse().unwrap();
        assert_eq!((id.project(), id.uuid()), ("git-api-dev", "2d5b9a1c-0a4e-4a50-8f7e-6a6f3f0f5b11"));
        for malformed in ["", "x", ":", "a:", ":b", "a:b:c", "a/b:c", "arn:aws:codebuild:x"] {
            assert!(malformed.parse::<BuildId>().is_err(), "{malformed}");
        }
    }
}
