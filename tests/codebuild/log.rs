//! The log of a build, which CloudWatch Logs has.

use aws_sdk_dynamodb::types::AttributeValue;
use serde_json::{Value, json};
use shared::clock::Clock;

use super::{Here, LOG_GROUP, event};

#[tokio::test]
async fn the_log_is_the_pipelines_lines_and_then_the_builds_page_by_page() {
    // moto accepts only log lines of the last days.
    let Some(here) = Here::start_with(|options| options.clock = Clock::system()).await else { return };
    let (created, stored) = here.building(json!({})).await;
    let path = format!("/v1/deployments/{}/log", created["id"].as_str().unwrap());
    let page = async |after: u64, limit: u64| {
        let answer = here.owner.get(&format!("{path}?after={after}&limit={limit}")).await;
        assert_eq!(answer.status, 200, "{answer:?}");
        let lines = answer.body["data"].as_array().unwrap().clone();
        (lines, answer.body["meta"]["next_after"].as_u64().unwrap(), answer.body["meta"]["complete"] == true)
    };
    let (own, after, complete) = page(0, 1000).await;
    assert_eq!(own.last().unwrap()["text"], "Starting a build in AWS CodeBuild");
    assert_eq!((own.len() as u64, complete), (after, false));
    assert_eq!(page(after, 1000).await, (vec![], after, false), "the build has not begun to write");

    let build = stored.build.clone().unwrap();
    here.moto.call("logs", "Logs_20140328.CreateLogGroup", json!({"logGroupName": LOG_GROUP})).await;
    let stream = json!({"logGroupName": LOG_GROUP, "logStreamName": stored.log_stream(&build)});
    here.moto.call("logs", "Logs_20140328.CreateLogStream", stream.clone()).await;
    let started = stored.updated_at.as_millis();
    // Bursts of 1, 3, 5, … lines in a millisecond, and one that is longer than a page.
    let times = (0..40).flat_map(|ms| (0..2 * ms + 1).map(move |_| started + ms));
    let times: Vec<i64> = times.chain((0..1200).map(|_| started + 50)).chain([started + 60]).collect();
    let lines: Vec<_> =
        times.iter().enumerate().map(|(n, ms)| json!({"timestamp": ms, "message": format!("line {n}\n")})).collect();
    let put = async |lines: &[Value]| {
        let mut put = stream.clone();
        put["logEvents"] = json!(lines);
        here.moto.call("logs", "Logs_20140328.PutLogEvents", put).await;
    };
    put(&[json!({"timestamp": started, "message": "[Container] 2026/01/01 12:00:00 Waiting for agent ping\n"})]).await;
    put(&lines).await;

    for limit in [1000, 999, 170] {
        let calls = here.moto.calls("Logs_20140328.GetLogEvents").len();
        let (mut all, mut at, mut pages) = (Vec::new(), after, 0);
        loop {
            let (lines, next, complete) = page(at, limit).await;
            assert!(!complete, "the deployment has not ended");
            if lines.is_empty() {
                break;
            }
            assert!(lines.len() as u64 <= limit);
            (at, pages) = (next, pages + 1);
            all.extend(lines);
        }
        let texts: Vec<_> = all.iter().map(|line| line["text"].as_str().unwrap()).collect();
        assert_eq!(texts[0], "[Container] 2026/01/01 12:00:00 Waiting for agent ping");
        assert_eq!((&all[0]["stream"], &all[1]["stream"]), (&json!("system"), &json!("stdout")));
        let expected: Vec<_> = (0..times.len()).map(|n| format!("line {n}")).collect();
        assert_eq!(texts[1..], expected, "none is skipped or comes twice in pages of {limit}");
        let numbers: Vec<_> = all.iter().map(|line| line["number"].as_u64().unwrap()).collect();
        assert!(numbers.is_sorted_by(|a, b| a < b) && numbers[0] > after && *numbers.last().unwrap() < 1 << 53);
        let calls = here.moto.calls("Logs_20140328.GetLogEvents").len() - calls;
        assert!(calls <= pages + 2, "{calls} calls for {pages} pages");
    }

    assert_eq!(here.told(&event(&stored, &build, "SUCCEEDED")).await.unwrap(), "succeeded");
    let (_, last, _) = page(after, 1000).await;
    let (_, last, _) = page(last, 1000).await;
    let (_, last, _) = page(last, 1000).await;
    assert_eq!(page(last, 1000).await, (vec![], last, false), "the last lines may still be on their way");
    put(&[json!({"timestamp": started + 60, "message": "late\n"})]).await;
    let before = last;
    let (late, last, _) = page(before, 1000).await;
    assert_eq!((late.len(), &late[0]["text"]), (1, &json!("late")));
    let tail = here.owner.get(&format!("{path}?tail=1000")).await.body["data"].as_array().unwrap().clone();
    assert_eq!((tail.len(), &tail[999]), (1000, &late[0]));
    assert_eq!(page(tail[0]["number"].as_u64().unwrap(), 1000).await.0, tail[1..], "with the same numbers");
    let tail = here.owner.get(&format!("{path}?tail=2")).await.body;
    assert_eq!(tail["meta"]["next_after"], late[0]["number"]);
    let pk = format!("ACCT#{}#DEPLOY#{}", stored.account_id, stored.id);
    let past = Clock::system().now().as_millis() - 15_000;
    here.world.set_attribute((&pk, "DEPLOY"), "finished_at", AttributeValue::N(past.to_string())).await;
    assert_eq!(page(last, 1000).await, (vec![], last, true));
    assert_eq!(page(before, 1).await, (late, last, true), "the page with the last line is complete");
    let own_lines = own.len() as u64;
    assert_eq!(page(0, own_lines).await, (own.clone(), own_lines, false), "the pipeline's own are still first");
    let (lines, _, complete) = page(0, 1000).await;
    assert_eq!((lines.len(), complete, lines.starts_with(&own)), (1000, false, true), "the build's follow in one page");
}
