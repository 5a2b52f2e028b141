//! What each role may do against what its function does. Every function runs behind a gate that enforces the template's
//! policies: a call that the function's role does not allow is refused, as in AWS, and the walk through the API fails. A
//! permission that the walk does not use fails the test too.
//!
//! The gate sees AWS calls at the wire, so it knows nothing of the code. It can't see calls that the walk does not bring
//! about, and it takes IAM's own evaluation from its documentation: a transaction is held to be allowed when each kind of
//! its writes is allowed with the keys of all of them, which is the stricter reading.

use std::collections::{BTreeMap, BTreeSet};
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{self, Poll};
use std::time::Duration;

use archive::{Archive, LogWriter};
use aws_sdk_dynamodb::error::ProvideErrorMetadata;
use aws_sdk_dynamodb::types::AttributeValue;
use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{HeaderMap, Method, Request, Response, StatusCode, Uri};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use builds::{Builds, Start};
use local::event_source::{EventSource, Mapping};
use local::functions::{Environment, FUNCTIONS, routes};
use local::gateway::Gateway;
use local::route::Routes;
use s3s::service::{S3Service, S3ServiceBuilder};
use serde_json::{Value, json};
use shared::App;
use shared::access::Access;
use shared::id::{AccountId, DeploymentId};
use shared::model::{BUILD_REPORTS_WITHIN, Deployment, INVITATION_LIFE, Role};
use shared::queue::Queue;
use shared::settings;
use tests::issuer::{AUDIENCE, Issuer};
use tests::{Actor, Answer, GitRepository, World};
use tokio::io::{AsyncRead, AsyncReadExt, ReadBuf};

use super::{BOOTSTRAP, BUILD_EVENTS, CONSUMER, REDRIVE, SWEEP, Template, text};

/// The name of the stack and of its project.
const PROJECT: &str = "git-api-test";
/// How the names of dead-letter queues end.
const DEAD: &str = "-dead-letters";

/// One statement of a role's policies.
#[derive(Debug)]
struct Statement {
    actions: Vec<String>,
    resources: Vec<String>,
    /// The condition's key and the patterns that each of the request's values must match one of.
    condition: Option<(String, Vec<String>)>,
}

/// An action on a resource, with one pattern of its condition.
type Permission = (String, String, Option<String>);

/// A call as IAM sees it, in the template's names for resources.
#[derive(Clone, Debug, PartialEq)]
struct Call {
    action: String,
    resource: String,
    keys: BTreeSet<String>,
}

fn list(value: &Value) -> Vec<String> {
    match value {
        Value::Array(values) => values.iter().map(|value| text(value).to_owned()).collect(),
        value => vec![text(value).to_owned()],
    }
}

impl Statement {
    fn read(statement: &Value) -> Self {
        assert_eq!(statement["Effect"], "Allow");
        let condition = statement.get("Condition").map(|condition| {
            let (_, keys) = condition.as_object().unwrap().iter().next().unwrap();
            let (key, patterns) = keys.as_object().unwrap().iter().next().unwrap();
            (key.clone(), list(patterns))
        });
        Self { actions: list(&statement["Action"]), resources: list(&statement["Resource"]), condition }
    }

    /// What Lambda itself needs to write the function's log and traces.
    fn is_of_the_platform(&self) -> bool {
        let log = (["logs:CreateLogStream", "logs:PutLogEvents"], "LogGroup.Arn");
        let traces = (["xray:PutTraceSegments", "xray:PutTelemetryRecords"], "*");
        [log, traces].iter().any(|(actions, resource)| self.actions == *actions && self.resources == [*resource])
    }

    fn permissions(&self) -> BTreeSet<Permission> {
        let patterns: Vec<_> = match &self.condition {
            Some((_, patterns)) => patterns.iter().cloned().map(Some).collect(),
            None => vec![None],
        };
        let pairs =
            self.actions.iter().flat_map(|action| self.resources.iter().map(move |resource| (action, resource)));
        pairs.flat_map(|(a, r)| patterns.iter().map(move |p| (a.clone(), r.clone(), p.clone()))).collect()
    }

