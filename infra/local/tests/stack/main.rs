//! The stack through real HTTP and the real AWS SDK.

mod command;
mod data;
mod dynamodb;
mod event_source;
mod function;
mod gateway;
mod sqs;
mod terminal;

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use aws_credential_types::Credentials;
use aws_smithy_http_client::Builder;
use shared::clock::{Clock, Timestamp};

/// 2020-03-12T19:03:58.390Z.
const NOW: i64 = 1_584_039_838_390;

/// The time for which a receive waits for a message. A call that ends in half of it has not waited, however slow the machine is.
const LONG_POLL: Duration = Duration::from_secs(20);

fn clock() -> Clock {
    Clock::manual(Timestamp::from_millis(NOW))
}

fn free_port() -> SocketAddr {
    (Ipv4Addr::LOCALHOST, 0).into()
}

fn credentials() -> Credentials {
    Credentials::from_keys("local", "local", None)
}

fn dynamodb_client(endpoint: &str) -> aws_sdk_dynamodb::Client {
    let config = aws_sdk_dynamodb::Config::builder()
        .behavior_version(aws_sdk_dynamodb::config::BehaviorVersion::latest())
        .region(aws_sdk_dynamodb::config::Region::new(local::REGION))
        .credentials_provider(credentials())
        .http_client(Builder::new().build_http())
        .endpoint_url(endpoint);
    aws_sdk_dynamodb::Client::from_conf(config.build())
}

fn sqs_client(endpoint: &str) -> aws_sdk_sqs::Client {
    let config = aws_sdk_sqs::Config::builder()
        .behavior_version(aws_sdk_sqs::config::BehaviorVersion::latest())
        .region(aws_sdk_sqs::config::Region::new(local::REGION))
        .credentials_provider(credentials())
        .http_client(Builder::new().build_http())
        .endpoint_url(endpoint);
    aws_sdk_sqs::Client::from_conf(config.build())
}

/// Repeats a call until it gives a result, for at most a minute.
async fn eventually<T>(what: &str, mut ask: impl AsyncFnMut() -> Option<T>) -> T {
    let asked = async {
        loop {
            match ask().await {
                Some(answer) => return answer,
                None => tokio::time::sleep(Duration::from_millis(20)).await,
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(60), asked).await.unwrap_or_else(|_| panic!("{what} did not happen"))
}
