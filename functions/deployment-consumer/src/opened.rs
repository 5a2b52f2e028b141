//! The variables that a build gets from its deployment, its environment, its repository and its account.

use std::collections::{BTreeMap, BTreeSet};

use futures_util::stream::{self, StreamExt, TryStreamExt};
use shared::App;
use shared::model::{Deployment, DeploymentVariables, Failure, FrozenSet, StoredValue};
use vault::{Vault, VaultError};

use crate::refusal::Refusal;
use crate::retry::Retry;
use crate::variables::Variables;

/// The number of secrets that are opened at once. Each is a call of KMS.
const AT_ONCE: usize = 16;

/// The variables of a build, of which those of the deployment override the environment's, these the repository's, and these the
/// account's.
#[derive(Clone, Default)]
pub(crate) struct BuildVariables {
    pub values: Variables,
    /// The names of those whose values no log shows.
    secret: BTreeSet<String>,
}

impl BuildVariables {
    /// Reads the versions that the deployment has, and opens the secrets that no other variable overrides. Returns the failure of
    /// the deployment if a version does not exist any more.
    pub(crate) async fn open(
        app: &App,
        vault: &Vault,
        deployment: &Deployment,
        fixed: DeploymentVariables,
    ) -> Result<Result<Self, Failure>, Retry> {
        let DeploymentVariables { sealed, plain, sets } = fixed;
        let (mut opened, mut to_open) = (Self::default(), BTreeMap::new());
        let sets = match FrozenSet::load_all(&sets, app.table(), deployment).await? {
            Ok(sets) => sets,
            Err(failure) => return Ok(Err(failure)),
        };
        for (scope, set) in sets {
            for (name, variable) in set.variables {
                opened.values.remove(&name);
                to_open.remove(&name);
                match variable.value {
                    StoredValue::Plain(value) => drop(opened.values.insert(name, value)),
                    StoredValue::Sealed(sealed) => {
                        let context = scope.sealing_context(&name);
                        to_open.insert(name, (context, sealed));
                    }
                }
            }
        }
        let own: Variables = match sealed {
            None => Variables::new(),
            Some(sealed) => {
                let context = Deployment::sealing_context(&deployment.account_id, &deployment.id);
                let json = vault.open(&context, &sealed).await.map_err(not_opened)?;
                serde_json::from_slice(&json).map_err(|error| closed(error.into()))?
            }
        };
        for name in plain.keys().chain(own.keys()) {
            to_open.remove(name);
        }
        let stored = stream::iter(to_open).map(async |(name, (context, sealed))| {
            let value = vault.open(&context, &sealed).await.map_err(not_opened)?;
            Ok::<_, Retry>((name, String::from_utf8(value).map_err(|error| closed(error.into()))?))
        });
        let stored: Variables = stored.buffer_unordered(AT_ONCE).try_collect().await?;
        opened.secret = stored.keys().chain(own.keys()).cloned().collect();
        opened.values.extend(stored.into_iter().chain(plain).chain(own));
        Ok(Ok(opened))
    }

    /// Returns the values that no log shows.
    pub(crate) fn secrets(&self) -> impl Iterator<Item = &str> {
        self.secret.iter().filter_map(|name| self.values.get(name)).map(String::as_str)
    }

    /// Returns the secret variables and the plain ones.
    pub(crate) fn split(self) -> (Variables, Variables) {
        let Self { values, secret } = self;
        values.into_iter().partition(|(name, _)| secret.contains(name))
    }
}

/// The beginning of the cause of a failure.
const CLOSED: &str = "the variables can't be decrypted";

fn not_opened(error: VaultError) -> Retry {
    match error {
        VaultError::Kms { .. } => Refusal::of_vault(CLOSED, error).into(),
        _ => closed(error.into()),
    }
}

fn closed(error: shared::InitError) -> Retry {
    Retry::Infrastructure(CLOSED, error)
}
