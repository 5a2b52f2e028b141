//! The branches and tags that an environment takes.

use tests::GitRepository;
use tests::git_server::{GitServer, Reply};

use super::*;

/// Deploys to production, which has to have the outcome of its preflight. Returns the branch or tag of the deployment, or the message of
/// the refusal.
async fn deploy(owner: &Actor, git_ref: &str) -> Result<String, String> {
    let preflight = owner.post(&format!("{DEPLOYMENTS}/preflight"), to_production(git_ref)).await.body;
    let (gate, outcome) = gate(owner, to_production(git_ref), "refs").await;
    let created = owner.post(DEPLOYMENTS, to_production(git_ref)).await;
    assert_eq!((gate["passes"] == true, outcome == "refused"), (created.status == 201, created.status == 409));
    if created.status != 201 {
        created.refused(409, "ref_not_allowed");
        assert_eq!(gate["message"], message(&created));
        return Err(message(&created).to_owned());
    }
    let place = |body: &Value| (body["on_ref"].clone(), body["reachable"].clone());
    let on_ref = created.body["on_ref"].as_str().unwrap().to_owned();
    assert_eq!(place(&preflight), (json!(on_ref), json!(true)), "{git_ref}");
    assert_eq!(place(&owner.deployment(&created.body).await), place(&preflight), "{git_ref}");
    Ok(on_ref)
}

fn on(name: &str) -> Result<String, String> {
    Ok(name.to_owned())
}

fn refused(reason: &str) -> Result<String, String> {
    Err(format!(
        "The environment production takes only some branches and tags, and {reason}; deploy one of them by its name"
    ))
}

const OTHER: &str = "this one is not among them";
const NOWHERE: &str = "none of them has this commit in its history";

#[tokio::test]
async fn only_matching_branches_and_tags_are_deployed_and_the_commits_of_their_history() {
    let world = World::start_without_queue().await;
    let owner = world.owner("acme").await;
    let source = GitRepository::with_commands(&["true"]);
    let older = source.git(&["rev-parse", "HEAD"]);
    let dropped = source.commit(&[("dropped", "")]);
    source.git(&["reset", "--quiet", "--hard", &older]);
    let merged = source.commit(&[("merged", "")]);
    source.git(&["update-ref", "refs/pull/6/head", &merged]);
    let tip = source.commit(&[("more", "")]);
    source.git(&["branch", "release/1", &tip]);
    source.git(&["checkout", "--quiet", "-b", "feature"]);
    let tagged = source.commit(&[("tagged", "")]);
    source.git(&["commit", "--quiet", "--allow-empty", "--message=release"]);
    source.git(&["tag", "--annotate", "--message=one", "v1.0"]);
    let feature = source.commit(&[("feature", "")]);
    let forked = source.commit(&[("forked", "")]);
    source.git(&["update-ref", "refs/pull/7/head", &forked]);
    source.git(&["reset", "--quiet", "--hard", &feature]);
    source.git(&["checkout", "--quiet", "main"]);
    let server = GitServer::start(&source).await;
    owner.repository_at("app", &server.url("/acme/app.git")).await;
    owner.set("app", "production", json!({"refs": ["main", "tags/v*"]})).await;
    for (git_ref, expected) in [
        ("main", on("refs/heads/main")),
        ("HEAD", on("refs/heads/main")),
        ("v1.0", on("refs/tags/v1.0")),
        ("feature", refused(OTHER)),
        ("release/1", refused(OTHER)),
        (&tip, on("refs/heads/main")),
        (&older, on("refs/heads/main")),
        (&merged, on("refs/heads/main")),
        ("refs/pull/6/head", on("refs/heads/main")),
        (&tagged, on("refs/tags/v1.0")),
        (&feature, refused(NOWHERE)),
        (&forked, refused(NOWHERE)),
        ("refs/pull/7/head", refused(NOWHERE)),
        (&dropped, refused(NOWHERE)),
    ] {
        assert_eq!(deploy(&owner, git_ref).await, expected, "{git_ref}");
    }

    owner.set("app", "production", json!({"refs": ["release/*"]})).await;
    assert_eq!(deploy(&owner, &tip).await, on("refs/heads/release/1"), "not only the default branch is looked at");
    assert_eq!(deploy(&owner, &older).await, on("refs/heads/release/1"));
    assert_eq!(deploy(&owner, &tagged).await, refused(NOWHERE));
    assert_eq!(deploy(&owner, "main").await, refused(OTHER));
    source.git(&["checkout", "--quiet", "--detach", &merged]);
    assert_eq!(deploy(&owner, "HEAD").await, on("refs/heads/release/1"), "a HEAD that names no branch is a commit");
    owner.deploy("app", json!({"ref": "feature", "environment": "staging"})).await;
}

