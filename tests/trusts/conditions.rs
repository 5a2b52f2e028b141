//! The conditions of a trust, and the jobs that satisfy them.

use serde_json::{Value, json};
use tests::{Actor, World};

use super::{exchange_job, new_trust, trust};

/// Returns the claims of a token that GitLab gives to a job of a project.
fn gitlab(project: &str, ref_type: &str, git_ref: &str) -> Value {
    json!({
        "sub": format!("project_path:{project}:ref_type:{ref_type}:ref:{git_ref}"), "namespace_id": "72",
        "namespace_path": project.rsplit_once('/').unwrap().0, "project_id": "20", "project_path": project,
        "user_id": "1", "user_login": "ada", "user_email": "ada@acme.example", "user_access_level": "developer",
        "user_identities": [{"provider": "github", "extern_uid": "2"}], "pipeline_id": "574", "pipeline_source": "push",
        "job_id": "302", "ref": git_ref, "ref_type": ref_type, "ref_path": format!("refs/heads/{git_ref}"),
        "ref_protected": "true", "groups_direct": ["acme", "acme/apps"], "environment": "production",
        "environment_protected": "true", "deployment_tier": "production", "runner_id": 1,
        "runner_environment": "gitlab-hosted", "sha": "714a629c0b401fdce83e847fc9589983fc6f46bc",
        "project_visibility": "private", "ci_config_sha": "714a629c0b401fdce83e847fc9589983fc6f46bc",
        // The claims of GitHub's job that GitLab's lacks.
        "repository": null, "repository_id": null, "repository_owner": null, "repository_owner_id": null,
    })
}

/// Asserts which jobs satisfy the conditions, and which claim of the others is refused.
async fn assert_accepts(world: &World, owner: &Actor, claims: Value, jobs: Vec<(Value, Option<&str>)>) {
    let trust = trust(world, owner, json!({"claims": claims})).await;
    for (job, refused_for) in jobs {
        let answer = exchange_job(world, &trust, job.clone()).await;
        match refused_for {
            None => assert_eq!(answer.status, 200, "{claims} {job}: {answer:?}"),
            Some(name) => {
                answer.refused(400, "invalid_grant");
                let message = format!("The claim '{name}' of the subject token does not satisfy the trust");
                assert_eq!(answer.body["error"]["message"], message, "{claims} {job}");
            }
        }
        world.clock.advance(std::time::Duration::from_secs(5));
    }
}

#[tokio::test]
async fn another_repository_with_the_same_prefix_satisfies_nothing() {
    let world = World::start_without_queue().await;
    let owner = world.owner("acme").await;
    let of = |repository: &str| {
        let sub = format!("repo:{repository}:ref:refs/heads/main");
        json!({"repository": repository, "repository_owner": repository.split('/').next(), "sub": sub})
    };
    let jobs = |name: &'static str| {
        let foreign = ["acme/app-evil", "acme/ap", "acme-evil/app", "acme/app/x", "ACME/APP", "evil/acme:app"];
        let mut jobs: Vec<_> = foreign.into_iter().map(|repository| (of(repository), Some(name))).collect();
        jobs.push((of("acme/app"), None));
        jobs
    };
    assert_accepts(&world, &owner, json!({"repository": "acme/app"}), jobs("repository")).await;
    assert_accepts(&world, &owner, json!({"sub": "repo:acme/app:ref:refs/heads/main"}), jobs("sub")).await;
}

