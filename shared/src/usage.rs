//! The cost of a request in DynamoDB: calls, capacity units and round trips.

use std::cell::Cell;

use aws_sdk_dynamodb::types::ConsumedCapacity;

/// The DynamoDB calls of one request.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Usage {
    /// The number of calls.
    pub calls: u32,
    /// Read and write capacity units together, as DynamoDB reports them.
    pub capacity_units: f64,
    /// The length of the longest chain of calls in which each call began after the previous one had ended.
    pub round_trips: u32,
}

tokio::task_local! {
    static USAGE: Cell<Usage>;
}

impl Usage {
    /// Runs a future and returns its output with its cost. The work of a request or a message is boxed here, so that the
    /// future around it stays small.
    pub fn of<F: Future>(work: F) -> impl Future<Output = (F::Output, Usage)> {
        let work = Box::pin(work);
        USAGE.scope(Cell::default(), async {
            let output = work.await;
            (output, USAGE.with(Cell::get))
        })
    }

    /// Returns the cost so far of the running request, or zero outside of [`Usage::of`].
    pub(crate) fn so_far() -> Usage {
        USAGE.try_with(Cell::get).unwrap_or_default()
    }
}

/// A call in progress, with its place in the chain.
pub(crate) struct Call {
    round_trip: u32,
}

impl Call {
    pub(crate) fn start() -> Self {
        Self { round_trip: Usage::so_far().round_trips + 1 }
    }

    pub(crate) fn end<'a>(self, capacity: impl IntoIterator<Item = &'a ConsumedCapacity>) {
        let units: f64 = capacity.into_iter().filter_map(ConsumedCapacity::capacity_units).sum();
        // A call outside of a request, for example in init, is not counted.
        let _ = USAGE.try_with(|usage| {
            let Usage { calls, capacity_units, round_trips } = usage.get();
            usage.set(Usage {
                calls: calls + 1,
                capacity_units: capacity_units + units,
                round_trips: round_trips.max(self.round_trip),
            });
        });
    }
}
