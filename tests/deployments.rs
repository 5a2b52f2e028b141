use std::collections::BTreeSet;
use std::time::Duration;

use aws_sdk_dynamodb::types::AttributeValue;
use local::stack::Lifetime;
use serde_json::{Map, Value, json};
use tests::{Actor, GitRepository, World};

const DEPLOYMENTS: &str = "/v1/repositories/app/deployments";

async fn total(owner: &Actor, repository: &str, filter: &str) -> Value {
    let listed = owner.get(&format!("/v1/repositories/{repository}/deployments?per_page=1&{filter}")).await;
    assert_eq!(listed.status, 200, "{listed:?}");
    listed.body["meta"]["total"].clone()
}

#[tokio::test]
async fn a_deployment_runs_to_its_end() {
    let world = World::start().await;
    let owner = world.owner("acme").await;
    let source = GitRepository::with_commands(&["echo deploying $GIT_SHA"]);
    owner.repository("app", &source).await;
    let created = owner.deploy("app", json!({"ref": "main", "environment": "production"})).await;
    assert_eq!(created["status"], "queued");

    let ended = owner.ended(&created).await;
    assert_eq!(ended["status"], "succeeded", "{ended}");
    let line = format!("stdout: deploying {}", source.git(&["rev-parse", "HEAD"]));
    let log = owner.log(&created).await;
    assert!(log.contains(&line), "{log:?}");
}

#[tokio::test]
async fn creation_answers_with_the_queued_deployment_and_where_to_follow_it() {
    let world = World::start_without_queue().await;
    let owner = world.owner("acme").await;
    let source = GitRepository::with_commands(&["true"]);
    let repository = owner.repository("app", &source).await;
    let created = owner.post(DEPLOYMENTS, json!({"ref": "main"})).await;
    assert_eq!(created.status, 201, "{created:?}");
    let id = created.body["id"].as_str().unwrap();
    assert!(id.starts_with("deploy_") && id.len() >= 23, "{id}");
    let url = format!("{}/v1/deployments/{id}", world.stack.url());
    assert_eq!(created.header("location"), url);
    let mut expected = json!({
        "id": id,
        "status": "queued",
        "url": url,
        "created_at": "2026-01-01T12:00:00Z",
        "repository_id": repository["id"],
        "number": 1,
        "environment": "preview",
        "ref": "main",
        "sha": source.git(&["rev-parse", "HEAD"]),
        "commit": {"sha": source.git(&["rev-parse", "HEAD"]), "subject": "change", "author": "Test"},
        "root_folder": "",
        "buildspec_path": "buildspec.yml",
        "on_ref": "refs/heads/main",
        "created_by": owner.user_id,
        "updated_at": "2026-01-01T12:00:00Z",
        "started_at": null,
        "finished_at": null,
        "failure": null,
        "commit_status_error": null,
        "environment_url": null,
        "outputs": null,
        "tests": null,
        "approvals": {"required": 0, "given_by": []},
        "wait_until": null,
        "override": null,
        "approval_digest": created.body["approval_digest"],
        "variable_names": [],
        "variables": null,
        "cancel_requested": false,
        "origin": null,
        "queue": null,
        "actors": {
            owner.user_id.as_ref().unwrap().as_str(): {
                "type": "user", "name": "owner@example.com", "email": "owner@example.com",
            },
        },
    });
    expected["machine"] = Value::Null;
    // The macro takes no more fields at once.
    expected["reachable"] = json!(true);
    expected["phases"] = json!([]);
    assert_eq!(created.body, expected);
    let lost = world
        .log()
        .into_iter()
        .find(|line| line["message"] == "a new deployment could not be queued; the sweep will queue it");
    assert_eq!(lost.expect("SQS refused the message")["level"], "WARN");

    let found = owner.get(&url).await;
    let queue = json!({
        "position": 1, "blocked_by": null, "since": "2026-01-01T12:00:00Z", "deadline": "2026-01-02T12:00:00Z",
    });
    let mut alone = expected.clone();
    alone["queue"] = queue;
    alone["variables"] = json!([]);
    assert_eq!(
        (found.status, &found.body),
        (200, &alone),
        "only where one is asked for it has its place in the queue and its variables"
    );
    let listed = owner.get(DEPLOYMENTS).await;
    let actors = expected.as_object_mut().unwrap().remove("actors").unwrap();
    assert_eq!(
        listed.body,
        json!({"data": [&expected], "actors": &actors, "meta": {"total": 1, "page": 1, "per_page": 10}})
    );

    world.clock.advance(Duration::from_secs(90));
    world.deliver(&owner, &created.body).await;
    let ended = owner.ended(&created.body).await;
    expected["actors"] = actors;
    expected["variables"] = json!([]);
    for (field, value) in [
        ("status", "succeeded"),
        ("updated_at", "2026-01-01T12:01:30Z"),
        ("started_at", "2026-01-01T12:01:30Z"),
        ("finished_at", "2026-01-01T12:01:30Z"),
    ] {
        expected[field] = value.into();
    }
    expected["phases"] = json!([{
        "name": "build", "status": "succeeded", "started_at": "2026-01-01T12:01:30Z", "duration_ms": 0, "attempts": 1,
        "failed_command": null,
    }]);
    assert_eq!(ended, expected);
}

