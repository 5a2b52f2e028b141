//! Gives back the permits that no deployment holds, and sends the messages of accounts whose turn has come.

use shared::InitError;
use shared::clock::Timestamp;
use shared::model::{AccountPermits, Deployment, Permit, StackPermits};
use shared::table::TableError;

use crate::Sweep;
use crate::tally::{PermitLine, Tally};

/// The number of permits that one sweep compares with their deployments. The next sweep compares the next ones.
const AT_ONCE: usize = 10;

/// The state of a permit that a set has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum PermitState {
    /// The permit's deployment is in progress.
    Held,
    /// The end of the run has given the permit back meanwhile.
    GivenBack,
    /// Nobody held the permit, and the sweep has given it back.
    WasLost,
}

impl Sweep {
    /// Gives back permits of deployments that are not in progress with them, which only a fault in the code or a change by hand leaves
    /// behind. Then sends the messages of those whose turn has come, in case the ones that were sent are lost.
    pub(crate) async fn check_permits(&self, tally: &mut Tally, now: Timestamp) {
        if let Err(error) = self.try_check_permits(tally, now).await {
            self.failed(tally, &*error);
        }
    }

    async fn try_check_permits(&self, tally: &mut Tally, now: Timestamp) -> Result<(), InitError> {
        let table = self.app.table();
        let mut stack = StackPermits::load(table).await?;
        let minutes = usize::try_from(now.as_seconds() / 60).unwrap_or_default();
        let first = minutes.wrapping_mul(AT_ONCE) % stack.running.len().max(1);
        let some: Vec<_> =
            stack.running.iter().cycle().skip(first).take(AT_ONCE.min(stack.running.len())).cloned().collect();
        for name in some {
            let Ok(permit) = name.parse::<Permit>() else { continue };
            match self.check_permit(&permit).await? {
                PermitState::Held => continue,
                PermitState::WasLost => {
                    tally.repaired += 1;
                    tally.sent += u32::from(self.queue.send_first(&self.app, &permit.account_id).await?);
                }
                PermitState::GivenBack => {}
            }
            stack.running.remove(&name);
        }
        let sent = self.queue.send_turns(&self.app, stack, |stack| stack.next(self.builds_at_once)).await?;
        tally.sent += u32::try_from(sent).unwrap_or(u32::MAX);
        Ok(())
    }

    /// Gives back permits of an account that are lost, for a deployment of the account that waits for one. Only the account's set may
    /// have them. Returns their number.
    pub(crate) async fn check_permits_of(&self, waiting: &Deployment) -> Result<u32, TableError> {
        let account = AccountPermits::load(self.app.table(), &waiting.account_id).await?;
        let mut lost = 0;
        for permit in account.running.iter().filter_map(|name| name.parse().ok()).take(AT_ONCE) {
            lost += u32::from(self.check_permit(&permit).await? == PermitState::WasLost);
        }
        Ok(lost)
    }

    /// Gives a permit back that no deployment holds.
    async fn check_permit(&self, permit: &Permit) -> Result<PermitState, TableError> {
        let table = self.app.table();
        // The deployment is read after the permit, and never takes the permit of this number again.
        let found = Deployment::load(table, &permit.account_id, &permit.deployment_id).await?;
        if found.is_some_and(|found| found.holds(permit)) {
            return Ok(PermitState::Held);
        }
        if !permit.give_back_lost(table).await? {
            return Ok(PermitState::GivenBack);
        }
        self.app.log().write(&PermitLine::new(permit));
        Ok(PermitState::WasLost)
    }
}
