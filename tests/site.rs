//! The dashboard and the documentation, as browsers and readers use them.

mod commands;

use std::collections::{BTreeMap, BTreeSet};

use local::functions::all_routes;
use pulldown_cmark::{Event, Options, Parser, Tag};
use reqwest::header::{ACCEPT, HeaderMap};
use reqwest::{Client, Method, redirect};
use serde_json::{Value, json};
use shared::access::Access;
use shared::error::ErrorCode;
use shared::model::Role;
use shared::route::{Content, Counting};
use tests::World;

use crate::contract::{document, operations};

/// The `Accept` header that browsers send when somebody opens an address.
const BROWSER: &str = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8";

struct Fetched {
    status: u16,
    headers: HeaderMap,
    text: String,
}

/// Sends a request as a browser does, without a token.
async fn open(world: &World, method: Method, path: &str, accept: &str) -> Fetched {
    let client = Client::builder().redirect(redirect::Policy::none()).no_gzip().build().unwrap();
    let request = client.request(method, format!("{}{path}", world.stack.url())).header(ACCEPT, accept);
    let response = request.send().await.unwrap();
    let (status, headers) = (response.status().as_u16(), response.headers().clone());
    Fetched { status, headers, text: response.text().await.unwrap() }
}

#[test]
fn pages_need_no_token_and_count_nothing() {
    let pages: Vec<_> = all_routes().filter(|route| route.content == Content::Pages).collect();
    assert!(!pages.is_empty());
    for route in pages {
        assert_eq!((route.access, route.role, route.counting), (Access::Public, Role::Member, Counting::Free));
        assert!(route.is_safe() && route.refusals.is_empty(), "{}", route.function);
    }
}

#[tokio::test]
async fn a_browser_gets_pages_and_a_program_gets_json() {
    let world = World::start_without_queue().await;
    for path in ["/", "/repositories/x", "/sign-in?code=x", "/docs", "/docs/reference/create-deployment"] {
        let page = open(&world, Method::GET, path, BROWSER).await;
        assert_eq!(page.status, 200, "{path}");
        assert!(page.headers["content-type"].to_str().unwrap().starts_with("text/html"), "{path}");
        assert!(page.headers.contains_key("content-security-policy"), "{path}");
        // The contract promises these headers on every response.
        assert_eq!(page.headers["x-ratelimit-limit"], "60", "{path}");
        assert!(page.headers.contains_key("x-request-id"), "{path}");
        let head = open(&world, Method::HEAD, path, BROWSER).await;
        assert_eq!((head.status, head.text.as_str()), (200, ""), "{path}");
        assert_eq!(head.headers["etag"], page.headers["etag"], "{path}");
    }
    let lost = open(&world, Method::GET, "/nothing/here", BROWSER).await;
    assert!(lost.status == 404 && lost.text.contains("Page not found"), "{}", lost.text);

    for (method, path, accept, status, code) in [
        (Method::GET, "/nothing", "*/*", 404, "not_found"),
        (Method::GET, "/v1/nothing", BROWSER, 401, "missing_token"),
        (Method::GET, "/v1", BROWSER, 401, "missing_token"),
        (Method::POST, "/", BROWSER, 401, "missing_token"),
        (Method::POST, "/docs", "*/*", 401, "missing_token"),
    ] {
        let answer = open(&world, method.clone(), path, accept).await;
        let body: Value = serde_json::from_str(&answer.text).unwrap();
        assert_eq!((answer.status, &body["error"]["code"]), (status, &json!(code)), "{method} {path}");
        assert_eq!(body["error"]["doc_url"], format!("/docs/errors/{code}"), "{method} {path}");
    }
    let lines = world.log();
    assert!(lines.iter().filter(|line| line["function"] == "get-dashboard").all(|line| line["dynamodb_calls"] == 0));
}

