mod servers;

use aws_sdk_dynamodb::types::AttributeValue;
use serde_json::{Value, json};
use tests::git_server::GitServer;
use tests::{Actor, Answer, GitRepository, World, buildspec};

async fn try_deploy(owner: &Actor, git_ref: impl Into<Value>) -> Answer {
    owner.post("/v1/repositories/app/deployments", json!({"ref": git_ref.into()})).await
}

/// Deploys a ref, which must be accepted. Returns the deployment's commit.
async fn pinned(owner: &Actor, git_ref: &str) -> String {
    let created = owner.deploy("app", json!({"ref": git_ref})).await;
    assert_eq!(created["ref"], git_ref);
    let found = owner.get(created["url"].as_str().unwrap()).await;
    assert_eq!(found.body["sha"], created["sha"], "{found:?}");
    created["sha"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn branches_tags_and_commits_deploy_by_short_and_full_names() {
    let world = World::start_without_queue().await;
    let owner = world.owner("acme").await;
    let source = GitRepository::new(&[("file", "1")]);
    let first = source.git(&["rev-parse", "HEAD"]);
    source.git(&["tag", "v1"]);
    let second = source.commit(&[("file", "2")]);
    source.git(&["tag", "--annotate", "--message=two", "v2"]);
    source.git(&["tag", "--annotate", "--message=two again", "v2-again", "v2"]);
    source.git(&["tag", "both"]);
    source.git(&["branch", "feature/x", &first]);
    source.git(&["branch", "both", &first]);
    let third = source.commit(&[("file", "3")]);
    source.git(&["update-ref", "refs/pull/7/head", &first]);
    let tag = source.git(&["rev-parse", "refs/tags/v2"]);
    owner.repository("app", &source).await;

    for (git_ref, sha) in [
        ("main", &third),
        ("refs/heads/main", &third),
        ("feature/x", &first),
        ("refs/heads/feature/x", &first),
        ("v1", &first),
        ("refs/tags/v1", &first),
        ("v2", &second),
        ("refs/tags/v2", &second),
        ("v2-again", &second),
        ("both", &first),
        ("heads/both", &first),
        ("tags/both", &second),
        ("HEAD", &third),
        ("@", &third),
        ("refs/pull/7/head", &first),
        ("pull/7/head", &first),
        ("refs/heads/both", &first),
        ("refs/tags/both", &second),
        (&third, &third),
        (&second, &second),
        (&first.to_uppercase(), &first),
        (&tag, &second),
    ] {
        assert_eq!(pinned(&owner, git_ref).await, *sha, "{git_ref}");
    }
}

#[tokio::test]
async fn a_branch_or_tag_that_was_pushed_after_the_registration_deploys() {
    let world = World::start_without_queue().await;
    let owner = world.owner("acme").await;
    let source = GitRepository::new(&[]);
    owner.repository("app", &source).await;
    source.git(&["checkout", "--quiet", "-b", "feature"]);
    let pushed = source.commit(&[("new", "")]);
    source.git(&["tag", "v1"]);

    for git_ref in ["feature", "v1", &pushed] {
        assert_eq!(pinned(&owner, git_ref).await, pushed, "{git_ref}");
    }
}

#[tokio::test]
async fn each_creation_asks_the_git_host_where_a_ref_is_now() {
    let world = World::start_without_queue().await;
    let owner = world.owner("acme").await;
    let source = GitRepository::new(&[]);
    let old = source.git(&["rev-parse", "HEAD"]);
    owner.repository("app", &source).await;
    let new = source.commit(&[("moved", "")]);
    assert_eq!(pinned(&owner, "main").await, new, "the registration has read the ref before");

    source.git(&["reset", "--quiet", "--hard", &old]);
    assert_eq!(pinned(&owner, "refs/heads/main").await, old, "no time has passed on the clock");
    let checked = owner.post("/v1/repositories/app/deployments/preflight", json!({"ref": "main"})).await;
    assert_eq!(checked.body["sha"], old, "{checked:?}");
}

#[tokio::test]
async fn a_ref_that_does_not_exist_is_refused_by_its_name() {
    let world = World::start_without_queue().await;
    let owner = world.owner("acme").await;
    let source = GitRepository::new(&[("file", "")]);
    source.git(&["tag", "v1"]);
    let (commit, tree) = (source.git(&["rev-parse", "HEAD"]), source.git(&["rev-parse", "HEAD^{tree}"]));
    owner.repository("app", &source).await;
    let nowhere = "0123456789abcdef0123456789abcdef01234567";
    let short = &commit[..7];

    for (git_ref, message) in [
        ("feature-x", "Branch 'feature-x' not found".to_owned()),
        ("Main", "Branch 'Main' not found".to_owned()),
        ("tags/v9", "Tag 'v9' not found".to_owned()),
        ("heads/v1", "Branch 'v1' not found".to_owned()),
        ("refs/pull/7/head", "Ref 'refs/pull/7/head' not found".to_owned()),
        ("pull/7/head", "Branch 'pull/7/head' not found".to_owned()),
        ("refs/heads/v1", "Branch 'v1' not found".to_owned()),
        ("refs/tags/v9", "Tag 'v9' not found".to_owned()),
        ("refs/tags/main", "Tag 'main' not found".to_owned()),
        (nowhere, format!("Commit '{nowhere}' not found")),
        (&tree, format!("Commit '{tree}' not found")),
        (short, format!("Branch '{short}' not found; to name a commit, send all 40 digits of its SHA")),
    ] {
        let refused = try_deploy(&owner, git_ref).await;
        refused.refused(400, "invalid_ref");
        assert_eq!(refused.body["error"]["message"], message, "{git_ref}");
    }
    let listed = owner.get("/v1/repositories/app/deployments").await;
    assert_eq!((&listed.body["data"], &listed.body["meta"]["total"]), (&json!([]), &json!(0)), "{listed:?}");
}

#[tokio::test]
async fn a_malformed_ref_is_an_invalid_request() {
    let world = World::start_without_queue().await;
    let owner = world.owner("acme").await;
    let source = GitRepository::new(&[]);
    owner.repository("app", &source).await;
    let long = "a".repeat(256);
    let name = "must be a valid name of a branch or tag";
    for (git_ref, message) in [
        (json!(""), "must not be empty"),
        (json!(long), "must be at most 255 bytes long"),
        (json!("a b"), name),
        (json!("a..b"), name),
        (json!("main~1"), name),
        (json!("main@{1}"), name),
        (json!("x.lock"), name),
        (json!("refs/heads/"), name),
        (json!("--upload-pack=id"), name),
        (json!("a\u{0}b"), name),
        (json!("ma\u{200b}in"), "must not contain characters that can't be seen, such as U+200B"),
        (json!("refs/heads/\u{202e}niam"), "must not contain characters that can't be seen, such as U+202E"),
        (json!("main\u{e000}"), "must not contain characters that can't be seen, such as U+E000"),
        (json!(["main"]), "must be a string"),
        (json!(null), "must be a string"),
    ] {
        let refused = try_deploy(&owner, git_ref).await;
        refused.refused(400, "invalid_request");
        assert_eq!(refused.body["error"]["details"], json!([{"field": "ref", "message": message}]));
        assert_eq!(refused.body["error"]["message"], format!("ref {message}"));
    }
}

#[tokio::test]
async fn a_request_without_a_ref_is_told_the_default_branch() {
    let world = World::start_without_queue().await;
    let owner = world.owner("acme").await;
    let source = GitRepository::new(&[]);
    source.git(&["branch", "trunk"]);
    let body = json!({"name": "app", "clone_url": source.url(), "default_branch": "trunk"});
    assert_eq!(owner.post("/v1/repositories", body).await.status, 201);
    let message = "is required; the repository's default branch is 'trunk'";
    for path in ["/v1/repositories/app/deployments", "/v1/repositories/app/deployments/preflight"] {
        let refused = owner.post(path, json!({})).await;
        refused.refused(400, "invalid_request");
        assert_eq!(refused.body["error"]["details"], json!([{"field": "ref", "message": message}]), "{path}");
        assert_eq!(refused.body["error"]["message"], format!("ref {message}"), "{path}");
        // The refusal of another kind of value stays.
        let refused = owner.post(path, json!({"ref": 7})).await;
        assert_eq!(refused.body["error"]["message"], "ref must be a string", "{path}");
    }
}

#[tokio::test]
async fn a_tag_of_a_file_or_folder_is_refused() {
    let world = World::start_without_queue().await;
    let owner = world.owner("acme").await;
    let source = GitRepository::new(&[("file", "")]);
    source.git(&["tag", "file", "HEAD:file"]);
    source.git(&["tag", "--annotate", "--message=x", "folder", "HEAD^{tree}"]);
    owner.repository("app", &source).await;
    for tag in ["file", "folder"] {
        let refused = try_deploy(&owner, tag).await;
        refused.refused(400, "invalid_ref");
        let message = format!("'refs/tags/{tag}' names no commit, but a file or a folder");
        assert_eq!(refused.body["error"]["message"], message);
        let checked = owner.post("/v1/repositories/app/deployments/preflight", json!({"ref": tag})).await;
        assert_eq!((&checked.body["outcome"], &checked.body["sha"]), (&json!("refused"), &Value::Null), "{checked:?}");
    }
    assert_eq!(owner.get("/v1/repositories/app/deployments").await.body["meta"]["total"], 0);
}

#[tokio::test]
async fn a_repository_is_registered_before_its_first_push() {
    let world = World::start_without_queue().await;
    let owner = world.owner("acme").await;
    let source = GitRepository::new(&[]);
    source.git(&["update-ref", "-d", "HEAD"]);
    assert_eq!(owner.repository("app", &source).await["default_branch"], "main");
    for git_ref in ["main", "HEAD", "v1", "refs/tags/v1"] {
        let refused = try_deploy(&owner, git_ref).await;
        refused.refused(400, "invalid_ref");
        assert_eq!(refused.body["error"]["message"], "The repository has no commit yet; push one first", "{git_ref}");
    }
    let pushed = source.commit(&[("file", "")]);
    assert_eq!(pinned(&owner, "main").await, pushed);
}

#[tokio::test]
async fn many_tags_are_no_obstacle() {
    let world = World::start_without_queue().await;
    let owner = world.owner("acme").await;
    let source = GitRepository::new(&[]);
    let sha = source.git(&["rev-parse", "HEAD"]);
    let tags: String = (0..50_001).map(|n| format!("{sha} refs/tags/{n:06}\n")).collect();
    let packed = format!("# pack-refs with: peeled fully-peeled sorted \n{tags}");
    std::fs::write(source.path().join(".git/packed-refs"), packed).unwrap();
    let server = GitServer::start(&source).await;
    for (name, url) in [("app", server.url("/app.git")), ("local", source.url())] {
        let created = owner.post("/v1/repositories", json!({"name": name, "clone_url": url})).await;
        assert_eq!((created.status, &created.body["default_branch"]), (201, &json!("main")), "{created:?}");
        for git_ref in ["main", "050000", &sha] {
            let created = owner.deploy(name, json!({"ref": git_ref})).await;
            assert_eq!(created["sha"], sha, "{name} {git_ref}");
        }
        let refused = owner.get(&format!("/v1/repositories/{name}/refs")).await;
        refused.refused(400, "invalid_request");
        let message = "must narrow the list: more branches and tags match than the 50000 that can be listed";
        assert_eq!(refused.body["error"]["details"], json!([{"field": "prefix", "message": message}]));
        let narrow = owner.get(&format!("/v1/repositories/{name}/refs?prefix=05")).await;
        assert_eq!(narrow.body["meta"]["total"], 1, "{narrow:?}");
    }
    let new = json!({
        "name": "Host", "kind": "basic", "host": server.host(), "username": "robot", "password": "a password of a robot",
    });
    let connection = owner.post("/v1/connections", new).await.body;
    let check = format!("/v1/connections/{}/check", connection["id"].as_str().unwrap());
    let checked = owner.post(&check, json!({"clone_url": server.url("/app.git")})).await;
    let expected = json!({"ok": true, "message": "The repository can be read"});
    assert_eq!(checked.body["clone_url"], expected, "{checked:?}");
}

#[tokio::test]
async fn a_deleted_branch_is_not_found_any_more() {
    let world = World::start_without_queue().await;
    let owner = world.owner("acme").await;
    let source = GitRepository::new(&[]);
    source.git(&["branch", "feature"]);
    owner.repository("app", &source).await;
    let sha = pinned(&owner, "feature").await;
    source.git(&["branch", "-D", "feature"]);

    let refused = try_deploy(&owner, "feature").await;
    refused.refused(400, "invalid_ref");
    assert_eq!(refused.body["error"]["message"], "Branch 'feature' not found");
    source.git(&["tag", "feature", &sha]);
    assert_eq!(pinned(&owner, "feature").await, sha, "now it is a tag");
}

#[tokio::test]
async fn the_commit_that_was_pinned_runs_when_its_branch_has_moved() {
    let world = World::start_without_queue().await;
    let owner = world.owner("acme").await;
    let source = GitRepository::new(&[("buildspec.yml", &buildspec(&["cat file"])), ("file", "old")]);
    let old = source.git(&["rev-parse", "HEAD"]);
    owner.repository("app", &source).await;
    let created = owner.deploy("app", json!({"ref": "main"})).await;
    source.commit(&[("file", "new")]);
    source.git(&["checkout", "--quiet", "--orphan", "other"]);
    source.git(&["branch", "-D", "main"]);

    world.deliver(&owner, &created).await;
    let ended = owner.ended(&created).await;
    assert_eq!((ended["status"].as_str(), ended["sha"].as_str()), (Some("succeeded"), Some(&*old)), "{ended}");
    let log = owner.log(&created).await;
    assert!(log.contains(&"stdout: old".to_owned()) && !log.contains(&"stdout: new".to_owned()), "{log:?}");
}

#[tokio::test]
async fn a_commit_that_no_branch_or_tag_has_is_told_apart() {
    let world = World::start_without_queue().await;
    let owner = world.owner("acme").await;
    let source = GitRepository::new(&[]);
    let older = source.git(&["rev-parse", "HEAD"]);
    let tagged = source.commit(&[("file", "1")]);
    source.git(&["tag", "v9"]);
    source.git(&["tag", "--annotate", "--message=x", "v9-annotated"]);
    let tag = source.git(&["rev-parse", "refs/tags/v9-annotated"]);
    source.git(&["update-ref", "refs/pull/7/head", "HEAD"]);
    let newest = source.commit(&[("file", "2")]);
    let dangling = source.git(&["commit-tree", "-m", "of a fork", "HEAD^{tree}"]);
    source.git(&["update-ref", "refs/pull/8/head", &dangling]);
    owner.repository("app", &source).await;
    for (git_ref, on_ref) in [
        ("main", json!("refs/heads/main")),
        ("refs/tags/v9", json!("refs/tags/v9")),
        (&newest, json!("refs/heads/main")),
        (&tagged, json!("refs/tags/v9")),
        (&older, json!("refs/heads/main")),
        (&dangling, Value::Null),
        ("HEAD", json!("refs/heads/main")),
        (&tag, json!("refs/tags/v9-annotated")),
        ("refs/pull/7/head", json!("refs/tags/v9")),
        ("refs/pull/8/head", Value::Null),
    ] {
        let body = json!({"ref": git_ref});
        let preflight = owner.post("/v1/repositories/app/deployments/preflight", body.clone()).await.body;
        let gates = preflight["gates"].as_array().unwrap();
        let gate = gates.iter().find(|gate| gate["gate"] == "ref").unwrap();
        assert_eq!((&preflight["on_ref"], &gate["passes"]), (&on_ref, &json!(true)), "{git_ref}");
        let nowhere = "The commit exists, but no branch or tag has it: it may be one of a fork, or one that a push by force has left behind";
        assert_eq!(gate["message"], if on_ref.is_null() { nowhere } else { "The ref exists" }, "{git_ref}");
        assert_eq!(preflight["reachable"], json!(!on_ref.is_null()), "{git_ref}");
        let created = owner.deployment(&owner.deploy("app", body).await).await;
        assert_eq!((&created["on_ref"], &created["reachable"]), (&on_ref, &preflight["reachable"]), "{git_ref}");
    }
}

#[tokio::test]
async fn a_remote_that_is_gone_is_told_to_the_client() {
    let world = World::start_without_queue().await;
    let owner = world.owner("acme").await;
    let source = GitRepository::new(&[]);
    let sha = source.git(&["rev-parse", "HEAD"]);
    owner.repository("app", &source).await;
    assert_eq!(pinned(&owner, "main").await, sha);
    std::fs::remove_dir_all(source.path()).unwrap();

    for git_ref in ["main", "refs/tags/v1", &sha] {
        let refused = try_deploy(&owner, git_ref).await;
        refused.refused(400, "invalid_clone_url");
        let message = format!(
            "Can't read {}: the repository does not exist, or is private and needs a connection (connection_id)",
            source.url()
        );
        assert_eq!(refused.body["error"]["message"], message);
    }
}

#[tokio::test]
async fn a_host_that_is_gone_is_told_apart_from_one_that_is_down() {
    let world = World::start_without_queue().await;
    let owner = world.owner("acme").await;
    let source = GitRepository::new(&[]);
    let created = owner.repository("app", &source).await;
    let (pk, sk) =
        (format!("ACCT#{}", owner.account_id.as_ref().unwrap()), format!("REPO#{}", created["id"].as_str().unwrap()));
    // No name in DNS has a label of 64 bytes, so every resolver says so, also one without a network.
    let gone = format!("https://{}.example.com/acme/app.git", "g".repeat(64));
    let down = "http://127.0.0.1:1/acme/app.git".to_owned();
    for (url, status, code, why) in [
        (gone, 400, "invalid_clone_url", "the repository's host does not exist"),
        (down, 503, "remote_unavailable", "the repository's server could not be reached"),
    ] {
        world.set_attribute((&pk, &sk), "clone_url", AttributeValue::S(url.clone())).await;
        for git_ref in ["main", "0123456789abcdef0123456789abcdef01234567"] {
            let refused = try_deploy(&owner, git_ref).await;
            refused.refused(status, code);
            assert_eq!(refused.body["error"]["message"], format!("Can't read {url}: {why}"));
        }
    }
    assert_eq!(owner.get("/v1/repositories/app/deployments").await.body["meta"]["total"], 0);
}

#[tokio::test]
async fn a_deployment_shows_the_subject_and_the_author_of_its_commit() {
    let world = World::start_without_queue().await;
    let owner = world.owner("acme").await;
    let source = GitRepository::with_commands(&["true"]);
    owner.repository("app", &source).await;
    let subject = format!("Reverse \u{202e}the build {}", "x".repeat(200));
    source.git(&[
        "commit",
        "--quiet",
        "--allow-empty",
        "--author=Ada Lovelace <ada@example.com>",
        "--message",
        &subject,
    ]);
    let sha = source.git(&["rev-parse", "HEAD"]);
    for git_ref in ["main", &sha] {
        let created = owner.deploy("app", json!({"ref": git_ref})).await;
        let commit = &created["commit"];
        assert_eq!((&commit["sha"], &commit["author"]), (&json!(sha), &json!("Ada Lovelace")), "{git_ref}");
        let shown = commit["subject"].as_str().unwrap();
        assert!(shown.starts_with("Reverse \u{fffd}the build xxx") && shown.ends_with("x…"), "{shown}");
        assert_eq!(shown.chars().count(), 120, "{git_ref}");
        assert_eq!(owner.deployment(&created).await["commit"], *commit);
        owner.act(&created, "cancel", json!({})).await;
        let retried = owner.act(&created, "retry", json!({})).await;
        assert_eq!((retried.status, &retried.body["commit"]), (201, commit), "{git_ref}");
    }
}
