//! The variables of a deployment, fixed at its creation.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_bytes::ByteBuf;

use super::Deployment;
use super::approval::digest;
use crate::id::{AccountId, DeploymentId};
use crate::model::{FrozenSet, VariableLevel, key};
use crate::table::{Consistency, Table, TableError};

/// The variables of a deployment: its own, and the versions of those that the account, the repository and the environment have.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeploymentVariables {
    /// The deployment's own secrets, encrypted together. A row from before there were plain variables has all of them here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sealed: Option<ByteBuf>,
    /// The deployment's own plain variables.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub plain: BTreeMap<String, String>,
    /// The versions of stored variables, in the order of precedence.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub sets: Vec<FrozenSet>,
}

/// A variable that the build of a deployment gets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeploymentVariable {
    /// The name.
    pub name: String,
    /// The place in which the variable is set.
    pub level: VariableLevel,
    /// Whether the value is secret.
    pub secret: bool,
    /// The version of the set. `None` for a variable of the deployment itself.
    pub version: Option<u64>,
    /// The value, of a plain variable of the deployment itself.
    pub value: Option<String>,
}

impl DeploymentVariables {
    /// Returns the variables of a deployment. `None` if it has none.
    pub async fn load(table: &Table, account: &AccountId, id: &DeploymentId) -> Result<Option<Self>, TableError> {
        table.get(key::deployment_variables(account, id), Consistency::Strong).await
    }

    /// Returns whether the build gets no variables.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Returns the digest of the variables, which covers the values: plain ones as they are, and secrets as they are encrypted.
    /// `None` if there are no variables.
    pub fn digest(&self) -> Option<String> {
        let Self { sealed, plain, sets } = self;
        let sealed = sealed.as_ref().map(|sealed| digest(sealed));
        if plain.is_empty() && sets.is_empty() {
            return sealed;
        }
        Some(digest(&serde_json::to_vec(&(sealed, plain, sets)).expect("variables are plain data")))
    }

    /// Returns each variable that the build of the deployment gets, by its name, from the place that has precedence.
    pub fn merged(self, deployment: &Deployment) -> Vec<DeploymentVariable> {
        let Self { mut plain, sets, .. } = self;
        let mut merged = BTreeMap::new();
        for FrozenSet { level, version, names, .. } in sets {
            for (name, secret) in names {
                let variable =
                    DeploymentVariable { name: name.clone(), level, secret, version: Some(version), value: None };
                merged.insert(name, variable);
            }
        }
        for name in &deployment.variable_names {
            let (value, level) = (plain.remove(name), VariableLevel::Deployment);
            let secret = value.is_none();
            merged.insert(name.clone(), DeploymentVariable { name: name.clone(), level, secret, version: None, value });
        }
        merged.into_values().collect()
    }
}
