//! Pushes, and the rules that decide about them.

use serde_json::{Value, json};
use tests::World;

use super::{Acme, ZEROS, commit, push};

#[tokio::test]
async fn a_push_deploys_as_the_first_rule_of_its_ref_says() {
    let acme = Acme::start().await;
    let sha = acme.head().await;
    acme.source.git(&["tag", "--annotate", "--message=one", "v1.0"]);
    acme.source.git(&["branch", "feature/x"]);
    acme.source.git(&["branch", "other"]);
    for (ref_name, name, environment) in [
        ("refs/heads/main", "main", Some("production")),
        ("refs/tags/v1.0", "v1.0", Some("staging")),
        ("refs/heads/feature/x", "feature/x", Some("preview")),
        ("refs/heads/other", "other", None),
    ] {
        let handled = acme.push(ref_name, ref_name, &sha).await;
        assert_eq!(
            (&handled["event"], &handled["ref"], &handled["sha"]),
            (&json!("push"), &json!(ref_name), &json!(sha))
        );
        assert_eq!((&handled["provider_delivery_id"], &handled["status_code"]), (&json!(ref_name), &json!(202)));
        let Some(environment) = environment else {
            let reason = "No deploy rule of the repository is about 'other'";
            assert_eq!((&handled["outcome"], &handled["reason"]), (&json!("skipped"), &json!(reason)));
            assert_eq!(handled["deployments"], json!([]));
            continue;
        };
        assert_eq!(handled["outcome"], "deployed", "{handled}");
        assert_eq!(handled["reason"], format!("'{name}' was deployed to {environment}"));
        let deployment = acme.owner.deployment(&json!({"id": handled["deployments"][0]})).await;
        assert_eq!((&deployment["environment"], &deployment["sha"]), (&json!(environment), &json!(sha)));
        assert_eq!((&deployment["ref"], &deployment["on_ref"]), (&json!(name), &json!(ref_name)));
    }
    assert_eq!(acme.deployments().await.len(), 3);
}

#[tokio::test]
async fn a_build_of_a_push_and_of_its_retry_is_told_of_the_push() {
    let acme = Acme::in_world(World::start().await, json!([{"refs": ["main"], "environment": "production"}])).await;
    let before = acme.head().await;
    let show = tests::buildspec(&["env | sort | grep ^CODEBUILD_WEBHOOK_"]);
    acme.source.commit(&[("buildspec.yml", &show)]);
    let mut event = push("refs/heads/main", &acme.head().await, json!([]));
    event["before"] = json!(before);
    event["sender"] = json!({"login": "ada", "id": 7});
    let handled = acme.push_of("1", &event).await;
    let pushed = acme.owner.deployment(&json!({"id": handled["deployments"][0]})).await;
    let told = async |deployment: &Value| -> Vec<String> {
        assert_eq!(acme.owner.ended(deployment).await["status"], "succeeded");
        let log = acme.owner.log(deployment).await;
        log.iter().filter_map(|line| line.strip_prefix("stdout: CODEBUILD_WEBHOOK_")).map(str::to_owned).collect()
    };
    let of_ref = ["HEAD_REF=refs/heads/main", "TRIGGER=branch/main"];
    let expected = ["ACTOR_ACCOUNT_ID=7", "EVENT=PUSH", of_ref[0], &format!("PREV_COMMIT={before}"), of_ref[1]];
    assert_eq!(told(&pushed).await, expected);
    assert_eq!(told(&acme.owner.act(&pushed, "retry", json!({})).await.body).await, expected);
    let rollback = json!({"environment": "production", "deployment_id": pushed["id"]});
    let rollback = acme.owner.post("/v1/repositories/app/rollback", rollback).await.body;
    let asked_for = acme.owner.deploy("app", json!({"ref": "main", "environment": "production"})).await;
    for deployment in [rollback, asked_for] {
        assert_eq!(told(&deployment).await, of_ref, "no push");
    }
    // A new branch has no commit before.
    acme.source.commit(&[("more", "more")]);
    event["before"] = json!(ZEROS);
    event["after"] = json!(acme.head().await);
    let handled = acme.push_of("2", &event).await;
    let pushed = acme.owner.deployment(&json!({"id": handled["deployments"][0]})).await;
    assert_eq!(told(&pushed).await, [expected[0], expected[1], of_ref[0], of_ref[1]]);
}

