//! The tokens of issuers that are accepted, and those that are refused.

use std::time::Duration;

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD as BASE64;
use reqwest::Method;
use serde_json::{Value, json};
use tests::World;
use tests::issuer::{AUDIENCE, SigningKey, unsigned};

use super::{GRANT, JWT, exchange, exchange_job, job, program, send_form, trust};

/// The order of the curve P-256.
const ORDER: [u8; 32] = [
    0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xbc, 0xe6, 0xfa, 0xad, 0xa7,
    0x17, 0x9e, 0x84, 0xf3, 0xb9, 0xca, 0xc2, 0xfc, 0x63, 0x25, 0x51,
];

/// Returns the other valid signature that anybody can make from a signature by ECDSA: `s` becomes the order minus `s`.
fn with_the_other_signature(jwt: &str) -> String {
    let (signed, signature) = jwt.rsplit_once('.').unwrap();
    let mut signature = BASE64.decode(signature).unwrap();
    let mut borrow = 0;
    for (byte, order) in signature[32..].iter_mut().zip(ORDER).rev() {
        let difference = i16::from(order) - i16::from(*byte) - borrow;
        borrow = i16::from(difference < 0);
        *byte = difference.rem_euclid(256) as u8;
    }
    format!("{signed}.{}", BASE64.encode(signature))
}

#[tokio::test]
async fn a_token_is_exchanged_for_one_of_an_hour() {
    let world = World::start_without_queue().await;
    let owner = world.owner("acme").await;
    let trusted = trust(&world, &owner, json!({"scopes": ["deployments:write", "deployments:read"]})).await;
    assert_eq!(trusted["scopes"], json!(["deployments:read", "deployments:write"]));
    let issued = exchange_job(&world, &trusted, json!({})).await;
    let token = issued.body["access_token"].as_str().unwrap_or_else(|| panic!("{issued:?}"));
    assert!(token.starts_with("dgt_") && token.len() == 40, "{token}");
    let expected = json!({
        "access_token": token, "issued_token_type": "urn:ietf:params:oauth:token-type:access_token",
        "token_type": "Bearer", "expires_in": 3600, "scope": "deployments:read deployments:write",
    });
    assert_eq!((issued.status, &issued.body), (200, &expected));
    assert_eq!((issued.header("cache-control"), issued.rate_limit().limit), ("no-store", 60));

    let program = owner.holding(token);
    let me = program.get("/v1/user").await;
    assert_eq!((&me.body["user"], &me.body["application"]), (&Value::Null, &Value::Null), "{me:?}");
    let limits = json!({
        "id": trusted["id"], "name": "CI", "user_id": trusted["user_id"], "repository_id": null, "environments": null,
    });
    assert_eq!(me.body["trust"], limits);
    assert_eq!(me.body["scopes"], trusted["scopes"]);
    assert_eq!(me.header("x-token-expires-at"), "2026-01-01T13:00:00Z");
    assert_eq!(me.rate_limit().limit, 1_000_000, "it counts against the account");
    let line = world.line_of(&me);
    assert_eq!((&line["token_id"], &line["actor_id"]), (&me.body["token"]["id"], &trusted["user_id"]));

    world.clock.advance(Duration::from_secs(3600) - Duration::from_millis(1));
    assert_eq!(program.get("/v1/user").await.status, 200);
    world.clock.advance(Duration::from_millis(1));
    program.get("/v1/user").await.refused(401, "token_expired");
    world.clock.advance(Duration::from_secs(60));
    program.post("/v1/repositories/app/deployments", json!({"ref": "main"})).await.refused(401, "token_expired");
}

#[tokio::test]
async fn only_the_hash_of_the_new_token_is_stored_and_no_token_is_logged() {
    let world = World::start_without_queue().await;
    let owner = world.owner("acme").await;
    let trusted = trust(&world, &owner, json!({})).await;
    let subject = world.issuer.id_token(&job(&world, json!({})));
    let issued = exchange(&world, &trusted, &subject).await;
    let token = issued.body["access_token"].as_str().unwrap();
    let table = world.stack.app().table();
    let stored = format!("{:?}", table.client().scan().table_name(table.name()).send().await.unwrap().items());
    let log = format!("{:?}", world.log());
    for secret in [&token[4..34], subject.split('.').nth(1).unwrap(), subject.split('.').nth(2).unwrap()] {
        assert!(!stored.contains(secret) && !log.contains(secret), "{secret}");
    }
}

