//! `cargo local` as a process, as people and CI run it.

use std::path::Path;
use std::process::{Output, Stdio};
use std::time::Duration;

use reqwest::Client;
use ring::hmac;
use rustix::process::{Pid, Signal, kill_process, test_kill_process};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::process::{Child, Command};

const LAST_LINE: &str = "Press Ctrl-C to stop.";

fn local(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_local"));
    command.args(arguments).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    command
}

async fn output(arguments: &[&str]) -> Output {
    local(arguments).output().await.unwrap()
}

fn text(bytes: &[u8]) -> &str {
    str::from_utf8(bytes).unwrap()
}

fn path(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// A data folder, and a repository whose build runs these commands.
pub(super) struct Place {
    pub(super) folder: TempDir,
}

impl Place {
    pub(super) fn with(commands: &[&str]) -> Self {
        Self::with_more(commands, "")
    }

    /// Returns a place whose buildspec has further sections.
    fn with_more(commands: &[&str], sections: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let source = folder.path().join("app");
        std::fs::create_dir(&source).unwrap();
        let commands = json!(commands);
        let buildspec = format!("version: 0.2\nphases:\n  build:\n    commands: {commands}\n{sections}");
        std::fs::write(source.join("buildspec.yml"), buildspec).unwrap();
        let identity = ["-c", "user.name=Test", "-c", "user.email=test@example.com"];
        for arguments in
            [&["init", "--quiet", "--initial-branch=main"][..], &["add", "."], &["commit", "--quiet", "-m", "one"]]
        {
            let git = std::process::Command::new("git").arg("-C").arg(&source).args(identity).args(arguments).status();
            assert!(git.unwrap().success());
        }
        Self { folder }
    }

    pub(super) fn arguments<'a>(&self, data: &'a Path, source: &'a Path) -> [&'a str; 6] {
        ["--port", "0", "--data", path(data), "--repo", path(source)]
    }

    /// Returns the output of a command that ends by itself.
    async fn output(&self, command: &[&str]) -> Output {
        let (data, source) = (self.folder.path().join("data"), self.folder.path().join("app"));
        output(&[command, &self.arguments(&data, &source)].concat()).await
    }

    async fn start(&self) -> Running {
        let (data, source) = (self.folder.path().join("data"), self.folder.path().join("app"));
        let mut child = local(&self.arguments(&data, &source)).spawn().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut welcome = String::new();
        while !welcome.ends_with(LAST_LINE) {
            let Some(line) = lines.next_line().await.unwrap() else {
                panic!("{welcome}{:?}", child.wait_with_output().await.unwrap())
            };
            welcome.push('\n');
            welcome.push_str(&line);
        }
        let after = |mark: &str| welcome.split_once(mark).unwrap().1.split_whitespace().next().unwrap().to_owned();
        let push = welcome.split_once("PUSH='").unwrap().1.split_once('\'').unwrap().0.to_owned();
        Running {
            push,
            hook_secret: after("-hmac '").trim_end_matches('\'').to_owned(),
            hook_url: after("-d \"$PUSH\" "),
            child,
            url: after("The .git API runs at "),
            token: after("export TOKEN="),
            client_secret: after("curl -s -u machines:"),
            token_endpoint: after("-d grant_type=client_credentials \\"),
        }
    }
}

struct Running {
    child: Child,
    push: String,
    hook_secret: String,
    hook_url: String,
    url: String,
    token: String,
    client_secret: String,
    token_endpoint: String,
}

impl Running {
    fn pid(&self) -> Pid {
        Pid::from_raw(self.child.id().unwrap().cast_signed()).unwrap()
    }

    async fn get(&self, path: &str) -> Value {
        let answer = Client::new().get(format!("{}{path}", self.url)).bearer_auth(&self.token).send().await.unwrap();
        assert!(answer.status().is_success(), "{path}: {}", answer.status());
        answer.json().await.unwrap()
    }

    async fn deploy(&self, repository: &str) -> String {
        let post = Client::new().post(format!("{}/v1/repositories/{repository}/deployments", self.url));
        let post = post.bearer_auth(&self.token);
        let created: Value = post.json(&json!({"ref": "main"})).send().await.unwrap().json().await.unwrap();
        created["id"].as_str().unwrap_or_else(|| panic!("{created}")).to_owned()
    }

