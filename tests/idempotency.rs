//! Creations that are repeated, stale or only preflighted.

mod every_creation;

use std::time::Duration;

use reqwest::Method;
use serde_json::{Value, json};
use shared::model::{Idempotency, IdempotencyClaim, IdempotencyScope, Role};
use tests::{Actor, Answer, GitRepository, World};

const DEPLOYMENTS: &str = "/v1/repositories/app/deployments";
const PREFLIGHT: &str = "/v1/repositories/app/deployments/preflight";

async fn create(owner: &Actor, key: &str, body: Value) -> Answer {
    owner.send(owner.request(Method::POST, DEPLOYMENTS).header("idempotency-key", key).json(&body)).await
}

async fn total(owner: &Actor) -> Value {
    owner.get(DEPLOYMENTS).await.body["meta"]["total"].clone()
}

#[tokio::test]
async fn the_same_request_with_the_same_key_creates_one_deployment() {
    let world = World::start_without_queue().await;
    let (owner, source) = world.app().await;
    let first = create(&owner, "k1", json!({"ref": "main", "variables": {"A": "1", "B": "2"}})).await;
    assert_eq!(first.status, 201, "{first:?}");
    assert!(first.headers.get("idempotent-replayed").is_none());
    let body = r#"{ "variables": {"B": "2", "A": "1"}, "ref": "main" }"#;
    let request = owner.request(Method::POST, DEPLOYMENTS).header("content-type", "application/json");
    let again = owner.send(request.header("idempotency-key", "k1").body(body)).await;
    assert_eq!((again.status, &again.body), (201, &first.body), "another order of the members is the same body");
    assert_eq!(again.header("idempotent-replayed"), "true");
    assert_eq!(again.header("location"), first.header("location"));

    create(&owner, "k1", json!({"ref": "main"})).await.refused(422, "idempotency_key_reused");
    assert_eq!(create(&owner, "k2", json!({"ref": "main"})).await.status, 201);
    assert_eq!(total(&owner).await, 2);
    let stranger = world.owner("other").await;
    stranger.repository("app", &source).await;
    let other = create(&stranger, "k1", json!({"ref": "main"})).await;
    assert_eq!(other.status, 201, "a key is an account's own: {other:?}");

    world.clock.advance(Duration::from_secs(24 * 3600) - Duration::from_millis(1));
    create(&owner, "k1", json!({"ref": "main"})).await.refused(422, "idempotency_key_reused");
    world.clock.advance(Duration::from_millis(1));
    let later = create(&owner, "k1", json!({"ref": "main"})).await;
    assert_eq!(later.status, 201, "a day later the key is free: {later:?}");
    assert_ne!(later.body["id"], first.body["id"]);
}

/// A colleague can't occupy keys that somebody else will use, nor learn what they stand for.
#[tokio::test]
async fn a_key_is_of_one_actor_and_one_repository() {
    let world = World::start_without_queue().await;
    let (owner, source) = world.app().await;
    owner.repository("shop", &source).await;
    let colleague = world.member(&owner, Role::Owner).await;
    let body = json!({"ref": "main"});
    let to_shop = async |actor: &Actor, body: &Value| {
        let path = "/v1/repositories/shop/deployments";
        actor.send(actor.request(Method::POST, path).header("idempotency-key", "build-1").json(body)).await
    };
    let theirs = create(&colleague, "build-1", json!({"ref": "main", "environment": "staging"})).await;
    let first = create(&owner, "build-1", body.clone()).await;
    let shop = to_shop(&owner, &body).await;
    let mut ids = std::collections::BTreeSet::new();
    for answer in [&theirs, &first, &shop] {
        assert_eq!(answer.status, 201, "{answer:?}");
        assert!(answer.headers.get("idempotent-replayed").is_none());
        assert!(ids.insert(answer.body["id"].to_string()));
    }
    // Each of them is repeated by its own actor at its own repository. Another token of the actor is the same actor.
    let with_another_token = world.with_token(&owner, |_| {}).await;
    let full_name = "/v1/repositories/acme/app/deployments";
    let request = with_another_token.request(Method::POST, full_name).header("idempotency-key", "build-1");
    for (again, first) in
        [(with_another_token.send(request.json(&body)).await, first), (to_shop(&owner, &body).await, shop)]
    {
        assert_eq!((again.status, &again.body["id"]), (201, &first.body["id"]));
        assert_eq!(again.header("idempotent-replayed"), "true");
    }
    to_shop(&owner, &json!({"ref": "main", "environment": "staging"})).await.refused(422, "idempotency_key_reused");
}

