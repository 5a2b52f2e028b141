//! The one DynamoDB table: typed calls, each of which adds its cost to the request's [`Usage`].

use std::cell::Cell;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_dynamodb::operation::transact_write_items::TransactWriteItemsError;
use aws_sdk_dynamodb::operation::update_item::UpdateItemError;
use aws_sdk_dynamodb::types::{
    AttributeValue, ConditionCheck, ConsumedCapacity, Delete, KeysAndAttributes, Put, ReturnConsumedCapacity,
    ReturnValue, ReturnValuesOnConditionCheckFailure, Select, TransactWriteItem, Update,
};
use serde::de::value::MapDeserializer;
use serde::de::{DeserializeOwned, IntoDeserializer};
use serde::{Deserialize, Serialize};

use crate::error::{Error, ErrorCode};

pub type Item = HashMap<String, AttributeValue>;

/// The attributes of a counter.
pub type Numbers = BTreeMap<String, i64>;

/// A DynamoDB call failed.
#[derive(Debug, thiserror::Error)]
pub enum TableError {
    #[error("DynamoDB refused or did not answer ({code})")]
    Call { code: String, passing: bool, source: Box<dyn std::error::Error + Send + Sync> },
    #[error("an item does not have the expected shape")]
    Shape(#[from] serde_dynamo::Error),
    #[error("the request for DynamoDB is incomplete")]
    Build(#[from] aws_sdk_dynamodb::error::BuildError),
    #[error("an index has a key that is not of its form")]
    Position,
    #[error("an item kept changing under a conditional write")]
    Contended,
}

impl<E> From<SdkError<E>> for TableError
where
    E: ProvideErrorMetadata + std::error::Error + Send + Sync + 'static,
{
    fn from(error: SdkError<E>) -> Self {
        let code = match &error {
            SdkError::ServiceError(service) => service.err().code().unwrap_or("unknown").to_owned(),
            SdkError::TimeoutError(_) => "timeout".to_owned(),
            SdkError::DispatchFailure(_) => "unreachable".to_owned(),
            _ => "unreadable".to_owned(),
        };
        const PASSING: [&str; 7] = [
            "timeout",
            "unreachable",
            "ThrottlingException",
            "ProvisionedThroughputExceededException",
            "RequestLimitExceeded",
            "TransactionConflictException",
            "InternalServerError",
        ];
        Self::Call { passing: PASSING.contains(&code.as_str()), code, source: Box::new(error) }
    }
}

impl From<TableError> for Error {
    fn from(error: TableError) -> Self {
        match error {
            TableError::Call { passing: true, .. } | TableError::Contended => {
                Error::new(ErrorCode::ServiceUnavailable, "The service is busy").retry_after(1).because(error)
            }
            _ => Error::internal(error),
        }
    }
}

/// What a request has asked of DynamoDB.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Usage {
    pub calls: u32,
    /// Read and write capacity units together, as DynamoDB reports them.
    pub capacity_units: f64,
    /// The longest chain of calls of which each began after the one before had ended.
    pub round_trips: u32,
}

tokio::task_local! {
    static USAGE: Cell<Usage>;
}

impl Usage {
    /// Runs a future and gives what it cost beside its output.
    pub async fn of<F: Future>(work: F) -> (F::Output, Usage) {
        USAGE
            .scope(Cell::default(), async {
                let output = work.await;
                (output, USAGE.with(Cell::get))
            })
            .await
    }

    /// The cost so far of the request that is running; nothing outside [`Usage::of`].
    pub fn so_far() -> Usage {
        USAGE.try_with(Cell::get).unwrap_or_default()
    }
}

/// A call that is under way, with its place in the chain.
struct Call {
    round_trip: u32,
}

impl Call {
    fn start() -> Self {
        Self { round_trip: Usage::so_far().round_trips + 1 }
    }

    fn end<'a>(self, capacity: impl IntoIterator<Item = &'a ConsumedCapacity>) {
        let units: f64 = capacity.into_iter().filter_map(ConsumedCapacity::capacity_units).sum();
        // A call outside a request, in init for example, belongs to nobody's bill.
        let _ = USAGE.try_with(|usage| {
            let Usage { calls, capacity_units, round_trips } = usage.get();
            usage.set(Usage {
                calls: calls + 1,
                capacity_units: capacity_units + units,
                round_trips: round_trips.max(self.round_trip),
            });
        });
    }
}

