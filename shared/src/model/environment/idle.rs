//! Members of patterns that nothing was deployed to for a time.
//!
//! The row of a member is in the index of what is due. A deployment does not move the time, which would cost each one a
//! write: the sweep looks at the last deployment when the time has come, and puts the removal off if it is too recent.

use serde::Deserialize;

use super::deletion::RowState;
use super::{EnvironmentPlace, days};
use crate::clock::Timestamp;
use crate::model::due::{DUE, due_sort_attribute};
use crate::model::{Action, AuditEvent, AuditRetention, Deployment, DeploymentCounts, DueEntry, Filter, key};
use crate::sort::Position;
use crate::table::{Change, Consistency, IndexKey, Order, Partition, Query, Table, TableError, Values};

/// A member of a pattern at whose last deployment the sweep has to look.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DueEnvironment {
    at: Timestamp,
    place: EnvironmentPlace,
}

#[derive(Deserialize)]
struct Member {
    created_at: Timestamp,
    removed_after_days: u16,
    due_at: Option<Timestamp>,
    #[serde(default)]
    audit_retention: AuditRetention,
}

impl EnvironmentPlace {
    pub(super) fn index_key(&self, at: Timestamp) -> IndexKey {
        let Self { account_id, repository_id, name } = self;
        let sort = format!("{:015}#{account_id}#{repository_id}#{name}", at.as_millis());
        IndexKey { index: DUE, partition: key::due_environments(), sort }
    }

    /// Returns the last change of the newest deployment to the environment, if there is one.
    async fn last_change(&self, table: &Table) -> Result<Option<Timestamp>, TableError> {
        let filter = Filter { environment: Some(self.name), status: None };
        let Partition { source, key: partition } = Deployment::listed(&self.partition(), filter);
        let query = Query { source, partition, order: Order::Descending, after: None, limit: 1 };
        let (newest, _) = table.query::<Deployment>(query, Deployment::ATTRIBUTES).await?;
        Ok(newest.first().map(|deployment| deployment.updated_at))
    }
}

impl DueEnvironment {
    /// Removes the environment if nothing was deployed to it for the time that its pattern says, and else puts the removal off.
    /// Returns whether it was removed.
    ///
    /// The removal fails if a deployment was created since the counter was read. So it never takes an environment from a
    /// deployment that is queued or in progress.
    pub async fn remove_if_idle(&self, table: &Table, now: Timestamp) -> Result<bool, TableError> {
        let Self { at, place } = self;
        // The index may be behind the row, which decides.
        let member: Option<Member> = table.get(place.key(), Consistency::Strong).await?;
        let Some(member) = member.filter(|member| member.due_at == Some(*at)) else { return Ok(false) };
        let counts = DeploymentCounts::load(table, &place.partition()).await?;
        let last_use = match counts.unfinished(place.name) {
            0 => place.last_change(table).await?.unwrap_or(member.created_at).max(member.created_at),
            _ => now,
        };
        let due_at = last_use.plus(days(member.removed_after_days));
        if due_at > now {
            self.put_off(table, due_at).await?;
            return Ok(false);
        }
        let event = AuditEvent::by_system(
            &place.account_id,
            member.audit_retention,
            Action::EnvironmentDeleted,
            place.target(),
            now,
        )
        .in_repository(&place.repository_id)
        .about("removed_after_days", member.removed_after_days);
        let deletion = place.deletion(&counts, RowState::Due(*at)).recording(&event)?;
        Ok(deletion.commit(table).await?.is_ok())
    }

    async fn put_off(&self, table: &Table, until: Timestamp) -> Result<(), TableError> {
        let change = Change {
            expression: format!("SET due_at = :to, {} = :position", due_sort_attribute()),
            condition: Some("due_at = :from"),
            values: Values::new()
                .set(":from", self.at)
                .set(":to", until)
                .set(":position", self.place.index_key(until).sort),
            ..Change::default()
        };
        table.update(self.place.key(), change).await.map(drop)
    }
}

impl DueEntry for DueEnvironment {
    const SHARDS: u8 = 1;

    fn at(&self) -> Timestamp {
        self.at
    }

    fn partition(_: u8) -> String {
        key::due_environments()
    }

    fn position(&self) -> String {
        self.place.index_key(self.at).sort
    }

    fn parse(position: &str) -> Option<Self> {
        let mut parts = position.split('#');
        let at = Timestamp::from_millis(parts.next()?.parse().ok()?);
        let (account_id, repository_id) = (parts.next()?.parse().ok()?, parts.next()?.parse().ok()?);
        Some(Self { at, place: EnvironmentPlace { account_id, repository_id, name: parts.next()?.parse().ok()? } })
    }
}
