//! The choice of an account by a person who signed in.

use std::time::Duration;

use aws_sdk_dynamodb::types::AttributeValue;
use serde_json::{Value, json};
use shared::model::{INVITATION_LIFE, MAX_IN_TEAM};
use tests::issuer::Issuer;
use tests::{Actor, Answer, World};

use super::{acme, joined, trusting};

/// Returns a caller whose address the issuer has verified.
fn verified(world: &World, issuer: &Issuer, subject: &str, email: &str) -> Actor {
    let mut claims = issuer.claims(subject, world.clock.now());
    claims["email"] = json!(email);
    claims["scope"] = json!("account:read teams:read");
    world.anonymous().holding(&issuer.token(&claims))
}

/// Invites an address and returns the invitation's id.
async fn invite(by: &Actor, body: Value) -> String {
    let invited = by.post("/v1/invitations", body).await;
    assert_eq!(invited.status, 201, "{invited:?}");
    invited.body["invitation"]["id"].as_str().unwrap().to_owned()
}

async fn open_invitations(owner: &Actor) -> Value {
    owner.get("/v1/invitations").await.body["meta"]["total"].clone()
}

async fn members(owner: &Actor) -> u64 {
    owner.get("/v1/members").await.body["meta"]["total"].as_u64().unwrap()
}

async fn accept(person: &Actor, invitation: &str) -> Answer {
    person.post("/v1/user/join", json!({"invitation_id": invitation})).await
}

/// Returns the invitations that are listed to a person, newest first.
async fn listed(person: &Actor) -> Vec<String> {
    let answer = person.get("/v1/user/invitations").await;
    assert_eq!(answer.status, 200, "{answer:?}");
    answer.column("id")
}

#[tokio::test]
async fn a_person_joins_the_account_of_their_mail_domain() {
    let issuer = Issuer::start().await;
    let world = trusting(issuer.url(), None, false).await;
    let owner = acme(&world).await;
    let account = owner.account_id.as_ref().unwrap().as_str();
    let ada = world.anonymous().holding(&issuer.token(&issuer.claims("ada", world.clock.now())));

    // Nothing but the choice changes anything.
    for path in ["/v1/user", "/v1/repositories"] {
        let unknown = ada.get(path).await;
        assert_eq!(unknown.refused(403, "not_linked").rate_limit().limit, 60, "it counts against the source");
        let message = unknown.body["error"]["message"].as_str().unwrap();
        assert!(message.contains("GET /v1/user/invitations") && message.contains("POST /v1/user/join"), "{message}");
    }
    let openings = ada.get("/v1/user/invitations").await;
    let home = json!({"id": account, "slug": "acme"});
    assert_eq!(openings.body, json!({"email": "ada@acme.example", "data": [], "domain_account": home}));
    assert_eq!(openings.rate_limit().limit, 60, "it counts against the source");
    assert_eq!(members(&owner).await, 1);

    let member = joined(&ada).await;
    let user_id = member["member"]["id"].clone();
    let expected = json!({
        "id": user_id, "email": "ada@acme.example", "role": "member", "created_at": "2026-01-01T12:00:00Z",
    });
    assert_eq!(member, json!({"account_id": account, "member": expected}));
    let me = ada.get("/v1/user").await;
    assert_eq!(
        me.body,
        json!({
            "user": {"id": user_id, "email": "ada@acme.example", "role": "member"},
            "application": null,
            "trust": null,
            "account": {"id": account, "slug": "acme", "plan": "pro", "permanent_tokens": false},
            "scopes": ["repositories:read"],
            "token": {"id": null, "expires_at": "2026-01-01T12:10:00Z"},
        })
    );
    assert_eq!(me.header("x-token-expires-at"), "2026-01-01T12:10:00Z");
    assert_eq!(me.rate_limit().limit, 600, "it counts against the account");
    assert_eq!(joined(&ada).await, member, "a second time changes nothing");
    ada.post("/v1/repositories", json!({})).await.refused(403, "insufficient_scope");
    let events = owner.get("/v1/audit_events?action=member.linked").await;
    let event = &events.body["data"][0];
    assert_eq!((&event["actor"]["id"], &event["client_id"]), (&user_id, &json!("web")), "{events:?}");
    assert_eq!(event["source_address"], "127.0.0.1");

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
    assert_ne!(joined(&grace).await["member"]["id"], user_id);
    // A personal access token then works without the identity provider.
    let new = again.post("/v1/tokens", json!({"name": "ci", "scopes": ["deployments:read"]})).await;
    assert_eq!((new.status, &new.body["user_id"]), (201, &user_id));
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
        let person = world.anonymous().holding(&issuer.token(&claims));
        let refused = person.post("/v1/user/join", json!({})).await;
        let message = refused.refused(403, "not_linked").body["error"]["message"].clone();
        assert_eq!(message, "The token has no scope of the API; sign in again with at least one");
        person.get("/v1/user/invitations").await.refused(403, "not_linked");
    }
    assert_eq!((members(&owner).await, open_invitations(&owner).await), (1, json!(1)));
}

