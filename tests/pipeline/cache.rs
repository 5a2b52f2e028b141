//! Caches that builds leave to later ones.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use serde_json::{Value, json};
use shared::model::{BuildCache, BuildCaches, CacheChanged, CacheKeys, CacheScope, Status};
use shared::settings::BUILD_CACHES;
use tests::{Actor, GitRepository, World, eventually};

use super::Outside;

/// Shows what is in the cache, and adds the name of the commit's branch or tag.
const ADD: &str =
    "cat modules/list 2>/dev/null || echo nothing; mkdir -p modules; echo $CODEBUILD_WEBHOOK_TRIGGER >> modules/list";

fn buildspec(cache: &str, commands: &[&str]) -> String {
    let commands: String = commands.iter().map(|command| format!("      - {command:?}\n")).collect();
    format!("version: 0.2\nphases:\n  build:\n    commands:\n{commands}cache:\n{cache}")
}

fn source(cache: &str, commands: &[&str]) -> GitRepository {
    let source = GitRepository::with_commands(&["true"]);
    source.commit(&[("buildspec.yml", &buildspec(cache, commands))]);
    source
}

/// Runs a deployment and returns the lines of its log.
async fn ran(world: &World, owner: &Actor, repository: &str, git_ref: &str, environment: &str) -> Vec<String> {
    let deployment = owner.deploy(repository, json!({"ref": git_ref, "environment": environment})).await;
    world.deliver(owner, &deployment).await;
    let (ended, log) = (owner.ended(&deployment).await, owner.log(&deployment).await);
    assert_eq!(ended["status"], "succeeded", "{log:?}");
    log
}

/// Returns what the build has printed.
fn printed(log: &[String]) -> Vec<&str> {
    log.iter().filter_map(|line| line.strip_prefix("stdout: ")).collect()
}

#[track_caller]
fn assert_says(log: &[String], sentence: &str) {
    assert!(log.iter().any(|line| line.starts_with(&format!("system: {sentence}"))), "{sentence} is not in {log:#?}");
}

/// Returns the files of caches in the archive.
fn stored(world: &World) -> Vec<PathBuf> {
    let url = world.stack.app().settings().get("ARCHIVE_URL").unwrap();
    let mut folders = vec![PathBuf::from(url.trim_start_matches("file:").trim_start_matches("//")).join("caches")];
    let mut files = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).into_iter().flatten() {
            let path = entry.unwrap().path();
            if path.is_dir() { folders.push(path) } else { files.push(path) }
        }
    }
    files
}

async fn scope(world: &World, owner: &Actor, git_ref: &str, environment: &str) -> CacheScope {
    let deployment = owner.deploy("app", json!({"ref": git_ref, "environment": environment})).await;
    CacheScope::of(&world.stored(owner, &deployment).await).unwrap()
}

#[tokio::test]
async fn a_cache_is_found_by_builds_of_its_branch_in_its_environment_and_saved_by_no_other() {
    let world = World::start().await;
    let owner = world.owner("acme").await;
    let source = source("  paths: [modules]\n", &[ADD]);
    source.git(&["branch", "feature"]);
    owner.repository("app", &source).await;
    owner.repository("other", &source).await;

    let first = ran(&world, &owner, "app", "main", "staging").await;
    assert_eq!(printed(&first), ["nothing"]);
    assert_says(&first, "There is no cache yet");
    assert_says(&first, "Saved the cache (");
    assert!(first.iter().all(|line| !line.contains("cap_")), "{first:?}");
    let second = ran(&world, &owner, "app", "main", "staging").await;
    assert_eq!(printed(&second), ["branch/main"]);
    assert_says(&second, "Restored the cache of ");

    assert_eq!(printed(&ran(&world, &owner, "app", "main", "production").await), ["nothing"], "another environment");
    assert_eq!(printed(&ran(&world, &owner, "other", "main", "staging").await), ["nothing"], "another repository");

    // Another branch starts with the cache of the default branch, and changes only its own.
    let feature = ran(&world, &owner, "app", "feature", "staging").await;
    assert_eq!(printed(&feature), ["branch/main", "branch/main"]);
    let again = ran(&world, &owner, "app", "feature", "staging").await;
    assert_eq!(printed(&again), ["branch/main", "branch/main", "branch/feature"]);
    assert_eq!(printed(&ran(&world, &owner, "app", "main", "staging").await), ["branch/main", "branch/main"]);
    assert_eq!(printed(&ran(&world, &owner, "app", "main", "production").await), ["branch/main"]);

    let sha = source.git(&["rev-parse", "main"]);
    let commit = ran(&world, &owner, "app", &sha, "staging").await;
    assert_eq!(printed(&commit), ["nothing"], "anybody may have made the commit");
    assert_says(
        &commit,
        "The build has no cache: a cache belongs to a branch or tag, and the deployment is of a commit",
    );

    assert_eq!(stored(&world).len(), 4, "each save deletes what it replaces");
    let stranger = world.owner("globex").await;
    stranger.repository("app", &source).await;
    assert_eq!(printed(&ran(&world, &stranger, "app", "main", "staging").await), ["nothing"], "another account");
}