/// The primary key of an item. Only [`crate::model`] makes keys.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Key {
    pub(crate) pk: String,
    pub(crate) sk: String,
}

impl std::fmt::Display for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {}", self.pk, self.sk)
    }
}

impl Key {
    fn is_of(&self, item: &Item) -> bool {
        let is = |name, value: &String| matches!(item.get(name), Some(AttributeValue::S(found)) if found == value);
        is("pk", &self.pk) && is("sk", &self.sk)
    }

    fn attributes(self) -> Item {
        Item::from([("pk".to_owned(), AttributeValue::S(self.pk)), ("sk".to_owned(), AttributeValue::S(self.sk))])
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Consistency {
    /// Half the price; may miss the writes of the last second.
    Eventual,
    Strong,
}

/// Lambda gives init ten seconds; a database that does not answer must not use them up.
const CONNECT_LIMIT: Duration = Duration::from_secs(3);

#[derive(Clone, Debug)]
pub struct Table {
    client: Client,
    name: Arc<str>,
}

/// An update whose condition did not hold.
#[derive(Debug)]
pub struct ConditionFailed {
    /// The item as it is, when there is one.
    pub current: Option<Item>,
}

/// Why a transaction did not happen.
#[derive(Debug)]
pub enum TransactFailed {
    /// For each write in order, the item that failed its condition, or `None` where the condition held.
    Conditions(Vec<Option<ConditionFailed>>),
    /// Other transactions kept changing one of the items; nothing was written, so the same again may work.
    Conflict,
    Table(TableError),
}

impl Table {
    pub fn new(client: Client, name: &str) -> Self {
        Self { client, name: name.into() }
    }

    pub fn client(&self) -> &Client {
        &self.client
    }

    pub fn name(&self) -> &str {
        &self.name
    }

    /// Opens connections in init, so that the first request does not pay for them. DynamoDB speaks HTTP/1.1, so calls that
    /// are made at once need one each. A failure here is not one: the request that comes will see for itself.
    pub(crate) async fn connect(&self, connections: usize) {
        let key = Key { pk: "CONNECT".to_owned(), sk: "CONNECT".to_owned() };
        let call = || self.client.get_item().table_name(&*self.name).set_key(Some(key.clone().attributes())).send();
        let calls = futures_util::future::join_all((0..connections).map(|_| call()));
        let _ = tokio::time::timeout(CONNECT_LIMIT, calls).await;
    }

    pub async fn get<T: DeserializeOwned>(&self, key: Key, consistency: Consistency) -> Result<Option<T>, TableError> {
        let call = Call::start();
        let output = self
            .client
            .get_item()
            .table_name(&*self.name)
            .set_key(Some(key.attributes()))
            .consistent_read(consistency == Consistency::Strong)
            .return_consumed_capacity(ReturnConsumedCapacity::Total)
            .send()
            .await?;
        call.end(output.consumed_capacity());
        output.item.map(read_item).transpose()
    }

    /// The items of different keys that exist, in no order and eventually consistent: a BatchGetItem for every 100.
    pub async fn batch_get<T: DeserializeOwned>(&self, keys: Vec<Key>) -> Result<Vec<T>, TableError> {
        let keys: Vec<Item> = keys.into_iter().map(Key::attributes).collect();
        let mut found = Vec::with_capacity(keys.len());
        for chunk in keys.chunks(MAX_BATCH) {
            found.extend(self.batch(chunk.to_vec(), Consistency::Eventual).await?);
        }
        read_items(found)
    }

    /// The items of a few different keys, each in its key's place: one BatchGetItem.
    pub(crate) async fn get_each<const N: usize>(
        &self,
        keys: [Option<Key>; N],
        consistency: Consistency,
    ) -> Result<[Option<Item>; N], TableError> {
        let wanted = keys.iter().flatten().cloned().map(Key::attributes).collect();
        let mut found = self.batch(wanted, consistency).await?;
        Ok(keys.map(|key| {
            let at = found.iter().position(|item| key.as_ref().is_some_and(|key| key.is_of(item)))?;
            Some(found.swap_remove(at))
        }))
    }

    /// The items of at most [`MAX_BATCH`] keys. DynamoDB may leave some for the next call.
    async fn batch(&self, mut wanted: Vec<Item>, consistency: Consistency) -> Result<Vec<Item>, TableError> {
        let mut found = Vec::with_capacity(wanted.len());
        for attempt in 0..MAX_CONFLICTS {
            let request = KeysAndAttributes::builder()
                .set_keys(Some(wanted))
                .consistent_read(consistency == Consistency::Strong)
                .build()?;
            let call = Call::start();
            let output = self
                .client
                .batch_get_item()
                .request_items(&*self.name, request)
                .return_consumed_capacity(ReturnConsumedCapacity::Total)
                .send()
                .await?;
            call.end(output.consumed_capacity());
            found.extend(output.responses.into_iter().flatten().flat_map(|(_, items)| items));
            wanted = output.unprocessed_keys.into_iter().flatten().flat_map(|(_, left)| left.keys).collect();
            if wanted.is_empty() {
                return Ok(found);
            }
            tokio::time::sleep(jitter(attempt)).await;
        }
        Err(TableError::Contended)
    }

    /// Every row of a partition, in 0.5 capacity units per 4 KB.
    pub async fn query_all<T: DeserializeOwned + Send>(
        &self,
        (source, partition): (Source, String),
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

    /// One page of a Query: at most `limit` rows or 1 MB, and whether there may be more. `only` is a projection expression,
    /// in which reserved words have a `#` before them.
    pub async fn query<T: DeserializeOwned>(
        &self,
        query: Query<'_>,
        only: Option<&str>,
    ) -> Result<(Vec<T>, bool), TableError> {
        let (items, more) = self.query_items(query, only).await?;
        Ok((read_items(items)?, more))
    }

    /// The same, but only the rows' sort keys come over the wire. The capacity units are those of the whole rows.
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
        for reserved in only.into_iter().flat_map(|only| only.split(", ")).filter(|name| name.starts_with('#')) {
            request = request.expression_attribute_names(reserved, &reserved[1..]);
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
        let output = request.key_condition_expression(condition).send().await?;
        call.end(output.consumed_capacity());
        let more = output.last_evaluated_key().is_some();
        Ok((output.items.unwrap_or_default(), more))
    }

    /// The items of a partition of the table itself whose sort keys lie between two, both included, in ascending order and
    /// strongly consistent. At most `limit` of them or 1 MB, and whether there may be more.
    pub async fn range(
        &self,
        partition: String,
        (from, to): (&str, &str),
        limit: Option<i32>,
    ) -> Result<(Vec<Item>, bool), TableError> {
        self.range_after(&partition, (from, to), None, limit).await
    }

    /// The same from behind a sort key.
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
        let output = self
            .client
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
            .send()
            .await?;
        call.end(output.consumed_capacity());
        let more = output.last_evaluated_key().is_some();
        Ok((output.items.unwrap_or_default(), more))
    }

    /// Goes through `limit` rows of the whole table, in no order, from behind one of them. Gives the keys of those that have
    /// one of these sort keys, and the last row if there may be more. It reads every row that it goes through: it is for
    /// maintenance, and no request may wait for it.
    pub(crate) async fn scan_for(
        &self,
        sort_keys: &[&str],
        after: Option<&Key>,
        limit: i32,
    ) -> Result<(Vec<Key>, Option<Key>), TableError> {
        let names: Vec<_> = (0..sort_keys.len()).map(|at| format!(":sk{at}")).collect();
        let values = names.iter().zip(sort_keys).map(|(name, sk)| (name.clone(), AttributeValue::S((*sk).to_owned())));
        let call = Call::start();
        let output = self
            .client
            .scan()
            .table_name(&*self.name)
            .filter_expression(format!("sk IN ({})", names.join(", ")))
            .set_expression_attribute_values(Some(values.collect()))
            .projection_expression("pk, sk")
            .select(Select::SpecificAttributes)
            .set_exclusive_start_key(after.cloned().map(Key::attributes))
            .limit(limit)
            .return_consumed_capacity(ReturnConsumedCapacity::Total)
            .send()
            .await?;
        call.end(output.consumed_capacity());
        let last = output.last_evaluated_key.map(read_item).transpose()?;
        Ok((read_items(output.items.unwrap_or_default())?, last))
    }

    /// Sets numbers of an item whose numbers are still those that were read. `false`: they are others.
    pub(crate) async fn swap(&self, key: Key, was: &Numbers, is: &Numbers) -> Result<bool, TableError> {
        let number = |number: &i64| AttributeValue::N(number.to_string());
        let (mut conditions, mut sets) = (Vec::new(), Vec::new());
        let (mut names, mut values) = (HashMap::new(), Item::new());
        for (at, name) in was.keys().chain(is.keys().filter(|name| !was.contains_key(*name))).enumerate() {
            names.insert(format!("#n{at}"), name.clone());
            conditions.push(match was.get(name) {
                Some(old) => {
                    values.insert(format!(":was{at}"), number(old));
                    format!("#n{at} = :was{at}")
                }
                None => format!("attribute_not_exists(#n{at})"),
            });
            if let Some(new) = is.get(name) {
                values.insert(format!(":is{at}"), number(new));
                sets.push(format!("#n{at} = :is{at}"));
            }
        }
        let (expression, condition) = (format!("SET {}", sets.join(", ")), Some(conditions.join(" AND ")));
        Ok(self.update_if(key, expression, condition, Some(names), values).await?.is_ok())
    }

    /// A conditional update; gives the item as it is afterwards.
    pub async fn update(&self, key: Key, change: Change) -> Result<Result<Item, ConditionFailed>, TableError> {
        let Change { expression, condition, names, values } = change;
        self.update_if(key, expression, condition.map(str::to_owned), names, values).await
    }

    async fn update_if(
        &self,
        key: Key,
        expression: String,
        condition: Option<String>,
        names: Option<HashMap<String, String>>,
        values: Item,
    ) -> Result<Result<Item, ConditionFailed>, TableError> {
        let call = Call::start();
        let sent = self
            .client
            .update_item()
            .table_name(&*self.name)
            .set_key(Some(key.attributes()))
            .update_expression(expression)
            .set_condition_expression(condition)
            .set_expression_attribute_names(names)
            .set_expression_attribute_values(Some(values))
            .return_values(ReturnValue::AllNew)
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld)
            .return_consumed_capacity(ReturnConsumedCapacity::Total)
            .send()
            .await;
        match sent {
            Ok(output) => {
                call.end(output.consumed_capacity());
                Ok(Ok(output.attributes.unwrap_or_default()))
            }
            Err(error) => match error.as_service_error() {
                Some(UpdateItemError::ConditionalCheckFailedException(failed)) => {
                    call.end([]);
                    Ok(Err(ConditionFailed { current: failed.item().cloned() }))
                }
                _ => Err(error.into()),
            },
        }
    }

    /// All of the writes or none. Gives way to other transactions on the same items, some 5 s at most.
    pub async fn transact(&self, writes: Vec<Write>) -> Result<(), TransactFailed> {
        let items = writes.into_iter().map(|write| write.build(&self.name)).collect::<Result<Vec<_>, _>>();
        let items = items.map_err(|error| TransactFailed::Table(error.into()))?;
        for attempt in 0..MAX_CONFLICTS {
            match self.transact_once(items.clone()).await {
                Err(TransactFailed::Conflict) => tokio::time::sleep(jitter(attempt)).await,
                ended => return ended,
            }
        }
        Err(TransactFailed::Conflict)
    }

    /// The SDK's own retries carry a client token, so they can't write twice.
    async fn transact_once(&self, items: Vec<TransactWriteItem>) -> Result<(), TransactFailed> {
        let call = Call::start();
        let sent = self
            .client
            .transact_write_items()
            .set_transact_items(Some(items))
            .return_consumed_capacity(ReturnConsumedCapacity::Total)
            .send()
            .await;
        let error = match sent {
            Ok(output) => {
                call.end(output.consumed_capacity());
                return Ok(());
            }
            Err(error) => error,
        };
        call.end([]);
        let Some(TransactWriteItemsError::TransactionCanceledException(canceled)) = error.as_service_error() else {
            return Err(TransactFailed::Table(error.into()));
        };
        let reasons = canceled.cancellation_reasons();
        let failed = |code| reasons.iter().any(|reason| reason.code() == Some(code));
        if failed("ConditionalCheckFailed") {
            let condition = |reason: &aws_sdk_dynamodb::types::CancellationReason| {
                let failed = reason.code() == Some("ConditionalCheckFailed");
                failed.then(|| ConditionFailed { current: reason.item().cloned() })
            };
            Err(TransactFailed::Conditions(reasons.iter().map(condition).collect()))
        } else if failed("TransactionConflict") {
            Err(TransactFailed::Conflict)
        } else {
            Err(TransactFailed::Table(error.into()))
        }
    }
}

/// The keys that one BatchGetItem takes
/// (<https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_BatchGetItem.html>).
const MAX_BATCH: usize = 100;

/// Transactions on the same items that one gives way to.
const MAX_CONFLICTS: u32 = 64;

/// A random pause of up to 5 ms, 10 ms, … 160 ms, so that rivals don't meet again.
fn jitter(attempt: u32) -> Duration {
    let mut byte = [0u8; 1];
    getrandom::fill(&mut byte).expect("the operating system gives random bytes");
    Duration::from_micros(u64::from(byte[0]) * (20 << attempt.min(5)))
}

impl From<TransactFailed> for Error {
    fn from(failed: TransactFailed) -> Self {
        match failed {
            TransactFailed::Table(error) => error.into(),
            TransactFailed::Conflict => {
                Error::new(ErrorCode::ServiceUnavailable, "The resource is being changed by others").retry_after(1)
            }
            TransactFailed::Conditions(_) => Error::internal("a condition failed that has no answer"),
        }
    }
}

/// Where a Query reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    Table,
    /// One of the table's global secondary indexes, `gsi1` to `gsi5`.
    Index(u8),
}

