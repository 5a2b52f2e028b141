//! Reads by partition.

use std::collections::HashMap;

use aws_sdk_dynamodb::types::{AttributeValue, ReturnConsumedCapacity, Select};
use serde::de::DeserializeOwned;

use super::error::TableError;
use super::item::{Item, read_item, read_items};
use super::key::Key;
use super::{Table, boxed};
use crate::usage::Call;

/// The table or one of its indexes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// The table itself, by `pk` and `sk`.
    Table,
    /// A list in one of the global secondary indexes.
    Index(Index),
}

impl Source {
    /// The table and each of its indexes once.
    pub const ALL: [Source; 7] = [
        Self::Table,
        Self::Index(Index::ByCreation),
        Self::Index(Index::ByUpdate),
        Self::Index(Index::ByName),
        Self::Index(Index::Public),
        Self::Index(Index::ByDueTime),
        Self::Index(Index::ByAccountAndStatus),
    ];

    /// Returns the name of the global secondary index, or `None` for the table.
    pub const fn index_name(self) -> Option<&'static str> {
        match self {
            Self::Table => None,
            Self::Index(index) => Some(index.name()),
        }
    }

    /// Returns the attributes of the partition key and of the sort key.
    pub const fn key_attributes(self) -> (&'static str, &'static str) {
        match self {
            Self::Table => ("pk", "sk"),
            Self::Index(index) => index.key_attributes(),
        }
    }
}

/// A list of items, named by its order or by the property that its items share. Some lists share a global secondary
/// index, because no item is in two of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Index {
    /// All items of a kind, by creation. A deployment's number is its place in that order.
    ByCreation,
    /// The tokens of one user.
    ByUser,
    /// The hooks of one account.
    ByAccount,
    /// The invitations to one email address.
    ByEmail,
    /// The audit events of one actor.
    ByActor,
    /// The audit events of one target.
    ByTarget,
    /// All items of a kind, by their last update.
    ByUpdate,
    /// The deployments to one environment.
    ByEnvironment,
    /// All items of a kind, by name.
    ByName,
    /// The deployments in one state.
    ByStatus,
    /// The public repositories.
    Public,
    /// The deployments to one environment in one state.
    ByEnvironmentAndStatus,
    /// The deployments that have not ended and the statuses that a git host was not told, by the time at which the sweep looks
    /// at them.
    ByDueTime,
    /// The deployments of an account in one state, by creation.
    ByAccountAndStatus,
}

/// The attributes that an index copies from its items.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Projection {
    /// All of them.
    All,
    /// The keys of the table and of the index.
    KeysOnly,
    /// The keys, and these.
    Include(&'static [&'static str]),
}

impl Index {
    /// Returns the name of the global secondary index.
    pub const fn name(self) -> &'static str {
        match self {
            Self::ByCreation => "gsi1",
            Self::ByUser | Self::ByAccount | Self::ByEmail | Self::ByActor | Self::ByUpdate | Self::ByEnvironment => {
                "gsi2"
            }
            Self::ByName | Self::ByStatus | Self::ByTarget => "gsi3",
            Self::Public | Self::ByEnvironmentAndStatus => "gsi4",
            Self::ByDueTime => "gsi5",
            Self::ByAccountAndStatus => "gsi6",
        }
    }

    /// Returns the attributes of the partition key and of the sort key.
    pub const fn key_attributes(self) -> (&'static str, &'static str) {
        match self {
            Self::ByCreation => ("gsi1pk", "gsi1sk"),
            Self::ByUser | Self::ByAccount | Self::ByEmail | Self::ByActor | Self::ByUpdate | Self::ByEnvironment => {
                ("gsi2pk", "gsi2sk")
            }
            Self::ByName | Self::ByStatus | Self::ByTarget => ("gsi3pk", "gsi3sk"),
            Self::Public | Self::ByEnvironmentAndStatus => ("gsi4pk", "gsi4sk"),
            Self::ByDueTime => ("gsi5pk", "gsi5sk"),
            Self::ByAccountAndStatus => ("gsi6pk", "gsi6sk"),
        }
    }

    /// Returns the attributes that the index copies. A change of any other attribute costs no write in the index.
    pub const fn projection(self) -> Projection {
        match self {
            Self::ByDueTime => Projection::KeysOnly,
            // They never change, so that only a change of the status writes into the index.
            Self::ByAccountAndStatus => Projection::Include(&[
                "id",
                "repository_id",
                "environment",
                "git_ref",
                "ref_name",
                "sha",
                "created_by",
                "registered_by",
                "required_approvals",
            ]),
            _ => Projection::All,
        }
    }
}

/// A partition of the table or of an index. Only the model makes one, so that no handler lists what the model does not offer.
#[derive(Clone, Debug)]
pub struct Partition {
    pub(crate) source: Source,
    pub(crate) key: String,
}

impl Partition {
    pub(crate) fn of_table(key: String) -> Self {
        Self { source: Source::Table, key }
    }

