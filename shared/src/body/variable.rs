//! Stored variables.

use serde::Serialize;

use super::ActorBody;
use crate::clock::Rfc3339;
use crate::model::{StoredValue, StoredVariable, VariableSet};

/// The variables of an account, a repository or an environment.
#[derive(Debug, Serialize, utoipa::ToSchema)]
#[schema(as = VariableSet)]
pub struct VariablesBody {
    /// The number of changes so far. Each change makes a version.
    #[schema(examples(3))]
    version: u64,
    /// The variables, by name. They are at most 100.
    data: Vec<VariableBody>,
}

/// A variable that builds get.
#[derive(Debug, Serialize, utoipa::ToSchema)]
#[schema(as = Variable)]
pub struct VariableBody {
    #[schema(examples("API_URL"))]
    name: String,
    /// The value. Null if it is secret: no response contains a secret.
    #[schema(required, examples("https://api.acme.example"))]
    value: Option<String>,
    /// Whether the value is secret. The log of a build shows `***` instead of a secret, and plain values as they are.
    secret: bool,
    /// The version in which the variable got its value.
    #[schema(examples(3))]
    version: u64,
    /// The time at which the variable got its value.
    updated_at: Rfc3339,
    /// Whoever gave the variable its value.
    updated_by: ActorBody,
}

impl VariableBody {
    /// Returns the body of the variable of this name.
    pub fn new(name: impl ToString, row: StoredVariable) -> Self {
        let StoredVariable { value, version, updated_at, updated_by, .. } = row;
        let value = match value {
            StoredValue::Plain(text) => Some(text),
            StoredValue::Sealed(_) => None,
        };
        Self {
            name: name.to_string(),
            secret: value.is_none(),
            value,
            version,
            updated_at: updated_at.into(),
            updated_by: updated_by.into(),
        }
    }
}

impl From<VariableSet> for VariablesBody {
    fn from(set: VariableSet) -> Self {
        let data = set.variables.into_iter().map(|(name, row)| VariableBody::new(name, row)).collect();
        Self { version: set.version, data }
    }
}
