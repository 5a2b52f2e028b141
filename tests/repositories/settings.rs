//! The settings of repositories.
//!
//! The tests of build machines are in tests/codebuild/machine.rs.

use std::time::Duration;

use serde_json::{Value, json};
use shared::model::Role;
use tests::{GitRepository, World};

/// Returns the settings of which each has another value than the default.
fn settings() -> Value {
    json!({
        "root_folder": "apps/web", "buildspec_path": "ci/build.yml", "fetch_depth": 50, "cache": false,
        "image": "aws/codebuild/amazonlinux-aarch64-standard:3.0", "compute_type": "BUILD_GENERAL1_SMALL",
        "deploy_rules": [
            {"refs": ["main", "release/*"], "environment": "production", "paths": ["apps/web/**", "!**/*.md"]},
            {"refs": ["tags/v*"], "environment": "staging", "paths": []},
        ],
    })
}

#[tokio::test]
async fn settings_can_be_given_at_creation() {
    let world = World::start().await;
    let owner = world.owner("acme").await;
    let source = GitRepository::new(&[]);
    let mut new = settings();
    new["name"] = "app".into();
    new["clone_url"] = source.url().into();
    let created = owner.post("/v1/repositories", new).await;
    assert_eq!(created.status, 201, "{created:?}");
    for (field, value) in settings().as_object().unwrap() {
        assert_eq!(created.body[field], *value, "{field}");
    }
    assert_eq!(owner.get("/v1/repositories/app").await.body, created.body);
    let events = owner.get("/v1/audit_events").await.body;
    let of_creation = |event: &&Value| event["action"] == "repository.created";
    let event = events["data"].as_array().unwrap().iter().find(of_creation).unwrap();
    let root_folder = json!({"field": "root_folder", "from": null, "to": "apps/web"});
    assert!(event["changes"].as_array().unwrap().contains(&root_folder), "{event}");
}

#[tokio::test]
async fn settings_are_changed_kept_and_reset() {
    let world = World::start_without_queue().await;
    let (owner, _source) = world.app().await;
    let before = owner.get("/v1/repositories/app").await.body;
    world.clock.advance(Duration::from_secs(60));
    let changed = owner.patch("/v1/repositories/app", settings()).await;
    let mut expected = before.clone();
    expected.as_object_mut().unwrap().extend(settings().as_object().unwrap().clone());
    expected["updated_at"] = "2026-01-01T12:01:00Z".into();
    assert_eq!((changed.status, &changed.body), (200, &expected));
    assert_eq!(owner.get("/v1/repositories/app").await.body, expected);
    let event = &owner.get("/v1/audit_events").await.body["data"][0];
    assert_eq!((&event["action"], &event["target"]["name"]), (&json!("repository.updated"), &json!("app")));
    let fields: Vec<_> = event["changes"].as_array().unwrap().iter().map(|change| change["field"].clone()).collect();
    assert_eq!(
        fields,
        ["root_folder", "buildspec_path", "fetch_depth", "cache", "image", "compute_type", "deploy_rules"]
    );

    // What is so already changes nothing, and makes no event.
    world.clock.advance(Duration::from_secs(60));
    for same in [json!({}), settings(), json!({"name": "app", "fetch_depth": 50})] {
        assert_eq!(owner.patch("/v1/repositories/app", same).await.body, expected);
    }
    assert_eq!(owner.get("/v1/audit_events").await.body["data"][0], *event);

    let one = owner.patch("/v1/repositories/app", json!({"fetch_depth": 2})).await;
    assert_eq!((&one.body["fetch_depth"], &one.body["root_folder"]), (&json!(2), &json!("apps/web")));
    let reset = json!({
        "root_folder": null, "buildspec_path": null, "fetch_depth": null, "cache": null, "image": null,
        "compute_type": null, "privileged": null, "deploy_rules": null, "default_branch": null,
    });
    let reset = owner.patch("/v1/repositories/app", reset).await;
    let mut expected = before;
    expected["updated_at"] = "2026-01-01T12:02:00Z".into();
    assert_eq!(reset.body, expected);
}

#[tokio::test]
async fn a_wrong_setting_is_told_by_its_place() {
    let world = World::start_without_queue().await;
    let (owner, source) = world.app().await;
    let before = owner.get("/v1/repositories/app").await.body;
    for (field, change) in [
        ("root_folder", json!({"root_folder": "../app"})),
        ("root_folder", json!({"root_folder": "/app"})),
        ("buildspec_path", json!({"buildspec_path": ""})),
        ("buildspec_path", json!({"buildspec_path": "ci/../../build.yml"})),
        ("fetch_depth", json!({"fetch_depth": 0})),
        ("fetch_depth", json!({"fetch_depth": 1001})),
        ("deploy_rules[0].refs[1]", json!({"deploy_rules": [{"refs": ["main", "a[b"], "environment": "preview"}]})),
        ("deploy_rules[0].refs", json!({"deploy_rules": [{"refs": [], "environment": "preview"}]})),
        (
            "deploy_rules[0].paths[0]",
            json!({"deploy_rules": [{"refs": ["a"], "environment": "preview", "paths": ["/a"]}]}),
        ),
        ("deploy_rules[0].environment", json!({"deploy_rules": [{"refs": ["a"], "environment": "live"}]})),
        ("name", json!({"name": null})),
        ("name", json!({"name": "a b"})),
        ("visibility", json!({"visibility": null})),
        ("clone_url", json!({"clone_url": null})),
        ("default_branch", json!({"default_branch": "a..b"})),
        ("branch", json!({"branch": "main"})),
    ] {
        let refused = owner.patch("/v1/repositories/app", change.clone()).await;
        refused.refused(400, "invalid_request");
        assert_eq!(refused.body["error"]["details"][0]["field"], field, "{change}");
        if ["name", "default_branch", "visibility", "branch"].contains(&field) {
            continue;
        }
        let mut new = change;
        new["name"] = "other".into();
        if field != "clone_url" {
            new["clone_url"] = source.url().into();
        }
        let refused = owner.post("/v1/repositories", new).await;
        assert_eq!(refused.refused(400, "invalid_request").body["error"]["details"][0]["field"], field);
    }
    assert_eq!(owner.get("/v1/repositories/app").await.body, before);
}

