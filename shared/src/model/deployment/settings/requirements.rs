//! The environments in which a commit has to succeed before it is deployed to another one.

use serde::{Deserialize, Serialize};

use crate::model::Environment;

/// The maximum number of environments that an environment requires.
pub const MAX_REQUIRED: usize = 5;

/// Different environments, at most [`MAX_REQUIRED`].
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Vec<Environment>")]
pub struct Requirements(Vec<Environment>);

impl TryFrom<Vec<Environment>> for Requirements {
    type Error = String;

    fn try_from(environments: Vec<Environment>) -> Result<Self, String> {
        let has_twice = environments.iter().enumerate().any(|(at, one)| environments[..at].contains(one));
        match environments.len() {
            0..=MAX_REQUIRED if has_twice => Err("must not have an environment twice".to_owned()),
            0..=MAX_REQUIRED => Ok(Self(environments)),
            _ => Err(format!("must have at most {MAX_REQUIRED} entries")),
        }
    }
}

impl Requirements {
    /// Returns the environments.
    pub fn iter(&self) -> impl Iterator<Item = Environment> {
        self.0.iter().copied()
    }

    /// Returns whether no environment is required.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Returns the place of an environment in the list.
    pub(super) fn position(&self, environment: Environment) -> Option<usize> {
        self.iter().position(|one| one == environment)
    }
}
