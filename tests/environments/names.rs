//! Environments that are created and deleted by name.

use serde_json::{Value, json};
use shared::model::Role;
use tests::{Actor, World};

pub(super) const ENVIRONMENTS: &str = "/v1/repositories/app/environments";

pub(super) async fn create(owner: &Actor, body: Value) -> Value {
    let created = owner.post(ENVIRONMENTS, body).await;
    assert_eq!(created.status, 201, "{created:?}");
    created.body
}

async fn names(owner: &Actor) -> Vec<String> {
    owner.get(&format!("{ENVIRONMENTS}?per_page=100")).await.column("name")
}

#[tokio::test]
async fn an_environment_is_created_used_and_deleted() {
    let world = World::start().await;
    let (owner, _source) = world.app().await;
    let created = owner.post(ENVIRONMENTS, json!({"name": "qa.eu-1_b"})).await;
    assert_eq!(created.status, 201, "{created:?}");
    let expected = json!({
        "name": "qa.eu-1_b", "pattern": null, "removed_after_days": null, "created_at": "2026-01-01T12:00:00Z",
        "live": null, "in_progress": [], "queued": [], "concurrency": "queue", "required_approvals": 0,
        "reviewers": null, "approval_timeout_seconds": 604_800, "wait_seconds": 0, "refs": [], "requires": [],
        "freeze_windows": [], "frozen": false, "frozen_until": null, "time_limit_seconds": null, "updated_at": null,
        "image": null, "compute_type": null, "privileged": null, "root_folder": null, "buildspec_path": null,
        "cache": null,
    });
    assert_eq!(created.body, expected);
    let location = created.header("location");
    assert!(location.ends_with("/environments/qa.eu-1_b"), "{location}");
    let path = format!("{ENVIRONMENTS}/qa.eu-1_b");
    assert_eq!(owner.get(&path).await.body, expected);
    owner.post(ENVIRONMENTS, json!({"name": "qa.eu-1_b"})).await.refused(409, "name_taken");
    owner.post(ENVIRONMENTS, json!({"name": "staging"})).await.refused(409, "name_taken");

    let preflight = json!({"ref": "main", "environment": "qa.eu-1_b"});
    let preflight = owner.post("/v1/repositories/app/deployments/preflight", preflight).await;
    assert_eq!((&preflight.body["outcome"], &preflight.body["environment"]), (&json!("starts"), &json!("qa.eu-1_b")));
    let mut deployments = Vec::new();
    for _ in 0..2 {
        let deployment = owner.deploy("app", json!({"ref": "main", "environment": "qa.eu-1_b"})).await;
        assert_eq!(owner.ended(&deployment).await["status"], "succeeded");
        deployments.push(deployment);
    }
    let state = owner.get(&path).await.body;
    assert_eq!((&state["live"]["deployment_id"], &state["in_progress"]), (&deployments[1]["id"], &json!([])));
    let back = owner.post("/v1/repositories/app/rollback", json!({"environment": "qa.eu-1_b"})).await;
    assert_eq!((back.status, &back.body["origin"]["deployment_id"]), (201, &deployments[0]["id"]), "{back:?}");
    owner.ended(&back.body).await;
    owner.set("app", "qa.eu-1_b", json!({"frozen": true, "concurrency": "supersede"})).await;
    let frozen = json!({"ref": "main", "environment": "qa.eu-1_b"});
    owner.post("/v1/repositories/app/deployments", frozen).await.refused(409, "environment_frozen");

    let deleted = owner.delete(&path).await;
    assert_eq!((deleted.status, &deleted.body), (200, &json!({"id": "qa.eu-1_b", "deleted": true})));
    owner.delete(&path).await.refused(404, "not_found");
    let again = create(&owner, json!({"name": "qa.eu-1_b"})).await;
    assert_eq!((&again["frozen"], &again["concurrency"]), (&json!(false), &json!("queue")), "settings are gone");
    assert_eq!(again["live"]["deployment_id"], back.body["id"], "deployments are not");

    let repository = owner.get("/v1/repositories/app").await.body["id"].as_str().unwrap().to_owned();
    let events = owner.get(&format!("/v1/audit_events?target={repository}/qa.eu-1_b")).await;
    // All were at one time of the test's clock.
    let mut actions = events.column("action");
    actions.sort();
    let expected = ["environment.created", "environment.created", "environment.deleted", "environment.updated"];
    assert_eq!(actions, expected);
    let mut actors = events.body["data"].as_array().unwrap().iter().map(|event| &event["actor"]["id"]);
    assert!(actors.all(|id| *id == json!(owner.user_id)), "{events:?}");
}

