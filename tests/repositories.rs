use std::collections::BTreeSet;

use serde_json::{Value, json};
use shared::settings::CLONE_HOSTS;
use tests::{GitRepository, World};

async fn world_with_source() -> (World, GitRepository) {
    (World::start().await, GitRepository::new(&[("README", "")]))
}

#[tokio::test]
async fn a_registered_repository_is_shown_and_listed() {
    let (world, source) = world_with_source().await;
    let owner = world.owner("acme").await;
    let created = owner.post("/v1/repositories", json!({"name": "frontend-app", "clone_url": source.url()})).await;
    assert_eq!(created.status, 201, "{created:?}");
    let id = created.body["id"].as_str().unwrap();
    let expected = json!({
        "id": id,
        "name": "frontend-app",
        "full_name": "acme/frontend-app",
        "visibility": "private",
        "created_at": "2026-01-01T12:00:00Z",
        "updated_at": "2026-01-01T12:00:00Z",
        "default_branch": "main",
        "clone_url": source.url(),
    });
    assert_eq!(created.body, expected);
    assert_eq!(created.header("location"), format!("{}/v1/repositories/{id}", world.stack.url()));
    assert_eq!(owner.get(created.header("location")).await.body, expected);

    let listed = owner.get("/v1/repositories").await;
    assert_eq!(listed.body, json!({"data": [expected], "meta": {"total": 1, "page": 1, "per_page": 10}}));
}

#[tokio::test]
async fn a_repository_is_found_by_id_by_name_and_by_full_name() {
    let (world, source) = world_with_source().await;
    let (owner, stranger) = (world.owner("acme").await, world.owner("other").await);
    let app = owner.repository("Frontend-App", &source).await;
    owner.repository("frontend-app.v2", &source).await;
    owner.repository("frontend", &source).await;
    let id = app["id"].as_str().unwrap();
    for slug in [id, "Frontend-App", "frontend-app", "acme%2FFrontend-App", "acme%252Ffrontend-app"] {
        let found = owner.get(&format!("/v1/repositories/{slug}")).await;
        assert_eq!((found.status, &found.body), (200, &app), "{slug}");
    }
    for slug in [
        "front",
        "frontend-",
        "other%2Ffrontend-app",
        "repo_aaaaaaaaaaaaaaaa",
        "a%20b",
        ".hidden",
        "%C3%A9",
        "x%2Fy%2Fz",
    ] {
        owner.get(&format!("/v1/repositories/{slug}")).await.refused(404, "not_found");
    }
    for slug in [id, "frontend-app", "acme%2Ffrontend-app"] {
        stranger.get(&format!("/v1/repositories/{slug}")).await.refused(404, "not_found");
    }
}

#[tokio::test]
async fn what_is_asked_for_is_kept() {
    let (world, source) = world_with_source().await;
    let owner = world.owner("acme").await;
    source.git(&["branch", "release/1.x"]);
    let body = json!({
        "name": "app", "clone_url": source.url(), "visibility": "public", "default_branch": "release/1.x",
    });
    let created = owner.post("/v1/repositories", body).await;
    assert_eq!(
        (&created.body["visibility"], &created.body["default_branch"]),
        (&json!("public"), &json!("release/1.x"))
    );
}

#[tokio::test]
async fn the_default_branch_is_the_remotes_own() {
    let (world, source) = world_with_source().await;
    source.git(&["checkout", "--quiet", "-b", "trunk"]);
    let app = world.owner("acme").await.repository("app", &source).await;
    assert_eq!(app["default_branch"], "trunk");
}

#[tokio::test]
async fn a_default_branch_must_exist() {
    let (world, source) = world_with_source().await;
    let owner = world.owner("acme").await;
    let with_branch = |branch: &str| json!({"name": "app", "clone_url": source.url(), "default_branch": branch});
    let refused = owner.post("/v1/repositories", with_branch("nope")).await;
    assert_eq!(refused.refused(400, "invalid_ref").body["error"]["message"], "Branch 'nope' not found");
    let refused = owner.post("/v1/repositories", with_branch("a..b")).await;
    assert_eq!(refused.refused(400, "invalid_request").body["error"]["details"][0]["field"], "default_branch");
    assert_eq!(owner.get("/v1/repositories").await.body["meta"]["total"], 0);
}

#[tokio::test]
async fn a_repository_without_a_commit_is_refused() {
    let world = World::start().await;
    let empty = tempfile::tempdir().unwrap();
    let init = std::process::Command::new("git").args(["init", "--quiet", "--bare"]).arg(empty.path()).status();
    assert!(init.unwrap().success());
    let body = json!({"name": "app", "clone_url": empty.path()});
    world.owner("acme").await.post("/v1/repositories", body).await.refused(400, "invalid_ref");
}