#[tokio::test]
async fn each_environment_is_deployed_to_and_listed_by() {
    let world = World::start_without_queue().await;
    let owner = world.owner("acme").await;
    let source = GitRepository::new(&[]);
    owner.repository("app", &source).await;
    for (number, environment) in (1..).zip(["preview", "staging", "production", "staging"]) {
        let created = owner.deploy("app", json!({"ref": "main", "environment": environment})).await;
        assert_eq!((&created["environment"], &created["number"]), (&json!(environment), &json!(number)));
    }
    for (filter, numbers) in [
        ("", vec![4, 3, 2, 1]),
        ("?environment=staging", vec![4, 2]),
        ("?environment=production&status=queued", vec![3]),
        ("?status=queued", vec![4, 3, 2, 1]),
        ("?environment=preview&status=failed", vec![]),
    ] {
        let listed = owner.get(&format!("{DEPLOYMENTS}{filter}")).await;
        let found: Vec<_> = listed.body["data"].as_array().unwrap().iter().map(|row| row["number"].clone()).collect();
        assert_eq!((json!(found), &listed.body["meta"]["total"]), (json!(numbers), &json!(numbers.len())), "{filter}");
    }
}

#[tokio::test]
async fn a_body_that_is_not_a_deployment_is_refused_by_the_field() {
    let world = World::start_without_queue().await;
    let owner = world.owner("acme").await;
    let source = GitRepository::new(&[]);
    owner.repository("app", &source).await;
    for (body, field, message) in [
        (json!({}), "ref", "is required"),
        (json!({"environment": "staging"}), "ref", "is required"),
        (json!({"ref": "main", "environment": "prod"}), "environment", "must name an environment of the repository; "),
        (json!({"ref": "main", "environment": "Production"}), "environment", "must be 1 to 40 characters "),
        (json!({"ref": "main", "environment": null}), "environment", "must be a string"),
        (json!({"ref": "main", "environment": 1}), "environment", "must be a string"),
        (json!({"ref": "main", "branch": "main"}), "branch", "is not one of `ref`, "),
        (json!({"ref": "main", "sha": "x", "number": 7}), "", "is not one of `ref`, "),
        (json!([]), "body", "must be an object"),
        (json!(["main", "preview", {}]), "body", "must be an object"),
        (json!("main"), "body", "must be an object"),
        (json!(null), "body", "must be an object"),
    ] {
        let refused = owner.post(DEPLOYMENTS, body.clone()).await;
        refused.refused(400, "invalid_request");
        let detail = &refused.body["error"]["details"][0];
        assert!(field.is_empty() || detail["field"] == field, "{body}: {detail}");
        assert!(detail["message"].as_str().unwrap().starts_with(message), "{body}: {detail}");
    }
    assert_eq!(total(&owner, "app", "").await, 0, "nothing was created");
}

