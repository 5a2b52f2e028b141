use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use axum::body::{Body, to_bytes};
use futures_util::FutureExt;
use http::{Request, Response, StatusCode};
use serde_json::Value;

use super::*;

/// The maximum number of lines of the dashboard's files.
const LINES: usize = 4900;
/// The maximum size of the dashboard's files, compressed.
const BYTES: usize = 45 * 1024;

fn get(path: &str, headers: &[(&str, &str)]) -> Result<Response<Body>> {
    let request = headers.iter().fold(Request::get(path), |request, (name, value)| request.header(*name, *value));
    get_dashboard(request.body(Body::empty()).unwrap()).now_or_never().expect("nothing waits")
}

fn page(path: &str) -> Response<Body> {
    get(path, &[("accept", "text/html,*/*;q=0.8"), ("accept-encoding", "gzip, br")]).unwrap()
}

fn body(response: Response<Body>) -> Vec<u8> {
    to_bytes(response.into_body(), usize::MAX).now_or_never().unwrap().unwrap().to_vec()
}

fn content(path: &str) -> String {
    let response = get(path, &[]).unwrap();
    assert_eq!(response.status(), StatusCode::OK, "{path}");
    String::from_utf8(body(response)).unwrap()
}

fn header<'a>(response: &'a Response<Body>, name: &str) -> &'a str {
    response.headers().get(name).map(|value| value.to_str().unwrap()).unwrap_or_default()
}

/// Returns the files of the dashboard.
fn sources() -> Vec<PathBuf> {
    let (mut folders, mut found) = (vec![Path::new(env!("CARGO_MANIFEST_DIR")).join("page")], Vec::new());
    while let Some(folder) = folders.pop() {
        for path in fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
            if path.is_dir() { folders.push(path) } else { found.push(path) }
        }
    }
    found
}

#[test]
fn every_response_has_the_headers_that_protect_a_page() {
    let asset = files().iter().find(|file| file.path.starts_with("/assets/")).unwrap();
    for path in ["/", "/docs", "/docs/", "/nothing", asset.path] {
        let response = page(path);
        for (name, value) in respond::HEADERS {
            assert_eq!(header(&response, name.as_str()), value, "{path}");
        }
    }
    let policy = respond::POLICY;
    assert!(policy.starts_with("default-src 'none';") && !policy.contains("unsafe") && !policy.contains("http"));
}

#[test]
fn no_page_has_a_script_a_style_or_a_handler_of_its_own() {
    for file in files().iter().filter(|file| file.content_type.starts_with("text/html")) {
        let html = String::from_utf8(file.content().unwrap()).unwrap();
        for script in html.split("<script").skip(1) {
            assert!(script.starts_with(" type=\"module\" src=\"/assets/"), "{}: {script:.60}", file.path);
        }
        for forbidden in ["<style", " style=", " onclick=", "javascript:", "<iframe", "<base"] {
            assert!(!html.contains(forbidden), "{} has {forbidden}", file.path);
        }
    }
}

#[test]
fn an_asset_is_kept_for_a_year_and_a_page_is_asked_for_again() {
    for file in files().iter().filter(|file| file.path.starts_with('/')) {
        let response = page(file.path);
        let (status, etag) = (response.status(), header(&response, "etag").to_owned());
        assert_eq!(status, StatusCode::OK, "{}", file.path);
        assert!(!header(&response, "content-type").is_empty());
        let caching = header(&response, "cache-control");
        if file.path.starts_with("/assets/") {
            assert_eq!(caching, "public, max-age=31536000, immutable");
            let hash = etag.trim_matches('"');
            assert!(file.path.contains(&format!(".{hash}.")), "{} is named by its content, {hash}", file.path);
        } else {
            assert_eq!(caching, "no-cache", "{}", file.path);
        }
        let known = get(file.path, &[("if-none-match", &etag)]).unwrap();
        assert_eq!((known.status(), header(&known, "etag")), (StatusCode::NOT_MODIFIED, &*etag), "{}", file.path);
        assert!(body(known).is_empty());
        assert_eq!(get(file.path, &[("if-none-match", "\"other\"")]).unwrap().status(), StatusCode::OK);
    }
}

#[test]
fn a_client_gets_gzip_if_it_takes_it_and_the_same_content_if_not() {
    for encodings in ["gzip", "br, gzip;q=0.5", "deflate;q=1.0,gzip", "*"] {
        let response = get("/docs", &[("accept-encoding", encodings)]).unwrap();
        assert_eq!(header(&response, "content-encoding"), "gzip", "{encodings}");
        let mut content = String::new();
        let compressed = body(response);
        std::io::Read::read_to_string(&mut flate2::read::GzDecoder::new(&*compressed), &mut content).unwrap();
        assert_eq!(content, self::content("/docs"));
    }
    for encodings in ["", "br", "gzip;q=0", "identity"] {
        let response = get("/docs", &[("accept-encoding", encodings)]).unwrap();
        assert_eq!(header(&response, "content-encoding"), "", "{encodings}");
        assert!(body(response).starts_with(b"<!doctype html>"));
    }
}

