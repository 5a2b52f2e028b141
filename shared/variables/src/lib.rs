//! Changes of the stored variables of an account, a repository or an environment.

mod request;
mod secret;
mod value;

use std::sync::Arc;

use axum::extract::FromRef;
use serde_bytes::ByteBuf;
use shared::body::VariableBody;
use shared::model::{Author, StoredValue, VariableLevel, VariableName, VariableScope, VariableSet};
use shared::{App, Error, ErrorCode, InitError, Result};
use vault::Vault;

pub use request::VariableRequest;
pub use secret::kind;
pub use value::VariableValue;

/// Sets stored variables. Clones share everything.
#[derive(Clone, Debug)]
pub struct StoredVariables {
    app: App,
    vault: Arc<Vault>,
}

impl StoredVariables {
    /// # Errors
    /// Fails if a setting is missing or malformed.
    pub fn new(app: &App) -> Result<Self, InitError> {
        Ok(Self { app: app.clone(), vault: Arc::new(Vault::new(app)?) })
    }

    /// Creates a variable, or replaces its value.
    ///
    /// # Errors
    /// Fails if the scope may not have the variable, or has too many or too large ones.
    pub async fn set(
        &self,
        scope: &VariableScope,
        name: &VariableName,
        request: VariableRequest,
        author: &Author,
    ) -> Result<VariableBody> {
        let fits = match scope.level() {
            VariableLevel::Environment => Ok(()),
            _ => name.check_outside_of_environments().map_err(|message| Error::invalid("name", message)),
        };
        Error::all([fits, request.check(name)])?;
        let VariableRequest { value, secret } = request;
        let stored = match secret {
            false => StoredValue::Plain(value.reveal().to_owned()),
            true => {
                let sealed = self.vault.seal(&scope.sealing_context(name.as_str()), value.reveal().as_bytes()).await;
                let unavailable = "The secret can't be encrypted at the moment; try again";
                let sealed =
                    sealed.map_err(|error| Error::new(ErrorCode::ServiceUnavailable, unavailable).because(error))?;
                StoredValue::Sealed(ByteBuf::from(sealed))
            }
        };
        let (app, stored) = (&self.app, (stored, value.reveal().len()));
        let variable = VariableSet::put(app.table(), scope, name, stored, author, app.clock().now()).await?;
        Ok(VariableBody::new(name, variable))
    }
}

impl FromRef<StoredVariables> for App {
    fn from_ref(variables: &StoredVariables) -> App {
        variables.app.clone()
    }
}