#[tokio::test]
async fn an_invitation_gives_its_role_and_its_teams() {
    let issuer = Issuer::start().await;
    let world = trusting(issuer.url(), None, false).await;
    let owner = acme(&world).await;
    let team = owner.team("Platform").await;
    let new = json!({"email": "Ada@elsewhere.example", "role": "admin", "teams": [team["id"]]});
    let invitation = invite(&owner, new).await;

    let ada = verified(&world, &issuer, "ada", "ada@ELSEWHERE.example");
    ada.get("/v1/teams").await.refused(403, "not_linked");
    ada.post("/v1/user/join", json!({})).await.refused(404, "not_found");
    let openings = ada.get("/v1/user/invitations").await;
    let expected = json!({
        "id": invitation, "account": {"id": owner.account_id, "slug": "acme"}, "role": "admin",
        "created_at": "2026-01-01T12:00:00Z", "expires_at": "2026-01-08T12:00:00Z",
    });
    assert_eq!((&openings.body["data"], &openings.body["domain_account"]), (&json!([expected]), &Value::Null));
    assert_eq!(open_invitations(&owner).await, 1);
    let accepted = accept(&ada, &invitation).await;
    assert_eq!(accepted.status, 200, "{accepted:?}");
    let user = ada.get("/v1/user").await.body["user"].clone();
    assert_eq!((&user["email"], &user["role"]), (&json!("Ada@elsewhere.example"), &json!("admin")));
    let in_team = ada.get(&format!("/v1/teams/{}/members", team["id"].as_str().unwrap())).await;
    assert_eq!((&in_team.body["data"][0]["member"]["id"], &in_team.body["meta"]["total"]), (&user["id"], &json!(1)));
    assert_eq!((open_invitations(&owner).await, members(&owner).await), (json!(0), 2));

    // Whoever belongs to an account accepts no other invitation.
    let stranger = world.owner("globex").await;
    let later = invite(&stranger, json!({"email": "ada@elsewhere.example"})).await;
    accept(&ada, &later).await.refused(403, "insufficient_permission");
    assert_eq!((listed(&ada).await, open_invitations(&stranger).await), (vec![], json!(1)));
}

#[tokio::test]
async fn an_invitation_is_for_nobody_but_its_verified_address() {
    let issuer = Issuer::start().await;
    let world = trusting(issuer.url(), None, false).await;
    let owner = acme(&world).await;
    let invitation = invite(&owner, json!({"email": "ada@elsewhere.example"})).await;
    let claims = |verified: Value| {
        let mut claims = issuer.claims("ada", world.clock.now());
        claims["email"] = json!("ada@elsewhere.example");
        claims["email_verified"] = verified;
        world.anonymous().holding(&issuer.token(&claims))
    };
    for actor in [claims(json!(false)), claims(Value::Null)] {
        accept(&actor, &invitation).await.refused(403, "not_linked");
        actor.get("/v1/user/invitations").await.refused(403, "not_linked");
    }
    for actor in [
        verified(&world, &issuer, "eve", "eve@elsewhere.example"),
        verified(&world, &issuer, "mallory", "ada@elsewhere.example.evil.example"),
    ] {
        accept(&actor, &invitation).await.refused(404, "not_found");
        assert_eq!(listed(&actor).await, [""; 0]);
    }
    let ada = claims(json!(true));
    accept(&ada, "inv_aaaaaaaaaaaaaaaa").await.refused(404, "not_found");
    assert_eq!(open_invitations(&owner).await, 1);
    assert_eq!(accept(&ada, &invitation).await.status, 200);
}