    /// The permissions that the call uses, if the statement allows it.
    fn allows(&self, call: &Call) -> Option<BTreeSet<Permission>> {
        let action = self.actions.iter().find(|action| **action == call.action)?;
        let resource = self.resources.iter().find(|resource| matches(resource, &call.resource))?;
        let permission = |pattern: Option<&String>| (action.clone(), resource.clone(), pattern.cloned());
        match &self.condition {
            None => Some([permission(None)].into()),
            Some((_, patterns)) => {
                let used =
                    call.keys.iter().map(|key| patterns.iter().find(|p| matches(p, key)).map(|p| permission(Some(p))));
                used.collect()
            }
        }
    }
}

/// IAM's StringLike.
fn matches(pattern: &str, text: &str) -> bool {
    match pattern.split_once('*') {
        None => pattern == text,
        Some((start, rest)) => text.strip_prefix(start).is_some_and(|text| {
            (0..=text.len()).filter(|at| text.is_char_boundary(*at)).any(|at| matches(rest, &text[at..]))
        }),
    }
}

/// The statements of a function's role, without those that are the platform's.
fn statements(template: &Template, function: &str) -> Vec<Statement> {
    let role = template.properties(&format!("{function}Role"));
    let managed = list(&role["ManagedPolicyArns"]);
    let managed = managed.iter().map(|id| &template.properties(id)["PolicyDocument"]);
    let own = role["Policies"].as_array().into_iter().flatten().map(|policy| &policy["PolicyDocument"]);
    let documents = managed.chain(own).flat_map(|document| document["Statement"].as_array().unwrap());
    let (platform, own): (Vec<_>, Vec<_>) = documents.map(Statement::read).partition(Statement::is_of_the_platform);
    assert_eq!(platform.len(), 2, "{function} must be able to write its own log and its traces");
    own
}

/// Stands between the functions and the services.
struct Gate {
    policies: BTreeMap<String, Vec<Statement>>,
    client: reqwest::Client,
    dynamodb: String,
    sqs: String,
    s3: S3Service,
    secrets: Mutex<BTreeSet<String>>,
    used: Mutex<BTreeMap<String, BTreeSet<Permission>>>,
    refused: Mutex<Vec<(String, Call)>>,
}

impl Gate {
    async fn pass(self: Arc<Self>, method: Method, uri: Uri, headers: HeaderMap, body: Bytes) -> Response<Body> {
        // Credential=<access key>/<date>/<region>/<service>/aws4_request
        let credential = headers["authorization"].to_str().unwrap().split("Credential=").nth(1).unwrap();
        let mut credential = credential.split('/');
        let (function, service) = (credential.next().unwrap().to_owned(), credential.nth(2).unwrap().to_owned());
        let target = headers.get("x-amz-target").map(|target| target.to_str().unwrap().split('.').nth(1).unwrap());
        let json = || serde_json::from_slice::<Value>(&body).unwrap();
        let calls = match (service.as_str(), target) {
            ("dynamodb", Some(operation)) => dynamodb_calls(operation, &json()),
            ("sqs", Some(operation)) => {
                let action = format!("sqs:{}", operation.trim_end_matches("Batch"));
                let is_dead = text(&json()["QueueUrl"]).ends_with(DEAD);
                let resource = if is_dead { "DeadLetters.Arn" } else { "Deployments.Arn" };
                vec![Call { action, resource: resource.to_owned(), keys: BTreeSet::new() }]
            }
            ("kms", Some(operation)) => {
                let action = format!("kms:{operation}");
                vec![Call { action, resource: "Key.Arn".to_owned(), keys: BTreeSet::new() }]
            }
            ("s3", None) => vec![s3_call(&method, &uri)],
            ("codebuild" | "secretsmanager" | "logs", Some(operation)) => named_calls(&service, operation, &json()),
            other => panic!("{function} calls {other:?}"),
        };
        for call in calls {
            if !self.allows(&function, &call) {
                self.refused.lock().unwrap().push((function, call));
                let body = json!({"__type": "AccessDeniedException", "message": "the role does not allow it"});
                return response(if service == "s3" { 403 } else { 400 }, body.to_string());
            }
        }
        match service.as_str() {
            "dynamodb" => self.forward(&self.dynamodb, headers, body).await,
            "sqs" => self.forward(&self.sqs, headers, body).await,
            "kms" => kms(target.unwrap(), &json()),
            "codebuild" | "secretsmanager" | "logs" => self.tell(target.unwrap(), &json()),
            _ => {
                // It knows no access keys, and nobody signs what the gate has let through.
                let mut request = Request::builder().method(method).uri(uri);
                let unsigned = headers.iter().filter(|(name, _)| *name != "authorization");
                request.headers_mut().unwrap().extend(unsigned.map(|(name, value)| (name.clone(), value.clone())));
                let answer = self.s3.call(request.body(s3s::Body::from(body)).unwrap()).await.unwrap();
                answer.map(Body::new)
            }
        }
    }