#[tokio::test]
async fn the_hook_is_the_author_of_what_it_deploys() {
    let acme = Acme::start().await;
    let accepted = acme.send("push", "1", &push("refs/heads/main", &acme.head().await, json!([]))).await;
    let handled = acme.handled(&accepted.body).await;
    let deployment = acme.owner.deployment(&json!({"id": handled["deployments"][0]})).await;
    let user = acme.hook["user_id"].as_str().unwrap();
    assert_eq!(deployment["created_by"], user);
    assert_eq!(deployment["actors"][user], json!({"type": "hook", "name": "GitHub hook", "email": null}));
    let filtered = acme.owner.get(&format!("/v1/deployments?created_by={user}")).await;
    assert_eq!(filtered.column("id"), [deployment["id"].as_str().unwrap()]);

    let events = acme.owner.get(&format!("/v1/audit_events?actor={user}")).await;
    assert_eq!(events.column("action"), ["deployment.created"]);
    let event = &events.body["data"][0];
    assert_eq!(event["actor"], json!({"type": "hook", "id": user, "name": "GitHub hook"}));
    assert_eq!(event["request_id"], accepted.header("x-request-id"), "of the request that brought the delivery");
    assert_eq!((&event["source_address"], &event["token_id"]), (&json!("127.0.0.1"), &json!(null)));
}

#[tokio::test]
async fn the_rules_of_the_environment_apply() {
    let acme = Acme::start().await;
    acme.owner.set("app", "production", json!({"required_approvals": 1})).await;
    let sha = acme.head().await;
    let handled = acme.push("1", "refs/heads/main", &sha).await;
    let deployment = acme.owner.deployment(&json!({"id": handled["deployments"][0]})).await;
    assert_eq!(deployment["approvals"]["required"], 1);
    let refused = acme.owner.act(&deployment, "approve", tests::approval(&deployment)).await;
    refused.refused(409, "self_approval");

    acme.owner.set("app", "production", json!({"frozen": true})).await;
    acme.source.commit(&[("file", "2")]);
    let handled = acme.push("2", "refs/heads/main", &acme.head().await).await;
    let reason = "The environment production is frozen";
    assert_eq!((&handled["outcome"], &handled["reason"]), (&json!("skipped"), &json!(reason)));
    // Once it is not frozen any more, the next delivery deploys.
    acme.owner.set("app", "production", json!({"frozen": false})).await;
    assert_eq!(acme.push("3", "refs/heads/main", &acme.head().await).await["outcome"], "deployed");
}

#[tokio::test]
async fn a_push_has_to_change_a_path_of_its_rule() {
    let rules = json!([{"refs": ["main"], "environment": "production", "paths": ["apps/web/**", "!**/*.md"]}]);
    let acme = Acme::with_rules(rules).await;
    let sha = acme.head().await;
    let of = async |id: &str, paths: &[&str]| {
        let commits = json!([commit("1111", "one", paths), commit(&sha, "two", &["Makefile"])]);
        acme.push_of(id, &push("refs/heads/main", &sha, commits)).await
    };
    for (id, paths) in [("1", &["README.md", "apps/web/README.md"][..]), ("2", &[]), ("3", &["apps/api/main.rs"])] {
        let handled = of(id, paths).await;
        let reason = "The push to 'main' changed no path that its deploy rule names";
        assert_eq!((&handled["outcome"], &handled["reason"]), (&json!("skipped"), &json!(reason)));
    }
    let handled = of("4", &["README.md", "apps/web/src/page.ts"]).await;
    assert_eq!(
        (&handled["outcome"], &handled["reason"]),
        (&json!("deployed"), &json!("'main' was deployed to production"))
    );

    // A push whose paths are not known counts as a change of every path.
    let new = acme.source.commit(&[("README.md", "2")]);
    let mut forced = push("refs/heads/main", &new, json!([commit(&new, "three", &["README.md"])]));
    forced["forced"] = json!(true);
    let handled = acme.push_of("5", &forced).await;
    let reason = "'main' was deployed to production. The push was forced, so that it counts as a change of every path";
    assert_eq!((&handled["outcome"], &handled["reason"]), (&json!("deployed"), &json!(reason)));
}

#[tokio::test]
async fn a_commit_can_ask_not_to_be_deployed() {
    let acme = Acme::start().await;
    let sha = acme.head().await;
    let reason = "The newest commit of 'main' asks not to be deployed";
    for (id, message) in [("1", "Fix [skip deploy]"), ("2", "Fix\n\n[deploy skip]")] {
        let body = push("refs/heads/main", &sha, json!([commit(&sha, message, &["a"])]));
        let handled = acme.push_of(id, &body).await;
        assert_eq!((&handled["outcome"], &handled["reason"]), (&json!("skipped"), &json!(reason)));
    }
    // A late delivery of an earlier push does not deploy a newer commit that asks not to be, and neither does a push that lists no
    // commits.
    let long = "x".repeat(200);
    let newer = ["Try it [skip deploy]", "Try it\n\nNot now.\n\n[deploy skip]", &format!("{long} [skip deploy]")];
    for (n, message) in newer.into_iter().enumerate() {
        acme.source.git(&["commit", "--quiet", "--allow-empty", &format!("--message={message}")]);
        let mut without_commits = push("refs/heads/main", &acme.head().await, json!([]));
        without_commits["head_commit"] = json!(null);
        let late = push("refs/heads/main", &sha, json!([commit(&sha, "change", &["a"])]));
        for (kind, body) in [("late", late), ("without commits", without_commits)] {
            let handled = acme.push_of(&format!("{kind} {n}"), &body).await;
            assert_eq!((&handled["outcome"], &handled["reason"]), (&json!("skipped"), &json!(reason)), "{message}");
        }
    }
    assert_eq!(acme.deployments().await.len(), 0);
}

