//! The log of a build, whose lines CloudWatch Logs delivers to the function that copies them.

use std::io::Write;
use std::time::Duration;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use flate2::Compression;
use flate2::write::GzEncoder;
use futures_util::future::join_all;
use reqwest::Method;
use reqwest::header::{CONTENT_TYPE, LOCATION};
use reqwest::redirect::Policy;
use serde_json::{Value, json};
use shared::model::Deployment;

use super::{BUCKET, Here, LOG_GROUP, event};

/// Returns a delivery of lines, whose numbers are the last digits of their IDs.
fn delivery(stream: &str, lines: &[(u64, String)]) -> Value {
    let events = lines.iter().map(|(number, text)| {
        json!({"id": format!("3933841621683217135428437928434291404926387{number:013}"), "timestamp": 1_767_268_800_000_u64 + number, "message": format!("{text}\n")})
    });
    let delivery = json!({
        "messageType": "DATA_MESSAGE", "owner": "123456789012", "logGroup": LOG_GROUP, "logStream": stream,
        "subscriptionFilters": ["all"], "logEvents": events.collect::<Vec<_>>(),
    });
    compressed(&delivery)
}

fn compressed(delivery: &Value) -> Value {
    let mut gzip = GzEncoder::new(Vec::new(), Compression::fast());
    gzip.write_all(delivery.to_string().as_bytes()).unwrap();
    json!({"awslogs": {"data": BASE64_STANDARD.encode(gzip.finish().unwrap())}})
}

fn stream(deployment: &Deployment) -> String {
    deployment.log_stream(deployment.build.as_ref().unwrap())
}

fn lines(numbers: std::ops::Range<u64>) -> Vec<(u64, String)> {
    numbers.map(|number| (number, format!("line {number}"))).collect()
}

impl Here {
    /// Invokes the function with a delivery, in an execution environment of its own.
    pub(super) async fn delivered(&self, event: Value) -> String {
        let handled = self.world.stack.environment().build_log().unwrap().invoke(event).await.unwrap();
        handled["outcome"].as_str().unwrap().to_owned()
    }

    /// Delivers lines of a deployment's build.
    pub(super) async fn writes(&self, deployment: &Deployment, lines: &[(u64, String)]) -> String {
        self.delivered(delivery(&stream(deployment), lines)).await
    }

    async fn page(&self, deployment: &Deployment, query: &str) -> (Vec<Value>, u64, bool) {
        let answer = self.owner.get(&format!("/v1/deployments/{}/log?{query}", deployment.id)).await;
        assert_eq!(answer.status, 200, "{answer:?}");
        let meta = &answer.body["meta"];
        let lines = answer.body["data"].as_array().unwrap().clone();
        (lines, meta["next_after"].as_u64().unwrap(), meta["complete"] == true)
    }

    /// Reads the whole log in pages, and returns its texts. The numbers of the lines have no gaps.
    async fn whole_log(&self, deployment: &Deployment, limit: u64) -> Vec<String> {
        let (mut texts, mut after) = (Vec::new(), 0);
        loop {
            let (lines, next, _) = self.page(deployment, &format!("after={after}&limit={limit}")).await;
            let numbers: Vec<_> = lines.iter().map(|line| line["number"].as_u64().unwrap()).collect();
            assert_eq!(numbers, (after + 1..=after + lines.len() as u64).collect::<Vec<_>>());
            if lines.is_empty() {
                return texts;
            }
            texts.extend(lines.iter().map(|line| line["text"].as_str().unwrap().to_owned()));
            after = next;
        }
    }

    async fn ends(&self, deployment: &Deployment) {
        let ended = event(deployment, deployment.build.as_ref().unwrap(), "SUCCEEDED");
        assert_eq!(self.told(&ended).await.unwrap(), "succeeded");
    }
}

