//! Sign-in with a token and with a code.

use local::issuer::{ADA, OWNER};
use reqwest::Method;
use reqwest::header::SET_COOKIE;
use serde_json::{Value, json};
use shared::access::Scope;
use shared::settings::{DASHBOARD_CLIENT_ID, OIDC_CLIENT_IDS, OIDC_ISSUER};
use shared::token::{SessionSecret, TokenSecret};
use tests::{Actor, World, session_secret};

use super::{browser, code, events, hours, minutes, post, signed_in, with_an_issuer};

#[tokio::test]
async fn a_token_gives_a_session_that_may_do_what_the_token_may() {
    let world = World::start_without_queue().await;
    let owner = world.owner("acme").await;
    let narrow = world.with_token(&owner, |token| token.scopes = vec![Scope::TeamsRead, Scope::TeamsWrite]).await;
    let answer = post(&world, json!({"token": narrow.token})).await;
    let cookie = answer.header("set-cookie");
    let secret = session_secret(cookie);
    assert!(secret.parse::<SessionSecret>().is_ok(), "it has its prefix and its checksum");
    let attributes = "; Path=/; Secure; HttpOnly; SameSite=Strict; Max-Age=604800";
    assert_eq!(cookie, format!("__Host-session={secret}{attributes}"));
    assert_eq!(answer.headers.get_all(SET_COOKIE).iter().count(), 1);
    assert_eq!(answer.header("cache-control"), "no-store");
    assert_eq!(answer.body["created_at"], "2026-01-01T12:00:00Z");
    assert_eq!(answer.body["expires_at"], "2026-01-08T12:00:00Z");

    let browser = browser(&world, &answer);
    let me = browser.get("/v1/user").await;
    assert_eq!((me.status, &me.body), (200, &answer.body["user"]), "{me:?}");
    assert_eq!(me.body["scopes"], json!(["teams:read", "teams:write"]));
    assert_eq!(me.header("x-token-expires-at"), "2026-01-08T12:00:00Z");
    let line = world.line_of(&me);
    assert_eq!((&line["session_id"], &line["account_id"]), (&answer.body["id"], &json!(owner.account_id)));
    assert_eq!((me.rate_limit().limit, line["token_id"].is_string()), (1_000_000, true), "it counts for the account");
    browser.get("/v1/repositories").await.refused(403, "insufficient_scope");

    let team = browser.team("Platform").await;
    let event = owner.get(&format!("/v1/audit_events?target={}", team["id"].as_str().unwrap())).await;
    let event = &event.body["data"][0];
    assert_eq!((&event["session_id"], &event["token_id"]), (&answer.body["id"], &Value::Null), "{event}");
    assert_eq!(event["actor"]["id"], json!(owner.user_id));
    let made = owner.get("/v1/audit_events?action=session.created").await;
    let made = &made.body["data"][0];
    assert_eq!((&made["target"]["id"], &made["source_address"]), (&answer.body["id"], &json!("127.0.0.1")), "{made}");
    assert_eq!((&made["actor"]["id"], &made["changes"][0]["to"]), (&json!(owner.user_id), &json!("token")), "{made}");
    assert!(made["token_id"].is_string(), "the token signed in: {made}");
}

#[tokio::test]
async fn a_session_ends_with_its_token_and_counts_as_a_use_of_it() {
    let world = World::start().await;
    let owner = world.owner("acme").await;
    let end = world.clock.now().plus(hours(2));
    let mut id = None;
    let short = world
        .with_token(&owner, |token| {
            token.expires_at = Some(end);
            id = Some(token.id.clone());
        })
        .await;
    let answer = post(&world, json!({"token": short.token})).await;
    assert_eq!(answer.body["expires_at"], "2026-01-01T14:00:00Z");
    let token = owner.get(&format!("/v1/tokens/{}", id.unwrap())).await;
    assert_eq!(token.body["last_used_at"], "2026-01-01T12:00:00Z", "{token:?}");
    let browser = browser(&world, &answer);
    assert_eq!(browser.get("/v1/user").await.status, 200);
    world.clock.advance(hours(2));
    browser.get("/v1/user").await.refused(401, "token_expired");
}

