//! A person who signs in and belongs to no account yet.

use std::net::Ipv4Addr;

use local::issuer::EVE;
use serde_json::{Value, json};
use shared::access::SignedIn;
use shared::id::RequestId;
use shared::model::RequestOrigin;
use shared::{ErrorCode, Route};
use tests::extracted;

use super::{browser, code, minutes, post, with_an_issuer};

#[tokio::test]
async fn a_newcomer_finds_an_invitation_and_joins_in_their_session() {
    let (world, owner) = with_an_issuer().await;
    let answer = post(&world, code(&world, &EVE).await).await;
    assert_eq!(answer.body["user"], Value::Null, "{answer:?}");
    let browser = browser(&world, &answer);
    browser.get("/v1/user").await.refused(403, "not_linked");
    browser.get("/v1/sessions").await.refused(403, "not_linked");
    let openings = browser.get("/v1/user/invitations").await;
    assert_eq!(openings.body, json!({"email": EVE.email, "data": [], "domain_account": null}), "{openings:?}");
    browser.post("/v1/user/join", json!({})).await.refused(404, "not_found");

    let invited = owner.post("/v1/invitations", json!({"email": EVE.email, "role": "admin"})).await;
    assert_eq!(invited.status, 201, "{invited:?}");
    let openings = browser.get("/v1/user/invitations").await;
    let invitation = &openings.body["data"][0]["id"];
    assert_eq!(invitation, &invited.body["invitation"]["id"]);
    let joined = browser.post("/v1/user/join", json!({"invitation_id": invitation})).await;
    assert_eq!(joined.status, 200, "{joined:?}");
    let me = browser.get("/v1/user").await;
    assert_eq!((&me.body["user"]["email"], &me.body["user"]["role"]), (&json!(EVE.email), &json!("admin")), "{me:?}");
    let events = owner.get("/v1/audit_events?action=invitation.accepted").await;
    let event = &events.body["data"][0];
    assert_eq!((&event["session_id"], &event["client_id"]), (&answer.body["id"], &Value::Null), "{event}");
}

#[tokio::test]
async fn a_newcomer_signs_out_at_once_and_everywhere() {
    let (world, _) = with_an_issuer().await;
    let browser = browser(&world, &post(&world, code(&world, &EVE).await).await);
    let other = world.gateway(world.stack.environment().settings.clone()).await;
    let elsewhere = browser.at(other.endpoint());
    for browser in [&browser, &elsewhere] {
        assert_eq!(browser.get("/v1/user/invitations").await.status, 200);
    }
    assert_eq!(browser.delete("/v1/session").await.status, 200);
    for browser in [&browser, &elsewhere] {
        browser.get("/v1/user/invitations").await.refused(401, "invalid_token");
        browser.post("/v1/user/join", json!({})).await.refused(401, "invalid_token");
    }
}

#[tokio::test]
async fn a_newcomer_who_signs_out_while_a_request_runs_joins_nothing() {
    let (world, owner) = with_an_issuer().await;
    let environment = world.stack.environment().app().unwrap();
    let invited = owner.post("/v1/invitations", json!({"email": EVE.email, "role": "admin"})).await;
    let browser = browser(&world, &post(&world, code(&world, &EVE).await).await);
    let route = Route::post("join", "/v1/user/join").admits_newcomers();
    let SignedIn::Newcomer(newcomer) = extracted(&environment, browser.token.as_deref().unwrap(), route, &[]).await
    else {
        panic!("the person belongs to an account")
    };
    assert_eq!(browser.delete("/v1/session").await.status, 200);
    let invitation = invited.body["invitation"]["id"].as_str().unwrap().parse().unwrap();
    let origin = RequestOrigin { source_address: Ipv4Addr::LOCALHOST.into(), request_id: RequestId::random() };
    let now = world.clock.now();
    let refused = newcomer.accept(environment.table(), &invitation, origin, now).await.unwrap_err();
    assert_eq!(refused.code(), ErrorCode::InsufficientPermission);
    assert_eq!(owner.get("/v1/invitations").await.body["meta"]["total"], 1);
}

#[tokio::test]
async fn a_newcomers_session_is_used_and_expires_like_any_other() {
    let (world, _) = with_an_issuer().await;
    let browser = browser(&world, &post(&world, code(&world, &EVE).await).await);
    world.clock.advance(minutes(12 * 60 - 1));
    assert_eq!(browser.get("/v1/user/invitations").await.status, 200);
    world.clock.advance(minutes(2));
    // The use was recorded in the background.
    tests::eventually("the recorded use", async || {
        world.clock.advance(std::time::Duration::from_millis(1));
        (browser.get("/v1/user/invitations").await.status == 200).then_some(())
    })
    .await;
    world.clock.advance(minutes(12 * 60));
    browser.get("/v1/user/invitations").await.refused(401, "token_expired");
}
