//! The end of a session.

use std::time::Duration;

use local::issuer::{ADA, OWNER};
use serde_json::{Value, json};
use shared::access::{Caller, Scope};
use shared::model::{Author, Role};
use shared::settings::OIDC_ISSUER;
use shared::{App, ErrorCode, Route};
use tests::{Actor, World, create_team, eventually, extracted};

use super::{browser, code, hours, minutes, post, signed_in, with_an_issuer};

/// Waits until the time of the last use of the browser's session is recorded, in the background.
async fn used_at(browser: &Actor, time: &str) {
    eventually("the last use", async || {
        let listed = browser.get("/v1/sessions").await;
        assert_eq!(listed.status, 200, "{listed:?}");
        let current = listed.body["data"].as_array().unwrap().iter().find(|session| session["current"] == true);
        (current.unwrap()["last_used_at"] == time).then_some(())
    })
    .await
}

#[tokio::test]
async fn a_session_that_is_not_used_for_twelve_hours_ends() {
    let world = World::start().await;
    let owner = world.owner("acme").await;
    let (browser, _) = signed_in(&world, &owner).await;
    world.clock.advance(hours(12) - Duration::from_secs(1));
    assert_eq!(browser.get("/v1/user").await.status, 200);
    used_at(&browser, "2026-01-01T23:59:59Z").await;
    world.clock.advance(hours(12) - Duration::from_secs(1));
    assert_eq!(browser.get("/v1/user").await.status, 200, "the use has extended it");
    used_at(&browser, "2026-01-02T11:59:58Z").await;
    world.clock.advance(hours(12));
    let over = browser.get("/v1/user").await;
    over.refused(401, "token_expired");
    assert_eq!(over.header("www-authenticate"), "Bearer error=\"invalid_token\"");
    browser.post("/v1/teams", json!({"name": "a"})).await.refused(401, "token_expired");
}

#[tokio::test]
async fn a_session_ends_after_seven_days_although_it_is_used() {
    let world = World::start().await;
    let owner = world.owner("acme").await;
    let (browser, _) = signed_in(&world, &owner).await;
    for _ in 0..15 {
        world.clock.advance(hours(11));
        let answer = browser.get("/v1/user").await;
        assert_eq!(answer.status, 200, "{answer:?}");
        let now = world.clock.now().to_string();
        used_at(&browser, &now).await;
    }
    world.clock.advance(hours(3) - Duration::from_millis(1));
    assert_eq!(browser.get("/v1/user").await.status, 200);
    world.clock.advance(Duration::from_millis(1));
    browser.get("/v1/user").await.refused(401, "token_expired");
}

#[tokio::test]
async fn a_use_is_recorded_once_in_five_minutes() {
    let world = World::start().await;
    let owner = world.owner("acme").await;
    let (browser, _) = signed_in(&world, &owner).await;
    world.clock.advance(minutes(5) - Duration::from_millis(1));
    assert_eq!(browser.get("/v1/user").await.status, 200);
    used_at(&browser, "2026-01-01T12:00:00Z").await;
    world.clock.advance(Duration::from_millis(1));
    assert_eq!(browser.get("/v1/user").await.status, 200);
    used_at(&browser, "2026-01-01T12:05:00Z").await;
}

/// The ways in which a session ends with what it stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Loss {
    SignOut,
    Deletion,
    Revocation,
    Rotation,
    Narrowing,
    Removal,
    Demotion,
}

use Loss::{Deletion, Demotion, Narrowing, Removal, Revocation, Rotation, SignOut};

const LOSSES: [Loss; 7] = [SignOut, Deletion, Revocation, Rotation, Narrowing, Removal, Demotion];

/// A browser of an owner, in a session by a token of its own.
struct Falling {
    browser: Actor,
    session: String,
    holder: Actor,
    token: String,
}

impl Falling {
    async fn new(world: &World, owner: &Actor) -> Self {
        let user = world.member(owner, Role::Owner).await;
        let mut token = None;
        let holder = world.with_token(&user, |new| token = Some(new.id.to_string())).await;
        let (browser, session) = world.session(&holder).await;
        Self { browser, session, holder: user, token: token.unwrap() }
    }

