//! The zip of all artifacts.

use std::io::{Cursor, Read};

use ::zip::ZipArchive;
use archive::Archive;
use reqwest::header::{CONTENT_RANGE, ETAG, IF_NONE_MATCH, RANGE};
use reqwest::{Method, Response};
use serde_json::{Value, json};
use tests::{Actor, GitRepository, World, buildspec};

use super::{Results, path};

async fn zip(actor: &Actor, deployment: &Value) -> Response {
    actor.request(Method::GET, &format!("{}/artifacts.zip", path(deployment))).send().await.unwrap()
}

/// Returns the names and the contents of a zip's files.
fn files(zip: &[u8]) -> Vec<(String, Vec<u8>)> {
    let mut zip = ZipArchive::new(Cursor::new(zip)).unwrap();
    let count = zip.len();
    let read = |at| {
        let mut file = zip.by_index(at).unwrap();
        let mut content = Vec::new();
        file.read_to_end(&mut content).unwrap();
        (file.name().unwrap().into_owned(), content)
    };
    (0..count).map(read).collect()
}

/// Creates a deployment that has ended without a run.
async fn ended(owner: &Actor) -> Value {
    owner.set("app", "staging", json!({"required_approvals": 1})).await;
    let created = owner.deploy("app", json!({"ref": "main", "environment": "staging"})).await;
    owner.act(&created, "cancel", json!({})).await.body
}

#[tokio::test]
async fn the_artifacts_of_a_failed_build_are_one_zip_that_is_saved_under_the_deployments_id() {
    let make = [
        "mkdir dist",
        "echo one > dist/a.txt",
        "echo two > 'ü 100%.txt'",
        "truncate -s 5M large.bin",
        "touch empty",
        "exit 1",
    ];
    let spec = buildspec(&make) + "artifacts:\n  files: [dist/a.txt, 'ü 100%.txt', large.bin, empty]\n";
    let results = Results::of(&spec).await;
    let deployment = results.deployed(json!({})).await;
    assert_eq!(deployment["status"], "failed", "{deployment}");
    let answer = zip(&results.owner, &deployment).await;
    assert_eq!(
        (answer.status().as_u16(), &answer.headers()["content-type"]),
        (200, &"application/zip".parse().unwrap())
    );
    let id = deployment["id"].as_str().unwrap();
    let disposition = format!("attachment; filename=\"{id}-artifacts.zip\"; filename*=UTF-8''{id}-artifacts.zip");
    assert_eq!(answer.headers()["content-disposition"], disposition);
    let bytes = answer.bytes().await.unwrap();
    let expected = [
        ("dist/a.txt", b"one\n".to_vec()),
        ("empty", Vec::new()),
        ("large.bin", vec![0; 5 << 20]),
        ("ü 100%.txt", b"two\n".to_vec()),
    ];
    let found = files(&bytes);
    assert_eq!(found.len(), expected.len());
    for ((name, content), (expected, of)) in found.iter().zip(&expected) {
        assert!(name == expected && content == of, "{name} of {} bytes", content.len());
    }
    // The zip is none of the artifacts.
    assert_eq!(results.artifacts(&deployment).await["meta"]["total"], 4);
}

#[tokio::test]
async fn a_zip_is_made_once_for_each_set_and_sent_in_parts() {
    let world = World::start_without_queue().await;
    let (owner, _source) = world.app().await;
    let deployment = ended(&owner).await;
    world.put_artifact(&owner, &deployment, "a.txt", b"first").await;
    let first = zip(&owner, &deployment).await;
    let etag = first.headers()[ETAG].clone();
    let whole = first.bytes().await.unwrap();
    let ask = async |method: Method, name, value: &str| {
        let request = owner.request(method, &format!("{}/artifacts.zip", path(&deployment)));
        request.header(name, value).send().await.unwrap()
    };
    let again = ask(Method::GET, IF_NONE_MATCH, etag.to_str().unwrap()).await;
    assert_eq!((again.status().as_u16(), again.bytes().await.unwrap().len()), (304, 0));
    let part = ask(Method::GET, RANGE, "bytes=2-5").await;
    assert_eq!((part.status().as_u16(), &part.headers()[ETAG]), (206, &etag));
    assert_eq!(part.headers()[CONTENT_RANGE], format!("bytes 2-5/{}", whole.len()));
    assert!(part.bytes().await.unwrap() == whole[2..6]);
    let head = ask(Method::HEAD, RANGE, "bytes=0-").await;
    assert!(head.status().is_success() && head.bytes().await.unwrap().is_empty());

    world.put_artifact(&owner, &deployment, "a.txt", b"second").await;
    let changed = zip(&owner, &deployment).await;
    assert_ne!(changed.headers()[ETAG], etag);
    assert_eq!(files(&changed.bytes().await.unwrap()), [("a.txt".to_owned(), b"second".to_vec())]);
}

#[tokio::test]
async fn there_is_no_zip_of_nothing_of_too_much_or_of_a_deployment_that_goes_on() {
    let world = World::start_without_queue().await;
    let (owner, _source) = world.app().await;
    let queued = owner.deploy("app", json!({"ref": "main"})).await;
    world.put_artifact(&owner, &queued, "a.txt", b"x").await;
    owner.get(&format!("{}/artifacts.zip", path(&queued))).await.refused(409, "not_finished");

    let empty = ended(&owner).await;
    let refused = owner.get(&format!("{}/artifacts.zip", path(&empty))).await;
    assert_eq!(refused.refused(404, "not_found").body["error"]["message"], "The deployment has no artifacts");

    let archive = Archive::new(world.stack.app()).unwrap();
    let file = async |deployment: &Value, name: &str| {
        world.put_artifact(&owner, deployment, name, b"").await;
        let prefix = world.stored(&owner, deployment).await.artifacts_prefix();
        archive.file(&archive.artifact(&prefix, name).await.unwrap().unwrap()).unwrap().unwrap()
    };
    let many = ended(&owner).await;
    let first = file(&many, "0000").await;
    for number in 1..2001 {
        std::fs::write(first.with_file_name(format!("{number:04}")), "").unwrap();
    }
    let refused = owner.get(&format!("{}/artifacts.zip", path(&many))).await;
    let message = "The artifacts are 2001 files of 0 bytes, and a zip holds at most 2000 files of 268435456 bytes; download \
                   them one at a time";
    assert_eq!(refused.refused(409, "limit_reached").body["error"]["message"], message);

    let large = ended(&owner).await;
    for name in ["a.bin", "b.bin"] {
        let file = std::fs::OpenOptions::new().write(true).open(file(&large, name).await).unwrap();
        file.set_len((128 << 20) + 1).unwrap();
    }
    owner.get(&format!("{}/artifacts.zip", path(&large))).await.refused(409, "limit_reached");
}

#[tokio::test]
async fn a_zip_is_for_those_who_may_read_the_deployment() {
    let world = World::start_without_queue().await;
    let (owner, _source) = world.app().await;
    let other = world.owner("other").await;
    let source = GitRepository::with_commands(&["true"]);
    other.repository("app", &source).await;
    let deployment = ended(&owner).await;
    world.put_artifact(&owner, &deployment, "a.txt", b"x").await;
    let zip = format!("{}/artifacts.zip", path(&deployment));
    let refused = other.get(&zip).await;
    assert_eq!(refused.refused(404, "not_found").body["error"]["message"], "Deployment not found");
    world.anonymous().get(&zip).await.refused(401, "missing_token");
}