#[tokio::test]
async fn variables_have_rules_and_a_refusal_never_repeats_a_value() {
    let world = World::start_without_queue().await;
    let owner = world.owner("acme").await;
    let source = GitRepository::new(&[]);
    owner.repository("app", &source).await;
    let entries = |count: usize| Value::Object((0..count).map(|n| (format!("V{n}"), json!("hunter2"))).collect());
    let large = |bytes: usize| json!({"BIG": format!("hunter2{}", "x".repeat(bytes - "BIGhunter2".len()))});
    let one = |name: &str| Value::Object(Map::from_iter([(name.to_owned(), json!("hunter2"))]));

    for variables in [
        json!({}),
        one("A"),
        one("_a1"),
        one("lower_CASE_9"),
        one("MY_AWS_REGION"),
        one("GITHUB"),
        one("NODE_ENV"),
        one(&"N".repeat(128)),
        json!({"PLAIN": {"value": "hunter2"}, "MARKED": {"value": "hunter2", "secret": true}}),
        json!({"EMPTY": "", "UNICODE": "grün\n=\"'$x`\\"}),
        entries(100),
        large(32 * 1024),
    ] {
        owner.deploy("app", json!({"ref": "main", "variables": variables})).await;
    }
    let accepted = total(&owner, "app", "").await;

    let (charset, shape) = ("[A-Za-z_][A-Za-z0-9_]*", "must be a string or {\"value\": string, \"secret\": boolean}");
    for (variables, message) in [
        (one(""), charset),
        (one("1A"), charset),
        (one("A-B"), charset),
        (one("A B"), charset),
        (one("A=B"), charset),
        (one("Ä"), charset),
        (one("A\u{0}"), charset),
        (one("AWS_PROFILE"), "start with AWS_ are reserved"),
        (
            one("AWS_ACCESS_KEY_ID"),
            "PUT /v1/repositories/{repo_id}/environments/{environment}/variables/AWS_ACCESS_KEY_ID",
        ),
        (one("AWS_"), "start with AWS_ are reserved"),
        (one("CODEBUILD_SRC_DIR"), "start with CODEBUILD_"),
        (one("DEPLOYMENT_ID"), "start with DEPLOYMENT_"),
        (one("GIT_SHA"), "start with GIT_"),
        (one(&"N".repeat(129)), "at most 128 characters"),
        (one("BASH_ENV"), "BASH_ENV changes how shells run"),
        (one("PATH"), "PATH changes how shells run"),
        (one("LD_PRELOAD"), "LD_PRELOAD changes how loaders of programs run"),
        (one("PYTHONSTARTUP"), "PYTHONSTARTUP changes how Python programs run"),
        (json!({"NUL": "hunter2\u{0}"}), "NUL"),
        (json!({"PIN": 471_147_114_711_i64}), shape),
        (json!({"PIN": ["hunter2"]}), shape),
        (json!({"PIN": null}), shape),
        (json!({"PIN": {"value": 471_147_114_711_i64}}), shape),
        (json!({"PIN": {"secret": true}}), shape),
        (json!({"PIN": {"value": "hunter2", "secret": "yes"}}), shape),
        (json!({"PIN": {"value": "hunter2", "hidden": true}}), shape),
        (json!("KEY=hunter2"), "must be an object"),
        (json!(["hunter2"]), "must be an object"),
        (json!(471_147_114_711_i64), "must be an object"),
        (json!(null), "must be an object"),
        (entries(101), "at most 100 entries"),
        (large(32 * 1024 + 1), "at most 32 KiB"),
    ] {
        let about_all = ["entries", "32 KiB", "an object"].iter().any(|words| message.contains(words));
        let name = variables.as_object().and_then(|variables| variables.keys().next()).filter(|_| !about_all);
        let field = name.map_or("variables".to_owned(), |name| format!("variables.{name}"));
        let refused = owner.post(DEPLOYMENTS, json!({"ref": "main", "variables": variables})).await;
        refused.refused(400, "invalid_request");
        let detail = &refused.body["error"]["details"][0];
        assert_eq!(detail["field"], field, "{refused:?}");
        assert!(detail["message"].as_str().unwrap().contains(message), "{message}: {detail}");
        let text = refused.body.to_string();
        assert!(!text.contains("hunter2") && !text.contains("471147114711"), "{text}");
    }
    assert_eq!(total(&owner, "app", "").await, accepted, "nothing was created");
    let log = serde_json::to_string(&world.log()).unwrap();
    assert!(!log.contains("hunter2") && !log.contains("471147114711"), "{log}");
}

