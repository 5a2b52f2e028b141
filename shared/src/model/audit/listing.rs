//! Reads of the audit log.

use super::{Action, AuditEvent};
use crate::clock::Timestamp;
use crate::error::Result;
use crate::id::{RepositoryId, UserId};
use crate::model::key;
use crate::permitted::TenantId;
use crate::table::{Index, Partition, Table};
use crate::timeline::{Selection, Timeline, TimelineQuery};

/// The events to return: those that have everything that is given.
#[derive(Clone, Debug, Default)]
pub struct AuditFilter {
    /// The user who made the change, or who stands for the application or the trust.
    pub actor: Option<UserId>,
    /// The kind of the change.
    pub action: Option<Action>,
    /// The id of the target.
    pub target: Option<String>,
    /// The repository that the target is or belongs to.
    pub repository: Option<RepositoryId>,
    /// The time of the oldest event.
    pub since: Option<Timestamp>,
    /// The time before which the newest event was.
    pub until: Option<Timestamp>,
}

impl AuditFilter {
    fn matches(&self, event: &AuditEvent) -> bool {
        self.actor.as_ref().is_none_or(|actor| event.actor.as_ref().is_some_and(|by| by.id == *actor))
            && self.action.is_none_or(|action| event.action == action)
            && self.target.as_ref().is_none_or(|target| event.target.id == *target)
            && self.repository.as_ref().is_none_or(|id| event.repository_id.as_ref() == Some(id))
    }

    /// Returns the smallest partition that has all of the events, and whether it has no others.
    fn partition(&self, tenant: &TenantId) -> (Partition, bool) {
        let Self { actor, action, target, repository, .. } = self;
        let has_others = action.is_some() || repository.is_some();
        match (target, actor) {
            (Some(target), _) => {
                let list = Partition::of_index(Index::ByTarget, key::audit_events_on(tenant, target));
                (list, actor.is_none() && !has_others)
            }
            (None, Some(actor)) => {
                let list = Partition::of_index(Index::ByActor, key::audit_events_by(tenant, actor.as_str()));
                (list, !has_others)
            }
            (None, None) => (Partition::of_table(key::audit_events(tenant)), !has_others),
        }
    }
}

impl AuditEvent {
    /// Returns a page of an account's events, newest first.
    ///
    /// # Errors
    /// Fails with `invalid_cursor`.
    pub async fn page(
        table: &Table,
        tenant: &TenantId,
        filter: &AuditFilter,
        page: &TimelineQuery,
    ) -> Result<Timeline<Self>> {
        let (list, matches_all) = filter.partition(tenant);
        let position = |time: Timestamp| format!("{:015}", time.as_millis().max(0));
        let selection = Selection {
            list,
            from: filter.since.map(position),
            until: Some(filter.until.map_or_else(|| key::LAST_AUDIT_EVENT.to_owned(), position)),
            matches: &|event| filter.matches(event),
            matches_all,
        };
        page.read(table, selection).await
    }
}
