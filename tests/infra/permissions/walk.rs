//! The walk: an API of its own, whose endpoints are called in every way that leads to another AWS call.

use std::collections::BTreeMap;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{self, Poll};
use std::time::Duration;

use archive::{Archive, LogWriter};
use aws_sdk_dynamodb::types::AttributeValue;
use axum::Router;
use axum::extract::State;
use axum::http::Method;
use builds::{Builds, Start};
use local::event_source::{EventSource, Mapping};
use local::functions::{Environment, FUNCTIONS, routes};
use local::gateway::Gateway;
use local::route::Routes;
use s3s::service::S3ServiceBuilder;
use serde_json::{Value, json};
use shared::App;
use shared::access::Access;
use shared::aws::{Aws, Limits};
use shared::id::{AccountId, DeploymentId};
use shared::model::{BUILD_REPORTS_WITHIN, Deployment, INVITATION_LIFE, Role};
use shared::queue::Queue;
use shared::settings;
use tests::issuer::{AUDIENCE, Issuer};
use tests::{Actor, Answer, GitRepository, World};
use tokio::io::{AsyncRead, AsyncReadExt, ReadBuf};

use super::super::{BOOTSTRAP, BUILD_EVENTS, CONSUMER, REDRIVE, SWEEP, Template, text};
use super::PROJECT;
use super::gate::Gate;
use super::statement::statements;

/// A separate API whose functions each have their own role, in the world of another stack.
pub(super) struct Walk {
    pub(super) world: World,
    pub(super) gate: Arc<Gate>,
    gate_url: String,
    queue: String,
    api: Gateway,
    pub(super) consumer: Option<EventSource>,
    issuer: Issuer,
    _archive: tempfile::TempDir,
}

impl Walk {
    pub(super) async fn start(template: &Template) -> Self {
        let issuer = Issuer::start().await;
        let world = World::start_with(|options| {
            options.overrides.push((settings::OIDC_ISSUER, issuer.url().to_owned()));
            options.overrides.push((settings::OIDC_AUDIENCE, AUDIENCE.to_owned()));
        });
        let world = world.await;
        let settings = world.stack.environment().settings.clone();
        let operator = Aws::new(&settings).unwrap().with_limits(Limits::PATIENT).sqs();
        let queue = operator.create_queue().queue_name("walk").send().await.unwrap().queue_url.unwrap();
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("archive")).unwrap();
        let policies = template.functions().into_iter().map(|f| (f.name, statements(template, &f.id))).collect();
        let gate = Arc::new(Gate {
            policies,
            client: reqwest::Client::new(),
            dynamodb: settings.require("AWS_ENDPOINT_URL_DYNAMODB").unwrap().to_owned(),
            sqs: settings.require("AWS_ENDPOINT_URL_SQS").unwrap().to_owned(),
            s3: S3ServiceBuilder::new(s3s_fs::FileSystem::new(folder.path()).unwrap()).build(),
            secrets: Mutex::default(),
            used: Mutex::default(),
            refused: Mutex::default(),
        });
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let gate_url = format!("http://{}", listener.local_addr().unwrap());
        let pass = |State(gate): State<Arc<Gate>>, method, uri, headers, body| gate.pass(method, uri, headers, body);
        let app =
            Router::new().fallback(pass).with_state(gate.clone()).layer(axum::extract::DefaultBodyLimit::disable());
        tokio::spawn(async { axum::serve(listener, app).await.unwrap() });

        let environment = |function: &str| environment(&world, &gate_url, &queue, function);
        let mut functions = Vec::new();
        for registration in FUNCTIONS {
            let Some(route) = registration.route() else { continue };
            let function = registration.start(&environment(route.function)).unwrap();
            functions.extend(route.keys().into_iter().map(|key| (key, function.clone())));
        }
        let routes = Routes::new(functions).unwrap();
        let api = Gateway::start("127.0.0.1:0".parse().unwrap(), routes, world.clock.clone()).await.unwrap();
        let consumer = environment(CONSUMER);
        let poller = Aws::new(&consumer.settings).unwrap().with_limits(Limits::PATIENT).sqs();
        let consumer = EventSource::start(poller, Mapping::new(&queue), consumer.consumer().unwrap()).await.unwrap();
        Self { world, gate, gate_url, queue, api, consumer: Some(consumer), issuer, _archive: folder }
    }

    pub(super) fn environment(&self, function: &str) -> Environment {
        environment(&self.world, &self.gate_url, &self.queue, function)
    }

    /// Returns the App of a function, which calls AWS with the function's own role.
    pub(super) fn app(&self, function: &str) -> App {
        self.environment(function).app().unwrap()
    }
}

