use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use aws_sdk_dynamodb::types::AttributeValue;
use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD as BASE64;
use reqwest::Url;
use reqwest::header::{COOKIE, LOCATION, SET_COOKIE};
use serde_json::{Value, json};
use shared::clock::Clock;
use shared::model::{INVITATION_LIFE, MAX_IN_TEAM};
use shared::settings::{OIDC_AUDIENCE, OIDC_CLIENT_IDS, OIDC_ISSUER};
use tests::issuer::{AUDIENCE, Issuer, SigningKey, unsigned};
use tests::{Actor, World};
use tokio::io::{AsyncBufReadExt, BufReader, Lines};
use tokio::process::{Child, ChildStdout, Command};
use tokio::sync::OnceCell;

/// What an environment knows of a token is at most this old.
const CACHE: Duration = Duration::from_secs(30);

/// A stack that trusts an issuer.
async fn trusting(issuer: &str, clock: Option<Clock>, cognito: bool) -> World {
    World::start_with(|options| {
        options.overrides.push((OIDC_ISSUER, issuer.to_owned()));
        match cognito {
            true => options.overrides.push((OIDC_CLIENT_IDS, "web, mobile".to_owned())),
            false => options.overrides.push((OIDC_AUDIENCE, AUDIENCE.to_owned())),
        }
        if let Some(clock) = clock {
            options.clock = clock;
        }
    })
    .await
}

/// The owner of an account whose members have addresses of `acme.example`.
async fn acme(world: &World) -> Actor {
    world
        .bootstrapped(json!({
            "account": "acme", "plan": "pro", "owner_email": "owner@acme.example", "email_domains": ["acme.example"],
        }))
        .await
}

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
                "id": owner.account_id.as_ref().unwrap().as_str(), "slug": "acme", "plan": "pro", "permanent_tokens": true,
            },
            "scopes": ["repositories:read"],
            "token": {"id": null, "expires_at": "2026-01-01T12:10:00Z"},
        })
    );
    assert_eq!(me.header("x-token-expires-at"), "2026-01-01T12:10:00Z");
    assert_eq!(me.rate_limit().limit, 600, "it counts against the account");
    assert_eq!(ada.get("/v1/repositories").await.status, 200);
    ada.post("/v1/repositories", json!({})).await.refused(403, "insufficient_scope");

    // Another token of the same person, and at the same time another person.
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
    // A token of theirs from then on needs no identity provider.
    let new = again.post("/v1/tokens", json!({"name": "ci", "scopes": ["deployments:read"]})).await;
    assert_eq!((new.status, &new.body["user_id"]), (201, &user_id));
    again
        .post("/v1/tokens", json!({"name": "ci", "scopes": ["repositories:read"]}))
        .await
        .refused(403, "insufficient_scope");
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

/// Somebody whom the issuer has verified by this address.
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
    assert_eq!(open_invitations(&owner).await, 1, "only the one call accepts it");
    let me = ada.get("/v1/user").await;
    assert_eq!(me.status, 200, "{me:?}");
    let user = json!({"id": me.body["user"]["id"], "email": "Ada@elsewhere.example", "role": "admin"});
    assert_eq!((&me.body["user"], &me.body["account"]["id"]), (&user, &json!(owner.account_id)));
    let in_team = ada.get(&format!("/v1/teams/{}/members", team["id"].as_str().unwrap())).await;
    assert_eq!((&in_team.body["data"][0]["member"]["id"], &in_team.body["meta"]["total"]), (&user["id"], &json!(1)));
    assert_eq!(open_invitations(&owner).await, 0);
    assert_eq!(owner.get("/v1/members").await.body["meta"]["total"], 2);

    // Another token of the same person is of the same user, whatever comes later.
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

    // Invited again, they come in.
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

    // Nobody takes away who belongs to another account.
    invite(&newer, json!({"email": "ben@acme.example", "role": "admin"})).await;
    invite(&acme, json!({"email": "ben@acme.example", "role": "admin"})).await;
    let me = verified(&world, &issuer, "ben", "ben@acme.example").get("/v1/user").await;
    assert_eq!((&me.body["account"]["slug"], &me.body["user"]["role"]), (&json!("acme"), &json!("admin")), "{me:?}");

    // A team without room for one more keeps nobody from another account.
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
async fn nobody_is_linked_by_an_address_that_is_not_verified_or_is_nobodys() {
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

    // Most access tokens have no address; then the provider is asked.
    issuer.says("grace", json!({"sub": "grace", "email": "grace@ACME.example", "email_verified": "true"}));
    let grace = without("grace", no_address).get("/v1/user").await;
    assert_eq!((grace.status, &grace.body["user"]["email"]), (200, &json!("grace@ACME.example")), "{grace:?}");
}