#[tokio::test]
async fn the_log_is_the_pipelines_lines_and_then_the_builds_as_they_come() {
    let Some(here) = Here::start().await else { return };
    let (_, stored) = here.building(json!({})).await;
    let (own, after, complete) = here.page(&stored, "after=0").await;
    assert_eq!(own.last().unwrap()["text"], "Starting a build in AWS CodeBuild");
    assert_eq!((own.len() as u64, complete), (after, false));

    let prefix = "[Container] 2026/01/01 12:00:00 Waiting for agent ping".to_owned();
    assert_eq!(here.writes(&stored, &[(0, prefix.clone()), (1, "line 1".to_owned())]).await, "stored");
    let path = format!("/v1/deployments/{}/log?after={after}", stored.id);
    let first = here.owner.get(&path).await;
    let line = |number: u64, stream: &str, text: &str, at: &str| json!({"number": number, "at": at, "stream": stream, "text": text});
    let expected = [
        line(after + 1, "system", &prefix, "2026-01-01T12:00:00Z"),
        line(after + 2, "stdout", "line 1", "2026-01-01T12:00:00Z"),
    ];
    assert_eq!(first.body["data"], json!(expected));
    assert_eq!(first.header("x-poll-interval"), "2");
    let unchanged = here.owner.get_unless(&path, first.header("etag")).await;
    assert_eq!(unchanged.status, 304);
    assert_eq!(here.writes(&stored, &lines(2..2000)).await, "stored");
    let texts: Vec<_> = own.iter().map(|line| line["text"].as_str().unwrap().to_owned()).chain([prefix]).collect();
    let texts = [texts, lines(1..2000).into_iter().map(|(_, text)| text).collect()].concat();
    for limit in [1000, 999, 170] {
        assert_eq!(here.whole_log(&stored, limit).await, texts, "{limit} lines a page");
    }

    here.ends(&stored).await;
    assert_eq!(here.writes(&stored, &lines(2000..2001)).await, "stored", "the last lines come after the end");
    let end = texts.len() as u64 + 1;
    assert!(!here.page(&stored, &format!("after={end}")).await.2, "others may still be on their way");
    here.world.clock.advance(Duration::from_secs(15));
    let (tail, next, complete) = here.page(&stored, "tail=1").await;
    assert_eq!((&tail[0]["text"], next, complete), (&json!("line 2000"), end, true));
    assert_eq!(here.page(&stored, &format!("after={}&limit=1", end - 1)).await, (tail, end, true));
    here.world.clock.advance(Duration::from_secs(600));
    assert_eq!(here.writes(&stored, &lines(2001..2002)).await, "late");
    assert_eq!(here.page(&stored, &format!("after={end}")).await.0.len(), 0);
}

#[tokio::test]
async fn each_line_is_in_the_log_once_whatever_the_deliveries() {
    let Some(here) = Here::start().await else { return };
    let (_, stored) = here.building(json!({})).await;
    let own = here.page(&stored, "after=0").await.0.len();
    for (numbers, outcome) in [
        (0..10, "stored"),
        (0..10, "repeated"),
        (20..30, "stored"),
        (10..20, "stored"),
        (3..7, "repeated"),
        (25..35, "stored"),
        (25..35, "repeated"),
        (10..20, "repeated"),
    ] {
        assert_eq!(here.writes(&stored, &lines(numbers.clone())).await, outcome, "{numbers:?}");
    }
    let in_order = (0..10).chain(20..30).chain(10..20).chain(30..35).map(|number| format!("line {number}"));
    assert_eq!(here.whole_log(&stored, 1000).await[own..], in_order.collect::<Vec<_>>());

    // Several at once, each of them twice.
    let batches: Vec<_> = (10..22).map(|batch| lines(batch * 10..batch * 10 + 10)).collect();
    let mut outcomes = join_all(batches.iter().chain(&batches).map(|batch| here.writes(&stored, batch))).await;
    outcomes.sort();
    assert_eq!(outcomes, [["repeated"; 12], ["stored"; 12]].concat());
    let mut texts = here.whole_log(&stored, 1000).await.split_off(own + 35);
    for batch in texts.chunks(10) {
        let first: u64 = batch[0].strip_prefix("line ").unwrap().parse().unwrap();
        assert_eq!(
            batch,
            lines(first..first + 10).into_iter().map(|(_, text)| text).collect::<Vec<_>>(),
            "a batch is whole"
        );
    }
    texts.sort();
    assert_eq!(texts, (100..220).map(|number| format!("line {number}")).collect::<Vec<_>>());
}