#[tokio::test]
async fn a_token_is_exchanged_once() {
    let world = World::start_without_queue().await;
    let owner = world.owner("acme").await;
    let (first, second) = (trust(&world, &owner, json!({})).await, trust(&world, &owner, json!({})).await);
    let token = world.issuer.id_token(&job(&world, json!({})));
    let replay = with_the_other_signature(&token);
    assert_ne!(token, replay);
    // Of concurrent exchanges, one succeeds.
    let answers = futures_util::future::join_all((0..5).map(|_| exchange(&world, &first, &token))).await;
    let statuses: Vec<_> = answers.iter().map(|answer| answer.status).collect();
    assert_eq!(statuses.iter().filter(|status| **status == 200).count(), 1, "{statuses:?}");
    for answer in answers.iter().filter(|answer| answer.status != 200) {
        answer.refused(400, "invalid_grant");
    }
    for (trust, token) in [(&first, &token), (&first, &replay), (&second, &token), (&second, &replay)] {
        let refused = exchange(&world, trust, token).await;
        refused.refused(400, "invalid_grant");
        assert!(refused.body["error"]["message"].as_str().unwrap().contains("exchanged before"), "{refused:?}");
    }
    // The other signature is valid: it is refused because of the exchange, and not because of itself.
    let fresh = with_the_other_signature(&world.issuer.id_token(&job(&world, json!({}))));
    assert_eq!(exchange(&world, &first, &fresh).await.status, 200);

    // The mark outlives the token, by DynamoDB's clock in whole seconds.
    let table = world.stack.app().table();
    let items = table.client().scan().table_name(table.name()).send().await.unwrap();
    let spent = items.items().iter().filter(|item| item["pk"].as_s().unwrap().starts_with("SPENT#"));
    let ends: Vec<i64> = spent.map(|item| item["expires_at"].as_n().unwrap().parse().unwrap()).collect();
    let last_use = world.clock.now().as_seconds() + 300 + 60;
    assert!(ends.len() == 2 && ends.iter().all(|end| *end > last_use), "{ends:?}");
}

#[tokio::test]
async fn a_hostile_token_is_refused() {
    let world = World::start_without_queue().await;
    let owner = world.owner("acme").await;
    let trusted = trust(&world, &owner, json!({})).await;
    let (issuer, now) = (&world.issuer, world.clock.now().as_seconds());
    let attacker = SigningKey::random();
    let good = job(&world, json!({}));
    let with = |changes: Value| issuer.id_token(&job(&world, changes));
    let without = |name: &str| {
        let mut claims = good.clone();
        claims.as_object_mut().unwrap().remove(name);
        issuer.id_token(&claims)
    };
    let header = |field: &str, value: Value| {
        let mut header = issuer.id_header();
        header[field] = value;
        header
    };
    let hmac = |key: &[u8]| {
        let message = unsigned(&header("alg", json!("HS256")), &good);
        let key = ring::hmac::Key::new(ring::hmac::HMAC_SHA256, key);
        format!("{message}.{}", BASE64.encode(ring::hmac::sign(&key, message.as_bytes())))
    };
    let valid = issuer.id_token(&good);
    let (signed, signature) = valid.rsplit_once('.').unwrap();
    let unsigned_claims = unsigned(&header("alg", json!("none")), &good);
    let forged = unsigned(&issuer.id_header(), &job(&world, json!({"repository_id": "1"})));
    let public = issuer.public_key();
    let tokens = [
        ("no algorithm", format!("{unsigned_claims}.{signature}")),
        ("HS256 with the public key", hmac(&public)),
        ("HS256 with the key's coordinates", hmac(&public[1..])),
        ("another algorithm", issuer.sign(&header("alg", json!("ES384")), &good)),
        ("an unknown key", issuer.sign(&header("kid", json!("second")), &good)),
        ("somebody else's key under the issuer's id", attacker.sign(&issuer.id_header(), &good)),
        ("an embedded key", attacker.sign(&header("jwk", attacker.jwk("first")), &good)),
        ("critical headers", issuer.sign(&header("crit", json!(["b64"])), &good)),
        ("other claims under the signature", format!("{forged}.{signature}")),
        ("another signature", format!("{signed}.{}", BASE64.encode([1; 64]))),
        ("an access token", issuer.token(&good)),
        ("another issuer", with(json!({"iss": "https://token.actions.githubusercontent.com"}))),
        ("another issuer by a slash", with(json!({"iss": format!("{}/", issuer.url())}))),
        ("another audience", with(json!({"aud": "https://github.com/acme"}))),
        ("a longer audience", with(json!({"aud": format!("{AUDIENCE}.evil.example")}))),
        ("several audiences", with(json!({"aud": [AUDIENCE, "https://other.example"]}))),
        ("no audience", without("aud")),
        ("expired", with(json!({"exp": now - 60}))),
        ("no expiry", without("exp")),
        ("an expiry that is a string", with(json!({"exp": (now + 300).to_string()}))),
        ("an expiry in years", with(json!({"exp": now + 400 * 24 * 60 * 60}))),
        ("not valid yet", with(json!({"nbf": now + 240}))),
        ("issued later", with(json!({"iat": now + 240}))),
        ("no subject", without("sub")),
        ("a subject that is a number", with(json!({"sub": 5}))),
    ];
    for (what, token) in tokens {
        world.clock.advance(Duration::from_secs(1));
        println!("{what}");
        exchange(&world, &trusted, &token).await.refused(400, "invalid_grant");
    }
    world.clock.advance(Duration::from_secs(35));
    let enormous = with(json!({"more": "x".repeat(20_000)}));
    for (what, token) in
        [("enormous", enormous.as_str()), ("no JWT", "secret"), ("four parts", "a.b.c.d"), ("empty", "")]
    {
        let refused = exchange(&world, &trusted, token).await;
        refused.refused(400, "invalid_request");
        assert_eq!(refused.body["error"]["details"][0]["field"], "subject_token", "{what}");
    }
    let one_audience = issuer.id_token(&job(&world, json!({"aud": [AUDIENCE]})));
    assert_eq!(exchange(&world, &trusted, &one_audience).await.status, 200, "one audience in an array is one");
    assert_eq!(exchange(&world, &trusted, &valid).await.status, 200, "the refused ones did not use it up");
}