#[tokio::test]
async fn a_hostile_token_is_refused() {
    let issuer = Issuer::start().await;
    let world = trusting(issuer.url(), None, false).await;
    acme(&world).await;
    let now = world.clock.now().as_seconds();
    let good = issuer.claims("ada", world.clock.now());
    let holder = world.anonymous().holding(&issuer.token(&good));
    assert_eq!(holder.get("/v1/user").await.status, 200);

    let with = |field: &str, value: Value| {
        let mut changed = good.clone();
        changed[field] = value;
        issuer.token(&changed)
    };
    let without = |field: &str| {
        let mut changed = good.clone();
        changed.as_object_mut().unwrap().remove(field);
        issuer.token(&changed)
    };
    let header = |field: &str, value: Value| {
        let mut changed = issuer.header();
        changed[field] = value;
        issuer.sign(&changed, &good)
    };
    let attacker = SigningKey::random();
    let by_attacker = |field: &str, value: Value| {
        let mut changed = issuer.header();
        changed[field] = value;
        attacker.sign(&changed, &good)
    };
    let hmac = |key: &[u8], algorithm, name: &str| {
        let mut changed = issuer.header();
        changed["alg"] = json!(name);
        let message = unsigned(&changed, &good);
        let tag = ring::hmac::sign(&ring::hmac::Key::new(algorithm, key), message.as_bytes());
        format!("{message}.{}", BASE64.encode(tag))
    };
    let valid = issuer.token(&good);
    let (signed, signature) = valid.rsplit_once('.').unwrap();
    let none = |name: &str| {
        let mut changed = issuer.header();
        changed["alg"] = json!(name);
        unsigned(&changed, &good)
    };
    let mut other_claims = good.clone();
    other_claims["sub"] = json!("root");
    let public = issuer.public_key();
    let id_token = json!({"alg": "ES256", "typ": "JWT", "kid": "first"});

    for (what, token) in [
        ("no algorithm, no signature", format!("{}.", none("none"))),
        ("no algorithm, any signature", format!("{}.{signature}", none("none"))),
        ("no algorithm in other letters", format!("{}.{signature}", none("NoNe"))),
        ("HS256 with the public key", hmac(&public, ring::hmac::HMAC_SHA256, "HS256")),
        ("HS256 with the key's coordinates", hmac(&public[1..], ring::hmac::HMAC_SHA256, "HS256")),
        ("HS512 with the public key", hmac(&public, ring::hmac::HMAC_SHA512, "HS512")),
        ("an algorithm of another kind of key", header("alg", json!("RS256"))),
        ("another curve's algorithm", header("alg", json!("ES384"))),
        ("EdDSA with an EC key", header("alg", json!("EdDSA"))),
        ("an algorithm that is none", header("alg", json!(5))),
        ("somebody else's key under the issuer's id", by_attacker("typ", json!("at+jwt"))),
        ("an embedded key", by_attacker("jwk", attacker.jwk("first"))),
        ("an embedded key under its own id", by_attacker("kid", json!("evil"))),
        ("a key from elsewhere", by_attacker("jku", json!("http://127.0.0.1:1/keys"))),
        ("a certificate from elsewhere", by_attacker("x5u", json!("http://127.0.0.1:1/certificate"))),
        ("an unknown key", header("kid", json!("second"))),
        ("no key", header("kid", Value::Null)),
        ("a key id that is a path", header("kid", json!("../../../dev/null"))),
        ("critical headers", header("crit", json!(["exp"]))),
        ("an id token", issuer.sign(&id_token, &good)),
        ("a token of no type", header("typ", Value::Null)),
        ("a logout token", header("typ", json!("logout+jwt"))),
        ("another issuer", with("iss", json!("https://accounts.example"))),
        ("this issuer among others", with("iss", json!([issuer.url(), "https://accounts.example"]))),
        ("this issuer with a slash", with("iss", json!(format!("{}/", issuer.url())))),
        ("no issuer", without("iss")),
        ("another audience", with("aud", json!("https://other.example"))),
        ("audiences that are all others", with("aud", json!(["https://other.example", "web"]))),
        ("no audience", without("aud")),
        ("an empty audience", with("aud", json!([]))),
        ("no subject", without("sub")),
        ("no client", without("client_id")),
        ("issued in the future", with("iat", json!(now + 600))),
        ("not valid yet", with("nbf", json!(now + 600))),
        ("not valid at any time", with("nbf", json!("soon"))),
        ("no expiry", without("exp")),
        ("an expiry that is a text", with("exp", json!((now + 600).to_string()))),
        ("another's claims", format!("{}.{signature}", unsigned(&issuer.header(), &other_claims))),
        ("no signature", format!("{signed}.AAAA")),
        ("a signature of zeros", format!("{signed}.{}", BASE64.encode([0; 64]))),
        ("claims that are no object", issuer.token(&json!([good]))),
    ] {
        println!("{what}");
        world.clock.advance(Duration::from_secs(1));
        let answer = world.anonymous().holding(&token).get("/v1/user").await;
        answer.refused(401, "invalid_token");
        assert_eq!(answer.header("www-authenticate"), "Bearer error=\"invalid_token\"");
        assert!(answer.headers.get("x-token-expires-at").is_none());
    }
    let expired = world.anonymous().holding(&with("exp", json!(now - 60))).get("/v1/user").await;
    expired.refused(401, "token_expired");
    assert!(issuer.asked() <= 2, "unknown keys were looked for once a minute: {}", issuer.asked());
    assert_eq!(holder.get("/v1/user").await.status, 200, "the good one is still good");
    let list = with("aud", json!(["https://other.example", AUDIENCE]));
    assert_eq!(world.anonymous().holding(&list).get("/v1/user").await.status, 200, "one of many audiences");
}

