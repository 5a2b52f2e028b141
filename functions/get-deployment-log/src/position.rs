//! The position in a log, and the size of a page.

use serde::Deserialize;
use shared::extract::{LARGEST, Number};
use shared::{Error, Result};

/// The lines of a page of JSON, unless the request says how many.
const DEFAULT_LIMIT: usize = 1000;
/// The lines of a page of text, unless the request says how many. The size of the page bounds them first.
const DEFAULT_TEXT_LIMIT: usize = 1_000_000;

/// The position in the log, and the size of the page.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
pub struct LogPosition {
    /// The number of the last line that the client has. The response starts after it. Default: 0.
    #[param(value_type = Option<u64>, minimum = 0)]
    after: Option<Number<0, { LARGEST }, 0>>,
    /// The maximum number of lines to return. Default: 1000, or as text as many as fit into a page.
    #[param(value_type = Option<u32>, minimum = 1, maximum = 1000)]
    limit: Option<Number<1, 1000, 1000>>,
    /// Returns this many of the last lines, in the place of the lines after a position.
    #[param(value_type = Option<u32>, minimum = 1, maximum = 1000)]
    tail: Option<Number<1, 1000, 1000>>,
}

/// The lines that a request asks for.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Start {
    /// The lines after a number, at most this many.
    After(u64, usize),
    /// The last lines, at most this many.
    Tail(usize),
}

impl LogPosition {
    /// # Errors
    /// Fails with `invalid_request` if the request asks for the end and for a position.
    pub(crate) fn start(&self, as_text: bool) -> Result<Start> {
        let count = |number: u64| usize::try_from(number).expect("at most 1000");
        match (self.tail, self.after, self.limit) {
            (Some(tail), None, None) => Ok(Start::Tail(count(tail.get()))),
            (Some(_), ..) => Err(Error::invalid("tail", "can't be sent with after or limit; leave these out")),
            (None, after, limit) => {
                let default = if as_text { DEFAULT_TEXT_LIMIT } else { DEFAULT_LIMIT };
                let limit = limit.map_or(default, |limit| count(limit.get()));
                Ok(Start::After(after.map_or(0, Number::get), limit))
            }
        }
    }
}

impl Start {
    /// Returns the number after which the log goes on if the page has no lines.
    pub(crate) fn after(self) -> u64 {
        match self {
            Self::After(after, _) => after,
            Self::Tail(_) => 0,
        }
    }
}
