//! The root folder and the path of the buildspec.

use serde_json::{Value, json};
use tests::{Actor, GitRepository, World, buildspec};

/// Registers a repository with these settings, deploys it, and returns the deployment at its end.
async fn ended(owner: &Actor, name: &str, source: &GitRepository, settings: Value) -> Value {
    owner.repository(name, source).await;
    assert_eq!(owner.patch(&format!("/v1/repositories/{name}"), settings).await.status, 200);
    let created = owner.deploy(name, json!({"ref": "main"})).await;
    owner.ended(&created).await
}

fn outputs(log: &[String]) -> Vec<&str> {
    log.iter().filter_map(|line| line.strip_prefix("stdout: ")).collect()
}

#[tokio::test]
async fn a_build_has_its_root_folder_and_the_buildspec_that_is_chosen() {
    let world = World::start().await;
    let owner = world.owner("acme").await;
    let spec = buildspec(&["ls", "cat page"]) + "artifacts:\n  files:\n    - page\n";
    let source = GitRepository::new(&[
        ("buildspec.yml", &buildspec(&["echo top"])),
        ("ci/build.yml", &buildspec(&["echo chosen"])),
        ("apps/web/ci/build.yml", &spec),
        ("apps/web/page", "hello\n"),
    ]);
    for (name, settings, output) in [
        ("top", json!({}), vec!["top"]),
        ("path", json!({"buildspec_path": "ci/build.yml"}), vec!["chosen"]),
        ("folder", json!({"root_folder": "apps/web", "buildspec_path": "ci/build.yml"}), vec!["ci", "page", "hello"]),
    ] {
        let ended = ended(&owner, name, &source, settings.clone()).await;
        let log = owner.log(&ended).await;
        assert_eq!(ended["status"], "succeeded", "{log:?}");
        assert_eq!(outputs(&log), output, "{log:?}");
        for (field, value) in settings.as_object().unwrap() {
            assert_eq!(ended[field], *value);
        }
    }
}

#[tokio::test]
async fn the_settings_of_an_environment_take_the_place_of_the_repositorys() {
    let world = World::start().await;
    let owner = world.owner("acme").await;
    let source = GitRepository::new(&[
        ("buildspec.yml", &buildspec(&["echo top"])),
        ("apps/web/buildspec.yml", &buildspec(&["echo web"])),
        ("apps/web/ci/build.yml", &buildspec(&["echo chosen"])),
        ("apps/docs/buildspec.yml", &buildspec(&["echo docs"])),
    ]);
    owner.repository("app", &source).await;
    owner.patch("/v1/repositories/app", json!({"root_folder": "apps/web"})).await;
    let built = async |environment: &str| {
        let created = owner.deploy("app", json!({"ref": "main", "environment": environment})).await;
        let ended = owner.ended(&created).await;
        assert_eq!(ended["status"], "succeeded", "{ended}");
        (outputs(&owner.log(&ended).await).join(" "), ended)
    };
    for (settings, output) in [
        (json!({"root_folder": "apps/docs"}), "docs"),
        (json!({"root_folder": null, "buildspec_path": "ci/build.yml"}), "chosen"),
        (json!({"root_folder": "", "buildspec_path": null}), "top"),
        (json!({"root_folder": null}), "web"),
    ] {
        let set = owner.set("app", "staging", settings.clone()).await;
        for (field, value) in settings.as_object().unwrap() {
            assert_eq!(set[field], *value, "{set}");
        }
        assert_eq!(built("staging").await.0, output, "{settings}");
        assert_eq!(built("production").await.0, "web", "another environment");
    }
    let events = owner.get("/v1/audit_events?action=environment.updated").await.body["data"].clone();
    let reset = json!([{"field": "root_folder", "from": "", "to": null}]);
    assert!(events.as_array().unwrap().iter().any(|event| event["changes"] == reset), "{events}");

    // A retry keeps the settings of the deployment that it repeats.
    let (_, ended) = built("staging").await;
    owner.set("app", "staging", json!({"root_folder": "apps/docs"})).await;
    let again = owner.act(&ended, "retry", json!({})).await.body;
    assert_eq!(owner.ended(&again).await["root_folder"], "apps/web");
    let refused = owner.patch("/v1/repositories/app/environments/staging", json!({"root_folder": "../x"})).await;
    assert_eq!(refused.refused(400, "invalid_request").body["error"]["details"][0]["field"], "root_folder");
}

