//! The filters of the lists of members and tokens.

use std::time::Duration;

use aws_sdk_dynamodb::types::AttributeValue;
use serde_json::{Value, json};
use shared::model::Role;
use tests::copies::multiply_member;
use tests::{Actor, Answer, World, embedded};

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

async fn get(actor: &Actor, path: &str) -> Answer {
    let page = actor.get(path).await;
    assert_eq!(page.status, 200, "{path}: {page:?}");
    page
}

/// Adds a user with this address.
async fn member(world: &World, owner: &Actor, role: Role, email: &str) -> Actor {
    world.clock.advance(Duration::from_secs(1));
    let member = world.member(owner, role).await;
    let account = format!("ACCT#{}", owner.account_id.as_ref().unwrap());
    let row = format!("USER#{}", member.user_id.as_ref().unwrap());
    world.set_attribute((&account, &row), "email", AttributeValue::S(email.to_owned())).await;
    member
}

async fn token(world: &World, actor: &Actor, body: Value) {
    world.clock.advance(Duration::from_secs(1));
    let created = actor.post("/v1/tokens", body).await;
    assert_eq!(created.status, 201, "{created:?}");
}

#[tokio::test]
async fn members_are_found_by_role_and_by_the_start_of_their_address() {
    let world = World::start_without_queue().await;
    let owner = world.owner("acme").await;
    for (role, email) in [
        (Role::Member, "ada@acme.example"),
        (Role::Admin, "Adam+ci@acme.example"),
        (Role::Member, "ben@acme.example"),
        (Role::Admin, "ada@globex.example"),
    ] {
        member(&world, &owner, role, email).await;
    }
    let all = get(&owner, "/v1/members").await;
    assert_eq!(all.body["meta"], json!({"total": 5, "page": 1, "per_page": 10}));
    for (query, emails) in [
        ("role=admin", vec!["ada@globex.example", "Adam+ci@acme.example"]),
        ("role=admin&direction=asc", vec!["Adam+ci@acme.example", "ada@globex.example"]),
        ("email=ada", vec!["ada@globex.example", "Adam+ci@acme.example", "ada@acme.example"]),
        ("email=ADA%40", vec!["ada@globex.example", "ada@acme.example"]),
        ("email=adam%2Bci", vec!["Adam+ci@acme.example"]),
        ("email=ada&role=member", vec!["ada@acme.example"]),
        ("email=acme", vec![]),
    ] {
        let found = get(&owner, &format!("/v1/members?{query}")).await;
        assert_eq!(found.column("email"), emails, "{query}");
        assert_eq!(found.body["meta"]["total"], emails.len(), "{query}");
        let pages = owner.walk(&format!("/v1/members?{query}&per_page=1"), "next").await;
        let walked: Vec<_> = pages.iter().flat_map(|page| page.column("email")).collect();
        assert_eq!(walked, emails, "the links keep {query}");
    }
    for (query, field) in [("role=boss", "role"), ("email=", "email"), ("email=a%20b", "email"), ("name=a", "name")] {
        let refused = owner.get(&format!("/v1/members?{query}")).await;
        let details = &refused.refused(400, "invalid_request").body["error"]["details"];
        assert_eq!(details[0]["field"], field, "{query}");
    }
}

#[tokio::test]
async fn a_search_reads_more_members_than_a_page_shows() {
    let world = World::start_with(embedded).await;
    let owner = world.owner("acme").await;
    let person = member(&world, &owner, Role::Member, "person@example.com").await;
    multiply_member(&world, person.user_id.as_ref().unwrap().as_str(), 2500).await;

    // The owner is the oldest: the last one of all.
    let pages = owner.walk("/v1/members?role=owner", "next").await;
    let sizes: Vec<_> = pages.iter().map(|page| page.column("email").len()).collect();
    assert_eq!(sizes, [0, 0, 1], "a page is short rather than slow");
    assert!(pages.iter().all(|page| page.body["meta"]["total"].is_null()), "{:?}", pages[0].body["meta"]);
    let found = get(&owner, "/v1/members?role=owner&direction=asc").await;
    assert_eq!((found.column("email").len(), found.link("next").is_some()), (1, true));

    // The pages have each match once, in both directions.
    let path = "/v1/members?email=person-0010&per_page=7";
    let pages = owner.walk(path, "next").await;
    let mut forward: Vec<_> = pages.iter().flat_map(|page| page.column("email")).collect();
    let mut back = owner.walk(&pages.last().unwrap().link("prev").unwrap(), "prev").await;
    back.reverse();
    let back = back.iter().flat_map(|page| page.column("email"));
    let back: Vec<_> = back.chain(pages.last().unwrap().column("email")).collect();
    assert_eq!(back, forward, "backward");
    forward.sort_unstable();
    let expected: Vec<_> = (1000..1100).map(|n| format!("person-{n:06}@example.com")).collect();
    assert_eq!(forward, expected);
}