#[tokio::test]
async fn a_token_is_good_until_a_minute_after_its_expiry_though_it_is_remembered() {
    let issuer = Issuer::start().await;
    let world = trusting(issuer.url(), None, false).await;
    acme(&world).await;
    let ada = world.anonymous().holding(&issuer.token(&issuer.claims("ada", world.clock.now())));
    assert_eq!(ada.get("/v1/user").await.status, 200);
    world.clock.advance(Duration::from_secs(600 + 59));
    assert_eq!(ada.get("/v1/user").await.status, 200);
    world.clock.advance(Duration::from_secs(1));
    let over = ada.get("/v1/user").await;
    assert_eq!(over.refused(401, "token_expired").header("x-token-expires-at"), "2026-01-01T12:10:00Z");
    ada.get("/v1/repositories").await.refused(401, "token_expired");
}

#[tokio::test]
async fn keys_are_fetched_when_they_are_needed_and_not_before() {
    let issuer = Issuer::start().await;
    let world = trusting(issuer.url(), None, false).await;
    let owner = acme(&world).await;
    let token = || issuer.token(&issuer.claims("ada", world.clock.now()));
    let call = async |token: &str| world.anonymous().holding(token).get("/v1/user").await;
    assert_eq!(owner.get("/v1/user").await.body["user"]["role"], "owner");
    world.anonymous().holding("a.b.c").get("/v1/user").await.refused(401, "invalid_token");
    assert_eq!(issuer.asked(), 0, "nothing that a personal access token comes by");
    assert_eq!(call(&token()).await.status, 200);
    world.clock.advance(Duration::from_secs(59 * 60));
    assert_eq!(call(&token()).await.status, 200);
    assert_eq!(issuer.asked(), 1);

    // The issuer has another key, which makes the keys be fetched, but only once a minute.
    issuer.rotate("second");
    assert_eq!(call(&token()).await.status, 200);
    assert_eq!(issuer.asked(), 2);
    issuer.rotate("third");
    for _ in 0..5 {
        call(&token()).await.refused(401, "invalid_token");
    }
    assert_eq!(issuer.asked(), 2);
    world.clock.advance(Duration::from_secs(60));
    assert_eq!(call(&token()).await.status, 200);
    assert_eq!(issuer.asked(), 3);

    // A key that the issuer has withdrawn is forgotten within an hour.
    let old = token();
    issuer.rotate("fourth");
    assert_eq!(call(&old).await.status, 200);
    world.clock.advance(Duration::from_secs(60 * 60));
    let mut claims = issuer.claims("ada", world.clock.now());
    claims["exp"] = json!(world.clock.now().as_seconds() + 7200);
    assert_eq!(call(&issuer.token(&claims)).await.status, 200);
    assert_eq!(issuer.asked(), 4);
}

