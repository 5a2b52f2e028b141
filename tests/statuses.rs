//! The statuses of commits at git hosts: a report for each state of a deployment, in order, whatever the host does.

mod faults;
pub(crate) mod git_host;
mod order;

use local::stack::Options;
use serde_json::{Value, json};
use shared::settings::STATUS_QUEUE_URL;
use tests::{Actor, GitRepository, World, buildspec, without_queue};

use self::git_host::{GitHost, PASSWORD, USERNAME};

/// Registers the repository of a git host, through a connection of its own.
pub(crate) async fn connect(owner: &Actor, host: &GitHost, name: &str) {
    let login = json!({"kind": "basic", "username": USERNAME, "password": PASSWORD});
    connect_with(owner, host, name, login).await;
}

/// Registers the repository of a git host, through a connection with this login.
async fn connect_with(owner: &Actor, host: &GitHost, name: &str, login: Value) {
    let mut connection = json!({"name": "git", "host": host.address(), "provider": host.provider()});
    connection.as_object_mut().unwrap().extend(login.as_object().unwrap().clone());
    let connection = owner.post("/v1/connections", connection).await;
    assert_eq!(connection.status, 201, "{connection:?}");
    let id = &connection.body["id"];
    let body = json!({"name": name, "clone_url": host.clone_url(), "connection_id": id});
    let created = owner.post("/v1/repositories", body).await;
    assert_eq!(created.status, 201, "{created:?}");
}

/// Registers the repository `of-the-app` of a git host, through a connection that is a GitHub App.
async fn connect_app(owner: &Actor, host: &GitHost) {
    let key = tests::read_file("tests/connections/github-app.pem");
    let login =
        json!({"kind": "github_app", "app_id": 1, "private_key": key, "installation_id": git_host::INSTALLATION});
    connect_with(owner, host, "of-the-app", login).await;
}

/// Returns the message that names the status of a deployment's commit.
pub(crate) fn message(owner: &Actor, deployment: &Value) -> Value {
    let body = json!({
        "account_id": owner.account_id,
        "repository_id": deployment["repository_id"],
        "environment": deployment["environment"],
        "sha": deployment["sha"],
    });
    json!({"messageId": "m", "body": body.to_string()})
}

/// An account whose repository `app` is at a git host, through a connection.
struct Scene {
    world: World,
    owner: Actor,
    host: GitHost,
    source: GitRepository,
}

/// Makes every send to the queue of statuses fail, so that hosts are told only when a test says so.
fn without_status_queue(options: &mut Options) {
    options.overrides.push((STATUS_QUEUE_URL, "http://127.0.0.1/0/nowhere".to_owned()));
}

/// Leaves deployments and reports to the test.
pub(crate) fn by_hand(options: &mut Options) {
    without_queue(options);
    without_status_queue(options);
}

impl Scene {
    /// Starts a scene in which the test moves deployments and reports itself.
    async fn by_hand(provider: &'static str) -> Self {
        Self::start_with(provider, by_hand).await
    }

    async fn start_with(provider: &'static str, change: impl FnOnce(&mut Options)) -> Self {
        let world = World::start_with(change).await;
        world.hide(PASSWORD);
        let owner = world.owner("acme").await;
        let source = GitRepository::with_commands(&["true"]);
        let host = GitHost::start(provider, &source).await;
        connect(&owner, &host, "app").await;
        Self { world, owner, host, source }
    }

    async fn deploy(&self, environment: &str) -> Value {
        self.owner.deploy("app", json!({"ref": "main", "environment": environment})).await
    }

    /// Delivers the message of a deployment's status. Returns the outcome that the function logs.
    async fn tell(&self, deployment: &Value) -> String {
        let function = self.world.stack.environment().report_status().unwrap();
        let told = function.invoke(json!({"Records": [message(&self.owner, deployment)]})).await.unwrap();
        assert_eq!(told, json!({"batchItemFailures": []}), "{:?}", self.world.log().last());
        let line = self.world.log().into_iter().rfind(|line| line["function"] == "report-status").unwrap();
        line["outcome"].as_str().unwrap().to_owned()
    }

    /// Runs a deployment to its end.
    async fn run(&self, deployment: &Value) -> Value {
        self.world.deliver(&self.owner, deployment).await;
        self.owner.ended(deployment).await
    }

    async fn error(&self, deployment: &Value) -> Value {
        self.owner.deployment(deployment).await["commit_status_error"].clone()
    }
}

