//! The consumer in an execution environment of Lambda, which builds for one account only.
//!
//! A build runs as the user of the environment, so it can leave files where the next one finds them. The first build decides the
//! account. A message of another account is sent again, for another environment, and then this one ends. Lambda may start the function
//! again in what is left of an environment, with its files, so the function begins by removing them.

use std::future::pending;
use std::sync::{Arc, OnceLock};

use lambda_runtime::{Error, Runtime, service_fn};
use shared::App;
use shared::id::AccountId;
use tokio_util::sync::CancellationToken;
use tower::util::AndThenLayer;

use crate::beneath::Folder;
use crate::consumer::Consumer;
use crate::process;

/// The variable that Lambda sets. A program that plays Lambda on a developer's machine does not.
const IN_LAMBDA: &str = "AWS_LAMBDA_INITIALIZATION_TYPE";

/// The account of an environment. Clones share it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tenant {
    account: Arc<OnceLock<AccountId>>,
    /// Canceled when the environment must end.
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

    /// Ends the environment after the response to its invocation.
    pub(crate) fn end(&self) {
        self.ends.cancel();
    }
}

/// Consumes the queue until Lambda ends the execution environment, or until a message of another account ends it.
///
/// # Errors
/// Fails if files of an earlier build can't be removed, a setting is missing or invalid, or the Runtime API fails.
pub async fn serve(app: &App) -> Result<(), Error> {
    process::own_all_descendants();
    if app.settings().get(IN_LAMBDA).is_some() {
        Folder::open(&std::env::temp_dir())?.clear()?;
    }
    let tenant = Tenant::default();
    let consumer = Consumer::new(app)?.in_environment_of(tenant.clone());
    let (ends, answered) = (tenant.ends.clone(), CancellationToken::new());
    // The Runtime API has the response by then. Asking it for another event would take that event along.
    let stop = {
        let answered = answered.clone();
        AndThenLayer::new(move |()| {
            let (ends, answered) = (ends.clone(), answered.clone());
            async move {
                if ends.is_cancelled() {
                    answered.cancel();
                    pending::<()>().await;
                }
                Ok::<_, Error>(())
            }
        })
    };
    let runtime = Runtime::new(service_fn(|event| consumer.invoke(event))).layer(stop);
    tokio::select! {
        ended = runtime.run() => ended,
        () = answered.cancelled() => Ok(()),
    }
}
