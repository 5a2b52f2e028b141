//! The build of a deployment, and its end.

use archive::Archive;
use serde_json::json;
use tests::{GitRepository, World, buildspec};

use super::{Outside, commands, deploy, outcomes};

#[tokio::test]
async fn a_build_sees_its_deployment_its_variables_and_nothing_of_the_function() {
    let world = World::start().await;
    let owner = world.owner("acme").await;
    let source = commands(&[
        "echo $DEPLOYMENT_ID $DEPLOYMENT_ENVIRONMENT $GIT_SHA $GIT_REF",
        r#"test "$API_KEY" = "hunter22 and 'more'" && echo "the key is $API_KEY" && echo "the key is $API_KEY" >&2"#,
        "env | sed 's/^/named /; s/=.*//'",
        "env | grep ^CODEBUILD_ | grep -v _SRC_DIR | sort",
    ]);
    let variables = json!({"API_KEY": {"value": "hunter22 and 'more'", "secret": true}});
    let created = deploy(&owner, &source, json!({"environment": "staging", "variables": variables})).await;
    let ended = owner.ended(&created).await;
    assert_eq!(ended["status"], "succeeded", "{:?}", owner.log(&created).await);

    let log = owner.log(&created).await;
    let ids = format!("stdout: {} staging {} main", created["id"].as_str().unwrap(), created["sha"].as_str().unwrap());
    for line in [ids.as_str(), "stdout: the key is ***", "stderr: the key is ***"] {
        assert!(log.contains(&line.to_owned()), "{line}: {log:?}");
    }
    assert!(!log.iter().any(|line| line.contains("hunter22")), "{log:?}");
    let mut names: Vec<_> = log.iter().filter_map(|line| line.strip_prefix("stdout: named ")).collect();
    names.retain(|name| !["OLDPWD", "PWD", "SHLVL", "_"].contains(name));
    names.sort_unstable();
    assert_eq!(
        names,
        [
            "API_KEY",
            "AWS_DEFAULT_REGION",
            "AWS_REGION",
            "CI",
            "CODEBUILD_BUILD_ID",
            "CODEBUILD_BUILD_NUMBER",
            "CODEBUILD_BUILD_SUCCEEDING",
            "CODEBUILD_BUILD_URL",
            "CODEBUILD_INITIATOR",
            "CODEBUILD_LOG_PATH",
            "CODEBUILD_RESOLVED_SOURCE_VERSION",
            "CODEBUILD_SOURCE_REPO_URL",
            "CODEBUILD_SOURCE_VERSION",
            "CODEBUILD_SRC_DIR",
            "CODEBUILD_START_TIME",
            "CODEBUILD_WEBHOOK_HEAD_REF",
            "CODEBUILD_WEBHOOK_TRIGGER",
            "DEPLOYMENT_ENVIRONMENT",
            "DEPLOYMENT_ID",
            "GIT_REF",
            "GIT_SHA",
            "HOME",
            "LANG",
            "PATH",
            "TMPDIR",
        ]
    );
    let (id, sha) = (created["id"].as_str().unwrap(), created["sha"].as_str().unwrap());
    let stored = world.stored(&owner, &created).await;
    let values: Vec<_> = log.iter().filter_map(|line| line.strip_prefix("stdout: CODEBUILD_")).collect();
    assert_eq!(
        values,
        [
            format!("BUILD_ID=deployments:{id}-1"),
            "BUILD_NUMBER=1".to_owned(),
            "BUILD_SUCCEEDING=1".to_owned(),
            format!("BUILD_URL={}", created["url"].as_str().unwrap()),
            format!("INITIATOR={}", stored.created_by),
            format!("LOG_PATH={id}"),
            format!("RESOLVED_SOURCE_VERSION={sha}"),
            format!("SOURCE_REPO_URL={}", stored.clone_url),
            "SOURCE_VERSION=main".to_owned(),
            format!("START_TIME={}", world.clock.now().as_millis()),
            "WEBHOOK_HEAD_REF=refs/heads/main".to_owned(),
            "WEBHOOK_TRIGGER=branch/main".to_owned(),
        ]
    );
    world.queue_is_empty().await;
    assert_eq!(outcomes(&world), ["succeeded"]);
}

