use std::time::Duration;

use aws_sdk_dynamodb::types::AttributeValue;
use serde_json::{Value, json};
use shared::model::{INVITATION_LIFE, Invitation, Role};
use tests::{Actor, Answer, World};

async fn invite(by: &Actor, body: Value) -> (Value, String) {
    let invited = by.post("/v1/invitations", body).await;
    assert_eq!(invited.status, 201, "{invited:?}");
    (invited.body["invitation"].clone(), invited.body["secret"].as_str().unwrap().to_owned())
}

fn path(invitation: &Value) -> String {
    format!("/v1/invitations/{}", invitation["id"].as_str().unwrap())
}

async fn accept(by: &Actor, invitation: &Value, secret: &str) -> Answer {
    by.post(&format!("{}/accept", path(invitation)), json!({"secret": secret})).await
}

#[tokio::test]
async fn who_accepts_an_invitation_is_in_the_account_with_a_token() {
    let world = World::start().await;
    let owner = world.owner("acme").await;
    let (one, two) = (owner.team("One").await, owner.team("Two").await);
    let teams = json!([one["id"], two["id"]]);
    let (invitation, secret) =
        invite(&owner, json!({"email": "Ada@example.com", "role": "admin", "teams": teams})).await;
    let mut sorted = vec![one["id"].as_str().unwrap(), two["id"].as_str().unwrap()];
    sorted.sort_unstable();
    let expected = json!({
        "id": invitation["id"], "email": "Ada@example.com", "role": "admin", "teams": sorted, "invited_by": owner.user_id,
        "created_at": "2026-01-01T12:00:00Z", "expires_at": "2026-01-08T12:00:00Z",
    });
    assert_eq!(invitation, expected);
    let listed = owner.get("/v1/invitations").await;
    assert_eq!((&listed.body["data"], &listed.body["meta"]["total"]), (&json!([invitation]), &json!(1)));
    // One of the teams is deleted before the invitation is accepted.
    assert_eq!(owner.delete(&format!("/v1/teams/{}", two["id"].as_str().unwrap())).await.status, 200);

    world.clock.advance(Duration::from_secs(60));
    let accepted = accept(&world.anonymous(), &invitation, &secret).await;
    assert_eq!(accepted.status, 200, "{accepted:?}");
    let body = &accepted.body;
    assert_eq!(
        (&body["account_id"], &body["token_expires_at"]),
        (&json!(owner.account_id), &json!("2026-04-01T12:01:00Z"))
    );
    let member = json!({
        "id": body["member"]["id"], "email": "Ada@example.com", "role": "admin", "created_at": "2026-01-01T12:01:00Z",
    });
    assert_eq!(body["member"], member);
    let ada = owner.holding(body["token"].as_str().unwrap());
    let members = ada.get("/v1/members").await;
    assert_eq!((&members.body["data"][0], &members.body["meta"]["total"]), (&member, &json!(2)));
    let in_team = ada.get(&format!("/v1/teams/{}/members", one["id"].as_str().unwrap())).await;
    assert_eq!((&in_team.body["data"][0]["member"], &in_team.body["meta"]["total"]), (&member, &json!(1)));
    assert_eq!(ada.get("/v1/invitations").await.body["meta"]["total"], 0);

    accept(&world.anonymous(), &invitation, &secret).await.refused(404, "not_found");
    owner.delete(&path(&invitation)).await.refused(404, "not_found");
    assert_eq!(owner.get("/v1/members").await.body["meta"]["total"], 2);
}

#[tokio::test]
async fn only_the_secret_of_the_same_invitation_opens_it() {
    let world = World::start().await;
    let owner = world.owner("acme").await;
    let (invitation, secret) = invite(&owner, json!({"email": "ada@example.com"})).await;
    let (other, others) = invite(&owner, json!({"email": "ben@example.com"})).await;
    let anonymous = world.anonymous();
    let wrong = format!("{}{}", &secret[..35], if secret.ends_with('a') { 'b' } else { 'a' });
    let nobodys = json!({"id": "inv_aaaaaaaaaaaaaaaa"});
    for (invitation, secret) in [(&invitation, &wrong), (&invitation, &others), (&nobodys, &secret)] {
        let refused = accept(&anonymous, invitation, secret).await;
        assert_eq!(refused.refused(404, "not_found").body["error"]["message"], "Invitation not found");
    }
    for secret in ["", "dgi_", &secret[1..], &format!("{secret}a"), owner.token.as_ref().unwrap()] {
        let refused = accept(&anonymous, &invitation, secret).await;
        refused.refused(400, "invalid_request");
        let details =
            json!([{"field": "secret", "message": "must be an invitation's secret, which starts with 'dgi_'"}]);
        assert_eq!(refused.body["error"]["details"], details);
    }
    assert_eq!(owner.get("/v1/members").await.body["meta"]["total"], 1);
    assert_eq!(accept(&anonymous, &other, &others).await.status, 200);
    // The secret is stored as a hash, and not printed.
    let table = world.stack.app().table();
    let stored = format!("{:?}", table.client().scan().table_name(table.name()).send().await.unwrap().items());
    assert!(stored.contains(invitation["id"].as_str().unwrap()));
    for secret in [&secret[4..], &others[4..]] {
        assert!(!stored.contains(secret) && !format!("{:?}", world.log()).contains(secret));
    }
    assert!(!owner.get("/v1/invitations").await.body.to_string().contains("secret"));
}

