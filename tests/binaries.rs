//! The functions as Lambda starts them: each binary is a process that asks the Runtime API for its events
//! (<https://docs.aws.amazon.com/lambda/latest/dg/runtimes-api.html>).

mod apart;
mod hostile;
mod running;

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::LazyLock;
use std::time::Duration;

use local::functions::{FUNCTIONS, all_routes, routes};
use local::stack::OwnIssuer;
use serde_json::{Value, json};
use shared::clock::Clock;
use shared::settings::{API_BASE_URL, OIDC_ISSUER, QUEUE_URL, TABLE_NAME};
use tests::issuer::AUDIENCE;
use tests::{GitRepository, World, checkout, eventually, read_file, sample_event};

use self::running::Running;
use crate::hooks::hmac_of;

const INVOCATION: &str = "8476a536-e9f4-11e8-9739-2dfe598c3fcd";
/// The time after which a binary counts as hung.
const PATIENCE: Duration = Duration::from_secs(60);
/// The functions that are called last, because they remove resources that the sample events of others name.
const REMOVALS: [&str; 5] =
    ["remove-team-repository", "remove-team-member", "delete-repository", "delete-team", "remove-member"];

/// The functions that the tests start in each run. To link all takes longer than any other test.
const STARTED: [&str; 4] = ["bootstrap", "create-deployment", "deployment-consumer", "list-repositories"];

static BINARIES: LazyLock<BTreeMap<String, PathBuf>> =
    LazyLock::new(|| build(&STARTED.map(|function| format!("--bin={function}"))));
static ALL_BINARIES: LazyLock<BTreeMap<String, PathBuf>> = LazyLock::new(|| build(&["--bins".to_owned()]));

/// Builds binaries with the profile and the features of the tests, so that their dependencies are already built. Returns those of
/// functions by name.
fn build(binaries: &[String]) -> BTreeMap<String, PathBuf> {
    let mut cargo = cargo(&["build", "--workspace", "--message-format=json-render-diagnostics"]);
    cargo.args(binaries);
    if !cfg!(debug_assertions) {
        cargo.arg("--release");
    }
    let built = cargo.stderr(Stdio::inherit()).output().unwrap();
    assert!(built.status.success(), "the binaries can't be built");
    let messages = serde_json::Deserializer::from_slice(&built.stdout).into_iter::<Value>().map(Result::unwrap);
    let binary = |message: Value| {
        let path = message["executable"].as_str()?.into();
        Some((message["target"]["name"].as_str()?.to_owned(), path))
    };
    messages.filter_map(binary).filter(|(name, _)| !["bench", "local"].contains(&name.as_str())).collect()
}

fn binary(function: &str) -> &'static Path {
    BINARIES.get(function).unwrap_or_else(|| &ALL_BINARIES[function])
}

fn cargo(arguments: &[&str]) -> std::process::Command {
    let mut cargo = std::process::Command::new(env!("CARGO"));
    cargo.args(arguments).current_dir(checkout());
    // Build scripts that read cargo's variables for this test's package would run again.
    for (name, _) in
        std::env::vars().filter(|(name, _)| name.starts_with("CARGO_PKG_") || name.starts_with("CARGO_MAN"))
    {
        cargo.env_remove(name);
    }
    cargo
}

/// Returns a sample event with a real token, and with the given ids in its path.
fn sample_request(function: &str, token: &str, ids: &[&Value]) -> Value {
    let mut event = sample_event(function);
    if event["headers"]["authorization"].is_string() {
        event["headers"]["authorization"] = json!(format!("Bearer {token}"));
    }
    let parameters = event["pathParameters"].as_object().cloned().unwrap_or_default();
    let mut text = event.to_string();
    for id in ids.iter().map(|id| id.as_str().unwrap()) {
        let (kind, _) = id.split_once('_').unwrap();
        for placeholder in parameters.values().filter_map(Value::as_str).filter(|value| value.starts_with(kind)) {
            text = text.replace(placeholder, id);
        }
    }
    serde_json::from_str(&text).unwrap()
}

