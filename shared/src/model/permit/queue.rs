//! The queues of deployments that wait for a permit, one for each account.

use serde::{Deserialize, Serialize};

use super::{AccountPermits, Capacity, PermitLimits};
use crate::id::{AccountId, DeploymentId};
use crate::model::key;
use crate::table::{Key, Table, TableError, Write, read_item};

/// The row of a deployment in its account's queue.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct WaitingForPermit {
    /// The deployment, whose status is `queued`.
    pub(crate) deployment_id: DeploymentId,
}

/// The place of a deployment in its account's queue.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PermitPlace {
    pub(crate) account_id: AccountId,
    pub(crate) deployment_id: DeploymentId,
    /// The version of the queue that the deployment joined, which orders it whatever the clocks say.
    pub(crate) place: u64,
}

impl PermitPlace {
    pub(crate) fn key(&self) -> Key {
        key::waiting_for_permit(&self.account_id, self.place, &self.deployment_id)
    }

    pub(crate) fn join(&self) -> Result<Write, TableError> {
        Write::create(self.key(), &WaitingForPermit { deployment_id: self.deployment_id.clone() }, Vec::new())
    }

    /// Returns the position in the queue. 1 is next.
    pub(crate) async fn position(&self, table: &Table) -> Result<usize, TableError> {
        let Key { pk, sk } = self.key();
        let mut before = 0;
        let mut after: Option<String> = None;
        loop {
            let range = (key::PERMIT_QUEUE.0, sk.as_str());
            let (rows, more) = table.range_after(&pk, range, after.as_deref(), None).await?;
            before += rows.len();
            after = rows.last().map(|row| read_item::<Key>(row.clone())).transpose()?.map(|key| key.sk);
            if !more {
                // The range has the deployment's own row, unless it has started meanwhile.
                return Ok(before.max(1));
            }
        }
    }
}

impl Capacity {
    /// Reads the permits and the account's queue, as far as the account's limit matters. Strongly consistent, the queue last.
    pub(crate) async fn load(table: &Table, account: &AccountId, limits: PermitLimits) -> Result<Self, TableError> {
        let permits = Self::of(table, account).await?;
        let free = limits.account.saturating_sub(permits.account.running.len());
        let queue = first_waiting(table, account, free + 1).await?;
        Ok(Self { queue, ..permits })
    }
}

impl AccountPermits {
    /// Returns the first deployment of an account that waits for a permit.
    pub(crate) async fn first_waiting(table: &Table, account: &AccountId) -> Result<Option<DeploymentId>, TableError> {
        Ok(first_waiting(table, account, 1).await?.pop())
    }
}

async fn first_waiting(table: &Table, account: &AccountId, number: usize) -> Result<Vec<DeploymentId>, TableError> {
    let limit = i32::try_from(number).unwrap_or(i32::MAX);
    let (rows, _) = table.range(key::capacity_partition(account), key::PERMIT_QUEUE, Some(limit)).await?;
    let row = |row| read_item::<WaitingForPermit>(row).map(|row| row.deployment_id);
    rows.into_iter().map(row).collect()
}
