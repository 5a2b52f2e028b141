//! The source that a build finds, the first time and after a rollback.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::symlink;

use serde_json::{Value, json};
use tests::{Actor, World};

use super::commands;

/// Commands that show what is in the source. The last fails unless it is run in the repository's own folder.
const LOOK: [&str; 8] = [
    "git rev-parse HEAD",
    "git describe --tags",
    "git log -1 --format='%s of %an'",
    "echo \"changed $(git status --porcelain | wc -l)\"",
    "readlink device up",
    "cat \"$(printf 'caf\\351')\"",
    "echo \"as old as the commit $(find . -newermt @$(git log -1 --format=%ct) -type f -not -path './.git/*' | wc -l)\"",
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
        "as old as the commit 0",
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
