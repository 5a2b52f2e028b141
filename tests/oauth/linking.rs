//! The first use of a token, which makes its subject a user.

use std::time::Duration;

use aws_sdk_dynamodb::types::AttributeValue;
use serde_json::{Value, json};
use shared::model::{INVITATION_LIFE, MAX_IN_TEAM};
use tests::issuer::Issuer;
use tests::{Actor, World};

use super::{acme, trusting};

#[tokio::test]
async fn the_first_use_links_somebody_to_the_account_of_their_mail_domain() {
    let issuer = Issuer::start().await;
    let world = trusting(issuer.url(), None, false).await;
    let owner = acme(&world).await;
    let ada = world.anonymous().holding(&issuer.token(&issuer.claims("ada", world.clock.now())));

    let unknown = ada.get("/v1/repositories").await;
    assert_eq!(unknown.refused(403, "not_linked").rate_limit().limit, 60, "it counts against the source");
    let me = ada.get("/v1/user").await;
    assert_eq!(me.status, 200, "{me:?}");
    let user_id = me.body["user"]["id"].clone();
    assert_eq!(
        me.body,
        json!({
            "user": {"id": user_id, "email": "ada@acme.example", "role": "member"},
            "application": null,
            "account": {
                "id": owner.account_id.as_ref().unwrap().as_str(), "slug": "acme", "plan": "pro", "permanent_tokens": false,
            },
            "scopes": ["repositories:read"],
            "token": {"id": null, "expires_at": "2026-01-01T12:10:00Z"},
        })
    );
    assert_eq!(me.header("x-token-expires-at"), "2026-01-01T12:10:00Z");
    assert_eq!(me.rate_limit().limit, 600, "it counts against the account");
    assert_eq!(ada.get("/v1/repositories").await.status, 200);
    ada.post("/v1/repositories", json!({})).await.refused(403, "insufficient_scope");

    // A second token of the user, and the token of a second user.
    world.clock.advance(Duration::from_secs(60));
    let mut claims = issuer.claims("ada", world.clock.now());
    claims["scope"] = json!("tokens:read tokens:write deployments:read made:up");
    let again = world.anonymous().holding(&issuer.token(&claims));
    let me = again.get("/v1/user").await;
    assert_eq!(
        (&me.body["user"]["id"], &me.body["scopes"]),
        (&user_id, &json!(["deployments:read", "tokens:read", "tokens:write"]))
    );
    let grace = world.anonymous().holding(&issuer.token(&issuer.claims("grace", world.clock.now())));
    assert_ne!(grace.get("/v1/user").await.body["user"]["id"], user_id);
    // A personal access token then works without the identity provider.
    let new = again.post("/v1/tokens", json!({"name": "ci", "scopes": ["deployments:read"]})).await;
    assert_eq!((new.status, &new.body["user_id"]), (201, &user_id));
    again
        .post("/v1/tokens", json!({"name": "ci", "scopes": ["repositories:read"]}))
        .await
        .refused(403, "insufficient_scope");
}

#[tokio::test]
async fn a_token_for_another_api_links_nobody() {
    let issuer = Issuer::start().await;
    let world = trusting(issuer.url(), None, false).await;
    let owner = acme(&world).await;
    invite(&owner, json!({"email": "grace@acme.example"})).await;
    for (subject, scope) in [("ada", Some("openid email made:up")), ("ada", None), ("grace", Some("openid"))] {
        let mut claims = issuer.claims(subject, world.clock.now());
        claims["scope"] = json!(scope);
        let refused = world.anonymous().holding(&issuer.token(&claims)).get("/v1/user").await;
        let message = refused.refused(403, "not_linked").body["error"]["message"].clone();
        assert_eq!(message, "The token has no scope of the API; sign in again with at least one");
    }
    assert_eq!(
        (owner.get("/v1/members").await.body["meta"]["total"].clone(), open_invitations(&owner).await),
        (json!(1), json!(1))
    );
}

