//! Deliveries of a build's lines, in the walk through the API.

use std::io::Write;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use flate2::Compression;
use flate2::write::GzEncoder;
use serde_json::json;
use shared::model::Deployment;

use super::walk::Walk;

/// Copies more lines of a build than a log keeps.
pub(super) async fn copy_a_long_log(walk: &Walk, built: &Deployment) {
    let function = walk.environment("build-log").build_log().unwrap();
    for number in 0..3 {
        let delivery = json!({
            "messageType": "DATA_MESSAGE", "logStream": built.log_stream(built.build.as_ref().unwrap()),
            "logEvents": [{"id": number.to_string(), "timestamp": 1, "message": "x".repeat(5 << 20)}],
        });
        let mut gzip = GzEncoder::new(Vec::new(), Compression::fast());
        gzip.write_all(delivery.to_string().as_bytes()).unwrap();
        let event = json!({"awslogs": {"data": BASE64_STANDARD.encode(gzip.finish().unwrap())}});
        let handled = function.invoke(event).await;
        let refused = walk.gate.refused.lock().unwrap().clone();
        assert_eq!(handled.unwrap(), json!({"outcome": "stored"}), "{refused:?}");
    }
}
