//! The bounds of look-ups at git hosts: a time limit, a breaker for each host, and the patience with what an account asks.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use tokio::task::spawn_blocking;
use tokio::time::timeout_at;

use crate::breaker::Breakers;
use crate::error::RemoteError;
use crate::patience::Patience;
use crate::retry::{Passing, Retries, retry};

/// The bounds of an account's look-ups at git hosts.
#[derive(Clone, Debug, Default)]
pub struct LookUps {
    breakers: Option<Breakers>,
    patience: Option<Patience>,
}

/// A question to a host.
#[derive(Clone, Debug)]
pub struct Question {
    /// The host's name and port. `None` for this machine, which needs no breaker.
    pub host: Option<String>,
    /// The time at which the look-up ends, with all of its attempts.
    pub deadline: Instant,
    /// The failures after which the host is asked again.
    pub retries: Retries,
    /// The sign that the host has begun to answer, which the question raises.
    pub answered: Arc<AtomicBool>,
}

impl LookUps {
    /// Leaves hosts alone when these breakers say so.
    #[must_use]
    pub fn with_breakers(self, breakers: Breakers) -> Self {
        Self { breakers: Some(breakers), ..self }
    }

    /// Ends slow look-ups when this patience is over.
    #[must_use]
    pub fn with_patience(self, patience: Patience) -> Self {
        Self { patience: Some(patience), ..self }
    }

    /// Asks a host, again if it fails in a way that may pass.
    ///
    /// # Errors
    /// Fails at the deadline, at once if the host is left alone, after a second if the account has too many slow look-ups, or as
    /// the question does.
    pub async fn ask<T, E>(
        &self,
        question: Question,
        mut ask: impl FnMut() -> Result<T, E> + Send + 'static,
    ) -> Result<T, E>
    where
        T: Send + 'static,
        E: From<RemoteError> + Passing + Send + 'static,
    {
        let Question { host, deadline, retries, answered } = question;
        let breaker = host.zip(self.breakers.as_ref());
        if let Some((host, breakers)) = &breaker {
            breakers.admit(host, Instant::now())?;
        }
        let ended =
            run(deadline, self.patience.as_ref(), move |interrupt| retry(retries, deadline, interrupt, &mut ask)).await;
        if let Some((host, breakers)) = breaker {
            let is_silent = match &ended {
                Ok(found) => found.as_ref().is_err_and(Passing::is_silence),
                Err(error) => error.is_silence(),
            };
            if !matches!(ended, Err(RemoteError::TooManySlow(_))) {
                breakers.record(&host, answered.load(Ordering::Relaxed) || !is_silent, Instant::now());
            }
        }
        ended?
    }
}

/// Runs blocking work until its deadline. Raises the work's flag at the deadline and when the caller goes away,
/// and the work ends soon after that. Returns once the work has ended, so that its files can be removed. Work that patience ends has
/// none, and may go on until the deadline.
pub(crate) async fn run<T: Send + 'static>(
    deadline: Instant,
    patience: Option<&Patience>,
    work: impl FnOnce(&AtomicBool) -> T + Send + 'static,
) -> Result<T, RemoteError> {
    struct RaiseOnDrop(Arc<AtomicBool>);
    impl Drop for RaiseOnDrop {
        fn drop(&mut self) {
            self.0.store(true, Ordering::Relaxed);
        }
    }

    let interrupt = Arc::new(AtomicBool::new(false));
    let raise_on_drop = RaiseOnDrop(Arc::clone(&interrupt));
    let mut task = spawn_blocking(move || work(&interrupt));
    let ended = async {
        match patience {
            Some(patience) => patience.wait(&mut task).await,
            None => Ok((&mut task).await),
        }
    };
    match timeout_at(deadline.into(), ended).await {
        // A server's data may make gix panic. The caller must not.
        Ok(ended) => ended?.map_err(|panic| RemoteError::Protocol(panic.into())),
        Err(_) => {
            drop(raise_on_drop);
            // The result is ignored, because an interrupted checkout reports success.
            let _late = task.await;
            Err(RemoteError::TimedOut)
        }
    }
}