#[tokio::test]
async fn an_invitation_that_has_expired_or_was_revoked_links_nobody() {
    let issuer = Issuer::start().await;
    let world = trusting(issuer.url(), None, false).await;
    let owner = acme(&world).await;
    let expiring = invite(&owner, json!({"email": "ada@elsewhere.example"})).await;
    let revoked = invite(&owner, json!({"email": "ben@elsewhere.example"})).await;
    let at_home = invite(&owner, json!({"email": "carl@acme.example", "role": "admin"})).await;
    assert_eq!(owner.delete(&format!("/v1/invitations/{revoked}")).await.status, 200);
    let ben = verified(&world, &issuer, "ben", "ben@elsewhere.example");
    accept(&ben, &revoked).await.refused(404, "not_found");
    // The account of the mail domain has invited the address with another role.
    let carl = verified(&world, &issuer, "carl", "carl@acme.example");
    carl.post("/v1/user/join", json!({})).await.refused(409, "email_taken");
    world.clock.advance(INVITATION_LIFE);
    let ada = verified(&world, &issuer, "ada", "ada@elsewhere.example");
    accept(&ada, &expiring).await.refused(404, "not_found");
    assert_eq!((listed(&ada).await, members(&owner).await), (vec![], 1));
    let carl = verified(&world, &issuer, "carl", "carl@acme.example");
    accept(&carl, &at_home).await.refused(404, "not_found");
    assert_eq!(joined(&carl).await["member"]["role"], "member");
    assert_eq!(open_invitations(&owner).await, 1, "the expired invitation to a member is gone");

    let again = invite(&owner, json!({"email": "ada@elsewhere.example"})).await;
    assert_eq!(accept(&ada, &again).await.body["member"]["role"], "member");
}

#[tokio::test]
async fn the_person_chooses_and_no_strangers_invitation_captures_anybody() {
    let issuer = Issuer::start().await;
    let world = trusting(issuer.url(), None, false).await;
    let acme = acme(&world).await;
    let (older, newer) = (world.owner("globex").await, world.owner("initech").await);
    let first = invite(&older, json!({"email": "ada@elsewhere.example"})).await;
    world.clock.advance(Duration::from_secs(60));
    let second = invite(&newer, json!({"email": "ada@elsewhere.example", "role": "admin"})).await;
    let ada = verified(&world, &issuer, "ada", "ada@elsewhere.example");
    ada.get("/v1/user").await.refused(403, "not_linked");
    assert_eq!(listed(&ada).await, [second, first.clone()]);
    assert_eq!(accept(&ada, &first).await.body["account_id"], json!(older.account_id));
    assert_eq!((open_invitations(&older).await, open_invitations(&newer).await), (json!(0), json!(1)));

    // An invitation can't take a user away from the account of their mail domain.
    let theirs = invite(&newer, json!({"email": "ben@acme.example", "role": "admin"})).await;
    let own = invite(&acme, json!({"email": "ben@acme.example", "role": "admin"})).await;
    let ben = verified(&world, &issuer, "ben", "ben@acme.example");
    assert_eq!(listed(&ben).await, std::slice::from_ref(&own));
    accept(&ben, &theirs).await.refused(404, "not_found");
    assert_eq!(accept(&ben, &own).await.body["account_id"], json!(acme.account_id));

    // A team is full.
    let team = older.team("Full").await;
    let sizes = format!("ACCT#{}#TEAM#{}", older.account_id.as_ref().unwrap(), team["id"].as_str().unwrap());
    let full = AttributeValue::N(MAX_IN_TEAM.to_string());
    world.set_attribute((&sizes, "SIZES"), "members", full).await;
    let invitation = invite(&older, json!({"email": "carl@elsewhere.example", "teams": [team["id"]]})).await;
    let carl = verified(&world, &issuer, "carl", "carl@elsewhere.example");
    accept(&carl, &invitation).await.refused(409, "limit_reached");
    assert_eq!(listed(&carl).await, [invitation]);
}

#[tokio::test]
async fn many_choices_at_once_make_one_user() {
    let issuer = Issuer::start().await;
    let world = trusting(issuer.url(), None, false).await;
    let (owner, other) = (acme(&world).await, world.owner("globex").await);
    let invitations = [
        invite(&owner, json!({"email": "ada@elsewhere.example"})).await,
        invite(&other, json!({"email": "ada@elsewhere.example"})).await,
    ];
    let mut calls = tokio::task::JoinSet::new();
    for at in 0..8 {
        let token = |subject: &str, email: &str| {
            let mut claims = issuer.claims(subject, world.clock.now());
            claims["jti"] = json!(at);
            claims["email"] = json!(email);
            world.anonymous().holding(&issuer.token(&claims))
        };
        let (ada, ben) = (token("ada", "ada@elsewhere.example"), token("ben", "ben@acme.example"));
        let invitation = invitations[at % 2].clone();
        calls.spawn(async move { ("ada", accept(&ada, &invitation).await) });
        calls.spawn(async move { ("ben", ben.post("/v1/user/join", json!({})).await) });
    }
    let answers = calls.join_all().await;
    for person in ["ada", "ben"] {
        let own: Vec<_> = answers.iter().filter(|(who, _)| *who == person).map(|(_, answer)| answer).collect();
        let users: std::collections::BTreeSet<_> = own
            .iter()
            .filter(|answer| answer.status == 200)
            .map(|answer| answer.body["member"]["id"].to_string())
            .collect();
        assert_eq!(users.len(), 1, "{own:?}");
        // A late request finds that the person belongs to an account.
        assert!(own.iter().all(|answer| [200, 403].contains(&answer.status)), "{own:?}");
    }
    assert_eq!(members(&owner).await + members(&other).await, 4, "the two owners and two users");
}