    fn allows(&self, function: &str, call: &Call) -> bool {
        let statements = self.policies.get(function).into_iter().flatten();
        let Some(permissions) = statements.filter_map(|statement| statement.allows(call)).next() else { return false };
        self.used.lock().unwrap().entry(function.to_owned()).or_default().extend(permissions);
        true
    }

    /// Stands in for CodeBuild, which forgets each build, Secrets Manager and CloudWatch Logs.
    fn tell(&self, operation: &str, request: &Value) -> Response<Body> {
        let answer = match operation {
            "StartBuild" => json!({"build": {"id": format!("{PROJECT}:{}", text(&request["idempotencyToken"]))}}),
            "BatchGetBuilds" => json!({"builds": []}),
            "CreateSecret" if !self.secrets.lock().unwrap().insert(text(&request["Name"]).to_owned()) => {
                return response(400, json!({"__type": "ResourceExistsException"}).to_string());
            }
            "GetLogEvents" => json!({"events": []}),
            _ => json!({}),
        };
        response(200, answer.to_string())
    }

    async fn forward(&self, to: &str, headers: HeaderMap, body: Bytes) -> Response<Body> {
        let mut request = self.client.post(to).body(body);
        for name in ["x-amz-target", "content-type", "authorization", "x-amz-date"] {
            if let Some(value) = headers.get(name) {
                request = request.header(name, value);
            }
        }
        let answer = request.send().await.unwrap();
        response(answer.status().as_u16(), answer.bytes().await.unwrap())
    }
}

fn response(status: u16, body: impl Into<Body>) -> Response<Body> {
    let mut response = Response::new(body.into());
    *response.status_mut() = StatusCode::from_u16(status).unwrap();
    response.headers_mut().insert("content-type", "application/x-amz-json-1.0".parse().unwrap());
    response
}

fn dynamodb_calls(operation: &str, body: &Value) -> Vec<Call> {
    let key = |item: &Value| text(&item["pk"]["S"]).to_owned();
    let call = |operation: &str, index: Option<&str>, keys: BTreeSet<String>| {
        let resource = index.map_or("Table.Arn".to_owned(), |index| format!("${{Table.Arn}}/index/{index}"));
        Call { action: format!("dynamodb:{operation}"), resource, keys }
    };
    match operation {
        "GetItem" | "UpdateItem" => vec![call(operation, None, [key(&body["Key"])].into())],
        "PutItem" => vec![call(operation, None, [key(&body["Item"])].into())],
        "BatchGetItem" => {
            let keys = body["RequestItems"].as_object().unwrap().values();
            vec![call(operation, None, keys.flat_map(|table| table["Keys"].as_array().unwrap()).map(key).collect())]
        }
        "Query" => {
            let partition = text(&body["ExpressionAttributeValues"][":pk"]["S"]).to_owned();
            vec![call(operation, body["IndexName"].as_str(), [partition].into())]
        }
        "Scan" => {
            // It has no leading key. What it is limited to are the attributes that it names.
            assert_eq!(body["Select"], "SPECIFIC_ATTRIBUTES");
            let named = text(&body["ProjectionExpression"]).split(", ").map(str::to_owned);
            vec![call(operation, body["IndexName"].as_str(), named.collect())]
        }
        "TransactWriteItems" => {
            let writes: Vec<_> =
                body["TransactItems"].as_array().unwrap().iter().flat_map(Value::as_object).flatten().collect();
            let keys: BTreeSet<_> = writes
                .iter()
                .map(|(kind, write)| key(if *kind == "Put" { &write["Item"] } else { &write["Key"] }))
                .collect();
            let kinds: BTreeSet<_> = writes.iter().map(|(kind, _)| format!("{kind}Item")).collect();
            kinds.iter().map(|kind| call(kind, None, keys.clone())).collect()
        }
        other => panic!("an operation that the gate does not know: {other}"),
    }
}