#[tokio::test]
async fn a_pull_request_does_not_satisfy_a_condition_on_a_branch() {
    let world = World::start_without_queue().await;
    let owner = world.owner("acme").await;
    let pull_request = json!({
        "sub": "repo:acme/app:pull_request", "ref": "refs/pull/7/merge", "event_name": "pull_request",
        "head_ref": "main", "base_ref": "main", "ref_protected": "false",
    });
    let tag = json!({"sub": "repo:acme/app:ref:refs/tags/main", "ref": "refs/tags/main", "ref_type": "tag"});
    let nested = json!({"sub": "repo:acme/app:ref:refs/heads/main/x", "ref": "refs/heads/main/x"});
    for claims in [
        json!({"sub": "repo:acme/app:ref:refs/heads/main"}),
        json!({"repository": "acme/app", "sub": "repo:acme/app:ref:refs/heads/*"}),
    ] {
        let jobs = [&pull_request, &tag, &nested].map(|job| (job.clone(), Some("sub")));
        assert_accepts(&world, &owner, claims, [jobs.to_vec(), vec![(json!({}), None)]].concat()).await;
    }
    let by_ref = json!({"repository": "acme/app", "ref": "refs/heads/*"});
    let jobs = [&pull_request, &tag, &nested].map(|job| (job.clone(), Some("ref")));
    assert_accepts(&world, &owner, by_ref, jobs.to_vec()).await;
}

#[tokio::test]
async fn a_job_of_gitlab_satisfies_conditions_on_its_claims() {
    let world = World::start_without_queue().await;
    let owner = world.owner("acme").await;
    let main = gitlab("acme/apps/app", "branch", "main");
    let claims = json!({
        "project_path": "acme/apps/app", "sub": "project_path:acme/apps/app:ref_type:branch:ref:*", "ref_protected": "true",
    });
    let mut unprotected = main.clone();
    unprotected["ref_protected"] = json!("false");
    let jobs = vec![
        (gitlab("acme/apps/app", "tag", "main"), Some("sub")),
        (gitlab("acme/apps/app-evil", "branch", "main"), Some("project_path")),
        (unprotected, Some("ref_protected")),
        (main, None),
    ];
    assert_accepts(&world, &owner, claims, jobs).await;
}

#[tokio::test]
async fn only_claims_that_are_strings_satisfy_a_condition() {
    let world = World::start_without_queue().await;
    let owner = world.owner("acme").await;
    let claims = json!({"repository": "acme/app", "ref_protected": "true", "run_number": "10"});
    let others = [json!(true), json!(["true"]), json!({"true": "true"}), json!(null), json!("TRUE"), json!("")];
    let mut jobs: Vec<_> = others.map(|value| (json!({"ref_protected": value}), Some("ref_protected"))).to_vec();
    jobs.extend(
        [10.into(), json!(10.0), json!(["10"])].map(|value| (json!({"run_number": value}), Some("run_number"))),
    );
    jobs.push((json!({}), None));
    assert_accepts(&world, &owner, claims, jobs).await;
}

#[tokio::test]
async fn conditions_that_tell_nobody_apart_are_refused_at_creation() {
    let world = World::start_without_queue().await;
    let owner = world.owner("acme").await;
    for (claims, field) in [
        (json!({}), "claims"),
        (json!({"ref": "refs/heads/main"}), "claims"),
        (json!({"repository": "acme/*"}), "claims"),
        (json!({"sub": "repo:*/*:ref:refs/heads/main"}), "claims"),
        (json!({"sub": "*"}), "claims.sub"),
        (json!({"repository": "*/*", "ref": "refs/heads/main"}), "claims.repository"),
        (json!({"repository": "acme/app*"}), "claims.repository"),
        (json!({"repository": "acme/app", "aud": "x"}), "claims.aud"),
        (json!({"repository": ""}), "claims.repository"),
        (json!({"repository": "acme/app\u{200b}"}), "claims.repository"),
        (json!({"repository": ["acme/app"]}), "claims.repository"),
        (json!({"repository": null}), "claims.repository"),
    ] {
        let refused = owner.post("/v1/trusts", new_trust(&world, json!({"claims": claims}))).await;
        refused.refused(400, "invalid_request");
        assert_eq!(refused.body["error"]["details"][0]["field"], field, "{claims}: {refused:?}");
    }
    assert_eq!(owner.get("/v1/trusts").await.body["meta"]["total"], 0);
}