#[tokio::test]
async fn whoever_was_removed_can_be_invited_and_linked_again() {
    let issuer = Issuer::start().await;
    let world = trusting(issuer.url(), None, false).await;
    let (owner, other) = (acme(&world).await, world.owner("globex").await);
    let invitation = invite(&other, json!({"email": "ada@elsewhere.example"})).await;
    let remove = async |by: &Actor, member: &Value| {
        let path = format!("/v1/members/{}", member["member"]["id"].as_str().unwrap());
        assert_eq!(by.delete(&path).await.status, 200);
        world.callers_are_forgotten();
    };
    let subjects = async || {
        let table = world.stack.app().table();
        let stored = table.client().scan().table_name(table.name()).send().await.unwrap();
        stored.items().iter().filter(|item| item["pk"].as_s().unwrap().starts_with("SUBJECT#")).count()
    };
    let person = |subject: &str, email: &str| verified(&world, &issuer, subject, email);

    let ada = person("ada", "ada@elsewhere.example");
    let first = accept(&ada, &invitation).await.body;
    assert_eq!((&first["account_id"], subjects().await), (&json!(other.account_id), 1), "{first}");
    remove(&other, &first).await;
    assert_eq!(subjects().await, 0);
    ada.get("/v1/user").await.refused(403, "not_linked");
    let invitation = invite(&owner, json!({"email": "ada@elsewhere.example", "role": "admin"})).await;
    let second = accept(&ada, &invitation).await.body;
    assert_eq!((&second["account_id"], &second["member"]["role"]), (&json!(owner.account_id), &json!("admin")));

    // The account of the mail domain links a subject, and another subject of the same person.
    let ben = joined(&person("ben", "ben@acme.example")).await;
    assert_eq!(joined(&person("ben-2", "ben@acme.example")).await["member"], ben["member"]);
    assert_eq!(subjects().await, 3);
    remove(&owner, &ben).await;
    assert_eq!(subjects().await, 1);
    let again = joined(&person("ben-2", "ben@acme.example")).await;
    assert_ne!(again["member"]["id"], ben["member"]["id"]);
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
    for (status, code, actor) in [
        (403, "not_linked", without("unverified", |claims| claims["email_verified"] = json!(false))),
        (403, "not_linked", without("unsaid", |claims| drop(claims.as_object_mut().unwrap().remove("email_verified")))),
        (404, "not_found", without("foreign", |claims| claims["email"] = json!("a@other.example"))),
        (404, "not_found", without("below", |claims| claims["email"] = json!("a@sub.acme.example"))),
        (403, "not_linked", without("twice", |claims| claims["email"] = json!("a@acme.example@other.example"))),
        (403, "not_linked", without("eve", no_address)),
        (403, "not_linked", without("mallory", no_address)),
        (403, "not_linked", without("trent", no_address)),
        (403, "not_linked", without("nobody", no_address)),
    ] {
        world.clock.advance(Duration::from_secs(5));
        actor.post("/v1/user/join", json!({})).await.refused(status, code);
        actor.get("/v1/repositories").await.refused(403, "not_linked");
    }
    let table = world.stack.app().table();
    let stored = format!("{:?}", table.client().scan().table_name(table.name()).send().await.unwrap().items());
    assert!(!stored.contains("SUBJECT#"), "nobody was linked");

    // Most access tokens have no address. The API then asks the provider.
    issuer.says("grace", json!({"sub": "grace", "email": "grace@ACME.example", "email_verified": "true"}));
    let grace = without("grace", no_address);
    assert_eq!(joined(&grace).await["member"]["email"], "grace@ACME.example");
}
