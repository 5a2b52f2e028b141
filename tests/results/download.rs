//! Downloads from an archive in a folder.

use reqwest::header::{CONTENT_LENGTH, CONTENT_RANGE, ETAG, IF_NONE_MATCH, IF_RANGE, RANGE};
use reqwest::{Method, Response};
use serde_json::{Value, json};
use tests::{Actor, GitRepository, World};

use super::path;

/// Larger than an answer of a function.
const LARGE: usize = 9_000_001;

struct Download {
    world: World,
    owner: Actor,
    deployment: Value,
    _source: GitRepository,
}

impl Download {
    async fn start() -> Self {
        let world = World::start_without_queue().await;
        let (owner, source) = world.app().await;
        let deployment = owner.deploy("app", json!({"ref": "main"})).await;
        Self { world, owner, deployment, _source: source }
    }

    async fn put(&self, path: &str, content: &[u8]) {
        self.world.put_artifact(&self.owner, &self.deployment, path, content).await;
    }

    async fn get(&self, method: Method, name: &str, headers: &[(reqwest::header::HeaderName, &str)]) -> Response {
        let request = self.owner.request(method, &format!("{}/artifacts/{name}", path(&self.deployment)));
        let with = headers.iter().fold(request, |request, (name, value)| request.header(name, *value));
        with.send().await.unwrap()
    }
}

/// Returns a text in which each place of a file is seen.
fn content(size: usize) -> Vec<u8> {
    (0..size / 8 + 1).flat_map(|n| format!("{n:07}\n").into_bytes()).take(size).collect()
}

#[tokio::test]
async fn a_file_of_any_size_is_sent_whole_and_in_parts() {
    let download = Download::start().await;
    for (name, size) in [("empty.bin", 0), ("small.txt", 1000), ("at-the-bound.txt", 512 * 1024), ("large.bin", LARGE)]
    {
        let content = content(size);
        download.put(name, &content).await;
        let whole = download.get(Method::GET, name, &[]).await;
        assert_eq!((whole.status().as_u16(), &whole.headers()["accept-ranges"]), (200, &"bytes".parse().unwrap()));
        assert!(!whole.headers().keys().any(|name| name.as_str().starts_with("x-sendfile")), "{whole:?}");
        assert!(whole.bytes().await.unwrap() == content, "{name}");

        let head = download.get(Method::HEAD, name, &[]).await;
        assert_eq!((head.status().as_u16(), head.bytes().await.unwrap().len()), (200, 0));
        for (range, bytes) in [
            ("bytes=0-0", 0..1),
            ("bytes=100-199", 100..200),
            ("bytes=-10", size.saturating_sub(10)..size),
            ("bytes=500-", 500..size),
        ] {
            let part = download.get(Method::GET, name, &[(RANGE, range)]).await;
            if size == 0 {
                assert_eq!(part.status(), 416);
                assert_eq!(part.headers()[CONTENT_RANGE], "bytes */0");
                let refused: Value = part.json().await.unwrap();
                assert_eq!(refused["error"]["code"], "range_not_satisfiable");
                continue;
            }
            assert_eq!(part.status(), 206, "{name}: {range}");
            assert_eq!(part.headers()[CONTENT_RANGE], format!("bytes {}-{}/{size}", bytes.start, bytes.end - 1));
            assert_eq!(part.headers()[CONTENT_LENGTH], bytes.len().to_string());
            assert!(part.bytes().await.unwrap() == content[bytes], "{name}: {range}");
        }
    }
}

#[tokio::test]
async fn a_client_that_has_the_file_gets_no_body_and_one_with_another_version_gets_all() {
    let download = Download::start().await;
    for size in [1000, LARGE] {
        download.put("a.bin", &content(size)).await;
        let first = download.get(Method::GET, "a.bin", &[]).await;
        let etag = first.headers()[ETAG].to_str().unwrap().to_owned();
        let again = download.get(Method::GET, "a.bin", &[(IF_NONE_MATCH, &etag)]).await;
        assert_eq!((again.status().as_u16(), &again.headers()[ETAG]), (304, &etag.parse().unwrap()));
        assert_eq!(again.bytes().await.unwrap().len(), 0);
        for (condition, status) in [(etag.as_str(), 206), ("\"other\"", 200)] {
            let part = download.get(Method::GET, "a.bin", &[(RANGE, "bytes=0-1"), (IF_RANGE, condition)]).await;
            assert_eq!(part.status(), status, "{condition}");
        }
    }
}

#[tokio::test]
async fn a_browser_saves_the_file_and_shows_nothing_of_it() {
    let download = Download::start().await;
    download.put("ü/page.html", b"<script>alert(1)</script>").await;
    let page = download.get(Method::GET, "%C3%BC/page.html", &[]).await;
    for (name, value) in [
        ("content-type", "text/html"),
        ("content-disposition", "attachment; filename=\"page.html\"; filename*=UTF-8''page.html"),
        ("x-content-type-options", "nosniff"),
        ("content-security-policy", "sandbox; default-src 'none'"),
        ("cache-control", "no-store"),
    ] {
        assert_eq!(page.headers()[name], value);
    }
}

#[tokio::test]
async fn a_path_that_is_no_artifact_is_not_found() {
    let download = Download::start().await;
    download.put("dist/app.js", b"app").await;
    let long = "n".repeat(300);
    for path in [
        "dist",
        "dist/",
        "dist/app.js/",
        "dist/app.js/x",
        "dist//app.js",
        "/dist/app.js",
        "%2Fetc%2Fpasswd",
        "..%2Fartifacts%2Fdist%2Fapp.js",
        "dist%2F..%2Fdist%2Fapp.js",
        "..%2F..%2Flog%2F000000000001",
        "%252E%252E%252Fartifacts%252Fdist%252Fapp.js",
        "dist%00",
        "dist%0Aapp.js",
        "%FF",
        "dist%2Fapp%252Ejs",
        long.as_str(),
        &["d"; 600].join("/"),
    ] {
        let answer = download.get(Method::GET, path, &[]).await;
        let status = answer.status();
        let refused: Value = answer.json().await.unwrap();
        assert_eq!((status.as_u16(), &refused["error"]["code"]), (404, &json!("not_found")), "{path}: {refused}");
    }
    // The gateway decodes an encoded slash before it looks for the route.
    assert_eq!(download.get(Method::GET, "dist%2Fapp.js", &[]).await.text().await.unwrap(), "app");
}
