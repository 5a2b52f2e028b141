//! The caches of builds, which CodeBuild restores and saves itself.

use serde_json::{Value, json};
use shared::model::CACHE_LIFETIME;

use super::{BUCKET, Here, event};

impl Here {
    /// Deploys a ref to an environment and ends its build. Returns the cache that the build was started with.
    async fn cache_of(&self, git_ref: &str, environment: &str) -> Value {
        let created = self.owner.deploy("app", json!({"ref": git_ref, "environment": environment})).await;
        let stored = self.started(&self.owner, &created).await;
        self.world.queue_is_empty().await;
        let ended = event(&stored, stored.build.as_ref().unwrap(), "SUCCEEDED");
        assert_eq!(self.told(&ended).await.unwrap(), "succeeded");
        self.moto.calls("CodeBuild_20161006.StartBuild").pop().unwrap()["cacheOverride"].take()
    }
}

/// Returns the key in the bucket at which a build's cache begins.
fn place(cache: &Value) -> String {
    assert_eq!(cache["type"], "S3", "{cache}");
    let place = cache["location"].as_str().unwrap().strip_prefix(&format!("{BUCKET}/")).unwrap().to_owned();
    let parts: Vec<_> = place.split('/').collect();
    assert!(matches!(parts[..], ["caches", _, _, name, "files", _] if name.starts_with("cap_")), "{place}");
    place
}

/// Returns the random name of the folder in which a cache is.
fn folder(cache: &Value) -> String {
    place(cache).split('/').nth(3).unwrap().to_owned()
}

fn buildspec(cache: &str) -> String {
    tests::buildspec(&["make"]) + cache
}

#[tokio::test]
async fn builds_of_a_branch_in_an_environment_share_a_place_that_no_other_build_gets() {
    let Some(here) = Here::start().await else { return };
    assert_eq!(here.cache_of("main", "staging").await, Value::Null, "the buildspec has no cache");
    let sha = here.commit(&buildspec("cache: {paths: [node_modules], key: v1}\n"));
    here.source.git(&["branch", "feature"]);
    here.owner.repository("other", &here.source).await;

    let first = here.cache_of("main", "staging").await;
    let stored = here.world.stored(&here.owner, &here.owner.deploy("other", json!({"ref": "main"})).await).await;
    let repository = here.owner.get("/v1/repositories/app").await.body["id"].take();
    let prefix = format!("caches/{}/{}/cap_", stored.account_id, repository.as_str().unwrap());
    assert!(place(&first).starts_with(&prefix), "{first}");
    let start = here.moto.calls("CodeBuild_20161006.StartBuild").remove(1);
    let spec: Value = serde_json::from_str(start["buildspecOverride"].as_str().unwrap()).unwrap();
    assert_eq!(spec["cache"], json!({"key": "v1", "paths": ["node_modules"]}));

    assert_eq!(here.cache_of("main", "staging").await, first, "each build restores what the one before has saved");
    let others = [here.cache_of("main", "production").await, here.cache_of("feature", "staging").await];
    let stranger = here.started(&here.owner, &json!({"id": stored.id})).await;
    let of_other = here.moto.calls("CodeBuild_20161006.StartBuild");
    let of_other = of_other.iter().find(|start| start["idempotencyToken"] == format!("{}-1", stranger.id)).unwrap();
    let names = [&first, &others[0], &others[1], &of_other["cacheOverride"]].map(folder);
    assert_eq!(names.iter().collect::<std::collections::BTreeSet<_>>().len(), 4, "{names:?}");

    here.commit(&buildspec("cache: {paths: [vendor], key: v1}\n"));
    let other_paths = here.cache_of("main", "staging").await;
    assert_eq!(folder(&other_paths), folder(&first));
    assert_ne!(place(&other_paths), place(&first), "other paths have another cache");

    let created = here.owner.deploy("app", json!({"ref": sha, "environment": "staging"})).await;
    here.started(&here.owner, &created).await;
    assert_eq!(here.moto.calls("CodeBuild_20161006.StartBuild").pop().unwrap()["cacheOverride"], Value::Null);
    let log = here.owner.log(&created).await;
    let note = "system: The build has no cache: a cache belongs to a branch or tag, and the deployment is of a commit";
    assert!(log.contains(&note.to_owned()), "{log:?}");
    assert!(log.iter().all(|line| !line.contains("cap_")), "{log:?}");
}

#[tokio::test]
async fn builds_get_another_place_after_a_week_and_after_the_cache_was_cleared() {
    let Some(here) = Here::start().await else { return };
    here.commit(&buildspec("cache: {paths: [node_modules]}\n"));
    let first = here.cache_of("main", "staging").await;
    here.world.clock.advance(CACHE_LIFETIME / 2);
    assert_eq!(here.cache_of("main", "staging").await, first);
    here.world.clock.advance(CACHE_LIFETIME / 2);
    let second = here.cache_of("main", "staging").await;
    assert_ne!(folder(&second), folder(&first));

    for (cache, file) in [(&second, "a"), (&second, "b/c"), (&first, "a")] {
        here.moto.put_object(BUCKET, &format!("{}/{file}", place(cache)), "x").await;
    }
    let cleared = here.owner.delete("/v1/repositories/app/cache").await;
    assert_eq!(cleared.status, 200, "{cleared:?}");
    assert_eq!(here.moto.list_objects(BUCKET, &place(&second)).await, [""; 0]);
    assert_eq!(here.moto.list_objects(BUCKET, &place(&first)).await.len(), 1, "the archive's rule deletes it");
    assert_ne!(folder(&here.cache_of("main", "staging").await), folder(&second));
}