#[tokio::test]
async fn guesses_count_against_their_source() {
    let world = World::start().await;
    let owner = world.owner("acme").await;
    let (invitation, secret) = invite(&owner, json!({"email": "ada@example.com"})).await;
    let guess = format!("dgi_{}", "a".repeat(32));
    let mut tried = 0;
    // An hour of guesses as fast as the API answers. A second passes for every few of them.
    let (mut refused, started) = (0, world.clock.now());
    while world.clock.now().since(started) < Duration::from_secs(120) {
        let answer = accept(&world.anonymous(), &invitation, &guess).await;
        match answer.status {
            404 => tried += 1,
            _ => {
                answer.refused(429, "rate_limited");
                refused += 1;
                world.clock.advance(Duration::from_secs(1));
            }
        }
    }
    assert!((100..=140).contains(&tried) && refused > 0, "{tried} guesses in two minutes: 20 at once, and 60 a minute");
    world.clock.advance(Duration::from_secs(60));
    assert_eq!(accept(&world.anonymous(), &invitation, &secret).await.status, 200);
}

#[tokio::test]
async fn an_invitation_lasts_seven_days_to_the_millisecond() {
    let world = World::start().await;
    let owner = world.owner("acme").await;
    let (ada, ada_secret) = invite(&owner, json!({"email": "ada@example.com"})).await;
    let (ben, ben_secret) = invite(&owner, json!({"email": "ben@example.com"})).await;
    world.clock.advance(INVITATION_LIFE - Duration::from_millis(1));
    assert_eq!(accept(&world.anonymous(), &ada, &ada_secret).await.status, 200);
    owner.post("/v1/invitations", json!({"email": "BEN@example.com"})).await.refused(409, "email_taken");
    world.clock.advance(Duration::from_millis(1));
    let refused = accept(&world.anonymous(), &ben, &ben_secret).await;
    refused.refused(410, "invitation_expired");
    assert_eq!(refused.body["error"]["message"], "The invitation expired at 2026-01-08T12:00:00Z; ask for a new one");
    accept(&world.anonymous(), &ben, &ada_secret).await.refused(404, "not_found");

    // The expired invitation is listed until the address is invited again.
    assert_eq!(owner.get("/v1/invitations").await.body["data"], json!([ben]));
    let (again, secret) = invite(&owner, json!({"email": "BEN@example.com", "role": "admin"})).await;
    let listed = owner.get("/v1/invitations").await;
    assert_eq!((&listed.body["data"], &listed.body["meta"]["total"]), (&json!([again]), &json!(1)));
    accept(&world.anonymous(), &ben, &ben_secret).await.refused(404, "not_found");
    assert_eq!(accept(&world.anonymous(), &again, &secret).await.body["member"]["role"], "admin");
    assert_eq!(owner.get("/v1/invitations").await.body["meta"]["total"], 0);
}

#[tokio::test]
async fn an_address_is_one_users_or_one_invitations() {
    let world = World::start().await;
    let (owner, stranger) = (world.owner("acme").await, world.owner("globex").await);
    let (ada, secret) = invite(&owner, json!({"email": "ada@example.com"})).await;
    for (email, message) in [
        ("Ada@Example.com", "'Ada@Example.com' already has a pending invitation"),
        ("OWNER@example.com", "'OWNER@example.com' already belongs to a member of the account"),
    ] {
        let refused = owner.post("/v1/invitations", json!({"email": email})).await;
        assert_eq!(refused.refused(409, "email_taken").body["error"]["message"], message);
    }
    invite(&stranger, json!({"email": "ada@example.com"})).await;
    assert_eq!(owner.get("/v1/invitations").await.body["meta"]["total"], 1);

    let revoked = owner.delete(&path(&ada)).await;
    assert_eq!(revoked.status, 200);
    accept(&world.anonymous(), &ada, &secret).await.refused(404, "not_found");
    owner.delete(&path(&ada)).await.refused(404, "not_found");
    assert_eq!(owner.get("/v1/invitations").await.body["meta"]["total"], 0);
    let (again, _) = invite(&owner, json!({"email": "ada@example.com"})).await;
    stranger.delete(&path(&again)).await.refused(404, "not_found");
    assert_eq!(owner.get("/v1/invitations").await.body["data"], json!([again]));
}