#[tokio::test]
async fn what_looks_like_a_well_known_secret_must_be_called_one() {
    let world = World::start_without_queue().await;
    let owner = world.owner("acme").await;
    let source = GitRepository::new(&[]);
    owner.repository("app", &source).await;
    for (kind, value) in [
        ("a token of this API", owner.token.clone().unwrap()),
        ("an AWS access key", "AKIAIOSFODNN7EXAMPLE".to_owned()),
        ("a GitHub token", format!("https://x:ghp_{}@github.com", "a".repeat(36))),
        ("a Stripe key", format!("sk_live_{}", "a".repeat(24))),
        ("a private key", "-----BEGIN PRIVATE KEY-----\nMII".to_owned()),
    ] {
        let refused = owner.post(DEPLOYMENTS, json!({"ref": "main", "variables": {"DEPLOY_KEY": value}})).await;
        refused.refused(400, "invalid_request");
        let message = refused.body["error"]["message"].as_str().unwrap();
        assert!(message.contains(&format!("must not be {kind} as a plain value: send it as ")), "{message}");
        assert!(!refused.body.to_string().contains(&value), "{refused:?}");
        let marked = json!({"DEPLOY_KEY": {"value": value, "secret": true}});
        owner.deploy("app", json!({"ref": "main", "variables": marked})).await;
    }
    assert_eq!(total(&owner, "app", "").await, 5);
}

#[tokio::test]
async fn the_values_of_secret_variables_are_nowhere_to_be_read() {
    let world = World::start_with(|options| options.table = Lifetime::Kept).await;
    let owner = world.owner("acme").await;
    let source = GitRepository::with_commands(&["echo key=$API_KEY", "env", "set", "exit 3"]);
    owner.repository("app", &source).await;
    let value = "correct-horse-battery-staple";
    let secret = |value: &str| json!({"value": value, "secret": true});
    let variables = json!({"API_KEY": secret(value), "OTHER": secret(&format!("https://user:{value}@example.com"))});
    let created = owner.deploy("app", json!({"ref": "main", "variables": variables})).await;
    let ended = owner.ended(&created).await;
    assert_eq!(ended["failure"]["code"], "command_failed", "the build saw them: {ended}");
    let log = owner.get(&format!("/v1/deployments/{}/log", created["id"].as_str().unwrap())).await;
    assert!(log.body.to_string().contains("key=***"), "{log:?}");

    for (place, text) in [
        ("creation", created.to_string()),
        ("get", ended.to_string()),
        ("list", owner.get(DEPLOYMENTS).await.body.to_string()),
        ("log", log.body.to_string()),
        ("function logs", serde_json::to_string(&world.log()).unwrap()),
    ] {
        assert!(!text.contains(value) && !text.contains("API_KEY\":"), "{place}: {text}");
    }

    let contains = |bytes: &[u8]| bytes.windows(value.len()).any(|window| window == value.as_bytes());
    let table = world.stack.app().table();
    let scanned = table.client().scan().table_name(table.name()).send().await.unwrap();
    let sort_keys: BTreeSet<_> = scanned.items().iter().map(|item| item["sk"].as_s().unwrap().as_str()).collect();
    assert!(sort_keys.contains("VARS") && scanned.last_evaluated_key().is_none(), "{sort_keys:?}");
    for (name, attribute) in scanned.items().iter().flatten() {
        let bytes = match attribute {
            AttributeValue::B(blob) => blob.as_ref().to_vec(),
            other => format!("{other:?}").into_bytes(),
        };
        assert!(!contains(&bytes), "{name}");
    }
    let files = world.files();
    let has_table = files.iter().any(|(path, _)| path.ends_with("dynamodb.sqlite"));
    assert!(has_table || world.stack.dynamodb().is_none(), "the table's file is looked at too");
    for (path, bytes) in files {
        assert!(!contains(&bytes), "{}", path.display());
    }
}

