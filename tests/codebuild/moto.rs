//! moto's server behind a recorder.

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, LazyLock, Mutex};

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{DefaultBodyLimit, State};
use axum::http::{HeaderMap, Method, Response, Uri};
use serde_json::{Value, json};

pub(super) const START: &str = "CodeBuild_20161006.StartBuild";
/// The name of an upload to S3, whose requests do not name their operation.
pub(super) const UPLOAD: &str = "PutObject";
/// The alias of the key that encrypts variables.
pub(super) const KEY: &str = "alias/variables";
const PACKAGE: &str = "moto[server]==5.2.5";

/// The number of objects that one answer of a bucket lists. S3's own bound is 1,000.
pub(super) const MOST_LISTED: usize = 100;

/// The path of the server's program. It is installed once, from Python's package index into the target folder.
static PROGRAM: LazyLock<Option<PathBuf>> = LazyLock::new(|| match install() {
    Ok(program) => Some(program),
    Err(why) if std::env::var_os("CI").is_some() => panic!("moto can't be installed: {why}"),
    Err(why) => {
        // Writes past the test harness, which would hide the message.
        let line = format!("\nSKIPPED: the tests of CodeBuild did not run, because moto can't be installed: {why}\n\n");
        let _ = std::io::stderr().write_all(line.as_bytes());
        None
    }
});

fn install() -> Result<PathBuf, String> {
    let venv = Path::new(env!("CARGO_TARGET_TMPDIR")).join("moto");
    let installed = venv.join("installed");
    if std::fs::read_to_string(&installed).is_ok_and(|package| package == PACKAGE) {
        return Ok(venv.join("bin/moto_server"));
    }
    run(Command::new("python3").args(["-m", "venv", "--clear"]).arg(&venv))?;
    run(Command::new(venv.join("bin/pip")).args(["install", "--quiet", "--disable-pip-version-check", PACKAGE]))?;
    std::fs::write(installed, PACKAGE).map_err(|error| error.to_string())?;
    Ok(venv.join("bin/moto_server"))
}

fn run(command: &mut Command) -> Result<(), String> {
    let output = command.output().map_err(|error| format!("{command:?}: {error}"))?;
    match output.status.success() {
        true => Ok(()),
        false => Err(format!("{command:?}: {}", String::from_utf8_lossy(&output.stderr))),
    }
}

pub(crate) struct Moto {
    process: Child,
    recorder: Arc<Recorder>,
    url: String,
}

struct Recorder {
    client: reqwest::Client,
    moto: String,
    calls: Mutex<Vec<(String, Value)>>,
    builds_run: AtomicBool,
    /// The phases of running builds. `None` for those that moto tells.
    phases: Mutex<Option<Value>>,
    /// The operations that are refused, each with its code.
    refusals: Mutex<Vec<(&'static str, &'static str)>>,
    /// Whether each refusal happens once.
    once: AtomicBool,
    /// The number of calls that were refused.
    refused: AtomicUsize,
}

impl Moto {
    /// Starts the server. Returns `None` if it can't be installed.
    pub(crate) async fn start() -> Option<Self> {
        let program = tokio::task::spawn_blocking(|| PROGRAM.clone()).await.unwrap()?;
        let mut process = Command::new(program)
            .args(["--host", "127.0.0.1", "--port", "0"])
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(process.stderr.take().unwrap()).lines().map(Result::unwrap);
        let line = lines.find(|line| line.contains("Running on http://")).expect("moto says where it listens");
        // The server logs each request, and must not block on the pipe.
        std::thread::spawn(move || lines.for_each(drop));
        let (_, address) = line.split_once("Running on ").unwrap();
        let recorder = Arc::new(Recorder {
            client: reqwest::Client::new(),
            moto: address.trim().trim_end_matches('/').to_owned(),
            calls: Mutex::default(),
            builds_run: AtomicBool::new(false),
            phases: Mutex::default(),
            refusals: Mutex::default(),
            once: AtomicBool::new(false),
            refused: AtomicUsize::new(0),
        });
        let pass = async |State(recorder): State<Arc<Recorder>>, method, uri, headers, body| {
            recorder.pass(method, uri, headers, body).await
        };
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let app = Router::new().fallback(pass).layer(DefaultBodyLimit::disable()).with_state(recorder.clone());
        tokio::spawn(async { axum::serve(listener, app).await.unwrap() });
        Some(Self { process, recorder, url })
    }

