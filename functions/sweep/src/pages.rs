//! Reading what is due, in pages.

use std::time::Duration;

use shared::clock::Timestamp;
use shared::model::DueEntry;

use crate::{PAGE, Sweep, Tally};

/// The entries of a shard that are due, a page at a time.
pub(crate) struct Pages<Entry> {
    shard: u8,
    now: Timestamp,
    time: Duration,
    last: Option<Entry>,
}

impl<Entry: DueEntry + Clone> Pages<Entry> {
    /// Begins with what is due at `now`, and ends after `time`.
    pub(crate) fn new(shard: u8, now: Timestamp, time: Duration) -> Self {
        Self { shard, now, time, last: None }
    }

    /// Reads the next page. Without one, the tally says whether that is because nothing else is due.
    pub(crate) async fn next(&mut self, sweep: &Sweep, tally: &mut Tally) -> Option<Vec<Entry>> {
        if sweep.app.clock().now().since(self.now) >= self.time {
            return None;
        }
        let page = match Entry::page(sweep.app.table(), self.shard, self.now, self.last.as_ref(), PAGE).await {
            Ok(page) => page,
            Err(error) => {
                sweep.failed(tally, &error);
                return None;
            }
        };
        self.last = page.last().cloned();
        tally.complete = self.last.is_none();
        self.last.is_some().then_some(page)
    }
}