#[tokio::test]
#[ignore = "every function is linked, which takes a minute; CI runs it"]
async fn each_binary_answers_its_sample_event() {
    let world = World::start_with(|options| options.clock = Clock::system()).await;
    let mut settings = world.stack.environment().settings.clone();
    // Nothing consumes the dead-letter queue, so its messages stay for the consumer's binary.
    let queue = world.stack.dead_letter_queue();
    settings.set(QUEUE_URL, queue.to_owned());
    let project = sample_event("build-events")["detail"]["project-name"].as_str().unwrap().to_owned();
    settings.set(builds::CODEBUILD_PROJECT, project);
    let asked = RefCell::new(BTreeSet::new());
    let start = async |function: &str| {
        asked.borrow_mut().insert(function.to_owned());
        Running::start(function, &settings).await
    };

    let mut bootstrap = start("bootstrap").await;
    let account = bootstrap.invoke(sample_event("bootstrap")).await.unwrap();
    let token = account["token"].as_str().unwrap();
    let again = bootstrap.invoke(sample_event("bootstrap")).await.unwrap_err();
    assert_eq!(again["errorMessage"], "the account 'acme' already exists; choose another slug");
    assert_eq!(bootstrap.end().await, [Value::Null; 0], "the token is in the answer and nowhere else");
    let owner = world.anonymous().holding(token);
    assert_eq!(owner.get("/v1/rate_limit").await.body["plan"], "pro");

    let source = GitRepository::with_commands(&["seq 20", "echo $LOG_LEVEL at $GIT_SHA"]);
    let sha = source.git(&["rev-parse", "HEAD"]);
    let mut create_repository = start("create-repository").await;
    let mut event = sample_request("create-repository", token, &[]);
    let mut body: Value = serde_json::from_str(event["body"].as_str().unwrap()).unwrap();
    body["clone_url"] = json!(source.url());
    event["body"] = json!(body.to_string());
    let (status, headers, mut repository) = create_repository.request(event).await;
    assert_eq!((status, &repository["full_name"]), (201, &json!("acme/frontend-app")), "{repository}");
    assert_eq!(headers["x-ratelimit-limit"], "600");
    let log = create_repository.end().await;
    assert_eq!(log.len(), 1, "one line a request: {log:?}");
    assert_eq!((&log[0]["status"], &log[0]["lambda_request_id"]), (&json!(201), &json!(INVOCATION)));
    assert_eq!(log[0]["request_id"], headers["x-request-id"]);

    let create_deployment = sample_request("create-deployment", token, &[&repository["id"]]);
    let (status, headers, deployment) = start("create-deployment").await.request(create_deployment).await;
    assert_eq!((status, &deployment["status"], &deployment["sha"]), (201, &json!("queued"), &json!(sha)));
    assert_eq!(headers["location"], deployment["url"]);
    repository["updated_at"] = deployment["created_at"].clone();

    let sqs = world.stack.app().aws().sqs();
    let sent = sqs.receive_message().queue_url(queue).wait_time_seconds(10).send().await.unwrap();
    let [message] = sent.messages() else { panic!("one message: {sent:?}") };
    let mut event = sample_event("deployment-consumer");
    event["Records"][0]["body"] = json!(message.body());
    let answer = start("deployment-consumer").await.invoke(event).await;
    assert_eq!(answer, Ok(json!({"batchItemFailures": []})));
    let lines = owner.log(&deployment).await;
    assert!(lines.contains(&format!("stdout: debug at {sha}")), "it really ran: {lines:?}");

    let told = start("report-status").await.invoke(sample_event("report-status")).await;
    assert_eq!(told, Ok(json!({"batchItemFailures": []})));

    let sent = start("send-webhooks").await.invoke(sample_event("send-webhooks")).await;
    assert_eq!(sent, Ok(json!({"batchItemFailures": []})));

    let swept = start("sweep").await.invoke(sample_event("sweep")).await;
    assert_eq!(
        swept,
        Ok(
            json!({"sent": 0, "ended": 0, "unchanged": 0, "failed": 0, "removed": 0, "deleted": 0, "repaired": 0, "complete": true})
        )
    );

    let redriven = start("redrive-dead-letters").await.invoke(sample_event("redrive-dead-letters")).await.unwrap();
    assert_eq!((&redriven["dry_run"], &redriven["failed"]), (&json!(true), &json!(0)), "{redriven}");

    let handled = start("build-events").await.invoke(sample_event("build-events")).await;
    assert_eq!(handled, Ok(json!({"outcome": "gone"})));

    let copied = start("build-log").await.invoke(sample_event("build-log")).await;
    assert_eq!(copied, Ok(json!({"outcome": "gone"})));

    let ids = [&repository["id"], &deployment["id"]];
    let ask = async |function: &str| start(function).await.request(sample_request(function, token, &ids)).await;
    let (status, _, found) = ask("get-repository").await;
    assert_eq!((status, &found), (200, &repository));
    let (status, _, page) = ask("list-repositories").await;
    assert_eq!((status, &page["data"]), (200, &json!([repository])));
    let (status, _, found) = ask("get-deployment").await;
    assert_eq!((status, &found["id"], &found["status"]), (200, &deployment["id"], &json!("succeeded")));
    let (status, _, events) = ask("list-deployment-events").await;
    assert_eq!((status, &events["meta"]), (200, &json!({"next_after": 3, "complete": true})), "{events}");
    for (function, code) in [
        ("cancel-deployment", "already_finished"),
        ("reject-deployment", "not_awaiting_approval"),
        ("create-rollback", "nothing_to_roll_back"),
    ] {
        let (status, _, refused) = ask(function).await;
        assert_eq!((status, &refused["error"]["code"]), (409, &json!(code)), "{function}: {refused}");
    }
    // The sample event approves another commit.
    let (status, _, refused) = ask("approve-deployment").await;
    assert_eq!((status, &refused["error"]["code"]), (409, &json!("sha_mismatch")), "{refused}");
    let (status, _, environments) = ask("list-environments").await;
    assert_eq!((status, environments["data"].as_array().unwrap().len()), (200, 3), "{environments}");
    let (status, _, production) = ask("get-environment").await;
    assert_eq!((status, &production), (200, &environments["data"][2]));
    assert_eq!(production["live"]["deployment_id"], deployment["id"]);
    let (status, headers, qa) = ask("create-environment").await;
    assert_eq!((status, &qa["name"]), (201, &json!("qa")), "{qa}");
    assert!(headers["location"].as_str().unwrap().ends_with("/environments/qa"), "{headers}");
    let (status, _, deleted) = ask("delete-environment").await;
    assert_eq!((status, &deleted), (200, &json!({"id": "qa", "deleted": true})));
    let (status, _, updated) = ask("update-environment").await;
    assert_eq!((status, &updated["required_approvals"]), (200, &json!(1)), "{updated}");
    let (status, _, page) = ask("list-deployments").await;
    let mut row = found.clone();
    let actors = row.as_object_mut().unwrap().remove("actors").unwrap();
    row["variables"] = Value::Null;
    assert_eq!((status, &page["data"], &page["actors"]), (200, &json!([row]), &actors));
    let (status, _, retried) = ask("retry-deployment").await;
    assert_eq!((status, &retried["origin"]["deployment_id"]), (201, &deployment["id"]), "{retried}");
    let (status, _, log) = ask("get-deployment-log").await;
    assert_eq!((status, &log["meta"]["next_after"]), (200, &json!(lines.len())), "{log}");
    let texts =
        |log: &Value| log["data"].as_array().unwrap().iter().map(|line| line["text"].clone()).collect::<Vec<_>>();
    assert!(texts(&log).contains(&json!(format!("debug at {sha}"))), "{log}");
    let (status, _, artifacts) = ask("list-deployment-artifacts").await;
    assert_eq!((status, &artifacts["meta"]["total"]), (200, &json!(0)), "{artifacts}");
    let (status, _, refused) = ask("get-deployment-artifact").await;
    assert_eq!((status, &refused["error"]["message"]), (404, &json!("Artifact not found")), "{refused}");
    let (status, headers, made) = ask("create-token").await;
    let made_token = made["token"].as_str().unwrap();
    assert_eq!((status, &made["name"], &headers["x-ratelimit-limit"]), (201, &json!("ci"), &json!("600")), "{made}");
    assert_eq!(owner.holding(made_token).get("/v1/repositories").await.status, 200);
    let (status, _, page) = ask("list-tokens").await;
    assert_eq!((status, &page["data"][0]["id"], &page["meta"]["total"]), (200, &made["id"], &json!(2)));
    let ask_for_it =
        async |function: &str| start(function).await.request(sample_request(function, token, &[&made["id"]])).await;
    let (status, _, changed) = ask_for_it("update-token").await;
    assert_eq!((status, &changed["name"]), (200, &json!("ci of the frontend")), "{changed}");
    let (status, _, found) = ask_for_it("get-token").await;
    assert_eq!((status, &found), (200, &changed));
    let (status, _, rotated) = ask_for_it("rotate-token").await;
    assert_eq!((status, &rotated["id"]), (200, &made["id"]), "{rotated}");
    let rotated = owner.holding(rotated["token"].as_str().unwrap());
    assert_eq!(rotated.get("/v1/repositories").await.status, 200);
    let (status, _, deleted) = ask_for_it("delete-token").await;
    assert_eq!((status, &deleted), (200, &json!({"id": made["id"], "deleted": true})));
    rotated.get("/v1/deployments/nothing").await.refused(401, "token_revoked");
    let ask = async |function: &str| start(function).await.request(sample_request(function, token, &ids)).await;
    let mut event = sample_request("create-application", token, &ids);
    let mut body: Value = serde_json::from_str(event["body"].as_str().unwrap()).unwrap();
    body["access_token"] = json!(world.issuer.client_token(body["client_id"].as_str().unwrap(), Clock::system().now()));
    event["body"] = json!(body.to_string());
    let (status, _, application) = start("create-application").await.request(event).await;
    assert_eq!((status, &application["name"]), (201, &json!("Deployer")), "{application}");
    let (status, _, page) = ask("list-applications").await;
    assert_eq!((status, &page["data"]), (200, &json!([application])));
    let (status, _, deleted) = ask("delete-application").await;
    assert_eq!((status, &deleted), (200, &json!({"id": application["id"], "deleted": true})));
    let mut event = sample_request("create-trust", token, &ids);
    let mut body: Value = serde_json::from_str(event["body"].as_str().unwrap()).unwrap();
    body["issuer"] = json!(world.issuer.url());
    body["audience"] = json!(AUDIENCE);
    event["body"] = json!(body.to_string());
    let (status, _, trust) = start("create-trust").await.request(event).await;
    assert_eq!((status, &trust["environments"]), (201, &json!(["staging", "production"])), "{trust}");
    let (status, _, page) = ask("list-trusts").await;
    assert_eq!((status, &page["data"]), (200, &json!([trust])));
    let subject_token = world.issuer.id_token(&world.issuer.job("acme/app", Clock::system().now()));
    let mut event = sample_event("exchange-token");
    let mut form: BTreeMap<_, _> =
        form_urlencoded::parse(event["body"].as_str().unwrap().as_bytes()).into_owned().collect();
    form.insert("audience".to_owned(), trust["id"].as_str().unwrap().to_owned());
    form.insert("subject_token".to_owned(), subject_token);
    event["body"] = json!(form_urlencoded::Serializer::new(String::new()).extend_pairs(form).finish());
    let (status, _, issued) = start("exchange-token").await.request(event).await;
    assert_eq!((status, &issued["scope"]), (200, &json!("deployments:read deployments:write")), "{issued}");
    let job = owner.holding(issued["access_token"].as_str().unwrap()).get("/v1/user").await;
    assert_eq!(job.body["trust"]["id"], trust["id"], "{job:?}");
    let event = sample_request("delete-trust", token, &[&trust["id"]]);
    let (status, _, deleted) = start("delete-trust").await.request(event).await;
    assert_eq!((status, &deleted), (200, &json!({"id": trust["id"], "deleted": true})));
    // Nobody is at this port, so that the check has its answer at once.
    let here = |event: Value| -> Value {
        let text =
            event["body"].as_str().unwrap().replace("https://", "http://").replace("git.example.com", "127.0.0.1:1");
        let mut event = event;
        event["body"] = json!(text);
        event
    };
    let event = here(sample_request("create-connection", token, &ids));
    let (status, _, connection) = start("create-connection").await.request(event).await;
    assert_eq!((status, &connection["host"]), (201, &json!("127.0.0.1:1")), "{connection}");
    let ask_for_it = |function| sample_request(function, token, &[&connection["id"]]);
    let (status, _, found) = start("get-connection").await.request(ask_for_it("get-connection")).await;
    assert_eq!((status, &found["id"], &found["repositories"]), (200, &connection["id"], &json!([])));
    let (status, _, page) = ask("list-connections").await;
    assert_eq!((status, &page["data"][0]["id"], &page["meta"]["total"]), (200, &connection["id"], &json!(1)));
    let (status, _, changed) = start("update-connection").await.request(ask_for_it("update-connection")).await;
    assert_eq!((status, &changed["name"]), (200, &json!("Deploy bot of the platform team")), "{changed}");
    let (status, _, checked) = start("check-connection").await.request(here(ask_for_it("check-connection"))).await;
    assert_eq!((status, &checked["ok"], &checked["clone_url"]["ok"]), (200, &json!(false), &json!(false)), "{checked}");
    let (status, _, deleted) = start("delete-connection").await.request(ask_for_it("delete-connection")).await;
    assert_eq!((status, &deleted), (200, &json!({"id": connection["id"], "deleted": true})));

    for place in ["account", "repository", "environment"] {
        let (status, _, set) = ask(&format!("set-{place}-variable")).await;
        assert_eq!((status, &set["name"], &set["secret"]), (200, &json!("API_URL"), &json!(false)), "{place}: {set}");
        let (status, _, listed) = ask(&format!("list-{place}-variables")).await;
        assert_eq!((status, &listed["version"], &listed["data"]), (200, &json!(1), &json!([set])), "{place}");
        let (status, _, deleted) = ask(&format!("delete-{place}-variable")).await;
        assert_eq!((status, &deleted), (200, &json!({"id": "API_URL", "deleted": true})), "{place}");
    }
    let (status, _, hook) = ask("create-hook").await;
    assert_eq!((status, &hook["provider"]), (201, &json!("github")), "{hook}");
    let mut event = sample_request("receive-hook", token, &[&hook["id"]]);
    let signature = hmac_of(hook["secret"].as_str().unwrap().as_bytes(), event["body"].as_str().unwrap().as_bytes());
    event["headers"]["x-hub-signature-256"] = json!(format!("sha256={signature}"));
    let (status, _, delivery) = start("receive-hook").await.request(event).await;
    assert_eq!((status, &delivery["event"]), (202, &json!("push")), "{delivery}");
    let consumed = start("hook-consumer").await.invoke(sample_event("hook-consumer")).await;
    assert_eq!(consumed, Ok(json!({"batchItemFailures": []})), "a message for a delivery that is gone is deleted");
    let of_it = [&repository["id"], &hook["id"]];
    let ask_for_it = async |function| start(function).await.request(sample_request(function, token, &of_it)).await;
    let (status, _, page) = ask("list-hooks").await;
    assert_eq!((status, &page["data"][0]["id"], &page["meta"]["total"]), (200, &hook["id"], &json!(1)));
    let (status, _, page) = ask_for_it("list-hook-deliveries").await;
    assert_eq!((status, &page["data"][0]["id"]), (200, &delivery["id"]), "{page}");
    let (status, _, rotated) = ask_for_it("rotate-hook").await;
    assert!(status == 200 && rotated["secret"].is_string() && rotated["secret"] != hook["secret"], "{rotated}");
    let (status, _, deleted) = ask_for_it("delete-hook").await;
    assert_eq!((status, &deleted), (200, &json!({"id": hook["id"], "deleted": true})));

    let request = sample_request("get-deployment-log-file", token, &ids);
    let file = start("get-deployment-log-file").await.invoke(request).await.unwrap();
    let text = file["body"].as_str().unwrap_or_default();
    assert!(file["statusCode"] == 200 && text.ends_with("Succeeded. Artifacts: 0\n"), "{file}");
    let (status, _, refused) = ask("get-deployment-artifacts-zip").await;
    assert_eq!((status, &refused["error"]["code"]), (404, &json!("not_found")), "it has no artifacts: {refused}");

    let (status, _, webhook) = ask("create-webhook").await;
    assert_eq!(status, 201, "{webhook}");
    let (status, _, page) = ask("list-webhooks").await;
    assert_eq!((status, &page["data"][0]["id"]), (200, &webhook["id"]));
    let of_it =
        async |function| start(function).await.request(sample_request(function, token, &[&webhook["id"]])).await;
    let (status, _, delivery) = of_it("test-webhook").await;
    assert_eq!(status, 202, "{delivery}");
    let again = sample_request("redeliver-webhook", token, &[&webhook["id"], &delivery["id"]]);
    // An attempt may end in that moment. Then the request is to be sent again.
    let (status, again) = eventually("the redelivery", async || {
        let (status, _, body) = start("redeliver-webhook").await.request(again.clone()).await;
        (status != 503).then_some((status, body))
    })
    .await;
    assert_eq!(status, 202, "{again}");
    for function in ["get-webhook", "update-webhook", "rotate-webhook", "list-webhook-deliveries", "delete-webhook"] {
        let (status, _, body) = of_it(function).await;
        assert_eq!(status, 200, "{function}: {body}");
    }

    let (status, _, account) = ask("get-account").await;
    assert_eq!((status, &account["slug"], &account["base_permission"]), (200, &json!("acme"), &json!("read")));
    let (status, headers, account) = ask("update-account").await;
    assert_eq!(
        (status, &account["base_permission"], &account["permanent_tokens"]),
        (200, &json!("none"), &json!(false))
    );
    assert!(headers["etag"].as_str().is_some_and(|etag| etag.contains("-2.")), "{headers}");
    let (status, _, me) = ask("get-user").await;
    assert_eq!((status, &me["user"]["role"], &me["account"]["slug"]), (200, &json!("owner"), &json!("acme")), "{me}");
    let (status, _, openings) = ask("list-user-invitations").await;
    assert_eq!((status, &openings["data"]), (200, &json!([])), "{openings}");
    let (status, _, joined) = ask("join-account").await;
    assert_eq!((status, &joined["member"]["id"]), (200, &me["user"]["id"]), "{joined}");

    let (status, _, invited) = ask("create-invitation").await;
    let invitation = &invited["invitation"];
    assert_eq!((status, &invitation["role"]), (201, &json!("member")), "{invited}");
    let (status, _, page) = ask("list-invitations").await;
    assert_eq!((status, &page["data"][0]["id"]), (200, &invitation["id"]));
    let mut event = sample_request("accept-invitation", token, &[&invitation["id"]]);
    event["body"] = json!(json!({"secret": invited["secret"]}).to_string());
    let (status, _, accepted) = start("accept-invitation").await.request(event).await;
    let member = &accepted["member"];
    assert_eq!((status, &member["email"]), (200, &invitation["email"]), "{accepted}");
    let (status, _, team) = start("create-team").await.request(sample_request("create-team", token, &[])).await;
    assert_eq!(status, 201, "{team}");
    let ids = [&repository["id"], &deployment["id"], &team["id"], &member["id"], &invitation["id"]];
    let ask = async |function: &str| start(function).await.request(sample_request(function, token, &ids)).await;
    let (status, _, page) = ask("list-teams").await;
    assert_eq!((status, &page["data"]), (200, &json!([team])));
    let (status, _, found) = ask("get-team").await;
    assert_eq!((status, &found), (200, &team));
    for (function, key) in [
        ("update-team", "name"),
        ("add-team-member", "member"),
        ("add-team-repository", "permission"),
        ("update-member", "role"),
    ] {
        let (status, _, changed) = ask(function).await;
        assert!(status == 200 && !changed[key].is_null(), "{function}: {status} {changed}");
    }
    for function in ["list-team-members", "list-team-repositories", "list-members"] {
        let (status, _, page) = ask(function).await;
        assert!(status == 200 && page["meta"]["total"] != 0, "{function}: {status} {page}");
    }
    let (status, _, error) = ask("delete-invitation").await;
    assert_eq!((status, &error["error"]["code"]), (404, &json!("not_found")), "it was accepted: {error}");

    let (status, _, limit) = ask("get-rate-limit").await;
    assert_eq!((status, &limit["plan"], &limit["limit"]), (200, &json!("pro"), &json!(600)));
    let (status, _, document) = ask("get-openapi").await;
    assert_eq!((status, document), (200, owner.get("/v1/openapi.json").await.body));
    let (status, headers, error) = ask("not-found").await;
    assert_eq!((status, &error["error"]["code"]), (405, &json!("method_not_allowed")));
    assert_eq!(headers["allow"], "GET, HEAD, POST");

    let mut dashboard = start("get-dashboard").await;
    let page = dashboard.invoke(sample_event("get-dashboard")).await.unwrap();
    assert_eq!((&page["statusCode"], &page["isBase64Encoded"]), (&json!(200), &json!(true)), "it is compressed");
    assert_eq!(page["headers"]["content-encoding"], "gzip");
    assert_eq!(dashboard.end().await.len(), 1, "one line a request");

    let mut event = sample_event("create-session");
    event["body"] = json!(json!({"token": token}).to_string());
    let (status, _, session) = start("create-session").await.request(event).await;
    assert_eq!(status, 201, "{session}");
    let (status, _, page) = ask("list-sessions").await;
    assert_eq!((status, &page["data"][0]["id"], &page["data"][0]["current"]), (200, &session["id"], &json!(false)));
    let event = sample_request("delete-session", token, &[&session["id"]]);
    let (status, _, deleted) = start("delete-session").await.request(event).await;
    assert_eq!((status, &deleted), (200, &json!({"id": session["id"], "deleted": true})));
    // The event has a token and no session.
    let (status, _, refused) = ask("end-session").await;
    assert_eq!((status, &refused["error"]["code"]), (404, &json!("not_found")), "{refused}");

    // An endpoint without a request of its own above succeeds with its sample event.
    for function in routes().map(|route| route.function).filter(|function| !REMOVALS.contains(function)) {
        if !asked.borrow().contains(function) {
            let (status, _, body) = ask(function).await;
            assert!(matches!(status, 200 | 201), "add a request to {function} to this test: {status} {body}");
        }
    }
    for function in REMOVALS {
        let (status, _, deleted) = ask(function).await;
        assert_eq!((status, &deleted["deleted"]), (200, &json!(true)), "{function}: {deleted}");
    }
    assert_eq!(asked.into_inner(), ALL_BINARIES.keys().cloned().collect());
}