#[tokio::test]
async fn whoever_was_removed_can_be_invited_and_linked_again() {
    let issuer = Issuer::start().await;
    let world = trusting(issuer.url(), None, false).await;
    let (owner, other) = (acme(&world).await, world.owner("globex").await);
    invite(&other, json!({"email": "ada@elsewhere.example"})).await;
    let remove = async |by: &Actor, me: &Value| {
        let path = format!("/v1/members/{}", me["user"]["id"].as_str().unwrap());
        assert_eq!(by.delete(&path).await.status, 200);
        world.callers_are_forgotten();
    };
    let subjects = async || {
        let table = world.stack.app().table();
        let stored = table.client().scan().table_name(table.name()).send().await.unwrap();
        stored.items().iter().filter(|item| item["pk"].as_s().unwrap().starts_with("SUBJECT#")).count()
    };
    let call = async |subject: &str, email: &str| verified(&world, &issuer, subject, email).get("/v1/user").await;

    // An invitation links a subject, another account's invitation links it after the removal.
    let first = call("ada", "ada@elsewhere.example").await.body;
    assert_eq!((&first["account"]["slug"], subjects().await), (&json!("globex"), 1), "{first}");
    remove(&other, &first).await;
    assert_eq!(subjects().await, 0);
    call("ada", "ada@elsewhere.example").await.refused(403, "not_linked");
    invite(&owner, json!({"email": "ada@elsewhere.example", "role": "admin"})).await;
    let second = call("ada", "ada@elsewhere.example").await.body;
    assert_eq!((&second["account"]["slug"], &second["user"]["role"]), (&json!("acme"), &json!("admin")), "{second}");

    // The account of the mail domain links a subject, and another subject of the same person.
    let user = call("ben", "ben@acme.example").await.body;
    assert_eq!(call("ben-2", "ben@acme.example").await.body["user"], user["user"]);
    assert_eq!(subjects().await, 3);
    remove(&owner, &user).await;
    assert_eq!(subjects().await, 1);
    let again = call("ben-2", "ben@acme.example").await.body;
    assert_eq!(again["account"]["slug"], "acme");
    assert_ne!(again["user"]["id"], user["user"]["id"]);
}

#[tokio::test]
async fn many_first_uses_at_once_make_one_user() {
    let issuer = Issuer::start().await;
    let world = trusting(issuer.url(), None, false).await;
    acme(&world).await;
    let mut calls = tokio::task::JoinSet::new();
    for at in 0..8 {
        let mut claims = issuer.claims("ada", world.clock.now());
        claims["jti"] = json!(at);
        let ada = world.anonymous().holding(&issuer.token(&claims));
        calls.spawn(async move { ada.get("/v1/user").await });
    }
    let answers = calls.join_all().await;
    for answer in &answers {
        assert_eq!((answer.status, &answer.body["user"]["id"]), (200, &answers[0].body["user"]["id"]), "{answer:?}");
    }
}

/// Returns a caller whose address the issuer has verified.
fn verified(world: &World, issuer: &Issuer, subject: &str, email: &str) -> Actor {
    let mut claims = issuer.claims(subject, world.clock.now());
    claims["email"] = json!(email);
    claims["scope"] = json!("account:read teams:read");
    world.anonymous().holding(&issuer.token(&claims))
}

async fn invite(by: &Actor, body: Value) {
    let invited = by.post("/v1/invitations", body).await;
    assert_eq!(invited.status, 201, "{invited:?}");
}

async fn open_invitations(owner: &Actor) -> Value {
    owner.get("/v1/invitations").await.body["meta"]["total"].clone()
}

#[tokio::test]
async fn the_first_use_of_somebody_invited_gives_the_role_and_the_teams_of_the_invitation() {
    let issuer = Issuer::start().await;
    let world = trusting(issuer.url(), None, false).await;
    let owner = acme(&world).await;
    let team = owner.team("Platform").await;
    invite(&owner, json!({"email": "Ada@elsewhere.example", "role": "admin", "teams": [team["id"]]})).await;

    let ada = verified(&world, &issuer, "ada", "ada@ELSEWHERE.example");
    ada.get("/v1/teams").await.refused(403, "not_linked");
    assert_eq!(open_invitations(&owner).await, 1, "only GET /v1/user accepts it");
    let me = ada.get("/v1/user").await;
    assert_eq!(me.status, 200, "{me:?}");
    let user = json!({"id": me.body["user"]["id"], "email": "Ada@elsewhere.example", "role": "admin"});
    assert_eq!((&me.body["user"], &me.body["account"]["id"]), (&user, &json!(owner.account_id)));
    let in_team = ada.get(&format!("/v1/teams/{}/members", team["id"].as_str().unwrap())).await;
    assert_eq!((&in_team.body["data"][0]["member"]["id"], &in_team.body["meta"]["total"]), (&user["id"], &json!(1)));
    assert_eq!(open_invitations(&owner).await, 0);
    assert_eq!(owner.get("/v1/members").await.body["meta"]["total"], 2);

    // Another token of the subject stays linked to the user, whatever invitations come later.
    let stranger = world.owner("globex").await;
    invite(&stranger, json!({"email": "ada@elsewhere.example"})).await;
    world.clock.advance(Duration::from_secs(60));
    let again = verified(&world, &issuer, "ada", "ada@elsewhere.example").get("/v1/user").await;
    assert_eq!(again.body["user"], user);
    assert_eq!(open_invitations(&stranger).await, 1);
}