#[tokio::test]
async fn a_deployment_that_does_not_exist_or_is_anothers_is_not_found() {
    let world = World::start_without_queue().await;
    let (owner, stranger) = (world.owner("acme").await, world.owner("other").await);
    let source = GitRepository::new(&[]);
    owner.repository("app", &source).await;
    let created = owner.deploy("app", json!({"ref": "main"})).await;
    let id = created["id"].as_str().unwrap();
    let mut unknown = id.to_owned();
    let last = unknown.pop().unwrap();
    unknown.push(if last == 'a' { 'b' } else { 'a' });

    for (actor, id) in [(&stranger, id), (&owner, &unknown), (&owner, "deploy_x"), (&owner, "1"), (&owner, "repo_app")]
    {
        for path in [format!("/v1/deployments/{id}"), format!("/v1/deployments/{id}/log")] {
            let refused = actor.get(&path).await;
            refused.refused(404, "not_found");
            assert_eq!(refused.body["error"]["message"], "Deployment not found", "{path}");
        }
    }
    stranger.post(DEPLOYMENTS, json!({"ref": "main"})).await.refused(404, "not_found");
    stranger.get(DEPLOYMENTS).await.refused(404, "not_found");
    assert_eq!(total(&owner, "app", "").await, 1);
}

#[tokio::test]
async fn numbers_have_no_gaps_and_counts_are_exact_under_concurrent_creations() {
    let world = World::start_without_queue().await;
    let owner = world.owner("acme").await;
    let source = GitRepository::with_commands(&["true"]);
    let repositories = ["app", "api"];
    for name in repositories {
        owner.repository(name, &source).await;
        owner.set(name, "preview", json!({"concurrency": "queue"})).await;
    }
    let mut creations = tokio::task::JoinSet::new();
    for n in 0..20 {
        for repository in repositories {
            let owner = owner.clone();
            let environment = ["preview", "staging", "production"][n % 3];
            creations.spawn(async move {
                let body = json!({"ref": "main", "environment": environment, "variables": {"N": "1"}});
                (repository, owner.deploy(repository, body).await)
            });
        }
    }
    let created = creations.join_all().await;
    for repository in repositories {
        let number = |(_, created): &(_, Value)| created["number"].as_u64().unwrap();
        let of_it = created.iter().filter(|(name, _)| *name == repository);
        let numbers: BTreeSet<_> = of_it.map(number).collect();
        assert_eq!(numbers, (1..=20).collect(), "{repository}");
        for (filter, expected) in [
            ("", 20),
            ("status=queued", 20),
            ("environment=preview", 7),
            ("environment=staging", 7),
            ("environment=production", 6),
            ("environment=production&status=queued", 6),
            ("status=succeeded", 0),
        ] {
            assert_eq!(total(&owner, repository, filter).await, expected, "{repository} {filter}");
        }
    }

    // No consumer reaches the queue here, so none sends the next one's message.
    let mut created = created;
    created.sort_by_key(|(_, deployment)| deployment["number"].as_u64());
    for pair in created.chunks(2) {
        for (_, deployment) in pair {
            world.deliver(&owner, deployment).await;
        }
        for (_, deployment) in pair {
            assert_eq!(owner.ended(deployment).await["status"], "succeeded");
        }
    }
    for repository in repositories {
        assert_eq!(total(&owner, repository, "status=succeeded").await, 20);
        for (filter, expected) in [
            ("", 20),
            ("status=queued", 0),
            ("status=in_progress", 0),
            ("environment=preview&status=succeeded", 7),
            ("environment=production&status=succeeded", 6),
        ] {
            assert_eq!(total(&owner, repository, filter).await, expected, "{repository} {filter}");
        }
        let listed = owner.get(&format!("/v1/repositories/{repository}/deployments?per_page=100")).await;
        let numbers: Vec<_> = listed.body["data"].as_array().unwrap().iter().map(|row| row["number"].clone()).collect();
        assert_eq!(json!(numbers), json!((1..=20).rev().collect::<Vec<_>>()), "newest first");
    }
    world.queue_is_empty().await;
}
