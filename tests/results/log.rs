//! A log as text, and its end.

use reqwest::Method;
use reqwest::header::{ACCEPT, LINK};
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

#[tokio::test]
async fn a_log_is_downloaded_as_text_along_its_links() {
    let results = Results::of(&buildspec(&["seq 100000 400000", "echo 'last \"line\"'"])).await;
    let ended = results.deployed(json!({})).await;
    let log = format!("{}/log", path(&ended));
    let (mut url, mut pages, mut text) = (log.clone(), 0, String::new());
    loop {
        let (status, next, more) = page(&results, &url, "text/plain").await;
        assert_eq!(status, 200);
        assert!(more.len() < 2 << 20 && more.ends_with('\n'), "{}", more.len());
        (text, pages) = (text + &more, pages + 1);
        match next {
            Some(next) => url = next,
            None => break,
        }
    }
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
