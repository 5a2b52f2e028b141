//! Deliveries of CloudWatch Logs
//! (<https://docs.aws.amazon.com/AmazonCloudWatch/latest/logs/SubscriptionFilters.html>).

use std::io::Read;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use flate2::read::GzDecoder;
use serde::Deserialize;
use shared::InitError;
use shared::id::{AccountId, DeploymentId};

/// The maximum size of a delivery's JSON. Lambda takes a megabyte, compressed.
const MAX_BYTES: u64 = 256 << 20;

/// An event with a delivery.
#[derive(Debug, Deserialize)]
pub struct Event {
    awslogs: Compressed,
}

#[derive(Debug, Deserialize)]
struct Compressed {
    data: String,
}

/// Lines of a log stream.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Delivery {
    /// `DATA_MESSAGE`, or `CONTROL_MESSAGE` to try whether the function can be reached.
    message_type: String,
    pub log_stream: String,
    #[serde(default)]
    pub log_events: Vec<LogEvent>,
}

/// A line of a log stream, or several.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct LogEvent {
    pub id: String,
    pub timestamp: i64,
    pub message: String,
}

impl Event {
    pub(crate) fn delivery(&self) -> Result<Option<Delivery>, InitError> {
        let compressed = STANDARD.decode(&self.awslogs.data)?;
        let json = GzDecoder::new(&*compressed).take(MAX_BYTES);
        let delivery: Delivery = serde_json::from_reader(std::io::BufReader::new(json))?;
        Ok(Some(delivery).filter(|delivery| delivery.message_type == "DATA_MESSAGE" && !delivery.log_events.is_empty()))
    }
}

impl Delivery {
    /// Returns the deployment that the stream's name names. `None` if the stream is not that of a deployment's build.
    pub(crate) fn deployment(&self) -> Option<(AccountId, DeploymentId)> {
        let [_, account, deployment, _] = self.log_stream.split('/').collect::<Vec<_>>()[..] else { return None };
        Some((account.parse().ok()?, deployment.parse().ok()?))
    }
}
