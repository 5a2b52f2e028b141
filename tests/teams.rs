use std::collections::{BTreeSet, HashMap};
use std::time::Duration;

use aws_sdk_dynamodb::types::AttributeValue;
use reqwest::header::IF_MATCH;
use reqwest::{Method, RequestBuilder};
use serde_json::{Value, json};
use shared::model::Role;
use tests::{Actor, Answer, GitRepository, World};

fn path(team: &Value) -> String {
    format!("/v1/teams/{}", team["id"].as_str().unwrap())
}

fn member_path(team: &Value, member: &Actor) -> String {
    format!("{}/members/{}", path(team), member.user_id.as_ref().unwrap())
}

async fn patch_if(actor: &Actor, team: &Value, etag: &str, body: Value) -> Answer {
    let request: RequestBuilder = actor.request(Method::PATCH, &path(team)).header(IF_MATCH, etag).json(&body);
    actor.send(request).await
}

#[tokio::test]
async fn a_team_is_created_read_changed_and_deleted() {
    let world = World::start().await;
    let owner = world.owner("acme").await;
    let created = owner.post("/v1/teams", json!({"name": "Platform", "description": "Runs the shop"})).await;
    assert_eq!(created.status, 201, "{created:?}");
    let team = created.body.clone();
    assert_eq!(created.header("location"), format!("{}{}", world.stack.url(), path(&team)));
    let expected = json!({
        "id": team["id"], "name": "Platform", "description": "Runs the shop",
        "created_at": "2026-01-01T12:00:00Z", "updated_at": "2026-01-01T12:00:00Z",
    });
    assert_eq!(team, expected);
    let found = owner.get(&path(&team)).await;
    assert_eq!((found.status, &found.body, found.header("etag")), (200, &team, created.header("etag")));

    world.clock.advance(Duration::from_secs(60));
    let changed = owner.patch(&path(&team), json!({"name": "Core"})).await;
    assert_eq!(changed.status, 200, "{changed:?}");
    let expected = json!({
        "id": team["id"], "name": "Core", "description": "Runs the shop",
        "created_at": "2026-01-01T12:00:00Z", "updated_at": "2026-01-01T12:01:00Z",
    });
    assert_eq!(changed.body, expected);
    assert_ne!(changed.header("etag"), created.header("etag"));
    let found = owner.get(&path(&team)).await;
    assert_eq!((&found.body, found.header("etag")), (&changed.body, changed.header("etag")));
    owner.team("platform").await;
    world.clock.advance(Duration::from_secs(60));
    for nothing_new in [json!({}), json!({"name": "Core", "description": "Runs the shop"})] {
        let unchanged = owner.patch(&path(&team), nothing_new).await;
        let seen = (unchanged.status, &unchanged.body, unchanged.header("etag"));
        assert_eq!(seen, (200, &changed.body, changed.header("etag")), "nothing has changed");
    }

    let deleted = owner.delete(&path(&team)).await;
    assert_eq!((deleted.status, &deleted.body), (200, &json!({"id": team["id"], "deleted": true})));
    owner.get(&path(&team)).await.refused(404, "not_found");
    owner.patch(&path(&team), json!({"name": "x"})).await.refused(404, "not_found");
    owner.delete(&path(&team)).await.refused(404, "not_found");
    let listed = owner.get("/v1/teams").await;
    assert_eq!((listed.column("name"), &listed.body["meta"]["total"]), (vec!["platform".to_owned()], &json!(1)));
    owner.team("Core").await;
}

#[tokio::test]
async fn a_name_is_one_teams_whatever_its_case() {
    let world = World::start().await;
    let (owner, stranger) = (world.owner("acme").await, world.owner("globex").await);
    let team = owner.team("Platform").await;
    let other = owner.team("Other").await;
    let refused = owner.post("/v1/teams", json!({"name": "PLATFORM"})).await;
    refused.refused(409, "name_taken");
    assert_eq!(refused.body["error"]["message"], "The account already has a team named 'PLATFORM'");
    owner.patch(&path(&other), json!({"name": "platform"})).await.refused(409, "name_taken");
    assert_eq!(owner.get(&path(&other)).await.body["name"], "Other");
    // A team may change the case of its own name.
    assert_eq!(owner.patch(&path(&team), json!({"name": "PLATform"})).await.body["name"], "PLATform");
    stranger.team("Platform").await;
    assert_eq!(owner.get("/v1/teams").await.body["meta"]["total"], 2);
}