#[tokio::test]
async fn each_provider_shows_each_state() {
    let words = [
        ("github", ["pending", "pending", "success", "failure", "error", "error"]),
        ("gitlab", ["pending", "running", "success", "failed", "canceled", "canceled"]),
        ("gitea", ["pending", "pending", "success", "failure", "error", "error"]),
    ];
    for (provider, [queued, in_progress, succeeded, failed, canceled, superseded]) in words {
        let scene = Scene::by_hand(provider).await;
        let Scene { world, owner, host, source } = &scene;
        let shown = |deployment: &Value| {
            let context = format!("dotgit/{}", deployment["environment"].as_str().unwrap());
            let sha = &deployment["sha"];
            let last = host.accepted().into_iter().rfind(|report| *sha == report.sha && report.context == context);
            let last = last.unwrap_or_else(|| panic!("{provider} was told nothing of {deployment}"));
            let page = format!("/deployments/{}", deployment["id"].as_str().unwrap());
            assert!(last.target_url.starts_with("http") && last.target_url.ends_with(&page), "{}", last.target_url);
            (last.state, last.description)
        };
        let says = |state: &str, description: &str| (state.to_owned(), description.to_owned());

        let first = scene.deploy("production").await;
        assert_eq!(scene.tell(&first).await, "told");
        assert_eq!(shown(&first), says(queued, "Deployment 1 is queued"));
        world.lose_a_runner(owner, &first).await;
        assert_eq!(scene.tell(&first).await, "told");
        assert_eq!(shown(&first), says(in_progress, "Deployment 1 is in progress"));
        world.clock.advance(std::time::Duration::from_secs(61));
        assert_eq!(scene.run(&first).await["status"], "succeeded");
        assert_eq!(scene.tell(&first).await, "told");
        assert_eq!(shown(&first), says(succeeded, "Deployment 1 succeeded"));

        let older = scene.deploy("preview").await;
        source.commit(&[("buildspec.yml", &buildspec(&["exit 3"]))]);
        let fails = scene.deploy("staging").await;
        assert_eq!(scene.run(&fails).await["status"], "failed");
        assert_eq!(scene.tell(&fails).await, "told");
        assert_eq!(shown(&fails), says(failed, "Deployment 3 failed: command_failed"));

        let newer = scene.deploy("preview").await;
        scene.run(&newer).await;
        assert_eq!(owner.deployment(&older).await["status"], "superseded");
        assert_eq!(scene.tell(&older).await, "told");
        assert_eq!(shown(&older), says(superseded, "Deployment 2 was superseded"));

        let stopped = scene.deploy("production").await;
        assert_eq!(owner.act(&stopped, "cancel", json!({})).await.status, 200);
        assert_eq!(scene.tell(&stopped).await, "told");
        assert_eq!(shown(&stopped), says(canceled, "Deployment 5 was canceled"));

        for deployment in [&first, &older, &fails, &newer, &stopped] {
            assert_eq!(scene.error(deployment).await, Value::Null);
            scene.tell(deployment).await;
            assert_eq!(scene.tell(deployment).await, "already_told");
        }
    }
}

#[tokio::test]
async fn the_host_is_told_of_a_deployment_while_it_runs() {
    let scene = Scene::start_with("github", |_| {}).await;
    let deployment = scene.deploy("production").await;
    assert_eq!(scene.owner.ended(&deployment).await["status"], "succeeded");
    tests::eventually("the last status", async || {
        (scene.host.states().last().is_some_and(|state| state == "success")).then_some(())
    })
    .await;
    let states = scene.host.states();
    let in_order = ["pending", "pending", "success"];
    assert!(states.len() <= 3 && states[..] == in_order[3 - states.len()..], "{states:?}");
}

#[tokio::test]
async fn a_github_app_reports_with_a_token_that_may_do_nothing_else() {
    let scene = Scene::by_hand("github").await;
    let Scene { world, owner, host, .. } = &scene;
    connect_app(owner, host).await;
    let reporter = world.stack.environment().report_status().unwrap();
    for (number, environment) in (1..).zip(["staging", "production"]) {
        let new = json!({"ref": "main", "environment": environment});
        let deployment = owner.deploy("of-the-app", new).await;
        reporter.invoke(json!({"Records": [message(owner, &deployment)]})).await.unwrap();
        assert_eq!((host.states().len(), host.tokens()), (number, 1), "the token is kept");
    }
}

