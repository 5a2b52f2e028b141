//! Questions to the API of a connection's host, within the bounds of look-ups.

use std::sync::Arc;
use std::time::{Duration, Instant};

use git::{LOOKUP_TIME, LookUps, Passing, Question, RemoteError, Retries};
use providers::{Api, ApiError, AppError};
use shared::model::Connection;

use crate::Connections;

/// The time in which a host's API must answer.
#[derive(Clone, Copy, Debug)]
pub struct TimeLimit {
    pub(crate) deadline: Instant,
    pub(crate) is_of_fetch: bool,
}

impl TimeLimit {
    /// Returns the limit of a request, which a client waits for.
    pub fn of_request() -> Self {
        Self { deadline: Instant::now() + LOOKUP_TIME, is_of_fetch: false }
    }

    /// Returns the limit of a fetch that must end at this time. A host that is silent for a moment is asked again.
    pub fn of_fetch(deadline: Instant) -> Self {
        Self { deadline, is_of_fetch: true }
    }
}

/// The reason why a host's API did not answer a question. The message is meant for API clients.
#[derive(Debug, thiserror::Error)]
pub enum AskFailed {
    /// The host was not asked, or not waited for.
    #[error(transparent)]
    Host(#[from] RemoteError),
    /// The host answered otherwise.
    #[error("the API of the connection's host {0}")]
    Api(#[from] ApiError),
    /// The host refused the GitHub App.
    #[error(transparent)]
    App(#[from] AppError),
}

impl AskFailed {
    /// Returns whether the failure is the host's, and not that of the credential.
    pub(crate) fn is_of_host(&self) -> bool {
        self.api().is_some()
    }

    fn api(&self) -> Option<&ApiError> {
        match self {
            Self::Api(error) | Self::App(AppError::Api(error)) => Some(error),
            Self::Host(_) | Self::App(_) => None,
        }
    }
}

impl Passing for AskFailed {
    fn may_pass(&self) -> bool {
        self.api().is_some_and(ApiError::may_pass)
    }

    fn is_silence(&self) -> bool {
        self.api().is_some_and(ApiError::is_silence)
    }

    fn retry_after(&self) -> Option<Duration> {
        self.api().and_then(ApiError::retry_after)
    }
}

impl Connections {
    /// Asks the API of a connection's host, within the bounds of look-ups. No fetch is refused because of what look-ups have met.
    ///
    /// # Errors
    /// Fails like the question, or if the host is not waited for any longer.
    pub async fn ask<T, E>(
        &self,
        connection: &Connection,
        api: &Api,
        limit: TimeLimit,
        ask: impl Fn(&Api) -> Result<T, E> + Send + 'static,
    ) -> Result<T, AskFailed>
    where
        T: Send + 'static,
        AskFailed: From<E>,
    {
        let (look_ups, retries) = match limit.is_of_fetch {
            true => (LookUps::default(), Retries::All),
            false => (self.look_ups(&connection.account_id), Retries::Answers),
        };
        let answered = Arc::default();
        let api = api.clone().until(limit.deadline, Arc::clone(&answered));
        let question = Question { host: api.host(), deadline: limit.deadline, retries, answered };
        look_ups.ask(question, move || ask(&api).map_err(AskFailed::from)).await
    }
}
