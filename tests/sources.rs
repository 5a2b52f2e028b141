//! The whole way of a private source: registered through a connection, pushed to, deployed by the push, and its commit has a status.

use axum::body::Bytes;
use axum::extract::{Path, Request};
use axum::http::{HeaderMap, StatusCode};
use axum::middleware::{Next, from_fn};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use ring::digest::{SHA256, digest};
use serde_json::{Value, json};
use tests::git_server::{Reply, authorization};
use tests::{GitRepository, World, eventually};

use crate::hooks;
use crate::statuses::connect;
use crate::statuses::git_host::{GitHost, PASSWORD, USERNAME};

/// The content of a file in Git LFS.
const LARGE: &str = "of the large file\n";

fn oid() -> String {
    digest(&SHA256, LARGE.as_bytes()).as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}

fn has_credential(authorization: Option<&str>) -> bool {
    authorization == Some(&format!("Basic {USERNAME}:{PASSWORD}"))
}

/// Returns the part of a git host that serves files in Git LFS, by its batch API.
fn large_files() -> Router {
    let batch = async |headers: HeaderMap, body: Bytes| {
        let asked: Value = serde_json::from_slice(&body).unwrap();
        assert_eq!(asked["operation"], "download");
        let object = |object: &Value| {
            let href =
                format!("http://{}/large/{}", headers["host"].to_str().unwrap(), object["oid"].as_str().unwrap());
            json!({"oid": object["oid"], "size": object["size"], "actions": {"download": {"href": href}}})
        };
        let objects: Vec<_> = asked["objects"].as_array().unwrap().iter().map(object).collect();
        Json(json!({"transfer": "basic", "objects": objects}))
    };
    let content = async |Path(asked): Path<String>| if asked == oid() { Ok(LARGE) } else { Err(StatusCode::NOT_FOUND) };
    Router::new()
        .route("/acme/app.git/info/lfs/objects/batch", post(batch))
        .route("/large/{oid}", get(content))
        .layer(from_fn(only_with_the_credential))
}

async fn only_with_the_credential(request: Request, next: Next) -> Response {
    match has_credential(authorization(request.headers()).as_deref()) {
        true => next.run(request).await,
        false => StatusCode::UNAUTHORIZED.into_response(),
    }
}

/// Commits a submodule and a file in Git LFS, as `git submodule add` and `git lfs track` do. Returns the SHA.
fn commit_sources(source: &GitRepository, library: &GitRepository) -> String {
    source.commit(&[
        (".gitmodules", "[submodule \"library\"]\n\tpath = library\n\turl = ../library.git\n"),
        (".gitattributes", "*.bin filter=lfs diff=lfs merge=lfs -text\n"),
    ]);
    let pointer = format!("version https://git-lfs.github.com/spec/v1\noid sha256:{}\nsize {}\n", oid(), LARGE.len());
    std::fs::write(source.path().join("large.bin"), pointer).unwrap();
    // Whatever the machine has of Git LFS, the pointer is what is committed.
    let blob = source.git(&["hash-object", "-w", "--no-filters", "large.bin"]);
    source.git(&["update-index", "--add", "--cacheinfo", &format!("100644,{blob},large.bin")]);
    let head = library.git(&["rev-parse", "HEAD"]);
    source.git(&["update-index", "--add", "--cacheinfo", &format!("160000,{head},library")]);
    source.git(&["commit", "--quiet", "--message=Use the library"]);
    source.git(&["rev-parse", "HEAD"])
}

#[tokio::test]
async fn a_push_to_a_private_repository_with_a_submodule_and_large_files_is_deployed_and_its_commit_has_a_status() {
    let world = World::start().await;
    world.hide(PASSWORD);
    let owner = world.owner("acme").await;
    let library = GitRepository::new(&[("text", "of the library\n")]);
    let source = GitRepository::with_commands(&["cat library/text", "cat large.bin"]);
    let library_folder = library.path().join(".git");
    let host = GitHost::start_with("gitea", &source, large_files(), move |seen| {
        if !has_credential(seen.authorization.as_deref()) {
            return Reply::Status(StatusCode::UNAUTHORIZED);
        }
        match seen.path.starts_with("/acme/library.git/") {
            true => Reply::GitOf(library_folder.clone()),
            false => Reply::Git,
        }
    })
    .await;
    connect(&owner, &host, "app").await;
    let rules = json!([{"refs": ["main"], "environment": "production"}]);
    let changed = owner.patch("/v1/repositories/app", json!({"deploy_rules": rules})).await;
    assert_eq!(changed.status, 200, "{changed:?}");
    let (hook, secret) = hooks::new_hook(&owner, json!({"provider": "gitea"})).await;

    let sha = commit_sources(&source, &library);
    let push = hooks::push("refs/heads/main", &sha, json!([hooks::commit(&sha, "Use the library", &["library"])]));
    let body = push.to_string();
    let signature = hooks::hmac_of(secret.as_bytes(), body.as_bytes());
    let headers = [("x-gitea-event", "push"), ("x-gitea-delivery", "1"), ("x-gitea-signature", &signature)];
    let accepted = hooks::post(&world, hook["url"].as_str().unwrap(), &headers, body).await;
    assert_eq!(accepted.status, 202, "{accepted:?}");

    let deliveries = format!("{}/deliveries", hooks::path_of(&hook));
    let delivery = eventually("the result of the delivery", async || {
        let delivery = owner.get(&deliveries).await.body["data"][0].clone();
        (delivery["outcome"] != "queued").then_some(delivery)
    })
    .await;
    assert_eq!((&delivery["outcome"], &delivery["sha"]), (&json!("deployed"), &json!(sha)), "{delivery}");
    let deployment = owner.ended(&json!({"id": delivery["deployments"][0]})).await;
    assert_eq!(
        (&deployment["status"], &deployment["environment"], &deployment["sha"]),
        (&json!("succeeded"), &json!("production"), &json!(sha)),
        "{deployment}"
    );
    let log = owner.log(&deployment).await.join("\n");
    assert!(log.contains("of the library") && log.contains("of the large file"), "{log}");

    let status = eventually("the last status of the commit", async || {
        host.accepted().into_iter().find(|report| report.state == "success")
    })
    .await;
    assert_eq!((status.sha, status.context), (sha, "dotgit/production".to_owned()));
    assert!(status.target_url.ends_with(&format!("/deployments/{}", deployment["id"].as_str().unwrap())));
}