#[tokio::test]
async fn tokens_are_found_by_user_name_scope_and_expiry() {
    let world = World::start_without_queue().await;
    let owner = world.owner("acme").await;
    let (ann, ben) = (world.member(&owner, Role::Admin).await, world.member(&owner, Role::Member).await);
    token(&world, &ann, json!({"name": "CI deploy", "scopes": ["deployments:read"], "expires_in_days": 7})).await;
    token(&world, &ben, json!({"name": "ci read", "scopes": ["repositories:read"], "expires_in_days": 30})).await;
    token(&world, &ben, json!({"name": "Ärger", "scopes": ["repositories:read"], "permanent": true})).await;
    token(&world, &owner, json!({"name": "ci", "scopes": ["repositories:read", "deployments:read"]})).await;
    let in_days = |days: u32| format!("expires_before={}", world.clock.now().plus(DAY * days));
    let (ann_id, ben_id) = (ann.user_id.as_ref().unwrap(), ben.user_id.as_ref().unwrap());
    // Each user has one more token, `test`, with all scopes, that is permanent.
    for (query, names) in [
        ("user=all&name=ci".to_owned(), vec!["ci", "ci read", "CI deploy"]),
        ("name=CI".to_owned(), vec!["ci"]),
        ("user=all&name=%C3%A4r".to_owned(), vec!["Ärger"]),
        (format!("user=all&{}", in_days(8)), vec!["CI deploy"]),
        (format!("user=all&{}", in_days(31)), vec!["ci read", "CI deploy"]),
        (format!("user=all&name=ci&{}", in_days(365)), vec!["ci", "ci read", "CI deploy"]),
        (format!("user={ben_id}&name=ci"), vec!["ci read"]),
        (format!("user={ann_id}&scope=repositories:read&name=ci"), vec![]),
        ("user=all&scope=deployments:read&name=ci".to_owned(), vec!["ci", "CI deploy"]),
    ] {
        let found = get(&owner, &format!("/v1/tokens?{query}")).await;
        assert_eq!(found.column("name"), names, "{query}");
        assert_eq!(found.body["meta"]["total"], names.len(), "{query}");
        let pages = owner.walk(&format!("/v1/tokens?{query}&per_page=1"), "next").await;
        let walked: Vec<_> = pages.iter().flat_map(|page| page.column("name")).collect();
        assert_eq!(walked, names, "the links keep {query}");
    }
    let of_ben = get(&owner, &format!("/v1/tokens?user={ben_id}")).await;
    assert_eq!(of_ben.column("name"), ["Ärger", "ci read", "test"]);
    assert_eq!(of_ben.body["meta"]["total"], 3);
    assert_eq!(get(&owner, "/v1/tokens?user=user_aaaaaaaaaaaaaaaa").await.body["meta"]["total"], 0);

    for (query, field) in [
        ("scope=all", "scope"),
        ("expires_before=soon", "expires_before"),
        ("name=", "name"),
        ("created_by=me", "created_by"),
    ] {
        let refused = owner.get(&format!("/v1/tokens?{query}")).await;
        let details = &refused.refused(400, "invalid_request").body["error"]["details"];
        assert_eq!(details[0]["field"], field, "{query}");
    }

    // A member sees only their own.
    assert_eq!(get(&ben, &format!("/v1/tokens?user={ben_id}&name=ci")).await.column("name"), ["ci read"]);
    for others in [format!("user={ann_id}"), "user=all&name=ci".to_owned(), "user=user_aaaaaaaaaaaaaaaa".to_owned()] {
        ben.get(&format!("/v1/tokens?{others}")).await.refused(403, "insufficient_permission");
    }
    let expired = format!("/v1/tokens?user=all&expires_before={}", world.clock.now().plus(DAY * 8));
    world.clock.advance(DAY * 8);
    assert_eq!(
        get(&owner, &expired).await.column("name"),
        ["CI deploy"],
        "what has expired is found until it is deleted"
    );
}
