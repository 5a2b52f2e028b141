//! Deployments from the queue to their end.

use std::path::PathBuf;
use std::time::Duration;

use archive::Archive;
use local::functions::Environment;
use local::stack::Lifetime;
use serde_json::{Value, json};
use shared::id::DeploymentId;
use tempfile::TempDir;
use tests::{Actor, GitRepository, World, buildspec, eventually, without_queue};
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{JoinHandle, JoinSet};

/// How long a runner's lease is.
const LEASE: Duration = Duration::from_secs(60);

/// A folder that a build and a test share.
struct Outside(TempDir);

impl Outside {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// A command that counts itself.
    fn count(&self) -> String {
        format!("echo once >> {}", self.path("count").display())
    }

    fn counted(&self) -> usize {
        std::fs::read_to_string(self.path("count")).unwrap_or_default().lines().count()
    }

    async fn started(&self) {
        eventually("the build's start", async || (self.counted() == 1).then_some(())).await;
    }

    /// A command that waits until the gate is open.
    fn wait_for(&self, gate: &str) -> String {
        format!("while [ ! -e {} ]; do sleep 0.02; done", self.path(gate).display())
    }

    fn open(&self, gate: &str) {
        std::fs::write(self.path(gate), "").unwrap();
    }

    /// A command that starts a process in the background which lasts until it is killed.
    fn background(&self) -> String {
        format!("sleep 1000 & echo $! > {}", self.path("pid").display())
    }

    fn background_runs(&self) -> bool {
        let pid = std::fs::read_to_string(self.path("pid")).expect("it was started");
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", pid.trim()));
        stat.is_ok_and(|stat| !stat.contains(") Z "))
    }
}

/// Registers `source` as `app` and deploys its main branch.
async fn deploy(owner: &Actor, source: &GitRepository, body: Value) -> Value {
    owner.repository("app", source).await;
    let mut request = json!({"ref": "main"});
    request.as_object_mut().unwrap().extend(body.as_object().unwrap().clone());
    owner.deploy("app", request).await
}

fn commands(commands: &[&str]) -> GitRepository {
    let quoted: Vec<_> = commands.iter().map(|command| json!(command).to_string()).collect();
    GitRepository::with_commands(&quoted.iter().map(String::as_str).collect::<Vec<_>>())
}

/// What became of each delivery so far.
fn outcomes(world: &World) -> Vec<String> {
    let lines = world.log();
    let of_consumer = lines.iter().filter(|line| line["function"] == "deployment-consumer");
    of_consumer.map(|line| line["outcome"].as_str().unwrap().to_owned()).collect()
}

async fn delivered(world: &World, outcome: &str, times: usize) {
    let count = || outcomes(world).iter().filter(|one| *one == outcome).count();
    eventually(&format!("delivery number {times} that is {outcome}"), async || (count() >= times).then_some(())).await;
}

async fn warned(world: &World, message: &str) {
    let found = async || world.log().iter().any(|line| line["message"] == message).then_some(());
    eventually(message, found).await;
}

async fn is_logged(owner: &Actor, deployment: &Value, line: &str) {
    let found = async || owner.log(deployment).await.contains(&line.to_owned()).then_some(());
    eventually(&format!("{line:?} in the log"), found).await;
}

/// The event with which a queue hands a deployment's message to the consumer.
fn event(owner: &Actor, deployment: &Value) -> Value {
    let body = json!({"account_id": owner.account_id, "deployment_id": deployment["id"]});
    json!({"Records": [{"messageId": "m1", "body": body.to_string(), "eventSource": "aws:sqs"}]})
}

