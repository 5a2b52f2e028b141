use std::time::Duration;

use serde_json::{Value, json};
use shared::model::Role;
use tests::{Actor, Answer, World};

fn path(member: &Actor) -> String {
    format!("/v1/members/{}", member.user_id.as_ref().unwrap())
}

async fn roles(reader: &Actor) -> Vec<(String, String)> {
    let listed = reader.get("/v1/members?per_page=100&direction=asc").await;
    assert_eq!(listed.body["meta"]["total"], listed.body["data"].as_array().unwrap().len(), "{listed:?}");
    listed.column("id").into_iter().zip(listed.column("role")).collect()
}

fn is(member: &Actor, role: &str) -> (String, String) {
    (member.user_id.as_ref().unwrap().to_string(), role.to_owned())
}

#[tokio::test]
async fn everybody_in_the_account_is_listed_to_everybody_in_it() {
    let world = World::start().await;
    let owner = world.owner("acme").await;
    world.owner("globex").await;
    world.clock.advance(Duration::from_secs(1));
    let ada = world.member(&owner, Role::Member).await;
    let listed = ada.get("/v1/members").await;
    assert_eq!(listed.column("id"), [&ada, &owner].map(|actor| actor.user_id.as_ref().unwrap().to_string()));
    let expected = json!({
        "id": owner.user_id, "email": "owner@example.com", "role": "owner", "created_at": "2026-01-01T12:00:00Z",
    });
    assert_eq!(listed.body["data"][1], expected);
    assert_eq!(listed.body["meta"], json!({"total": 2, "page": 1, "per_page": 10}));
    let first = ada.get("/v1/members?per_page=1").await;
    assert_eq!(ada.get(&first.link("next").unwrap()).await.body["data"], json!([expected]));
    ada.get("/v1/members?sort=name").await.refused(400, "invalid_request");
}

#[tokio::test]
async fn only_owners_make_and_unmake_owners() {
    let world = World::start().await;
    let owner = world.owner("acme").await;
    world.clock.advance(Duration::from_secs(1));
    let admin = world.member(&owner, Role::Admin).await;
    world.clock.advance(Duration::from_secs(1));
    let ada = world.member(&owner, Role::Member).await;
    for (path, body) in [(path(&ada), json!({"role": "owner"})), (path(&owner), json!({"role": "member"}))] {
        let refused = admin.put(&path, body).await;
        let message = refused.refused(403, "insufficient_permission").body["error"]["message"].clone();
        assert_eq!(message, "The request requires the role 'owner' in the account");
    }
    admin.delete(&path(&owner)).await.refused(403, "insufficient_permission");
    admin
        .post("/v1/invitations", json!({"email": "a@example.com", "role": "owner"}))
        .await
        .refused(403, "insufficient_permission");
    assert_eq!(roles(&owner).await, [is(&owner, "owner"), is(&admin, "admin"), is(&ada, "member")]);

    let raised = admin.put(&path(&ada), json!({"role": "admin"})).await;
    assert_eq!((raised.status, &raised.body["role"], &raised.body["id"]), (200, &json!("admin"), &json!(ada.user_id)));
    assert_eq!(owner.put(&path(&ada), json!({"role": "owner"})).await.body["role"], "owner");
    assert_eq!(owner.put(&path(&ada), json!({"role": "owner"})).await.status, 200, "that is nothing new");
    assert_eq!(roles(&owner).await, [is(&owner, "owner"), is(&admin, "admin"), is(&ada, "owner")]);
    for (body, field) in
        [(json!({"role": "king"}), "role"), (json!({}), "role"), (json!({"role": "owner", "x": 1}), "x")]
    {
        let refused = owner.put(&path(&ada), body).await;
        assert_eq!(refused.refused(400, "invalid_request").body["error"]["details"][0]["field"], field);
    }
}