/// Returns the environment of a function that uses its name as its access key.
fn environment(world: &World, gate: &str, queue: &str, function: &str) -> Environment {
    let mut environment = world.stack.environment().clone();
    for (setting, value) in [
        ("AWS_ACCESS_KEY_ID", function),
        ("AWS_ENDPOINT_URL", gate),
        ("AWS_ENDPOINT_URL_DYNAMODB", gate),
        ("AWS_ENDPOINT_URL_SQS", gate),
        (settings::QUEUE_URL, queue),
        (settings::ARCHIVE_URL, "s3://archive"),
        (settings::VARIABLES_KEY, "kms:arn:aws:kms:us-east-1:000000000000:key/variables"),
        (settings::API_BASE_URL, &format!("https://{function}.example")),
        (builds::CODEBUILD_PROJECT, PROJECT),
        (get_deployment_log::BUILD_LOG_GROUP, &format!("/aws/codebuild/{PROJECT}")),
    ] {
        environment.settings.set(setting, value.to_owned());
    }
    environment
}

/// Calls every endpoint in every way that leads to another AWS call. Returns the response of each function.
pub(super) async fn call_everything(walk: &Walk) -> (BTreeMap<&'static str, String>, Actor) {
    let event = json!({
        "account": "acme", "plan": "enterprise", "rate_limit": {"per_minute": 1_000_000, "burst": 1_000_000},
        "owner_email": "owner@example.com", "email_domains": ["acme.example"],
    });
    let bootstrapped = walk.environment(BOOTSTRAP).bootstrap().unwrap().invoke(event).await.unwrap();
    let mut owner = walk.world.anonymous().holding(text(&bootstrapped["token"]));
    owner.account_id = text(&bootstrapped["account_id"]).parse().ok();
    owner.user_id = text(&bootstrapped["user_id"]).parse().ok();
    let owner = owner;
    let source = GitRepository::with_commands(&["echo $GREETING"]);
    let url = |path: &str| format!("{}{path}", walk.api.endpoint());
    let mut answers: BTreeMap<&str, String> = BTreeMap::new();
    let mut take = |function: &'static str, answer: Answer, status: u16| -> Value {
        assert_eq!(answer.status, status, "{function}: {answer:?}, refused: {:?}", walk.gate.refused.lock().unwrap());
        let text = format!("{:?} {}", answer.headers, answer.body);
        answers.entry(function).or_default().push_str(&text);
        answer.body
    };

    let new = json!({"name": "app", "clone_url": source.url()});
    let repository = take("create-repository", owner.post(&url("/v1/repositories"), new).await, 201);
    for sort in ["created", "updated", "name"] {
        take("list-repositories", owner.get(&url(&format!("/v1/repositories?sort={sort}"))).await, 200);
    }
    for (slug, status) in [(text(&repository["id"]), 200), ("app", 200), ("nothing", 404)] {
        take("get-repository", owner.get(&url(&format!("/v1/repositories/{slug}"))).await, status);
    }
    let deployments = url("/v1/repositories/app/deployments");
    let new = json!({"ref": "main", "variables": {"GREETING": "hello"}});
    let created = take("create-deployment", owner.post(&deployments, new).await, 201);
    let id = text(&created["id"]);
    let ended = tests::eventually("the deployment's end", async || {
        let found = owner.get(&url(&format!("/v1/deployments/{id}"))).await;
        let refused = walk.gate.refused.lock().unwrap().clone();
        assert!(refused.is_empty(), "{refused:?}");
        found.body["finished_at"].is_string().then_some(found)
    })
    .await;
    assert_eq!(take("get-deployment", ended, 200)["status"], "succeeded");
    let log = take("get-deployment-log", owner.get(&url(&format!("/v1/deployments/{id}/log"))).await, 200);
    assert!(log.to_string().contains("***"), "the variable was not opened: {log}");
    for filter in ["", "?environment=preview", "?status=succeeded", "?environment=preview&status=succeeded"] {
        let page = take("list-deployments", owner.get(&format!("{deployments}{filter}")).await, 200);
        assert_eq!(page["meta"]["total"], 1);
    }
    let application = json!({"name": "CI", "client_id": "ci", "scopes": ["repositories:read"]});
    take("create-application", owner.post(&url("/v1/applications"), application).await, 201);
    take("list-applications", owner.get(&url("/v1/applications")).await, 200);
    let holding = |subject: &str, client: &str| {
        let mut claims = walk.issuer.claims(subject, walk.world.clock.now());
        claims["client_id"] = json!(client);
        walk.world.anonymous().holding(&walk.issuer.token(&claims))
    };
    let (user, program) = (holding("ada", "web"), holding("ci", "ci"));
    take("get-user", owner.get(&url("/v1/user")).await, 200);
    take("get-user", user.get(&url("/v1/user")).await, 200);
    take("get-user", program.get(&url("/v1/user")).await, 200);
    take("get-account", owner.get(&url("/v1/account")).await, 200);
    take("update-account", owner.patch(&url("/v1/account"), json!({"permanent_tokens": false})).await, 200);
    let team = take("create-team", owner.post(&url("/v1/teams"), json!({"name": "Invited"})).await, 201);
    let new = json!({"email": "grace@acme.example", "teams": [team["id"]]});
    take("create-invitation", owner.post(&url("/v1/invitations"), new).await, 201);
    let invited = holding("grace", "web").get(&url("/v1/user")).await;
    take("get-user", invited, 200);
    for (function, method, path) in with_a_caller() {
        for actor in [&user, &program] {
            let asked = actor.send(actor.request(method.clone(), &url(path))).await;
            let known = ![401, 500, 503].contains(&asked.status) && asked.body["error"]["code"] != "not_linked";
            assert!(known, "{function}: {asked:?}, refused: {:?}", walk.gate.refused.lock().unwrap());
        }
    }
    take("delete-application", owner.delete(&url("/v1/applications/ci")).await, 200);
    let new = json!({"name": "ci", "scopes": ["tokens:read"]});
    let token = take("create-token", owner.post(&url("/v1/tokens"), new).await, 201);
    let one = url(&format!("/v1/tokens/{}", text(&token["id"])));
    for query in ["", "?user=all"] {
        take("list-tokens", owner.get(&url(&format!("/v1/tokens{query}"))).await, 200);
    }
    take("get-token", owner.get(&one).await, 200);
    take("update-token", owner.patch(&one, json!({"name": "other"})).await, 200);
    take("rotate-token", owner.post(&format!("{one}/rotate"), json!({})).await, 200);
    take("delete-token", owner.delete(&one).await, 200);
    teams(walk, &owner, &mut take).await;
    life_of_a_deployment(walk, &owner, &deployments, &mut take).await;
    take("get-rate-limit", owner.get(&url("/v1/rate_limit")).await, 200);
    take("get-rate-limit", walk.world.anonymous().get(&url("/v1/rate_limit")).await, 401);
    take("get-openapi", owner.get(&url("/v1/openapi.json")).await, 200);
    take("not-found", owner.get(&url("/v1/nothing")).await, 404);
    let account = text(&bootstrapped["account_id"]).parse().unwrap();
    in_trouble(&walk.app(CONSUMER), &account, &id.parse().unwrap()).await;
    // The first function that sees a token in an hour records its use.
    for (_, method, path) in with_a_caller() {
        walk.world.clock.advance(Duration::from_secs(3600));
        owner.send(owner.request(method.clone(), &url(path))).await;
    }
    (answers, owner)
}

