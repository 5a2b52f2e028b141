//! An EventBridge rule with a rate: invokes a function periodically, by the stack's clock.

use std::time::Duration;

use serde_json::{Value, json};
use shared::clock::{Clock, Timestamp};
use tokio::task::JoinHandle;
use uuid::Uuid;

use crate::function::Function;
use crate::{ACCOUNT_ID, REGION};

/// A running schedule. Dropping it ends it; a running invocation continues.
pub struct Schedule(JoinHandle<()>);

impl Schedule {
    /// Starts the schedule. The first invocation is after one period. The function logs its own failures.
    pub fn start(function: Function, every: Duration, clock: Clock) -> Self {
        Self(tokio::spawn(async move {
            loop {
                clock.sleep_until(clock.now().plus(every)).await;
                let _ = function.invoke(event(function.name(), clock.now())).await;
            }
        }))
    }
}

impl Drop for Schedule {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Returns the event of a rule. <https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-run-lambda-schedule.html>
fn event(rule: &str, at: Timestamp) -> Value {
    json!({
        "version": "0",
        "id": Uuid::new_v4().to_string(),
        "detail-type": "Scheduled Event",
        "source": "aws.events",
        "account": ACCOUNT_ID,
        "time": at.to_string(),
        "region": REGION,
        "resources": [format!("arn:aws:events:{REGION}:{ACCOUNT_ID}:rule/{rule}")],
        "detail": {},
    })
}
