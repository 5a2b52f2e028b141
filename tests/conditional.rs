//! ETags of reads, `If-None-Match`, and HEAD.

use std::collections::BTreeMap;

use reqwest::Method;
use serde_json::json;
use shared::Route;
use tests::estate::{Estate, in_order};
use tests::{Actor, GitRepository, World};

/// The headers that differ from one request to the next, or that concern the body.
const OF_ONE_REQUEST: [&str; 7] = [
    "apigw-requestid",
    "content-length",
    "date",
    "ratelimit",
    "transfer-encoding",
    "x-ratelimit-remaining",
    "x-request-id",
];

/// Sends a request and returns its status, its headers apart from those of one request, and its body.
async fn ask(
    actor: &Actor,
    method: Method,
    path: &str,
    known: Option<&str>,
) -> (u16, BTreeMap<String, String>, String) {
    let request = actor.request(method, path);
    let request = known.into_iter().fold(request, |request, etag| request.header("if-none-match", etag));
    let response = request.send().await.unwrap();
    let status = response.status().as_u16();
    let headers = response.headers().iter();
    let headers = headers.map(|(name, value)| (name.to_string(), value.to_str().unwrap().to_owned()));
    let headers = headers.filter(|(name, _)| !OF_ONE_REQUEST.contains(&name.as_str())).collect();
    (status, headers, response.text().await.unwrap())
}

#[tokio::test]
async fn each_read_has_an_etag_a_304_and_a_head() {
    let world = World::start_without_queue().await;
    let source = GitRepository::new(&[]);
    let estate = Estate::new(&world, "acme", &source).await;
    let mut reads = 0;
    for route in in_order().into_iter().filter(Route::is_read) {
        let key = route.key();
        let (actor, path) = (estate.caller(&key), estate.path_when_ready(&world, &route).await);
        let (status, mut headers, body) = ask(actor, Method::GET, &path, None).await;
        assert_eq!(status, 200, "{key}: {body}");
        assert!(!body.is_empty(), "{key}");
        let etag = headers["etag"].clone();
        assert_eq!(ask(actor, Method::GET, &path, Some("\"another\"")).await.2, body, "{key}");
        assert_eq!(ask(actor, Method::HEAD, &path, None).await, (200, headers.clone(), String::new()), "HEAD of {key}");
        headers.remove("content-type");
        let unchanged = (304, headers, String::new());
        for known in [etag.clone(), format!("\"x\", {etag}"), "*".to_owned()] {
            assert_eq!(ask(actor, Method::GET, &path, Some(&known)).await, unchanged, "{key} with {known}");
            assert_eq!(ask(actor, Method::HEAD, &path, Some(&known)).await, unchanged, "HEAD of {key} with {known}");
        }
        reads += 1;
    }
    assert!(reads > 20, "{reads} reads");
}

#[tokio::test]
async fn an_etag_changes_with_the_answer_and_only_with_it() {
    let world = World::start().await;
    let (owner, _source) = world.app().await;
    let list = owner.get("/v1/repositories/app/deployments").await;
    assert_eq!(owner.get_unless("/v1/repositories/app/deployments", list.header("etag")).await.status, 304);
    let other = owner.get("/v1/repositories/app/deployments?per_page=20").await;
    assert_ne!(other.header("etag"), list.header("etag"), "another page");
    let created = owner.deploy("app", json!({"ref": "main"})).await;
    let changed = owner.get_unless("/v1/repositories/app/deployments", list.header("etag")).await;
    assert_eq!((changed.status, &changed.body["meta"]["total"]), (200, &json!(1)));

    owner.ended(&created).await;
    let path = format!("/v1/deployments/{}", created["id"].as_str().unwrap());
    let etag = owner.get(&path).await.header("etag").to_owned();
    assert!(etag.starts_with("W/"), "If-Match must not accept it: {etag}");
    world.clock.advance(std::time::Duration::from_secs(3600));
    let unchanged = owner.get_unless(&path, &etag).await;
    assert_eq!(
        (unchanged.status, unchanged.header("etag"), unchanged.header("cache-control")),
        (304, &*etag, "no-store")
    );
    assert_eq!(world.line_of(&unchanged)["status"], 304);

    let team = owner.team("Platform").await;
    let path = format!("/v1/teams/{}", team["id"].as_str().unwrap());
    let strong = owner.get(&path).await.header("etag").to_owned();
    assert_eq!(owner.get_unless(&path, &format!("W/{strong}")).await.status, 304, "the comparison is weak");
    let patch = owner.request(Method::PATCH, &path).header("if-match", &strong).json(&json!({"name": "Core"}));
    assert_eq!(owner.send(patch).await.status, 200, "the same tag serves If-Match");
    assert_eq!(owner.get_unless(&path, &strong).await.body["name"], "Core");
}

#[tokio::test]
async fn only_a_successful_read_is_compared() {
    let world = World::start().await;
    let owner = world.owner("acme").await;
    owner.get_unless("/v1/repositories/nope", "*").await.refused(404, "not_found");
    owner.get_unless("/v1/nothing", "no tag").await.refused(404, "not_found");
    world.anonymous().get_unless("/v1/repositories", "*").await.refused(401, "missing_token");
    for invalid in ["no tag", "\"open", "*, \"x\"", "w/\"x\""] {
        let refused = owner.get_unless("/v1/repositories", invalid).await;
        let details = json!([{"field": "if-none-match", "message": "must be `*` or a list of ETags"}]);
        assert_eq!(refused.refused(400, "invalid_request").body["error"]["details"], details, "{invalid}");
    }
    let created =
        owner.send(owner.request(Method::POST, "/v1/teams").header("if-none-match", "*").json(&json!({"name": "A"})));
    assert_eq!(created.await.status, 201);
    let (status, headers, body) = ask(&owner, Method::HEAD, "/v1/repositories/nope", None).await;
    assert_eq!((status, &*headers["content-type"], &*body), (404, "application/json", ""));
    let (status, headers, body) = ask(&world.anonymous(), Method::HEAD, "/v1/repositories", None).await;
    assert_eq!((status, headers.contains_key("www-authenticate"), &*body), (401, true, ""));
}