    async fn lose(&self, loss: Loss, owner: &Actor) {
        let token = format!("/v1/tokens/{}", self.token);
        let member = format!("/v1/members/{}", self.holder.user_id.as_ref().unwrap());
        let answer = match loss {
            SignOut => self.browser.delete("/v1/session").await,
            Deletion => self.holder.delete(&format!("/v1/sessions/{}", self.session)).await,
            Revocation => owner.delete(&token).await,
            Rotation => self.holder.post(&format!("{token}/rotate"), json!({"overlap_hours": 24})).await,
            Narrowing => self.holder.patch(&token, json!({"scopes": ["teams:write", "account:read"]})).await,
            Demotion => owner.put(&member, json!({"role": "member"})).await,
            Removal => owner.delete(&member).await,
        };
        assert_eq!(answer.status, 200, "{loss:?}: {answer:?}");
    }
}

#[tokio::test]
async fn a_session_is_over_with_what_it_stands_for_at_once_for_writes_and_soon_for_reads() {
    let world = World::start_without_queue().await;
    let owner = world.owner("acme").await;
    // Two other environments remember the session, too.
    let environment = world.stack.environment().settings.clone();
    let gateways = [world.gateway(environment.clone()).await, world.gateway(environment).await];
    for loss in LOSSES {
        let falling = Falling::new(&world, &owner).await;
        let others = gateways.iter().map(|gateway| falling.browser.at(gateway.endpoint()));
        let everywhere: Vec<_> = [falling.browser.clone()].into_iter().chain(others).collect();
        for (at, browser) in everywhere.iter().enumerate() {
            assert_eq!(browser.get("/v1/user").await.status, 200);
            // The function remembers the caller.
            let team = browser.post("/v1/teams", json!({"name": format!("{loss:?} {at}")})).await;
            assert_eq!(team.status, 201, "{team:?}");
        }
        falling.lose(loss, &owner).await;
        for browser in &everywhere {
            let answer = browser.post("/v1/teams", json!({"name": "too late"})).await;
            let (status, code) = match loss {
                SignOut | Deletion => (401, "invalid_token"),
                Revocation | Removal => (401, "token_revoked"),
                Rotation | Narrowing => (401, "token_rotated"),
                Demotion => (403, "insufficient_permission"),
            };
            answer.refused(status, code);
        }
        world.callers_are_forgotten();
        for browser in &everywhere {
            let expected = if loss == Demotion { 200 } else { 401 };
            assert_eq!(browser.get("/v1/user").await.status, expected, "{loss:?}");
        }
    }
}

/// Returns the author of a change by a browser whose caller the environment remembers. The request has been decided, and its
/// transaction comes later.
async fn decided(environment: &App, browser: &Actor) -> Author {
    let session = browser.token.as_deref().unwrap();
    let _: Caller = extracted(environment, session, Route::get("team", "/v1/teams"), &[]).await;
    let route = Route::post("team", "/v1/teams").requires(Scope::TeamsWrite).by(Role::Admin);
    extracted(environment, session, route, &[]).await
}

/// Another environment ends the session than the one whose request runs.
#[tokio::test]
async fn a_session_that_ends_while_a_request_runs_changes_nothing() {
    let world = World::start_without_queue().await;
    let owner = world.owner("acme").await;
    let environment = world.stack.environment().app().unwrap();
    for loss in LOSSES {
        let falling = Falling::new(&world, &owner).await;
        let author = decided(&environment, &falling.browser).await;
        create_team(&environment, &author, &format!("before {loss:?}")).await.unwrap();
        falling.lose(loss, &owner).await;
        let refused = create_team(&environment, &author, &format!("after {loss:?}")).await.unwrap_err();
        assert_eq!(refused.code(), ErrorCode::InsufficientPermission, "{loss:?}");
    }
    assert_eq!(owner.get("/v1/teams").await.body["meta"]["total"], LOSSES.len());
}