/// Calls of services whose requests name what they are about.
fn named_calls(service: &str, operation: &str, body: &Value) -> Vec<Call> {
    let arn = |service: &str, resource: &str| {
        format!("arn:${{AWS::Partition}}:{service}:${{AWS::Region}}:${{AWS::AccountId}}:{resource}")
    };
    let project = |id: &Value| {
        assert_eq!(text(id).split(':').next(), Some(PROJECT));
        arn("codebuild", "project/${AWS::StackName}")
    };
    let secret = |name: &Value| {
        let name = text(name).strip_prefix(PROJECT).unwrap();
        arn("secretsmanager", &format!("secret:${{AWS::StackName}}{name}-x1y2z3"))
    };
    let resources = match operation {
        "StartBuild" => vec![project(&body["projectName"])],
        "StopBuild" => vec![project(&body["id"])],
        "BatchGetBuilds" => body["ids"].as_array().unwrap().iter().map(project).collect(),
        "CreateSecret" => vec![secret(&body["Name"])],
        "PutSecretValue" | "DeleteSecret" => vec![secret(&body["SecretId"])],
        "GetLogEvents" => {
            let group = text(&body["logGroupName"]).replace(PROJECT, "${AWS::StackName}");
            vec![arn("logs", &format!("log-group:{group}:log-stream:{}", text(&body["logStreamName"])))]
        }
        other => panic!("an operation that the gate does not know: {other}"),
    };
    let call = |resource| Call { action: format!("{service}:{operation}"), resource, keys: BTreeSet::new() };
    resources.into_iter().map(call).collect()
}

/// <https://docs.aws.amazon.com/AmazonS3/latest/userguide/using-with-s3-policy-actions.html>
fn s3_call(method: &Method, uri: &Uri) -> Call {
    let query: BTreeMap<String, String> =
        reqwest::Url::parse(&format!("http://s3{uri}")).unwrap().query_pairs().into_owned().collect();
    let object = uri.path().trim_start_matches('/').split_once('/').map(|(_, object)| object).filter(|o| !o.is_empty());
    let Some(object) = object else {
        assert!(method == Method::GET && query.contains_key("list-type"), "{method} {uri}");
        let keys = query.get("prefix").cloned().into_iter().collect();
        return Call { action: "s3:ListBucket".to_owned(), resource: "Archive.Arn".to_owned(), keys };
    };
    let action = match *method {
        Method::GET | Method::HEAD => "s3:GetObject",
        Method::PUT | Method::POST => "s3:PutObject",
        Method::DELETE if query.contains_key("uploadId") => "s3:AbortMultipartUpload",
        _ => "s3:DeleteObject",
    };
    Call { action: action.to_owned(), resource: format!("${{Archive.Arn}}/{object}"), keys: BTreeSet::new() }
}

/// Stands in for KMS: a blob is the key and the context that it was made for, and opens in that context only.
fn kms(operation: &str, request: &Value) -> Response<Body> {
    let context = request["EncryptionContext"].to_string();
    let key = [7; 32];
    let blob = BASE64_STANDARD.encode([&key[..], context.as_bytes()].concat());
    let answer = match operation {
        "GenerateDataKey" => json!({"KeyId": "key", "Plaintext": BASE64_STANDARD.encode(key), "CiphertextBlob": blob}),
        "Decrypt" if request["CiphertextBlob"] == blob => {
            json!({"KeyId": "key", "Plaintext": BASE64_STANDARD.encode(key)})
        }
        _ => return response(400, json!({"__type": "InvalidCiphertextException"}).to_string()),
    };
    response(200, answer.to_string())
}

