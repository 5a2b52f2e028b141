//! The validity of tokens, and its duration.

use std::time::Duration;

use aws_sdk_dynamodb::types::AttributeValue;
use reqwest::header::AUTHORIZATION;
use serde_json::{Value, json};
use shared::access::Access;
use shared::token::{TokenHash, TokenSecret};
use tests::estate::{Estate, request};
use tests::{Actor, GitRepository, NOON, World};

use crate::authorization::CASES;

fn hash(actor: &Actor) -> TokenHash {
    actor.token.as_ref().unwrap().parse::<TokenSecret>().unwrap().hash()
}

#[tokio::test]
async fn no_endpoint_lets_anybody_in_without_a_valid_token() {
    let world = World::start_without_queue().await;
    let source = GitRepository::new(&[]);
    let acme = Estate::new(&world, "acme", &source).await;
    let now = world.clock.now();
    let good = acme.owner.token.clone().unwrap();
    let unknown = TokenSecret::random().reveal().to_owned();
    let mistyped = format!("{}{}", &good[..39], if good.ends_with('0') { '1' } else { '0' });
    let expired = world.with_token(&acme.owner, |token| token.expires_at = Some(now)).await.token.unwrap();
    let revoked = world.with_token(&acme.owner, |token| token.revoked_at = Some(now)).await.token.unwrap();
    let rotated = world.with_token(&acme.owner, |token| token.superseded_at = Some(now)).await.token.unwrap();
    let refused: [(&str, Vec<String>, &str); 13] = [
        ("nothing", vec![], "missing_token"),
        ("another scheme", vec!["Basic YWNtZTpzZWNyZXQ=".to_owned()], "missing_token"),
        ("no scheme", vec![good.clone()], "missing_token"),
        ("a scheme alone", vec!["Bearer".to_owned()], "missing_token"),
        ("an empty token", vec!["Bearer ".to_owned()], "missing_token"),
        ("what is no token", vec!["Bearer secret".to_owned()], "invalid_token"),
        ("a token and more", vec![format!("Bearer {good} {good}")], "invalid_token"),
        ("two headers", vec![format!("Bearer {good}"), format!("Bearer {good}")], "invalid_token"),
        ("a wrong checksum", vec![format!("Bearer {mistyped}")], "invalid_token"),
        ("an unknown token", vec![format!("Bearer {unknown}")], "invalid_token"),
        ("an expired token", vec![format!("Bearer {expired}")], "token_expired"),
        ("a revoked token", vec![format!("Bearer {revoked}")], "token_revoked"),
        ("a token that another has replaced", vec![format!("Bearer {rotated}")], "token_rotated"),
    ];
    let before = acme.items(&world).await;
    for &(route, access, ..) in CASES {
        if access == Access::Public {
            continue;
        }
        // The source may fail to authenticate again.
        world.clock.advance(Duration::from_secs(60));
        let anonymous = world.anonymous();
        for (left, (what, headers, code)) in (0..60).rev().zip(&refused) {
            let request = request(&anonymous, route, &acme.parameters);
            let request = headers.iter().fold(request, |request, header| request.header(AUTHORIZATION, header));
            let answer = anonymous.send(request).await;
            println!("{route} with {what}");
            answer.refused(401, code);
            let challenge = if *code == "missing_token" { "Bearer" } else { "Bearer error=\"invalid_token\"" };
            assert_eq!(answer.header("www-authenticate"), challenge);
            assert!(!answer.body.to_string().contains("dgp_"), "a token is not sent back: {answer:?}");
            let limit = answer.rate_limit();
            assert_eq!((limit.limit, limit.burst, limit.remaining), (60, 20, left), "it counts against the source");
            assert_eq!(world.line_of(&answer)["account_id"], Value::Null);
        }
    }
    assert_eq!(acme.items(&world).await, before);
}

#[tokio::test]
async fn a_public_endpoint_needs_no_token_and_looks_at_none() {
    let world = World::start().await;
    let owner = world.owner("acme").await;
    for actor in [world.anonymous(), world.anonymous().holding("nonsense"), owner] {
        let answer = actor.get("/v1/sign-in").await;
        assert_eq!((answer.status, &answer.body["methods"]), (200, &json!(["oauth2", "token"])));
        assert_eq!(answer.rate_limit().limit, 60, "it counts against the source");
        assert_eq!(world.line_of(&answer)["dynamodb_calls"], 1, "the limiter's write");
    }
}

#[tokio::test]
async fn a_token_that_can_not_be_one_costs_no_read() {
    let world = World::start().await;
    let cost = async |token: &str| {
        let answer = world.anonymous().holding(token).get("/v1/repositories").await;
        answer.refused(401, "invalid_token");
        world.cost(&answer)
    };
    let unknown = TokenSecret::random();
    let unknown = unknown.reveal();
    let mistyped = format!("{}{}", &unknown[..39], if unknown.ends_with('0') { '1' } else { '0' });
    let limiter = (1, 1.0);
    assert_eq!(cost("nonsense").await, limiter);
    assert_eq!(cost(&mistyped).await, limiter);
    assert_eq!(cost(&unknown.replace("dgp_", "ghp_")).await, limiter);
    assert_eq!(cost(unknown).await, (2, 1.5), "one eventually consistent read more");
}