#[tokio::test]
async fn an_invitation_is_accepted_by_nobody_whose_address_is_not_verified() {
    let issuer = Issuer::start().await;
    let world = trusting(issuer.url(), None, false).await;
    let owner = acme(&world).await;
    invite(&owner, json!({"email": "ada@elsewhere.example"})).await;
    let claims = |verified: Value| {
        let mut claims = issuer.claims("ada", world.clock.now());
        claims["email"] = json!("ada@elsewhere.example");
        claims["email_verified"] = verified;
        world.anonymous().holding(&issuer.token(&claims))
    };
    for actor in [
        claims(json!(false)),
        claims(Value::Null),
        verified(&world, &issuer, "eve", "eve@elsewhere.example"),
        verified(&world, &issuer, "mallory", "ada@elsewhere.example.evil.example"),
    ] {
        actor.get("/v1/user").await.refused(403, "not_linked");
        assert_eq!(open_invitations(&owner).await, 1);
    }
    assert_eq!(claims(json!(true)).get("/v1/user").await.status, 200);
}

#[tokio::test]
async fn an_invitation_that_has_expired_or_was_revoked_links_nobody() {
    let issuer = Issuer::start().await;
    let world = trusting(issuer.url(), None, false).await;
    let owner = acme(&world).await;
    invite(&owner, json!({"email": "ada@elsewhere.example"})).await;
    let revoked = owner.post("/v1/invitations", json!({"email": "ben@elsewhere.example"})).await.body;
    let revoked = format!("/v1/invitations/{}", revoked["invitation"]["id"].as_str().unwrap());
    assert_eq!(owner.delete(&revoked).await.status, 200);
    let call = async |name: &str| {
        let actor = verified(&world, &issuer, name, &format!("{name}@elsewhere.example"));
        actor.get("/v1/user").await
    };
    call("ben").await.refused(403, "not_linked");
    world.clock.advance(INVITATION_LIFE);
    call("ada").await.refused(403, "not_linked");
    assert_eq!(owner.get("/v1/members").await.body["meta"]["total"], 1);

    // A new invitation links them.
    invite(&owner, json!({"email": "ada@elsewhere.example"})).await;
    assert_eq!(call("ada").await.body["user"]["role"], "member");
}

#[tokio::test]
async fn the_newest_invitation_goes_before_others_and_none_before_the_account_of_the_mail_domain() {
    let issuer = Issuer::start().await;
    let world = trusting(issuer.url(), None, false).await;
    let acme = acme(&world).await;
    let (older, newer) = (world.owner("globex").await, world.owner("initech").await);
    invite(&older, json!({"email": "ada@elsewhere.example"})).await;
    world.clock.advance(Duration::from_secs(60));
    invite(&newer, json!({"email": "ada@elsewhere.example", "role": "admin"})).await;
    let me = verified(&world, &issuer, "ada", "ada@elsewhere.example").get("/v1/user").await;
    assert_eq!((&me.body["account"]["slug"], &me.body["user"]["role"]), (&json!("initech"), &json!("admin")), "{me:?}");
    assert_eq!((open_invitations(&older).await, open_invitations(&newer).await), (json!(1), json!(0)));

    // An invitation can't take a user away from the account of their mail domain.
    invite(&newer, json!({"email": "ben@acme.example", "role": "admin"})).await;
    invite(&acme, json!({"email": "ben@acme.example", "role": "admin"})).await;
    let me = verified(&world, &issuer, "ben", "ben@acme.example").get("/v1/user").await;
    assert_eq!((&me.body["account"]["slug"], &me.body["user"]["role"]), (&json!("acme"), &json!("admin")), "{me:?}");

    // A full team of one account does not block an invitation to another account.
    let team = older.team("Full").await;
    let sizes = format!("ACCT#{}#TEAM#{}", older.account_id.as_ref().unwrap(), team["id"].as_str().unwrap());
    let full = AttributeValue::N(MAX_IN_TEAM.to_string());
    world.set_attribute((&sizes, "SIZES"), "members", full).await;
    invite(&newer, json!({"email": "carl@elsewhere.example"})).await;
    world.clock.advance(Duration::from_secs(60));
    invite(&older, json!({"email": "carl@elsewhere.example", "teams": [team["id"]]})).await;
    let me = verified(&world, &issuer, "carl", "carl@elsewhere.example").get("/v1/user").await;
    assert_eq!(me.body["account"]["slug"], "initech", "{me:?}");
    assert_eq!(open_invitations(&older).await, 2);
}

