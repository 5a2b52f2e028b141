//! The lease of a runner on the deployment that it runs.

use crate::clock::Timestamp;
use crate::model::due::{DueEntry, due_sort_attribute};
use crate::model::{Deployment, LEASE_GRACE, Status};
use crate::table::{Change, Table, TableError, Values, read_item};

impl Deployment {
    /// Renews the lease of this attempt's runner, and returns the current deployment. Returns `None` if the runner has
    /// lost the deployment, because its lease or its time limit has ended.
    pub async fn renew_lease(
        &self,
        table: &Table,
        now: Timestamp,
        until: Timestamp,
    ) -> Result<Option<Self>, TableError> {
        let due_at = until.plus(LEASE_GRACE);
        let change = Change {
            expression: format!("SET lease_until = :until, due_at = :due, {} = :position", due_sort_attribute()),
            // The condition does not check the version, because a request to stop must not end the lease.
            condition: Some("fence = :fence AND #status = :in_progress AND lease_until > :now AND deadline >= :until"),
            names: Some([("#status".to_owned(), "status".to_owned())].into()),
            values: Values::new()
                .set(":now", now)
                .set(":until", until)
                .set(":due", due_at)
                .set(":position", self.due(due_at).position())
                .set(":fence", self.fence)
                .set(":in_progress", Status::InProgress.as_str()),
        };
        let renewed = table.update(self.key(), change).await?;
        renewed.ok().map(read_item).transpose()
    }
}