#[tokio::test]
async fn without_an_issuer_and_with_one_that_does_not_answer_no_jwt_is_taken() {
    let issuer = Issuer::start().await;
    let world = World::start().await;
    let owner = world.owner("acme").await;
    let token = issuer.token(&issuer.claims("ada", world.clock.now()));
    world.anonymous().holding(&token).get("/v1/user").await.refused(401, "invalid_token");
    assert_eq!((owner.get("/v1/user").await.status, issuer.asked()), (200, 0));

    let world = trusting("http://127.0.0.1:9", None, false).await;
    let mut claims = issuer.claims("ada", world.clock.now());
    claims["iss"] = json!("http://127.0.0.1:9");
    let answer = world.anonymous().holding(&issuer.token(&claims)).get("/v1/user").await;
    assert_eq!(answer.refused(503, "service_unavailable").header("retry-after"), "5");
    let cause = &world.line_of(&answer)["cause"];
    assert!(cause.as_str().unwrap().starts_with("the issuer's keys can't be read: it can't be reached"), "{cause}");

    // An issuer that is not the one that it says it is.
    let world = trusting(&issuer.url().replace("127.0.0.1", "localhost"), None, false).await;
    let answer = world.anonymous().holding(&issuer.token(&claims)).get("/v1/user").await;
    answer.refused(503, "service_unavailable");
}

#[tokio::test]
async fn tokens_of_amazon_cognito_are_taken_where_no_audience_is_set() {
    let issuer = Issuer::start().await;
    let world = trusting(issuer.url(), None, true).await;
    acme(&world).await;
    let header = json!({"alg": "ES256", "kid": "first"});
    let sign = |change: fn(&mut Value)| {
        let mut claims = issuer.claims("ada", world.clock.now());
        claims.as_object_mut().unwrap().remove("aud");
        claims["token_use"] = json!("access");
        claims["scope"] = json!("openid git-api/repositories:read deployments:read other/tokens:read");
        change(&mut claims);
        world.anonymous().holding(&issuer.sign(&header, &claims))
    };
    let me = sign(|_| ()).get("/v1/user").await;
    assert_eq!((me.status, &me.body["scopes"]), (200, &json!(["repositories:read"])), "{me:?}");
    for change in [
        (|claims| claims["token_use"] = json!("id")) as fn(&mut Value),
        |claims| drop(claims.as_object_mut().unwrap().remove("token_use")),
        |claims| claims["client_id"] = json!("another-client-of-the-pool"),
    ] {
        sign(change).get("/v1/user").await.refused(401, "invalid_token");
    }
    assert_eq!(sign(|claims| claims["client_id"] = json!("mobile")).get("/v1/user").await.status, 200);
}

/// A real OpenID provider: tests/oidc/provider.mjs.
struct Provider {
    _process: Child,
    /// Kept open: it ends when it can't write.
    _output: Lines<BufReader<ChildStdout>>,
    issuer: String,
}

static MODULES: OnceCell<Option<PathBuf>> = OnceCell::const_new();

/// The folder with the provider and its modules, in the versions of the lock file; `None` without Node.js.
async fn modules() -> Option<PathBuf> {
    let install = async || {
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("oidc");
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("oidc");
        std::fs::create_dir_all(&folder).unwrap();
        let lock = |folder: &Path| std::fs::read(folder.join("package-lock.json")).ok();
        let is_installed = folder.join("node_modules").exists() && lock(&folder) == lock(&source);
        if !is_installed {
            std::fs::copy(source.join("package.json"), folder.join("package.json")).unwrap();
            std::fs::copy(source.join("package-lock.json"), folder.join("package-lock.json")).unwrap();
            let install =
                Command::new("npm").args(["ci", "--no-audit", "--no-fund"]).current_dir(&folder).output().await;
            match install {
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                    assert!(std::env::var_os("CI").is_none(), "npm is needed for the real OpenID provider");
                    eprintln!("SKIPPED, because there is no npm: what a real OpenID provider's tokens are good for");
                    return None;
                }
                output => {
                    let output = output.unwrap();
                    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
                }
            }
        }
        std::fs::copy(source.join("provider.mjs"), folder.join("provider.mjs")).unwrap();
        Some(folder)
    };
    MODULES.get_or_init(install).await.clone()
}