#[tokio::test]
async fn several_refs_of_one_push_are_followed_together() {
    let acme = Acme::of(json!({"provider": "bitbucket"})).await;
    let sha = acme.head().await;
    acme.source.git(&["tag", "v1"]);
    let target = json!({"hash": sha, "message": "change"});
    let change = |kind: &str, name: &str| json!({"new": {"type": kind, "name": name, "target": target}, "old": null});
    let body = json!({"push": {"changes": [change("branch", "main"), change("tag", "v1"), change("branch", "other")]}});
    let body = body.to_string();
    let signature = format!("sha256={}", super::hmac_of(acme.secret.as_bytes(), body.as_bytes()));
    let headers = [("x-event-key", "repo:push"), ("x-request-uuid", "1"), ("x-hub-signature", &signature)];
    let accepted = super::post(&acme.world, acme.url(), &headers, body).await;
    assert_eq!((accepted.status, &accepted.body["outcome"]), (202, &json!("queued")), "{accepted:?}");
    let handled = acme.handled(&accepted.body).await;
    assert_eq!((&handled["outcome"], &handled["ref"]), (&json!("deployed"), &json!("refs/heads/main")));
    assert_eq!(handled["deployments"].as_array().unwrap().len(), 2);
    let reason = "'main' was deployed to production. 'v1' was deployed to staging. No deploy rule of the repository is about \
                  'other'";
    assert_eq!(handled["reason"], reason);
}

#[tokio::test]
async fn a_push_is_deployed_to_its_end() {
    let rules = json!([{"refs": ["main"], "environment": "production"}]);
    let acme = Acme::in_world(World::start().await, rules).await;
    let handled = acme.push("1", "refs/heads/main", &acme.head().await).await;
    let ended = acme.owner.ended(&json!({"id": handled["deployments"][0]})).await;
    assert_eq!(ended["status"], "succeeded", "{ended}");
}

#[tokio::test]
async fn a_rule_of_a_pattern_deploys_each_branch_to_its_own_environment() {
    let acme = Acme::start().await;
    let (owner, sha) = (&acme.owner, acme.head().await);
    let environments = "/v1/repositories/app/environments";
    assert_eq!(owner.post(environments, json!({"name": "review-*"})).await.status, 201);
    let rules = json!([{"refs": ["feature/*"], "environment": "review-*"}]);
    assert_eq!(owner.patch("/v1/repositories/app", json!({"deploy_rules": rules})).await.status, 200);
    for name in ["feature/x", "feature/Y_2"] {
        acme.source.git(&["branch", name]);
    }
    for (id, branch, environment) in
        [("1", "feature/x", "review-feature-x"), ("2", "feature/Y_2", "review-feature-y_2")]
    {
        let ref_name = format!("refs/heads/{branch}");
        let handled = acme.push(id, &ref_name, &sha).await;
        assert_eq!(handled["reason"], format!("'{branch}' was deployed to {environment}"), "{handled}");
        let deployment = owner.deployment(&json!({"id": handled["deployments"][0]})).await;
        assert_eq!(deployment["environment"], environment);
        assert_eq!(owner.get(&format!("{environments}/{environment}")).await.body["pattern"], "review-*");
        let again = acme.push(&format!("{id}-again"), &ref_name, &sha).await;
        assert_eq!(again["outcome"], "already_deployed", "{again}");
    }

    // A hook of a program names the pattern too.
    let new = json!({"provider": "deploy", "environment": "review-*", "ref": "main"});
    let hook = owner.post("/v1/repositories/app/hooks", new).await;
    assert_eq!((hook.status, &hook.body["environment"]), (201, &json!("review-*")), "{hook:?}");

    assert_eq!(owner.delete(&format!("{environments}/review-*")).await.status, 200);
    acme.source.git(&["branch", "feature/z"]);
    let handled = acme.push("3", "refs/heads/feature/z", &sha).await;
    assert_eq!(handled["outcome"], "failed", "{handled}");
    let reason = handled["reason"].as_str().unwrap();
    assert!(reason.contains("'review-feature-z' is none of 'preview', 'staging', 'production', "), "{reason}");
}