#[test]
fn a_browser_gets_the_assets_by_brotli() {
    let asset =
        files().iter().find(|file| file.path.starts_with("/assets/app.") && file.path.ends_with(".js")).unwrap();
    let response = get(asset.path, &[("accept-encoding", "gzip, deflate, br, zstd")]).unwrap();
    assert_eq!((header(&response, "content-encoding"), header(&response, "vary")), ("br", "Accept-Encoding"));
    let mut content = Vec::new();
    brotli::BrotliDecompress(&mut &*body(response), &mut content).unwrap();
    assert!(content == asset.content().unwrap());
    let response = get(asset.path, &[("accept-encoding", "gzip, br;q=0")]).unwrap();
    assert_eq!(header(&response, "content-encoding"), "gzip");
}

#[test]
fn the_dashboard_starts_on_its_deep_links_and_on_no_other_path() {
    let index = content("/");
    for path in [
        "/repositories",
        "/repositories/repo_x/y",
        "/deployments/deploy_x",
        "/settings/tokens",
        "/sign-in",
        "/join",
        "/audit",
    ] {
        assert_eq!(content(path), index, "{path}");
    }
    assert_eq!(content("/sign-in?code=x&state=y"), index, "a query is the page's own");
    for path in ["/repositoriesx", "/index.html", "/app.js", "/404", "/docs/nothing", "//", "/assets/", "/v2"] {
        let response = page(path);
        assert_eq!(response.status(), StatusCode::NOT_FOUND, "{path}");
        let html = String::from_utf8_lossy(&body(get(path, &[("accept", "text/html")]).unwrap())).into_owned();
        assert!(html.contains("<h1>Page not found</h1>"), "{path}: {html}");
        assert_eq!(get(path, &[("accept", "*/*")]).unwrap_err().code(), ErrorCode::NotFound, "{path}");
    }
    assert!(get("/v1/", &[("accept", "text/html")]).is_err(), "below /v1 everybody gets the envelope");
    let moved = page("/docs/reference/");
    assert_eq!((moved.status(), header(&moved, "location")), (StatusCode::PERMANENT_REDIRECT, "/docs/reference"));
}

#[test]
fn a_document_and_its_modules_name_assets_that_are_there() {
    let mut next = vec!["/".to_owned(), "/docs".to_owned()];
    let mut seen = BTreeSet::new();
    while let Some(path) = next.pop() {
        let text = content(&path);
        let named = text.split(['"', '\'']).filter(|literal| literal.starts_with("/assets/"));
        next.extend(named.filter(|asset| seen.insert((*asset).to_owned())).map(str::to_owned));
        if path.ends_with(".js") {
            assert!(!text.contains("from './") && !text.contains("from \"./"), "{path} imports by another name");
        }
    }
    let assets = files().iter().filter(|file| file.path.starts_with("/assets/"));
    assert_eq!(seen, assets.map(|file| file.path.to_owned()).collect(), "each asset is used");
    assert_eq!(content("/").matches("<script").count(), 1, "a browser asks for one script");
}

#[test]
fn the_dashboard_is_small() {
    let lines: usize = sources().iter().map(|path| fs::read_to_string(path).unwrap().lines().count()).sum();
    assert!(lines <= LINES, "{lines} lines");
    let index = content("/");
    let named: BTreeSet<_> = index.split('"').filter(|literal| literal.starts_with("/assets/")).chain(["/"]).collect();
    let bytes: usize = files()
        .iter()
        .filter(|file| named.contains(file.path))
        .map(|file| file.brotli.unwrap_or(file.gzip).len())
        .sum();
    assert!(bytes <= BYTES, "{bytes} bytes");
}

#[test]
fn each_path_that_the_dashboard_calls_is_one_of_the_api() {
    let document = Path::new(env!("CARGO_MANIFEST_DIR")).join("../get-openapi/openapi.json");
    let document: Value = serde_json::from_str(&fs::read_to_string(document).unwrap()).unwrap();
    let known: BTreeSet<_> = document["paths"].as_object().unwrap().keys().map(|path| shape(path)).collect();
    let mut called = 0;
    for path in sources().iter().filter(|path| path.extension().is_some_and(|found| found == "js")) {
        let text = fs::read_to_string(path).unwrap();
        for (at, _) in text.match_indices("/v1/").filter(|(at, _)| text[..*at].ends_with(['\'', '"', '`'])) {
            let end = text[at..].find(['\'', '"', '`', '?', '\n']).unwrap();
            let literal = shape(&text[at..at + end]);
            assert!(known.contains(&literal), "{}: {literal} is no path of the API", path.display());
            called += 1;
        }
    }
    assert!(called > 0, "the dashboard calls the API");
}

#[test]
fn each_link_to_the_documentation_leads_to_its_page_and_heading() {
    let mut linked = 0;
    for path in sources() {
        let text = fs::read_to_string(&path).unwrap();
        for literal in text.split(['\'', '"', '`']).filter(|literal| literal.starts_with("/docs")) {
            let (page, anchor) = literal.split_once('#').unwrap_or((literal, "content"));
            let has_anchor = content(page).contains(&format!(" id=\"{anchor}\""));
            assert!(has_anchor, "{}: {literal} leads to no heading", path.display());
            linked += 1;
        }
    }
    assert!(linked > 0, "the dashboard links to the documentation");
}

/// Returns a path with `*` in the place of its parameters, which are `{name}` in the document and `${expression}` in a module.
fn shape(path: &str) -> String {
    let segments = path.split('/').map(|segment| if segment.contains('{') { "*" } else { segment });
    segments.collect::<Vec<_>>().join("/")
}
