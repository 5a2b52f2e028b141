//! Deletions of repositories.

use std::time::Duration;

use reqwest::Method;
use serde_json::json;
use shared::id::{DeploymentId, RepositoryId};
use shared::model::{Actor as By, Author, Deployment, RepositoryDeletion, Role, Transition};
use shared::settings::QUEUE_URL;
use tests::repository_of_a_new_account;
use tests::{Actor, GitRepository, World, eventually};

/// Returns the items that have the repository's id, without the audit log.
async fn left(world: &World, id: &str) -> Vec<String> {
    let table = world.stack.app().table();
    let scanned = table.client().scan().table_name(table.name()).consistent_read(true).send().await.unwrap();
    let is_left = |item: &String| item.contains(id) && !item.contains("#AUDIT");
    scanned.items().iter().map(|item| format!("{item:?}")).filter(is_left).collect()
}

/// Runs a sweep whose messages go to a queue that nothing consumes. Returns the number of deletions that it completed.
async fn sweep(world: &World) -> u64 {
    let environment = world.environment_with(QUEUE_URL, world.stack.dead_letter_queue());
    let swept = environment.sweep().unwrap().invoke(json!({})).await.unwrap();
    assert_eq!((&swept["failed"], &swept["repaired"]), (&json!(0), &json!(0)), "{swept}");
    swept["deleted"].as_u64().unwrap()
}

/// Sweeps until nothing is left of the repository.
async fn nothing_is_left(world: &World, id: &str) {
    for _ in 0..3 {
        sweep(world).await;
    }
    assert_eq!(left(world, id).await, Vec::<String>::new());
}

#[tokio::test]
async fn a_deleted_repository_is_gone_with_all_that_belongs_to_it() {
    let world = World::start_without_queue().await;
    let (owner, source) = world.app().await;
    let member = world.member(&owner, Role::Member).await;
    let team = owner.team("web").await;
    owner.add_to_team(&team, &member).await;
    owner.grant(&team, "app", "deploy").await;
    owner.set("app", "staging", json!({"required_approvals": 1})).await;
    let mut deployments = vec![];
    for (environment, variables) in [("preview", json!({"A": "b"})), ("staging", json!({})), ("preview", json!({}))] {
        let new = json!({"ref": "main", "environment": environment, "variables": variables});
        deployments.push(owner.deploy("app", new).await);
    }
    owner.act(&deployments[0], "cancel", json!({})).await;
    // Variables in more versions than one transaction deletes.
    for place in ["", "/environments/staging"] {
        for number in 0..20 {
            let path = format!("/v1/repositories/app{place}/variables/A");
            assert_eq!(owner.put(&path, json!({"value": number.to_string()})).await.status, 200);
        }
    }
    // A hook with a delivery.
    let hook = owner.post("/v1/repositories/app/hooks", json!({"provider": "gitlab"})).await.body;
    let request = world.anonymous().request(Method::POST, hook["url"].as_str().unwrap());
    let request =
        request.header("x-gitlab-event", "Push Hook").header("x-gitlab-token", hook["secret"].as_str().unwrap());
    let push = json!({"object_kind": "push", "ref": "refs/heads/main", "after": "1".repeat(40)});
    assert_eq!(owner.send(request.json(&push)).await.status, 202);
    let renamed = owner.patch("/v1/repositories/app", json!({"name": "site", "visibility": "public"})).await;
    let id = renamed.body["id"].as_str().unwrap();
    world.clock.advance(Duration::from_secs(60));

    let deleted = owner.delete("/v1/repositories/site").await;
    assert_eq!((deleted.status, &deleted.body), (200, &json!({"id": id, "deleted": true})));
    assert_eq!(left(&world, id).await, Vec::<String>::new());
    for name in [id, "site", "app"] {
        let path = format!("/v1/repositories/{name}");
        owner.get(&path).await.refused(404, "not_found");
        owner.delete(&path).await.refused(404, "not_found");
        owner.post(&format!("{path}/deployments"), json!({"ref": "main"})).await.refused(404, "not_found");
    }
    for deployment in &deployments {
        owner.get(&format!("/v1/deployments/{}", deployment["id"].as_str().unwrap())).await.refused(404, "not_found");
        owner.act(deployment, "retry", json!({})).await.refused(404, "not_found");
    }
    for list in ["repositories", "deployments"] {
        for caller in [&owner, &member] {
            let listed = caller.get(&format!("/v1/{list}")).await;
            assert_eq!((&listed.body["data"], &listed.body["meta"]["total"]), (&json!([]), &json!(0)), "{listed:?}");
        }
    }
    let of_team = owner.get(&format!("/v1/teams/{}/repositories", team["id"].as_str().unwrap())).await;
    assert_eq!((&of_team.body["data"], &of_team.body["meta"]["total"]), (&json!([]), &json!(0)));
    // The audit log keeps what happened.
    let events = owner.get(&format!("/v1/audit_events?target={id}")).await.body;
    assert_eq!(events["data"][0]["action"], "repository.deleted");
    assert_eq!(
        (&events["data"][0]["actor"]["id"], &events["data"][0]["target"]["name"]),
        (&json!(owner.user_id), &json!("site"))
    );

    // The names are free, and a new repository starts from nothing.
    let new = owner.repository("site", &source).await;
    owner.repository("app", &source).await;
    assert_ne!(new["id"], id);
    assert_eq!(owner.deploy("site", json!({"ref": "main"})).await["number"], 1);
    assert_eq!(owner.get("/v1/repositories").await.body["meta"]["total"], 2);
    assert_eq!(sweep(&world).await, 0);
}

