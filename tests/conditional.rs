//! ETags of reads, `If-None-Match`, `If-Match`, and HEAD.

use std::collections::BTreeMap;

use futures_util::future::join_all;
use reqwest::Method;
use serde_json::{Value, json};
use shared::Route;
use tests::estate::{Estate, Parameters, in_order, request};
use tests::{Actor, Answer, GitRepository, World};

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

/// Returns the answer to the read of the resource that a route changes, if there is an endpoint that reads it.
async fn read(estate: &Estate, route: &Route, parameters: &Parameters) -> Option<Answer> {
    let key = format!("GET {}", route.path);
    in_order().iter().find(|read| read.key() == key)?;
    let actor = estate.caller(&route.key());
    let answer = actor.send(request(actor, &key, parameters)).await;
    assert_eq!(answer.status, 200, "{key}: {answer:?}");
    Some(answer)
}

/// Sends a valid request with a condition. A PATCH changes the resource that was read.
async fn change_if(
    estate: &Estate,
    route: &Route,
    parameters: &Parameters,
    resource: &Value,
    condition: &str,
) -> Answer {
    let (key, actor) = (route.key(), estate.caller(&route.key()));
    let valid = request(actor, &key, parameters);
    let request = if *route.method == Method::PATCH { valid.json(&estate.changing(&key, resource)) } else { valid };
    actor.send(request.header("if-match", condition)).await
}

#[tokio::test]
async fn each_change_and_deletion_is_made_on_the_condition_of_its_etag() {
    let world = World::start_without_queue().await;
    let source = GitRepository::new(&[]);
    let estate = Estate::new(&world, "acme", &source).await;
    let mut with_etag = 0;
    for route in in_order().into_iter().filter(|route| [Method::PATCH, Method::DELETE].contains(route.method)) {
        let key = route.key();
        let parameters = estate.ready(&world, route.function).await;
        let before = read(&estate, &route, &parameters).await;
        let resource = before.as_ref().map(|before| before.body.clone()).unwrap_or_default();
        let change = |condition: String| {
            let (estate, route, parameters, resource) = (&estate, &route, &parameters, &resource);
            async move { change_if(estate, route, parameters, resource, &condition).await }
        };
        let tag = before.as_ref().map(|before| before.header("etag").to_owned());
        let stored = estate.items(&world).await;
        let weak = tag.as_ref().map(|tag| format!("W/{tag}"));
        for stale in ["\"0.none\"".to_owned(), "\"\"".to_owned()].into_iter().chain(weak) {
            assert_eq!(change(stale.clone()).await.refused(412, "precondition_failed").status, 412, "{key} if {stale}");
        }
        for invalid in ["no tag", "*, \"x\""] {
            let refused = change(invalid.to_owned()).await;
            assert_eq!(
                refused.refused(400, "invalid_request").body["error"]["details"][0]["field"],
                "if-match",
                "{key}"
            );
        }
        assert_eq!(estate.items(&world).await, stored, "{key}");

        let Some(tag) = tag else {
            assert_eq!(change("*".to_owned()).await.status, 200, "{key}");
            continue;
        };
        with_etag += 1;
        assert!(tag.starts_with('"'), "{key} has a resource that is read, whose ETag must be strong: {tag}");
        let changed = change(format!("\"other\", {tag}")).await;
        assert_eq!(changed.status, 200, "{key}: {changed:?}");
        if *route.method == Method::PATCH {
            let after = read(&estate, &route, &parameters).await.unwrap();
            assert_eq!((&changed.body, changed.header("etag")), (&after.body, after.header("etag")), "{key}");
            change(tag).await.refused(412, "precondition_failed");
            assert_eq!(change("*".to_owned()).await.status, 200, "{key}");
        }
    }
    assert!(with_etag >= 12, "{with_etag} changes and deletions of a resource with an ETag");
}