#[tokio::test]
async fn a_code_of_the_issuer_gives_a_session_that_outlives_the_issuers_token() {
    let (world, owner) = with_an_issuer().await;
    let told = world.anonymous().get("/v1/sign-in").await;
    let issuer = world.stack.issuer().unwrap().url();
    assert_eq!((told.status, &told.body["methods"]), (200, &json!(["oauth2", "token"])), "{told:?}");
    let oauth2 = &told.body["oauth2"];
    assert_eq!((&oauth2["issuer"], &oauth2["client_id"]), (&json!(issuer), &json!("dashboard")));
    assert_eq!(oauth2["redirect_uri"], format!("{}/sign-in", world.stack.url()));
    assert_eq!(oauth2["authorization_endpoint"], format!("{issuer}/oauth2/authorize"));
    assert_eq!(told.header("cache-control"), "public, max-age=300");
    assert_eq!(told.rate_limit().limit, 60, "it counts against the source");

    // The subject is linked to the owner first.
    let first = post(&world, code(&world, &OWNER).await).await;
    let joined = browser(&world, &first).post("/v1/user/join", json!({})).await;
    assert_eq!(joined.status, 200, "{joined:?}");

    let answer = post(&world, code(&world, &OWNER).await).await;
    let browser = browser(&world, &answer);
    let me = browser.get("/v1/user").await;
    assert_eq!((me.status, &me.body), (200, &answer.body["user"]), "{me:?}");
    assert_eq!((&me.body["user"]["id"], &me.body["token"]["id"]), (&json!(owner.user_id), &Value::Null));
    assert_eq!(me.body["scopes"].as_array().unwrap().len(), Scope::ALL.len());
    let line = world.line_of(&me);
    assert_eq!((&line["client_id"], &line["session_id"]), (&json!("dashboard"), &answer.body["id"]));
    world.clock.advance(hours(11));
    assert_eq!(browser.get("/v1/user").await.status, 200);
    let created = browser.post("/v1/teams", json!({"name": "Platform"})).await;
    assert_eq!(created.status, 201, "{created:?}");
    let made = owner.get("/v1/audit_events?action=session.created").await;
    assert_eq!(made.body["data"][0]["client_id"], "dashboard", "{made:?}");
}

#[tokio::test]
async fn a_code_that_is_not_the_pages_own_gives_nothing() {
    let (world, _) = with_an_issuer().await;
    let with = |mut proof: Value, field: &str, value: Value| {
        proof[field] = value;
        proof
    };
    let good = code(&world, &ADA).await;
    for (proof, field) in [
        (json!({}), "token"),
        (json!({"code": "c"}), "code_verifier"),
        (json!({"code": "c", "code_verifier": "v"}), "redirect_uri"),
        (json!({"code_verifier": "v"}), "token"),
        (with(good.clone(), "token", json!("dgp_0")), "token"),
        (with(good.clone(), "redirect_uri", json!("https://evil.example/sign-in")), "redirect_uri"),
        (with(good.clone(), "redirect_uri", json!(format!("{}/sign-in?", world.stack.url()))), "redirect_uri"),
        (with(good.clone(), "code", json!("unknown")), "code"),
    ] {
        let answer = post(&world, proof.clone()).await;
        answer.refused(400, "invalid_request");
        assert_eq!(answer.body["error"]["details"][0]["field"], field, "{proof}: {answer:?}");
        assert!(!answer.headers.contains_key(SET_COOKIE));
    }
    // The issuer forgets a code that was tried with another verifier.
    let other = post(&world, with(good.clone(), "code_verifier", json!("x".repeat(43)))).await;
    assert_eq!(other.body["error"]["details"][0]["field"], "code", "{other:?}");
    post(&world, good).await.refused(400, "invalid_request");
    world.clock.advance(minutes(1));
    let used = code(&world, &ADA).await;
    assert_eq!(post(&world, used.clone()).await.status, 201);
    post(&world, used).await.refused(400, "invalid_request");
    let late = code(&world, &ADA).await;
    world.clock.advance(minutes(5));
    post(&world, late).await.refused(400, "invalid_request");
}

