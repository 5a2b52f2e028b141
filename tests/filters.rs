//! The filters of the lists of members, of tokens, and of a repository's deployments.

use std::time::Duration;

use aws_sdk_dynamodb::types::AttributeValue;
use serde_json::{Value, json};
use shared::model::Role;
use tests::copies::{multiply_deployment, multiply_member};
use tests::{Actor, Answer, GitRepository, World, embedded};

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

const DEPLOYMENTS: &str = "/v1/repositories/app/deployments";

async fn deploy(world: &World, actor: &Actor, body: Value) -> Value {
    world.clock.advance(Duration::from_millis(1));
    actor.deploy("app", body).await
}

#[tokio::test]
async fn deployments_of_a_repository_are_found_by_ref_commit_and_creator() {
    let world = World::start_without_queue().await;
    let owner = world.owner("acme").await;
    let ann = world.member(&owner, Role::Admin).await;
    let source = GitRepository::new(&[]);
    source.git(&["branch", "other"]);
    owner.repository("app", &source).await;
    owner.repository("site", &source).await;
    let staging = deploy(&world, &owner, json!({"ref": "main", "environment": "staging"})).await;
    let other = deploy(&world, &owner, json!({"ref": "other"})).await;
    let by_ann = deploy(&world, &ann, json!({"ref": "refs/heads/main", "environment": "staging"})).await;
    owner.deploy("site", json!({"ref": "main"})).await;
    source.commit(&[("README", "2")]);
    let newer = deploy(&world, &owner, json!({"ref": "main", "environment": "production"})).await;
    assert_eq!(owner.act(&staging, "cancel", json!({})).await.status, 200);
    let (me, sha) = (owner.user_id.as_ref().unwrap(), staging["sha"].as_str().unwrap());
    let ann_id = ann.user_id.as_ref().unwrap();
    for (query, expected) in [
        ("ref=main".to_owned(), vec![&newer, &staging]),
        ("ref=refs%2Fheads%2Fmain".to_owned(), vec![&newer, &by_ann, &staging]),
        ("ref=main&status=queued".to_owned(), vec![&newer]),
        ("ref=nothing".to_owned(), vec![]),
        (format!("sha={sha}"), vec![&by_ann, &other, &staging]),
        (format!("sha={sha}&environment=staging&direction=asc"), vec![&staging, &by_ann]),
        ("created_by=me".to_owned(), vec![&newer, &other, &staging]),
        (format!("created_by={me}&sha={sha}&status=canceled"), vec![&staging]),
        (format!("created_by={ann_id}&environment=staging"), vec![&by_ann]),
        ("status=queued&environment=production".to_owned(), vec![&newer]),
    ] {
        let expected: Vec<_> = expected.iter().map(|one| one["id"].as_str().unwrap()).collect();
        let found = get(&owner, &format!("{DEPLOYMENTS}?{query}")).await;
        assert_eq!(found.column("id"), expected, "{query}");
        assert_eq!(found.body["meta"]["total"], expected.len(), "{query}");
        let pages = owner.walk(&format!("{DEPLOYMENTS}?{query}&per_page=1"), "next").await;
        let walked: Vec<_> = pages.iter().flat_map(|page| page.column("id")).collect();
        assert_eq!(walked, expected, "the links keep {query}");
        let account = get(&owner, &format!("/v1/deployments?repository=app&{query}")).await;
        assert_eq!(account.column("id"), expected, "the account's list has the same for {query}");
    }
    let mut whole = get(&owner, &format!("{DEPLOYMENTS}?status=queued")).await.body;
    whole["data"].as_array_mut().unwrap().retain(|one| one["created_by"] == ann_id.as_str());
    let found = get(&owner, &format!("{DEPLOYMENTS}?created_by={ann_id}")).await.body;
    assert_eq!(found["data"], whole["data"], "an item is the same in each list");
    assert!(found["actors"][ann_id.as_str()].is_object(), "{:?}", found["actors"]);

    for (query, fields) in [
        ("ref=&sha=main&created_by=you", vec!["ref", "sha", "created_by"]),
        ("awaiting=me", vec!["awaiting"]),
        ("repository=site", vec!["repository"]),
    ] {
        let refused = owner.get(&format!("{DEPLOYMENTS}?{query}")).await;
        let details = &refused.refused(400, "invalid_request").body["error"]["details"];
        let named: Vec<_> =
            details.as_array().unwrap().iter().map(|detail| detail["field"].as_str().unwrap()).collect();
        assert_eq!(named, fields, "{query}");
    }
}

#[tokio::test]
async fn a_search_for_deployments_costs_a_bounded_number_of_reads() {
    let world = World::start_with(embedded).await;
    let owner = world.owner("acme").await;
    let source = GitRepository::with_commands(&["true"]);
    owner.repository("app", &source).await;
    let model = owner.ended(&owner.deploy("app", json!({"ref": "main"})).await).await;
    multiply_deployment(&world, &model, 2500).await;
    source.git(&["branch", "other"]);
    let other = owner.ended(&deploy(&world, &owner, json!({"ref": "other"})).await).await;

    // The deployment is the newest: the last one of all, if the oldest come first.
    let path = format!("{DEPLOYMENTS}?ref=other&direction=asc");
    let pages = owner.walk(&path, "next").await;
    let found: Vec<_> = pages.iter().map(|page| page.column("id")).collect();
    assert_eq!(
        found,
        [vec![], vec![], vec![other["id"].as_str().unwrap().to_owned()]],
        "a page is short rather than slow"
    );
    assert!(pages.iter().all(|page| page.body["meta"]["total"].is_null()), "{:?}", pages[0].body["meta"]);
    let of_account = get(&owner, "/v1/deployments?repository=app&ref=other&direction=asc").await;
    assert_eq!(world.cost(&pages[0]), world.cost(&of_account), "the account's list costs as much");

    // A page that is full ends the search, and each page has the next ones.
    let pages = owner.walk(&format!("{DEPLOYMENTS}?ref=main&per_page=100&status=succeeded"), "next").await;
    assert!(pages.iter().all(|page| page.column("id").len() == 100), "{}", pages.len());
    let mut ids: Vec<_> = pages.iter().flat_map(|page| page.column("id")).collect();
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), 2500);
}