#[tokio::test]
async fn what_a_team_can_not_be_is_named() {
    let world = World::start().await;
    let owner = world.owner("acme").await;
    let team = owner.team("Platform").await;
    let name = "must be 1 to 100 characters: A-Z, a-z, 0-9, '.', '_', '-', and single spaces between them";
    let description =
        "must be at most 300 characters, without ones that can't be seen, such as control and zero-width characters";
    let (double, long) = ("a  b", "a".repeat(101));
    for (body, field, message) in [
        (json!({}), "name", "is required"),
        (json!({"name": ""}), "name", name),
        (json!({"name": " a"}), "name", name),
        (json!({"name": double}), "name", name),
        (json!({"name": long}), "name", name),
        (json!({"name": "ü"}), "name", name),
        (json!({"name": "a", "description": "x".repeat(301)}), "description", description),
        (json!({"name": "a", "description": "runs\u{200b}the shop"}), "description", description),
        (json!({"name": "a", "description": "\u{202e}pohs eht snur"}), "description", description),
        (json!({"name": "a", "description": "bell\u{7}"}), "description", description),
        (json!({"name": "a", "members": []}), "members", "is not one of `name` or `description`"),
    ] {
        let refused = owner.post("/v1/teams", body.clone()).await;
        refused.refused(400, "invalid_request");
        assert_eq!(refused.body["error"]["details"], json!([{"field": field, "message": message}]), "{body}");
        if body != json!({}) {
            owner.patch(&path(&team), body).await.refused(400, "invalid_request");
        }
    }
    for etag in ["", "1", "\"1", "\"1\" \"2\"", "\"1\",", "*, \"1\"", "w/\"1\""] {
        let refused = patch_if(&owner, &team, etag, json!({"name": "a"})).await;
        refused.refused(400, "invalid_request");
        let details = json!([{"field": "if-match", "message": "must be `*` or a list of ETags"}]);
        assert_eq!(refused.body["error"]["details"], details, "{etag}");
    }
    let listed = patch_if(&owner, &team, "\"0.a\", W/\"1.a\",\"1.a\"", json!({"name": "Platform"})).await;
    assert_eq!(listed.status, 200, "{listed:?}");
    let refused = owner.put(&format!("{}/repositories/app", path(&team)), json!({"permission": "write"})).await;
    refused.refused(404, "not_found");
    assert_eq!(owner.get("/v1/teams").await.body["meta"]["total"], 1);
}