#[tokio::test]
async fn without_the_identity_provider_tokens_still_sign_in() {
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let world = World::start_with(|options| {
        options.overrides.push((OIDC_ISSUER, format!("http://{silent}")));
        options.overrides.push((OIDC_CLIENT_IDS, "people".to_owned()));
        options.overrides.push((DASHBOARD_CLIENT_ID, "dashboard".to_owned()));
    })
    .await;
    let owner = world.owner("acme").await;
    let told = world.anonymous().get("/v1/sign-in").await;
    assert_eq!(told.body, json!({"methods": ["token"], "oauth2": null}));
    assert_eq!(told.header("cache-control"), "no-store");
    let redirect_uri = format!("{}/sign-in", world.stack.url());
    let by_code = json!({"code": "c", "code_verifier": "v", "redirect_uri": redirect_uri});
    let down = post(&world, by_code.clone()).await;
    down.refused(503, "service_unavailable");
    assert!(down.headers.contains_key("retry-after"));
    assert_eq!(signed_in(&world, &owner).await.0.get("/v1/user").await.status, 200);

    // A stack without a client of the dashboard tells so, too.
    let mut settings = world.stack.environment().settings.clone();
    settings.set(DASHBOARD_CLIENT_ID, String::new());
    let gateway = world.gateway(settings).await;
    let page = world.anonymous().at(gateway.endpoint());
    assert_eq!(page.get("/v1/sign-in").await.body["methods"], json!(["token"]));
    let refused = page.post("/v1/session", by_code).await;
    refused.refused(400, "invalid_request");
    assert_eq!(refused.body["error"]["details"][0]["field"], "code");
}

#[tokio::test]
async fn a_token_that_is_not_valid_gives_nothing_and_costs_no_more_than_elsewhere() {
    let world = World::start().await;
    let owner = world.owner("acme").await;
    let now = world.clock.now();
    let holding = async |change: fn(&mut shared::model::AccessToken, shared::clock::Timestamp)| {
        world.with_token(&owner, |token| change(token, now)).await.token.unwrap()
    };
    let unknown = TokenSecret::random().reveal().to_owned();
    let (session, _) = world.session(&owner).await;
    for (text, code) in [
        (String::new(), "invalid_token"),
        ("nonsense".to_owned(), "invalid_token"),
        (session.token.clone().unwrap(), "invalid_token"),
        (unknown.replace("dgp_", "dgs_"), "invalid_token"),
        (unknown.clone(), "invalid_token"),
        (holding(|token, now| token.expires_at = Some(now)).await, "token_expired"),
        (holding(|token, now| token.revoked_at = Some(now)).await, "token_revoked"),
        (holding(|token, now| token.superseded_at = Some(now.plus(minutes(5)))).await, "token_rotated"),
    ] {
        let answer = post(&world, json!({"token": text})).await;
        answer.refused(401, code);
        assert!(!answer.headers.contains_key(SET_COOKIE));
        if code == "invalid_token" {
            let cost = if text == unknown { (2, 1.5) } else { (1, 1.0) };
            assert_eq!(world.cost(&answer), cost, "{text}");
        }
    }
    assert_eq!(events(&owner).await.len(), 1, "the session of this test alone");
}

#[tokio::test]
async fn sign_ins_are_bounded_by_source_address() {
    let world = World::start().await;
    let owner = world.owner("acme").await;
    for left in (0..20).rev() {
        let answer = post(&world, json!({"token": TokenSecret::random().reveal()})).await;
        answer.refused(401, "invalid_token");
        assert_eq!(answer.rate_limit().burst_left, left);
    }
    let refused = post(&world, json!({"token": owner.token})).await;
    refused.refused(429, "rate_limited");
    assert!(!refused.headers.contains_key(SET_COOKIE));
    assert_eq!(owner.get("/v1/user").await.status, 200);
}

