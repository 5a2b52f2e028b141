//! The walk: an API of its own, whose endpoints are called in every way that leads to another AWS call.

use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{self, Poll};
use std::time::Duration;

use archive::{Archive, LogLine, LogWriter, Stream};
use axum::Router;
use axum::extract::State;
use axum::http::Method;
use local::event_source::{EventSource, Mapping};
use local::functions::{Environment, FUNCTIONS, routes};
use local::gateway::Gateway;
use local::route::Routes;
use reqwest::header::SET_COOKIE;
use s3s::service::S3ServiceBuilder;
use serde_json::{Value, json};
use shared::App;
use shared::access::Access;
use shared::aws::{Aws, Limits};
use shared::id::{AccountId, DeploymentId};
use shared::model::{self, Deployment, INVITATION_LIFE, Role};
use shared::queue::Queue;
use shared::settings;
use tests::estate::{ARTIFACT, Estate, in_order, request};
use tests::git_server::GitServer;
use tests::{Actor, Answer, GitRepository, World, session_secret};
use tokio::io::{AsyncRead, AsyncReadExt, ReadBuf};

use super::super::{BOOTSTRAP, CONSUMER, HOOK_CONSUMER, Template, text};
use super::gate::{Gate, HOOKS, STATUSES, WEBHOOKS};
use super::statement::statements;
use super::{PROJECT, caches, hooks, permits};
use crate::contract::{document, operations, success};

/// A separate API whose functions each have their own role, in the world of another stack.
pub(super) struct Walk {
    pub(super) world: World,
    pub(super) gate: Arc<Gate>,
    gate_url: String,
    queue: String,
    pub(super) api: Gateway,
    pub(super) consumer: Option<EventSource>,
    _hook_consumer: EventSource,
    _archive: tempfile::TempDir,
}