impl Source {
    pub fn index_name(self) -> Option<&'static str> {
        match self {
            Self::Table => None,
            Self::Index(1) => Some("gsi1"),
            Self::Index(2) => Some("gsi2"),
            Self::Index(3) => Some("gsi3"),
            Self::Index(4) => Some("gsi4"),
            Self::Index(_) => Some("gsi5"),
        }
    }

    pub fn key_attributes(self) -> (&'static str, &'static str) {
        match self {
            Self::Table => ("pk", "sk"),
            Self::Index(1) => ("gsi1pk", "gsi1sk"),
            Self::Index(2) => ("gsi2pk", "gsi2sk"),
            Self::Index(3) => ("gsi3pk", "gsi3sk"),
            Self::Index(4) => ("gsi4pk", "gsi4sk"),
            Self::Index(_) => ("gsi5pk", "gsi5sk"),
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    Ascending,
    Descending,
}

impl Order {
    pub fn reversed(self) -> Self {
        match self {
            Self::Ascending => Self::Descending,
            Self::Descending => Self::Ascending,
        }
    }
}

#[derive(Debug)]
pub struct Query<'a> {
    pub source: Source,
    pub partition: String,
    pub order: Order,
    /// Only rows strictly beyond this sort key, in the query's order.
    pub after: Option<&'a str>,
    pub limit: i32,
}