#[tokio::test]
async fn what_runs_is_asked_to_stop_and_goes_when_it_has() {
    let world = World::start_without_queue().await;
    let (owner, _source) = world.app().await;
    let running = owner.deploy("app", json!({"ref": "main", "environment": "production"})).await;
    world.lose_a_runner(&owner, &running).await;
    let queued = owner.deploy("app", json!({"ref": "main", "environment": "production"})).await;
    let id = owner.get("/v1/repositories/app").await.body["id"].as_str().unwrap().to_owned();

    assert_eq!(owner.delete("/v1/repositories/app").await.status, 200);
    owner.get("/v1/repositories/app").await.refused(404, "not_found");
    assert_eq!(owner.deployment(&queued).await["status"], "canceled");
    assert_eq!(owner.deployment(&running).await["cancel_requested"], true);
    owner.act(&queued, "retry", json!({})).await.refused(404, "not_found");
    // Nothing goes while the runner may still write.
    assert_eq!(sweep(&world).await, 0);
    let asked = world.stored(&owner, &running).await;
    asked.report(world.stack.app().table(), Transition::Cancel, By::Runner, world.clock.now()).await.unwrap();
    assert_eq!(sweep(&world).await, 1);
    assert_eq!(left(&world, &id).await, Vec::<String>::new());
}

#[tokio::test]
async fn a_build_of_a_deleted_repository_stops() {
    let world = World::start().await;
    let owner = world.owner("acme").await;
    let folder = tempfile::tempdir().unwrap();
    let started = folder.path().join("started");
    let source = GitRepository::with_commands(&[&format!("touch {}; sleep 1000", started.display())]);
    let id = owner.repository("app", &source).await["id"].as_str().unwrap().to_owned();
    let deployment = owner.deploy("app", json!({"ref": "main"})).await;
    eventually("the build's start", async || started.exists().then_some(())).await;
    assert_eq!(owner.delete("/v1/repositories/app").await.status, 200);
    world.clock.advance(Duration::from_secs(3));
    let deployment: DeploymentId = deployment["id"].as_str().unwrap().parse().unwrap();
    eventually("the build's end", async || {
        let found = Deployment::load(world.stack.app().table(), owner.account_id.as_ref().unwrap(), &deployment);
        found.await.unwrap().is_none_or(|found| found.status.is_final()).then_some(())
    })
    .await;
    nothing_is_left(&world, &id).await;
}

#[tokio::test]
async fn the_sweep_completes_a_deletion_whose_request_died() {
    let world = World::start_without_queue().await;
    let app = world.stack.app();
    let (repository, author) = repository_of_a_new_account(app, "acme", 10).await;
    let (id, tenant) = (repository.id.clone(), repository.tenant().clone());
    repository.into_inner().delete(app.table(), &tenant, |_| Ok(()), &author, world.clock.now()).await.unwrap();
    assert_eq!(left(&world, id.as_str()).await.len(), 1, "the outbox");
    assert_eq!(sweep(&world).await, 1);
    assert_eq!(left(&world, id.as_str()).await, Vec::<String>::new());
}