#[tokio::test]
async fn a_repository_or_an_environment_turns_caches_off() {
    let world = World::start().await;
    let owner = world.owner("acme").await;
    let source = source("  paths: [modules]\n", &[ADD]);
    owner.repository("app", &source).await;
    let staging = async || ran(&world, &owner, "app", "main", "staging").await;
    assert_eq!(printed(&staging().await), ["nothing"]);
    let off = "`cache` is ignored: the settings of the repository or the environment turn it off";
    for (of_repository, of_environment, is_kept) in [
        (true, json!(false), false),
        (false, json!(null), false),
        (false, json!(true), true),
        (true, json!(null), true),
    ] {
        assert_eq!(
            owner.patch("/v1/repositories/app", json!({"cache": of_repository})).await.body["cache"],
            of_repository
        );
        assert_eq!(owner.set("app", "staging", json!({"cache": of_environment})).await["cache"], of_environment);
        let log = staging().await;
        assert_eq!(printed(&log)[0] != "nothing", is_kept, "{of_repository} {of_environment}");
        assert_eq!(log.iter().any(|line| line.contains(off)), !is_kept, "{log:?}");
    }
    // An approval covers the setting.
    let created = owner.deploy("app", json!({"ref": "main", "environment": "staging"})).await;
    let mut stored = world.stored(&owner, &created).await;
    let with_cache = stored.approval_digest();
    stored.source.cache = false;
    assert_ne!(stored.approval_digest(), with_cache);
}

#[tokio::test]
async fn an_operator_turns_the_caches_of_all_builds_off() {
    let world = World::start_without_queue().await;
    let owner = world.owner("acme").await;
    let source = source("  paths: [modules]\n", &[ADD]);
    owner.repository("app", &source).await;
    ran(&world, &owner, "app", "main", "staging").await;
    let kept = stored(&world);
    assert_eq!(kept.len(), 1);

    let narrower = world.environment_with(BUILD_CACHES, "forbidden");
    let gateway = world.gateway_of(&narrower).await;
    let here = owner.at(gateway.endpoint());
    let (repository, staging) = ("/v1/repositories/app", "/v1/repositories/app/environments/staging");
    let new = |cache: Value| json!({"name": "other", "clone_url": source.url(), "cache": cache});
    let refused = [
        here.patch(repository, json!({"cache": true})).await,
        here.patch(staging, json!({"cache": true})).await,
        here.post("/v1/repositories", new(json!(true))).await,
    ];
    let message = "must be false: the operator does not allow caches of builds";
    for refused in refused {
        let details = refused.refused(400, "invalid_request").body["error"]["details"].clone();
        assert_eq!(details, json!([{"field": "cache", "message": message}]));
    }
    for cache in [json!(false), Value::Null] {
        assert_eq!(here.patch(repository, json!({"cache": cache})).await.status, 200);
        assert_eq!(here.patch(staging, json!({"cache": cache})).await.status, 200);
    }
    let created = here.post("/v1/repositories", new(Value::Null)).await;
    assert_eq!((created.status, &created.body["cache"]), (201, &json!(true)), "{created:?}");

    let created = owner.deploy("app", json!({"ref": "main", "environment": "staging"})).await;
    let message = json!({"account_id": owner.account_id, "deployment_id": created["id"]}).to_string();
    let event = json!({"Records": [{"messageId": "m", "body": message}]});
    narrower.consumer().unwrap().invoke(event).await.unwrap();
    assert_eq!(owner.ended(&created).await["status"], "succeeded");
    let log = owner.log(&created).await;
    assert_eq!(printed(&log), ["nothing"]);
    assert!(log.contains(&"system: `cache` is ignored: the operator does not allow caches of builds.".to_owned()));
    assert_eq!(stored(&world), kept, "the build saved none");
}