#[tokio::test]
async fn a_binary_without_a_setting_says_which_one_it_misses() {
    let world = World::start().await;
    let missing = [("list-repositories", TABLE_NAME), ("create-deployment", QUEUE_URL), ("bootstrap", "AWS_REGION")];
    for (function, name) in missing {
        let mut settings = world.stack.environment().settings.clone();
        settings.set(name, String::new());
        let process = Running::start(function, &settings).await.process;
        let ended = tokio::time::timeout(PATIENCE, process.wait_with_output()).await.unwrap().unwrap();
        let errors = String::from_utf8(ended.stderr).unwrap();
        assert_eq!(errors, format!("the environment variable {name} is not set\n"), "{function}");
        assert_eq!(ended.status.code(), Some(1), "{function}");
    }
}

#[tokio::test]
async fn cargo_lambda_watch_gives_the_functions_what_the_local_stack_gives_them() {
    let mut data = PathBuf::new();
    let world = World::start_with(|options| {
        options.issuer = OwnIssuer::Started;
        options.overrides.clear();
        data.clone_from(&options.data);
    })
    .await;
    let settings = &world.stack.environment().settings;
    let given: BTreeMap<_, _> = settings.iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect();

    let file = read_file("infra/local/functions.env");
    let host = |name: &str| settings.get(name).unwrap().trim_start_matches("http://");
    let file = file
        .replace("127.0.0.1:9000", host(API_BASE_URL))
        .replace("127.0.0.1:3001", host("AWS_ENDPOINT_URL_DYNAMODB"))
        .replace("127.0.0.1:3002", host("AWS_ENDPOINT_URL_SQS"))
        .replace("127.0.0.1:3003", host(OIDC_ISSUER))
        .replace("file:.local/", &format!("file:{}/", data.canonicalize().unwrap().display()));
    let pairs = file.lines().filter(|line| !line.starts_with('#')).map(|line| line.split_once('=').unwrap());
    assert_eq!(pairs.map(|(name, value)| (name.to_owned(), value.to_owned())).collect::<BTreeMap<_, _>>(), given);
}