    pub(crate) fn of_index(index: Index, key: String) -> Self {
        Self { source: Source::Index(index), key }
    }
}

/// The order of sort keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Order {
    Ascending,
    Descending,
}

impl Order {
    pub(crate) fn reversed(self) -> Self {
        match self {
            Self::Ascending => Self::Descending,
            Self::Descending => Self::Ascending,
        }
    }
}

/// One page of a partition.
#[derive(Debug)]
pub(crate) struct Query<'a> {
    pub(crate) source: Source,
    pub(crate) partition: String,
    pub(crate) order: Order,
    /// Only rows strictly beyond this sort key, in the query's order.
    pub(crate) after: Option<&'a str>,
    pub(crate) limit: i32,
}

impl Table {
    /// Returns every row of a partition, for 0.5 capacity units per 4 KB.
    pub(crate) async fn query_all<T: DeserializeOwned + Send>(
        &self,
        Partition { source, key: partition }: Partition,
    ) -> Result<Vec<T>, TableError> {
        let (_, sort_key) = source.key_attributes();
        let mut rows: Vec<Item> = Vec::new();
        loop {
            let after = rows.last().and_then(|row| row.get(sort_key)).and_then(|key| key.as_s().ok()).cloned();
            let partition = partition.clone();
            let query = Query { source, partition, order: Order::Ascending, after: after.as_deref(), limit: i32::MAX };
            let (page, more) = self.query_items(query, None).await?;
            let ended = page.is_empty() || !more;
            rows.extend(page);
            if ended {
                return read_items(rows);
            }
        }
    }

    /// Returns the rows of a list whose sort keys start with a prefix, or `None` if they are more than `max`. `only` is as in
    /// [`Table::query`].
    pub(crate) async fn starting_with<T: DeserializeOwned>(
        &self,
        Partition { source, key: partition }: Partition,
        prefix: &str,
        max: usize,
        only: &str,
    ) -> Result<Option<Vec<T>>, TableError> {
        let (pk, sk) = source.key_attributes();
        let (mut rows, mut start) = (Vec::new(), None);
        loop {
            let call = Call::start();
            let request = self
                .client
                .query()
                .table_name(&*self.name)
                .set_index_name(source.index_name().map(str::to_owned))
                .key_condition_expression("#pk = :pk AND begins_with(#sk, :prefix)")
                .set_expression_attribute_names(Some(reserved(only)))
                .expression_attribute_names("#pk", pk)
                .expression_attribute_names("#sk", sk)
                .expression_attribute_values(":pk", AttributeValue::S(partition.clone()))
                .expression_attribute_values(":prefix", AttributeValue::S(prefix.to_owned()))
                .projection_expression(only)
                .set_exclusive_start_key(start)
                .return_consumed_capacity(ReturnConsumedCapacity::Total);
            let output = boxed(request.send()).await?;
            call.end(output.consumed_capacity());
            rows.extend(output.items.unwrap_or_default());
            start = output.last_evaluated_key;
            if rows.len() > max {
                return Ok(None);
            }
            if start.is_none() {
                return read_items(rows).map(Some);
            }
        }
    }

    /// Returns one page of a Query, at most `limit` rows or 1 MB, and whether there may be more. `only` is a projection
    /// expression whose reserved words start with `#`.
    pub(crate) async fn query<T: DeserializeOwned>(
        &self,
        query: Query<'_>,
        only: Option<&str>,
    ) -> Result<(Vec<T>, bool), TableError> {
        let (items, more) = self.query_items(query, only).await?;
        Ok((read_items(items)?, more))
    }

    /// Returns one page of a Query as [`Table::query`] does, each row with its sort key.
    pub(crate) async fn query_with_keys<T: DeserializeOwned>(
        &self,
        query: Query<'_>,
        only: Option<&str>,
    ) -> Result<(Vec<(String, T)>, bool), TableError> {
        let (_, sort_key) = query.source.key_attributes();
        let only = only.map(|only| format!("{only}, {sort_key}"));
        let (items, more) = self.query_items(query, only.as_deref()).await?;
        let with_key = |mut item: Item| match item.remove(sort_key) {
            Some(AttributeValue::S(key)) => Ok((key, read_item(item)?)),
            _ => unreachable!("DynamoDB only indexes rows that have the index's keys"),
        };
        Ok((items.into_iter().map(with_key).collect::<Result<_, TableError>>()?, more))
    }

    /// Returns the sort keys of one page of a Query. It costs the capacity units of the whole rows.
    pub(crate) async fn query_sort_keys(
        &self,
        query: Query<'_>,
        sort_key: &str,
    ) -> Result<(Vec<String>, bool), TableError> {
        let (items, more) = self.query_items(query, Some(sort_key)).await?;
        let key = |mut item: Item| match item.remove(sort_key) {
            Some(AttributeValue::S(key)) => key,
            _ => unreachable!("DynamoDB only indexes rows that have the index's keys"),
        };
        Ok((items.into_iter().map(key).collect(), more))
    }