#[tokio::test]
async fn a_build_that_fails_saves_nothing() {
    let world = World::start().await;
    let owner = world.owner("acme").await;
    let source = source("  paths: [modules]\n", &[ADD, "exit 1"]);
    owner.repository("app", &source).await;
    let deployment = owner.deploy("app", json!({"ref": "main", "environment": "staging"})).await;
    world.deliver(&owner, &deployment).await;
    assert_eq!(owner.ended(&deployment).await["failure"]["code"], "command_failed");
    assert_eq!(stored(&world), Vec::<PathBuf>::new());
}

#[tokio::test]
async fn a_key_names_a_cache_that_does_not_change_and_other_keys_do_instead() {
    let world = World::start().await;
    let owner = world.owner("acme").await;
    let cache = "  key: v-$(codebuild-hash-files lock)-$(uname -s)-$X\n  fallback-keys: ['w-', 'v-']\n  paths: ['~/store/**/*']\n";
    let add = "cat ~/store/list 2>/dev/null || echo nothing; mkdir -p ~/store; echo $(cat lock) >> ~/store/list";
    let source = source(cache, &[add]);
    source.commit(&[("lock", "one\n")]);
    owner.repository("app", &source).await;
    let staging = async || ran(&world, &owner, "app", "main", "staging").await;
    assert_eq!(printed(&staging().await), ["nothing"]);
    let same = staging().await;
    assert_eq!(printed(&same), ["one"]);
    assert_says(&same, "Restored the cache v-");
    assert!(
        same.iter().any(|line| line.ends_with("is not saved again: a cache with a key does not change")),
        "{same:?}"
    );
    assert_eq!(printed(&staging().await), ["one"]);

    source.commit(&[("lock", "two\n")]);
    assert_eq!(printed(&staging().await), ["one"], "a fallback");
    assert_eq!(printed(&staging().await), ["one", "two"]);
    source
        .commit(&[("buildspec.yml", &buildspec(&format!("{cache}  action: restore\n"), &[add])), ("lock", "three\n")]);
    assert_eq!(printed(&staging().await), ["one", "two"]);
    assert_eq!(printed(&staging().await), ["one", "two"], "not saved");
    let other_paths = cache.replace("store/", "store/lis");
    source.commit(&[("buildspec.yml", &buildspec(&other_paths, &[add]))]);
    assert_eq!(printed(&staging().await), ["nothing"], "other paths have another cache");

    // A cache in use is saved again before it is over, and one that is not used is gone.
    source.commit(&[("buildspec.yml", &buildspec(cache, &[add])), ("lock", "one\n")]);
    world.clock.advance(Duration::from_secs(4 * 24 * 60 * 60));
    let renewed = staging().await;
    assert_eq!(printed(&renewed), ["one"]);
    assert_says(&renewed, "Saved the cache (");
    world.clock.advance(Duration::from_secs(4 * 24 * 60 * 60));
    assert_eq!(printed(&staging().await), ["one", "one"]);
    world.clock.advance(Duration::from_secs(8 * 24 * 60 * 60));
    assert_eq!(printed(&staging().await), ["nothing"]);
}