#[tokio::test]
async fn a_name_that_is_none_is_refused_with_a_proposal() {
    let world = World::start_without_queue().await;
    let (owner, _source) = world.app().await;
    let longest = "x".repeat(41);
    for (name, proposal) in [
        ("Review/Foo", "review-foo"),
        ("feature/*", "feature-*"),
        ("QA", "qa"),
        ("a#b", "a-b"),
        ("..", "review"),
        ("*", "review-*"),
        (&longest, &longest[..40]),
    ] {
        let refused = owner.post(ENVIRONMENTS, json!({"name": name})).await;
        let detail = &refused.refused(400, "invalid_request").body["error"]["details"][0];
        let message = detail["message"].as_str().unwrap();
        assert_eq!(detail["field"], "name");
        assert!(message.ends_with(&format!("for example '{proposal}'")), "{name}: {message}");
        let refused = owner.post("/v1/repositories/app/deployments", json!({"ref": "main", "environment": name})).await;
        assert_eq!(refused.refused(400, "invalid_request").body["error"]["details"][0]["field"], "environment");
    }
    let plain = json!({"name": "qa", "removed_after_days": 3});
    let refused = owner.post(ENVIRONMENTS, plain).await;
    assert_eq!(refused.refused(400, "invalid_request").body["error"]["details"][0]["field"], "removed_after_days");
    for days in [0, 366] {
        let refused = owner.post(ENVIRONMENTS, json!({"name": "qa-*", "removed_after_days": days})).await;
        assert_eq!(refused.refused(400, "invalid_request").body["error"]["details"][0]["field"], "removed_after_days");
    }
    assert_eq!(names(&owner).await, ["preview", "staging", "production"], "nothing was created");
}

#[tokio::test]
async fn an_unknown_environment_is_refused_where_it_is_named() {
    let world = World::start_without_queue().await;
    let (owner, _source) = world.app().await;
    create(&owner, json!({"name": "qa"})).await;
    create(&owner, json!({"name": "review-*"})).await;
    let exist = "'preview', 'staging', 'production', 'qa', 'review-*'";
    let told = format!("must name an environment of the repository; 'prod' is none of {exist}");
    let unknown = json!({"ref": "main", "environment": "prod"});
    let rules = json!([{"refs": ["x"], "environment": "review-1"}, {"refs": ["*"], "environment": "prod"}]);
    let id = owner.get("/v1/repositories/app").await.body["id"].clone();
    let trust = json!({
        "name": "CI", "issuer": world.issuer.url(), "claims": {"sub": "x"}, "scopes": ["deployments:write"],
        "repository_id": id, "environments": ["qa", "prod"],
    });
    for (method, path, body, field) in [
        ("POST", "/v1/repositories/app/deployments", unknown.clone(), "environment"),
        ("POST", "/v1/repositories/app/deployments/preflight", unknown, "environment"),
        ("POST", "/v1/repositories/app/rollback", json!({"environment": "prod"}), "environment"),
        ("POST", "/v1/repositories/app/hooks", json!({"provider": "deploy", "environment": "prod"}), "environment"),
        ("PATCH", "/v1/repositories/app", json!({"deploy_rules": rules}), "deploy_rules[1].environment"),
        ("POST", "/v1/trusts", trust, "environments[1]"),
    ] {
        let answer = if method == "POST" { owner.post(path, body).await } else { owner.patch(path, body).await };
        let details = &answer.refused(400, "invalid_request").body["error"]["details"];
        assert_eq!(details, &json!([{"field": field, "message": told}]), "{method} {path}");
    }
    let missing = format!("The repository has no environment 'prod'; it has {exist}");
    let path = format!("{ENVIRONMENTS}/prod");
    for answer in [owner.get(&path).await, owner.patch(&path, json!({"frozen": true})).await, owner.delete(&path).await]
    {
        assert_eq!(answer.refused(404, "not_found").body["error"]["message"], missing.as_str());
    }
    owner.get(&format!("{ENVIRONMENTS}/Prod")).await.refused(404, "not_found");
    assert_eq!(names(&owner).await.len(), 5, "a refused change creates nothing");
    let pattern = owner.post("/v1/repositories/app/rollback", json!({"environment": "review-*"})).await;
    assert_eq!(pattern.refused(400, "invalid_request").body["error"]["details"][0]["field"], "environment");
}