#[tokio::test]
async fn of_many_equal_requests_at_once_one_creates() {
    let world = World::start_without_queue().await;
    let (owner, _source) = world.app().await;
    let mut requests = tokio::task::JoinSet::new();
    for _ in 0..12 {
        let owner = owner.clone();
        requests.spawn(async move { create(&owner, "k", json!({"ref": "main"})).await });
    }
    let mut ids = std::collections::BTreeSet::new();
    for answer in requests.join_all().await {
        match answer.status {
            201 => drop(ids.insert(answer.body["id"].to_string())),
            _ => assert_eq!(answer.refused(409, "idempotency_key_in_use").header("retry-after"), "30"),
        }
    }
    assert_eq!((ids.len(), total(&owner).await), (1, json!(1)));
}

#[tokio::test]
async fn a_key_of_a_request_that_created_nothing_is_free_again() {
    let world = World::start_without_queue().await;
    let (owner, source) = world.app().await;
    create(&owner, "k", json!({"ref": "later"})).await.refused(400, "invalid_ref");
    create(&owner, "k", json!({"ref": "later", "environment": "nope"})).await.refused(400, "invalid_request");
    source.git(&["branch", "later"]);
    assert_eq!(create(&owner, "k", json!({"ref": "later"})).await.status, 201);
    create(&owner, "k", json!({"ref": "main"})).await.refused(422, "idempotency_key_reused");
}

#[tokio::test]
async fn a_key_of_a_creation_that_died_is_locked_for_as_long_as_a_creation_can_take() {
    let world = World::start_without_queue().await;
    let (owner, _source) = world.app().await;
    let (body, account) = (json!({"ref": "main"}), owner.account_id.clone().unwrap());
    let repository = owner.get("/v1/repositories/app").await.body["id"].as_str().unwrap().to_owned();
    let scope = IdempotencyScope {
        account: &account,
        actor: owner.user_id.as_ref().unwrap(),
        endpoint: "create-deployment",
        resource: repository.as_str(),
    };
    let (key, content, now) = ("k".parse().unwrap(), body.to_string(), world.clock.now());
    let claim = IdempotencyClaim::take(world.stack.app().table(), scope, &key, content.as_bytes(), now).await;
    assert!(matches!(claim, Ok(Idempotency::New(_))), "{claim:?}");
    for (after, left) in [(0, "30"), (1, "30"), (999, "29"), (28_500, "1"), (499, "1")] {
        world.clock.advance(Duration::from_millis(after));
        let refused = create(&owner, "k", body.clone()).await;
        assert_eq!(refused.refused(409, "idempotency_key_in_use").header("retry-after"), left, "after {after} ms more");
    }
    world.clock.advance(Duration::from_millis(1));
    assert_eq!(create(&owner, "k", body).await.status, 201);
}

#[tokio::test]
async fn a_key_is_1_to_255_printable_ascii_characters() {
    let world = World::start_without_queue().await;
    let (owner, _source) = world.app().await;
    for key in ["", &"x".repeat(256), "\u{e9}", "a\tb"] {
        let refused = create(&owner, key, json!({"ref": "main"})).await;
        refused.refused(400, "invalid_request");
        assert_eq!(refused.body["error"]["details"][0]["field"], "Idempotency-Key", "{key:?}");
    }
    assert_eq!(total(&owner).await, 0);
    assert_eq!(create(&owner, &"~".repeat(255), json!({"ref": "main"})).await.status, 201);
}

