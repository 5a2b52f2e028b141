//! The account that an execution environment of Lambda builds for.

use std::sync::{Arc, OnceLock};

use shared::id::AccountId;
use tokio_util::sync::CancellationToken;

/// The account of an environment. Clones share it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tenant {
    account: Arc<OnceLock<AccountId>>,
    ends: CancellationToken,
}

impl Tenant {
    /// Takes the environment for the builds of an account.
    pub(crate) fn take(&self, account: &AccountId) {
        // Another account's message is refused before it comes here.
        let _ = self.account.set(account.clone());
    }

    /// Returns whether the environment has built for another account.
    pub(crate) fn is_other_than(&self, account: &AccountId) -> bool {
        self.account.get().is_some_and(|own| own != account)
    }

    /// Returns the token that is canceled when the environment must end.
    pub(crate) fn ends(&self) -> CancellationToken {
        self.ends.clone()
    }

    /// Ends the environment after the response to its invocation.
    pub(crate) fn end(&self) {
        self.ends.cancel();
    }
}
