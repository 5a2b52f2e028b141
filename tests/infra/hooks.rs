//! The queue of deliveries to hooks.

use std::path::PathBuf;

use local::stack::Options;
use serde_json::json;
use shared::telemetry::Log;

use super::{HOOK_CONSUMER, Template};

#[test]
fn a_delivery_stays_hidden_longer_than_it_is_handled() {
    let template = Template::read();
    let (queue, dead_letters) = (template.properties("HookDeliveries"), template.properties("HookDeadLetters"));
    let visibility = queue["VisibilityTimeout"].as_u64().unwrap();
    assert!(visibility >= 6 * template.function(HOOK_CONSUMER).timeout(), "{visibility}");
    let deliveries = u64::from(Options::new(0, PathBuf::new(), Log::to(std::io::sink())).max_receive_count);
    let redrive = json!({"deadLetterTargetArn": "HookDeadLetters.Arn", "maxReceiveCount": deliveries});
    assert_eq!(queue["RedrivePolicy"], redrive);
    let retention = queue["MessageRetentionPeriod"].as_u64().unwrap();
    assert!(retention > deliveries * visibility, "a message must not expire before its last delivery");
    assert!(dead_letters["MessageRetentionPeriod"].as_u64().unwrap() > 2 * retention);
    let source = template.properties("HookConsumerSource");
    assert_eq!(template.called(&source["FunctionName"]), HOOK_CONSUMER);
    assert_eq!(source["EventSourceArn"], "HookDeliveries.Arn");
    assert_eq!(source["FunctionResponseTypes"], json!(["ReportBatchItemFailures"]));
}