#[test]
fn cargo_lambda_watch_has_the_routes_of_the_api() {
    let metadata = cargo(&["metadata", "--no-deps", "--format-version=1"]).output().unwrap();
    let metadata: Value = serde_json::from_slice(&metadata.stdout).unwrap();
    let router = metadata["metadata"]["lambda"]["watch"]["router"].as_object().unwrap();
    let mut routed = BTreeSet::new();
    for (path, functions) in router {
        for function in functions.as_array().into_iter().flatten() {
            let text = |name: &str| function[name].as_str().unwrap();
            routed.insert((format!("{} {path}", text("method")), text("function").to_owned()));
        }
    }
    let mut expected = BTreeSet::new();
    for route in all_routes() {
        let own = route.keys().into_iter().filter(|key| key.contains(' ') && !key.contains("{repo_name}"));
        expected.extend(own.map(|key| (key.replace("{proxy+}", "{*path}"), route.function.to_owned())));
    }
    // The fallback takes all methods that no route names.
    for path in ["/{*path}", "/v1", "/v1/{*path}"] {
        let fallback = ["POST", "PUT", "PATCH", "DELETE", "OPTIONS"];
        expected.extend(fallback.map(|method| (format!("{method} {path}"), "not-found".to_owned())));
    }
    assert_eq!(routed, expected);
}

