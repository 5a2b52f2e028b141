//! The list of sessions.

use local::issuer::OWNER;
use reqwest::Method;
use serde_json::{Value, json};
use shared::access::Scope;
use shared::model::Role;
use tests::World;

use super::{browser, code, minutes, post, signed_in, with_an_issuer};

#[tokio::test]
async fn a_person_sees_and_ends_their_own_sessions() {
    let world = World::start().await;
    let owner = world.owner("acme").await;
    let admin = world.member(&owner, Role::Admin).await;
    let (_, first) = signed_in(&world, &owner).await;
    world.clock.advance(minutes(1));
    let (browser, second) = signed_in(&world, &owner).await;
    signed_in(&world, &admin).await;

    let listed = browser.get("/v1/sessions").await;
    let session = |id: &str, minute: &str, current: bool| {
        json!({
            "id": id, "created_at": format!("2026-01-01T12:{minute}:00Z"), "last_used_at": format!("2026-01-01T12:{minute}:00Z"),
            "expires_at": format!("2026-01-08T12:{minute}:00Z"), "source_address": "127.0.0.1",
            "user_agent": "Browser/1.0", "method": "token", "current": current,
        })
    };
    let expected = [session(&second, "01", true), session(&first, "00", false)];
    assert_eq!((listed.status, &listed.body["data"]), (200, &json!(expected)), "{listed:?}");
    assert_eq!(listed.body["meta"]["total"], 2);
    let by_token = owner.get("/v1/sessions?per_page=1").await;
    assert_eq!(by_token.body["data"], json!([session(&second, "01", false)]));
    let pages = owner.walk("/v1/sessions?per_page=1", "next").await;
    assert_eq!(pages.iter().flat_map(|page| page.column("id")).collect::<Vec<_>>(), [second.clone(), first.clone()]);

    let path = format!("/v1/sessions/{first}");
    admin.delete(&path).await.refused(404, "not_found");
    for missing in ["session_aaaaaaaaaaaaaaaa", "nonsense"] {
        browser.delete(&format!("/v1/sessions/{missing}")).await.refused(404, "not_found");
    }
    let ended = browser.delete(&path).await;
    assert_eq!((ended.status, &ended.body), (200, &json!({"id": first, "deleted": true})));
    browser.delete(&path).await.refused(404, "not_found");
    assert_eq!(browser.get("/v1/sessions").await.column("id"), [second]);
}

#[tokio::test]
async fn a_session_needs_the_scopes_of_tokens_to_manage_sessions() {
    let world = World::start().await;
    let owner = world.owner("acme").await;
    let narrow = world.with_token(&owner, |token| token.scopes = vec![Scope::TeamsRead]).await;
    let (browser, id) = signed_in(&world, &narrow).await;
    browser.get("/v1/sessions").await.refused(403, "insufficient_scope");
    browser.delete(&format!("/v1/sessions/{id}")).await.refused(403, "insufficient_scope");
    assert_eq!(browser.delete("/v1/session").await.status, 200, "everybody may sign out");
}

#[tokio::test]
async fn sessions_whose_token_is_gone_are_not_listed() {
    let world = World::start().await;
    let owner = world.owner("acme").await;
    let (_, kept) = signed_in(&world, &owner).await;
    for change in ["revoke", "rotate", "narrow"] {
        let mut token = None;
        let holder = world.with_token(&owner, |new| token = Some(new.id.to_string())).await;
        signed_in(&world, &holder).await;
        assert_eq!(owner.get("/v1/sessions").await.body["meta"]["total"], 2);
        let path = format!("/v1/tokens/{}", token.unwrap());
        let answer = match change {
            "revoke" => owner.delete(&path).await,
            "rotate" => owner.post(&format!("{path}/rotate"), json!({})).await,
            _ => owner.patch(&path, json!({"scopes": ["teams:read"]})).await,
        };
        assert_eq!(answer.status, 200, "{answer:?}");
        assert_eq!(owner.get("/v1/sessions").await.column("id"), [kept.as_str()], "{change}");
    }
}

#[tokio::test]
async fn the_list_has_the_sign_ins_at_the_issuer_also_those_before_the_person_joined() {
    let (world, owner) = with_an_issuer().await;
    let before = post(&world, code(&world, &OWNER).await).await;
    let browser = browser(&world, &before);
    assert_eq!(browser.post("/v1/user/join", json!({})).await.status, 200);
    world.clock.advance(minutes(1));
    let (_, by_token) = signed_in(&world, &owner).await;
    let listed = browser.get("/v1/sessions").await;
    assert_eq!(listed.column("id"), [by_token.as_str(), before.body["id"].as_str().unwrap()]);
    assert_eq!(listed.column("method"), ["token", "oauth2"]);
    let current: Vec<_> = listed.body["data"].as_array().unwrap().iter().map(|session| &session["current"]).collect();
    assert_eq!(current, [&json!(false), &json!(true)]);
}

#[tokio::test]
async fn a_browser_that_names_itself_strangely_is_kept_short_or_left_out() {
    let world = World::start().await;
    let owner = world.owner("acme").await;
    let page = world.anonymous();
    for (name, kept) in [("A".repeat(300), json!("A".repeat(256))), ("caf\u{e9}".to_owned(), Value::Null)] {
        let request = page.request(Method::POST, "/v1/session").header("user-agent", name.as_bytes());
        let answer = page.send(request.json(&json!({"token": owner.token}))).await;
        assert_eq!(answer.status, 201, "{answer:?}");
        world.clock.advance(minutes(1));
        assert_eq!(owner.get("/v1/sessions").await.body["data"][0]["user_agent"], kept);
    }
}