#[tokio::test]
async fn git_finds_no_change_in_a_root_folder() {
    let world = World::start().await;
    let owner = world.owner("acme").await;
    let look = [
        "git rev-parse HEAD",
        "git status --porcelain | wc -l",
        "git describe --tags --dirty",
        "git diff HEAD | wc -l",
    ];
    let source = GitRepository::new(&[("apps/web/buildspec.yml", &buildspec(&look)), ("buildspec.yml", "top")]);
    source.git(&["tag", "--annotate", "--message=release", "v1.0"]);
    owner.repository("app", &source).await;
    assert_eq!(owner.patch("/v1/repositories/app", json!({"root_folder": "apps/web"})).await.status, 200);
    let created = owner.deploy("app", json!({"ref": "v1.0"})).await;
    assert_eq!(owner.ended(&created).await["status"], "succeeded");
    let sha = source.git(&["rev-parse", "HEAD"]);
    assert_eq!(outputs(&owner.log(&created).await), [sha.as_str(), "0", "v1.0", "0"]);
}

#[tokio::test]
async fn a_deployment_keeps_the_settings_of_its_creation() {
    let world = World::start_without_queue().await;
    let owner = world.owner("acme").await;
    let source = GitRepository::new(&[
        ("a/buildspec.yml", &buildspec(&["echo a"])),
        ("b/buildspec.yml", &buildspec(&["echo b"])),
    ]);
    owner.repository("app", &source).await;
    let choose = async |folder: &str| {
        assert_eq!(owner.patch("/v1/repositories/app", json!({"root_folder": folder})).await.status, 200);
    };
    choose("a").await;
    let created = owner.deploy("app", json!({"ref": "main"})).await;
    choose("b").await;
    world.deliver(&owner, &created).await;
    assert_eq!(owner.ended(&created).await["root_folder"], "a");
    assert_eq!(outputs(&owner.log(&created).await), ["a"]);
    let new = owner.deploy("app", json!({"ref": "main"})).await;
    let again = owner.act(&created, "retry", json!({})).await.body;
    let back = json!({"environment": "preview", "deployment_id": created["id"]});
    let back = owner.post("/v1/repositories/app/rollback", back).await.body;
    for (deployment, folder) in [(&new, "b"), (&again, "a"), (&back, "a")] {
        assert_eq!(deployment["root_folder"], folder);
    }
    world.deliver(&owner, &back).await;
    owner.ended(&back).await;
    assert_eq!(outputs(&owner.log(&back).await), ["a"]);
}

#[tokio::test]
async fn files_that_look_like_a_buildspec_are_named() {
    let world = World::start().await;
    let owner = world.owner("acme").await;
    let source = GitRepository::new(&[
        ("apps/web/buildspec.yaml", "version: 0.2"),
        ("ci/deploy.yml", &buildspec(&["true"])),
        (".github/workflows/ci.yml", "on: push"),
        ("docs/README.md", "version: 1\nphases: 2"),
    ]);
    let hint = "These files look like one: apps/web/buildspec.yaml, ci/deploy.yml; set root_folder or buildspec_path of the \
                repository";
    for (name, settings, code, message) in [
        ("top", json!({}), "buildspec_missing", format!("The repository has no buildspec.yml at this commit. {hint}")),
        (
            "folder",
            json!({"root_folder": "apps/web"}),
            "buildspec_missing",
            format!("The folder apps/web has no buildspec.yml at this commit. {hint}"),
        ),
        (
            "gone",
            json!({"root_folder": "apps/api"}),
            "root_folder_missing",
            "The repository has no folder apps/api at this commit".to_owned(),
        ),
        (
            "file",
            json!({"root_folder": "ci/deploy.yml"}),
            "root_folder_missing",
            "The repository has no folder ci/deploy.yml at this commit".to_owned(),
        ),
    ] {
        let ended = ended(&owner, name, &source, settings).await;
        assert_eq!(ended["failure"], json!({"code": code, "message": message}));
    }
}