/// The crates that a function may depend on and that pull in much. Each has the crates beside functions that depend on it.
const HEAVY: [(&str, &[&str]); 2] = [("git", &["bench", "connections", "deploy"]), ("builds", &["tests"])];

#[test]
fn functions_share_code_through_shared_and_link_git_and_codebuild_only_by_their_own_choice() {
    let metadata = cargo(&["metadata", "--no-deps", "--format-version=1"]).output().unwrap();
    let metadata: Value = serde_json::from_slice(&metadata.stdout).unwrap();
    let packages = metadata["packages"].as_array().unwrap();
    let is_function = |name: &str| FUNCTIONS.iter().any(|function| function.name == name);
    for package in packages {
        let name = package["name"].as_str().unwrap();
        let dependencies = package["dependencies"].as_array().unwrap().iter();
        for dependency in dependencies.map(|dependency| dependency["name"].as_str().unwrap()) {
            assert!(
                !is_function(dependency) || ["local", "tests"].contains(&name),
                "{name} depends on the function {dependency}: move the code that both need to shared/"
            );
            for (_, users) in HEAVY.iter().filter(|(heavy, _)| *heavy == dependency) {
                assert!(
                    is_function(name) || users.contains(&name),
                    "{name} depends on {dependency}, so each of its users would link it"
                );
            }
        }
    }
}

