//! The lease of a running deployment.

use std::time::Duration;

use shared::App;
use shared::model::Deployment;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use crate::retry::Retry;

/// The time that a runner counts as alive after its last renewal.
pub(crate) const LEASE: Duration = Duration::from_secs(60);
/// The time between two renewals of the lease, and the time limit of a renewal. It is a quarter of the lease: one
/// failed renewal loses nothing, and a runner that is cut off has stopped before its lease expires.
const RENEW_EVERY: Duration = Duration::from_secs(15);
/// The time between two reads of whether the deployment must be canceled.
const POLL_EVERY: Duration = Duration::from_secs(3);
const NOT_RENEWED: &str = "a lease could not be renewed";

/// Renews the lease until it is lost. Returns the reason: another runner holds it, or it expired before it could be
/// renewed. Triggers `stop` when a user asks to cancel the deployment.
pub(crate) async fn hold(app: &App, deployment: &Deployment, stop: &CancellationToken) -> Retry {
    let (clock, log) = (app.clock(), app.log());
    let mut lease_until = deployment.lease_until;
    let mut now = clock.now();
    let mut renew_at = now.plus(RENEW_EVERY);
    loop {
        clock.sleep_until(now.plus(POLL_EVERY)).await;
        now = clock.now();
        if now < renew_at {
            let found = Deployment::load(app.table(), &deployment.account_id, &deployment.id);
            // A failed read is ignored: the next read decides.
            if let Ok(Ok(Some(found))) = timeout(POLL_EVERY, found).await
                && found.cancel_requested_by.is_some()
            {
                stop.cancel();
            }
            continue;
        }
        renew_at = now.plus(RENEW_EVERY);
        let until = now.plus(LEASE);
        match timeout(RENEW_EVERY, deployment.renew_lease(app.table(), now, until)).await {
            Ok(Ok(Some(renewed))) => {
                lease_until = Some(until);
                if renewed.cancel_requested_by.is_some() {
                    stop.cancel();
                }
            }
            Ok(Ok(None)) => return Retry::Stale,
            Ok(Err(error)) => log.warn(NOT_RENEWED, &error),
            Err(elapsed) => log.warn(NOT_RENEWED, &elapsed),
        }
        if lease_until.is_none_or(|until| until <= clock.now()) {
            return Retry::LeaseExpired;
        }
    }
}
