//! The log of a deployment that runs.

use serde_json::{Value, json};
use tests::{Actor, GitRepository, World, eventually};

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
    let all: Vec<_> = whole(&owner, &path).await.into_iter().map(|(_, text)| text).collect();
    let count = all.len();
    for (after, limit, complete) in
        [(0, 1000, false), (count - 1000, 1000, true), (count - 2, 1, false), (count - 1, 1, true), (count, 1, true)]
    {
        let page = owner.get(&format!("{path}?after={after}&limit={limit}")).await.body;
        assert_eq!(page["meta"]["complete"], complete, "{limit} lines after {after} of {count}");
    }
    let printed: Vec<_> = all.iter().filter(|text| text.parse::<u32>().is_ok()).cloned().collect();
    assert_eq!(printed, (1..=2000).map(|number| number.to_string()).collect::<Vec<_>>());
    assert_eq!(all.last().unwrap(), "Succeeded. Artifacts: 0", "the log was whole when the deployment had ended");
}

/// Returns the stream and the text of all lines of an ended deployment. The page with the last line, and no other, is
/// complete.
async fn whole(owner: &Actor, path: &str) -> Vec<(String, String)> {
    let mut all = Vec::new();
    loop {
        let page = owner.get(&format!("{path}?after={}", all.len())).await.body;
        let lines = page["data"].as_array().unwrap();
        assert!(!lines.is_empty() && lines.len() <= 1000);
        let part = |line: &Value, name: &str| line[name].as_str().unwrap().to_owned();
        all.extend(lines.iter().map(|line| (part(line, "stream"), part(line, "text"))));
        assert_eq!(page["meta"]["next_after"], all.len());
        if page["meta"]["complete"] == true {
            let after = owner.get(&format!("{path}?after={}", all.len())).await.body;
            assert_eq!(after["data"], json!([]));
            return all;
        }
    }
}

#[tokio::test]
async fn a_megabyte_of_short_lines_is_kept_whole() {
    let world = World::start().await;
    let owner = world.owner("acme").await;
    let count = 150_000;
    let source = commands(&[&format!("seq {count}"), "echo last"]);
    let created = deploy(&owner, &source, json!({})).await;
    let ended = owner.ended(&created).await;
    assert_eq!(ended["status"], "succeeded", "{ended}");

    let path = format!("/v1/deployments/{}/log", created["id"].as_str().unwrap());
    let start = owner.get(&path).await.body;
    let before = start["data"].as_array().unwrap().iter().position(|line| line["text"] == "1").unwrap();
    let end = owner.get(&format!("{path}?after={}", before + count - 1)).await.body;
    assert_eq!(end["data"][0]["text"], count.to_string(), "line numbers have no gaps, so no line is missing");
    assert!(end["data"].as_array().unwrap().iter().any(|line| line["text"] == "last"), "{end}");
    assert_eq!(end["meta"]["complete"], true);
}

#[tokio::test]
async fn a_log_beyond_its_bound_keeps_its_head_and_the_last_lines_of_the_command_that_failed() {
    let world = World::start().await;
    let owner = world.owner("acme").await;
    let (count, size) = (12_000, 1000);
    let print = format!("yes $(printf %0{}d 0) | head -n {count}", size - 1);
    let source = commands(&["echo first words", &format!("{print}; echo last words >&2; exit 3")]);
    let created = deploy(&owner, &source, json!({})).await;
    let ended = owner.ended(&created).await;
    assert_eq!(ended["failure"]["code"], "command_failed", "{ended}");

    let path = format!("/v1/deployments/{}/log", created["id"].as_str().unwrap());
    let all = whole(&owner, &path).await;
    let at = |text: &str| all.iter().position(|(_, line)| line.starts_with(text)).unwrap_or_else(|| panic!("{text}"));
    let (reached, cut) = (at("The log has reached 8 MiB."), at("Lines left out here: "));
    assert!(at("first words") < reached && reached + 1 == cut && cut < at("last words"));
    assert!(at("last words") < at("Command did not exit successfully: exit status 3"));
    assert!(all.last().unwrap().1.starts_with("Failed: Command "));

    let kept = all.iter().filter(|(stream, text)| stream == "stdout" && text.len() == size - 1).count();
    let left_out = count - kept;
    let mark = format!(
        "Lines left out here: {left_out} ({} bytes). A log keeps its first 8 MiB and its last 2 MiB.",
        left_out * size
    );
    assert_eq!(all[cut], ("system".to_owned(), mark));
    let bytes: usize = all.iter().map(|(_, text)| text.len() + 1).sum();
    let (bound, marks) = (10 * 1024 * 1024, all[reached].1.len() + all[cut].1.len() + 2);
    assert!((bound - 2 * size..=bound).contains(&(bytes - marks)), "{bytes} bytes");
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
    let (after, limit) =
        ("must be a whole number from 0 to 9223372036854775807", "must be a whole number from 1 to 1000");
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