    /// Returns the endpoint of every service.
    pub(crate) fn url(&self) -> String {
        self.url.clone()
    }

    /// Returns the requests of an operation so far.
    pub(super) fn calls(&self, target: &str) -> Vec<Value> {
        let calls = self.recorder.calls.lock().unwrap();
        calls.iter().filter(|(called, _)| called == target).map(|(_, body)| body.clone()).collect()
    }

    /// Sets whether BatchGetBuilds reports that builds are still running.
    pub(super) fn say_that_builds_run(&self, run: bool) {
        self.recorder.builds_run.store(run, Ordering::Relaxed);
    }

    /// Sets the phases of all builds, which are still running.
    pub(super) fn say_that_builds_are_in(&self, phases: Value) {
        *self.recorder.phases.lock().unwrap() = Some(phases);
        self.say_that_builds_run(true);
    }

    /// Refuses every build with this code, or starts builds again.
    pub(super) fn refuse_builds(&self, code: Option<&'static str>) {
        let refusals: Vec<_> = code.map(|code| (START, code)).into_iter().collect();
        self.refuse(&refusals);
    }

    /// Refuses the next build with this code.
    pub(super) fn refuse_a_build(&self, code: &'static str) {
        self.refuse_builds(Some(code));
        self.recorder.once.store(true, Ordering::Relaxed);
    }

    /// Refuses these operations, each with its code. That of every upload to S3 is [`UPLOAD`].
    pub(super) fn refuse(&self, refusals: &[(&'static str, &'static str)]) {
        *self.recorder.refusals.lock().unwrap() = refusals.to_vec();
        self.recorder.once.store(false, Ordering::Relaxed);
    }

    /// Creates the key that encrypts variables.
    pub(super) async fn create_key(&self) {
        let key = self.call("kms", "TrentService.CreateKey", json!({})).await;
        let alias = json!({"AliasName": KEY, "TargetKeyId": key["KeyMetadata"]["KeyId"]});
        self.call("kms", "TrentService.CreateAlias", alias).await;
    }

    /// Returns the number of calls that were refused.
    pub(super) fn refused(&self) -> usize {
        self.recorder.refused.load(Ordering::Relaxed)
    }

    /// Sends an operator's call, which is not recorded and must succeed.
    pub(super) async fn call(&self, service: &str, target: &str, body: Value) -> Value {
        let request = self.recorder.client.post(&self.recorder.moto).header("authorization", credential(service));
        let request = request.header("x-amz-target", target).header("content-type", "application/x-amz-json-1.1");
        let answer = request.body(body.to_string()).send().await.unwrap();
        let (status, text) = (answer.status(), answer.text().await.unwrap());
        assert!(status.is_success(), "{target}: {status} {text}");
        serde_json::from_str(&text).unwrap_or(Value::Null)
    }

    pub(crate) async fn create_bucket(&self, bucket: &str) {
        let url = format!("{}/{bucket}", self.recorder.moto);
        let created = self.recorder.client.put(url).header("authorization", credential("s3")).send().await.unwrap();
        assert!(created.status().is_success(), "{created:?}");
    }

    /// Stores an object under a percent-encoded key.
    pub(super) async fn put_object(&self, bucket: &str, key: &str, content: &str) {
        let url = format!("{}/{bucket}/{key}", self.recorder.moto);
        let request = self.recorder.client.put(url).header("authorization", credential("s3"));
        let stored = request.body(content.to_owned()).send().await.unwrap();
        assert!(stored.status().is_success(), "{stored:?}");
    }

    /// Copies an object within a bucket.
    pub(super) async fn copy_object(&self, bucket: &str, from: &str, to: &str) {
        let url = format!("{}/{bucket}/{to}", self.recorder.moto);
        let request = self.recorder.client.put(url).header("authorization", credential("s3"));
        let copied = request.header("x-amz-copy-source", format!("/{bucket}/{from}")).send().await.unwrap();
        assert!(copied.status().is_success(), "{copied:?}");
    }