#[tokio::test]
async fn built_in_environments_and_those_in_use_can_not_be_deleted() {
    let world = World::start_without_queue().await;
    let (owner, _source) = world.app().await;
    let member = world.member(&owner, Role::Member).await;
    create(&owner, json!({"name": "qa"})).await;
    for name in ["preview", "staging", "production"] {
        let refused = owner.delete(&format!("{ENVIRONMENTS}/{name}")).await;
        let message = format!("Each repository has the environment '{name}', which can't be deleted");
        assert_eq!(refused.refused(409, "built_in_environment").body["error"]["message"], message.as_str());
    }
    let path = format!("{ENVIRONMENTS}/qa");
    member.delete(&path).await.refused(403, "insufficient_permission");
    member.post(ENVIRONMENTS, json!({"name": "mine"})).await.refused(403, "insufficient_permission");
    let queued = owner.deploy("app", json!({"ref": "main", "environment": "qa"})).await;
    owner.delete(&path).await.refused(409, "environment_in_use");
    world.lose_a_runner(&owner, &queued).await;
    let refused = owner.delete(&path).await;
    let message = "A deployment to the environment is queued or in progress; wait until the end, or cancel it";
    assert_eq!(refused.refused(409, "environment_in_use").body["error"]["message"], message);
    let more = owner.deploy("app", json!({"ref": "main", "environment": "qa"})).await;
    assert_eq!(owner.act(&more, "cancel", json!({})).await.status, 200);
    owner.delete(&path).await.refused(409, "environment_in_use");
}

#[tokio::test]
async fn a_list_has_all_environments_in_pages() {
    let world = World::start_without_queue().await;
    let (owner, _source) = world.app().await;
    let new: Vec<_> = (0..20).map(|at| format!("qa-{at:02}")).collect();
    for name in new.iter().rev() {
        create(&owner, json!({"name": name})).await;
    }
    let expected: Vec<_> =
        ["preview", "staging", "production"].into_iter().chain(new.iter().map(String::as_str)).collect();
    let pages = owner.walk(&format!("{ENVIRONMENTS}?per_page=9"), "next").await;
    let walked: Vec<_> = pages.iter().flat_map(|page| page.column("name")).collect();
    assert_eq!((walked, pages.len()), (expected.iter().map(|name| (*name).to_owned()).collect(), 3));
    assert_eq!(pages[0].body["meta"], json!({"total": 23, "page": 1, "per_page": 9}));
    let backward = owner.get(&format!("{ENVIRONMENTS}?direction=desc&per_page=100")).await.column("name");
    assert!(backward.iter().rev().eq(expected.iter()), "{backward:?}");
    owner.get(&format!("{ENVIRONMENTS}?sort=created")).await.refused(400, "invalid_request");
}

