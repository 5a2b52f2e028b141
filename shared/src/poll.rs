//! Following by conditional polling: the time at which to ask again, and answers that have nothing new.

use std::convert::Infallible;
use std::time::Duration;

use axum::response::{IntoResponseParts, ResponseParts};
use http::{HeaderName, HeaderValue};

use crate::model::{Deployment, Status};

/// The response header with the whole seconds until asking again makes sense.
const POLL_INTERVAL: HeaderName = HeaderName::from_static("x-poll-interval");

/// The time until asking again makes sense. An answer about something that has ended has none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PollInterval(Duration);

impl PollInterval {
    /// There is more to read already.
    pub const NOW: Self = Self(Duration::ZERO);
    /// A runner works, and its lines become readable every second.
    pub const RUNNING: Self = Self(Duration::from_secs(2));
    /// Another deployment has to end first, or the last lines are on their way.
    pub const WAITING: Self = Self(Duration::from_secs(5));
    /// A person has to act first.
    pub const WAITING_FOR_PEOPLE: Self = Self(Duration::from_secs(15));

    /// Returns the interval for a deployment by its row. `None` if it has ended.
    pub fn of(deployment: &Deployment) -> Option<Self> {
        match deployment.status {
            Status::Queued if !deployment.is_approved() => Some(Self::WAITING_FOR_PEOPLE),
            Status::Queued => Some(Self::WAITING),
            Status::InProgress => Some(Self::RUNNING),
            Status::Succeeded | Status::Failed | Status::Canceled | Status::Superseded => None,
        }
    }
}

impl IntoResponseParts for PollInterval {
    type Error = Infallible;

    fn into_response_parts(self, mut parts: ResponseParts) -> Result<ResponseParts, Infallible> {
        parts.headers_mut().insert(POLL_INTERVAL, HeaderValue::from(self.0.as_secs()));
        Ok(parts)
    }
}

/// Marks the page after a position that has nothing new. It does not count against the plan.
#[derive(Clone, Copy, Debug)]
pub struct NothingNew;

impl IntoResponseParts for NothingNew {
    type Error = Infallible;

    fn into_response_parts(self, mut parts: ResponseParts) -> Result<ResponseParts, Infallible> {
        parts.extensions_mut().insert(self);
        Ok(parts)
    }
}