/// An update expression with its condition and values.
#[derive(Clone, Debug, Default)]
pub struct Change {
    pub expression: String,
    pub condition: Option<&'static str>,
    pub names: Option<HashMap<String, String>>,
    pub values: Item,
}

/// One write of a transaction.
#[derive(Clone, Debug)]
pub enum Write {
    Put {
        item: Item,
        condition: Option<&'static str>,
        values: Option<Item>,
    },
    Update {
        key: Key,
        change: Change,
    },
    /// Whether or not it exists.
    Delete {
        key: Key,
    },
    DeleteIf {
        key: Key,
        condition: &'static str,
        names: Option<HashMap<String, String>>,
        values: Option<Item>,
    },
    /// Changes nothing, but the condition must hold.
    Check {
        key: Key,
        condition: &'static str,
        values: Option<Item>,
    },
}

impl Write {
    /// Puts an item that must not exist yet.
    pub fn create(key: Key, row: &impl Serialize, index_keys: Vec<IndexKey>) -> Result<Self, TableError> {
        let condition = Some("attribute_not_exists(pk)");
        Ok(Self::Put { item: item(key, row, index_keys)?, condition, values: None })
    }

    /// Puts an item whether or not it exists.
    pub fn put(key: Key, row: &impl Serialize) -> Result<Self, TableError> {
        Ok(Self::Put { item: item(key, row, Vec::new())?, condition: None, values: None })
    }