/// A whole API of its own whose functions each have a role, in the world of another stack.
struct Walk {
    world: World,
    gate: Arc<Gate>,
    gate_url: String,
    queue: String,
    api: Gateway,
    consumer: Option<EventSource>,
    issuer: Issuer,
    _archive: tempfile::TempDir,
}

impl Walk {
    async fn start(template: &Template) -> Self {
        let issuer = Issuer::start().await;
        let world = World::start_with(|options| {
            options.overrides.push((settings::OIDC_ISSUER, issuer.url().to_owned()));
            options.overrides.push((settings::OIDC_AUDIENCE, AUDIENCE.to_owned()));
        });
        let world = world.await;
        let settings = world.stack.environment().settings.clone();
        let operator = shared::aws::Aws::new(&settings).unwrap().sqs();
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
        let poller = shared::aws::Aws::new(&consumer.settings).unwrap().sqs();
        let consumer = EventSource::start(poller, Mapping::new(&queue), consumer.consumer().unwrap()).await.unwrap();
        Self { world, gate, gate_url, queue, api, consumer: Some(consumer), issuer, _archive: folder }
    }

    fn environment(&self, function: &str) -> Environment {
        environment(&self.world, &self.gate_url, &self.queue, function)
    }

    /// What a function has, with its own role.
    fn app(&self, function: &str) -> App {
        let Environment { settings, clock, log } = self.environment(function);
        App::new(settings, clock, log).unwrap()
    }
}

/// Where a function runs that has its name for an access key.
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

/// Calls every endpoint in every way that leads to another AWS call. Gives what each function answered.
async fn call_everything(walk: &Walk) -> (BTreeMap<&'static str, String>, Actor) {
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
    // A token's use is recorded by the first function that meets it in an hour.
    for (_, method, path) in with_a_caller() {
        walk.world.clock.advance(Duration::from_secs(3600));
        owner.send(owner.request(method.clone(), &url(path))).await;
    }
    (answers, owner)
}

/// The functions that want to know who calls, each with a request about nothing.
fn with_a_caller() -> impl Iterator<Item = (&'static str, &'static Method, &'static str)> {
    let path = |path: &'static str| if path.starts_with('$') { "/v1/nothing" } else { path };
    let routes = routes().filter(|route| route.access != Access::Public);
    routes.map(move |route| (route.function, route.method, path(route.path)))
}

/// What can be asked of a deployment and of the environments.
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
    take("create-deployment", owner.post(deployments, json!({"ref": "main", "dry_run": true})).await, 200);
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
    // In preview a newer one takes the place of the one that waits.
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

/// The oldest deployment to preview, which succeeded.
async fn walk_back(owner: &Actor, deployments: &str) -> Value {
    let listed = owner.get(&format!("{deployments}?environment=preview&status=succeeded&direction=asc")).await;
    listed.body["data"][0]["id"].clone()
}