#[tokio::test]
async fn a_stale_request_is_told_who_came_before() {
    let world = World::start().await;
    let (owner, _source) = world.app().await;
    let post = async |body: Value| {
        let mut request = json!({"ref": "main", "environment": "production"});
        request.as_object_mut().unwrap().extend(body.as_object().unwrap().clone());
        owner.post(DEPLOYMENTS, request).await
    };
    let nobody = json!({"expected_current": "deploy_aaaaaaaaaaaaaaaa"});
    post(nobody.clone()).await.refused(409, "stale_request");
    let first = post(json!({"sequence": 5})).await.body;
    owner.ended(&first).await;
    let expects_first = json!({"expected_current": first["id"]});
    let second = post(expects_first.clone()).await;
    assert_eq!(second.status, 201, "{second:?}");
    owner.ended(&second.body).await;
    let (first, second) = (first["id"].as_str().unwrap(), second.body["id"].as_str().unwrap());
    for (body, message) in [
        (expects_first, format!("{second} is live, not {first}")),
        (nobody, format!("{second} is live, not deploy_aaaaaaaaaaaaaaaa")),
        (json!({"sequence": 5}), format!("Sequence 5 is not higher than 5, the sequence of {first}")),
        (
            json!({"sequence": 4, "expected_current": second}),
            format!("Sequence 4 is not higher than 5, the sequence of {first}"),
        ),
    ] {
        let refused = post(body.clone()).await;
        refused.refused(409, "stale_request");
        assert_eq!(refused.body["error"]["message"], message, "{body}");
    }
    assert_eq!(total(&owner).await, 2, "nothing was created");
    let third = post(json!({"sequence": 6, "expected_current": second})).await;
    assert_eq!(third.status, 201, "{third:?}");
    let staging = owner.post(DEPLOYMENTS, json!({"ref": "main", "environment": "staging", "sequence": 1})).await;
    assert_eq!(staging.status, 201, "each environment has its own: {staging:?}");
}

#[tokio::test]
async fn of_many_requests_that_expect_the_same_deployment_at_once_one_wins() {
    let world = World::start().await;
    let (owner, _source) = world.app().await;
    let live = owner.ended(&owner.deploy("app", json!({"ref": "main", "environment": "staging"})).await).await;
    assert_eq!(live["status"], "succeeded");
    for what in ["while it is live", "while it is queued, in progress or live"] {
        let expected = owner.get(DEPLOYMENTS).await.body["data"][0]["id"].clone();
        let mut requests = tokio::task::JoinSet::new();
        for _ in 0..20 {
            let owner = owner.clone();
            let body = json!({"ref": "main", "environment": "staging", "expected_current": expected});
            requests.spawn(async move { owner.post(DEPLOYMENTS, body).await });
        }
        let answers = requests.join_all().await;
        let created: Vec<_> = answers.iter().filter(|answer| answer.status == 201).collect();
        assert_eq!(created.len(), 1, "{what}");
        let winner = created[0].body["id"].as_str().unwrap();
        for refused in answers.iter().filter(|answer| answer.status != 201) {
            refused.refused(409, "stale_request");
            let message = refused.body["error"]["message"].as_str().unwrap();
            assert!(message.starts_with(winner), "{what}: {message}");
        }
    }
}

#[tokio::test]
async fn a_deployment_whose_expectation_fails_meanwhile_does_not_run() {
    let world = World::start_without_queue().await;
    let source = GitRepository::with_commands(&["test \"$OUTCOME\" = good"]);
    let owner = world.owner("acme").await;
    owner.repository("app", &source).await;
    let deploy = async |outcome: &str, expected: Option<&Value>| {
        let mut request = json!({"ref": "main", "environment": "staging", "variables": {"OUTCOME": outcome}});
        if let Some(expected) = expected {
            request["expected_current"] = expected["id"].clone();
        }
        owner.deploy("app", request).await
    };
    let first = deploy("good", None).await;
    let second = deploy("bad", Some(&first)).await;
    let third = deploy("good", Some(&second)).await;
    let mut statuses = Vec::new();
    for deployment in [&first, &second, &third] {
        world.deliver(&owner, deployment).await;
        statuses.push(owner.ended(deployment).await["status"].clone());
    }
    assert_eq!(statuses, ["succeeded", "failed", "superseded"]);
    let id = |deployment: &Value| deployment["id"].as_str().unwrap().to_owned();
    let events = owner.get(&format!("/v1/deployments/{}/events", id(&third))).await;
    let reason = events.column("reason").last().unwrap().clone();
    assert_eq!(reason, format!("{} is live, and not {}, which this deployment expects", id(&first), id(&second)));
}

