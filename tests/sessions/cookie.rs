//! The requests whose cookie is taken.

use reqwest::Method;
use serde_json::json;
use shared::token::TokenSecret;
use tests::{Actor, Answer, World};

use super::signed_in;

/// Sends a request with exactly these headers.
async fn send(world: &World, method: Method, path: &str, headers: &[(&str, &str)]) -> Answer {
    let anonymous = world.anonymous();
    let request = anonymous.request(method.clone(), path);
    let request = headers.iter().fold(request, |request, (name, value)| request.header(*name, *value));
    anonymous.send(if method == Method::POST { request.json(&json!({"name": "Platform"})) } else { request }).await
}

fn cookie(browser: &Actor) -> String {
    format!("__Host-session={}", browser.token.as_ref().unwrap())
}

#[tokio::test]
async fn a_cookie_counts_only_from_the_apis_own_origin_whatever_the_method() {
    let world = World::start_without_queue().await;
    let owner = world.owner("acme").await;
    let (browser, id) = signed_in(&world, &owner).await;
    let (cookie, own) = (cookie(&browser), world.stack.url());
    let own = own.as_str();
    let (_, port) = own.rsplit_once(':').unwrap();
    let (by_name, by_https) = (format!("http://localhost:{port}"), own.replace("http://", "https://"));
    let foreign: [&[(&str, &str)]; 14] = [
        &[],
        &[("sec-fetch-site", "cross-site")],
        &[("sec-fetch-site", "same-site")],
        // Somebody has followed a link in a mail or typed the address.
        &[("sec-fetch-site", "none"), ("sec-fetch-mode", "navigate")],
        &[("sec-fetch-site", "cross-site"), ("sec-fetch-mode", "navigate"), ("sec-fetch-dest", "document")],
        &[("sec-fetch-site", "cross-site"), ("origin", own)],
        &[("sec-fetch-site", "SAME-ORIGIN"), ("origin", own)],
        &[("sec-fetch-site", "same-origin"), ("sec-fetch-site", "cross-site")],
        &[("origin", "https://evil.example")],
        &[("origin", "null")],
        &[("origin", &by_name)],
        &[("origin", &by_https)],
        &[("origin", "")],
        // What a page can set says nothing.
        &[("referer", own), ("x-forwarded-host", own), ("x-requested-with", "XMLHttpRequest")],
    ];
    for headers in foreign {
        world.callers_are_forgotten();
        for (method, path) in [
            (Method::GET, "/v1/user".to_owned()),
            (Method::POST, "/v1/teams".to_owned()),
            (Method::DELETE, format!("/v1/sessions/{id}")),
            (Method::DELETE, "/v1/session".to_owned()),
        ] {
            let headers = [headers, &[("cookie", cookie.as_str())]].concat();
            let answer = send(&world, method, &path, &headers).await;
            answer.refused(401, "missing_token");
            assert_eq!(answer.header("www-authenticate"), "Bearer", "{headers:?}");
            assert_eq!(answer.rate_limit().limit, 60, "it counts against the source");
        }
    }
    let its_own: [&[(&str, &str)]; 3] = [
        &[("sec-fetch-site", "same-origin")],
        &[("origin", own)],
        &[("sec-fetch-site", "same-origin"), ("origin", own)],
    ];
    for (number, headers) in its_own.into_iter().enumerate() {
        let headers = [headers, &[("cookie", cookie.as_str())]].concat();
        assert_eq!(send(&world, Method::GET, "/v1/user", &headers).await.status, 200, "{headers:?}");
        let created = send(&world, Method::POST, "/v1/teams", &headers).await;
        assert_eq!(created.status, if number == 0 { 201 } else { 409 }, "{created:?}");
    }
}

#[tokio::test]
async fn a_token_in_the_request_decides_and_the_cookie_is_ignored() {
    let world = World::start().await;
    let (owner, other) = (world.owner("acme").await, world.owner("globex").await);
    let (browser, _) = signed_in(&world, &owner).await;
    let cookie = cookie(&browser);
    let with = async |authorization: &str| {
        let headers = [("sec-fetch-site", "same-origin"), ("cookie", &cookie), ("authorization", authorization)];
        send(&world, Method::GET, "/v1/user", &headers).await
    };
    let by_token = with(&format!("Bearer {}", other.token.as_ref().unwrap())).await;
    assert_eq!(by_token.body["account"]["slug"], "globex", "{by_token:?}");
    assert!(world.line_of(&by_token)["session_id"].is_null());
    with(&format!("Bearer {}", TokenSecret::random().reveal())).await.refused(401, "invalid_token");
    with("Bearer nonsense").await.refused(401, "invalid_token");
    with(&format!("Bearer {}", browser.token.as_ref().unwrap())).await.refused(401, "invalid_token");
    with("Basic YTpi").await.refused(401, "missing_token");
    with("").await.refused(401, "missing_token");
}

#[tokio::test]
async fn the_sessions_cookie_is_found_among_others_and_refused_if_it_is_malformed_or_not_alone() {
    let world = World::start().await;
    let owner = world.owner("acme").await;
    let (browser, _) = signed_in(&world, &owner).await;
    let (other, _) = signed_in(&world, &owner).await;
    let (good, other) = (cookie(&browser), cookie(&other));
    let secret = browser.token.as_ref().unwrap();
    let last = if secret.ends_with('0') { '1' } else { '0' };
    let get = async |cookies: &[&str]| {
        let cookies = cookies.iter().map(|cookie| ("cookie", *cookie));
        let headers: Vec<_> = [("sec-fetch-site", "same-origin")].into_iter().chain(cookies).collect();
        send(&world, Method::GET, "/v1/user", &headers).await
    };
    for cookies in [
        vec![good.clone()],
        vec![format!("theme=dark; {good}; lang=en")],
        vec![format!("theme=dark;{good}")],
        vec!["theme=dark".to_owned(), good.clone()],
        vec![format!("nonsense; =; ;; {good}")],
        vec![format!("session={secret}; __host-session=x; {good}")],
    ] {
        let cookies: Vec<_> = cookies.iter().map(String::as_str).collect();
        let answer = get(&cookies).await;
        assert_eq!(answer.status, 200, "{cookies:?}: {answer:?}");
    }
    for cookies in [
        vec!["__Host-session=".to_owned()],
        vec!["__Host-session=dgs_".to_owned()],
        vec!["__Host-session=%00".to_owned()],
        vec![format!("__Host-session=\"{secret}\"")],
        vec![format!("__Host-session={}{last}", &secret[..39])],
        vec![format!("__Host-session={}", owner.token.as_ref().unwrap())],
        vec![format!("{good}x")],
        vec![format!("{good}; {good}")],
        vec![format!("{good}; {other}")],
        vec![other, good.clone()],
    ] {
        let cookies: Vec<_> = cookies.iter().map(String::as_str).collect();
        let answer = get(&cookies).await;
        answer.refused(401, "invalid_token");
        let (_, units) = world.cost(&answer);
        assert_eq!(units, 1.0, "the limiter's write and no read: {cookies:?}");
    }
    for cookies in [vec![], vec!["theme=dark"], vec!["session=dgs_", "__Secure-session=x"], vec!["__Host-session"]] {
        get(&cookies).await.refused(401, "missing_token");
    }
}