#[tokio::test]
async fn a_request_is_a_form_with_the_names_of_rfc_8693() {
    let world = World::start_without_queue().await;
    let owner = world.owner("acme").await;
    let trusted = trust(&world, &owner, json!({"scopes": ["deployments:read", "deployments:write"]})).await;
    let token = world.issuer.id_token(&job(&world, json!({})));
    let good = [
        ("grant_type", GRANT),
        ("audience", trusted["id"].as_str().unwrap()),
        ("subject_token", token.as_str()),
        ("subject_token_type", JWT),
    ];
    let with = |name: &'static str, value: &'static str| {
        let others = good.iter().copied().filter(move |(other, _)| *other != name);
        others.chain([(name, value)]).collect::<Vec<_>>()
    };
    for (field, fields) in [
        ("grant_type", with("grant_type", "authorization_code")),
        ("grant_type", good[1..].to_vec()),
        ("subject_token", with("subject_token", "")),
        ("subject_token_type", with("subject_token_type", "urn:ietf:params:oauth:token-type:saml2")),
        ("audience", with("audience", "trust_aaaaaaaaaaaaaaaa")),
        ("audience", with("audience", "https://api.git.dev")),
        ("audience", [&good[..], &good[1..2]].concat()),
        ("scope", with("scope", "everything")),
        ("scope", with("scope", "repositories:read")),
        ("scope", with("scope", "tokens:write")),
        ("scope", with("scope", "")),
        ("actor_token", with("actor_token", "x")),
    ] {
        world.clock.advance(Duration::from_secs(3));
        let refused = send_form(&world, &fields).await;
        refused.refused(400, "invalid_request");
        assert_eq!(refused.body["error"]["details"][0]["field"], field, "{refused:?}");
        assert!(!refused.body.to_string().contains(&token), "{refused:?}");
    }
    let anonymous = world.anonymous();
    let json = anonymous.request(Method::POST, "/v1/token").json(&json!(std::collections::BTreeMap::from(good)));
    anonymous.send(json).await.refused(415, "unsupported_media_type");
    let narrow = send_form(&world, &with("scope", "deployments:read")).await;
    assert_eq!((narrow.status, &narrow.body["scope"]), (200, &json!("deployments:read")));
    let narrow = owner.holding(narrow.body["access_token"].as_str().unwrap());
    assert_eq!(narrow.get("/v1/user").await.body["scopes"], json!(["deployments:read"]));
    narrow.post("/v1/repositories/app/deployments", json!({"ref": "main"})).await.refused(403, "insufficient_scope");
}

#[tokio::test]
async fn exchanges_count_against_the_source_address() {
    let world = World::start_without_queue().await;
    let owner = world.owner("acme").await;
    let trusted = trust(&world, &owner, json!({})).await;
    let mut statuses = Vec::new();
    for _ in 0..21 {
        statuses.push(exchange(&world, &trusted, "a.b.c").await.status);
    }
    assert_eq!(statuses, [vec![400; 20], vec![429]].concat());
    world.clock.advance(Duration::from_secs(60));
    program(&world, &owner, &trusted).await;
}