#[tokio::test]
async fn a_clone_url_and_a_default_branch_are_checked_at_the_git_host() {
    let world = World::start_without_queue().await;
    let (owner, source) = world.app().await;
    source.git(&["branch", "develop"]);
    let other = GitRepository::new(&[]);
    other.git(&["branch", "--move", "trunk"]);
    let patch = async |change: Value| owner.patch("/v1/repositories/app", change).await;

    assert_eq!(patch(json!({"default_branch": "develop"})).await.body["default_branch"], "develop");
    patch(json!({"default_branch": "gone"})).await.refused(400, "invalid_ref");
    assert_eq!(patch(json!({"default_branch": null})).await.body["default_branch"], "main");
    // The default branch of now does not exist there.
    patch(json!({"clone_url": other.url()})).await.refused(400, "invalid_ref");
    let moved = patch(json!({"clone_url": other.url(), "default_branch": null})).await;
    assert_eq!((&moved.body["clone_url"], &moved.body["default_branch"]), (&json!(other.url()), &json!("trunk")));
    let back = patch(json!({"clone_url": source.url(), "default_branch": "develop"})).await;
    assert_eq!((&back.body["clone_url"], &back.body["default_branch"]), (&json!(source.url()), &json!("develop")));
    for clone_url in ["/no/such/path", "https://user:hunter2@github.com/acme/app.git", "git@github.com:acme/app.git"] {
        let refused = patch(json!({"clone_url": clone_url})).await;
        refused.refused(400, "invalid_clone_url");
        assert_eq!(refused.body["error"]["details"][0]["field"], "clone_url");
        assert!(!refused.body.to_string().contains("hunter2"));
    }
    assert_eq!(owner.get("/v1/repositories/app").await.body, back.body);
    // Deployments are made from the new place.
    let sha = source.git(&["rev-parse", "develop"]);
    assert_eq!(owner.deploy("app", json!({"ref": "develop"})).await["sha"], sha);
}

#[tokio::test]
async fn a_private_repository_is_hidden_and_a_public_one_is_shown() {
    let world = World::start_without_queue().await;
    let (owner, _source) = world.app().await;
    world.set_base_permission(&owner, "none").await;
    let member = world.member(&owner, Role::Member).await;
    for (visibility, names) in [("public", vec!["app"]), ("private", vec![]), ("public", vec!["app"])] {
        let changed = owner.patch("/v1/repositories/app", json!({"visibility": visibility})).await;
        assert_eq!((changed.status, &changed.body["visibility"]), (200, &json!(visibility)));
        assert_eq!(member.get("/v1/repositories").await.column("name"), names, "{visibility}");
        let found = member.get("/v1/repositories/app").await;
        assert_eq!(found.status, if visibility == "public" { 200 } else { 404 });
    }
    member.patch("/v1/repositories/app", json!({"fetch_depth": 2})).await.refused(403, "insufficient_permission");
    member.delete("/v1/repositories/app").await.refused(403, "insufficient_permission");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn changes_and_grants_at_the_same_time_are_all_made() {
    let world = World::start_without_queue().await;
    let (owner, _source) = world.app().await;
    let mut changes = tokio::task::JoinSet::new();
    for n in 0..8 {
        let team = owner.team(&format!("team-{n}")).await;
        let (one, other) = (owner.clone(), owner.clone());
        changes.spawn(async move { one.grant(&team, "app", "deploy").await });
        let change = match n % 4 {
            0 => json!({"fetch_depth": 7}),
            1 => json!({"root_folder": "web"}),
            2 => json!({"buildspec_path": "b.yml"}),
            _ => json!({"visibility": "public"}),
        };
        changes.spawn(async move {
            let changed = other.patch("/v1/repositories/app", change).await;
            assert_eq!(changed.status, 200, "{changed:?}");
        });
    }
    changes.join_all().await;
    let found = owner.get("/v1/repositories/app").await.body;
    let fields = ["fetch_depth", "root_folder", "buildspec_path", "visibility"].map(|field| found[field].clone());
    assert_eq!(fields, [json!(7), json!("web"), json!("b.yml"), json!("public")]);
    for team in owner.get("/v1/teams").await.column("id") {
        let repositories = owner.get(&format!("/v1/teams/{team}/repositories")).await;
        assert_eq!(repositories.body["meta"]["total"], 1, "{repositories:?}");
        assert_eq!(repositories.body["data"][0]["repository"], found);
    }
}
