//! Variables whose values a buildspec takes from AWS's stores.
//!
//! A variable of the same name that the build gets from the account, the repository, the environment or the deployment stands for the
//! value, with either runner. Only builds by CodeBuild can reach the stores, and only if the operator allows it.

use std::collections::BTreeMap;

use super::finding::{Finding, Position};
use super::spec::Buildspec;

/// A variable of a store.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Stored {
    /// The store that the file names.
    pub store: Store,
    /// The name of the value in the store, as the file has it.
    pub reference: String,
    pub(super) at: Position,
}

/// A store of AWS.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Store {
    /// Parameter Store.
    Parameters,
    /// Secrets Manager.
    Secrets,
}

impl Store {
    /// Returns the key under `env`.
    pub fn key(self) -> &'static str {
        match self {
            Self::Parameters => "parameter-store",
            Self::Secrets => "secrets-manager",
        }
    }
}

impl Buildspec {
    /// Returns the variables of stores that are not among those that the build gets.
    pub fn stored_besides(&self, variables: &BTreeMap<String, String>) -> BTreeMap<String, Stored> {
        let besides = self.stored.iter().filter(|(name, _)| !variables.contains_key(*name));
        besides.map(|(name, stored)| (name.clone(), stored.clone())).collect()
    }

    /// Returns a sentence about each variable of a store that is not among those that the build gets.
    pub fn missing_variables(&self, variables: &BTreeMap<String, String>) -> Vec<Finding> {
        let mut missing: Vec<_> = self
            .stored_besides(variables)
            .into_iter()
            .map(|(name, stored)| {
                let key = stored.store.key();
                Finding::new(
                    stored.at,
                    format!(
                        "`env.{key}` takes {name} from AWS, which builds can't read; set {name} as a variable of the environment, the \
                         repository or the account, or in the deployment's `variables`"
                    ),
                )
            })
            .collect();
        missing.sort_by_key(|finding| finding.at);
        missing
    }
}