#[tokio::test]
async fn a_failing_command_fails_the_deployment_after_finally_and_post_build() {
    let world = World::start().await;
    let owner = world.owner("acme").await;
    let source = GitRepository::new(&[(
        "buildspec.yml",
        r#"
version: 0.2
env:
  variables:
    GREETING: hello
phases:
  pre_build:
    commands:
      - echo $GREETING
  build:
    commands:
      - sh -c 'exit 7' # $API_KEY
      - echo never
    finally:
      - echo finally
  post_build:
    commands:
      - echo succeeding $CODEBUILD_BUILD_SUCCEEDING
"#,
    )]);
    let created = deploy(&owner, &source, json!({})).await;
    let ended = owner.ended(&created).await;
    let message = "Command 'sh -c 'exit 7'' in phase build exited with status 7";
    assert_eq!(ended["status"], "failed");
    assert_eq!(ended["failure"], json!({"code": "command_failed", "message": message}));
    let log = owner.log(&created).await;
    let told: Vec<_> = log.iter().filter(|line| line.starts_with("stdout")).collect();
    assert_eq!(told, ["stdout: hello", "stdout: finally", "stdout: succeeding 0"]);
    assert_eq!(log.last().unwrap(), &format!("system: Failed: {message}"));
    world.queue_is_empty().await;
}

#[tokio::test]
async fn what_is_wrong_with_a_deployment_is_told_by_code_and_sentence() {
    let world = World::start_without_queue().await;
    let owner = world.owner("acme").await;
    let with_artifacts = |files: &str| format!("{}artifacts:\n  files:\n    - '{files}'\n", buildspec(&["echo ran"]));
    let deep = format!("version: 0.2\nphases: {}{}", "[".repeat(100), "]".repeat(100));
    for (number, (file, content, code, message)) in [
        ("README", "", "buildspec_missing", "The repository has no buildspec.yml at this commit"),
        ("buildspec.yml/README", "", "buildspec_missing", "buildspec.yml can't be read"),
        ("buildspec.yml", "", "buildspec_invalid", "buildspec.yml: "),
        ("buildspec.yml", "version: 0.2\nphases: [", "buildspec_invalid", "buildspec.yml: "),
        (
            "buildspec.yml",
            "version: 2\nenv: {shell: zsh}\n",
            "buildspec_invalid",
            "buildspec.yml: line 1, column 1: `phases` is missing; a build needs a command, for example in \
             `phases.build.commands`; line 1, column 10: `version` must be 0.2 or 0.1; line 2, column 14: `env.shell` must be \
             sh or bash",
        ),
        (
            "buildspec.yml",
            &(buildspec(&["true"]) + "env: {parameter-store: {TOKEN: /t}}\n"),
            "variables_missing",
            "line 6, column 25: `env.parameter-store` takes TOKEN from AWS",
        ),
        ("buildspec.yml", &deep, "buildspec_invalid", "buildspec.yml: "),
        ("buildspec.yml", &"#".repeat(65537), "buildspec_invalid", "buildspec.yml is larger than 64 KiB"),
        (
            "buildspec.yml",
            &buildspec(&["kill -9 $$"]),
            "command_failed",
            "Command 'kill -9 $$' in phase build was killed",
        ),
        ("buildspec.yml", &with_artifacts("dist/*"), "artifacts_missing", "No file matches"),
    ]
    .into_iter()
    .enumerate()
    {
        let name = format!("app{number}");
        let source = GitRepository::new(&[(file, content)]);
        owner.repository(&name, &source).await;
        let created = owner.deploy(&name, json!({"ref": "main"})).await;
        world.deliver(&owner, &created).await;
        let failure = &owner.ended(&created).await["failure"];
        assert_eq!(failure["code"], code, "{file} {content:.20}: {failure}");
        assert!(failure["message"].as_str().unwrap().starts_with(message), "{failure}");
        let log = owner.log(&created).await;
        assert!(log.last().unwrap().starts_with(&format!("system: Failed: {message}")), "{log:?}");
    }

    let source = commands(&["true"]);
    owner.repository("app", &source).await;
    let of_main = owner.deploy("app", json!({"ref": "main"})).await;
    drop(source);
    world.deliver(&owner, &of_main).await;
    let failure = &owner.ended(&of_main).await["failure"];
    let message = "the repository does not exist, or is private and needs a connection (connection_id)";
    assert_eq!(*failure, json!({"code": "source_unavailable", "message": message}));
    world.queue_is_empty().await;
    assert_eq!(world.messages(world.stack.dead_letter_queue()).await, 0);
}

#[tokio::test]
async fn a_deployment_that_takes_too_long_is_stopped_with_all_its_processes() {
    let world = World::start_with(|options| {
        options.overrides.push((deployment_consumer::RUN_TIME_LIMIT_SECONDS, "1".to_owned()));
    })
    .await;
    let owner = world.owner("acme").await;
    let outside = Outside::new();
    let source = commands(&[&outside.background(), "trap '' TERM; sleep 1000", "echo never"]);
    let created = deploy(&owner, &source, json!({})).await;
    let ended = owner.ended(&created).await;
    assert_eq!(ended["status"], "failed");
    let message = "The time limit of 1 s was reached in phase build";
    assert_eq!(ended["failure"], json!({"code": "timed_out", "message": message}));
    assert!(!outside.background_runs());
    let log = owner.log(&created).await;
    assert!(!log.contains(&"stdout: never".to_owned()), "{log:?}");
    assert_eq!(log.last().unwrap(), &format!("system: Failed: {message}"));
    world.queue_is_empty().await;
}