/// Whatever becomes of an environment, the lists and their totals agree.
#[tokio::test]
async fn deployments_to_a_deleted_environment_stay_in_the_lists() {
    let world = World::start_without_queue().await;
    let (owner, source) = world.app().await;
    owner.repository("other", &source).await;
    let ended = async |repository: &str, environment: &str| {
        let deployment = owner.deploy(repository, json!({"ref": "main", "environment": environment})).await;
        assert_eq!(owner.act(&deployment, "cancel", json!({})).await.status, 200);
    };
    for round in 1..=3 {
        create(&owner, json!({"name": "qa"})).await;
        ended("app", "qa").await;
        ended("app", "staging").await;
        for filter in ["environment=qa", "environment=qa&status=canceled", "environment=staging"] {
            for list in ["/v1/repositories/app/deployments?", "/v1/deployments?repository=app&"] {
                let page = owner.get(&format!("{list}{filter}&per_page=100")).await;
                assert_eq!((page.column("id").len(), &page.body["meta"]["total"]), (round, &json!(round)), "{filter}");
            }
        }
        assert_eq!(owner.delete(&format!("{ENVIRONMENTS}/qa")).await.status, 200);
        let path = "/v1/repositories/app/deployments";
        let page = owner.get(&format!("{path}?environment=qa")).await;
        assert_eq!((page.column("id").len(), &page.body["meta"]["total"]), (round, &json!(round)));
        assert_eq!(owner.get(path).await.body["meta"]["total"], 2 * round);
        assert_eq!(owner.get("/v1/deployments").await.body["meta"]["total"], 2 * round);
    }
    let retried = owner.get("/v1/repositories/app/deployments?environment=qa").await.body["data"][0].clone();
    owner.act(&retried, "retry", json!({})).await.refused(404, "not_found");
    assert_eq!(owner.get("/v1/repositories/other/deployments?environment=qa").await.body["meta"]["total"], 0);
    assert_eq!(world.sweep().await.unwrap()["repaired"], 0, "the recount agrees");
    assert_eq!(owner.delete("/v1/repositories/app").await.status, 200);
    world.sweep().await.unwrap();
    let left = world.items().await;
    assert!(left.iter().all(|item| !item.contains("qa")), "{left:?}");
}

#[tokio::test]
async fn a_name_with_every_kind_of_character_goes_through_every_call() {
    const NAME: &str = "qa.eu-1_b";
    let world = World::start().await;
    let (owner, source) = world.app().await;
    let ann = world.member(&owner, Role::Admin).await;
    let commands = ["echo $DEPLOYMENT_ENVIRONMENT $API_KEY", "echo $REGION > page.html"];
    let spec = tests::buildspec(&commands) + "artifacts:\n  files: page.html\n";
    source.commit(&[("buildspec.yml", &spec)]);
    create(&owner, json!({"name": NAME})).await;
    let path = format!("{ENVIRONMENTS}/{NAME}");
    let variables = format!("{path}/variables");
    for (name, body) in
        [("API_KEY", json!({"value": "hunter22", "secret": true})), ("REGION", json!({"value": "eu-1"}))]
    {
        let set = owner.put(&format!("{variables}/{name}"), body).await;
        assert_eq!(set.status, 200, "{set:?}");
    }
    assert_eq!(owner.get(&variables).await.column("name"), ["API_KEY", "REGION"]);
    let rules = json!({"required_approvals": 1, "refs": ["main"], "time_limit_seconds": 120});
    owner.set("app", NAME, rules).await;

    let created = owner.deploy("app", json!({"ref": "main", "environment": NAME})).await;
    assert_eq!(owner.deployment(&created).await["queue"]["blocked_by"]["kind"], "approval");
    let approved = ann.act(&created, "approve", tests::approval(&created)).await;
    assert_eq!(approved.status, 200, "{approved:?}");
    let ended = owner.ended(&created).await;
    assert_eq!((&ended["status"], &ended["environment"]), (&json!("succeeded"), &json!(NAME)));
    let log = owner.log(&created).await;
    assert!(log.iter().any(|line| line.ends_with(": qa.eu-1_b ***")), "{log:?}");
    let deployment = format!("/v1/deployments/{}", created["id"].as_str().unwrap());
    let listed = owner.get(&format!("{deployment}/artifacts")).await.body;
    let page = owner.request(reqwest::Method::GET, listed["data"][0]["url"].as_str().unwrap()).send().await.unwrap();
    assert_eq!(page.text().await.unwrap(), "eu-1\n");
    let filtered = owner.get(&format!("/v1/repositories/app/deployments?environment={NAME}")).await;
    assert_eq!(filtered.column("id"), [created["id"].as_str().unwrap()]);

    assert_eq!(owner.delete(&format!("{variables}/REGION")).await.status, 200);
    assert_eq!(owner.get(&variables).await.column("name"), ["API_KEY"]);
    assert_eq!(owner.delete(&path).await.status, 200);
    owner.get(&variables).await.refused(404, "not_found");
    assert_eq!(owner.deployment(&created).await["environment"], NAME, "its deployments stay");
}
