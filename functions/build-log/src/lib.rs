//! Copies the lines of builds by CodeBuild into the archive, as CloudWatch Logs delivers them.
//!
//! CloudWatch Logs delivers lines at least once, several batches of a build at a time, and in any order. A conditional write gives each
//! batch the numbers of its lines before they are stored ([`BuildLogPlace`]), so that the log is one sequence, to which nothing is added
//! twice and in which nothing moves. Lines that come late have the numbers that are next. If the function dies between the two, the
//! delivery comes again and is stored under the numbers that it has. Until then, a reader waits at the gap.
//!
//! A log keeps its beginning and its end, as the log of a run by the consumer does.

mod event;
mod pieces;

use std::time::Instant;

use archive::Archive;
use lambda_runtime::LambdaEvent;
use serde::Serialize;
use shared::error::chain;
use shared::model::{BuildLogPlace, Deployment, LogBatch};
use shared::table::TableError;
use shared::telemetry::{Level, MessageLine};
use shared::usage::Usage;
use shared::{App, InitError};

use crate::event::{Delivery, LogEvent};
use crate::pieces::Pieces;

pub use event::Event;

/// The handler of deliveries.
#[derive(Clone, Debug)]
pub struct BuildLog {
    app: App,
    archive: Archive,
}

/// The outcome of a delivery.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Handled {
    outcome: &'static str,
}

impl BuildLog {
    /// # Errors
    /// Fails if a setting is missing or invalid.
    pub fn new(app: &App) -> Result<Self, InitError> {
        Ok(Self { archive: Archive::new(app)?, app: app.clone() })
    }

    /// Handles one delivery.
    ///
    /// # Errors
    /// Fails if the delivery can't be read, or if DynamoDB or the archive fails. Lambda then repeats it twice.
    pub async fn invoke(&self, event: LambdaEvent<Event>) -> Result<Handled, InitError> {
        let started = Instant::now();
        let mut deployment_id = None;
        let (handled, usage) = Usage::of(async {
            let Some(delivery) = event.payload.delivery()? else { return Ok("ignored") };
            let Some((account, deployment)) = delivery.deployment() else { return Ok("ignored") };
            deployment_id = Some(deployment.clone());
            let Some(found) = Deployment::load(self.app.table(), &account, &deployment).await? else {
                return Ok("gone");
            };
            // Whoever writes to another stream does not know the name of the attempt's own.
            if !delivery.log_stream.starts_with(&format!("{}/", found.log_stream_prefix())) {
                return Ok("not_its_build");
            }
            if !found.takes_lines(self.app.clock().now()) {
                return Ok("late");
            }
            Box::pin(self.store(&found, &delivery)).await
        })
        .await;
        let (level, outcome) = match &handled {
            Ok(outcome) => (Level::Info, *outcome),
            Err(_) => (Level::Error, "failed"),
        };
        self.app.log().write(&MessageLine {
            metrics: self.app.metrics(env!("CARGO_PKG_NAME"), started.elapsed(), usage, level == Level::Error),
            level,
            message_id: None,
            deployment_id: deployment_id.as_ref(),
            outcome,
            cause: handled.as_ref().err().map(|error: &InitError| chain(&**error)),
        });
        handled.map(|outcome| Handled { outcome })
    }

    async fn store(
        &self,
        deployment: &Deployment,
        Delivery { log_events, .. }: &Delivery,
    ) -> Result<&'static str, InitError> {
        let (table, prefix) = (self.app.table(), deployment.log_prefix());
        let (first, last) = (&log_events[0], &log_events[log_events.len() - 1]);
        let mut attempts = table.attempts();
        while attempts.begin().await {
            let place = match BuildLogPlace::load(table, deployment).await? {
                Some(place) => place,
                None => BuildLogPlace::after(self.archive.last_log_number(&prefix).await?),
            };
            let known = place.find(&first.id, &last.id);
            let new: Vec<LogEvent> = log_events.iter().filter(|event| !place.has(&event.id, known)).cloned().collect();
            if let Some(batch) = known {
                let pieces = Pieces::of(&new, batch.after, batch.head_bytes);
                self.store_pieces(&prefix, &pieces, &place).await?;
                return Ok("repeated");
            }
            if new.is_empty() {
                return Ok("repeated");
            }
            let pieces = Pieces::of(&new, place.last_number, place.head_bytes);
            let (tail, old) = pieces.added_to(&place.tail);
            let batch = LogBatch {
                first: first.id.clone(),
                last: last.id.clone(),
                after: place.last_number,
                head_bytes: place.head_bytes,
            };
            let next = place.with(batch, pieces.last_number, pieces.head_bytes, tail);
            if next.store(table, deployment).await? {
                self.store_pieces(&prefix, &pieces, &next).await?;
                for part in old.iter().filter(|part| part.after < place.last_number) {
                    self.archive.remove_chunks(&prefix, part.after, part.to).await?;
                }
                return Ok("stored");
            }
        }
        Err(TableError::Contended.into())
    }

    async fn store_pieces(
        &self,
        prefix: &str,
        Pieces { pieces, .. }: &Pieces,
        place: &BuildLogPlace,
    ) -> Result<(), InitError> {
        for piece in pieces.iter().filter(|piece| piece.is_kept(&place.tail)) {
            self.archive.store_chunk(prefix, &piece.lines).await?;
        }
        Ok(())
    }
}
