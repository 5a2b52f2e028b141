//! Content errors: faults of the files that customers commit and that their builds make. Each ends the deployment at once, with the
//! path, and rings no alarm of the operators.

use std::io::Write;
use std::process::{Command, Stdio};

use serde_json::{Value, json};
use tests::{Actor, GitRepository, World};

use crate::codebuild::moto::Moto;

const BUCKET: &str = "archive";

/// The end of a deployment: a success, or a failure with its code and a part of its message.
type End = Result<(), (&'static str, String)>;

/// A commit with its end in the archive of a local stack and in S3.
struct Case {
    name: &'static str,
    entries: Vec<Entry>,
    in_folder: End,
    in_bucket: End,
}

/// A mode, a path in any bytes, and a content.
type Entry = (&'static str, Vec<u8>, Vec<u8>);

fn file(path: impl AsRef<[u8]>, content: impl AsRef<[u8]>) -> Entry {
    ("100644", path.as_ref().to_vec(), content.as_ref().to_vec())
}

fn link(path: impl AsRef<[u8]>, target: impl AsRef<[u8]>) -> Entry {
    ("120000", path.as_ref().to_vec(), target.as_ref().to_vec())
}

fn buildspec(commands: &[&str]) -> Entry {
    let commands: Vec<_> = commands.iter().map(|command| json!(command).to_string()).collect();
    let commands: Vec<_> = commands.iter().map(String::as_str).collect();
    file("buildspec.yml", tests::buildspec(&commands) + "artifacts: {files: ['**/*']}\n")
}

/// A case that ends alike in both archives.
fn commit(name: &'static str, mut entries: Vec<Entry>, end: End) -> Case {
    if !entries.iter().any(|(_, path, _)| path.starts_with(b"buildspec.yml")) {
        entries.push(buildspec(&["true"]));
    }
    Case { name, entries, in_folder: end.clone(), in_bucket: end }
}

fn build(name: &'static str, commands: &[&str], end: End) -> Case {
    commit(name, vec![buildspec(commands)], end)
}

fn failed(code: &'static str, part: impl Into<String>) -> End {
    Err((code, part.into()))
}

fn cases() -> Vec<Case> {
    let (long, longest) = ("n".repeat(256), "n".repeat(255));
    let deep = ["d".repeat(200), "e".repeat(200), "f".repeat(200), "g".repeat(200), "h".repeat(200)].join("/");
    let beyond = "folder/".repeat(600) + "x";
    let is_root = rustix::process::geteuid().is_root();
    let closed = || if is_root { Ok(()) } else { failed("artifact_invalid", "closed.txt") };
    let state = "\"$HOME/../state\"";
    vec![
        commit("a name of 256 bytes", vec![file(&long, "x")], failed("source_unavailable", &long)),
        commit("a path that is too long", vec![file(&beyond, "x")], failed("source_unavailable", "folder/folder")),
        commit("a link without a target", vec![link("empty", "")], failed("source_unavailable", "empty")),
        commit("a link to a NUL", vec![link("nul", "a\0b")], failed("source_unavailable", "nul")),
        commit("a link that is too long", vec![link("far", "a/".repeat(2500))], failed("source_unavailable", "far")),
        commit(
            "names that differ in bytes that are not UTF-8",
            vec![
                file(b"caf\xe8/\xff", "1"),
                file(b"caf\xe9/\xfe", "2"),
                file(b"caf\xe9/\xff", "3"),
                link(b"\xe8", b"caf\xe9"),
            ],
            Ok(()),
        ),
        commit("names of other systems", vec![file("a\\b:c*?\"<>|", "x"), file("CON", "x"), file("end.", "x")], Ok(())),
        commit("no buildspec", vec![file("buildspec.yml.txt", "x")], failed("buildspec_missing", "buildspec.yml")),
        commit(
            "a buildspec that is a folder",
            vec![file("buildspec.yml/x", "x")],
            failed("buildspec_missing", "buildspec.yml"),
        ),
        commit(
            "a buildspec that is a link out",
            vec![link("buildspec.yml", "/etc/passwd")],
            failed("buildspec_invalid", "buildspec.yml"),
        ),
        commit(
            "a buildspec that is a link to itself",
            vec![link("buildspec.yml", "buildspec.yml")],
            failed("buildspec_invalid", "buildspec.yml"),
        ),
        commit(
            "a buildspec that is no text",
            vec![file("buildspec.yml", b"\xff\xfe\0")],
            failed("buildspec_invalid", "buildspec.yml"),
        ),
        commit(
            "a buildspec that is too large",
            vec![file("buildspec.yml", vec![b'#'; 70_000])],
            failed("buildspec_invalid", "buildspec.yml"),
        ),
        Case {
            in_bucket: Ok(()),
            ..build("an artifact called x#1", &["echo x > x#1"], failed("artifact_invalid", "x#1"))
        },
        Case {
            in_bucket: Ok(()),
            ..build(
                "an artifact with the longest name",
                &["echo x > $(printf 'n%.0s' $(seq 255))"],
                failed("artifact_invalid", &longest),
            )
        },
        Case {
            in_bucket: failed("artifact_invalid", &deep[..100]),
            ..build("an artifact with a long path", &[&format!("mkdir -p {deep}; echo x > {deep}/x")], Ok(()))
        },
        build("artifacts whose names are no text", &["touch \"$(printf 'a\\377')\" \"$(printf 'b\\nc')\""], Ok(())),
        build("an artifact that is closed", &["echo x > closed.txt; chmod 000 closed.txt"], closed()),
        build(
            "artifacts that are pipes and links",
            &["mkfifo pipe; ln -s /dev/zero zero; ln -s . loop; ln -s '' e || true"],
            Ok(()),
        ),
        build(
            "artifacts that are too large",
            &["for i in 1 2 3; do truncate -s 1T $i; done"],
            failed("artifacts_too_large", "bytes"),
        ),
        build(
            "no source folder any more",
            &["rm -rf \"$CODEBUILD_SRC_DIR\"; exit 0", "true"],
            failed("command_failed", "126"),
        ),
        build("no artifact any more", &["rm -rf \"$CODEBUILD_SRC_DIR\"; exit 0"], failed("artifacts_missing", "")),
        build("the folder of another in its place", &["cd ..; mv source aside; ln -s /proc/self source"], Ok(())),
        build("no state any more", &[&format!("rm -rf {state}; exit 0"), "true"], failed("command_failed", "rm -rf")),
        build(
            "a folder in the place of a file",
            &[&format!("trap '' EXIT; cd {state}; mkdir next-variables; pwd > next-directory"), "true"],
            Ok(()),
        ),
        build(
            "a name that is deeper than a path",
            &[
                "for i in $(seq 300); do mkdir nnnnnnnnnnnnnnnnnnnn; cd nnnnnnnnnnnnnnnnnnnn; done; cd \"$CODEBUILD_SRC_DIR\"",
            ],
            Ok(()),
        ),
    ]
}

/// Commits a tree of these entries, and no other, to `main`. Returns the SHA.
fn commit_tree(repository: &GitRepository, entries: &[Entry]) -> String {
    let mut input =
        b"commit refs/heads/main\ncommitter A <a@example.com> 1700000001 +0000\ndata 1\nx\ndeleteall\n".to_vec();
    for (mode, path, content) in entries {
        let path: String = path.iter().map(|byte| format!("\\{byte:03o}")).collect();
        input.extend(format!("M {mode} inline \"{path}\"\ndata {}\n", content.len()).into_bytes());
        input.extend_from_slice(content);
        input.push(b'\n');
    }
    let mut git = Command::new("git");
    git.args(["fast-import", "--quiet", "--force"]).current_dir(repository.path()).stdin(Stdio::piped());
    let mut git = git.spawn().unwrap();
    git.stdin.take().unwrap().write_all(&input).unwrap();
    assert!(git.wait().unwrap().success());
    repository.git(&["rev-parse", "main"])
}

/// Deploys each commit, and compares its end, the number of its attempts and the lines of the log with what they must be.
async fn check(world: &World, end: impl Fn(&Case) -> &End) {
    let owner = world.owner("acme").await;
    let source = GitRepository::with_commands(&["true"]);
    owner.repository("app", &source).await;
    let mut wrong = Vec::new();
    for case in &cases() {
        let sha = commit_tree(&source, &case.entries);
        let ended = ended(&owner, &sha).await;
        let is_as_expected = match end(case) {
            Ok(()) => ended["status"] == "succeeded",
            Err((code, part)) => {
                let failure = &ended["failure"];
                failure["code"] == *code && failure["message"].as_str().unwrap().contains(part)
            }
        };
        let attempts = world.stored(&owner, &ended).await.attempt;
        if !is_as_expected || attempts != 1 {
            wrong.push(format!("{}: {attempts} attempt(s), {} {}", case.name, ended["status"], ended["failure"]));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    let alarms: Vec<_> = world.log().into_iter().filter(|line| line["level"] == "ERROR").collect();
    assert_eq!(alarms, [Value::Null; 0]);
}

async fn ended(owner: &Actor, sha: &str) -> Value {
    let deployment = owner.deploy("app", json!({"ref": sha})).await;
    owner.ended(&deployment).await
}

#[tokio::test]
async fn what_is_wrong_with_a_commit_ends_it_at_once_and_is_no_alarm() {
    check(&World::start().await, |case| &case.in_folder).await;
}

#[tokio::test]
async fn what_is_wrong_with_a_commit_ends_it_at_once_in_a_stack_with_s3_too() {
    let Some(moto) = Moto::start().await else { return };
    moto.create_bucket(BUCKET).await;
    let world = World::start_with(|options| {
        options
            .overrides
            .extend([(shared::settings::ARCHIVE_URL, format!("s3://{BUCKET}")), ("AWS_ENDPOINT_URL_S3", moto.url())]);
    })
    .await;
    check(&world, |case| &case.in_bucket).await;
}