#[tokio::test]
async fn a_commit_is_refused_if_the_git_host_does_not_tell_where_it_is() {
    let world = World::start_without_queue().await;
    let owner = world.owner("acme").await;
    let source = GitRepository::with_commands(&["true"]);
    let older = source.git(&["rev-parse", "HEAD"]);
    let tip = source.commit(&[("more", "")]);
    let server = GitServer::replying(&source, |_| Reply::GitWithoutHaves).await;
    owner.repository_at("app", &server.url("/acme/app.git")).await;
    let place = |body: &Value| (body["on_ref"].clone(), body["reachable"].clone());
    let deployment = owner.deploy("app", json!({"ref": older})).await;
    assert_eq!(place(&owner.deployment(&deployment).await), (Value::Null, Value::Null));
    let (gate, _) = gate(&owner, json!({"ref": older}), "ref").await;
    let unknown = "The commit exists, and it is not known whether a branch or tag has it";
    assert_eq!((&gate["passes"], &gate["message"]), (&json!(true), &json!(unknown)));

    owner.set("app", "production", json!({"refs": ["main"]})).await;
    let untold = "the git host does not tell whether one of them has this commit";
    assert_eq!(deploy(&owner, &older).await, refused(untold));
    assert_eq!(deploy(&owner, &tip).await, on("refs/heads/main"), "the list of refs tells of tips");
}

#[tokio::test]
async fn a_branch_costs_no_further_request_to_the_git_host() {
    let world = World::start_without_queue().await;
    let owner = world.owner("acme").await;
    let source = GitRepository::with_commands(&["true"]);
    let server = GitServer::start(&source).await;
    owner.repository_at("app", &server.url("/acme/app.git")).await;
    let cost = async |body: Value| {
        let before = server.seen().len();
        owner.deploy("app", body).await;
        server.seen().len() - before
    };
    let without_rule = cost(to_production("main")).await;
    owner.set("app", "production", json!({"refs": ["main"]})).await;
    assert_eq!((cost(to_production("main")).await, without_rule), (3, 3));
}

#[tokio::test]
async fn a_retry_is_held_to_the_rule_and_a_rollback_is_not() {
    let world = World::start().await;
    let (owner, source) = world.app().await;
    source.git(&["branch", "feature"]);
    let first = owner.deploy("app", to_production("feature")).await;
    owner.ended(&first).await;
    let second = deploy_to_production(&owner).await;
    owner.ended(&second).await;
    owner.set("app", "production", json!({"refs": ["main"]})).await;
    owner.act(&first, "retry", json!({})).await.refused(409, "ref_not_allowed");
    let retried = owner.act(&second, "retry", json!({})).await;
    assert_eq!(retried.status, 201, "{retried:?}");
    owner.ended(&retried.body).await;
    let body = json!({"environment": "production", "deployment_id": first["id"]});
    let rollback = owner.post("/v1/repositories/app/rollback", body).await;
    assert_eq!(rollback.status, 201, "{rollback:?}");
}