/// Deploys by CodeBuild, in every way that leads to another AWS call. Nobody else may take from the queue.
async fn build_everything(walk: &Walk, owner: &Actor) {
    let url = |path: &str| format!("{}{path}", walk.api.endpoint());
    let source = GitRepository::with_commands(&["true"]);
    let new = json!({"name": "built", "clone_url": source.url()});
    assert_eq!(owner.post(&url("/v1/repositories"), new).await.status, 201);
    // Each to an environment of its own, so that none waits for another.
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
    // It waits for the first, whose end sends it.
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

    // A day later those that no runner took have missed their turn, and another is asked to stop.
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

    // A runner whose attempt is not the first, and one that another came before, asked of the same code directly.
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

/// Calls the endpoints of teams, members and invitations, as owner, as a member who sees what their team was given, and as
/// somebody who is invited.
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

/// What the consumer does only when a run is long, follows a runner that was lost, or has a failing disk: asked of the same
/// code directly.
async fn in_trouble(consumer: &App, account: &AccountId, id: &DeploymentId) {
    let table = consumer.table();
    let deployment = Deployment::load(table, account, id).await.unwrap().unwrap();
    assert!(
        deployment.renew_lease(table, consumer.clock().now(), consumer.clock().now()).await.unwrap().is_none(),
        "it has ended"
    );

    // As for the next one of its lane; for this one it changes nothing.
    Queue::new(consumer).unwrap().send(&deployment).await.unwrap();

    let archive = Archive::new(consumer).unwrap();
    let log = LogWriter::resume(&archive, &deployment.archive_prefix()).await.unwrap();
    assert!(log.last_number() > 0);

    // More than fits into one request, and then it breaks off.
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

#[tokio::test]
async fn each_role_allows_what_its_function_calls_and_nothing_else() {
    let template = Template::read();
    let mut walk = Walk::start(&template).await;
    let (answers, owner) = call_everything(&walk).await;
    walk.consumer.take().unwrap().stop(Duration::from_secs(5)).await;
    build_everything(&walk, &owner).await;
    // `Table::connect` reads this item in init, to open connections.
    assert!(
        super::read("shared/src/table.rs").contains(r#"Key { pk: "CONNECT".to_owned(), sk: "CONNECT".to_owned() }"#)
    );
    for function in template.functions() {
        let app = walk.app(&function.name);
        let get = app.table().client().get_item().table_name(app.table().name());
        let key = ["pk", "sk"].map(|name| (name.to_owned(), AttributeValue::S("CONNECT".to_owned())));
        get.set_key(Some(key.into())).send().await.unwrap();
    }
    // No answer waits for a token's use to be recorded.
    tests::eventually("the last use of the last token", async || {
        let used = walk.gate.used.lock().unwrap();
        let recorded = |(function, _): &(&String, _)| {
            used[*function]
                .iter()
                .any(|(action, _, key)| action == "dynamodb:UpdateItem" && key.as_deref() == Some("ACCT#*#TOKEN#*"))
        };
        let with_a_token = |(_, statements): &(_, &Vec<Statement>)| {
            statements.iter().any(|statement| statement.condition.iter().any(|(_, keys)| keys == &["ACCT#*#TOKEN#*"]))
        };
        walk.gate.policies.iter().filter(with_a_token).all(|policy| recorded(&policy)).then_some(())
    })
    .await;
    assert_eq!(*walk.gate.refused.lock().unwrap(), []);

    let used = walk.gate.used.lock().unwrap().clone();
    let mut unneeded = Vec::new();
    for (function, statements) in &walk.gate.policies {
        let allowed: Vec<Permission> = statements.iter().flat_map(Statement::permissions).collect();
        let not_called = allowed.iter().filter(|permission| !used[function].contains(*permission));
        unneeded.extend(not_called.map(|permission| (function.clone(), permission.clone())));
        let once: BTreeSet<_> = allowed.iter().collect();
        assert_eq!(once.len(), allowed.len(), "{function} is allowed something twice: {allowed:?}");
    }
    assert_eq!(unneeded, [], "allowed and not called");

    for function in template.functions() {
        let Some(answers) = answers.get(function.name.as_str()) else { continue };
        let reads_it = answers.contains(&format!("https://{}.example", function.name));
        assert_eq!(reads_it, function.environment().contains_key("API_BASE_URL"), "{}", function.name);
    }
}

/// The gate refuses too: without this, a gate that lets everything pass would show nothing.
#[tokio::test]
async fn a_call_that_a_role_does_not_allow_is_refused() {
    let walk = Walk::start(&Template::read()).await;
    let app = walk.app("get-deployment");
    let table = app.table();
    let item = |pk: &str| ["pk", "sk"].map(|name| (name.to_owned(), AttributeValue::S(pk.to_owned())));
    let get = |pk: &str| table.client().get_item().table_name(table.name()).set_key(Some(item(pk).into())).send();
    get("ACCT#acct_x").await.unwrap();
    let refused = get("RATE#acct_x").await.unwrap_err().into_service_error();
    assert_eq!(refused.code(), Some("AccessDeniedException"));
    let put = table.client().put_item().table_name(table.name()).set_item(Some(item("TOKEN#forged").into()));
    assert_eq!(put.send().await.unwrap_err().into_service_error().code(), Some("AccessDeniedException"));
    assert_eq!(walk.gate.refused.lock().unwrap().len(), 2);
}