#[tokio::test]
async fn what_an_invitation_can_not_be_is_named() {
    let world = World::start().await;
    let (owner, stranger) = (world.owner("acme").await, world.owner("globex").await);
    let theirs = stranger.team("Platform").await["id"].as_str().unwrap().to_owned();
    let admin = world.member(&owner, Role::Admin).await;
    let (email, many) = ("ada@example.com", (0..21).map(|_| shared::id::TeamId::random()).collect::<Vec<_>>());
    let no_address =
        "must be an email address of at most 254 ASCII characters; give an international domain in its 'xn--' form";
    for (body, field, message) in [
        (json!({}), "email", "is required"),
        (json!({"email": "ada"}), "email", no_address),
        (json!({"email": "ad\u{430}@example.com"}), "email", no_address),
        (json!({"email": "ada\u{200b}@example.com"}), "email", no_address),
        (json!({"email": "ada@ex\u{212a}.com"}), "email", no_address),
        (json!({"email": email, "teams": [theirs]}), "teams[0]", "must be the ID of a team of the account"),
        (json!({"email": email, "teams": many}), "teams", "must have at most 20 entries"),
        (json!({"email": email, "role": "king"}), "role", "must be one of `member`, `admin`, `owner`"),
        (json!({"email": email, "name": "Ada"}), "name", "is not one of `email`, `role`, `teams`"),
    ] {
        let refused = owner.post("/v1/invitations", body.clone()).await;
        refused.refused(400, "invalid_request");
        assert_eq!(refused.body["error"]["details"], json!([{"field": field, "message": message}]), "{body}");
    }
    let (invitation, _) = invite(&owner, json!({"email": email, "role": "owner"})).await;
    admin.delete(&path(&invitation)).await.refused(403, "insufficient_permission");
    assert_eq!(admin.get("/v1/invitations").await.body["data"], json!([invitation]));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_acceptances_and_a_revocation_at_once_one_wins() {
    let world = World::start().await;
    let owner = world.owner("acme").await;
    let mut members = 1;
    for round in 0..6 {
        let (invitation, secret) = invite(&owner, json!({"email": format!("ada-{round}@example.com")})).await;
        let mut calls = tokio::task::JoinSet::new();
        for n in 0..3 {
            let (owner, anonymous) = (owner.clone(), world.anonymous());
            let (invitation, secret) = (invitation.clone(), secret.clone());
            calls.spawn(async move {
                if n == 2 {
                    owner.delete(&path(&invitation)).await
                } else {
                    accept(&anonymous, &invitation, &secret).await
                }
            });
        }
        let answers = calls.join_all().await;
        let won: Vec<_> = answers.iter().filter(|answer| answer.status < 300).collect();
        assert_eq!(won.len(), 1, "{answers:?}");
        for answer in answers.iter().filter(|answer| answer.status >= 300) {
            answer.refused(404, "not_found");
        }
        members += u64::from(won[0].body["token"].is_string());
        let listed = owner.get("/v1/members").await;
        assert_eq!(listed.body["meta"]["total"], members);
        assert_eq!(owner.get("/v1/invitations").await.body["meta"]["total"], 0);
    }
}

#[tokio::test]
async fn a_verified_address_finds_its_open_invitations_in_every_account() {
    let world = World::start().await;
    let (owner, stranger) = (world.owner("acme").await, world.owner("globex").await);
    let (first, _) = invite(&owner, json!({"email": "ada@example.com"})).await;
    invite(&owner, json!({"email": "ben@example.com"})).await;
    world.clock.advance(Duration::from_secs(60));
    let (second, _) = invite(&stranger, json!({"email": "ADA@example.com"})).await;
    let table = world.stack.app().table();
    let found = async || {
        let email = "Ada@Example.com".parse().unwrap();
        let found = Invitation::of_verified(table, &email, world.clock.now()).await.unwrap();
        found.into_iter().map(|invitation| invitation.id.to_string()).collect::<Vec<_>>()
    };
    assert_eq!(found().await, [&second, &first].map(|one| one["id"].as_str().unwrap()));
    world.clock.advance(INVITATION_LIFE - Duration::from_secs(60));
    assert_eq!(found().await, [second["id"].as_str().unwrap()]);
    assert_eq!(stranger.delete(&path(&second)).await.status, 200);
    assert!(found().await.is_empty());
}

#[tokio::test]
async fn an_invitation_is_worth_what_its_inviter_may_give_when_it_is_accepted() {
    let world = World::start().await;
    let owner = world.owner("acme").await;
    let admin = world.member(&owner, Role::Admin).await;
    let invite_as =
        async |role: &str| invite(&admin, json!({"email": format!("{role}@example.com"), "role": role})).await;
    let (invitation, secret) = invite_as("member").await;
    // The inviter's role changes in the moment before the acceptance, when the end of the invitations is not written yet.
    let (account, user) = (admin.account_id.as_ref().unwrap(), admin.user_id.as_ref().unwrap());
    let key = (&*format!("ACCT#{account}"), &*format!("USER#{user}"));
    let set = async |role: &str| world.set_attribute(key, "role", AttributeValue::S(role.to_owned())).await;
    set("member").await;
    accept(&world.anonymous(), &invitation, &secret).await.refused(404, "not_found");
    set("admin").await;
    assert_eq!(accept(&world.anonymous(), &invitation, &secret).await.status, 200);
}