#[tokio::test]
async fn a_compressed_page_arrives_as_it_was_sent() {
    let world = World::start_without_queue().await;
    let plain = open(&world, Method::GET, "/docs", BROWSER).await;
    let client = Client::builder().no_gzip().build().unwrap();
    let request = client.get(format!("{}/docs", world.stack.url())).header("accept-encoding", "gzip");
    let response = request.send().await.unwrap();
    assert_eq!(response.headers()["content-encoding"], "gzip");
    assert_eq!(response.headers()["vary"], "Accept-Encoding");
    let compressed = response.bytes().await.unwrap();
    assert!(compressed.starts_with(&[0x1f, 0x8b]), "gzip's magic number");
    let file = get_dashboard::files().iter().find(|file| file.path == "/docs").unwrap();
    assert_eq!((&compressed[..], plain.text.as_bytes()), (file.gzip, &*file.content().unwrap()));
}

/// Follows the links of all pages from their start, over HTTP.
#[tokio::test]
async fn every_link_of_the_documentation_leads_somewhere() {
    let world = World::start_without_queue().await;
    let mut pages = BTreeMap::from([("/docs".to_owned(), String::new()), ("/llms.txt".to_owned(), String::new())]);
    let mut next: Vec<String> = pages.keys().cloned().collect();
    let mut anchors = Vec::new();
    while let Some(path) = next.pop() {
        // The document is an endpoint of the API, which counts.
        world.clock.advance(std::time::Duration::from_secs(1));
        let page = open(&world, Method::GET, &path, BROWSER).await;
        assert_eq!(page.status, 200, "{path}");
        for link in links(&path, &page.text).into_iter().filter(|link| !link.contains("://")) {
            let (target, anchor) =
                link.split_once('#').map_or((&*link, None), |(target, anchor)| (target, Some(anchor)));
            let target = if target.is_empty() { path.clone() } else { target.to_owned() };
            assert!(target.starts_with('/'), "{path}: {link} is relative");
            anchors.extend(anchor.map(|anchor| (path.clone(), target.clone(), anchor.to_owned())));
            if !pages.contains_key(&target) {
                pages.insert(target.clone(), String::new());
                next.push(target);
            }
        }
        pages.insert(path, page.text);
    }
    for (page, target, anchor) in anchors {
        // The Markdown of a page has the headings of the page.
        let html = &pages[target.trim_end_matches(".md")];
        assert!(html.contains(&format!(" id=\"{anchor}\"")), "{page}: {target} has no #{anchor}");
    }
    let documented = get_dashboard::files().iter().map(|file| file.path).filter(|path| path.starts_with("/docs"));
    let reached: BTreeSet<_> = pages.keys().map(String::as_str).collect();
    assert_eq!(documented.filter(|path| !reached.contains(path)).collect::<Vec<_>>(), [""; 0], "no page is an island");
    for code in ErrorCode::ALL {
        assert!(reached.contains(format!("/docs/errors/{}", code.as_str()).as_str()), "{code:?}");
    }
    for operation in operations(&document()).values() {
        let id = operation["operationId"].as_str().unwrap();
        assert!(reached.contains(format!("/docs/reference/{id}").as_str()), "{id}");
    }
}

/// Returns the links of a page, and the files that it names.
fn links(path: &str, text: &str) -> Vec<String> {
    if path.ends_with(".md") || path.ends_with(".txt") {
        let links = Parser::new_ext(text, Options::ENABLE_TABLES).filter_map(|event| match event {
            Event::Start(Tag::Link { dest_url, .. }) => Some(dest_url.into_string()),
            _ => None,
        });
        return links.collect();
    }
    let is_html = text.starts_with("<!doctype html>");
    let attributes = ["href=\"", "src=\"", "data-index=\""].into_iter().filter(|_| is_html);
    let values = attributes.flat_map(|name| text.split(name).skip(1)).filter_map(|rest| rest.split('"').next());
    values.map(str::to_owned).collect()
}