#[tokio::test]
async fn another_site_can_not_sign_a_person_in() {
    let world = World::start().await;
    let owner = world.owner("acme").await;
    let (page, own) = (world.anonymous(), world.stack.url());
    let post = async |headers: &[(&str, &str)]| {
        let request = page.request(Method::POST, "/v1/session").json(&json!({"token": owner.token}));
        page.send(headers.iter().fold(request, |request, (name, value)| request.header(*name, *value))).await
    };
    for headers in [
        &[("sec-fetch-site", "cross-site")][..],
        &[("sec-fetch-site", "same-site")],
        &[("sec-fetch-site", "none")],
        &[("origin", "https://evil.example")],
        &[("origin", "null")],
        &[("origin", &own), ("sec-fetch-site", "cross-site")],
    ] {
        let answer = post(headers).await;
        answer.refused(403, "insufficient_permission");
        assert!(!answer.headers.contains_key(SET_COOKIE), "{headers:?}");
    }
    assert_eq!(post(&[("origin", &own)]).await.status, 201);
    assert_eq!(post(&[]).await.status, 201, "a program is no browser");
    // A form of another site has another content type.
    let form = page.request(Method::POST, "/v1/session").header("content-type", "text/plain");
    let form = page.send(form.body(json!({"token": owner.token}).to_string())).await;
    form.refused(415, "unsupported_media_type");
}

/// Signs in with a browser that has a cookie.
async fn again(world: &World, has: &Actor, owner: &Actor) -> (Actor, String) {
    let request = has.request(Method::POST, "/v1/session").json(&json!({"token": owner.token}));
    let answer = has.send(request).await;
    (browser(world, &answer), answer.body["id"].as_str().unwrap().to_owned())
}

#[tokio::test]
async fn a_sign_in_makes_a_new_secret_and_ends_the_session_that_the_browser_had() {
    let world = World::start().await;
    let owner = world.owner("acme").await;
    // A secret that somebody has planted is not taken over.
    let planted = world.anonymous().holding(SessionSecret::random().reveal());
    let (first, first_id) = again(&world, &planted, &owner).await;
    assert_ne!(first.token, planted.token);
    planted.get("/v1/user").await.refused(401, "invalid_token");

    world.clock.advance(minutes(1));
    assert_eq!(first.get("/v1/user").await.status, 200);
    let (second, second_id) = again(&world, &first, &owner).await;
    assert_ne!(second.token, first.token);
    assert_eq!(second.get("/v1/user").await.status, 200);
    first.post("/v1/teams", json!({"name": "a"})).await.refused(401, "invalid_token");
    world.callers_are_forgotten();
    first.get("/v1/user").await.refused(401, "invalid_token");
    let mut found = events(&owner).await;
    found.sort();
    let mut expected = vec![
        ("session.created".to_owned(), first_id.clone()),
        ("session.created".to_owned(), second_id),
        ("session.ended".to_owned(), first_id),
    ];
    expected.sort();
    assert_eq!(found, expected);
}

#[tokio::test]
async fn a_session_alone_makes_no_session() {
    let world = World::start().await;
    let owner = world.owner("acme").await;
    let (browser, _) = signed_in(&world, &owner).await;
    browser.post("/v1/session", json!({})).await.refused(400, "invalid_request");
    browser.post("/v1/session", json!({"token": browser.token})).await.refused(401, "invalid_token");
    assert_eq!(browser.get("/v1/user").await.status, 200, "a sign-in that fails ends nothing");
}

#[tokio::test]
async fn another_sign_in_ends_the_oldest_of_too_many_sessions() {
    let world = World::start().await;
    let owner = world.owner("acme").await;
    let (oldest, _) = world.session(&owner).await;
    world.clock.advance(minutes(1));
    for _ in 0..50 {
        world.session(&owner).await;
    }
    assert_eq!(owner.get("/v1/sessions").await.body["meta"]["total"], 50);
    oldest.get("/v1/user").await.refused(401, "invalid_token");
}

#[tokio::test]
async fn the_table_has_neither_the_secret_nor_the_issuers_token() {
    let (world, _) = with_an_issuer().await;
    let browser = browser(&world, &post(&world, code(&world, &OWNER).await).await);
    let table = world.stack.app().table();
    let scanned = table.client().scan().table_name(table.name()).send().await.unwrap();
    let text = format!("{:?}", scanned.items());
    assert!(text.contains("SESSION#") && text.contains(OWNER.email), "the session is there");
    let secret = browser.token.unwrap();
    assert!(!text.contains(&secret) && !text.contains("eyJ"), "{text}");
}
