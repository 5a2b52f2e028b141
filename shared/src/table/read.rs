//! Reads by key.

use aws_sdk_dynamodb::types::{KeysAndAttributes, ReturnConsumedCapacity};
use serde::de::DeserializeOwned;

use super::error::TableError;
use super::item::{Item, read_item, read_items};
use super::key::Key;
use super::{Table, boxed};
use crate::usage::Call;

/// The keys in one BatchGetItem
/// (<https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_BatchGetItem.html>).
const MAX_BATCH: usize = 100;

/// The consistency of a read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Consistency {
    /// May miss the writes of the last second, at half the price.
    Eventual,
    Strong,
}

impl Table {
    pub(crate) async fn get<T: DeserializeOwned>(
        &self,
        key: Key,
        consistency: Consistency,
    ) -> Result<Option<T>, TableError> {
        let call = Call::start();
        let output = boxed(
            self.client
                .get_item()
                .table_name(&*self.name)
                .set_key(Some(key.attributes()))
                .consistent_read(consistency == Consistency::Strong)
                .return_consumed_capacity(ReturnConsumedCapacity::Total)
                .send(),
        )
        .await?;
        call.end(output.consumed_capacity());
        output.item.map(read_item).transpose()
    }

    /// Returns the items of different keys that exist, in no order and eventually consistent, with one BatchGetItem per 100.
    pub(crate) async fn batch_get<T: DeserializeOwned>(&self, keys: Vec<Key>) -> Result<Vec<T>, TableError> {
        let keys: Vec<Item> = keys.into_iter().map(Key::attributes).collect();
        let mut found = Vec::with_capacity(keys.len());
        for chunk in keys.chunks(MAX_BATCH) {
            found.extend(self.batch(chunk.to_vec(), Consistency::Eventual).await?);
        }
        read_items(found)
    }

    /// Returns the items of a few different keys, each in the place of its key, with one BatchGetItem.
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

    /// Returns the items of at most [`MAX_BATCH`] keys. DynamoDB may leave some to the next call.
    async fn batch(&self, mut wanted: Vec<Item>, consistency: Consistency) -> Result<Vec<Item>, TableError> {
        let mut found = Vec::with_capacity(wanted.len());
        let mut attempts = self.attempts();
        while attempts.begin().await {
            let request = KeysAndAttributes::builder()
                .set_keys(Some(wanted))
                .consistent_read(consistency == Consistency::Strong)
                .build()?;
            let call = Call::start();
            let output = boxed(
                self.client
                    .batch_get_item()
                    .request_items(&*self.name, request)
                    .return_consumed_capacity(ReturnConsumedCapacity::Total)
                    .send(),
            )
            .await?;
            call.end(output.consumed_capacity());
            found.extend(output.responses.into_iter().flatten().flat_map(|(_, items)| items));
            wanted = output.unprocessed_keys.into_iter().flatten().flat_map(|(_, left)| left.keys).collect();
            if wanted.is_empty() {
                return Ok(found);
            }
        }
        Err(TableError::Unprocessed)
    }
}
