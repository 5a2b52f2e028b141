//! The source that a build finds, the first time and after a rollback.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::symlink;

use serde_json::{Value, json};
use tests::git_server::GitServer;
use tests::{Actor, World};

use super::commands;

/// Commands that show what is in the source. The last fails unless it is run in the repository's own folder.
const LOOK: [&str; 9] = [
    "git rev-parse HEAD",
    "git describe --tags",
    "git log -1 --format='%s of %an'",
    "echo \"changed $(git status --porcelain | wc -l)\"",
    "readlink device up",
    "cat \"$(printf 'caf\\351')\"",
    "echo \"of the commit's time $(find . -type f -not -path './.git/*' -printf '%Ts\\n' | grep -cx $(git log -1 --format=%ct))\"",
    "echo \"of another time $(find . -type f -not -path './.git/*' -printf '%Ts\\n' | grep -cvx $(git log -1 --format=%ct))\"",
    "test \"$(git rev-parse --show-toplevel)\" = \"$PWD\"",
];

async fn shown(owner: &Actor, deployment: &Value) -> Vec<String> {
    let ended = owner.ended(deployment).await;
    let log = owner.log(deployment).await;
    assert_eq!(ended["status"], "succeeded", "{log:?}");
    log.into_iter().filter(|line| line.starts_with("stdout: ")).collect()
}

#[tokio::test]
async fn a_build_finds_the_repository_as_git_has_it_also_after_a_rollback() {
    let world = World::start().await;
    let owner = world.owner("acme").await;
    let source = commands(&LOOK);
    symlink("/dev/null", source.path().join("device")).unwrap();
    symlink("../../x", source.path().join("up")).unwrap();
    std::fs::write(source.path().join(OsStr::from_bytes(b"caf\xe9")), "latin-1\n").unwrap();
    let sha = source.commit(&[(".gitattributes", "*.txt text eol=crlf\n"), ("a.txt", "1\n2\n")]);
    source.git(&["tag", "--annotate", "--message=release", "v1.0"]);
    owner.repository("app", &source).await;
    let to = |name: &str| json!({"ref": name, "environment": "staging"});
    let first = owner.deploy("app", to("v1.0")).await;
    world.deliver(&owner, &first).await;
    let found = shown(&owner, &first).await;
    let expected = [
        sha.as_str(),
        "v1.0",
        "change of Test",
        "changed 0",
        "/dev/null",
        "../../x",
        "latin-1",
        "of the commit's time 4",
        "of another time 0",
    ];
    assert_eq!(found, expected.map(|line| format!("stdout: {line}")));

    source.commit(&[("buildspec.yml", &tests::buildspec(&["true"]))]);
    let second = owner.deploy("app", to("main")).await;
    world.deliver(&owner, &second).await;
    assert_eq!(shown(&owner, &second).await, Vec::<String>::new());
    // The git host is gone.
    std::fs::remove_dir_all(source.path().join(".git")).unwrap();
    let rollback = owner.post("/v1/repositories/app/rollback", json!({"environment": "staging"})).await.body;
    world.deliver(&owner, &rollback).await;
    assert_eq!(shown(&owner, &rollback).await, found);
}

#[tokio::test]
async fn a_buildspec_that_leads_out_of_the_repository_is_refused_and_one_inside_is_read() {
    let world = World::start().await;
    let owner = world.owner("acme").await;
    for (name, target, code, message) in [
        ("absolute", "/etc/passwd", "buildspec_invalid", "buildspec.yml is a link that leads out of the repository"),
        ("device", "/dev/zero", "buildspec_invalid", "buildspec.yml is a link that leads out of the repository"),
        (
            "up",
            "../../../../etc/passwd",
            "buildspec_invalid",
            "buildspec.yml is a link that leads out of the repository",
        ),
        ("nothing", "nothing", "buildspec_invalid", "buildspec.yml is a link that leads out of the repository"),
        ("inside", "ci/build.yml", "command_failed", "Command 'exit 7' in phase build exited with status 7"),
    ] {
        let source = commands(&["true"]);
        std::fs::remove_file(source.path().join("buildspec.yml")).unwrap();
        symlink(target, source.path().join("buildspec.yml")).unwrap();
        source.commit(&[("ci/build.yml", &tests::buildspec(&["exit 7"]))]);
        owner.repository(name, &source).await;
        let created = owner.deploy(name, json!({"ref": "main"})).await;
        world.deliver(&owner, &created).await;
        let ended = owner.ended(&created).await;
        assert_eq!(ended["failure"], json!({"code": code, "message": message}), "{name}");
    }
}

#[tokio::test]
async fn a_build_has_the_history_and_the_tags_of_the_depth_that_is_set() {
    let world = World::start().await;
    let owner = world.owner("acme").await;
    let source = commands(&["git rev-list --count HEAD", "git tag", "git describe --tags"]);
    let first = source.git(&["rev-parse", "HEAD"]);
    let packed: String = (0..50_001).map(|n| format!("{first} refs/tags/n{n:06}\n")).collect();
    for (n, tag) in ["v1", "v2", "v3", "v4"].into_iter().enumerate() {
        source.commit(&[("file", &n.to_string())]);
        source.git(&["tag", tag]);
    }
    source.commit(&[("file", "last")]);
    owner.repository("app", &source).await;
    assert_eq!(owner.patch("/v1/repositories/app", json!({"fetch_depth": 3})).await.status, 200);
    let deployment = owner.deploy("app", json!({"ref": "main"})).await;
    let expected = ["3", "v3", "v4"].map(|line| format!("stdout: {line}"));
    let described = format!("stdout: v4-1-g{}", source.git(&["rev-parse", "--short", "HEAD"]));
    let found = [&expected[..], &[described]].concat();
    assert_eq!(shown(&owner, &deployment).await, found);

    // Tags that the history does not have are listed, and left out.
    let tags = std::fs::read_to_string(source.path().join(".git/packed-refs")).unwrap_or_default();
    std::fs::write(source.path().join(".git/packed-refs"), tags + &packed).unwrap();
    let server = GitServer::start(&source).await;
    for (name, url) in [("local", source.url()), ("remote", server.url("/app.git"))] {
        let created = owner.post("/v1/repositories", json!({"name": name, "clone_url": url, "fetch_depth": 3})).await;
        assert_eq!(created.status, 201, "{created:?}");
        let deployment = owner.deploy(name, json!({"ref": "main"})).await;
        assert_eq!(shown(&owner, &deployment).await, found, "{name}");
    }
}