/// Returns the functions that authenticate their callers, each with a request about no resource.
fn with_a_caller() -> impl Iterator<Item = (&'static str, &'static Method, &'static str)> {
    let path = |path: &'static str| if path.starts_with('$') { "/v1/nothing" } else { path };
    let routes = routes().filter(|route| route.access != Access::Public);
    routes.map(move |route| (route.function, route.method, path(route.path)))
}

/// Calls every endpoint of deployments and environments.
async fn life_of_a_deployment(
    walk: &Walk,
    owner: &Actor,
    deployments: &str,
    take: &mut impl FnMut(&'static str, tests::Answer, u16) -> Value,
) {
    let url = |path: &str| format!("{}{path}", walk.api.endpoint());
    let environments = url("/v1/repositories/app/environments");
    let of = |deployment: &Value, what: &str| url(&format!("/v1/deployments/{}/{what}", text(&deployment["id"])));
    let ended = async |deployment: &Value| {
        tests::eventually("the deployment's end", async || {
            let found = owner.get(&url(&format!("/v1/deployments/{}", text(&deployment["id"])))).await;
            let refused = walk.gate.refused.lock().unwrap().clone();
            assert!(refused.is_empty(), "{refused:?}");
            found.body["finished_at"].is_string().then_some(())
        })
        .await
    };
    let production = |more: Value| {
        let mut new = json!({"ref": "main", "environment": "production", "variables": {"GREETING": "hello"}});
        new.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        new
    };
    let mut live = Value::Null;
    for _ in 0..2 {
        live = take("create-deployment", owner.post(deployments, production(json!({}))).await, 201);
        ended(&live).await;
    }
    let expects = json!({"expected_current": live["id"]});
    let expects = take("create-deployment", owner.post(deployments, production(expects)).await, 201);
    ended(&expects).await;
    let request = owner.request(Method::POST, deployments).header("idempotency-key", "k");
    let keyed = owner.send(request.json(&json!({"ref": "main", "environment": "staging"}))).await;
    ended(&take("create-deployment", keyed, 201)).await;
    let request = owner.request(Method::POST, deployments).header("idempotency-key", "l");
    take("create-deployment", owner.send(request.json(&json!({"ref": "nope"}))).await, 400);
    let preflight = format!("{deployments}/preflight");
    take("preflight-deployment", owner.post(&preflight, json!({"ref": "main"})).await, 200);
    let retried = take("retry-deployment", owner.post(&of(&live, "retry"), json!({})).await, 201);
    ended(&retried).await;
    let rollback = json!({"environment": "production"});
    let rollback = take("create-rollback", owner.post(&url("/v1/repositories/app/rollback"), rollback).await, 201);
    ended(&rollback).await;
    take("list-deployment-events", owner.get(&of(&live, "events")).await, 200);
    take("list-environments", owner.get(&environments).await, 200);
    take("get-environment", owner.get(&format!("{environments}/production")).await, 200);
    take("get-environment", owner.get(&format!("{environments}/preview")).await, 200);

    let set = async |environment: &str, settings: Value| {
        owner.patch(&format!("{environments}/{environment}"), settings).await
    };
    let member = walk.world.member(owner, Role::Admin).await;
    for environment in ["production", "preview"] {
        take("update-environment", set(environment, json!({"required_approvals": 1})).await, 200);
    }
    // In preview, a newer deployment supersedes the queued one.
    let waits = json!({"ref": "main"});
    let first = take("create-deployment", owner.post(deployments, waits.clone()).await, 201);
    take("get-deployment", owner.get(&url(&format!("/v1/deployments/{}", text(&first["id"])))).await, 200);
    let second = take("create-deployment", owner.post(deployments, waits.clone()).await, 201);
    let third = take("retry-deployment", owner.post(&of(&first, "retry"), json!({})).await, 201);
    assert_eq!(owner.get(&url(&format!("/v1/deployments/{}", text(&second["id"])))).await.body["status"], "superseded");
    let back = json!({"environment": "preview", "deployment_id": walk_back(owner, deployments).await});
    let fourth = take("create-rollback", owner.post(&url("/v1/repositories/app/rollback"), back).await, 201);
    assert_eq!(owner.get(&url(&format!("/v1/deployments/{}", text(&third["id"])))).await.body["status"], "superseded");
    let approval = json!({"sha": fourth["sha"]});
    take("approve-deployment", member.post(&of(&fourth, "approve"), approval).await, 200);
    ended(&fourth).await;
    let waiting = take("create-deployment", owner.post(deployments, production(json!({}))).await, 201);
    take("reject-deployment", member.post(&of(&waiting, "reject"), json!({})).await, 200);
    let waiting = take("create-deployment", owner.post(deployments, production(json!({}))).await, 201);
    take("update-environment", set("production", json!({"frozen": true})).await, 200);
    take("update-environment", set("production", json!({"frozen": false})).await, 200);
    take("cancel-deployment", owner.post(&of(&waiting, "cancel"), json!({})).await, 200);
    for environment in ["production", "preview"] {
        take("update-environment", set(environment, json!({"required_approvals": 0})).await, 200);
    }
    let repository = format!("/v1/repositories/{}", text(&live["repository_id"]));
    let by_id = owner.patch(&url(&format!("{repository}/environments/staging")), json!({"frozen": false})).await;
    take("update-environment", by_id, 200);
}

/// Returns the oldest deployment to preview, which succeeded.
async fn walk_back(owner: &Actor, deployments: &str) -> Value {
    let listed = owner.get(&format!("{deployments}?environment=preview&status=succeeded&direction=asc")).await;
    listed.body["data"][0]["id"].clone()
}

/// Deploys by CodeBuild in every way that leads to another AWS call. Nothing else may consume the queue.
pub(super) async fn build_everything(walk: &Walk, owner: &Actor) {
    let url = |path: &str| format!("{}{path}", walk.api.endpoint());
    let source = GitRepository::with_commands(&["true"]);
    let new = json!({"name": "built", "clone_url": source.url()});
    assert_eq!(owner.post(&url("/v1/repositories"), new).await.status, 201);
    // Each deployment has its own environment, so that none waits for another.
    let deploy = async |environment: &str| {
        let new = json!({"ref": "main", "environment": environment, "variables": {"GREETING": "hello"}});
        owner.post(&url("/v1/repositories/built/deployments"), new).await.body
    };
    let mut environment = walk.environment(CONSUMER);
    environment.settings.set(deployment_consumer::RUNNER, "codebuild".to_owned());
    let consumer = environment.consumer().unwrap();
    let consume = async |deployment: &Value| {
        let body = json!({"account_id": owner.account_id, "deployment_id": deployment["id"]}).to_string();
        let event = json!({"Records": [{"messageId": "m1", "body": body}]});
        let answer = consumer.invoke(event).await.unwrap();
        let refused = walk.gate.refused.lock().unwrap().clone();
        assert_eq!(answer, json!({"batchItemFailures": []}), "{refused:?} {:?}", walk.world.log().last());
        walk.world.stored(owner, deployment).await
    };

    let built = consume(&deploy("preview").await).await;
    let silent = consume(&deploy("staging").await).await;
    let queued = deploy("production").await;
    // The deployment waits for the first one, whose end sends its message.
    deploy("preview").await;
    for build in [&built, &silent] {
        assert!(build.build.is_some(), "{build:?}");
    }
    for after in [0, 100] {
        let log = owner.get(&url(&format!("/v1/deployments/{}/log?after={after}", built.id))).await;
        assert_eq!(log.status, 200, "{log:?}");
    }

    let events = walk.environment(BUILD_EVENTS).build_events().unwrap();
    for (attempt, status, outcome) in [(0, "IN_PROGRESS", "stopped"), (1, "SUCCEEDED", "succeeded")] {
        let build = if attempt == 0 { "of-a-lost-runner" } else { built.build.as_ref().unwrap().log_stream() };
        let variable = |name: &str, value: &str| json!({"name": name, "type": "PLAINTEXT", "value": value});
        let variables = [
            variable(builds::DEPLOYMENT_VARIABLE, built.id.as_str()),
            variable(builds::ACCOUNT_VARIABLE, built.account_id.as_str()),
            variable(builds::ATTEMPT_VARIABLE, &attempt.to_string()),
        ];
        let event = json!({"detail-type": "CodeBuild Build State Change", "detail": {
            "build-status": status,
            "project-name": PROJECT,
            "build-id": format!("arn:aws:codebuild:us-east-1:000000000000:build/{PROJECT}:{build}"),
            "additional-information": {"environment": {"environment-variables": variables}},
        }});
        assert_eq!(events.invoke(event).await.unwrap(), json!({"outcome": outcome}));
    }

    walk.world.clock.advance(BUILD_REPORTS_WITHIN);
    let swept = walk.environment(SWEEP).sweep().unwrap().invoke(json!({})).await.unwrap();
    assert_eq!(swept, json!({"sent": 2, "ended": 1, "unchanged": 0, "failed": 0, "repaired": 0, "complete": true}));

    // A message in the dead-letter queue, of each kind that leads to another call.
    let redrive = walk.environment(REDRIVE).redrive_dead_letters().unwrap();
    let dead = walk.world.stack.dead_letter_queue();
    for body in [
        "not JSON".to_owned(),
        json!({"account_id": owner.account_id, "deployment_id": silent.id}).to_string(),
        json!({"account_id": owner.account_id, "deployment_id": queued["id"]}).to_string(),
    ] {
        walk.world.stack.app().aws().sqs().send_message().queue_url(dead).message_body(body).send().await.unwrap();
    }
    let redriven = redrive.invoke(json!({"dry_run": true})).await.unwrap();
    assert_eq!((&redriven["kept"], &redriven["failed"]), (&json!(1), &json!(0)), "{redriven}");
    let redriven = redrive.invoke(json!({"dry_run": false, "discard_unreadable": true})).await.unwrap();
    assert_eq!((&redriven["discarded"], &redriven["failed"]), (&json!(2), &json!(0)), "{redriven}");
    assert_eq!(redriven["redriven"], 1);

    // A day later, the deployments that no runner took are past their deadline, and another one is asked to stop.
    walk.world.clock.advance(Duration::from_secs(24 * 60 * 60));
    let swept = walk.environment(SWEEP).sweep().unwrap().invoke(json!({})).await.unwrap();
    assert_eq!(swept["ended"], 2, "{swept}");
    let stopped = consume(&deploy("staging").await).await;
    let cancel = owner.post(&url(&format!("/v1/deployments/{}/cancel", stopped.id)), json!({})).await;
    assert_eq!(cancel.status, 202, "{cancel:?}");
    consume(&json!({"id": stopped.id})).await;
    Builds::new(&walk.app(SWEEP)).unwrap().stop(stopped.build.as_ref().unwrap()).await.unwrap();

    walk.world.clock.advance(Duration::from_secs(2));
    source.commit(&[("buildspec.yml", "none")]);
    assert_eq!(consume(&deploy("preview").await).await.failure.unwrap().code, "buildspec_invalid");

    // Calls the same code directly: for a runner with a later attempt, and for one that lost to another runner.
    let builds = Builds::new(&walk.app(CONSUMER)).unwrap();
    let variables = BTreeMap::from([("GREETING".to_owned(), "hello".to_owned())]);
    for _ in 0..2 {
        let start = Start {
            project: PROJECT,
            deployment: &built,
            bucket: "archive",
            source: "source.zip",
            artifacts: None,
            variables: &variables,
            time_limit: Duration::from_secs(600),
        };
        let build = builds.start(start).await.unwrap();
        builds.stop(&build).await.unwrap();
    }
}

/// Calls the endpoints of teams, members and invitations: as an owner, as a member with the permissions of a team, and
/// as an invited person.
async fn teams(walk: &Walk, owner: &Actor, take: &mut impl FnMut(&'static str, Answer, u16) -> Value) {
    let url = |path: &str| format!("{}{path}", walk.api.endpoint());
    let world = &walk.world;
    let team = take("create-team", owner.post(&url("/v1/teams"), json!({"name": "Platform"})).await, 201);
    let path = url(&format!("/v1/teams/{}", text(&team["id"])));
    take("get-team", owner.get(&path).await, 200);
    take("update-team", owner.patch(&path, json!({"name": "Core"})).await, 200);
    for sort in ["created", "updated", "name"] {
        take("list-teams", owner.get(&url(&format!("/v1/teams?sort={sort}"))).await, 200);
    }
    take(
        "add-team-repository",
        owner.put(&format!("{path}/repositories/app"), json!({"permission": "read"})).await,
        200,
    );
    take("list-team-repositories", owner.get(&format!("{path}/repositories")).await, 200);

    let invitations = url("/v1/invitations");
    let new = json!({"email": "ada@example.com", "teams": [team["id"]]});
    take("create-invitation", owner.post(&invitations, new.clone()).await, 201);
    world.clock.advance(INVITATION_LIFE);
    let invited = take("create-invitation", owner.post(&invitations, new).await, 201);
    take("list-invitations", owner.get(&invitations).await, 200);
    let accept = format!("{invitations}/{}/accept", text(&invited["invitation"]["id"]));
    let accepted = world.anonymous().post(&accept, json!({"secret": invited["secret"]})).await;
    let accepted = take("accept-invitation", accepted, 200);
    let other = take("create-invitation", owner.post(&invitations, json!({"email": "ben@example.com"})).await, 201);
    let other = format!("{invitations}/{}", text(&other["invitation"]["id"]));
    take("delete-invitation", owner.delete(&other).await, 200);

    let ada = owner.holding(text(&accepted["token"]));
    let account = format!("ACCT#{}", text(&accepted["account_id"]));
    let none = AttributeValue::S("none".to_owned());
    world.set_attribute((&account, "ACCOUNT"), "base_permission", none).await;
    world.callers_are_forgotten();
    take("list-teams", ada.get(&url("/v1/teams")).await, 200);
    take("list-repositories", ada.get(&url("/v1/repositories")).await, 200);

    take("list-members", owner.get(&url("/v1/members")).await, 200);
    take("list-team-members", owner.get(&format!("{path}/members")).await, 200);
    let (member, user) =
        (format!("{path}/members/{}", text(&accepted["member"]["id"])), text(&accepted["member"]["id"]));
    take("remove-team-member", owner.delete(&member).await, 200);
    take("add-team-member", owner.put(&member, json!({})).await, 200);
    let user = url(&format!("/v1/members/{user}"));
    take("update-member", owner.put(&user, json!({"role": "admin"})).await, 200);
    take("remove-member", owner.delete(&user).await, 200);
    take("remove-team-repository", owner.delete(&format!("{path}/repositories/app")).await, 200);
    take(
        "add-team-repository",
        owner.put(&format!("{path}/repositories/app"), json!({"permission": "read"})).await,
        200,
    );
    take("delete-team", owner.delete(&path).await, 200);
}

/// Calls the code that the consumer runs only for a long run, after a lost runner, or with a failing disk.
async fn in_trouble(consumer: &App, account: &AccountId, id: &DeploymentId) {
    let table = consumer.table();
    let deployment = Deployment::load(table, account, id).await.unwrap().unwrap();
    assert!(
        deployment.renew_lease(table, consumer.clock().now(), consumer.clock().now()).await.unwrap().is_none(),
        "it has ended"
    );

    // The message of the next deployment in the lane changes nothing for this one.
    Queue::new(consumer).unwrap().send(&deployment).await.unwrap();

    let archive = Archive::new(consumer).unwrap();
    let log = LogWriter::resume(&archive, &deployment.archive_prefix()).await.unwrap();
    assert!(log.last_number() > 0);

    // The body exceeds one request, and then breaks off.
    let mut torn = tokio::io::repeat(0).take(11 << 20).chain(Broken);
    archive.put_artifact(&deployment.archive_prefix(), "torn.bin", &mut torn).await.unwrap_err();
    assert_eq!(archive.list_artifacts(&deployment.archive_prefix()).await.unwrap(), []);
}

struct Broken;

impl AsyncRead for Broken {
    fn poll_read(self: Pin<&mut Self>, _: &mut task::Context<'_>, _: &mut ReadBuf<'_>) -> Poll<std::io::Result<()>> {
        Poll::Ready(Err(std::io::Error::other("torn")))
    }
}