#[tokio::test]
async fn a_session_by_a_sign_in_that_ends_while_a_request_runs_changes_nothing() {
    let (world, _) = with_an_issuer().await;
    let environment = world.stack.environment().app().unwrap();
    let browser = browser(&world, &post(&world, code(&world, &OWNER).await).await);
    let joined = browser.post("/v1/user/join", json!({})).await;
    assert_eq!(joined.body["member"]["role"], "owner", "{joined:?}");
    let author = decided(&environment, &browser).await;
    assert_eq!(browser.delete("/v1/session").await.status, 200);
    let refused = create_team(&environment, &author, "too late").await.unwrap_err();
    assert_eq!(refused.code(), ErrorCode::InsufficientPermission);
}

#[tokio::test]
async fn a_token_that_is_renamed_or_widened_keeps_its_sessions() {
    let world = World::start().await;
    let owner = world.owner("acme").await;
    let mut token = None;
    let narrow = world
        .with_token(&owner, |new| {
            new.scopes = vec![Scope::AccountRead];
            token = Some(new.id.to_string());
        })
        .await;
    let (browser, _) = signed_in(&world, &narrow).await;
    let change = json!({"name": "laptop", "scopes": ["account:read", "teams:read"]});
    assert_eq!(owner.patch(&format!("/v1/tokens/{}", token.unwrap()), change).await.status, 200);
    assert_eq!(browser.get("/v1/teams").await.status, 200, "the session may do what the token may now");
}

#[tokio::test]
async fn a_sign_out_takes_the_cookie_and_needs_a_session() {
    let world = World::start().await;
    let owner = world.owner("acme").await;
    let (browser, id) = signed_in(&world, &owner).await;
    owner.delete("/v1/session").await.refused(404, "not_found");
    let ended = browser.delete("/v1/session").await;
    assert_eq!((ended.status, &ended.body), (200, &json!({"id": id, "deleted": true})), "{ended:?}");
    let cleared = "__Host-session=; Path=/; Secure; HttpOnly; SameSite=Strict; Max-Age=0";
    assert_eq!(ended.header("set-cookie"), cleared);
    browser.delete("/v1/session").await.refused(401, "invalid_token");
    let event = owner.get("/v1/audit_events?action=session.ended").await;
    let event = &event.body["data"][0];
    assert_eq!((&event["target"]["id"], &event["session_id"]), (&json!(id), &json!(id)), "{event}");
    assert_eq!((&event["actor"]["id"], &event["source_address"]), (&json!(owner.user_id), &json!("127.0.0.1")));
}

#[tokio::test]
async fn a_session_by_a_sign_in_ends_for_the_account_with_the_user() {
    let (world, owner) = with_an_issuer().await;
    let first = browser(&world, &post(&world, code(&world, &ADA).await).await);
    let joined = first.post("/v1/user/join", json!({})).await;
    assert_eq!(joined.status, 200, "{joined:?}");
    assert_eq!(first.get("/v1/account").await.status, 200);
    let member = format!("/v1/members/{}", joined.body["member"]["id"].as_str().unwrap());
    assert_eq!(owner.delete(&member).await.status, 200);
    first.post("/v1/tokens", json!({"name": "t", "scopes": ["teams:read"]})).await.refused(403, "not_linked");
    world.callers_are_forgotten();
    first.get("/v1/account").await.refused(403, "not_linked");
    let openings = first.get("/v1/user/invitations").await;
    assert_eq!((openings.status, &openings.body["email"]), (200, &json!(ADA.email)), "{openings:?}");
}

#[tokio::test]
async fn a_session_by_an_issuer_that_is_not_trusted_any_more_is_over() {
    let (world, _) = with_an_issuer().await;
    let browser = browser(&world, &post(&world, code(&world, &OWNER).await).await);
    assert_eq!(browser.get("/v1/user/invitations").await.status, 200);
    for issuer in [String::new(), world.issuer.url().to_owned()] {
        let mut settings = world.stack.environment().settings.clone();
        settings.set(OIDC_ISSUER, issuer);
        let gateway = world.gateway(settings).await;
        let refused = browser.at(gateway.endpoint()).get("/v1/user/invitations").await;
        refused.refused(401, "invalid_token");
        assert_eq!(refused.body["data"], Value::Null);
    }
}