    async fn query_items(&self, query: Query<'_>, only: Option<&str>) -> Result<(Vec<Item>, bool), TableError> {
        let (pk, sk) = query.source.key_attributes();
        let mut request = self
            .client
            .query()
            .table_name(&*self.name)
            .set_index_name(query.source.index_name().map(str::to_owned))
            .expression_attribute_names("#pk", pk)
            .expression_attribute_values(":pk", AttributeValue::S(query.partition))
            .scan_index_forward(query.order == Order::Ascending)
            .limit(query.limit)
            .set_projection_expression(only.map(str::to_owned))
            .return_consumed_capacity(ReturnConsumedCapacity::Total);
        for (placeholder, name) in only.map(reserved).unwrap_or_default() {
            request = request.expression_attribute_names(placeholder, name);
        }
        let condition = match query.after {
            Some(after) => {
                request = request
                    .expression_attribute_names("#sk", sk)
                    .expression_attribute_values(":after", AttributeValue::S(after.to_owned()));
                match query.order {
                    Order::Ascending => "#pk = :pk AND #sk > :after",
                    Order::Descending => "#pk = :pk AND #sk < :after",
                }
            }
            None => "#pk = :pk",
        };
        let call = Call::start();
        let output = boxed(request.key_condition_expression(condition).send()).await?;
        call.end(output.consumed_capacity());
        let more = output.last_evaluated_key().is_some();
        Ok((output.items.unwrap_or_default(), more))
    }

    /// Returns the items of a partition of the table itself whose sort keys lie between two, both included, in ascending order
    /// and strongly consistent. Returns at most `limit` of them or 1 MB, and whether there may be more.
    pub(crate) async fn range(
        &self,
        partition: String,
        (from, to): (&str, &str),
        limit: Option<i32>,
    ) -> Result<(Vec<Item>, bool), TableError> {
        self.range_after(&partition, (from, to), None, limit).await
    }

    /// Returns a range as [`Table::range`] does, starting after a sort key.
    pub(crate) async fn range_after(
        &self,
        partition: &str,
        (from, to): (&str, &str),
        after: Option<&str>,
        limit: Option<i32>,
    ) -> Result<(Vec<Item>, bool), TableError> {
        let text = |text: &str| AttributeValue::S(text.to_owned());
        let start = after.map(|sk| Key { pk: partition.to_owned(), sk: sk.to_owned() }.attributes());
        let call = Call::start();
        let output = boxed(
            self.client
                .query()
                .table_name(&*self.name)
                .key_condition_expression("pk = :pk AND sk BETWEEN :from AND :to")
                .expression_attribute_values(":pk", text(partition))
                .expression_attribute_values(":from", text(from))
                .expression_attribute_values(":to", text(to))
                .set_exclusive_start_key(start)
                .set_limit(limit)
                .consistent_read(true)
                .return_consumed_capacity(ReturnConsumedCapacity::Total)
                .send(),
        )
        .await?;
        call.end(output.consumed_capacity());
        let more = output.last_evaluated_key().is_some();
        Ok((output.items.unwrap_or_default(), more))
    }

    /// Scans `limit` rows of the whole table, in no order, starting after one of them. Returns the keys of the rows with one of
    /// the sort keys, and the last scanned key if there may be more rows. It pays for every scanned row, so it is for
    /// maintenance only.
    pub(crate) async fn scan_for(
        &self,
        sort_keys: &[&str],
        after: Option<&Key>,
        limit: i32,
    ) -> Result<(Vec<Key>, Option<Key>), TableError> {
        let names: Vec<_> = (0..sort_keys.len()).map(|at| format!(":sk{at}")).collect();
        let values = names.iter().zip(sort_keys).map(|(name, sk)| (name.clone(), AttributeValue::S((*sk).to_owned())));
        let call = Call::start();
        let output = boxed(
            self.client
                .scan()
                .table_name(&*self.name)
                .filter_expression(format!("sk IN ({})", names.join(", ")))
                .set_expression_attribute_values(Some(values.collect()))
                .projection_expression("pk, sk")
                .select(Select::SpecificAttributes)
                .set_exclusive_start_key(after.cloned().map(Key::attributes))
                .limit(limit)
                .return_consumed_capacity(ReturnConsumedCapacity::Total)
                .send(),
        )
        .await?;
        call.end(output.consumed_capacity());
        let last = output.last_evaluated_key.map(read_item).transpose()?;
        Ok((read_items(output.items.unwrap_or_default())?, last))
    }
}

/// Returns the names behind the placeholders of a projection expression's reserved words.
fn reserved(only: &str) -> HashMap<String, String> {
    let placeholders = only.split(", ").filter(|name| name.starts_with('#'));
    placeholders.map(|placeholder| (placeholder.to_owned(), placeholder[1..].to_owned())).collect()
}
