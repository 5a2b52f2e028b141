//! Refusals by AWS of what a build needs before it starts.

use std::time::Duration;

use serde_json::{Value, json};
use tests::eventually;

use super::Here;
use super::moto::{KEY, START, UPLOAD};

const CREATE_SECRET: &str = "secretsmanager.CreateSecret";
const DELETE_SECRET: &str = "secretsmanager.DeleteSecret";
const DECRYPT: &str = "TrentService.Decrypt";

#[tokio::test]
async fn no_refusal_by_aws_before_a_build_starts_is_an_attempt() {
    let with_key = |options: &mut local::stack::Options| {
        options.overrides.push((shared::settings::VARIABLES_KEY, format!("kms:{KEY}")));
    };
    let Some(here) = Here::start_with(with_key).await else { return };
    for (refusals, level, waits) in [
        // More often than runners may be lost.
        (&[(START, "AccessDeniedException")][..], "ERROR", &[60, 60, 120, 240][..]),
        (&[(START, "AccessDeniedException"), (DELETE_SECRET, "AccessDeniedException")], "ERROR", &[60]),
        (&[(START, "AccountLimitExceededException"), (DELETE_SECRET, "ThrottlingException")], "WARN", &[60]),
        (&[(CREATE_SECRET, "LimitExceededException")], "ERROR", &[60]),
        (&[(DECRYPT, "ThrottlingException")], "WARN", &[60]),
        (&[(DECRYPT, "DisabledException")], "ERROR", &[60]),
        (&[(UPLOAD, "AccessDenied")], "ERROR", &[60]),
    ] {
        here.moto.refuse(refusals);
        let before = here.world.log().len();
        let body = json!({"ref": "main", "variables": {"API_KEY": {"value": "hunter22", "secret": true}}});
        let created = here.owner.deploy("app", body).await;
        let refused = async |times: usize| {
            eventually("the refusal", async || {
                let events = here.owner.events(&created).await;
                let refused = events.iter().filter(|event| event.contains("AWS did not start the build"));
                (refused.count() == times).then_some(())
            })
            .await;
            here.world.queue_is_empty().await;
        };
        for (at, wait) in waits.iter().enumerate() {
            refused(at + 1).await;
            assert_eq!(here.status(&created).await["queue"]["blocked_by"]["kind"], "capacity", "{refusals:?}");
            here.world.clock.advance(Duration::from_secs(wait - 1));
            here.world.sweep().await.unwrap();
            here.world.queue_is_empty().await;
            if at + 1 == waits.len() {
                here.moto.refuse(&[]);
            }
            here.world.clock.advance(Duration::from_secs(1));
            here.world.sweep().await.unwrap();
        }
        let stored = here.started(&here.owner, &created).await;
        here.world.queue_is_empty().await;
        assert_eq!(stored.tries(), 1, "{refusals:?}");
        let ended = super::event(&stored, stored.build.as_ref().unwrap(), "SUCCEEDED");
        assert_eq!(here.told(&ended).await.unwrap(), "succeeded");
        assert_eq!(here.secrets().await, [""; 0], "{refusals:?}");

        let lines = here.world.log().split_off(before);
        let of_consumer = |line: &&Value| line["outcome"] == "refused";
        let told: Vec<_> = lines.iter().filter(of_consumer).collect();
        let as_expected = |line: &&Value| line["level"] == level && line["cause"].is_string();
        assert!(told.len() == waits.len() && told.iter().all(as_expected), "{refusals:?}: {told:?}");
        let errors = lines.iter().filter(|line| line["level"] == "ERROR" && line["outcome"] != "refused");
        assert_eq!(errors.collect::<Vec<_>>(), [&Value::Null; 0], "{refusals:?}");
    }
}
