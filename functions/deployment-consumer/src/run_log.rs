//! The log of one run: lines go through a channel into the archive.

use std::time::Duration;

use archive::{LogWriter, Stream};
use shared::App;
use tokio::sync::mpsc;
use tokio::time::{MissedTickBehavior, interval};

use crate::retry::Retry;

/// The time between two flushes of new lines into the archive, where readers see them.
const FLUSH_EVERY: Duration = Duration::from_secs(1);

/// The sending half of a run's log.
#[derive(Clone)]
pub(crate) struct RunLog(pub(crate) mpsc::Sender<(Stream, String)>);

impl RunLog {
    /// Sends a line of the pipeline itself.
    pub(crate) async fn say(&self, text: impl Into<String>) {
        // A missing receiver means that the run has already ended.
        let _ = self.0.send((Stream::System, text.into())).await;
    }
}

/// Stores lines until the last sender is gone. While the archive fails, the lines wait and the build goes on. Fails if
/// they can't be stored at the end.
pub(crate) async fn store(
    mut writer: LogWriter,
    mut lines: mpsc::Receiver<(Stream, String)>,
    app: &App,
) -> Result<(), Retry> {
    let mut tick = interval(FLUSH_EVERY);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            line = lines.recv() => match line {
                Some((stream, text)) => {
                    // A line that can't be stored now waits for the next tick, which logs the error.
                    let _ = writer.push(app.clock().now().as_millis(), stream, &text).await;
                }
                None => return Ok(writer.finish().await?),
            },
            _ = tick.tick() => {
                if let Err(error) = writer.flush().await {
                    app.log().warn("log lines could not be stored; they wait for the next attempt", &error);
                }
            }
        }
    }
}