    /// Puts an item in the place of one that has the given version, which the condition calls `:version`.
    pub fn replace(
        key: Key,
        row: &impl Serialize,
        index_keys: Vec<IndexKey>,
        condition: &'static str,
        version: u64,
    ) -> Result<Self, TableError> {
        let values = Item::from([(":version".to_owned(), AttributeValue::N(version.to_string()))]);
        Ok(Self::Put { item: item(key, row, index_keys)?, condition: Some(condition), values: Some(values) })
    }

    /// Puts an item whatever it replaces, if the condition holds of that.
    pub fn put_if(
        key: Key,
        row: &impl Serialize,
        index_keys: Vec<IndexKey>,
        condition: &'static str,
        values: Item,
    ) -> Result<Self, TableError> {
        Ok(Self::Put { item: item(key, row, index_keys)?, condition: Some(condition), values: Some(values) })
    }

    fn build(self, table: &str) -> Result<TransactWriteItem, aws_sdk_dynamodb::error::BuildError> {
        let items = TransactWriteItem::builder();
        Ok(match self {
            Self::Put { item, condition, values } => items.put(
                Put::builder()
                    .table_name(table)
                    .set_item(Some(item))
                    .set_condition_expression(condition.map(str::to_owned))
                    .set_expression_attribute_values(values)
                    .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld)
                    .build()?,
            ),
            Self::Update { key, change } => items.update(
                Update::builder()
                    .table_name(table)
                    .set_key(Some(key.attributes()))
                    .update_expression(change.expression)
                    .set_condition_expression(change.condition.map(str::to_owned))
                    .set_expression_attribute_names(change.names)
                    .set_expression_attribute_values(Some(change.values))
                    .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld)
                    .build()?,
            ),
            Self::Delete { key } => {
                items.delete(Delete::builder().table_name(table).set_key(Some(key.attributes())).build()?)
            }
            Self::DeleteIf { key, condition, names, values } => items.delete(
                Delete::builder()
                    .table_name(table)
                    .set_key(Some(key.attributes()))
                    .condition_expression(condition)
                    .set_expression_attribute_names(names)
                    .set_expression_attribute_values(values)
                    .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld)
                    .build()?,
            ),
            Self::Check { key, condition, values } => items.condition_check(
                ConditionCheck::builder()
                    .table_name(table)
                    .set_key(Some(key.attributes()))
                    .condition_expression(condition)
                    .set_expression_attribute_values(values)
                    .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld)
                    .build()?,
            ),
        }
        .build())
    }
}

