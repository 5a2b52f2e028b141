//! Tokens that are accepted, and those that are refused.

use std::time::Duration;

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD as BASE64;
use serde_json::{Value, json};
use tests::issuer::{AUDIENCE, Issuer, SigningKey, unsigned};

use super::{acme, joined, trusting};

#[tokio::test]
async fn a_hostile_token_is_refused() {
    let issuer = Issuer::start().await;
    let world = trusting(issuer.url(), None, false).await;
    acme(&world).await;
    let now = world.clock.now().as_seconds();
    let good = issuer.claims("ada", world.clock.now());
    let holder = world.anonymous().holding(&issuer.token(&good));
    joined(&holder).await;
    let at_first = issuer.asked();
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
    let asked = issuer.asked() - at_first;
    assert!(asked <= 2, "unknown keys were looked for once a minute: {asked}");
    assert_eq!(holder.get("/v1/user").await.status, 200, "the valid token still works");
    let list = with("aud", json!(["https://other.example", AUDIENCE]));
    assert_eq!(world.anonymous().holding(&list).get("/v1/user").await.status, 200, "one of many audiences");
}

#[tokio::test]
async fn a_token_is_good_until_a_minute_after_its_expiry_though_it_is_remembered() {
    let issuer = Issuer::start().await;
    let world = trusting(issuer.url(), None, false).await;
    acme(&world).await;
    let ada = world.anonymous().holding(&issuer.token(&issuer.claims("ada", world.clock.now())));
    joined(&ada).await;
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
    assert_eq!(issuer.asked(), 0, "a personal access token needs no keys");
    joined(&world.anonymous().holding(&token())).await;
    // Each function has keys of its own.
    let asked = || issuer.asked() - 1;
    assert_eq!(call(&token()).await.status, 200);
    world.clock.advance(Duration::from_secs(59 * 60));
    assert_eq!(call(&token()).await.status, 200);
    assert_eq!(asked(), 1);

    // An unknown key makes the API fetch the keys, at most once a minute.
    issuer.rotate("second");
    assert_eq!(call(&token()).await.status, 200);
    assert_eq!(asked(), 2);
    issuer.rotate("third");
    for _ in 0..5 {
        call(&token()).await.refused(401, "invalid_token");
    }
    assert_eq!(asked(), 2);
    world.clock.advance(Duration::from_secs(60));
    assert_eq!(call(&token()).await.status, 200);
    assert_eq!(asked(), 3);

    // A key that the issuer has withdrawn stops working within an hour.
    let old = token();
    issuer.rotate("fourth");
    assert_eq!(call(&old).await.status, 200);
    world.clock.advance(Duration::from_secs(60 * 60));
    let mut claims = issuer.claims("ada", world.clock.now());
    claims["exp"] = json!(world.clock.now().as_seconds() + 7200);
    assert_eq!(call(&issuer.token(&claims)).await.status, 200);
    assert_eq!(asked(), 4);
}

#[tokio::test]
async fn without_an_issuer_and_with_one_that_does_not_answer_no_jwt_is_taken() {
    let issuer = Issuer::start().await;
    let world = trusting("", None, false).await;
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

    // The issuer's metadata names another issuer.
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
    joined(&sign(|_| ())).await;
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

#[tokio::test]
async fn guesses_of_tokens_are_held_to_the_limit_of_their_source() {
    let issuer = Issuer::start().await;
    let world = trusting(issuer.url(), None, false).await;
    acme(&world).await;
    let mut claims = issuer.claims("ada", world.clock.now());
    claims["exp"] = json!(world.clock.now().as_seconds() + 10_000);
    let attacker = SigningKey::random();
    let mut answered = Vec::new();
    // Ten guesses a second for five minutes, of personal access tokens and of JWTs.
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
}
