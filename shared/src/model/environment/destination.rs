//! The environments that new deployments go to.

use aws_sdk_dynamodb::types::AttributeValue;
use futures_util::future::try_join;

use super::{DEFAULT_REMOVED_AFTER_DAYS, EnvironmentPlace, NewRow, days};
use crate::clock::Timestamp;
use crate::model::{AuditRetention, Environment, EnvironmentSettings, Repository, key};
use crate::table::{Item, Table, TableError, Write, read_item};

/// The environment that a deployment goes to: one that exists, or one that the deployment creates.
#[derive(Clone, Debug)]
pub struct Destination {
    /// The settings of the environment, or those that it gets from its pattern.
    pub settings: EnvironmentSettings,
    /// The pattern that the environment is created from if it does not exist.
    pub pattern: Option<MatchingPattern>,
}

/// A pattern of a repository, with everything that a member gets from it.
#[derive(Clone, Debug)]
pub struct MatchingPattern {
    name: Environment,
    settings: EnvironmentSettings,
    row: Item,
}

impl Destination {
    /// Reads the environment and the patterns that it can be a member of, concurrently. Returns `None` if there is neither.
    /// Strongly consistent.
    pub async fn load(table: &Table, repository: &Repository, name: Environment) -> Result<Option<Self>, TableError> {
        let settings = EnvironmentSettings::find(table, repository, name);
        if name.is_built_in() {
            return Ok(settings.await?.map(|settings| Self { settings, pattern: None }));
        }
        let (settings, pattern) = try_join(settings, MatchingPattern::of(table, repository, name)).await?;
        let settings = settings.or_else(|| Some(pattern.as_ref()?.settings.clone()));
        Ok(settings.map(|settings| Self { settings, pattern }))
    }
}

impl MatchingPattern {
    /// Returns the pattern with the longest name that has the environment as a member.
    async fn of(table: &Table, repository: &Repository, name: Environment) -> Result<Option<Self>, TableError> {
        let (rows, _) = table.range(repository.partition().items(), key::PATTERNS, None).await?;
        let patterns = rows.into_iter().filter_map(|row| Some((pattern_of(&row)?, row)));
        let matching = patterns.filter(|(pattern, _)| pattern.covers(name));
        let longest = matching.max_by_key(|(pattern, _)| pattern.as_str().len());
        let read = |(pattern, row): (Environment, Item)| {
            let settings = EnvironmentSettings::new(pattern, read_item(row.clone())?).of_member(pattern);
            Ok(Self { name: pattern, settings, row })
        };
        longest.map(read).transpose()
    }

    /// Returns the write that creates a member with the settings of the pattern.
    pub(in crate::model) fn member(
        &self,
        repository: &Repository,
        name: Environment,
        audit_retention: AuditRetention,
        now: Timestamp,
    ) -> Result<Write, TableError> {
        let place = EnvironmentPlace::new(repository, name);
        let removed_after_days = self.settings.removed_after_days.unwrap_or(DEFAULT_REMOVED_AFTER_DAYS);
        let due_at = now.plus(days(removed_after_days));
        let row = NewRow {
            created_at: now,
            revision: 1,
            removed_after_days: Some(removed_after_days),
            pattern: Some(self.name),
            due_at: Some(due_at),
            audit_retention,
        };
        let mut item = self.row.clone();
        item.remove("updated_at");
        let own: Item = serde_dynamo::to_item(row)?;
        item.extend(own);
        Ok(Write::create_like(item, place.key(), vec![place.index_key(due_at)]))
    }
}

fn pattern_of(row: &Item) -> Option<Environment> {
    match row.get("sk") {
        Some(AttributeValue::S(sk)) => sk.strip_prefix(key::PATTERNS.0)?.parse().ok(),
        _ => None,
    }
}
