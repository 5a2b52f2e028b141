//! The body of a request that sets a variable.

use serde::Deserialize;
use shared::model::VariableName;
use shared::{Error, Result};

use crate::secret;
use crate::value::VariableValue;

/// The value of the variable.
#[derive(Debug, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = NewVariable)]
pub struct VariableRequest {
    /// The value. One that looks like a well-known secret (a token of this API, of GitHub or of Stripe, an AWS access key, a private
    /// key) is accepted only with `"secret": true`.
    pub value: VariableValue,
    /// Whether the value is secret: no response contains it, and the log of a build shows `***` instead.
    #[serde(default)]
    #[schema(default = false)]
    pub secret: bool,
}

impl VariableRequest {
    /// Checks that a variable of this name may have this value in the clear, unless it is secret.
    pub(crate) fn check(&self, name: &VariableName) -> Result<()> {
        match secret::kind(self.value.reveal()) {
            _ if self.secret => Ok(()),
            _ if name.is_credential() => {
                Err(Error::invalid("secret", format!("must be true, because {name} is a credential")))
            }
            Some(kind) => Err(Error::invalid("value", format!("must not be {kind} unless `secret` is true"))),
            None => Ok(()),
        }
    }
}
