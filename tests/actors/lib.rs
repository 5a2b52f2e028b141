//! The stack that an integration test runs against, and the actors that call it over HTTP.

mod actor;
mod answer;
mod checkout;
pub mod copies;
pub mod crowd;
pub mod estate;
mod extracted;
mod git_repository;
pub mod git_server;
pub mod issuer;
mod log;
mod random;
mod world;

use std::time::Duration;

use serde_json::{Value, json};

pub use actor::Actor;
pub use answer::{Answer, RateLimit, body_of};
pub use checkout::{checkout, read_file, sample_event, sources};
pub use extracted::{create_team, extracted, repository_of_a_new_account};
pub use git_repository::{GitRepository, buildspec};
pub use log::cost_of;
pub use random::Random;
pub use world::{NOON, World, embedded, redelivering, session_secret, without_queue};

/// The time after which a test that waits for something fails. It ends tests that would hang, so it is far longer than a
/// busy machine needs.
const PATIENCE: Duration = Duration::from_secs(300);

/// Returns the approval of a deployment as a response shows it.
pub fn approval(deployment: &Value) -> Value {
    json!({"sha": deployment["sha"], "approval_digest": deployment["approval_digest"]})
}

/// Calls `ask` until it returns a value.
///
/// # Panics
/// Panics after five minutes without a value.
pub async fn eventually<T>(what: &str, mut ask: impl AsyncFnMut() -> Option<T>) -> T {
    let asked = async {
        loop {
            match ask().await {
                Some(answer) => return answer,
                None => tokio::time::sleep(Duration::from_millis(10)).await,
            }
        }
    };
    tokio::time::timeout(PATIENCE, asked).await.unwrap_or_else(|_| panic!("{what} did not come"))
}