#[tokio::test]
async fn lines_whose_function_died_are_waited_for_and_then_left_out() {
    let Some(here) = Here::start().await else { return };
    let (_, stored) = here.building(json!({})).await;
    let own = here.page(&stored, "after=0").await.0.len() as u64;
    for numbers in [0..5, 5..10, 10..15, 15..20] {
        here.writes(&stored, &lines(numbers)).await;
    }
    // The function has given the lines their numbers and has not stored them.
    let lose = async |last: u64| {
        here.moto.delete_object(BUCKET, &format!("{}/log/{:012}", stored.log_prefix(), own + last)).await;
    };
    lose(10).await;
    lose(15).await;
    assert_eq!(here.whole_log(&stored, 1000).await.len() as u64, own + 5, "the lines before the gap");
    assert_eq!(here.writes(&stored, &lines(10..15)).await, "repeated");
    assert_eq!(here.whole_log(&stored, 1000).await.len() as u64, own + 5);
    assert_eq!(here.writes(&stored, &lines(5..10)).await, "repeated");
    assert_eq!(here.whole_log(&stored, 1000).await.len() as u64, own + 20, "as if nothing had happened");

    lose(10).await;
    here.ends(&stored).await;
    assert_eq!(here.whole_log(&stored, 1000).await.len() as u64, own + 5);
    here.world.clock.advance(Duration::from_secs(15));
    let (rest, next, complete) = here.page(&stored, &format!("after={}", own + 5)).await;
    let texts: Vec<_> = rest.iter().map(|line| line["text"].as_str().unwrap()).collect();
    assert_eq!(texts[..2], ["Lines left out here: 5. A log keeps its first 8 MiB and its last 2 MiB.", "line 10"]);
    assert_eq!((texts.len(), next, complete), (11, own + 20, true));
}

#[tokio::test]
async fn a_log_of_a_build_keeps_its_beginning_and_its_end() {
    let Some(here) = Here::start().await else { return };
    let (_, stored) = here.building(json!({})).await;
    let text = "x".repeat(8191);
    for batch in 0..14 {
        let lines: Vec<_> = (batch * 128..batch * 128 + 128).map(|number| (number, text.clone())).collect();
        assert_eq!(here.writes(&stored, &lines).await, "stored");
    }
    assert_eq!(here.writes(&stored, &[(9000, "the last line".to_owned())]).await, "stored");
    here.ends(&stored).await;
    here.world.clock.advance(Duration::from_secs(15));
    let (mut lines, mut after, mut complete) = (Vec::new(), 0, false);
    while !complete {
        let (page, next, is_last) = here.page(&stored, &format!("after={after}")).await;
        (after, complete) = (next, is_last);
        lines.extend(page.into_iter().map(|line| line["text"].as_str().unwrap().to_owned()));
    }
    let of_build = || lines.iter().filter(|line| **line == text).count();
    let reached = lines.iter().position(|line| line.starts_with("The log has reached 8 MiB.")).unwrap();
    let before = lines[..reached].iter().filter(|line| **line == text).count();
    assert_eq!(before, 1024, "8 MiB");
    assert!(lines[reached + 1].starts_with("Lines left out here: "), "{}", lines[reached + 1]);
    assert!((256..256 + 128).contains(&(of_build() - before)), "{} lines at the end", of_build() - before);
    assert_eq!(lines.last().unwrap(), "the last line");
    let kept = here.moto.list_objects(BUCKET, &format!("{}/log/", stored.log_prefix())).await;
    assert!(kept.len() < 40, "what is left out is removed: {kept:?}");
}

