//! The DynamoDB table: typed calls, each of which adds its cost to the request's [`Usage`](crate::usage::Usage).

mod error;
mod item;
mod key;
mod put;
mod query;
mod read;
mod transaction;
mod update;
mod values;
mod write;

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use aws_sdk_dynamodb::Client;

use crate::attempts::{Attempts, Pauses};

pub use error::*;
pub use item::*;
pub use key::*;
pub use query::*;
pub(crate) use read::*;
pub(crate) use transaction::*;
pub(crate) use values::*;
pub(crate) use write::*;

/// The maximum time that init waits for DynamoDB. Lambda gives init ten seconds in all.
const CONNECT_LIMIT: Duration = Duration::from_secs(3);

/// The table, with the client that reaches it.
#[derive(Clone, Debug)]
pub struct Table {
    client: Client,
    name: Arc<str>,
    pauses: Pauses,
}

/// Boxes a call of the SDK. Its future has some kilobytes, which every future around it would have to carry.
fn boxed<F: Future>(call: F) -> Pin<Box<F>> {
    Box::pin(call)
}

impl Table {
    /// Returns the table of this name, without a call.
    pub fn new(client: Client, name: &str) -> Self {
        Self { client, name: name.into(), pauses: Pauses::Random }
    }

    /// Returns the table with these pauses between the attempts of an operation.
    #[must_use]
    pub fn with_pauses(self, pauses: Pauses) -> Self {
        Self { pauses, ..self }
    }

    /// Returns the attempts of an operation that competes with others for items of the table.
    pub fn attempts(&self) -> Attempts {
        Attempts::new(self.pauses)
    }

    /// Returns the SDK's client, for calls that the table does not offer.
    pub fn client(&self) -> &Client {
        &self.client
    }

    /// Returns the table's name in DynamoDB.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Opens connections in init by reading an item, so that the first request does not wait for them. DynamoDB speaks
    /// HTTP/1.1, so concurrent calls need one connection each. Ignores failures, which the next request meets itself.
    pub(crate) async fn connect(&self, key: Key, connections: usize) {
        let call = || self.client.get_item().table_name(&*self.name).set_key(Some(key.clone().attributes())).send();
        let calls = futures_util::future::join_all((0..connections).map(|_| call()));
        let _ = tokio::time::timeout(CONNECT_LIMIT, calls).await;
    }
}
