//! Environments of a pattern that nothing was deployed to for a time.

use std::time::Duration;

use futures_util::{StreamExt, stream};
use shared::clock::Timestamp;
use shared::model::DueEnvironment;

use crate::pages::Pages;
use crate::{AT_ONCE, Sweep, Tally};

impl Sweep {
    /// Removes the environments that are idle, and puts the removal of the others off.
    pub(crate) async fn remove_environments(&self, now: Timestamp, time: Duration) -> Tally {
        let (mut tally, mut pages) = (Tally::default(), Pages::<DueEnvironment>::new(0, now, time));
        while let Some(page) = pages.next(self, &mut tally).await {
            let look = async |due: DueEnvironment| due.remove_if_idle(self.app.table(), now).await;
            let mut looks = stream::iter(page).map(look).buffer_unordered(AT_ONCE);
            while let Some(looked) = looks.next().await {
                match looked {
                    Ok(true) => tally.removed += 1,
                    Ok(false) => tally.unchanged += 1,
                    Err(error) => self.failed(&mut tally, &error),
                }
            }
        }
        tally
    }
}
