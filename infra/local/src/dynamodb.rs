//! An embedded DynamoDB behind a loopback HTTP port, for the real AWS SDK.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

pub use dynoxide::{AttributeValue, DynoxideError, Item};
use dynoxide::{Database, ImportOptions, storage_backend};
use tokio::task::JoinHandle;

use crate::server;
use crate::server::Server;
use shared::clock::Clock;

/// The database's file in its data folder. SQLite keeps two more beside it while it is open.
const FILE: &str = "dynamodb.sqlite";

/// The location of the tables.
pub enum Storage {
    /// In memory, until the database stops. Items expire by this clock.
    Memory(Clock),
    /// In this folder, which is created if it does not exist. Items expire by the system's clock, because the engine
    /// accepts another clock only in memory.
    Folder(PathBuf),
}

/// The reason why the database did not start.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs, reason = "the message of each variant describes it")]
pub enum StartError {
    #[error("{} is not a database of the local stack; start with --fresh, or choose another folder with --data", .0.display())]
    NotADatabase(PathBuf),
    #[error("the database {} can't be opened", .0.display())]
    Open(PathBuf, #[source] DynoxideError),
    #[error("the data folder {} can't be used", .0.display())]
    Folder(PathBuf, #[source] io::Error),
    #[error(transparent)]
    Listen(#[from] io::Error),
}

/// A running DynamoDB. Dropping it stops it.
pub struct DynamoDb {
    database: Database,
    server: Server,
    sweeper: Option<Sweeper>,
}

struct Sweeper(JoinHandle<()>);

impl DynamoDb {
    /// Opens the database and listens on `address`, which must be on 127.0.0.1. Deletes expired items every
    /// `sweep_every`, or never for `None`. AWS takes up to a few days, so no reader may rely on the deletion.
    ///
    /// # Errors
    ///
    /// Fails if the storage can't be opened or the address can't be bound.
    ///
    /// # Panics
    ///
    /// Panics if `sweep_every` is zero.
    pub async fn start(
        storage: Storage,
        address: SocketAddr,
        sweep_every: Option<Duration>,
    ) -> Result<Self, StartError> {
        let database = open(storage)?;
        let listener = server::bind(address).await?;
        let sweeper = sweep_every.map(|every| Sweeper(tokio::spawn(sweep(database.clone(), every))));
        let served = database.clone();
        let server = Server::start(listener, |listener, stop| async {
            if let Err(error) = dynoxide::server::serve_with_shutdown(listener, served, stop).await {
                tracing::error!(%error, "DynamoDB stopped");
            }
        })?;
        Ok(Self { database, server, sweeper })
    }

    /// Returns the endpoint URL for an SDK client, such as `http://127.0.0.1:49152`.
    #[must_use]
    pub fn endpoint(&self) -> String {
        self.server.endpoint()
    }

    /// Puts items into a table, several times as fast as a client can.
    ///
    /// # Errors
    ///
    /// Fails if there is no such table or if an item is invalid, and then puts nothing.
    pub fn import(&self, table: &str, items: Vec<Item>) -> Result<(), DynoxideError> {
        self.database.import_items(table, items, ImportOptions::default()).map(drop)
    }

    /// Stops listening, and waits at most five seconds for running requests.
    pub async fn shutdown(self) {
        drop(self.sweeper);
        self.server.shutdown().await;
    }
}

impl Drop for Sweeper {
    fn drop(&mut self) {
        self.0.abort();
    }
}

fn open(storage: Storage) -> Result<Database, StartError> {
    match storage {
        Storage::Memory(clock) => Database::memory_with_clock(Arc::new(EngineClock(clock)))
            .map_err(|error| StartError::Open(PathBuf::from(":memory:"), error)),
        Storage::Folder(folder) => {
            if let Err(error) = std::fs::create_dir_all(&folder) {
                return Err(StartError::Folder(folder, error));
            }
            let file = folder.join(FILE);
            let Some(name) = file.to_str() else {
                let error = io::Error::new(io::ErrorKind::InvalidInput, "its name is not UTF-8");
                return Err(StartError::Folder(folder, error));
            };
            Database::new(name).map_err(|error| match error {
                DynoxideError::InternalServerError(_) => StartError::NotADatabase(file),
                error => StartError::Open(file, error),
            })
        }
    }
}

async fn sweep(database: Database, every: Duration) {
    let mut ticks = tokio::time::interval(every);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let database = database.clone();
        match tokio::task::spawn_blocking(move || database.sweep_ttl()).await {
            Ok(Ok(_deleted)) => {}
            Ok(Err(error)) => tracing::warn!(%error, "expired items were not deleted"),
            Err(error) => tracing::warn!(%error, "expired items were not deleted"),
        }
    }
}

struct EngineClock(Clock);

impl storage_backend::Clock for EngineClock {
    fn now_unix_secs(&self) -> u64 {
        self.0.now().as_seconds().max(0).unsigned_abs()
    }

    fn now_unix_secs_f64(&self) -> f64 {
        Duration::from_millis(self.0.now().as_millis().max(0).unsigned_abs()).as_secs_f64()
    }
}