#[tokio::test]
async fn of_changes_and_deletions_at_once_with_one_etag_one_is_made() {
    let world = World::start_without_queue().await;
    let source = GitRepository::new(&[]);
    let estate = Estate::new(&world, "acme", &source).await;
    let routes = in_order();
    let patch_of = |path: &str| routes.iter().find(|route| *route.method == Method::PATCH && route.path == path);
    let has_delete = |path: &str| routes.iter().any(|route| *route.method == Method::DELETE && route.path == path);
    let changes = routes.iter().filter(|route| [Method::PATCH, Method::DELETE].contains(route.method));
    let mut races = 0;
    // A change races with the deletion, if there is one. It changes something, because no other has been made before.
    for route in changes.filter(|route| *route.method == Method::DELETE || !has_delete(route.path)) {
        let Some(patch) = patch_of(route.path) else { continue };
        races += 1;
        let parameters = estate.ready(&world, route.function).await;
        let before = read(&estate, route, &parameters).await.unwrap();
        let tag = before.header("etag");
        let change = |route| change_if(&estate, route, &parameters, &before.body, tag);
        let answers = join_all([change(route), change(patch), change(patch)]).await;
        let made = answers.iter().filter(|answer| answer.status == 200).count();
        assert_eq!(made, 1, "{}: {answers:?}", route.key());
        let refused = answers.iter().filter(|answer| [404, 412].contains(&answer.status)).count();
        assert_eq!(refused, 2, "{}: {answers:?}", route.key());
        if *route.method == Method::DELETE && answers[0].status != 200 {
            let now = read(&estate, route, &parameters).await.unwrap();
            let deleted = change_if(&estate, route, &parameters, &now.body, now.header("etag")).await;
            assert_eq!(deleted.status, 200, "{}: {deleted:?}", route.key());
        }
    }
    assert!(races >= 7, "{races} resources can be changed");
}

#[tokio::test]
async fn an_etag_is_of_one_resource_and_of_what_can_be_changed() {
    let world = World::start().await;
    let (owner, source) = world.app().await;
    let environment = "/v1/repositories/app/environments/production";
    let before = owner.get(environment).await;
    let deployed = owner.deploy("app", json!({"ref": "main", "environment": "production"})).await;
    owner.ended(&deployed).await;
    let after = owner.get_unless(environment, before.header("etag")).await;
    assert_eq!((after.status, &after.body["live"]["deployment_id"]), (200, &deployed["id"]), "the answer has changed");
    let set = |tag: &str, body: Value| {
        owner.send(owner.request(Method::PATCH, environment).header("if-match", tag).json(&body))
    };
    assert_eq!(set(before.header("etag"), json!({"wait_seconds": 5})).await.status, 200, "the settings have not");
    set(after.header("etag"), json!({"wait_seconds": 6})).await.refused(412, "precondition_failed");

    // Another resource at the same path has other ETags.
    let spares = "/v1/repositories/app/environments";
    let spare = format!("{spares}/spare");
    assert_eq!(owner.post(spares, json!({"name": "spare"})).await.status, 201);
    let first = owner.get(&spare).await;
    assert_eq!(owner.delete(&spare).await.status, 200);
    world.clock.advance(std::time::Duration::from_secs(1));
    assert_eq!(owner.post(spares, json!({"name": "spare"})).await.status, 201);
    let delete = owner.request(Method::DELETE, &spare).header("if-match", first.header("etag"));
    owner.send(delete).await.refused(412, "precondition_failed");

    let first = owner.get("/v1/repositories/app").await;
    assert_eq!(owner.delete("/v1/repositories/app").await.status, 200);
    owner.repository("app", &source).await;
    let delete = owner.request(Method::DELETE, "/v1/repositories/app").header("if-match", first.header("etag"));
    owner.send(delete).await.refused(412, "precondition_failed");
    assert_eq!(owner.get("/v1/repositories/app").await.status, 200);
}
