//! The bound of an account's slow look-ups, over all execution environments.
//!
//! A host that takes its time holds an execution for up to [`LOOKUP_TIME`](crate::LOOKUP_TIME). The breakers of a host do not help
//! against somebody who names another host each time. So a look-up that has found nothing after a second counts against its account,
//! as a request does against a rate limit, and ends if the account has too many. Quick look-ups cost no call.

use std::time::Duration;

use shared::App;
use shared::id::AccountId;
use tokio::task::{JoinError, JoinHandle};
use tokio::time::timeout;

use crate::error::RemoteError;

/// The time after which a look-up is slow.
const SLOW_AFTER: Duration = Duration::from_secs(1);

/// Counts the slow look-ups of an account.
#[derive(Clone, Debug)]
pub struct Patience {
    app: App,
    account: AccountId,
}

impl Patience {
    /// Returns the patience with the hosts that an account names.
    pub fn of(app: &App, account: &AccountId) -> Self {
        Self { app: app.clone(), account: account.clone() }
    }

    /// Waits for a look-up, and counts it if it is slow.
    ///
    /// # Errors
    /// Fails if too many look-ups of the account are slow. If the limiter fails, the look-up's own time limit is enough.
    pub(crate) async fn wait<T>(&self, look_up: &mut JoinHandle<T>) -> Result<Result<T, JoinError>, RemoteError> {
        if let Ok(ended) = timeout(SLOW_AFTER, &mut *look_up).await {
            return Ok(ended);
        }
        match self.app.limiter().count_slow_look_up(&self.account).await {
            Some(seconds) => Err(RemoteError::TooManySlow(Duration::from_secs(seconds))),
            None => Ok(look_up.await),
        }
    }
}