#[tokio::test]
async fn a_cache_that_cant_be_used_is_a_line_of_the_log() {
    let world = World::start().await;
    let owner = world.owner("acme").await;
    let source = source("  paths: [modules, /etc/passwd]\n", &[ADD, "mkfifo modules/pipe"]);
    owner.repository("app", &source).await;
    let staging = async || ran(&world, &owner, "app", "main", "staging").await;
    let first = staging().await;
    assert_says(&first, "Left out of the cache: \"/etc/passwd");
    assert_says(&first, "Left out of the cache: 1 special file(s)");

    let [file] = &stored(&world)[..] else { panic!("one cache") };
    let zip = fs::read(file).unwrap();
    fs::write(file, &zip[..zip.len() - 10]).unwrap();
    let damaged = staging().await;
    assert_eq!(printed(&damaged), ["nothing"]);
    assert_says(&damaged, "The cache is not restored: ");
    for file in stored(&world) {
        fs::remove_file(file).unwrap();
    }
    let gone = staging().await;
    assert_eq!(printed(&gone), ["nothing"]);
    assert_says(&gone, "The cache is not restored: its file is gone");

    for (key, sentence) in [
        ("\"$(exit 3)\"", "its key $(exit 3) must have 1 to 512 bytes of one line"),
        ("$(printf %600s x)", "its key $(printf %600s x) must have"),
        ("v-$TOKEN", "its key v-$TOKEN contains a secret"),
        ("$(codebuild-hash-files '[')", "its key $(codebuild-hash-files '[') has a pattern that is none"),
    ] {
        source.commit(&[("buildspec.yml", &buildspec(&format!("  key: {key}\n  paths: [modules]\n"), &[ADD]))]);
        let body = json!({"ref": "main", "environment": "staging", "variables": {"TOKEN": {"value": "hunter2-hunter2", "secret": true}}});
        let deployment = owner.deploy("app", body).await;
        world.deliver(&owner, &deployment).await;
        assert_eq!(owner.ended(&deployment).await["status"], "succeeded", "{key}");
        let log = owner.log(&deployment).await;
        assert_says(&log, &format!("The build has no cache: {sentence}"));
    }
}

#[tokio::test]
async fn a_cache_that_is_larger_than_the_plan_allows_is_not_saved() {
    let world = World::start().await;
    let owner = world.owner_on("starter", "acme").await;
    let source = source("  paths: [modules]\n", &["mkdir modules; truncate -s 101M modules/large"]);
    owner.repository("app", &source).await;
    let deployment = owner.deploy("app", json!({"ref": "main", "environment": "staging"})).await;
    world.deliver(&owner, &deployment).await;
    // The plan does not allow to ask the API as often as that takes.
    let status = eventually("the deployment's end", async || {
        Some(world.stored(&owner, &deployment).await.status).filter(|status| status.is_final())
    });
    assert_eq!(status.await, Status::Succeeded);
    let log = owner.log(&deployment).await;
    assert_says(&log, "The cache is not saved: it would have more than 100000 files or 100 MiB");
    assert_eq!(stored(&world), Vec::<PathBuf>::new());
}

