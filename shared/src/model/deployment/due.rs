//! The index of due deployments, which the sweep reads.

use std::time::Duration;

use crate::clock::Timestamp;
use crate::id::{AccountId, DeploymentId};
use crate::model::due::{DUE, DueEntry, due_sort_attribute};
use crate::model::{Deployment, key};
use crate::table::{Change, IndexKey, Table, TableError, Values};

/// The time that a queued deployment may wait before the sweep sends its message again. A free runner claims a
/// deployment within a second. A deployment that waits behind others gains nothing from a second message.
pub const PICKED_UP_WITHIN: Duration = Duration::from_secs(300);
/// The time for a lease's last renewal to become visible after the lease has ended, before the sweep sends the
/// deployment again.
pub const LEASE_GRACE: Duration = Duration::from_secs(15);
/// The time that CodeBuild may be silent about a build before the sweep asks for its status. CodeBuild's events take
/// seconds.
pub const BUILD_REPORTS_WITHIN: Duration = Duration::from_secs(300);

/// A deployment's entry in the index of due deployments.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Due {
    /// The time at which the sweep looks at the deployment.
    pub at: Timestamp,
    /// The account of the deployment.
    pub account_id: AccountId,
    /// The deployment, which has not ended.
    pub deployment_id: DeploymentId,
}

impl Due {
    /// The number of partitions of the index. A partition takes 1,000 writes a second; a deployment writes there about
    /// five times.
    pub const SHARDS: u8 = 4;

    pub(super) fn index_key(&self) -> IndexKey {
        let shard = shard_of(self.deployment_id.as_str());
        IndexKey { index: DUE, partition: key::due(shard), sort: self.position() }
    }

    /// Returns the deployment, if it still exists.
    pub async fn load(&self, table: &Table) -> Result<Option<Deployment>, TableError> {
        Deployment::load(table, &self.account_id, &self.deployment_id).await
    }
}

impl Deployment {
    /// Postpones the sweep's next look at the deployment. Returns `false` if the deployment has changed since `self`
    /// was read, or another sweep has postponed it already.
    pub async fn put_off(&self, table: &Table, until: Timestamp) -> Result<bool, TableError> {
        let Some(due_at) = self.due_at else { return Ok(false) };
        let change = Change {
            expression: format!("SET due_at = :until, {} = :position", due_sort_attribute()),
            condition: Some("events = :version AND due_at = :due"),
            names: None,
            values: Values::new()
                .set(":until", until)
                .set(":due", due_at)
                .set(":position", self.due(until).position())
                .set(":version", self.events),
        };
        Ok(table.update(self.key(), change).await?.is_ok())
    }
}

impl DueEntry for Due {
    const SHARDS: u8 = Due::SHARDS;

    fn at(&self) -> Timestamp {
        self.at
    }

    fn partition(shard: u8) -> String {
        key::due(shard)
    }

    fn position(&self) -> String {
        format!("{:015}#{}#{}", self.at.as_millis(), self.account_id, self.deployment_id)
    }

    fn parse(position: &str) -> Option<Self> {
        let mut parts = position.split('#');
        let at = Timestamp::from_millis(parts.next()?.parse().ok()?);
        Some(Self { at, account_id: parts.next()?.parse().ok()?, deployment_id: parts.next()?.parse().ok()? })
    }
}

/// Returns the shard of the index that has the entry of this text.
pub(in crate::model) fn shard_of(entry: &str) -> u8 {
    u8::try_from(crc32fast::hash(entry.as_bytes()) % u32::from(Due::SHARDS)).expect("the remainder of a u8")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_position_in_the_index_of_what_is_due_is_ordered_by_time_and_read_again() {
        let due = |at| Due {
            at: Timestamp::from_millis(at),
            account_id: "acct_b5jnd3s7uyg2kq4v".parse().unwrap(),
            deployment_id: "deploy_t6mwz4hq2c7rfx3e".parse().unwrap(),
        };
        assert!(due(999).position() < due(1_767_268_800_000).position());
        assert_eq!(Due::parse(&due(1_767_268_800_000).position()), Some(due(1_767_268_800_000)));
        for malformed in ["", "1", "x#acct_b5jnd3s7uyg2kq4v#deploy_t6mwz4hq2c7rfx3e", "1#acct_b5jnd3s7uyg2kq4v#x"] {
            assert_eq!(Due::parse(malformed), None, "{malformed}");
        }
    }
}
