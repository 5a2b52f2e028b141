//! The signals that ask a command to end.

use std::io;

use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

/// Listens to SIGINT, which Ctrl-C sends, and SIGTERM. The first signal asks the command to end. The second one ends the
/// process at once.
#[derive(Clone, Debug)]
pub struct Interrupt(watch::Receiver<Option<ExitStatus>>);

/// The exit status of a process that a signal ended, as shells report it: 128 and the number of the signal.
pub type ExitStatus = u8;

const BY_SIGINT: ExitStatus = 130;
const BY_SIGTERM: ExitStatus = 143;

impl Interrupt {
    /// Starts to listen.
    ///
    /// # Errors
    /// Fails if the signals can't be received.
    pub fn listen() -> io::Result<Self> {
        let (mut interrupts, mut terminations) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
        let (sender, receiver) = watch::channel(None);
        tokio::spawn(async move {
            loop {
                let status = tokio::select! {
                    _ = interrupts.recv() => BY_SIGINT,
                    _ = terminations.recv() => BY_SIGTERM,
                };
                if sender.send_replace(Some(status)).is_some() {
                    std::process::exit(status.into());
                }
            }
        });
        Ok(Self(receiver))
    }

    /// Waits for the first signal.
    pub async fn received(&mut self) -> ExitStatus {
        match self.0.wait_for(Option::is_some).await.map(|status| *status) {
            Ok(Some(status)) => status,
            // The task that listens ends with the process.
            _ => std::future::pending().await,
        }
    }
}