impl Provider {
    async fn start(people: Value) -> Option<Self> {
        let folder = modules().await?;
        let mut process = Command::new("node")
            .args(["provider.mjs", &people.to_string()])
            .current_dir(folder)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(process.stdout.take().unwrap()).lines();
        let said = tokio::time::timeout(Duration::from_secs(60), lines.next_line()).await.unwrap().unwrap();
        let said: Value = serde_json::from_str(&said.expect("it says its issuer")).unwrap();
        Some(Self { _process: process, _output: lines, issuer: said["issuer"].as_str().unwrap().to_owned() })
    }

    /// Logs somebody in with a browser: the authorization code flow with PKCE (RFC 7636). Gives the token endpoint's
    /// answer.
    async fn log_in(&self, person: &str, scopes: &str) -> Value {
        let browser = reqwest::Client::builder().redirect(reqwest::redirect::Policy::none()).build().unwrap();
        let verifier = "a-verifier-of-this-test-that-is-long-enough-for-rfc-7636";
        let challenge = BASE64.encode(ring::digest::digest(&ring::digest::SHA256, verifier.as_bytes()));
        let parameters = [
            ("client_id", "web"),
            ("response_type", "code"),
            ("redirect_uri", "http://127.0.0.1/callback"),
            ("scope", scopes),
            ("code_challenge", &challenge),
            ("code_challenge_method", "S256"),
            ("login_hint", person),
            ("state", "from here"),
        ];
        let mut url = Url::parse_with_params(&format!("{}/auth", self.issuer), parameters).unwrap();
        let mut cookies: HashMap<String, String> = HashMap::new();
        while url.path() != "/callback" {
            let jar: Vec<_> = cookies.iter().map(|(name, value)| format!("{name}={value}")).collect();
            let answer = browser.get(url.clone()).header(COOKIE, jar.join("; ")).send().await.unwrap();
            assert!(answer.status().is_redirection(), "{answer:?}");
            for cookie in answer.headers().get_all(SET_COOKIE) {
                let (name, value) = cookie.to_str().unwrap().split(';').next().unwrap().split_once('=').unwrap();
                match value {
                    "" => drop(cookies.remove(name)),
                    value => drop(cookies.insert(name.to_owned(), value.to_owned())),
                }
            }
            url = url.join(answer.headers()[LOCATION].to_str().unwrap()).unwrap();
        }
        let answered: HashMap<_, _> = url.query_pairs().into_owned().collect();
        assert_eq!((&answered["state"], &answered["iss"]), (&"from here".to_owned(), &self.issuer));
        let exchange = [
            ("grant_type", "authorization_code"),
            ("client_id", "web"),
            ("code", &answered["code"]),
            ("redirect_uri", "http://127.0.0.1/callback"),
            ("code_verifier", verifier),
        ];
        self.token(browser.post(format!("{}/token", self.issuer)), &exchange).await
    }

    /// What a program without a user gets.
    async fn client_credentials(&self, scopes: &str) -> Value {
        let request = reqwest::Client::new().post(format!("{}/token", self.issuer));
        let request = request.basic_auth("ci", Some("a+secret+that+is+for+tests+only"));
        self.token(request, &[("grant_type", "client_credentials"), ("scope", scopes)]).await
    }

    async fn token(&self, request: reqwest::RequestBuilder, form: &[(&str, &str)]) -> Value {
        let form = Url::parse_with_params("http://form", form).unwrap().query().unwrap().to_owned();
        let request = request.header("content-type", "application/x-www-form-urlencoded").body(form);
        let answer = request.send().await.unwrap();
        let status = answer.status();
        let body: Value = answer.json().await.unwrap();
        assert_eq!(status, 200, "{body}");
        body
    }
}