/// Where an item stands in an index.
#[derive(Clone, Debug)]
pub struct IndexKey {
    pub source: Source,
    pub partition: String,
    pub sort: String,
}

/// A row from an item. It is read from the SDK's hash map, of which [`serde_dynamo::from_item`] would make another first.
pub fn read_item<T: DeserializeOwned>(item: Item) -> Result<T, TableError> {
    let attributes = item.into_iter().map(|(name, value)| (name, Attribute(value)));
    Ok(T::deserialize(MapDeserializer::new(attributes))?)
}

pub(crate) fn read_items<T: DeserializeOwned>(items: Vec<Item>) -> Result<Vec<T>, TableError> {
    items.into_iter().map(read_item).collect()
}

struct Attribute(AttributeValue);

impl IntoDeserializer<'_, serde_dynamo::Error> for Attribute {
    type Deserializer = serde_dynamo::Deserializer;

    fn into_deserializer(self) -> Self::Deserializer {
        serde_dynamo::Deserializer::from_attribute_value(self.0.into())
    }
}

fn item(key: Key, row: &impl Serialize, index_keys: Vec<IndexKey>) -> Result<Item, TableError> {
    let mut item: Item = serde_dynamo::to_item(row)?;
    item.extend(key.attributes());
    for IndexKey { source, partition, sort } in index_keys {
        let (pk, sk) = source.key_attributes();
        item.insert(pk.to_owned(), AttributeValue::S(partition));
        item.insert(sk.to_owned(), AttributeValue::S(sort));
    }
    Ok(item)
}