#[tokio::test]
async fn the_whole_log_is_downloaded_from_a_signed_url_once_no_line_can_follow() {
    let Some(here) = Here::start().await else { return };
    let (_, stored) = here.building(json!({})).await;
    let own = here.whole_log(&stored, 1000).await;
    for numbers in [0..5, 5..10, 10..15] {
        here.writes(&stored, &lines(numbers)).await;
    }
    here.writes(&stored, &[(15, format!("I am {}", stored.artifacts_prefix()))]).await;
    here.moto.delete_object(BUCKET, &format!("{}/log/{:012}", stored.log_prefix(), own.len() + 10)).await;
    let path = format!("/v1/deployments/{}/log.txt", stored.id);
    here.owner.get(&path).await.refused(409, "not_finished");
    here.ends(&stored).await;
    here.owner.get(&path).await.refused(409, "not_finished");
    here.world.clock.advance(Duration::from_secs(15));
    let client = reqwest::Client::builder().redirect(Policy::none()).build().unwrap();
    let ask = async || {
        let answer = client.execute(here.owner.request(Method::GET, &path).build().unwrap()).await.unwrap();
        assert_eq!(answer.status(), 302);
        reqwest::Url::parse(answer.headers()[LOCATION].to_str().unwrap()).unwrap()
    };
    let (first, second) = (ask().await, ask().await);
    assert_eq!(first.path(), second.path(), "the second request finds the file of the first");
    let answer = client.get(first).send().await.unwrap();
    assert_eq!(answer.headers()[CONTENT_TYPE], "text/plain; charset=utf-8");
    let cut = "Lines left out here: 5. A log keeps its first 8 MiB and its last 2 MiB.";
    let of_build = lines(0..5).into_iter().chain([(0, cut.to_owned())]).chain(lines(10..15)).map(|(_, text)| text);
    let texts: Vec<_> = own.into_iter().chain(of_build).collect();
    let text = answer.text().await.unwrap();
    let (before, last) = text.trim_end().rsplit_once('\n').unwrap();
    assert_eq!(before, texts.join("\n"));
    assert!(last.starts_with("I am deployments/") && last.ends_with("/cap_***"), "{last}");
}

#[tokio::test]
async fn only_the_attempts_own_stream_is_copied() {
    let Some(here) = Here::start().await else { return };
    let (created, stored) = here.building(json!({})).await;
    let own = here.page(&stored, "after=0").await.0.len();
    let ids = format!("{}/{}", stored.account_id, stored.id);
    let gone = "acct_b5jnd3s7uyg2kq4v/deploy_t6mwz4hq2c7rfx3e";
    let guessed = "cap_0123456789abcdef0123456789abcdef";
    for (stream, outcome) in [
        (format!("{guessed}/{ids}/uuid"), "not_its_build"),
        (format!("{guessed}/{gone}/uuid"), "gone"),
        (format!("{guessed}/uuid"), "ignored"),
        ("by-hand".to_owned(), "ignored"),
        (format!("{guessed}/../../uuid"), "ignored"),
    ] {
        assert_eq!(here.delivered(delivery(&stream, &lines(0..1))).await, outcome, "{stream}");
    }
    let control = json!({
        "messageType": "CONTROL_MESSAGE", "owner": "CloudwatchLogs", "logGroup": "", "logStream": "",
        "subscriptionFilters": [], "logEvents": [{"id": "", "timestamp": 1, "message": "CWL CONTROL MESSAGE: Checking health"}],
    });
    assert_eq!(here.delivered(compressed(&control)).await, "ignored");
    let function = here.world.stack.environment().build_log().unwrap();
    for broken in [json!({"awslogs": {"data": "x"}}), json!({"awslogs": {"data": "eA=="}}), compressed(&json!({}))] {
        assert!(function.invoke(broken).await.is_err());
    }
    assert_eq!(here.page(&stored, "after=0").await.0.len(), own);

    // A second attempt goes on after all that there is, and the first one's stream is not copied any more.
    assert_eq!(here.writes(&stored, &lines(0..3)).await, "stored");
    let pk = format!("ACCT#{}#DEPLOY#{}", stored.account_id, stored.id);
    let null = aws_sdk_dynamodb::types::AttributeValue::Null(true);
    here.world.set_attribute((&pk, "DEPLOY"), "build", null).await;
    here.world.deliver(&here.owner, &created).await;
    let second = tests::eventually("the second build", async || {
        let stored = here.world.stored(&here.owner, &created).await;
        (stored.attempt == 2 && stored.build.is_some()).then_some(stored)
    })
    .await;
    here.world.queue_is_empty().await;
    assert_eq!(here.writes(&stored, &lines(3..6)).await, "not_its_build");
    assert_eq!(here.writes(&second, &lines(0..2)).await, "stored");
    let texts = here.whole_log(&second, 1000).await;
    assert_eq!(texts[own..own + 3], ["line 0", "line 1", "line 2"]);
    assert_eq!(texts[texts.len() - 3..], ["Starting a build in AWS CodeBuild", "line 0", "line 1"]);
}
