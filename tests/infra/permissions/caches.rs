//! The caches of builds, for the walk.

use archive::Archive;
use serde_json::json;
use tests::{Actor, GitRepository};
use tokio::io::{AsyncRead, AsyncReadExt};

use super::super::CONSUMER;
use super::walk::Walk;

/// Saves, restores, replaces and clears a cache. `broken` is a file that can't be read.
pub(super) async fn keep_and_clear(walk: &Walk, owner: &Actor, broken: impl AsyncRead + Unpin) {
    let buildspec =
        tests::buildspec(&["mkdir -p modules; echo x >> modules/x; wc -l modules/x"]) + "cache: {paths: modules}\n";
    let source = GitRepository::new(&[("buildspec.yml", &buildspec)]);
    let repository = owner.repository("cached", &source).await;
    for lines in 1..=2 {
        let new = json!({"ref": "main", "environment": "staging"});
        let created = owner.post("/v1/repositories/cached/deployments", new).await;
        let created = walk.take("create-deployment", created, 201);
        walk.ended(owner, &created).await;
        let log = owner.log(&created).await;
        assert!(log.contains(&format!("stdout: {lines} modules/x")), "{log:?}");
    }
    let (session, _) = walk.world.session(owner).await;
    for (caller, name) in [(owner, "cached"), (&session, repository["id"].as_str().unwrap())] {
        let cleared = caller.delete(&format!("/v1/repositories/{name}/cache")).await;
        walk.take("delete-repository-cache", cleared, 200);
    }
    let archive = Archive::new(&walk.app(CONSUMER)).unwrap();
    let mut torn = tokio::io::repeat(0).take(11 << 20).chain(broken);
    let prefix = format!("caches/acct/repo/cap_{}", "0".repeat(32));
    archive.put_cache(&prefix, &mut torn).await.unwrap_err();
    archive.delete_cache(&prefix).await.unwrap();
}