impl Walk {
    pub(super) async fn start(template: &Template) -> Self {
        let world = World::start().await;
        let settings = world.stack.environment().settings.clone();
        let operator = Aws::new(&settings).unwrap().with_limits(Limits::PATIENT).sqs();
        let create =
            async |name: &str| operator.create_queue().queue_name(name).send().await.unwrap().queue_url.unwrap();
        let queue = create("walk").await;
        for ending in [STATUSES, HOOKS, WEBHOOKS] {
            assert_eq!(create(&format!("walk{ending}")).await, format!("{queue}{ending}"));
        }
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("archive")).unwrap();
        let policies = template.functions().into_iter().map(|f| (f.name, statements(template, &f.id))).collect();
        let gate = Arc::new(Gate {
            policies,
            client: reqwest::Client::new(),
            dynamodb: settings.require("AWS_ENDPOINT_URL_DYNAMODB").unwrap().to_owned(),
            sqs: settings.require("AWS_ENDPOINT_URL_SQS").unwrap().to_owned(),
            s3: S3ServiceBuilder::new(s3s_fs::FileSystem::new(folder.path()).unwrap()).build(),
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
        let hook_consumer = environment(HOOK_CONSUMER);
        let poller = Aws::new(&hook_consumer.settings).unwrap().with_limits(Limits::PATIENT).sqs();
        let hook_consumer = hook_consumer.hook_consumer().unwrap();
        let hook_consumer =
            EventSource::start(poller, Mapping::new(format!("{queue}{HOOKS}")), hook_consumer).await.unwrap();
        let consumer = Some(consumer);
        Self { world, gate, gate_url, queue, api, consumer, _hook_consumer: hook_consumer, _archive: folder }
    }

    pub(super) fn environment(&self, function: &str) -> Environment {
        environment(&self.world, &self.gate_url, &self.queue, function)
    }

    /// Returns the App of a function, which calls AWS with the function's own role.
    pub(super) fn app(&self, function: &str) -> App {
        self.environment(function).app().unwrap()
    }

    /// Returns a caller of the API with this text as the token.
    fn holding(&self, token: &str) -> Actor {
        self.world.anonymous().at(self.api.endpoint()).holding(token)
    }

    /// Returns the body of a function's response. Fails the test if the status is another one.
    pub(super) fn take(&self, function: &'static str, answer: Answer, status: u16) -> Value {
        assert_eq!(answer.status, status, "{function}: {answer:?}, refused: {:?}", self.gate.refused.lock().unwrap());
        answer.body
    }

    /// Waits until a deployment has ended. Fails the test if the gate refuses a call.
    pub(super) async fn ended(&self, owner: &Actor, deployment: &Value) {
        tests::eventually("the deployment's end", async || {
            let found = owner.deployment(deployment).await;
            let refused = self.gate.refused.lock().unwrap().clone();
            assert!(refused.is_empty(), "{refused:?}");
            found["finished_at"].is_string().then_some(())
        })
        .await
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
        (settings::STATUS_QUEUE_URL, &format!("{queue}{STATUSES}")),
        (settings::HOOK_QUEUE_URL, &format!("{queue}{HOOKS}")),
        (settings::WEBHOOK_QUEUE_URL, &format!("{queue}{WEBHOOKS}")),
        (settings::ARCHIVE_URL, "s3://archive"),
        (settings::VARIABLES_KEY, "kms:arn:aws:kms:us-east-1:000000000000:key/variables"),
        (settings::API_BASE_URL, &format!("https://{function}.example")),
        (builds::CODEBUILD_PROJECT, PROJECT),
    ] {
        environment.settings.set(setting, value.to_owned());
    }
    environment
}

/// Calls every endpoint, and in every way that leads to another AWS call. Returns the owner of the account.
pub(super) async fn call_everything(walk: &Walk) -> Actor {
    let event = json!({
        "account": "acme", "plan": "enterprise", "rate_limit": {"per_minute": 1_000_000, "burst": 1_000_000},
        "owner_email": "owner@example.com", "email_domains": ["acme.example"],
    });
    let bootstrapped = walk.environment(BOOTSTRAP).bootstrap().unwrap().invoke(event).await.unwrap();
    let mut owner = walk.holding(text(&bootstrapped["token"]));
    owner.account_id = text(&bootstrapped["account_id"]).parse().ok();
    owner.user_id = text(&bootstrapped["user_id"]).parse().ok();
    let new = json!({"email": "ben@example.com"});
    walk.take("create-invitation", owner.post("/v1/invitations", new.clone()).await, 201);
    walk.world.clock.advance(INVITATION_LIFE);
    let (session, _) = walk.world.session(&owner).await;
    walk.take("create-invitation", session.post("/v1/invitations", new).await, 201);
    let source = GitRepository::with_commands(&["echo $GREETING"]);
    let estate = Estate::of(&walk.world, owner, "acme", &source).await;
    let owner = &estate.owner;
    let deployment = &estate.parameters["deployment_id"];
    walk.ended(owner, &json!({"id": deployment})).await;

    lists(walk, &estate).await;
    callers(walk, &estate).await;
    departures(walk, &estate).await;
    teams(walk, &estate).await;
    life_of_a_deployment(walk, &estate).await;
    connections(walk, owner, &source).await;
    hooks::push_everything(walk, &estate).await;
    caches::keep_and_clear(walk, owner, Broken).await;
    let limit = walk.world.anonymous().at(walk.api.endpoint()).get("/v1/rate_limit").await;
    walk.take("get-rate-limit", limit, 401);
    in_trouble(&walk.app(CONSUMER), owner.account_id.as_ref().unwrap(), &deployment.parse().unwrap()).await;
    put_files(walk, owner, deployment).await;
    renamed_repository(walk, owner).await;
    each_endpoint(walk, &estate).await;
    // The first function that sees a token in an hour, or a session in five minutes, records its use.
    for (_, method, path) in with_a_caller() {
        let (session, _) = walk.world.session(owner).await;
        walk.world.clock.advance(Duration::from_secs(3600));
        for caller in [owner, &session] {
            caller.send(caller.request(method.clone(), path)).await;
        }
    }
    estate.owner
}

/// Stores an artifact and a line of the log of a deployment in the bucket.
async fn put_files(walk: &Walk, owner: &Actor, deployment: &str) {
    let stored = walk.world.stored(owner, &json!({"id": deployment})).await;
    let archive = Archive::new(&walk.app(CONSUMER)).unwrap();
    archive.put_artifact(&stored.artifacts_prefix(), ARTIFACT, &mut &b"{}"[..]).await.unwrap();
    let line = LogLine { number: 1, at_ms: 0, stream: Stream::Stdout, text: "Compiling frontend-app".to_owned() };
    archive.store_chunk(&stored.log_prefix(), &[line]).await.unwrap();
}

/// Sends a valid request to each endpoint. Names the repository by its name too, which another index finds.
async fn each_endpoint(walk: &Walk, estate: &Estate) {
    let document = document();
    let operations = operations(&document);
    for route in in_order() {
        let key = route.key();
        let mut parameters = estate.ready(&walk.world, route.function).await;
        let caller = match estate.caller(&key) {
            // The sessions of earlier requests have pushed the estate's own out.
            caller if caller.has_a_session() => walk.world.session(&estate.owner).await.0,
            // The session is a condition of what it changes.
            caller if !route.is_safe() && route.access != Access::Public && !caller.has_a_session() => {
                walk.world.session(caller).await.0
            }
            caller => caller.clone(),
        };
        if ["get-deployment-artifacts-zip", "get-deployment-log-file"].contains(&route.function) {
            put_files(walk, &estate.owner, &parameters["deployment_id"]).await;
        }
        let by_name = parameters["repo_name"].clone();
        let by_id = parameters.insert("repo_id", by_name).unwrap();
        // A second removal would find nothing, and a second creation finds its name taken.
        if *route.method != Method::DELETE && route.function != "create-environment" {
            if key.contains("{repo_id}") {
                caller.send(request(&caller, &key, &parameters)).await;
            }
            parameters.insert("repo_id", by_id);
        }
        let answer = caller.send(request(&caller, &key, &parameters)).await;
        let expected = operations.get(&key).map_or(404, |operation| success(operation));
        let answer = walk.take(route.function, answer, expected);
        if answer["status"] == "queued" {
            walk.ended(&estate.owner, &answer).await;
        }
    }
}

/// Reads the lists in every order and with every filter, and resources by each of their names.
async fn lists(walk: &Walk, estate: &Estate) {
    let (owner, name) = (&estate.owner, &estate.parameters["repo_name"]);
    for sort in ["created", "updated", "name"] {
        for (function, list) in [("list-repositories", "repositories"), ("list-teams", "teams")] {
            walk.take(function, owner.get(&format!("/v1/{list}?sort={sort}")).await, 200);
        }
    }
    for (slug, status) in [(name.as_str(), 200), ("nothing", 404)] {
        walk.take("get-repository", owner.get(&format!("/v1/repositories/{slug}")).await, status);
    }
    for filter in ["environment=preview", "status=succeeded", "environment=preview&status=succeeded", "created_by=me"] {
        let page = owner.get(&format!("/v1/repositories/{name}/deployments?{filter}")).await;
        assert_eq!(walk.take("list-deployments", page, 200)["meta"]["total"], 1);
    }
    for filter in ["", "&environment=preview", "&status=succeeded", "&environment=preview&status=succeeded"] {
        let page = owner.get(&format!("/v1/deployments?repository={name}{filter}")).await;
        assert_eq!(walk.take("list-account-deployments", page, 200)["meta"]["total"], 1);
    }
    let by_id = format!("/v1/deployments?repository={}", estate.parameters["repo_id"]);
    walk.take("list-account-deployments", owner.get(&by_id).await, 200);
    walk.take("list-tokens", owner.get("/v1/tokens?user=all").await, 200);
    // The valid request changes nothing in this account.
    let (session, _) = walk.world.session(owner).await;
    for base in ["read", "none"] {
        walk.take("update-account", session.patch("/v1/account", json!({"base_permission": base})).await, 200);
    }
    for filter in
        [format!("actor={}", owner.user_id.as_ref().unwrap()), format!("target={}", estate.parameters["team_id"])]
    {
        walk.take("list-audit-events", owner.get(&format!("/v1/audit_events?{filter}")).await, 200);
    }
}

/// Calls as users and as an application that the issuer of OIDC tokens names, and with a token of a trust.
async fn callers(walk: &Walk, estate: &Estate) {
    let (owner, application) = (&estate.owner, estate.parameters["application_id"].as_str());
    let holding = |subject: &str, client: &str| {
        let mut claims = walk.world.issuer.claims(subject, walk.world.clock.now());
        claims["client_id"] = json!(client);
        walk.holding(&walk.world.issuer.token(&claims))
    };
    let (user, program) = (holding("ada", "web"), holding(application, application));
    walk.take("join-account", user.post("/v1/user/join", json!({})).await, 200);
    let job = estate.program(&walk.world).await;
    for caller in [&user, &program, &job] {
        walk.take("get-user", caller.get("/v1/user").await, 200);
    }
    programs(walk, estate).await;
    let new = json!({"email": "grace@acme.example", "teams": [estate.parameters["team_id"]]});
    walk.take("create-invitation", owner.post("/v1/invitations", new).await, 201);
    let redirect_uri = "https://create-session.example/sign-in";
    let by_code = |subject: &str| {
        let code = walk.world.issuer.code(walk.world.issuer.claims(subject, walk.world.clock.now()));
        json!({"code": code, "code_verifier": "verifier", "redirect_uri": redirect_uri})
    };
    let anonymous = walk.world.anonymous().at(walk.api.endpoint());
    let sign_in = anonymous.request(Method::POST, "/v1/session").header("sec-fetch-site", "same-origin");
    let signed_in = anonymous.send(sign_in.json(&by_code("grace"))).await;
    let grace = signed_in.headers.get(SET_COOKIE).map(|cookie| session_secret(cookie.to_str().unwrap()).to_owned());
    walk.take("create-session", signed_in, 201);
    let grace = walk.holding(&grace.unwrap());
    let found = walk.take("list-user-invitations", grace.get("/v1/user/invitations").await, 200);
    let accepted = json!({"invitation_id": found["data"][0]["id"]});
    walk.take("join-account", grace.post("/v1/user/join", accepted).await, 200);
    for proof in [by_code("ada"), json!({"token": owner.token})] {
        let (replaced, _) = walk.world.session(owner).await;
        walk.take("create-session", replaced.post("/v1/session", proof).await, 201);
    }
    let (session, _) = walk.world.session(owner).await;
    for (function, method, path) in with_a_caller() {
        let session = match function {
            "end-session" => walk.world.session(owner).await.0,
            _ => session.clone(),
        };
        for actor in [&user, &program, &job, &session] {
            let asked = actor.send(actor.request(method.clone(), path)).await;
            let known = ![401, 500, 503].contains(&asked.status) && asked.body["error"]["code"] != "not_linked";
            assert!(known, "{function}: {asked:?}, refused: {:?}", walk.gate.refused.lock().unwrap());
        }
    }
}

/// Changes as an application all that one may, except deployments.
async fn programs(walk: &Walk, estate: &Estate) {
    let (owner, client) = (&estate.owner, "builder");
    let now = walk.world.clock.now();
    let new = json!({
        "name": "Builder", "client_id": client, "access_token": walk.world.issuer.client_token(client, now),
        "scopes": ["repositories:read", "repositories:write", "deployments:write"],
    });
    walk.take("create-application", owner.post("/v1/applications", new).await, 201);
    let mut claims = walk.world.issuer.claims(client, now);
    claims["client_id"] = json!(client);
    claims["scope"] = json!("repositories:read repositories:write deployments:write");
    let builder = walk.holding(&walk.world.issuer.token(&claims));
    let new = json!({"name": client, "clone_url": estate.parameters["clone_url"]});
    walk.take("create-repository", builder.post("/v1/repositories", new).await, 201);
    let path = format!("/v1/repositories/{client}/environments/staging");
    walk.take("update-environment", builder.patch(&path, json!({"frozen": true})).await, 200);
    let environments = format!("/v1/repositories/{client}/environments");
    walk.take("create-environment", builder.post(&environments, json!({"name": "qa"})).await, 201);
    walk.take("delete-environment", builder.delete(&format!("{environments}/qa")).await, 200);
    let cache = format!("/v1/repositories/{client}/cache");
    walk.take("delete-repository-cache", builder.delete(&cache).await, 200);
    for (from, to) in [(client, "built"), ("built", client)] {
        let renamed = builder.patch(&format!("/v1/repositories/{from}"), json!({"name": to})).await;
        walk.take("update-repository", renamed, 200);
    }
    let hooks = format!("/v1/repositories/{client}/hooks");
    let hook = walk.take("create-hook", builder.post(&hooks, json!({"provider": "github"})).await, 201);
    let hook = format!("{hooks}/{}", text(&hook["id"]));
    walk.take("rotate-hook", builder.post(&format!("{hook}/rotate"), json!({})).await, 200);
    walk.take("delete-hook", builder.delete(&hook).await, 200);
    for place in ["", "/environments/staging"] {
        let variable = format!("/v1/repositories/{client}{place}/variables/A");
        let [set, delete] = match place {
            "" => ["set-repository-variable", "delete-repository-variable"],
            _ => ["set-environment-variable", "delete-environment-variable"],
        };
        walk.take(set, builder.put(&variable, json!({"value": "x", "secret": true})).await, 200);
        walk.take(delete, builder.delete(&variable).await, 200);
    }
    let new =
        json!({"name": client, "kind": "basic", "host": "127.0.0.1:1", "username": client, "password": "hunter2"});
    let connection = walk.take("create-connection", builder.post("/v1/connections", new).await, 201);
    let connection = format!("/v1/connections/{}", text(&connection["id"]));
    walk.take("update-connection", builder.patch(&connection, json!({"name": "Builder"})).await, 200);
    walk.take("delete-connection", builder.delete(&connection).await, 200);
    walk.take("delete-repository", builder.delete(&format!("/v1/repositories/{client}")).await, 200);
}

/// Removes and demotes owners who have invited somebody, registered an application and created a trust, and removes a person who is linked to
/// a subject of the issuer.
async fn departures(walk: &Walk, estate: &Estate) {
    let owner = &walk.world.session(&estate.owner).await.0;
    for function in ["remove-member", "update-member"] {
        let leaving = walk.world.member(owner, Role::Owner).await;
        let invited = json!({"email": format!("{function}@example.com")});
        walk.take("create-invitation", leaving.post("/v1/invitations", invited).await, 201);
        walk.take("create-application", walk.world.register(&leaving, function).await, 201);
        let trust = estate.body("POST /v1/trusts");
        walk.take("create-trust", leaving.post("/v1/trusts", trust).await, 201);
        let hooks = format!("/v1/repositories/{}/hooks", estate.parameters["repo_name"]);
        walk.take("create-hook", leaving.post(&hooks, json!({"provider": "gitea"})).await, 201);
        let path = format!("/v1/members/{}", leaving.user_id.as_ref().unwrap());
        let left = match function {
            "remove-member" => owner.delete(&path).await,
            _ => owner.put(&path, json!({"role": "member"})).await,
        };
        let left = walk.take(function, left, 200);
        assert_eq!(left["ended_invitations"].as_array().unwrap().len(), 1, "{left}");
        assert_eq!(left["handed_over_applications"].as_array().unwrap().len(), 1, "{left}");
        assert_eq!(left["handed_over_trusts"].as_array().unwrap().len(), 1, "{left}");
        assert_eq!(left["handed_over_hooks"].as_array().unwrap().len(), 1, "{left}");
    }
    let ada = walk.holding(&walk.world.issuer.token(&walk.world.issuer.claims("ada", walk.world.clock.now())));
    let ada = walk.take("get-user", ada.get("/v1/user").await, 200);
    let path = format!("/v1/members/{}", text(&ada["user"]["id"]));
    walk.take("remove-member", owner.delete(&path).await, 200);
}

/// Returns the functions that authenticate their callers, each with a request about no resource.
fn with_a_caller() -> impl Iterator<Item = (&'static str, &'static Method, &'static str)> {
    let path = |path: &'static str| if path.starts_with('$') { "/v1/nothing" } else { path };
    let routes = routes().filter(|route| route.access != Access::Public);
    routes.map(move |route| (route.function, route.method, path(route.path)))
}

/// Renames and deletes a team that has a member and a repository, and reads lists as a member who has only the permissions of
/// a team.
async fn teams(walk: &Walk, estate: &Estate) {
    let (world, owner) = (&walk.world, &estate.owner);
    let team = owner.team("Platform").await;
    owner.add_to_team(&team, &estate.member).await;
    owner.grant(&team, &estate.parameters["repo_id"], "read").await;
    let path = format!("/v1/teams/{}", text(&team["id"]));
    let (session, _) = walk.world.session(owner).await;
    walk.take("update-team", session.patch(&path, json!({"name": "Core"})).await, 200);
    walk.take("delete-team", owner.delete(&path).await, 200);

    world.set_base_permission(owner, "none").await;
    for list in ["teams", "repositories"] {
        let function = if list == "teams" { "list-teams" } else { "list-repositories" };
        walk.take(function, estate.member.get(&format!("/v1/{list}")).await, 200);
    }
    walk.take("list-account-deployments", estate.member.get("/v1/deployments").await, 200);
}

/// Renames a repository, and reads it by the name that it had.
async fn renamed_repository(walk: &Walk, owner: &Actor) {
    let source = GitRepository::new(&[]);
    owner.repository("before", &source).await;
    let (session, _) = walk.world.session(owner).await;
    let renamed = session.patch("/v1/repositories/before", json!({"name": "after"})).await;
    walk.take("update-repository", renamed, 200);
    walk.take("get-repository", owner.get("/v1/repositories/before").await, 200);
    let renamed = session.patch("/v1/repositories/after", json!({"name": "before"})).await;
    walk.take("update-repository", renamed, 200);
}

/// Deploys in every way that leads to another AWS call.
async fn life_of_a_deployment(walk: &Walk, estate: &Estate) {
    let (owner, name) = (&estate.owner, &estate.parameters["repo_name"]);
    let repository = format!("/v1/repositories/{name}");
    let deployments = &format!("{repository}/deployments");
    let rollback = async |body: Value| owner.post(&format!("{repository}/rollback"), body).await;
    for place in ["/v1/account", repository.as_str()] {
        let path = format!("{place}/variables/PASSWORD");
        let set = owner.put(&path, json!({"value": "hunter22", "secret": true})).await;
        let function = if place == repository { "set-repository-variable" } else { "set-account-variable" };
        walk.take(function, set, 200);
    }
    let set = async |environment: &str, settings: Value| {
        let path = format!("{repository}/environments/{environment}");
        walk.take("update-environment", owner.patch(&path, settings).await, 200);
    };
    let deploy = async |environment: &str, more: Value| {
        let mut new = json!({"ref": "main", "environment": environment, "variables": {"GREETING": {"value": "hello", "secret": true}}});
        new.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        walk.take("create-deployment", owner.post(deployments, new).await, 201)
    };
    let mut live = Value::Null;
    for _ in 0..2 {
        live = deploy("production", json!({})).await;
        walk.ended(owner, &live).await;
    }
    let log = owner.get(&format!("/v1/deployments/{}/log", text(&live["id"]))).await;
    let log = walk.take("get-deployment-log", log, 200);
    assert!(log.to_string().contains("***"), "the variable was not opened: {log}");
    let expects = deploy("production", json!({"expected_current": live["id"]})).await;
    walk.ended(owner, &expects).await;
    for (key, body, status) in
        [("k", json!({"ref": "main", "environment": "staging"}), 201), ("l", json!({"ref": "nope"}), 400)]
    {
        let request = owner.request(Method::POST, deployments).header("idempotency-key", key);
        let keyed = walk.take("create-deployment", owner.send(request.json(&body)).await, status);
        if status == 201 {
            walk.ended(owner, &keyed).await;
        }
    }
    let back = walk.take("create-rollback", rollback(json!({"environment": "production"})).await, 201);
    walk.ended(owner, &back).await;
    let production = format!("{repository}/environments/production");
    walk.take("get-environment", owner.get(&production).await, 200);

    for environment in ["production", "preview"] {
        set(environment, json!({"required_approvals": 1})).await;
    }
    let rules = json!({"requires": ["production"], "reviewers": {"users": [estate.admin.user_id], "teams": []}});
    set("preview", rules).await;
    let body = json!({"ref": "main"});
    walk.take("preflight-deployment", owner.post(&format!("{deployments}/preflight"), body).await, 200);
    // In preview, a newer deployment supersedes the queued one.
    let first = deploy("preview", json!({})).await;
    walk.take("get-deployment", owner.get(&format!("/v1/deployments/{}", text(&first["id"]))).await, 200);
    let second = deploy("preview", json!({})).await;
    let third = walk.take("retry-deployment", owner.act(&first, "retry", json!({})).await, 201);
    assert_eq!(owner.deployment(&second).await["status"], "superseded");
    let back = json!({"environment": "preview", "deployment_id": estate.parameters["deployment_id"]});
    let fourth = walk.take("create-rollback", rollback(back).await, 201);
    assert_eq!(owner.deployment(&third).await["status"], "superseded");
    walk.take("approve-deployment", estate.admin.act(&fourth, "approve", tests::approval(&fourth)).await, 200);
    walk.ended(owner, &fourth).await;
    let waiting = deploy("production", json!({})).await;
    set("production", json!({"frozen": true})).await;
    set("production", json!({"frozen": false})).await;
    walk.take("cancel-deployment", owner.act(&waiting, "cancel", json!({})).await, 200);
    for environment in ["production", "preview"] {
        set(environment, json!({"required_approvals": 0})).await;
    }
    permits::wait_and_cancel(walk, owner).await;
}

/// Reads a private repository with a connection in every function that does, and keeps the connection while it is in use.
async fn connections(walk: &Walk, owner: &Actor, source: &GitRepository) {
    let server = GitServer::private(source, "deploy-bot", "hunter2").await;
    let new = json!({
        "name": "Deploy bot", "kind": "basic", "host": server.host(), "username": "deploy-bot", "password": "hunter1",
    });
    let connection = walk.take("create-connection", owner.post("/v1/connections", new).await, 201);
    let path = format!("/v1/connections/{}", text(&connection["id"]));
    let changed = owner.patch(&path, json!({"password": "hunter2"})).await;
    walk.take("update-connection", changed, 200);
    let url = server.url("/acme/private.git");
    let checked = owner.post(&format!("{path}/check"), json!({"clone_url": url})).await;
    assert_eq!(walk.take("check-connection", checked, 200)["ok"], true);
    let new = json!({"name": "private", "clone_url": url, "connection_id": connection["id"]});
    walk.take("create-repository", owner.post("/v1/repositories", new).await, 201);
    let deployments = "/v1/repositories/private/deployments";
    let body = json!({"ref": "main"});
    let preflight = owner.post(&format!("{deployments}/preflight"), body.clone()).await;
    walk.take("preflight-deployment", preflight, 200);
    let deployment = walk.take("create-deployment", owner.post(deployments, body).await, 201);
    walk.ended(owner, &deployment).await;
    assert_eq!(owner.deployment(&deployment).await["status"], "succeeded");
    walk.take("list-refs", owner.get("/v1/repositories/private/refs").await, 200);
    let changed = json!({"default_branch": "main", "deploy_rules": [{"refs": ["*"], "environment": "staging"}]});
    walk.take("update-repository", owner.patch("/v1/repositories/private", changed).await, 200);
    hooks::push_to_private(walk, owner, source).await;
    walk.take("get-connection", owner.get(&path).await, 200);
    walk.take("update-connection", owner.patch(&path, json!({"name": "Robot"})).await, 200);
    walk.take("delete-connection", owner.delete(&path).await, 409);
}

/// Calls the code that the consumer runs only for a long run, after a lost runner, or with a failing disk.
async fn in_trouble(consumer: &App, account: &AccountId, id: &DeploymentId) {
    let table = consumer.table();
    let deployment = Deployment::load(table, account, id).await.unwrap().unwrap();
    assert!(
        deployment.renew_lease(table, consumer.clock().now(), consumer.clock().now()).await.unwrap().is_none(),
        "it has ended"
    );

    // No build of this walk has artifacts.
    model::Plan::of_account(table, account).await.unwrap();

    // The message of the next deployment in the lane changes nothing for this one.
    Queue::new(consumer).unwrap().send(&deployment).await.unwrap();

    let archive = Archive::new(consumer).unwrap();
    let log = LogWriter::resume(&archive, &deployment.log_prefix()).await.unwrap();
    assert!(log.last_number() > 0);

    // The body exceeds one request, and then breaks off.
    let mut torn = tokio::io::repeat(0).take(11 << 20).chain(Broken);
    archive.put_artifact(&deployment.artifacts_prefix(), "torn.bin", &mut torn).await.unwrap_err();
    assert_eq!(archive.list_artifacts(&deployment.artifacts_prefix()).await.unwrap(), []);
}

struct Broken;

impl AsyncRead for Broken {
    fn poll_read(self: Pin<&mut Self>, _: &mut task::Context<'_>, _: &mut ReadBuf<'_>) -> Poll<std::io::Result<()>> {
        Poll::Ready(Err(std::io::Error::other("torn")))
    }
}
