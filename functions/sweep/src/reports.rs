//! Commit statuses that a git host has not been told.

use std::time::Duration;

use futures_util::{StreamExt, stream};
use shared::InitError;
use shared::clock::Timestamp;
use shared::model::DueReport;

use crate::pages::Pages;
use crate::{AT_ONCE, Sweep, Tally};

impl Sweep {
    /// Sends the messages of the due reports of one shard.
    pub(crate) async fn announce_reports(&self, shard: u8, now: Timestamp, time: Duration) -> Tally {
        let (mut tally, mut pages) = (Tally::default(), Pages::<DueReport>::new(shard, now, time));
        while let Some(page) = pages.next(self, &mut tally).await {
            let mut sent = stream::iter(page).map(|due| self.announce(due, now)).buffer_unordered(AT_ONCE);
            while let Some(sent) = sent.next().await {
                match sent {
                    Ok(true) => tally.sent += 1,
                    Ok(false) => tally.unchanged += 1,
                    Err(error) => self.failed(&mut tally, &*error),
                }
            }
        }
        tally
    }

    async fn announce(&self, due: DueReport, now: Timestamp) -> Result<bool, InitError> {
        // The index may be behind the row, whose due time decides.
        if !due.put_off(self.app.table(), now).await? {
            return Ok(false);
        }
        self.statuses.send(&due.status).await?;
        Ok(true)
    }
}