#[tokio::test]
async fn of_two_builds_that_save_at_once_one_does_and_a_sixth_key_replaces_the_oldest() {
    let world = World::start_without_queue().await;
    let owner = world.owner("acme").await;
    let source = source("  paths: [modules]\n", &[ADD]);
    owner.repository("app", &source).await;
    let created = owner.deploy("app", json!({"ref": "main", "environment": "staging"})).await;
    let running = world.lose_a_runner(&owner, &created).await;
    let scope = CacheScope::of(&running).unwrap();
    let (table, now) = (world.stack.app().table(), world.clock.now());
    let saving = async |before: Option<&BuildCaches>, key: &str| {
        let keys = CacheKeys { paths: "p", key, fallbacks: &[] };
        BuildCaches::save(before, table, &running, &scope, BuildCache::new(keys, 1, now)).await.unwrap()
    };
    let found = async || BuildCaches::load(table, &scope).await.unwrap();
    let (one, other) = tokio::join!(saving(None, "a"), saving(None, "b"));
    assert_eq!([&one, &other].into_iter().filter(|saved| **saved == Err(CacheChanged)).count(), 1, "{one:?} {other:?}");
    let before = found().await;
    let (one, other) = tokio::join!(saving(before.as_ref(), "c"), saving(before.as_ref(), "c"));
    assert_eq!([&one, &other].into_iter().filter(|saved| **saved == Err(CacheChanged)).count(), 1, "{one:?} {other:?}");
    for key in ["d", "e", "f", "g"] {
        let dropped = saving(found().await.as_ref(), key).await.unwrap();
        assert_eq!(dropped.len(), usize::from(key == "g"), "{key}");
    }
    assert_eq!(saving(found().await.as_ref(), "f").await.unwrap().len(), 1, "it replaces the one with its key");
}

#[tokio::test]
async fn a_cache_is_cleared_with_its_repository_and_by_who_may_deploy() {
    let world = World::start().await;
    let owner = world.owner("acme").await;
    let outside = Outside::new();
    let wait = format!(
        "if [ $DEPLOYMENT_ENVIRONMENT = production ]; then {}; {}; fi",
        outside.count(),
        outside.wait_for("end")
    );
    let source = source("  paths: [modules]\n", &[ADD, &wait]);
    owner.repository("app", &source).await;
    let repository = owner.get("/v1/repositories/app").await.body;
    for environment in ["staging", "preview"] {
        ran(&world, &owner, "app", "main", environment).await;
    }
    outside.open("end");
    ran(&world, &owner, "app", "main", "production").await;
    assert_eq!(stored(&world).len(), 3);

    // A build that restored the cache brings nothing of it back.
    fs::remove_file(outside.path("end")).unwrap();
    fs::remove_file(outside.path("count")).unwrap();
    let running = owner.deploy("app", json!({"ref": "main", "environment": "production"})).await;
    let delivery = world.deliver(&owner, &running);
    let clear = async {
        outside.started().await;
        let cleared = owner.delete("/v1/repositories/app/cache").await;
        assert_eq!((cleared.status, &cleared.body), (200, &json!({"id": repository["id"], "deleted": true})));
        outside.open("end");
    };
    tokio::join!(delivery, clear);
    assert_eq!(owner.ended(&running).await["status"], "succeeded");
    let log = owner.log(&running).await;
    assert_says(&log, "The cache is not saved: another build has saved one meanwhile, or the cache was cleared");
    assert_eq!(stored(&world), Vec::<PathBuf>::new());
    assert_eq!(printed(&ran(&world, &owner, "app", "main", "staging").await), ["nothing"]);
    let events = owner.get("/v1/audit_events?action=repository.cache_cleared").await.body;
    assert_eq!(events["data"][0]["target"]["id"], repository["id"], "{events}");

    let scope = scope(&world, &owner, "main", "staging").await;
    let table = world.stack.app().table();
    assert!(BuildCaches::load(table, &scope).await.unwrap().is_some());
    let waiting: Vec<Value> =
        owner.get("/v1/repositories/app/deployments?status=queued").await.body["data"].as_array().unwrap().clone();
    for deployment in waiting {
        owner.act(&deployment, "cancel", json!({})).await;
    }
    let ended = world.stored(&owner, &running).await;
    assert_eq!(owner.delete("/v1/repositories/app").await.status, 200);
    eventually("the deletion of the caches", async || {
        world.sweep().await.unwrap();
        BuildCaches::load(table, &scope).await.unwrap().is_none().then_some(())
    })
    .await;
    let saved = BuildCache::new(CacheKeys { paths: "p", key: "", fallbacks: &[] }, 1, world.clock.now());
    assert_eq!(
        BuildCaches::save(None, table, &ended, &scope, saved).await.unwrap(),
        Err(CacheChanged),
        "a late runner"
    );
}