#[tokio::test]
async fn the_sweep_has_a_host_told_whose_messages_were_lost() {
    let scene = Scene::by_hand("gitea").await;
    let Scene { world, host, .. } = &scene;
    let deployment = scene.deploy("production").await;
    let sweep = async || {
        let environment = world.environment_with(STATUS_QUEUE_URL, world.stack.status_queue());
        environment.sweep().unwrap().invoke(json!({})).await.unwrap()["sent"].clone()
    };
    assert_eq!(sweep().await, json!(0), "its message may still be on its way");
    world.clock.advance(shared::model::REPORTED_WITHIN);
    assert_eq!(sweep().await, json!(1));
    tests::eventually("the report", async || world.log().iter().find(|line| line["outcome"] == "told").cloned()).await;
    assert_eq!(host.states(), ["pending"]);
    assert_eq!(scene.tell(&deployment).await, "already_told");
    world.clock.advance(std::time::Duration::from_secs(200));
    assert_eq!(sweep().await, json!(0), "what was told is not due");
}

#[tokio::test]
async fn without_a_connection_nothing_is_owed() {
    let world = World::start().await;
    let (owner, _source) = world.app().await;
    let deployment = owner.deploy("app", json!({"ref": "main"})).await;
    owner.ended(&deployment).await;
    let items = world.items().await.join("\n");
    assert!(items.contains("LANE#") && !items.contains("STATUS#preview#"), "{items}");
    assert!(!world.log().iter().any(|line| line["function"] == "report-status"));
}

#[tokio::test]
async fn a_host_without_an_api_for_statuses_is_not_asked() {
    for provider in ["bitbucket", "other"] {
        let scene = Scene::by_hand(provider).await;
        let deployment = scene.deploy("production").await;
        assert_eq!(scene.tell(&deployment).await, "nobody_to_tell");
        assert_eq!(scene.tell(&deployment).await, "already_told");
        assert_eq!((scene.host.requests(), scene.error(&deployment).await), (0, Value::Null));
    }
}

#[tokio::test]
async fn a_status_costs_its_deployment_no_call_and_few_units() {
    let scene = Scene::by_hand("github").await;
    let Scene { world, owner, source, .. } = &scene;
    owner.repository("plain", source).await;
    let mut costs = Vec::new();
    // The first call of an account takes more, such as that of its limiter.
    for repository in ["plain", "plain", "app"] {
        let deployment = owner.deploy(repository, json!({"ref": "main", "environment": "production"})).await;
        scene.tell(&deployment).await;
        costs.push(world.cost(&owner.act(&deployment, "cancel", json!({})).await));
    }
    let [_, (calls, units), (with_a_status, more)] = costs[..] else { unreachable!("three deployments") };
    assert_eq!(with_a_status, calls);
    assert_eq!(more - units, 3.0, "{units} and {more}");
    let line = world.log().into_iter().rfind(|line| line["outcome"] == "told").unwrap();
    assert_eq!(tests::cost_of(&line), (4, 5.0));
}

#[tokio::test]
async fn the_status_of_a_success_leads_to_what_was_deployed() {
    let scene = Scene::by_hand("github").await;
    let Scene { owner, host, source, .. } = &scene;
    let spec = "version: 0.2\nenv:\n  exported-variables: [DEPLOYMENT_URL]\nphases:\n  build:\n    commands:\n      - export DEPLOYMENT_URL=https://pr-7.example.com/\n      - $OUTCOME\n";
    source.commit(&[("buildspec.yml", spec)]);
    let target = |deployment: &Value| {
        let context = format!("dotgit/{}", deployment["environment"].as_str().unwrap());
        host.accepted().into_iter().rfind(|report| report.context == context).unwrap().target_url
    };
    for (environment, outcome, leads_to_environment) in [("staging", "true", true), ("production", "false", false)] {
        let body = json!({"ref": "main", "environment": environment, "variables": {"OUTCOME": outcome}});
        let deployment = owner.deploy("app", body).await;
        assert_eq!(scene.tell(&deployment).await, "told");
        let page = format!("/deployments/{}", deployment["id"].as_str().unwrap());
        assert!(target(&deployment).ends_with(&page), "it has not run");
        scene.run(&deployment).await;
        assert_eq!(scene.tell(&deployment).await, "told");
        assert_eq!(target(&deployment) == "https://pr-7.example.com/", leads_to_environment, "{}", target(&deployment));
        assert_eq!(target(&deployment).ends_with(&page), !leads_to_environment);
    }
}