#[tokio::test]
async fn a_token_is_read_once_in_30_seconds() {
    let world = World::start().await;
    let owner = world.owner("acme").await;
    // The request is counted, and the endpoint reads the limiter's item once a second; a token, and what it stands for, are
    // two reads more.
    for (at_ms, calls) in [(0, 4), (0, 1), (29_999, 2), (30_000, 3), (59_999, 2), (60_000, 3)] {
        let elapsed = world.clock.now().since(NOON);
        world.clock.advance(Duration::from_millis(at_ms) - elapsed);
        let answer = owner.get("/v1/rate_limit").await;
        assert_eq!(answer.status, 200);
        assert_eq!(world.line_of(&answer)["dynamodb_calls"], calls, "after {at_ms} ms");
    }
}

#[tokio::test]
async fn a_revocation_takes_effect_within_30_seconds() {
    let world = World::start().await;
    let owner = world.owner("acme").await;
    assert_eq!(owner.get("/v1/repositories").await.status, 200);
    let now = AttributeValue::N(world.clock.now().as_millis().to_string());
    world.set_attribute((&format!("TOKEN#{}", hash(&owner)), "TOKEN"), "revoked_at", now).await;

    world.clock.advance(Duration::from_millis(29_999));
    assert_eq!(owner.get("/v1/repositories").await.status, 200, "this function remembers the token");
    owner.get("/v1/rate_limit").await.refused(401, "token_revoked");
    world.clock.advance(Duration::from_millis(1));
    owner.get("/v1/repositories").await.refused(401, "token_revoked");
}

#[tokio::test]
async fn a_new_plan_and_new_scopes_take_effect_within_30_seconds() {
    let world = World::start().await;
    let owner = world.owner_on("starter", "acme").await;
    assert_eq!(owner.get("/v1/repositories").await.rate_limit().limit, 60);
    let account = format!("ACCT#{}", owner.account_id.as_ref().unwrap());
    world.set_attribute((&account, "ACCOUNT"), "plan", AttributeValue::S("pro".to_owned())).await;
    let scopes = AttributeValue::L(vec![AttributeValue::S("deployments:read".to_owned())]);
    world.set_attribute((&format!("TOKEN#{}", hash(&owner)), "TOKEN"), "scopes", scopes).await;

    world.clock.advance(Duration::from_millis(29_999));
    let remembered = owner.get("/v1/repositories").await;
    assert_eq!((remembered.status, remembered.rate_limit().limit), (200, 60));
    world.clock.advance(Duration::from_millis(1));
    let fresh = owner.get("/v1/repositories").await;
    assert_eq!(fresh.refused(403, "insufficient_scope").rate_limit().limit, 600);
}

#[tokio::test]
async fn a_token_expires_to_the_millisecond_though_it_is_remembered() {
    let world = World::start().await;
    let owner = world.owner("acme").await;
    let at = world.clock.now().plus(Duration::from_secs(10));
    let brief = world.with_token(&owner, |token| token.expires_at = Some(at)).await;
    assert_eq!(brief.get("/v1/repositories").await.status, 200);
    world.clock.advance(Duration::from_millis(9_999));
    assert_eq!(brief.get("/v1/repositories").await.status, 200);
    world.clock.advance(Duration::from_millis(1));
    let answer = brief.get("/v1/repositories").await;
    answer.refused(401, "token_expired");
    assert_eq!(answer.body["error"]["message"], "The token expired at 2026-01-01T12:00:10Z");
}

#[tokio::test]
async fn a_token_lives_90_days_unless_it_is_permanent() {
    let world = World::start().await;
    let owner = world.owner("acme").await;
    let event = json!({"account": "forever", "plan": "pro", "owner_email": "owner@example.com", "permanent": true});
    let created = world.stack.bootstrap(event).await.unwrap();
    assert_eq!(created["expires_at"], Value::Null);
    let permanent = owner.holding(created["token"].as_str().unwrap());
    let days = |days: u64| Duration::from_secs(days * 24 * 60 * 60);

    world.clock.advance(days(90) - Duration::from_millis(1));
    assert_eq!(owner.get("/v1/repositories").await.status, 200);
    world.clock.advance(Duration::from_millis(1));
    owner.get("/v1/repositories").await.refused(401, "token_expired");
    assert_eq!(permanent.get("/v1/repositories").await.status, 200);
    world.clock.advance(days(3650));
    assert_eq!(permanent.get("/v1/repositories").await.status, 200);
}

#[tokio::test]
async fn only_the_hash_of_a_token_is_stored_and_no_token_is_logged() {
    let world = World::start_without_queue().await;
    let source = GitRepository::new(&[]);
    let acme = Estate::new(&world, "acme", &source).await;
    let token = acme.owner.token.clone().unwrap();
    let table = world.stack.app().table();
    let items = table.client().scan().table_name(table.name()).send().await.unwrap();
    let stored = format!("{:?}", items.items());
    assert!(stored.contains(&hash(&acme.owner).to_string()));
    let secret_part = &token[4..34];
    assert!(!stored.contains(secret_part) && !format!("{:?}", world.log()).contains(secret_part));
}
