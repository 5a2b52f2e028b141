//! The list of artifacts.

use reqwest::Method;
use serde_json::{Value, json};
use tests::{GitRepository, World, buildspec};

use super::{Results, path};

/// Files with names that URLs, headers and listings could mistake for something else, each with its content.
const FILES: [(&str, &str); 9] = [
    ("\"quoted\".txt", "text/plain"),
    ("100%.txt", "text/plain"),
    ("100%25.txt", "text/plain"),
    ("a b.html", "text/html"),
    ("dist/app.js", "text/javascript"),
    ("dist/deep/a+b&c=d;e.css", "text/css"),
    ("no-extension", "application/octet-stream"),
    ("q?x#y\\z.json", "application/json"),
    ("ü/日本 🚀.svg", "image/svg+xml"),
];

#[tokio::test]
async fn what_a_failed_build_has_made_is_listed_and_downloaded_by_its_url() {
    let make = FILES.map(|(name, _)| {
        let folder = name.rsplit_once('/').map_or(".", |(folder, _)| folder);
        format!("mkdir -p 'out/{folder}' && printf %s '{name}' > 'out/{name}'")
    });
    let make: Vec<_> = make.iter().map(|command| json!(command).to_string()).chain(["exit 1".to_owned()]).collect();
    let make: Vec<_> = make.iter().map(String::as_str).collect();
    let spec = buildspec(&make) + "artifacts:\n  base-directory: out\n  files: ['**/*']\n";
    let results = Results::of(&spec).await;
    let ended = results.deployed(json!({})).await;
    assert_eq!(ended["failure"]["code"], "command_failed", "{ended}");
    let listed = results.artifacts(&ended).await;
    let base = format!("{}/artifacts/", ended["url"].as_str().unwrap());
    let facts = |artifact: &Value| {
        let (path, size, kind) = (&artifact["path"], &artifact["size"], &artifact["content_type"]);
        (path.as_str().unwrap().to_owned(), size.as_u64().unwrap(), kind.as_str().unwrap().to_owned())
    };
    let found: Vec<_> = listed["data"].as_array().unwrap().iter().map(facts).collect();
    assert_eq!(found, FILES.map(|(name, kind)| (name.to_owned(), name.len() as u64, kind.to_owned())));
    assert_eq!(listed["meta"], json!({"total": 9, "page": 1, "per_page": 100}));
    for (artifact, (name, kind)) in listed["data"].as_array().unwrap().iter().zip(FILES) {
        let url = artifact["url"].as_str().unwrap();
        assert!(url.starts_with(&base) && url.is_ascii(), "{url}");
        let answer = results.owner.request(Method::GET, url).send().await.unwrap();
        assert_eq!(
            (answer.status().as_u16(), &answer.headers()["content-type"]),
            (200, &kind.parse().unwrap()),
            "{url}"
        );
        assert_eq!(answer.text().await.unwrap(), name);
    }
}

#[tokio::test]
async fn a_list_of_more_than_a_thousand_files_is_walked_in_order() {
    let world = World::start_without_queue().await;
    let (owner, _source) = world.app().await;
    let deployment = owner.deploy("app", json!({"ref": "main"})).await;
    let list = format!("{}/artifacts", path(&deployment));
    let empty = owner.get(&list).await;
    assert_eq!((empty.status, &empty.body["data"], &empty.body["meta"]["total"]), (200, &json!([]), &json!(0)));
    let long = "n".repeat(120);
    let mut paths: Vec<_> = (0..1020).map(|n| format!("{}/{n:04}-{long}.txt", n % 7)).collect();
    for path in &paths {
        world.put_artifact(&owner, &deployment, path, b"x").await;
    }
    paths.sort();
    let pages = owner.walk(&format!("{list}?per_page=100"), "next").await;
    assert_eq!(pages.len(), 11);
    let walked = pages.iter().flat_map(|page| page.body["data"].as_array().unwrap());
    let walked: Vec<_> = walked.map(|artifact| artifact["path"].as_str().unwrap()).collect();
    assert_eq!(walked, paths);
    assert!(pages.iter().all(|page| page.body["meta"]["total"] == 1020));
    owner.get(&format!("{list}?sort=created")).await.refused(400, "invalid_request");
}

#[tokio::test]
async fn artifacts_are_for_those_who_may_read_the_deployment() {
    let world = World::start_without_queue().await;
    let (owner, _source) = world.app().await;
    let other = world.owner("other").await;
    let source = GitRepository::with_commands(&["true"]);
    other.repository("app", &source).await;
    let deployment = owner.deploy("app", json!({"ref": "main"})).await;
    world.put_artifact(&owner, &deployment, "a.json", b"{}").await;
    let list = format!("{}/artifacts", path(&deployment));
    for path in [list.clone(), format!("{list}/a.json")] {
        assert_eq!(owner.get(&path).await.status, 200);
        let refused = other.get(&path).await;
        assert_eq!(refused.refused(404, "not_found").body["error"]["message"], "Deployment not found");
        world.anonymous().get(&path).await.refused(401, "missing_token");
    }
}

#[tokio::test]
async fn artifacts_that_exceed_the_plan_are_not_kept_and_fail_the_deployment() {
    let world = World::start().await;
    let starter = world.owner_on("starter", "small").await;
    let spec = |end: &str| {
        buildspec(&["truncate -s 60M a.bin", "truncate -s 60M b.bin", end]) + "artifacts:\n  files: ['*.bin']\n"
    };
    for (name, end, code) in [("fine", "true", "artifacts_too_large"), ("broken", "exit 1", "command_failed")] {
        let source = GitRepository::new(&[("buildspec.yml", &spec(end))]);
        starter.repository(name, &source).await;
        let created = starter.deploy(name, json!({"ref": "main"})).await;
        // The plan allows few requests, so nobody asks while the build runs.
        world.queue_is_empty().await;
        let ended = starter.ended(&created).await;
        let log = starter.log(&ended).await;
        assert_eq!(ended["failure"]["code"], code, "{log:?}");
        let figures =
            "they are 2 file(s) of 125829120 bytes, and the account's plan allows 10000 files of 100 MiB together";
        assert!(log.iter().any(|line| line.contains(figures)), "{log:?}");
        let listed = starter.get(&format!("{}/artifacts", path(&ended))).await;
        assert_eq!(listed.body["meta"]["total"], 0);
    }
    let pro = world.owner_on("pro", "large").await;
    let source = GitRepository::new(&[("buildspec.yml", &spec("true"))]);
    pro.repository("app", &source).await;
    let created = pro.deploy("app", json!({"ref": "main"})).await;
    world.queue_is_empty().await;
    let ended = pro.ended(&created).await;
    assert_eq!(ended["status"], "succeeded", "{ended}");
}
