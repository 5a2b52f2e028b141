//! A log as text, and its end.

use reqwest::header::{ACCEPT, CONTENT_DISPOSITION, CONTENT_RANGE, CONTENT_TYPE, ETAG, LINK, RANGE};
use reqwest::{Method, Response};
use serde_json::{Value, json};
use tests::buildspec;

use super::{Results, path};

/// Returns the status, the target of the relation `next`, and the text of a log's page.
async fn page(results: &Results, url: &str, accept: &str) -> (u16, Option<String>, String) {
    let answer = results.owner.request(Method::GET, url).header(ACCEPT, accept).send().await.unwrap();
    let next = answer.headers().get(LINK).map(|link| {
        let link = link.to_str().unwrap();
        link.strip_prefix('<').and_then(|link| link.strip_suffix(">; rel=\"next\"")).unwrap().to_owned()
    });
    (answer.status().as_u16(), next, answer.text().await.unwrap())
}

/// Downloads the log of a deployment as text along its links, and returns it with the number of its pages.
async fn along_links(results: &Results, deployment: &Value) -> (String, usize) {
    let (mut url, mut pages, mut text) = (format!("{}/log", path(deployment)), 0, String::new());
    loop {
        let (status, next, more) = page(results, &url, "text/plain").await;
        assert_eq!(status, 200);
        assert!(more.len() < 2 << 20 && more.ends_with('\n'), "{}", more.len());
        (text, pages) = (text + &more, pages + 1);
        match next {
            Some(next) => url = next,
            None => return (text, pages),
        }
    }
}

#[tokio::test]
async fn a_log_is_downloaded_as_text_along_its_links() {
    let results = Results::of(&buildspec(&["seq 100000 400000", "echo 'last \"line\"'"])).await;
    let ended = results.deployed(json!({})).await;
    let log = format!("{}/log", path(&ended));
    let (text, pages) = along_links(&results, &ended).await;
    assert_eq!(pages, 2, "a page has 1 MiB of text without the line ends");
    let lines: Vec<_> = text.lines().collect();
    let first = lines.iter().position(|line| *line == "100000").unwrap();
    assert_eq!(lines[first + 300_000], "400000");
    assert_eq!(
        lines[lines.len() - 3..],
        ["last \"line\"", "Phase complete: BUILD State: SUCCEEDED", "Succeeded. Artifacts: 0"]
    );
    // Without the request for text, and with one for JSON too, the answer is JSON.
    for accept in ["*/*", "text/html, */*", "application/json, text/plain"] {
        let (_, next, json) = page(&results, &format!("{log}?limit=1"), accept).await;
        assert!(next.is_none() && serde_json::from_str::<Value>(&json).is_ok(), "{accept}: {json}");
    }
    let (_, next, two) = page(&results, &format!("{log}?limit=2&after=1"), "Text/Plain; charset=utf-8").await;
    assert_eq!(two, format!("{}\n{}\n", lines[1], lines[2]));
    assert!(next.unwrap().ends_with("/log?after=3"));
}

/// Asks for the whole log of a deployment, or for a part of it.
async fn file(results: &Results, deployment: &Value, range: Option<&str>) -> Response {
    let request = results.owner.request(Method::GET, &format!("{}/log.txt", path(deployment)));
    let request = range.into_iter().fold(request, |request, range| request.header(RANGE, range));
    request.send().await.unwrap()
}

#[tokio::test]
async fn the_whole_log_is_one_file_of_any_size() {
    let results = Results::of(&buildspec(&["seq 100000 400000", "echo 'last ✓'"])).await;
    let ended = results.deployed(json!({})).await;
    let whole = file(&results, &ended, None).await;
    assert_eq!(whole.status(), 200);
    assert_eq!(whole.headers()[CONTENT_TYPE], "text/plain; charset=utf-8");
    let name = format!("{}-log.txt", ended["id"].as_str().unwrap());
    let disposition = format!("attachment; filename=\"{name}\"; filename*=UTF-8''{name}");
    assert_eq!(whole.headers()[CONTENT_DISPOSITION], disposition);
    let etag = whole.headers()[ETAG].clone();
    let text = whole.text().await.unwrap();
    let (expected, _) = along_links(&results, &ended).await;
    assert!(text == expected && text.contains("\nlast ✓\n"), "{} bytes, not {}", text.len(), expected.len());
    let end = file(&results, &ended, Some("bytes=-24")).await;
    assert_eq!((end.status().as_u16(), &end.headers()[ETAG]), (206, &etag), "the second request finds the file");
    assert_eq!(end.headers()[CONTENT_RANGE], format!("bytes {}-{}/{}", text.len() - 24, text.len() - 1, text.len()));
    assert_eq!(end.text().await.unwrap(), "Succeeded. Artifacts: 0\n");
    let beyond = file(&results, &ended, Some("bytes=99999999-")).await;
    assert_eq!(beyond.status(), 416);
}

#[tokio::test]
async fn the_whole_log_is_there_once_the_deployment_has_ended() {
    let results = Results::of(&buildspec(&["true"])).await;
    results.owner.set("app", "staging", json!({"required_approvals": 1})).await;
    let waiting = results.owner.deploy("app", json!({"ref": "main", "environment": "staging"})).await;
    let path = format!("{}/log.txt", path(&waiting));
    results.owner.get(&path).await.refused(409, "not_finished");
    assert_eq!(results.owner.act(&waiting, "cancel", json!({})).await.status, 200);
    let empty = file(&results, &waiting, None).await;
    assert_eq!((empty.status().as_u16(), empty.text().await.unwrap().as_str()), (200, ""));
    let other = results.world.owner("other").await;
    other.get(&path).await.refused(404, "not_found");
}

#[tokio::test]
async fn the_last_lines_are_read_without_the_others() {
    let results = Results::of(&buildspec(&["seq 950"])).await;
    let ended = results.deployed(json!({})).await;
    let log = format!("{}/log", path(&ended));
    let all = results.owner.log(&ended).await;
    for count in [1, 2, 900] {
        let tail = results.owner.get(&format!("{log}?tail={count}")).await.body;
        let texts: Vec<_> =
            tail["data"].as_array().unwrap().iter().map(|line| line["text"].as_str().unwrap()).collect();
        let expected = all[all.len() - count..].iter().map(|line| line.split_once(": ").unwrap().1);
        assert_eq!(texts, expected.collect::<Vec<_>>());
        assert_eq!(tail["meta"], json!({"next_after": all.len(), "complete": true}));
    }
    let (_, next, text) = page(&results, &format!("{log}?tail=1"), "text/plain").await;
    assert_eq!((next, text.as_str()), (None, "Succeeded. Artifacts: 0\n"));
    for query in ["tail=0", "tail=1001", "tail=x", "tail=1&after=1", "tail=1&limit=1"] {
        results.owner.get(&format!("{log}?{query}")).await.refused(400, "invalid_request");
    }
}