    pub(super) async fn delete_object(&self, bucket: &str, key: &str) {
        let url = format!("{}/{bucket}/{key}", self.recorder.moto);
        let deleted = self.recorder.client.delete(url).header("authorization", credential("s3")).send().await.unwrap();
        assert!(deleted.status().is_success(), "{deleted:?}");
    }

    /// Returns the keys of the objects below a prefix.
    pub(super) async fn list_objects(&self, bucket: &str, prefix: &str) -> Vec<String> {
        let url = format!("{}/{bucket}?list-type=2&prefix={prefix}", self.recorder.moto);
        let found = self.recorder.client.get(url).header("authorization", credential("s3")).send().await.unwrap();
        let text = found.text().await.unwrap();
        let keys = text.split("<Key>").skip(1).map(|rest| rest.split("</Key>").next().unwrap().to_owned());
        keys.collect()
    }

    pub(super) async fn object(&self, bucket: &str, key: &str) -> Vec<u8> {
        let url = format!("{}/{bucket}/{key}", self.recorder.moto);
        let found = self.recorder.client.get(url).header("authorization", credential("s3")).send().await.unwrap();
        assert!(found.status().is_success(), "{found:?}");
        found.bytes().await.unwrap().to_vec()
    }
}

impl Drop for Moto {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Returns a credential. moto recognizes the called service by the name in it.
fn credential(service: &str) -> String {
    format!(
        "AWS4-HMAC-SHA256 Credential=test/20260101/us-east-1/{service}/aws4_request, SignedHeaders=host, Signature=0"
    )
}

impl Recorder {
    /// Returns the code with which this call is refused.
    fn refusal(&self, operation: Option<&str>) -> Option<&'static str> {
        let mut refusals = self.refusals.lock().unwrap();
        let at = refusals.iter().position(|(refused, _)| Some(*refused) == operation)?;
        match self.once.load(Ordering::Relaxed) {
            true => Some(refusals.remove(at).1),
            false => Some(refusals[at].1),
        }
    }

    async fn pass(&self, method: Method, uri: Uri, headers: HeaderMap, body: Bytes) -> Response<Body> {
        let target = headers.get("x-amz-target").map(|target| target.to_str().unwrap().to_owned());
        if let Some(target) = &target {
            self.calls.lock().unwrap().push((target.clone(), serde_json::from_slice(&body).unwrap()));
        }
        let operation = target.as_deref().or_else(|| (method == Method::PUT).then_some(UPLOAD));
        if let Some(code) = self.refusal(operation) {
            self.refused.fetch_add(1, Ordering::Relaxed);
            if target.is_none() {
                let body = format!("<Error><Code>{code}</Code><Message>Refused</Message></Error>");
                return Response::builder().status(403).body(body.into()).unwrap();
            }
            let body = json!({"__type": code, "message": "Cannot have more than 1 builds in queue for the account"});
            return Response::builder().status(400).body(body.to_string().into()).unwrap();
        }
        let is_list = uri.query().is_some_and(|query| query.contains("list-type=2"));
        let fewer = if is_list { format!("&max-keys={MOST_LISTED}") } else { String::new() };
        let mut request = self.client.request(method, format!("{}{uri}{fewer}", self.moto)).body(body);
        for (name, value) in headers.iter().filter(|(name, _)| *name != "host" && *name != "content-length") {
            request = request.header(name, value);
        }
        let answer = request.send().await.unwrap();
        let mut response = Response::builder().status(answer.status().as_u16());
        for (name, value) in answer.headers().iter().filter(|(name, _)| *name != "content-length") {
            if name != "transfer-encoding" && name != "connection" {
                response = response.header(name, value);
            }
        }
        let mut text = answer.bytes().await.unwrap();
        if target.is_some_and(|target| target.ends_with("BatchGetBuilds")) && self.builds_run.load(Ordering::Relaxed) {
            let mut answer: Value = serde_json::from_slice(&text).unwrap();
            for build in answer["builds"].as_array_mut().unwrap() {
                build["buildStatus"] = "IN_PROGRESS".into();
                if let Some(phases) = &*self.phases.lock().unwrap() {
                    build["phases"] = phases.clone();
                }
            }
            text = answer.to_string().into();
        }
        response.body(text.into()).unwrap()
    }
}