#[test]
fn cargo_builds_a_test_binary_only_where_there_are_tests() {
    let metadata = cargo(&["metadata", "--no-deps", "--format-version=1"]).output().unwrap();
    let metadata: Value = serde_json::from_slice(&metadata.stdout).unwrap();
    let packages = metadata["packages"].as_array().unwrap();
    let targets = packages.iter().flat_map(|package| package["targets"].as_array().unwrap());
    for target in targets {
        let name = target["name"].as_str().unwrap();
        let root = Path::new(target["src_path"].as_str().unwrap());
        if target["kind"] == json!(["lib"]) && root.ends_with("src/lib.rs") {
            let tested = has_tests(root.parent().unwrap());
            assert_eq!(target["test"], tested, "{name}: set `test` below [lib] in its Cargo.toml to {tested}");
            assert_eq!(target["doctest"], false, "{name}: set `doctest` below [lib] in its Cargo.toml to false");
        }
        if target["kind"] == json!(["bin"]) {
            assert_eq!(target["test"], false, "{name}: set `test` below [[bin]] in its Cargo.toml to false");
        }
    }
}

fn has_tests(folder: &Path) -> bool {
    std::fs::read_dir(folder).unwrap().any(|entry| {
        let path = entry.unwrap().path();
        if path.is_dir() { has_tests(&path) } else { std::fs::read_to_string(&path).unwrap().contains("#[cfg(test)]") }
    })
}