#[tokio::test]
async fn a_user_of_a_real_provider_comes_by_authorization_code_and_pkce() {
    let people = json!({
        "ada": {"email": "ada@acme.example", "email_verified": true},
        "eve": {"email": "eve@acme.example", "email_verified": false},
    });
    let Some(provider) = Provider::start(people).await else { return };
    let world = trusting(&provider.issuer, Some(Clock::system()), false).await;
    let owner = acme(&world).await;
    let answer = provider.log_in("ada", "openid email repositories:read tokens:read").await;
    let ada = world.anonymous().holding(answer["access_token"].as_str().unwrap());
    let me = ada.get("/v1/user").await;
    assert_eq!(me.status, 200, "{me:?}");
    assert_eq!((&me.body["user"]["email"], &me.body["user"]["role"]), (&json!("ada@acme.example"), &json!("member")));
    assert_eq!(me.body["account"]["id"], owner.account_id.as_ref().unwrap().as_str());
    assert_eq!(me.body["scopes"], json!(["repositories:read", "tokens:read"]));
    assert_eq!(ada.get("/v1/repositories").await.status, 200);
    ada.post("/v1/tokens", json!({"name": "ci", "scopes": ["tokens:read"]})).await.refused(403, "insufficient_scope");
    let again = provider.log_in("ada", "openid deployments:read").await;
    let again = world.anonymous().holding(again["access_token"].as_str().unwrap()).get("/v1/user").await;
    assert_eq!((&again.body["user"], &again.body["scopes"]), (&me.body["user"], &json!(["deployments:read"])));

    let id_token = world.anonymous().holding(answer["id_token"].as_str().unwrap());
    id_token.get("/v1/user").await.refused(401, "invalid_token");
    let eve = provider.log_in("eve", "openid email repositories:read").await;
    let eve = world.anonymous().holding(eve["access_token"].as_str().unwrap());
    eve.get("/v1/user").await.refused(403, "not_linked");
}

#[tokio::test]
async fn an_application_of_a_real_provider_comes_by_client_credentials() {
    let Some(provider) = Provider::start(json!({})).await else { return };
    let world = trusting(&provider.issuer, Some(Clock::system()), false).await;
    let owner = acme(&world).await;
    let answer = provider.client_credentials("repositories:read deployments:write tokens:write").await;
    let ci = world.anonymous().holding(answer["access_token"].as_str().unwrap());
    ci.get("/v1/user").await.refused(403, "not_linked");
    let new = json!({"name": "CI", "client_id": "ci", "scopes": ["repositories:read", "repositories:write"]});
    let registered = owner.post("/v1/applications", new).await;
    assert_eq!(registered.status, 201, "{registered:?}");
    let me = ci.get("/v1/user").await;
    assert_eq!((me.status, &me.body["user"], &me.body["scopes"]), (200, &Value::Null, &json!(["repositories:read"])));
    let application = json!({"id": "ci", "name": "CI", "user_id": registered.body["user_id"]});
    assert_eq!(me.body["application"], application);
    assert_eq!(ci.get("/v1/repositories").await.status, 200);
    ci.get("/v1/tokens").await.refused(403, "insufficient_scope");
}

#[tokio::test]
async fn guesses_of_tokens_are_held_to_the_limit_of_their_source() {
    let issuer = Issuer::start().await;
    let world = trusting(issuer.url(), None, false).await;
    acme(&world).await;
    let mut claims = issuer.claims("ada", world.clock.now());
    claims["exp"] = json!(world.clock.now().as_seconds() + 10_000);
    let attacker = SigningKey::random();
    let mut answered = Vec::new();
    // Ten guesses a second for five minutes, by every way that there is to guess.
    for second in 0..300 {
        let mut checked = 0;
        for at in 0..10 {
            let guess = match at % 2 {
                0 => shared::token::TokenSecret::random().reveal().to_owned(),
                _ => attacker.sign(&issuer.header(), &claims),
            };
            let answer = world.anonymous().holding(&guess).get("/v1/user").await;
            match answer.status {
                401 => checked += 1,
                _ => drop(answer.refused(429, "rate_limited")),
            }
        }
        answered.push(checked);
        world.clock.advance(Duration::from_secs(1));
        if second == 59 {
            let in_a_minute: u32 = answered.iter().sum();
            assert!((60..=80).contains(&in_a_minute), "{in_a_minute}");
        }
    }
    let in_five_minutes: u32 = answered.iter().sum();
    assert!((290..=320).contains(&in_five_minutes), "20 at once and then 60 a minute: {in_five_minutes}");
    world.clock.advance(CACHE);
}
