//! The events that a webhook wants.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::id::RepositoryId;
use crate::model::{Action, AuditEvent, Environment, Repository};
use crate::permitted::TenantId;
use crate::table::Table;

/// The pattern of every event.
const ALL: &str = "*";
/// The end of a pattern of all events of one kind of resource.
const ANY: &str = ".*";

/// A type of events, such as `deployment.succeeded`; all types of a resource, such as `deployment.*`; or `*` for all.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(try_from = "String", into = "String")]
#[schema(
    value_type = String, min_length = 1, max_length = 64, pattern = r"^(\*|[a-z]+\.(\*|[a-z_]+))$",
    examples("deployment.succeeded", "deployment.*")
)]
pub struct EventPattern(String);

/// The error for a text that is no type of events and no pattern of types.
#[derive(Debug, thiserror::Error)]
#[error(
    "must be a type of events, such as 'deployment.succeeded', or 'deployment.*', or '*'; the documentation lists the types"
)]
pub struct InvalidEventPattern;

impl EventPattern {
    fn matches(&self, action: Action) -> bool {
        let resource = self.0.strip_suffix(ANY).and_then(|resource| action.as_str().strip_prefix(resource));
        self.0 == ALL || self.0 == action.as_str() || resource.is_some_and(|rest| rest.starts_with('.'))
    }
}

impl TryFrom<String> for EventPattern {
    type Error = InvalidEventPattern;

    fn try_from(text: String) -> Result<Self, InvalidEventPattern> {
        let pattern = Self(text);
        let is_known = Action::ALL.iter().any(|action| pattern.matches(*action));
        if is_known { Ok(pattern) } else { Err(InvalidEventPattern) }
    }
}

impl From<EventPattern> for String {
    fn from(pattern: EventPattern) -> String {
        pattern.0
    }
}

/// The events that a webhook wants: those that match each of the three lists. An empty list of repositories or environments matches
/// every event.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WebhookFilter {
    /// The types of the events.
    pub events: Vec<EventPattern>,
    /// The repositories that the events are about.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub repositories: Vec<RepositoryId>,
    /// The environments that the events are about. The name of a pattern also means its members.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub environments: Vec<Environment>,
}

impl WebhookFilter {
    /// Checks that the repositories exist.
    ///
    /// # Errors
    /// Fails with `invalid_request`.
    pub async fn check(&self, table: &Table, tenant: &TenantId) -> Result<()> {
        let named: BTreeSet<_> = self.repositories.iter().collect();
        if named.is_empty() {
            return Ok(());
        }
        let found = Repository::by_ids(table, tenant, named).await?;
        Error::items("repositories", &self.repositories, |id| {
            let is_unknown = found.iter().all(|repository| repository.id != *id);
            is_unknown.then(|| "must be the ID of a repository of the account".to_owned())
        })
    }

    pub(super) fn selects(&self, event: &AuditEvent) -> bool {
        let is_of_type = self.events.iter().any(|pattern| pattern.matches(event.action));
        let of_repository = |named: &RepositoryId| event.repository_id.as_ref() == Some(named);
        let environment = event.environment();
        let to_environment = |named: &Environment| environment.is_some_and(|environment| named.covers(environment));
        is_of_type
            && (self.repositories.is_empty() || self.repositories.iter().any(of_repository))
            && (self.environments.is_empty() || self.environments.iter().any(to_environment))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Timestamp;
    use crate::id::AccountId;
    use crate::model::{AuditRetention, Target, TargetKind};

    fn pattern(text: &str) -> EventPattern {
        EventPattern::try_from(text.to_owned()).unwrap_or_else(|_| panic!("{text}"))
    }

    #[test]
    fn a_pattern_is_a_type_or_all_types_of_a_resource() {
        for (text, started, team) in [
            ("*", true, true),
            ("deployment.*", true, false),
            ("deployment.started", true, false),
            ("deployment.failed", false, false),
            ("team.*", false, true),
        ] {
            let pattern = pattern(text);
            assert_eq!(pattern.matches(Action::DeploymentStarted), started, "{text}");
            assert_eq!(pattern.matches(Action::TeamMemberAdded), team, "{text}");
        }
        for text in ["", "**", ".*", "deployment", "deployment.", "deploy.*", "deployment.exploded", "Deployment.*"] {
            assert!(EventPattern::try_from(text.to_owned()).is_err(), "{text}");
        }
    }

    #[test]
    fn an_event_must_match_each_list_that_is_not_empty() {
        let (ours, other) = (RepositoryId::random(), RepositoryId::random());
        let event = AuditEvent::by_system(
            &AccountId::random(),
            AuditRetention::default(),
            Action::DeploymentFailed,
            Target::new(TargetKind::Deployment, "deploy_k3vyq2w7x5m4n6pa", None),
            Timestamp::from_millis(0),
        );
        let event = event.in_repository(&ours).about("environment", "review-1");
        let selects = |repositories: &[&RepositoryId], environments: &[&str]| {
            let filter = WebhookFilter {
                events: vec![pattern("team.*"), pattern("deployment.*")],
                repositories: repositories.iter().map(|id| (*id).clone()).collect(),
                environments: environments.iter().map(|name| name.parse().unwrap()).collect(),
            };
            filter.selects(&event)
        };
        assert!(selects(&[], &[]) && selects(&[&other, &ours], &["production", "review-*"]));
        assert!(!selects(&[&other], &[]) && !selects(&[], &["production"]) && !selects(&[&other], &["review-1"]));
    }
}