#[tokio::test]
async fn a_change_of_what_somebody_else_has_changed_is_refused() {
    let world = World::start().await;
    let owner = world.owner("acme").await;
    let team = owner.team("Platform").await;
    let seen = owner.get(&path(&team)).await.header("etag").to_owned();
    let theirs = patch_if(&owner, &team, &seen, json!({"description": "theirs"})).await;
    assert_eq!(theirs.status, 200, "{theirs:?}");
    let mine = patch_if(&owner, &team, &seen, json!({"description": "mine"})).await;
    mine.refused(412, "precondition_failed");
    assert_eq!(owner.get(&path(&team)).await.body["description"], "theirs");
    for etag in [&format!("W/{}", theirs.header("etag")), "\"x\"", "\"\""] {
        patch_if(&owner, &team, etag, json!({"description": "mine"})).await.refused(412, "precondition_failed");
    }
    let several = format!("{seen}, {}", theirs.header("etag"));
    assert_eq!(patch_if(&owner, &team, &several, json!({"description": "again"})).await.status, 200);
    assert_eq!(patch_if(&owner, &team, "*", json!({"description": "any"})).await.status, 200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_changes_at_once_with_the_same_etag_one_is_made_and_without_an_etag_none_is_lost() {
    let world = World::start().await;
    let owner = world.owner("acme").await;
    let team = owner.team("Platform").await;
    let seen = owner.get(&path(&team)).await.header("etag").to_owned();
    let mut changes = tokio::task::JoinSet::new();
    for n in 0..8 {
        let (owner, team, seen) = (owner.clone(), team.clone(), seen.clone());
        changes.spawn(async move { patch_if(&owner, &team, &seen, json!({"description": n.to_string()})).await });
    }
    let answers = changes.join_all().await;
    let (made, refused): (Vec<Answer>, Vec<Answer>) = answers.into_iter().partition(|answer| answer.status == 200);
    assert_eq!((made.len(), refused.len()), (1, 7));
    for answer in refused {
        answer.refused(412, "precondition_failed");
    }
    assert_eq!(owner.get(&path(&team)).await.body, made[0].body);

    // One request changes the name and one the description. Both changes persist.
    let mut changes = tokio::task::JoinSet::new();
    for body in [json!({"name": "Core"}), json!({"description": "of all"})] {
        let (owner, team) = (owner.clone(), team.clone());
        changes.spawn(async move { owner.patch(&path(&team), body).await.status });
    }
    assert_eq!(changes.join_all().await, [200, 200]);
    let found = owner.get(&path(&team)).await.body;
    assert_eq!((&found["name"], &found["description"]), (&json!("Core"), &json!("of all")));
    owner.team("Platform").await;
}

#[tokio::test]
async fn members_come_and_go_and_are_counted_once() {
    let world = World::start().await;
    let owner = world.owner("acme").await;
    let team = owner.team("Platform").await;
    let (ada, ben) = (world.member(&owner, Role::Member).await, world.member(&owner, Role::Admin).await);
    let added = owner.put(&member_path(&team, &ada), json!({})).await;
    assert_eq!(added.status, 200, "{added:?}");
    assert_eq!(added.body["member"]["id"], ada.user_id.as_ref().unwrap().as_str());
    assert_eq!(
        (&added.body["member"]["role"], &added.body["added_at"]),
        (&json!("member"), &json!("2026-01-01T12:00:00Z"))
    );
    world.clock.advance(Duration::from_secs(60));
    let again = owner.put(&member_path(&team, &ada), json!({})).await;
    assert_eq!((again.status, &again.body), (200, &added.body), "nothing changes");
    let ben_added = owner.put(&member_path(&team, &ben), json!({})).await;

    let listed = owner.get(&format!("{}/members", path(&team))).await;
    assert_eq!(listed.body["data"], json!([ben_added.body, added.body]));
    assert_eq!(listed.body["meta"], json!({"total": 2, "page": 1, "per_page": 10}));
    let first = owner.get(&format!("{}/members?per_page=1", path(&team))).await;
    let second = owner.get(&first.link("next").unwrap()).await;
    assert_eq!(second.body["data"], json!([added.body]));
    owner.get(&format!("{}/members?sort=name", path(&team))).await.refused(400, "invalid_request");

    let removed = owner.delete(&member_path(&team, &ada)).await;
    assert_eq!(removed.status, 200);
    let message =
        owner.delete(&member_path(&team, &ada)).await.refused(404, "not_found").body["error"]["message"].clone();
    assert_eq!(message, "Team member not found");
    let stranger = world.owner("globex").await;
    for nobody in [stranger.user_id.as_ref().unwrap().as_str(), "user_aaaaaaaaaaaaaaaa", "user_", "me"] {
        let refused = owner.put(&format!("{}/members/{nobody}", path(&team)), json!({})).await;
        assert_eq!(refused.refused(404, "not_found").body["error"]["message"], "Member not found");
    }
    let listed = owner.get(&format!("{}/members", path(&team))).await;
    assert_eq!((&listed.body["data"], &listed.body["meta"]["total"]), (&json!([ben_added.body]), &json!(1)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn somebody_who_is_added_and_removed_from_all_sides_is_counted_exactly() {
    let world = World::start().await;
    let owner = world.owner("acme").await;
    let team = owner.team("Platform").await;
    let ada = world.member(&owner, Role::Member).await;
    for _ in 0..3 {
        let mut calls = tokio::task::JoinSet::new();
        for n in 0..8 {
            let (owner, path) = (owner.clone(), member_path(&team, &ada));
            calls.spawn(async move {
                if n % 2 == 0 { owner.put(&path, json!({})).await } else { owner.delete(&path).await }
            });
        }
        for answer in calls.join_all().await {
            assert!([200, 404].contains(&answer.status), "{answer:?}");
        }
        let listed = owner.get(&format!("{}/members", path(&team))).await;
        assert_eq!(listed.body["meta"]["total"], listed.body["data"].as_array().unwrap().len(), "{listed:?}");
    }
}

#[tokio::test]
async fn a_teams_repositories_have_its_permission() {
    let world = World::start().await;
    let owner = world.owner("acme").await;
    let source = GitRepository::new(&[]);
    let (app, docs) = (owner.repository("app", &source).await, owner.repository("docs", &source).await);
    let team = owner.team("Platform").await;
    let grants = format!("{}/repositories", path(&team));
    let added = owner.put(&format!("{grants}/app"), json!({"permission": "read"})).await;
    let expected = json!({"repository": app, "permission": "read", "added_at": "2026-01-01T12:00:00Z"});
    assert_eq!((added.status, &added.body), (200, &expected));
    world.clock.advance(Duration::from_secs(60));
    let raised = owner.put(&format!("{grants}/{}", app["id"].as_str().unwrap()), json!({"permission": "admin"})).await;
    let expected = json!({"repository": app, "permission": "admin", "added_at": "2026-01-01T12:00:00Z"});
    assert_eq!((raised.status, &raised.body), (200, &expected));
    let by_full_name = owner.put(&format!("{grants}/acme%2Fdocs"), json!({"permission": "deploy"})).await;
    assert_eq!((by_full_name.status, &by_full_name.body["repository"]), (200, &docs));
    let listed = owner.get(&grants).await;
    assert_eq!(listed.body["data"], json!([by_full_name.body, raised.body]));
    assert_eq!(listed.body["meta"]["total"], 2);

    let removed = owner.delete(&format!("{grants}/app")).await;
    assert_eq!(removed.status, 200);
    let again = owner.delete(&format!("{grants}/app")).await;
    assert_eq!(again.refused(404, "not_found").body["error"]["message"], "Team repository not found");
    owner.put(&format!("{grants}/nope"), json!({"permission": "read"})).await.refused(404, "not_found");
    let refused = owner.put(&format!("{grants}/app"), json!({"permission": "write"})).await;
    let details = json!([{"field": "permission", "message": "must be one of `read`, `deploy`, `admin`"}]);
    assert_eq!(refused.refused(400, "invalid_request").body["error"]["details"], details);
    assert_eq!(owner.get(&grants).await.body["meta"]["total"], 1);
}

#[tokio::test]
async fn a_member_sees_the_teams_that_they_are_in() {
    let world = World::start().await;
    let owner = world.owner("acme").await;
    let ada = world.member(&owner, Role::Member).await;
    let admin = world.member(&owner, Role::Admin).await;
    let mut own = Vec::new();
    for n in 0..12 {
        let team = owner.team(&format!("team {:02}", n * 5 % 12)).await;
        world.clock.advance(Duration::from_secs(1));
        if n % 2 == 0 {
            owner.add_to_team(&team, &ada).await;
            own.push(team);
        } else {
            for path in [path(&team), format!("{}/members", path(&team)), format!("{}/repositories", path(&team))] {
                assert_eq!(ada.get(&path).await.refused(404, "not_found").body["error"]["message"], "Team not found");
                assert_eq!(admin.get(&path).await.status, 200);
            }
        }
    }
    world.callers_are_forgotten();
    let listed = ada.get("/v1/teams?direction=asc").await;
    assert_eq!((&listed.body["data"], &listed.body["meta"]["total"]), (&json!(own), &json!(6)));
    let first = ada.get("/v1/teams?sort=name&per_page=4").await;
    let second = ada.get(&first.link("next").unwrap()).await;
    let names: BTreeSet<_> = own.iter().map(|team| team["name"].as_str().unwrap().to_owned()).collect();
    assert_eq!([first.column("name"), second.column("name")].concat(), names.into_iter().collect::<Vec<_>>());
    assert_eq!(second.link("next"), None);
    assert_eq!(ada.get(&path(&own[0])).await.body, own[0]);
    assert_eq!(admin.get("/v1/teams").await.body["meta"]["total"], 12);
}

#[tokio::test]
async fn a_deleted_team_gives_nobody_anything() {
    let world = World::start().await;
    let owner = world.owner("acme").await;
    let source = GitRepository::new(&[]);
    owner.repository("app", &source).await;
    world.set_base_permission(&owner, "none").await;
    let (team, kept) = (owner.team("Platform").await, owner.team("Kept").await);
    let mut members = Vec::new();
    for _ in 0..20 {
        let member = world.member(&owner, Role::Member).await;
        owner.add_to_team(&team, &member).await;
        members.push(member);
    }
    owner.add_to_team(&kept, &members[0]).await;
    owner.grant(&team, "app", "admin").await;
    assert_eq!(members[1].get("/v1/repositories/app").await.status, 200);
    // A user who has left the account meanwhile is no obstacle.
    assert_eq!(owner.delete(&format!("/v1/members/{}", members[2].user_id.as_ref().unwrap())).await.status, 200);

    assert_eq!(owner.delete(&path(&team)).await.status, 200);
    members[1].get("/v1/repositories/app").await.refused(404, "not_found");
    let table = world.stack.app().table();
    let items = table.client().scan().table_name(table.name()).send().await.unwrap();
    let is_kept = |item: &&HashMap<String, AttributeValue>| !item["pk"].as_s().unwrap().ends_with("#AUDIT");
    let left: Vec<_> = items.items().iter().filter(is_kept).map(|item| format!("{item:?}")).collect();
    assert!(left.iter().all(|item| !item.contains(team["id"].as_str().unwrap())), "only the audit log names it");
    world.callers_are_forgotten();
    assert_eq!(members[0].get("/v1/teams").await.body["data"], json!([kept]));
    assert_eq!(members[1].get("/v1/teams").await.body["meta"]["total"], 0);
    // A new team with this name has no members and no repositories.
    let again = owner.team("Platform").await;
    assert_eq!(owner.get(&format!("{}/members", path(&again))).await.body["meta"]["total"], 0);
}

#[tokio::test]
async fn there_is_a_bound_to_the_teams_of_a_user_and_of_a_repository() {
    let world = World::start().await;
    let owner = world.owner("acme").await;
    let ada = world.member(&owner, Role::Member).await;
    let source = GitRepository::new(&[]);
    owner.repository("app", &source).await;
    let mut teams = Vec::new();
    for n in 0..101 {
        teams.push(owner.team(&format!("team-{n}")).await);
    }
    for team in &teams[..100] {
        owner.add_to_team(team, &ada).await;
    }
    let refused = owner.put(&member_path(&teams[100], &ada), json!({})).await;
    assert_eq!(refused.refused(409, "limit_reached").body["error"]["message"], "A user can be in at most 100 teams");
    assert_eq!(owner.get(&format!("{}/members", path(&teams[100]))).await.body["meta"]["total"], 0);
    assert_eq!(owner.put(&member_path(&teams[7], &ada), json!({})).await.status, 200, "that is nothing new");
    world.callers_are_forgotten();
    let listed = ada.get("/v1/teams?per_page=100").await;
    assert_eq!((listed.body["data"].as_array().unwrap().len(), &listed.body["meta"]["total"]), (100, &json!(100)));

    for team in &teams[..50] {
        owner.grant(team, "app", "deploy").await;
    }
    let refused = owner.put(&format!("{}/repositories/app", path(&teams[50])), json!({"permission": "deploy"})).await;
    let message = "At most 50 teams can have the same permission on a repository";
    assert_eq!(refused.refused(409, "limit_reached").body["error"]["message"], message);
    owner.grant(&teams[50], "app", "read").await;
    assert_eq!(owner.get(&format!("{}/repositories", path(&teams[50]))).await.body["meta"]["total"], 1);
}