    /// Sends a signal, and returns the exit status.
    async fn end(&mut self, signal: Signal) -> Option<i32> {
        kill_process(self.pid(), signal).unwrap();
        self.child.wait().await.unwrap().code()
    }
}

/// Asks until there is an answer.
async fn until<T>(mut ask: impl AsyncFnMut() -> Option<T>) -> T {
    loop {
        if let Some(answer) = ask().await {
            return answer;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn a_stack_that_is_stopped_ends_its_build_and_runs_it_again_at_the_next_start() {
    let outside = tempfile::tempdir().unwrap();
    let pid = outside.path().join("pid");
    let first = format!("sleep 1000 & echo $! > {0}.new && mv {0}.new {0} && wait", pid.display());
    let place = Place::with(&["echo begun", &format!("test -e {} || {{ {first}; }}", pid.display())]);
    for signal in [Signal::TERM, Signal::INT] {
        let mut running = place.start().await;
        let id = running.deploy("app").await;
        let started = until(async || std::fs::read_to_string(&pid).ok()).await;
        let process = Pid::from_raw(started.trim().parse().unwrap()).unwrap();
        let mut told = running.child.stderr.take().unwrap();
        assert_eq!(running.end(signal).await, Some(0), "{signal:?}");
        let mut last_words = String::new();
        told.read_to_string(&mut last_words).await.unwrap();
        assert_eq!(last_words, "Stopping. Press Ctrl-C again to stop at once.\n", "{signal:?}");
        until(async || test_kill_process(process).err()).await;

        let mut running = place.start().await;
        let ended = until(async || {
            let found = running.get(&format!("/v1/deployments/{id}")).await;
            (!found["finished_at"].is_null()).then_some(found)
        })
        .await;
        assert_eq!(ended["status"], "succeeded", "{ended}");
        let events = running.get(&format!("/v1/deployments/{id}/events")).await;
        let reasons: Vec<_> = events["data"].as_array().unwrap().iter().map(|event| &event["reason"]).collect();
        let reasons = json!(reasons[1..]);
        let expected = json!([
            "claimed, attempt 1",
            "given back by a runner that stopped",
            "claimed, attempt 1",
            "all phases succeeded"
        ]);
        assert_eq!(reasons, expected);
        let log = running.get(&format!("/v1/deployments/{id}/log")).await;
        let lines: Vec<_> = log["data"].as_array().unwrap().iter().filter_map(|line| line["text"].as_str()).collect();
        assert_eq!(lines.iter().filter(|line| **line == "begun").count(), 2, "{lines:#?}");
        assert!(lines.contains(&"The runner stops; another one starts the deployment again"), "{lines:#?}");
        assert_eq!(running.end(signal).await, Some(0));
        std::fs::remove_file(&pid).unwrap();
    }
}

#[tokio::test]
async fn the_printed_secret_gets_an_oauth2_token_of_the_demos_application() {
    let place = Place::with(&["true"]);
    let mut running = place.start().await;
    let post = Client::new().post(&running.token_endpoint).basic_auth("machines", Some(&running.client_secret));
    let form = post.header("content-type", "application/x-www-form-urlencoded").body("grant_type=client_credentials");
    let answer = form.send().await.unwrap().text().await.unwrap();
    // The printed command cuts the token out of the text.
    let (_, rest) = answer.split_once(r#""access_token":""#).unwrap();
    running.token = rest.split_once('"').unwrap().0.to_owned();
    assert_eq!(running.get("/v1/user").await["application"]["id"], "machines");
    assert_eq!(running.get("/v1/repositories").await["meta"]["total"], 2);
    assert_eq!(running.end(Signal::TERM).await, Some(0));
}

#[tokio::test]
async fn a_private_repository_is_deployed_with_a_connection() {
    let place = Place::with(&["echo hello"]);
    let mut running = place.start().await;
    let connections = running.get("/v1/connections").await;
    assert_eq!(connections["data"][0]["repository_count"], 1, "{connections}");
    let repository = running.get("/v1/repositories/private-demo").await;
    assert_eq!(repository["connection_id"], connections["data"][0]["id"]);
    let open =
        Client::new().get(format!("{}/info/refs?service=git-upload-pack", repository["clone_url"].as_str().unwrap()));
    assert_eq!(open.send().await.unwrap().status(), 401);
    let id = running.deploy("private-demo").await;
    let ended = until(async || {
        let found = running.get(&format!("/v1/deployments/{id}")).await;
        (!found["finished_at"].is_null()).then_some(found)
    })
    .await;
    assert_eq!(ended["status"], "succeeded", "{ended}");
    assert_eq!(running.end(Signal::TERM).await, Some(0));
}

#[tokio::test]
async fn a_second_signal_ends_a_stack_at_once() {
    let mut running = Place::with(&["true"]).start().await;
    // A request whose body never ends delays the shutdown.
    let mut request = TcpStream::connect(running.url.strip_prefix("http://").unwrap()).await.unwrap();
    request.write_all(b"POST /v1/teams HTTP/1.1\r\nhost: local\r\ncontent-length: 9\r\n\r\n{").await.unwrap();
    for signal in [Signal::STOP, Signal::INT, Signal::TERM] {
        kill_process(running.pid(), signal).unwrap();
    }
    let ended = running.end(Signal::CONT).await;
    assert!([Some(130), Some(143)].contains(&ended), "{ended:?}");
}

#[tokio::test]
async fn a_data_folder_in_use_is_refused_and_left_alone() {
    let place = Place::with(&["true"]);
    let mut running = place.start().await;
    for command in [&["--fresh"][..], &[], &["demo"], &["demo", "--fresh"]] {
        let refused = place.output(command).await;
        assert_eq!(refused.status.code(), Some(1), "{refused:?}");
        let folder = place.folder.path().canonicalize().unwrap().join("data");
        let process = running.child.id().unwrap();
        let expected = format!(
            "error: the stack of process {process} uses the data folder {}; stop it, or choose another folder with --data\n",
            folder.display()
        );
        assert_eq!(text(&refused.stderr), expected);
    }
    assert_eq!(running.get("/v1/repositories").await["meta"]["total"], 2);
    let port = running.url.rsplit_once(':').unwrap().1;
    let refused = output(&["demo", "--fresh", "--port", port, "--data", path(place.folder.path())]).await;
    let expected = format!("error: a stack runs on port {port}, and --fresh would delete its data; ");
    assert!(text(&refused.stderr).starts_with(&expected), "{refused:?}");
    assert_eq!(running.end(Signal::TERM).await, Some(0));
}

#[tokio::test]
async fn the_help_names_the_command_its_defaults_and_its_environment() {
    let help = output(&["--help"]).await;
    let shown = text(&help.stdout);
    for part in ["Usage: cargo local [OPTIONS]", "[default: 3000]", "/.local]", "NO_COLOR", "--version"] {
        assert!(shown.contains(part), "no {part:?} in {shown}");
    }
    assert!(text(&output(&["demo", "--help"]).await.stdout).contains("Usage: cargo local demo [OPTIONS]"));
    let version = output(&["--version"]).await;
    assert_eq!(text(&version.stdout), concat!("cargo local ", env!("CARGO_PKG_VERSION"), "\n"));
}

#[tokio::test]
async fn the_push_that_the_stack_prints_is_deployed() {
    let place = Place::with(&["echo pushed"]);
    let mut running = place.start().await;
    let key = hmac::Key::new(hmac::HMAC_SHA256, running.hook_secret.as_bytes());
    let signature = hmac::sign(&key, running.push.as_bytes());
    let signature: String = signature.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
    let request = Client::new().post(&running.hook_url).header("x-github-event", "push").body(running.push.clone());
    let sent = request.header("x-hub-signature-256", format!("sha256={signature}")).send().await.unwrap();
    assert_eq!(sent.status(), 202, "{}", sent.text().await.unwrap());
    let deliveries = format!("{}/deliveries", running.hook_url.replace("/v1/", "/v1/repositories/app/"));
    let deliveries = deliveries.strip_prefix(&running.url).unwrap();
    let delivery = until(async || {
        let delivery = running.get(deliveries).await["data"][0].clone();
        (delivery["outcome"] != "queued").then_some(delivery)
    })
    .await;
    assert_eq!(delivery["outcome"], "deployed", "{delivery}");
    assert_eq!(running.end(Signal::INT).await, Some(0));
}

#[tokio::test]
async fn invalid_arguments_are_refused_with_status_2() {
    for (arguments, message) in [
        (&["--port", "65535"][..], "65535 is not in 0..=65531"),
        (&["--port", "http"], "invalid value 'http' for '--port <PORT>'"),
        (&["--port", "3000", "demo"], "the subcommand 'demo' cannot be used with '--port <PORT>'"),
        (&["new", "get-thing", "GET /v1/things", "--area", "moon"], "use one of repositories, deployments"),
    ] {
        let refused = output(arguments).await;
        assert_eq!(refused.status.code(), Some(2), "{refused:?}");
        assert!(text(&refused.stderr).contains(message), "{refused:?}");
    }
}

#[tokio::test]
async fn errors_name_the_file_or_the_port() {
    let place = Place::with(&["true"]);
    let file = place.folder.path().join("file");
    std::fs::write(&file, "text").unwrap();
    let damaged = place.folder.path().join("damaged");
    std::fs::create_dir(&damaged).unwrap();
    std::fs::write(damaged.join("demo-tokens.json"), "{}").unwrap();
    let keyless = place.folder.path().join("keyless");
    std::fs::create_dir(&keyless).unwrap();
    std::fs::write(keyless.join("issuer.json"), "{}").unwrap();
    let foreign = place.folder.path().join("foreign");
    std::fs::create_dir(&foreign).unwrap();
    std::fs::write(foreign.join("dynamodb.sqlite"), "no database").unwrap();
    let weak = place.folder.path().join("weak");
    std::fs::create_dir(&weak).unwrap();
    std::fs::write(weak.join("variables.key"), "short").unwrap();
    let taken = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    for (arguments, parts) in [
        (&["--port", "0", "--data", path(&file)][..], vec![path(&file)]),
        (&["--port", "0", "--data", path(&damaged)], vec![path(&damaged), "demo-tokens.json", "--fresh"]),
        (&["--port", "0", "--data", path(&keyless)], vec![path(&keyless), "issuer.json", "--fresh"]),
        (&["--port", "0", "--data", path(&foreign)], vec![path(&foreign), "dynamodb.sqlite", "--fresh"]),
        (&["--port", "0", "--data", path(&weak)], vec![path(&weak), "variables.key"]),
        (&["--port", "0", "--data", path(place.folder.path()), "--repo", "/no/such/folder"], vec!["/no/such/folder"]),
        (&["--port", "0", "--data", path(place.folder.path()), "--repo", path(&foreign)], vec![path(&foreign)]),
        (&["--port", &port, "--data", path(place.folder.path())], vec![&port, "in use"]),
    ] {
        let failed = output(arguments).await;
        assert_eq!(failed.status.code(), Some(1), "{failed:?}");
        for part in parts {
            assert!(text(&failed.stderr).contains(part), "no {part:?} in {}", text(&failed.stderr));
        }
        for foreign in ["panicked", "::", "Error(", "{ "] {
            assert!(!text(&failed.stderr).contains(foreign), "{}", text(&failed.stderr));
        }
    }
}

#[tokio::test]
async fn the_demo_writes_plain_lines_into_a_pipe() {
    let place = Place::with(&["echo hello", "echo oops >&2"]);
    let ended = place.output(&["demo"]).await;
    assert_eq!(ended.status.code(), Some(0), "{ended:?}");
    let lines = text(&ended.stdout);
    let parts = [
        "1 repository:\n",
        "A deployment to production needs an approval by the team reviewers\n",
        "api | queued\n",
        "api | waits for an approval, until ",
        "api | approved by grace@example.com\n",
        "stdout | hello\n",
        "stderr | oops\n",
        "The deployment succeeded after ",
    ];
    let mut rest = lines;
    for part in parts {
        rest = rest.split_once(part).unwrap_or_else(|| panic!("no {part:?} at its place in {lines}")).1;
    }
    assert!(!lines.contains("\nArtifacts: "), "{lines}");
    assert!(!lines.contains('\u{1b}') && !lines.contains('\r'), "{lines:?}");
    assert_eq!(text(&ended.stderr), "");

    let ended = Place::with(&["exit 3"]).output(&["demo"]).await;
    assert_eq!(ended.status.code(), Some(1), "{ended:?}");
    let failure = "command_failed: Command 'exit 3' in phase build exited with status 3\n";
    assert!(text(&ended.stdout).contains(failure), "no {failure:?} in {}", text(&ended.stdout));
}

/// Returns the URLs of the artifacts and the token that a demo has written.
fn downloads(written: &str) -> (Vec<String>, String) {
    let (_, shown) = written.split_once("\nArtifacts: 2\n").unwrap_or_else(|| panic!("{written}"));
    let urls = shown.lines().take(2).map(|line| line.split_whitespace().next().unwrap().to_owned()).collect();
    let (_, token) = shown.split_once("'Authorization: Bearer ").unwrap();
    (urls, token.split_once('\'').unwrap().0.to_owned())
}

#[tokio::test]
async fn the_demo_writes_urls_of_artifacts_that_work_with_its_token() {
    let sections = "\
        env:\n  exported-variables: [ANSWER]\n\
        reports:\n  unit:\n    files: report.xml\n\
        artifacts:\n  files: [a file.txt, report.xml]\n";
    let report =
        "echo '<testsuite><testcase name=\"a\"/><testcase name=\"b\"><failure/></testcase></testsuite>' > report.xml";
    let place = Place::with_more(&["echo made > 'a file.txt'", report, "export ANSWER=42"], sections);
    let own = place.output(&["demo"]).await;
    let own = text(&own.stdout);
    assert!(own.contains("Tests: 1 of 2 passed\nOutput: ANSWER=42\n"), "{own}");
    let command = own.split_once("This stack stops now. The URLs work while it runs: ").unwrap().1;
    let data = place.folder.path().canonicalize().unwrap().join("data");
    assert!(command.starts_with("cargo local --port ") && command.contains(path(&data)), "{command}");

    // The stack is another one, with the data of the first one and with the same person as the reviewer.
    let mut running = place.start().await;
    let (data, source) = (place.folder.path().join("data"), place.folder.path().join("app"));
    let port = running.url.rsplit_once(':').unwrap().1;
    let ended = output(&["demo", "--port", port, "--data", path(&data), "--repo", path(&source)]).await;
    assert_eq!(ended.status.code(), Some(0), "{ended:?}");
    let ended = text(&ended.stdout);
    assert!(!ended.contains("This stack stops"), "{ended}");
    for written in [own, ended] {
        let (urls, token) = downloads(written);
        for (url, expected) in urls.iter().zip(["made\n", "<testsuite>"]) {
            let (_, asked) = url.split_once("/v1/").unwrap();
            let asked = Client::new().get(format!("{}/v1/{asked}", running.url)).bearer_auth(&token);
            let answer = asked.send().await.unwrap();
            assert_eq!(answer.status(), 200, "{url}");
            assert!(answer.text().await.unwrap().starts_with(expected), "{url}");
        }
    }
    assert!(downloads(ended).0[0].starts_with(&running.url), "{ended}");

    let deployments = running.get("/v1/repositories/app/deployments?environment=production").await;
    for deployment in deployments["data"].as_array().unwrap() {
        let [approver] = &deployment["approvals"]["given_by"].as_array().unwrap()[..] else { panic!("{deployment}") };
        assert_eq!(deployments["actors"][approver.as_str().unwrap()]["email"], "grace@example.com", "{deployments}");
    }
    assert_eq!(deployments["meta"]["total"], 2);
    assert_eq!(running.end(Signal::TERM).await, Some(0));
}

#[tokio::test]
async fn a_reader_that_goes_ends_the_demo_and_no_stack() {
    let place = Place::with(&["true"]);
    let (data, source) = (place.folder.path().join("data"), place.folder.path().join("app"));
    let arguments = place.arguments(&data, &source);
    let mut demo = local(&[&["demo"][..], &arguments].concat()).spawn().unwrap();
    drop(demo.stdout.take());
    let ended = demo.wait_with_output().await.unwrap();
    assert_eq!((ended.status.code(), text(&ended.stderr)), (Some(141), ""));

    std::fs::remove_file(data.join("log.jsonl")).unwrap();
    let mut stack = local(&arguments).spawn().unwrap();
    drop(stack.stdout.take());
    let log = data.join("log.jsonl");
    let requests = async || std::fs::read_to_string(&log).ok().filter(|lines| lines.contains("create-repository"));
    until(requests).await;
    kill_process(Pid::from_raw(stack.id().unwrap().cast_signed()).unwrap(), Signal::TERM).unwrap();
    let mut errors = String::new();
    stack.stderr.take().unwrap().read_to_string(&mut errors).await.unwrap();
    assert_eq!(stack.wait().await.unwrap().code(), Some(0), "{errors}");
    assert!(!errors.contains("panicked"), "{errors}");
}