#[tokio::test]
async fn artifacts_are_kept_in_the_archive() {
    let world = World::start().await;
    let owner = world.owner("acme").await;
    let commands = [
        "mkdir -p dist/deep && echo app > dist/app.js && echo deep > dist/deep/a.css && echo no > dist/secret.txt",
        r#""touch \"dist/$(printf 'tab\\tin name.js')\"""#,
        "head -c 6000000 /dev/zero > dist/large.js",
    ];
    let spec = buildspec(&commands)
        + "artifacts:\n  base-directory: dist\n  files:\n    - '**/*'\n  exclude-paths:\n    - secret.txt\n";
    let source = GitRepository::new(&[("buildspec.yml", &spec)]);
    let created = deploy(&owner, &source, json!({})).await;
    let ended = owner.ended(&created).await;
    let log = owner.log(&created).await;
    assert_eq!(ended["status"], "succeeded", "{ended} {log:?}");
    let archive = Archive::new(world.stack.app()).unwrap();
    let stored = world.stored(&owner, &created).await;
    let kept = archive.list_artifacts(&stored.artifacts_prefix()).await.unwrap();
    let kept: Vec<_> = kept.iter().map(|artifact| (artifact.path.as_str(), artifact.size)).collect();
    assert_eq!(kept, [("app.js", 4), ("deep/a.css", 5), ("large.js", 6_000_000)]);
    let files = world.files();
    let content = |name| &files.iter().find(|(path, _)| path.ends_with(name)).unwrap().1;
    assert_eq!((content("app.js").as_slice(), content("a.css").as_slice()), (&b"app\n"[..], &b"deep\n"[..]));
    let left_out = r#"system: Left out of the artifacts: "tab\tin name.js", because its name has a control character"#;
    assert!(log.contains(&left_out.to_owned()), "{log:?}");
    assert_eq!(log.last().unwrap(), "system: Succeeded. Artifacts: 3");
}

#[tokio::test]
async fn the_log_has_what_is_not_done_as_the_buildspec_says_and_all_that_is_wrong_with_it() {
    let world = World::start().await;
    let owner = world.owner("acme").await;
    let spec = buildspec(&["export VERSION=1.2", "echo $TOKEN > report.xml", "exit 3"])
        + "artifacts: {files: report.xml, name: reports}\nenv:\n  parameter-store: {TOKEN: /app/token}\n  exported-variables: VERSION\n";
    let source = GitRepository::new(&[("buildspec.yml", &spec)]);
    let created = deploy(&owner, &source, json!({"variables": {"TOKEN": "hunter22"}})).await;
    assert_eq!(owner.ended(&created).await["failure"]["code"], "command_failed");
    let log = owner.log(&created).await;
    let note = "system: buildspec.yml: line 8, column 32: `artifacts.name` is ignored: the API names the artifacts by their deployment";
    let place = |line: &str| log.iter().position(|logged| logged == line).unwrap_or_else(|| panic!("{line}: {log:?}"));
    assert!(place(note) < place("system: Entering phase BUILD"));
    let archive = Archive::new(world.stack.app()).unwrap();
    let stored = world.stored(&owner, &created).await;
    let kept = archive.list_artifacts(&stored.artifacts_prefix()).await.unwrap();
    let kept: Vec<_> = kept.iter().map(|artifact| (artifact.path.as_str(), artifact.size)).collect();
    assert_eq!(kept, [("report.xml", 9)], "a build that failed keeps what it made");

    world.clock.advance(std::time::Duration::from_secs(60));
    source.commit(&[("buildspec.yml", &spec.replace("exit 3", "true"))]);
    let created = owner.deploy("app", json!({"ref": "main", "variables": {"TOKEN": "hunter22"}})).await;
    assert_eq!(owner.ended(&created).await["status"], "succeeded");
    let log = owner.log(&created).await;
    assert!(log.contains(&"system: Exported variables: VERSION".to_owned()), "{log:?}");

    world.clock.advance(std::time::Duration::from_secs(60));
    source.commit(&[("buildspec.yml", "version: 2\nphases: {deploy: {}}\n")]);
    let created = owner.deploy("app", json!({"ref": "main"})).await;
    owner.ended(&created).await;
    let log = owner.log(&created).await;
    for line in [
        "system: buildspec.yml: line 1, column 10: `version` must be 0.2 or 0.1",
        "system: buildspec.yml: line 2, column 10: `phases` has no phase \"deploy\"; the phases are install, pre_build, build, post_build",
    ] {
        assert!(log.contains(&line.to_owned()), "{log:?}");
    }
}
