//! The log of a deployment that runs.

use serde_json::json;
use tests::{GitRepository, World, eventually};

use super::{Outside, commands, deploy, is_logged, warned};

#[tokio::test]
async fn a_log_is_read_from_a_position_while_it_grows() {
    let world = World::start().await;
    let owner = world.owner("acme").await;
    let outside = Outside::new();
    let source = commands(&["echo first", &outside.wait_for("gate"), "seq 2000", "echo last"]);
    let created = deploy(&owner, &source, json!({})).await;
    let path = format!("/v1/deployments/{}/log", created["id"].as_str().unwrap());
    is_logged(&owner, &created, "stdout: first").await;
    assert_eq!(owner.get(created["url"].as_str().unwrap()).await.body["status"], "in_progress");

    let start = owner.get(&path).await.body;
    let lines = start["data"].as_array().unwrap().clone();
    let numbers: Vec<_> = lines.iter().map(|line| line["number"].clone()).collect();
    assert_eq!(json!(numbers), json!((1..=lines.len()).collect::<Vec<_>>()));
    assert_eq!(start["meta"], json!({"next_after": lines.len(), "complete": false}));
    let first = lines.iter().position(|line| line["text"] == "first").unwrap();
    assert_eq!(
        lines[first],
        json!({"number": first + 1, "at": "2026-01-01T12:00:00Z", "stream": "stdout", "text": "first"})
    );
    let one = owner.get(&format!("{path}?after={first}&limit=1")).await.body;
    assert_eq!(one, json!({"data": [lines[first]], "meta": {"next_after": first + 1, "complete": false}}));
    let beyond = owner.get(&format!("{path}?after=9000")).await.body;
    assert_eq!(beyond, json!({"data": [], "meta": {"next_after": 9000, "complete": false}}));

    outside.open("gate");
    let ended = eventually("the end", async || {
        let found = owner.get(created["url"].as_str().unwrap()).await.body;
        (found["status"] != "in_progress").then_some(found)
    })
    .await;
    assert_eq!(ended["status"], "succeeded");
    let (mut all, mut after) = (Vec::new(), 0);
    loop {
        let page = owner.get(&format!("{path}?after={after}")).await.body;
        let lines = page["data"].as_array().unwrap();
        assert!(lines.len() <= 1000);
        assert_eq!(page["meta"]["complete"], lines.is_empty());
        all.extend(lines.iter().map(|line| line["text"].as_str().unwrap().to_owned()));
        after = page["meta"]["next_after"].as_u64().unwrap();
        if lines.is_empty() {
            break;
        }
    }
    assert_eq!(after, all.len() as u64);
    let printed: Vec<_> = all.iter().filter(|text| text.parse::<u32>().is_ok()).cloned().collect();
    assert_eq!(printed, (1..=2000).map(|number| number.to_string()).collect::<Vec<_>>());
    assert_eq!(all.last().unwrap(), "Succeeded. Artifacts: 0", "the log was whole when the deployment had ended");
}

#[tokio::test]
async fn a_log_position_out_of_range_is_refused() {
    let world = World::start_without_queue().await;
    let owner = world.owner("acme").await;
    let source = GitRepository::new(&[]);
    let created = deploy(&owner, &source, json!({})).await;
    let path = format!("/v1/deployments/{}/log", created["id"].as_str().unwrap());
    let queued = owner.get(&path).await;
    assert_eq!(queued.body, json!({"data": [], "meta": {"next_after": 0, "complete": false}}), "{queued:?}");
    let (after, limit) = ("must be a whole number of at least 0", "must be a whole number from 1 to 1000");
    for (query, field, message) in [
        ("after=-1", "after", after),
        ("after=x", "after", after),
        ("after=", "after", after),
        ("after=1.5", "after", after),
        ("after=18446744073709551616", "after", after),
        ("limit=0", "limit", limit),
        ("limit=1001", "limit", limit),
        ("limit=-1", "limit", limit),
        ("limit=ten", "limit", limit),
        ("limit=", "limit", limit),
    ] {
        let refused = owner.get(&format!("{path}?{query}")).await;
        refused.refused(400, "invalid_request");
        assert_eq!(refused.body["error"]["details"], json!([{"field": field, "message": message}]), "{query}");
    }
}

#[tokio::test]
async fn an_archive_that_fails_for_a_moment_costs_no_line_and_no_second_run() {
    let world = World::start().await;
    let owner = world.owner("acme").await;
    let outside = Outside::new();
    let source =
        commands(&[&outside.count(), "echo before", &outside.wait_for("1"), "seq 300", &outside.wait_for("2")]);
    let created = deploy(&owner, &source, json!({})).await;
    is_logged(&owner, &created, "stdout: before").await;
    let files = world.files();
    let chunk = files.iter().map(|(path, _)| path).find(|path| path.parent().unwrap().ends_with("log")).unwrap();
    let (log, away) = (chunk.parent().unwrap().to_owned(), outside.path("log"));
    std::fs::rename(&log, &away).unwrap();
    std::fs::write(&log, "a file where the folder was").unwrap();
    outside.open("1");
    warned(&world, "log lines could not be stored; they wait for the next attempt").await;
    std::fs::remove_file(&log).unwrap();
    std::fs::rename(&away, &log).unwrap();
    outside.open("2");

    let ended = owner.ended(&created).await;
    assert_eq!((ended["status"].as_str(), outside.counted()), (Some("succeeded"), 1), "{ended}");
    let printed = owner.log(&created).await;
    let printed: Vec<_> =
        printed.iter().filter_map(|line| line.strip_prefix("stdout: ")?.parse::<u32>().ok()).collect();
    assert_eq!(printed, (1..=300).collect::<Vec<_>>());
    world.queue_is_empty().await;
}