#[tokio::test]
async fn a_clone_url_must_be_a_repository_that_may_be_read() {
    let world = World::start().await;
    let owner = world.owner("acme").await;
    let nothing = tempfile::tempdir().unwrap();
    let nothing = nothing.path().display().to_string();
    for url in [
        "",
        "frontend-app",
        "ssh://git@example.com/app.git",
        "git@example.com:app.git",
        "https://user:secret@example.com/app.git",
        "https://example.com/app.git?token=secret",
        "ext::sh -c whoami",
        nothing.as_str(),
        "/does/not/exist",
    ] {
        let refused = owner.post("/v1/repositories", json!({"name": "app", "clone_url": url})).await;
        refused.refused(400, "invalid_clone_url");
        assert!(!refused.body.to_string().contains("secret"), "{refused:?}");
    }
    assert_eq!(owner.get("/v1/repositories").await.body["meta"]["total"], 0);
}

#[tokio::test]
async fn in_aws_only_public_https_hosts_are_read() {
    let world = World::start_with(|options| options.overrides.push((CLONE_HOSTS, "public".to_owned()))).await;
    let source = GitRepository::new(&[]);
    let owner = world.owner("acme").await;
    for url in [
        source.url(),
        format!("file://{}", source.url()),
        "http://example.com/app.git".to_owned(),
        "https://127.0.0.1/app.git".to_owned(),
        "https://[::1]/app.git".to_owned(),
        "https://2130706433/app.git".to_owned(),
        "https://169.254.169.254/latest/meta-data".to_owned(),
        "https://10.0.0.1/app.git".to_owned(),
        "https://localhost/app.git".to_owned(),
    ] {
        owner
            .post("/v1/repositories", json!({"name": "app", "clone_url": url}))
            .await
            .refused(400, "invalid_clone_url");
    }
}

#[tokio::test]
async fn a_git_host_that_does_not_answer_is_not_the_clients_fault() {
    let world = World::start().await;
    let owner = world.owner("acme").await;
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let body = json!({"name": "app", "clone_url": format!("http://{closed}/app.git")});
    owner.post("/v1/repositories", body).await.refused(503, "remote_unavailable");
}

#[tokio::test]
async fn names_are_slugs() {
    let (world, source) = world_with_source().await;
    let owner = world.owner("acme").await;
    let long = "a".repeat(101);
    for name in ["", " ", "a b", "a/b", ".hidden", "repo_x", "REPO_x", "é", "a\u{0}", long.as_str()] {
        let refused = owner.post("/v1/repositories", json!({"name": name, "clone_url": source.url()})).await;
        assert_eq!(refused.refused(400, "invalid_request").body["error"]["details"][0]["field"], "name", "{name:?}");
    }
    for name in ["a", "_", "-", "A.b_c-d", &long[..100]] {
        owner.repository(name, &source).await;
    }
}

#[tokio::test]
async fn a_name_is_taken_once_per_account_whatever_its_case() {
    let (world, source) = world_with_source().await;
    let (owner, other) = (world.owner("acme").await, world.owner("other").await);
    owner.repository("app", &source).await;
    for name in ["app", "App", "APP"] {
        owner
            .post("/v1/repositories", json!({"name": name, "clone_url": source.url()}))
            .await
            .refused(409, "name_taken");
    }
    other.repository("app", &source).await;
    assert_eq!(owner.get("/v1/repositories").await.body["meta"]["total"], 1);
}

#[tokio::test]
async fn of_many_at_once_one_gets_the_name() {
    let (world, source) = world_with_source().await;
    let owner = world.owner("acme").await;
    let contenders: Vec<_> = (0..12)
        .map(|_| {
            let (owner, body) = (owner.clone(), json!({"name": "app", "clone_url": source.url()}));
            tokio::spawn(async move { owner.post("/v1/repositories", body).await })
        })
        .collect();
    let mut winners = Vec::new();
    for contender in contenders {
        let answer = contender.await.unwrap();
        match answer.status {
            201 => winners.push(answer.body["id"].clone()),
            // A transaction that met another may also be asked to come again.
            503 => {
                answer.refused(503, "service_unavailable");
            }
            _ => {
                answer.refused(409, "name_taken");
            }
        }
    }
    let listed = owner.get("/v1/repositories").await;
    let ids: Vec<Value> = listed.column("id").into_iter().map(Value::from).collect();
    assert_eq!((winners.len(), ids), (1, winners));
    assert_eq!(listed.body["meta"]["total"], 1);
}

#[tokio::test]
async fn the_total_is_exact_when_many_are_created_at_once() {
    let (world, source) = world_with_source().await;
    let owner = world.owner("acme").await;
    let creations: Vec<_> = (0..20)
        .map(|number| {
            let (owner, url) = (owner.clone(), source.url());
            tokio::spawn(async move {
                owner.post("/v1/repositories", json!({"name": format!("app-{number}"), "clone_url": url})).await
            })
        })
        .collect();
    let mut names = BTreeSet::new();
    for creation in creations {
        let created = creation.await.unwrap();
        assert_eq!(created.status, 201, "{created:?}");
        names.insert(created.body["name"].as_str().unwrap().to_owned());
    }
    let listed = owner.get("/v1/repositories?per_page=100").await;
    assert_eq!(listed.body["meta"]["total"], 20);
    assert_eq!(listed.column("name").into_iter().collect::<BTreeSet<_>>(), names);
}