#[tokio::test]
async fn many_first_uses_of_somebody_invited_make_one_user() {
    let issuer = Issuer::start().await;
    let world = trusting(issuer.url(), None, false).await;
    let (owner, other) = (acme(&world).await, world.owner("globex").await);
    for by in [&owner, &other] {
        invite(by, json!({"email": "ada@elsewhere.example"})).await;
    }
    let mut calls = tokio::task::JoinSet::new();
    for at in 0..8 {
        let mut claims = issuer.claims("ada", world.clock.now());
        claims["jti"] = json!(at);
        claims["email"] = json!("ada@elsewhere.example");
        let ada = world.anonymous().holding(&issuer.token(&claims));
        calls.spawn(async move { ada.get("/v1/user").await });
    }
    let answers = calls.join_all().await;
    for answer in &answers {
        assert_eq!((answer.status, &answer.body["user"]["id"]), (200, &answers[0].body["user"]["id"]), "{answer:?}");
    }
    let mut members = 0;
    for by in [&owner, &other] {
        members += by.get("/v1/members").await.body["meta"]["total"].as_u64().unwrap();
    }
    assert_eq!(members, 3, "the two owners and one user");
}

#[tokio::test]
async fn nobody_is_linked_by_an_address_that_is_not_verified_or_is_foreign() {
    let issuer = Issuer::start().await;
    let world = trusting(issuer.url(), None, false).await;
    acme(&world).await;
    let now = world.clock.now();
    let without = |subject: &str, change: fn(&mut Value)| {
        let mut claims = issuer.claims(subject, now);
        change(&mut claims);
        world.anonymous().holding(&issuer.token(&claims))
    };
    let no_address = |claims: &mut Value| claims["email"] = Value::Null;
    issuer.says("eve", json!({"sub": "eve", "email": "eve@acme.example", "email_verified": false}));
    issuer.says("mallory", json!({"sub": "ada", "email": "ada@acme.example", "email_verified": true}));
    issuer.says("trent", json!({"sub": "trent", "email": "trent@acme.example"}));
    for actor in [
        without("unverified", |claims| claims["email_verified"] = json!(false)),
        without("unsaid", |claims| drop(claims.as_object_mut().unwrap().remove("email_verified"))),
        without("foreign", |claims| claims["email"] = json!("a@other.example")),
        without("below", |claims| claims["email"] = json!("a@sub.acme.example")),
        without("twice", |claims| claims["email"] = json!("a@acme.example@other.example")),
        without("eve", no_address),
        without("mallory", no_address),
        without("trent", no_address),
        without("nobody", no_address),
    ] {
        world.clock.advance(Duration::from_secs(5));
        actor.get("/v1/user").await.refused(403, "not_linked");
        actor.get("/v1/repositories").await.refused(403, "not_linked");
    }
    let table = world.stack.app().table();
    let stored = format!("{:?}", table.client().scan().table_name(table.name()).send().await.unwrap().items());
    assert!(!stored.contains("SUBJECT#"), "nobody was linked");

    // Most access tokens have no address. The API then asks the provider.
    issuer.says("grace", json!({"sub": "grace", "email": "grace@ACME.example", "email_verified": "true"}));
    let grace = without("grace", no_address).get("/v1/user").await;
    assert_eq!((grace.status, &grace.body["user"]["email"]), (200, &json!("grace@ACME.example")), "{grace:?}");
}