#[tokio::test]
async fn of_many_requests_with_the_same_sequence_at_once_one_wins() {
    let world = World::start_without_queue().await;
    let (owner, _source) = world.app().await;
    let mut requests = tokio::task::JoinSet::new();
    for _ in 0..8 {
        let owner = owner.clone();
        let body = json!({"ref": "main", "environment": "staging", "sequence": 1});
        requests.spawn(async move { owner.post(DEPLOYMENTS, body).await.status });
    }
    let mut statuses = requests.join_all().await;
    statuses.sort_unstable();
    assert_eq!(statuses, [vec![201], vec![409; 7]].concat());
}

#[tokio::test]
async fn a_preflight_tells_each_gate_and_changes_nothing() {
    let world = World::start_without_queue().await;
    let (owner, _source) = world.app().await;
    let created = owner.deploy("app", json!({"ref": "main", "environment": "production"})).await;
    world.lose_a_runner(&owner, &created).await;
    owner.set("app", "staging", json!({"required_approvals": 2, "frozen": true})).await;
    let before = world.items().await;

    let ask = async |body: Value| {
        let answer = owner.post(PREFLIGHT, body).await;
        assert_eq!(answer.status, 200, "{answer:?}");
        let gates = answer.body["gates"].as_array().unwrap().clone();
        let names: Vec<_> = gates.iter().map(|gate| gate["gate"].as_str().unwrap()).collect();
        let all = [
            "permission",
            "quota",
            "ref",
            "refs",
            "requires",
            "freeze",
            "machine",
            "variables",
            "minutes",
            "fences",
            "queue",
            "approvals",
            "wait",
            "lock",
            "capacity",
        ];
        assert_eq!(names, all);
        let failing = gates.iter().filter(|gate| gate["passes"] == false);
        let failing =
            failing.map(|gate| format!("{}: {}", gate["gate"].as_str().unwrap(), gate["message"].as_str().unwrap()));
        (answer.body["outcome"].as_str().unwrap().to_owned(), answer.body["sha"].clone(), failing.collect::<Vec<_>>())
    };
    let outcome = |text: &str, sha: &Value, failing: &[String]| (text.to_owned(), sha.clone(), failing.to_vec());
    let sha = &created["sha"];
    assert_eq!(ask(json!({"ref": "main"})).await, outcome("starts", sha, &[]));
    let unknown = ask(json!({"ref": "nope"})).await;
    assert_eq!(unknown, outcome("refused", &Value::Null, &["ref: Branch 'nope' not found".to_owned()]));
    let waits = format!("lock: {} is in progress", created["id"].as_str().unwrap());
    assert_eq!(ask(json!({"ref": "main", "environment": "production"})).await, outcome("waits", sha, &[waits]));
    assert_eq!(
        ask(json!({"ref": "main", "environment": "staging", "expected_current": created["id"]})).await,
        outcome(
            "refused",
            sha,
            &[
                "freeze: The environment staging is frozen".to_owned(),
                format!("fences: No deployment is live, and {} was expected", created["id"].as_str().unwrap()),
                "approvals: 2 approvals by other users are required".to_owned(),
            ]
        )
    );
    let refused = owner.post(PREFLIGHT, json!({"ref": "main", "variables": {"AWS_X": "1"}})).await;
    refused.refused(400, "invalid_request");
    let moved = create(&owner, "k", json!({"ref": "main", "dry_run": true})).await;
    moved.refused(400, "invalid_request");
    let detail = &moved.body["error"]["details"][0];
    let told = detail["message"].as_str().unwrap();
    assert!(
        detail["field"] == "dry_run" && told.ends_with(" POST /v1/repositories/{repo_id}/deployments/preflight"),
        "{moved:?}"
    );
    assert_eq!(world.items().await, before, "the table is as it was");
}