#[tokio::test]
async fn a_build_sees_its_deployment_its_variables_and_nothing_of_the_function() {
    let world = World::start().await;
    let owner = world.owner("acme").await;
    let source = commands(&[
        "echo $DEPLOYMENT_ID $DEPLOYMENT_ENVIRONMENT $GIT_SHA $GIT_REF",
        r#"test "$API_KEY" = "hunter22 and 'more'" && echo "the key is $API_KEY" && echo "the key is $API_KEY" >&2"#,
        "env | sed 's/^/named /; s/=.*//'",
    ]);
    let variables = json!({"API_KEY": "hunter22 and 'more'"});
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
            "CI",
            "CODEBUILD_BUILD_SUCCEEDING",
            "CODEBUILD_SRC_DIR",
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
        ("buildspec.yml", "version: 0.1\n", "buildspec_invalid", "buildspec.yml: "),
        ("buildspec.yml", &deep, "buildspec_invalid", "buildspec.yml: "),
        ("buildspec.yml", &"#".repeat(65537), "buildspec_invalid", "buildspec.yml is larger than 64 KiB"),
        (
            "buildspec.yml",
            &buildspec(&["kill -9 $$"]),
            "command_failed",
            "Command 'kill -9 $$' in phase build was ended",
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
    source.git(&["tag", "tree", "HEAD^{tree}"]);
    owner.repository("app", &source).await;
    let of_a_tree = owner.deploy("app", json!({"ref": "tree"})).await;
    let of_main = owner.deploy("app", json!({"ref": "main"})).await;
    world.deliver(&owner, &of_a_tree).await;
    let failure = &owner.ended(&of_a_tree).await["failure"];
    assert_eq!(*failure, json!({"code": "source_unavailable", "message": "the repository has no such commit"}));
    drop(source);
    world.deliver(&owner, &of_main).await;
    let failure = &owner.ended(&of_main).await["failure"];
    let message = "the repository does not exist or is not public";
    assert_eq!(*failure, json!({"code": "source_unavailable", "message": message}));
    world.queue_is_empty().await;
    assert_eq!(world.messages(world.stack.dead_letter_queue()).await, 0);
}

#[tokio::test]
async fn a_deployment_that_takes_too_long_is_stopped_with_all_its_processes() {
    let world = World::start_with(|options| {
        options.overrides.push((deployment_consumer::RUN_TIME_LIMIT_SECONDS, "1".to_owned()));
        options.visibility_timeout = Duration::from_secs(30);
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
async fn a_log_is_read_from_a_position_while_it_grows() {
    let world = World::start_with(|options| options.visibility_timeout = Duration::from_secs(60)).await;
    let owner = world.owner("acme").await;
    let outside = Outside::new();
    let source = commands(&["echo first", &outside.wait_for("gate"), "seq 2000", "echo last"]);
    let created = deploy(&owner, &source, json!({})).await;
    let path = format!("/v1/deployments/{}/log", created["id"].as_str().unwrap());
    is_logged(&owner, &created, "stdout: first").await;
    assert_eq!(owner.get(created["url"].as_str().unwrap()).await.body["status"], "in_progress");

    let start = owner.get(&path).await.body;
    let lines = start["data"].as_array().unwrap().clone();
    let numbers: Vec<_> = lines.iter().map(|line| line["number"].clone()).collect();
    assert_eq!(json!(numbers), json!((1..=lines.len()).collect::<Vec<_>>()));
    assert_eq!(start["meta"], json!({"next_after": lines.len(), "complete": false}));
    let first = lines.iter().position(|line| line["text"] == "first").unwrap();
    assert_eq!(
        lines[first],
        json!({"number": first + 1, "at": "2026-01-01T12:00:00Z", "stream": "stdout", "text": "first"})
    );
    let one = owner.get(&format!("{path}?after={first}&limit=1")).await.body;
    assert_eq!(one, json!({"data": [lines[first]], "meta": {"next_after": first + 1, "complete": false}}));
    let beyond = owner.get(&format!("{path}?after=9000")).await.body;
    assert_eq!(beyond, json!({"data": [], "meta": {"next_after": 9000, "complete": false}}));

    outside.open("gate");
    let ended = eventually("the end", async || {
        let found = owner.get(created["url"].as_str().unwrap()).await.body;
        (found["status"] != "in_progress").then_some(found)
    })
    .await;
    assert_eq!(ended["status"], "succeeded");
    let (mut all, mut after) = (Vec::new(), 0);
    loop {
        let page = owner.get(&format!("{path}?after={after}")).await.body;
        let lines = page["data"].as_array().unwrap();
        assert!(lines.len() <= 1000);
        assert_eq!(page["meta"]["complete"], lines.is_empty());
        all.extend(lines.iter().map(|line| line["text"].as_str().unwrap().to_owned()));
        after = page["meta"]["next_after"].as_u64().unwrap();
        if lines.is_empty() {
            break;
        }
    }
    assert_eq!(after, all.len() as u64);
    let printed: Vec<_> = all.iter().filter(|text| text.parse::<u32>().is_ok()).cloned().collect();
    assert_eq!(printed, (1..=2000).map(|number| number.to_string()).collect::<Vec<_>>());
    assert_eq!(all.last().unwrap(), "Succeeded, 0 artifacts", "the log was whole when the deployment had ended");
}

#[tokio::test]
async fn a_log_position_out_of_range_is_refused() {
    let world = World::start_without_queue().await;
    let owner = world.owner("acme").await;
    let source = GitRepository::new(&[]);
    let created = deploy(&owner, &source, json!({})).await;
    let path = format!("/v1/deployments/{}/log", created["id"].as_str().unwrap());
    let queued = owner.get(&path).await;
    assert_eq!(queued.body, json!({"data": [], "meta": {"next_after": 0, "complete": false}}), "{queued:?}");
    let (after, limit) = ("must be a whole number from 0", "must be a whole number from 1 to 1000");
    for (query, field, message) in [
        ("after=-1", "after", after),
        ("after=x", "after", after),
        ("after=", "after", after),
        ("after=1.5", "after", after),
        ("after=18446744073709551616", "after", after),
        ("limit=0", "limit", limit),
        ("limit=1001", "limit", limit),
        ("limit=-1", "limit", limit),
        ("limit=ten", "limit", limit),
        ("limit=", "limit", limit),
    ] {
        let refused = owner.get(&format!("{path}?{query}")).await;
        refused.refused(400, "invalid_request");
        assert_eq!(refused.body["error"]["details"], json!([{"field": field, "message": message}]), "{query}");
    }
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
    let left_out = r#"system: Left out of the artifacts: "tab\tin name.js" has a control character in its name"#;
    assert!(log.contains(&left_out.to_owned()), "{log:?}");
    assert_eq!(log.last().unwrap(), "system: Succeeded, 3 artifacts");
}

#[tokio::test]
async fn a_message_that_is_delivered_again_does_not_run_its_deployment_again() {
    let world = World::start_with(|options| options.max_receive_count = 1000).await;
    let owner = world.owner("acme").await;
    let outside = Outside::new();
    let source = commands(&[&outside.count(), &outside.wait_for("gate")]);
    let created = deploy(&owner, &source, json!({})).await;
    for _ in 0..3 {
        world.deliver(&owner, &created).await;
    }
    delivered(&world, "held", 3).await;
    outside.open("gate");
    let ended = owner.ended(&created).await;
    assert_eq!(ended["status"], "succeeded", "{ended}");
    world.deliver(&owner, &created).await;
    delivered(&world, "already_ended", 1).await;
    world.queue_is_empty().await;

    assert_eq!(outside.counted(), 1);
    assert_eq!(owner.get(created["url"].as_str().unwrap()).await.body, ended, "nothing changed any more");
    let ran = outcomes(&world).iter().filter(|outcome| *outcome == "succeeded").count();
    assert_eq!((ran, world.stored(&owner, &created).await.attempt), (1, 1));
}

#[tokio::test]
async fn of_many_consumers_with_the_same_message_at_once_one_runs_it() {
    let world = World::start_without_queue().await;
    let owner = world.owner("acme").await;
    let outside = Outside::new();
    let source = commands(&[&outside.count()]);
    let created = deploy(&owner, &source, json!({})).await;
    let mut deliveries = JoinSet::new();
    for _ in 0..8 {
        let (consumer, event) = (world.stack.environment().consumer().unwrap(), event(&owner, &created));
        deliveries.spawn(async move { consumer.invoke(event).await.unwrap() });
    }
    let responses = deliveries.join_all().await;
    assert_eq!(owner.ended(&created).await["status"], "succeeded");
    assert_eq!(outside.counted(), 1);
    assert_eq!(world.stored(&owner, &created).await.attempt, 1);
    let comes_again = responses.iter().filter(|response| !response["batchItemFailures"].as_array().unwrap().is_empty());
    let lost = outcomes(&world).into_iter().filter(|outcome| ["held", "stale"].contains(&outcome.as_str()));
    assert_eq!(comes_again.count(), lost.count(), "who did not run it gave the message back");
}

#[tokio::test]
async fn a_message_for_a_deployment_that_is_gone_is_deleted() {
    let world = World::start().await;
    let owner = world.owner("acme").await;
    world.deliver(&owner, &json!({"id": DeploymentId::random()})).await;
    delivered(&world, "gone", 1).await;
    world.queue_is_empty().await;
    assert_eq!(outcomes(&world), ["gone"]);
    assert_eq!(world.messages(world.stack.dead_letter_queue()).await, 0);
}

#[tokio::test]
async fn poison_messages_end_in_the_dead_letter_queue_and_hold_up_nobody() {
    let world = World::start_with(|options| options.max_receive_count = 2).await;
    let owner = world.owner("acme").await;
    let poison =
        ["not JSON", "{}", r#"{"account_id": "acct_x", "deployment_id": "deploy_x"}"#, "[]", "null", "{", "7", "x"];
    for body in poison {
        world.send(body).await;
    }
    let source = commands(&["true"]);
    let created = deploy(&owner, &source, json!({})).await;
    assert_eq!(owner.ended(&created).await["status"], "succeeded");
    world.queue_is_empty().await;
    let dead = world.stack.dead_letter_queue();
    let arrived = async || (world.messages(dead).await == poison.len() as u32).then_some(());
    eventually("all poison in the dead-letter queue", arrived).await;
    let failed = outcomes(&world).iter().filter(|outcome| *outcome == "failed").count();
    assert_eq!(failed, 2 * poison.len(), "each was tried twice");

    let sqs = world.stack.app().aws().sqs();
    let received = sqs.receive_message().queue_url(dead).max_number_of_messages(10).send().await.unwrap();
    let mut bodies: Vec<_> = received.messages().iter().map(|message| message.body().unwrap()).collect();
    let mut sent = poison.to_vec();
    bodies.sort_unstable();
    sent.sort_unstable();
    assert_eq!(bodies, sent);
}

#[tokio::test]
async fn a_deployment_whose_runner_was_lost_is_run_by_another_when_the_lease_is_over() {
    let world = World::start_with(|options| {
        without_queue(options);
        options.max_receive_count = 1000;
    })
    .await;
    let owner = world.owner("acme").await;
    let outside = Outside::new();
    let source = commands(&[&outside.count()]);
    let created = deploy(&owner, &source, json!({})).await;
    world.lose_a_runner(&owner, &created).await;
    world.deliver(&owner, &created).await;
    delivered(&world, "held", 1).await;
    world.clock.advance(LEASE - Duration::from_millis(1));
    delivered(&world, "held", 2).await;
    assert_eq!(outside.counted(), 0, "its runner may still be alive");
    assert_eq!(owner.get(created["url"].as_str().unwrap()).await.body["status"], "in_progress");

    world.clock.advance(Duration::from_millis(1));
    let ended = owner.ended(&created).await;
    assert_eq!(ended["status"], "succeeded", "{ended}");
    assert_eq!(
        (&ended["started_at"], &ended["finished_at"]),
        (&json!("2026-01-01T12:00:00Z"), &json!("2026-01-01T12:01:00Z"))
    );
    assert_eq!((outside.counted(), world.stored(&owner, &created).await.attempt), (1, 2));
    let log = owner.log(&created).await;
    assert!(log.contains(&"system: Attempt 2: the runner before was lost".to_owned()), "{log:?}");
    world.queue_is_empty().await;
}

#[tokio::test]
async fn a_deployment_that_lost_three_runners_has_failed() {
    let world = World::start_without_queue().await;
    let owner = world.owner("acme").await;
    let outside = Outside::new();
    let source = commands(&[&outside.count()]);
    let created = deploy(&owner, &source, json!({})).await;
    for _ in 0..3 {
        world.lose_a_runner(&owner, &created).await;
        world.clock.advance(LEASE);
    }
    world.deliver(&owner, &created).await;
    let ended = owner.ended(&created).await;
    assert_eq!(ended["status"], "failed");
    let message = "3 runners were lost before they could report an end";
    assert_eq!(ended["failure"], json!({"code": "runner_lost", "message": message}));
    assert_eq!(ended["finished_at"], "2026-01-01T12:03:00Z");
    assert_eq!(outside.counted(), 0);
    let listed = owner.get("/v1/repositories/app/deployments?status=failed").await;
    assert_eq!(listed.body["meta"]["total"], 1, "each claim left the counts exact");
    world.queue_is_empty().await;
}

#[tokio::test]
async fn a_runner_that_is_alive_keeps_its_lease_however_long_it_takes() {
    let world = World::start_with(|options| options.max_receive_count = 1000).await;
    let owner = world.owner("acme").await;
    let outside = Outside::new();
    let source = commands(&[&outside.count(), &outside.wait_for("gate")]);
    let created = deploy(&owner, &source, json!({})).await;
    outside.started().await;
    for _ in 0..10 {
        world.clock.advance(LEASE / 4);
        let renewed = async || {
            let lease_until = world.stored(&owner, &created).await.lease_until;
            (lease_until == Some(world.clock.now().plus(LEASE))).then_some(())
        };
        eventually("a renewed lease", renewed).await;
    }
    world.deliver(&owner, &created).await;
    delivered(&world, "held", 2).await;
    outside.open("gate");
    assert_eq!(owner.ended(&created).await["status"], "succeeded");
    assert_eq!((outside.counted(), world.stored(&owner, &created).await.attempt), (1, 1));
    world.queue_is_empty().await;
}

#[tokio::test]
async fn a_runner_that_lost_its_lease_to_another_stops() {
    let world = World::start_with(|options| options.max_receive_count = 1000).await;
    let owner = world.owner("acme").await;
    let outside = Outside::new();
    let source = commands(&[&outside.background(), "echo started", &outside.wait_for("gate"), &outside.count()]);
    let created = deploy(&owner, &source, json!({})).await;
    is_logged(&owner, &created, "stdout: started").await;
    world.lose_a_runner(&owner, &created).await;
    assert!(outside.background_runs());

    world.clock.advance(LEASE / 4);
    delivered(&world, "stale", 1).await;
    eventually("the end of its processes", async || (!outside.background_runs()).then_some(())).await;
    world.clock.advance(LEASE);
    outside.open("gate");
    let ended = owner.ended(&created).await;
    assert_eq!(ended["status"], "succeeded", "{ended}");
    assert_eq!((outside.counted(), world.stored(&owner, &created).await.attempt), (1, 3));
    world.queue_is_empty().await;
}

/// A wire to DynamoDB that can be cut.
struct Wire {
    endpoint: String,
    forwarding: JoinHandle<()>,
}

impl Wire {
    async fn to(endpoint: &str) -> Self {
        let target = endpoint.trim_start_matches("http://").to_owned();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let endpoint = format!("http://{}", listener.local_addr().unwrap());
        let forwarding = tokio::spawn(async move {
            let mut connections = JoinSet::new();
            loop {
                let (mut near, _) = listener.accept().await.unwrap();
                let mut far = TcpStream::connect(&target).await.unwrap();
                connections.spawn(async move { copy_bidirectional(&mut near, &mut far).await });
            }
        });
        Self { endpoint, forwarding }
    }

    /// A consumer at the end of this wire that starts with a deployment. It answers with its batch response.
    fn consume(&self, world: &World, owner: &Actor, deployment: &Value) -> JoinHandle<Value> {
        let mut environment = Environment::clone(world.stack.environment());
        environment.settings.set("AWS_ENDPOINT_URL_DYNAMODB", self.endpoint.clone());
        let (consumer, event) = (environment.consumer().unwrap(), event(owner, deployment));
        tokio::spawn(async move { consumer.invoke(event).await.unwrap() })
    }

    fn cut(&self) {
        self.forwarding.abort();
    }
}

async fn wire(world: &World) -> Wire {
    Wire::to(world.stack.app().settings().get("AWS_ENDPOINT_URL_DYNAMODB").unwrap()).await
}

#[tokio::test]
async fn a_runner_that_is_cut_off_has_stopped_when_its_lease_is_over() {
    let world = World::start_without_queue().await;
    let owner = world.owner("acme").await;
    let outside = Outside::new();
    let source = commands(&[&outside.background(), "echo started", &outside.wait_for("gate")]);
    let created = deploy(&owner, &source, json!({})).await;
    let wire = wire(&world).await;
    let response = wire.consume(&world, &owner, &created);
    is_logged(&owner, &created, "stdout: started").await;
    wire.cut();
    world.clock.advance(LEASE / 4);
    warned(&world, "a lease could not be renewed").await;
    assert!(outside.background_runs(), "one failure stops nothing");

    world.clock.advance(LEASE * 3 / 4);
    let response =
        tokio::time::timeout(Duration::from_secs(30), response).await.expect("the consumer gave up").unwrap();
    assert_eq!(response, json!({"batchItemFailures": [{"itemIdentifier": "m1"}]}));
    eventually("the end of its processes", async || (!outside.background_runs()).then_some(())).await;
    assert_eq!(owner.get(created["url"].as_str().unwrap()).await.body["status"], "in_progress");

    outside.open("gate");
    world.deliver(&owner, &created).await;
    assert_eq!(owner.ended(&created).await["status"], "succeeded");
}

#[tokio::test]
async fn the_artifacts_of_a_runner_that_could_not_report_are_not_those_of_the_next() {
    let world = World::start_without_queue().await;
    let owner = world.owner("acme").await;
    let outside = Outside::new();
    let count = outside.path("count").display().to_string();
    let made = format!("touch made-in-attempt-$(wc -l < {count})");
    let spec = buildspec(&[&outside.count(), &outside.wait_for("gate"), &made]) + "artifacts:\n  files: made-*\n";
    let source = GitRepository::new(&[("buildspec.yml", &spec)]);
    let created = deploy(&owner, &source, json!({})).await;
    let wire = wire(&world).await;
    let response = wire.consume(&world, &owner, &created);
    outside.started().await;
    wire.cut();
    outside.open("gate");
    assert_eq!(response.await.unwrap()["batchItemFailures"][0]["itemIdentifier"], "m1");
    assert_eq!(owner.get(created["url"].as_str().unwrap()).await.body["status"], "in_progress");

    world.clock.advance(LEASE);
    world.deliver(&owner, &created).await;
    assert_eq!(owner.ended(&created).await["status"], "succeeded");
    let archive = Archive::new(world.stack.app()).unwrap();
    let stored = world.stored(&owner, &created).await;
    let kept = archive.list_artifacts(&stored.artifacts_prefix()).await.unwrap();
    assert_eq!(kept.iter().map(|artifact| artifact.path.as_str()).collect::<Vec<_>>(), ["made-in-attempt-2"]);
    let log = owner.log(&created).await;
    let told: Vec<_> = log.iter().filter(|line| line.contains("Succeeded") || line.contains("Attempt")).collect();
    assert_eq!(
        told,
        [
            "system: Succeeded, 1 artifacts",
            "system: Attempt 2: the runner before was lost",
            "system: Succeeded, 1 artifacts"
        ]
    );
}

#[tokio::test]
async fn an_archive_that_fails_for_a_moment_costs_no_line_and_no_second_run() {
    let world = World::start_with(|options| options.visibility_timeout = Duration::from_secs(60)).await;
    let owner = world.owner("acme").await;
    let outside = Outside::new();
    let source =
        commands(&[&outside.count(), "echo before", &outside.wait_for("1"), "seq 300", &outside.wait_for("2")]);
    let created = deploy(&owner, &source, json!({})).await;
    is_logged(&owner, &created, "stdout: before").await;
    let files = world.files();
    let chunk = files.iter().map(|(path, _)| path).find(|path| path.parent().unwrap().ends_with("log")).unwrap();
    let (log, away) = (chunk.parent().unwrap().to_owned(), outside.path("log"));
    std::fs::rename(&log, &away).unwrap();
    std::fs::write(&log, "a file where the folder was").unwrap();
    outside.open("1");
    warned(&world, "lines of a deployment's log wait for the archive").await;
    std::fs::remove_file(&log).unwrap();
    std::fs::rename(&away, &log).unwrap();
    outside.open("2");

    let ended = owner.ended(&created).await;
    assert_eq!((ended["status"].as_str(), outside.counted()), (Some("succeeded"), 1), "{ended}");
    let printed = owner.log(&created).await;
    let printed: Vec<_> =
        printed.iter().filter_map(|line| line.strip_prefix("stdout: ")?.parse::<u32>().ok()).collect();
    assert_eq!(printed, (1..=300).collect::<Vec<_>>());
    world.queue_is_empty().await;
}

#[tokio::test]
async fn a_stack_runs_what_an_ended_process_left() {
    let world = World::start_with(|options| {
        without_queue(options);
        options.table = Lifetime::Kept;
        // No message comes again, however slow the machine is.
        options.visibility_timeout = Duration::from_secs(600);
    })
    .await;
    let owner = world.owner("acme").await;
    let outside = Outside::new();
    let source = commands(&[&outside.count()]);
    let queued = deploy(&owner, &source, json!({"variables": {"KEY": "hunter22"}})).await;
    // Each to a place of its own, so that none waits for another.
    source.git(&["branch", "other"]);
    let running = owner.deploy("app", json!({"ref": "main", "environment": "staging"})).await;
    let running_long = owner.deploy("app", json!({"ref": "main", "environment": "production"})).await;
    let ended = owner.deploy("app", json!({"ref": "other"})).await;
    world.deliver(&owner, &ended).await;
    let ended = owner.ended(&ended).await;
    world.lose_a_runner(&owner, &running).await;
    world.clock.advance(LEASE);
    world.lose_a_runner(&owner, &running_long).await;

    let world = world.restart().await;
    let owner = world.again(&owner);
    for deployment in [&queued, &running] {
        let ended = owner.ended(deployment).await;
        assert_eq!(ended["status"], "succeeded", "{ended}");
    }
    assert_eq!(outside.counted(), 3);
    let left = async || (world.messages(world.stack.queue()).await == 1).then_some(());
    eventually("only the message of the one whose lease is not over, which comes later", left).await;
    let unchanged = owner.get(&format!("/v1/deployments/{}", ended["id"].as_str().unwrap())).await.body;
    assert_eq!(unchanged["finished_at"], ended["finished_at"]);
    assert!(!outcomes(&world).contains(&"held".to_owned()), "{:?}", outcomes(&world));
}