#[tokio::test]
async fn two_sweeps_of_one_deletion_do_not_hinder_each_other() {
    let world = World::start_without_queue().await;
    let (owner, _source) = world.app().await;
    for _ in 0..3 {
        owner.deploy("app", json!({"ref": "main"})).await;
    }
    let id: RepositoryId = owner.get("/v1/repositories/app").await.body["id"].as_str().unwrap().parse().unwrap();
    let (table, now) = (world.stack.app().table(), world.clock.now());
    // The request is over before its first step.
    let found = tests::extracted::<shared::access::AuthorizedRepository>(
        world.stack.app(),
        owner.token.as_ref().unwrap(),
        shared::Route::get("found", "/v1/repositories/{repo_id}").requires(shared::access::Scope::RepositoriesRead),
        &[("repo_id", id.as_str())],
    )
    .await;
    let author = Author::operator(owner.account_id.as_ref().unwrap(), owner.user_id.as_ref().unwrap());
    let tenant = found.tenant().clone();
    let deletion = found.into_inner().delete(table, &tenant, |_| Ok(()), &author, now).await.unwrap();
    let [first, second] = [deletion.clone(), deletion].map(|deletion| deletion.advance(table, now, || true));
    let (first, second) = futures_util::future::join(first, second).await;
    first.unwrap();
    second.unwrap();
    nothing_is_left(&world, id.as_str()).await;
    assert!(RepositoryDeletion::pending(table).await.unwrap().is_empty());
}

/// Runs requests at the same time as a deletion, and checks what is left.
async fn against_a_deletion<F: Future<Output = u16> + Send + 'static>(
    world: &World,
    owner: &Actor,
    request: impl Fn(usize) -> F,
    refusal: u16,
) {
    let id = owner.get("/v1/repositories/app").await.body["id"].as_str().unwrap().to_owned();
    let mut requests = tokio::task::JoinSet::new();
    for n in 0..12 {
        if n == 6 {
            let owner = owner.clone();
            requests.spawn(async move {
                let deleted = owner.delete("/v1/repositories/app").await;
                assert_eq!(deleted.status, 200, "{deleted:?}");
                200
            });
        }
        requests.spawn(request(n));
    }
    for status in requests.join_all().await {
        assert!(status < 300 || status == refusal, "{status}");
    }
    nothing_is_left(world, &id).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_deployment_is_created_in_a_deleted_repository() {
    let world = World::start_without_queue().await;
    let (owner, _source) = world.app().await;
    let deploy = |_| {
        let owner = owner.clone();
        async move { owner.post("/v1/repositories/app/deployments", json!({"ref": "main"})).await.status }
    };
    against_a_deletion(&world, &owner, deploy, 404).await;
    assert_eq!(owner.get("/v1/deployments").await.body["meta"]["total"], 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_team_keeps_a_deleted_repository() {
    let world = World::start_without_queue().await;
    let (owner, _source) = world.app().await;
    let mut teams = Vec::new();
    for n in 0..12 {
        teams.push(owner.team(&format!("team-{n}")).await["id"].as_str().unwrap().to_owned());
    }
    let grant = |n: usize| {
        let (owner, path) = (owner.clone(), format!("/v1/teams/{}/repositories/app", teams[n]));
        async move { owner.put(&path, json!({"permission": "deploy"})).await.status }
    };
    against_a_deletion(&world, &owner, grant, 404).await;
    for team in &teams {
        let listed = owner.get(&format!("/v1/teams/{team}/repositories")).await;
        assert_eq!((&listed.body["data"], &listed.body["meta"]["total"]), (&json!([]), &json!(0)), "{listed:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_setting_outlives_a_deleted_repository() {
    let world = World::start_without_queue().await;
    let (owner, _source) = world.app().await;
    let change = |n: usize| {
        let owner = owner.clone();
        async move {
            match n % 3 {
                0 => {
                    let body = json!({"time_limit_seconds": 60 + n});
                    owner.patch("/v1/repositories/app/environments/staging", body).await.status
                }
                1 => owner.patch("/v1/repositories/app", json!({"fetch_depth": 1 + n})).await.status,
                _ => owner.post("/v1/repositories/app/hooks", json!({"provider": "github"})).await.status,
            }
        }
    };
    against_a_deletion(&world, &owner, change, 404).await;
}