#[tokio::test]
async fn the_last_owner_stays() {
    let world = World::start().await;
    let owner = world.owner("acme").await;
    let team = owner.team("Platform").await;
    owner.add_to_team(&team, &owner).await;
    owner.put(&path(&owner), json!({"role": "admin"})).await.refused(409, "last_owner");
    owner.delete(&path(&owner)).await.refused(409, "last_owner");
    let members = format!("/v1/teams/{}/members", team["id"].as_str().unwrap());
    assert_eq!(owner.get(&members).await.body["meta"]["total"], 1, "and stays in their teams");

    let second = world.member(&owner, Role::Owner).await;
    assert_eq!(second.delete(&path(&owner)).await.status, 200);
    second.put(&path(&second), json!({"role": "member"})).await.refused(409, "last_owner");
    world.callers_are_forgotten();
    owner.get("/v1/members").await.refused(401, "token_revoked");
    assert_eq!(roles(&second).await, [is(&second, "owner")]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_owners_who_unmake_each_other_at_once_one_is_left() {
    let world = World::start().await;
    for round in 0..4 {
        let first = world.owner(&format!("acme-{round}")).await;
        let mut owners = vec![first.clone()];
        for _ in 0..3 {
            owners.push(world.member(&first, Role::Owner).await);
        }
        // No function notices the removal meanwhile, because each has already cached its callers.
        let reader = world.member(&first, Role::Member).await;
        let mut changes = tokio::task::JoinSet::new();
        for n in 0..owners.len() {
            let (by, path) = (owners[n].clone(), path(&owners[(n + 1) % owners.len()]));
            changes.spawn(async move {
                if n % 2 == 0 { by.delete(&path).await } else { by.put(&path, json!({"role": "member"})).await }
            });
        }
        let answers: Vec<Answer> = changes.join_all().await;
        for answer in &answers {
            assert!([200, 401, 403, 409, 503].contains(&answer.status), "{answer:?}");
        }
        let owners = roles(&reader).await.into_iter().filter(|(_, role)| role == "owner").count();
        assert!(owners >= 1, "{answers:?}");
        let unmade = answers.iter().filter(|answer| answer.status < 300).count();
        assert_eq!(owners, 4 - unmade, "{answers:?}");
    }
}

#[tokio::test]
async fn who_is_removed_leaves_nothing_behind() {
    let world = World::start().await;
    let owner = world.owner("acme").await;
    let ada = world.member(&owner, Role::Member).await;
    let (one, two) = (owner.team("One").await, owner.team("Two").await);
    owner.add_to_team(&one, &ada).await;
    owner.add_to_team(&two, &ada).await;
    assert_eq!(ada.get("/v1/members").await.status, 200);
    let other = world.with_token(&ada, |_| {}).await;
    let listed = owner.get("/v1/members").await;
    let email =
        listed.body["data"].as_array().unwrap().iter().find(|row| row["id"] == json!(ada.user_id)).unwrap()["email"]
            .clone();

    let removed = owner.delete(&path(&ada)).await;
    assert_eq!(removed.status, 200);
    owner.delete(&path(&ada)).await.refused(404, "not_found");
    owner.put(&path(&ada), json!({"role": "admin"})).await.refused(404, "not_found");
    for team in [&one, &two] {
        let members = owner.get(&format!("/v1/teams/{}/members", team["id"].as_str().unwrap())).await;
        assert_eq!((&members.body["data"], &members.body["meta"]["total"]), (&json!([]), &json!(0)));
    }
    // A function that has not cached the token refuses it at once, any other within 30 seconds.
    other.get("/v1/repositories").await.refused(401, "token_revoked");
    world.clock.advance(Duration::from_millis(29_999));
    assert_eq!(ada.get("/v1/members").await.status, 200);
    world.clock.advance(Duration::from_millis(1));
    let refused = ada.get("/v1/members").await;
    let message = refused.refused(401, "token_revoked").body["error"]["message"].clone();
    assert_eq!(message, "The token's user was removed from the account");
    assert_eq!(roles(&owner).await, [is(&owner, "owner")]);
    let invited = owner.post("/v1/invitations", json!({"email": email})).await;
    assert_eq!(invited.status, 201, "the address is free again: {invited:?}");
}

/// The ids in one of the lists of a response, sorted.
fn ids(answer: &Answer, list: &str) -> Vec<String> {
    assert_eq!(answer.status, 200, "{answer:?}");
    let mut ids: Vec<_> =
        answer.body[list].as_array().unwrap().iter().map(|row| row["id"].as_str().unwrap().to_owned()).collect();
    ids.sort_unstable();
    ids
}

/// Invites an address and returns the invitation's id.
async fn invite(by: &Actor, email: &str, role: &str) -> String {
    let invited = by.post("/v1/invitations", json!({"email": email, "role": role})).await;
    assert_eq!(invited.status, 201, "{invited:?}");
    invited.body["invitation"]["id"].as_str().unwrap().to_owned()
}

async fn register(world: &World, by: &Actor, client: &str) {
    let registered = world.register(by, client).await;
    assert_eq!(registered.status, 201, "{registered:?}");
}

/// Returns the account's applications, each with its owner.
async fn owners(reader: &Actor) -> Vec<(String, String)> {
    let page = reader.get("/v1/applications?per_page=100&direction=asc").await;
    page.column("id").into_iter().zip(page.column("owned_by")).collect()
}

/// Counts the audit events of an action.
async fn recorded(owner: &Actor, action: &str) -> usize {
    let events = owner.get(&format!("/v1/audit_events?per_page=100&action={action}")).await;
    assert_eq!(events.status, 200, "{events:?}");
    events.body["data"].as_array().unwrap().len()
}

#[tokio::test]
async fn who_is_removed_takes_along_what_only_they_could_give() {
    let world = World::start().await;
    let owner = world.owner("acme").await;
    world.clock.advance(Duration::from_secs(1));
    let leaving = world.member(&owner, Role::Owner).await;
    let mut invited = Vec::new();
    for at in 0..30 {
        let role = ["member", "admin", "owner"][at % 3];
        invited.push(invite(&leaving, &format!("guest-{at}@example.com"), role).await);
    }
    invited.sort_unstable();
    let kept = invite(&owner, "kept@example.com", "owner").await;
    for client in ["one", "two", "three"] {
        register(&world, &leaving, client).await;
    }
    register(&world, &owner, "own").await;

    let removed = owner.delete(&path(&leaving)).await;
    assert_eq!((&removed.body["id"], &removed.body["deleted"]), (&json!(leaving.user_id), &json!(true)));
    assert_eq!(ids(&removed, "ended_invitations"), invited);
    assert_eq!(ids(&removed, "handed_over_applications"), ["one", "three", "two"]);
    assert_eq!(recorded(&owner, "invitation.deleted").await, 30);
    assert_eq!(recorded(&owner, "application.updated").await, 3);
    let left = owner.get("/v1/invitations").await;
    assert_eq!((left.column("id"), &left.body["meta"]["total"]), (vec![kept], &json!(1)));
    let id = owner.user_id.as_ref().unwrap().to_string();
    assert!(owners(&owner).await.iter().all(|(_, owner)| *owner == id), "{:?}", owners(&owner).await);
    let listed = owner.get("/v1/applications").await;
    assert_eq!(
        listed.column("created_by").iter().filter(|by| **by != id).count(),
        3,
        "who registered it is still told"
    );
    invite(&owner, "guest-0@example.com", "member").await;
}

#[tokio::test]
async fn a_lower_role_ends_only_what_it_does_not_allow() {
    let world = World::start().await;
    let owner = world.owner("acme").await;
    let falling = world.member(&owner, Role::Owner).await;
    let to_owner = invite(&falling, "o@example.com", "owner").await;
    let to_admin = invite(&falling, "a@example.com", "admin").await;
    let to_member = invite(&falling, "m@example.com", "member").await;
    register(&world, &falling, "ci").await;

    let same = owner.put(&path(&falling), json!({"role": "owner"})).await;
    assert_eq!((ids(&same, "ended_invitations"), ids(&same, "handed_over_applications")), (vec![], vec![]));
    let demoted = owner.put(&path(&falling), json!({"role": "admin"})).await;
    assert_eq!(demoted.body["role"], "admin");
    assert_eq!(ids(&demoted, "ended_invitations"), [to_owner]);
    assert_eq!(ids(&demoted, "handed_over_applications"), ["ci"]);
    assert_eq!(demoted.body["handed_over_applications"][0]["owned_by"], json!(owner.user_id));
    let demoted = owner.put(&path(&falling), json!({"role": "member"})).await;
    let mut both = [to_admin, to_member];
    both.sort_unstable();
    assert_eq!(ids(&demoted, "ended_invitations"), both);
    assert_eq!(ids(&demoted, "handed_over_applications"), [""; 0]);
    assert_eq!(owner.get("/v1/invitations").await.body["meta"]["total"], 0);
}

#[tokio::test]
async fn the_applications_of_an_owner_who_leaves_go_to_the_longest_standing_owner() {
    let world = World::start().await;
    let first = world.owner("acme").await;
    let mut others = Vec::new();
    for _ in 0..3 {
        world.clock.advance(Duration::from_secs(1));
        others.push(world.member(&first, Role::Owner).await);
    }
    let owned_by = |actor: &Actor| vec![("ci".to_owned(), actor.user_id.as_ref().unwrap().to_string())];
    register(&world, &first, "ci").await;
    let left = first.delete(&path(&first)).await;
    assert_eq!(ids(&left, "handed_over_applications"), ["ci"]);
    assert_eq!(owners(&others[2]).await, owned_by(&others[0]));
    let demoted = others[0].put(&path(&others[0]), json!({"role": "member"})).await;
    assert_eq!(ids(&demoted, "handed_over_applications"), ["ci"]);
    assert_eq!(owners(&others[2]).await, owned_by(&others[1]));
}

#[tokio::test]
async fn members_of_another_account_are_nobody() {
    let world = World::start().await;
    let (owner, stranger) = (world.owner("acme").await, world.owner("globex").await);
    for id in [stranger.user_id.as_ref().unwrap().as_str(), "user_aaaaaaaaaaaaaaaa", "user_", "x"] {
        let path = format!("/v1/members/{id}");
        let refused = owner.put(&path, json!({"role": "member"})).await;
        assert_eq!(refused.refused(404, "not_found").body["error"]["message"], "Member not found");
        owner.delete(&path).await.refused(404, "not_found");
    }
    let listed: Value = stranger.get("/v1/members").await.body["data"][0]["role"].clone();
    assert_eq!(listed, "owner");
}
