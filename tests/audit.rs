//! The audit log.

use std::collections::HashMap;
use std::time::Duration;

use aws_sdk_dynamodb::types::AttributeValue;
use local::functions::routes;
use serde_json::{Value, json};
use shared::Route;
use shared::body::WebhookEventBody;
use shared::model::{Action, AuditEvent, Role};
use tests::estate::{Estate, request};
use tests::{Actor, Answer, GitRepository, World, eventually};

use crate::contract::{conforms, document};

/// The endpoints that are not safe by their method and change nothing. This list only shrinks.
const CHANGES_NOTHING: [&str; 2] =
    ["POST /v1/connections/{connection_id}/check", "POST /v1/repositories/{repo_id}/deployments/preflight"];

/// Two events of one millisecond have no order.
const SECOND: Duration = Duration::from_secs(1);

/// The endpoint whose caller belongs to no account before the change. `tests/oauth/linking.rs` has its events.
const ANOTHER_ACCOUNTS: [&str; 1] = ["join-account"];

/// Returns the newest events, newest first.
async fn events(caller: &Actor, query: &str) -> Vec<Value> {
    let answer = caller.get(&format!("/v1/audit_events?per_page=100{query}")).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    answer.body["data"].as_array().unwrap().clone()
}

/// Calls an endpoint so that it changes something. Returns the caller and the answer.
async fn change(world: &World, estate: &Estate, route: &Route) -> (Actor, Answer) {
    let key = route.key();
    let caller = match route.function {
        "accept-invitation" | "exchange-token" | "receive-hook" => world.anonymous(),
        _ => estate.caller(&key).clone(),
    };
    if ["retry-deployment", "create-rollback"].contains(&route.function) {
        estate.owner.ended(&json!({"id": estate.parameters["deployment_id"]})).await;
    }
    let parameters = estate.ready(world, route.function).await;
    let request = match route.function {
        // The valid body says what is so already.
        "update-account" => estate.request_with(&key, &json!({"base_permission": "admin"})),
        "update-environment" => estate.request_with(&key, &json!({"frozen": true})),
        _ => request(&caller, &key, &parameters),
    };
    let answer = caller.send(request).await;
    assert!((200..300).contains(&answer.status), "{key}: {answer:?}");
    (caller, answer)
}

/// Returns the message of webhooks about an event that was written just now.
async fn message(world: &World, estate: &Estate, event: &Value) -> Value {
    let (table, account) = (world.stack.app().table(), estate.owner.account_id.as_ref().unwrap());
    let id = event["id"].as_str().unwrap().parse().unwrap();
    let row = AuditEvent::load(table, account, world.clock.now(), &id).await.unwrap().unwrap();
    serde_json::to_value(WebhookEventBody::new(row, None, None)).unwrap()
}

#[tokio::test]
async fn each_endpoint_that_changes_something_writes_an_event_with_its_author() {
    let world = World::start().await;
    let source = GitRepository::with_commands(&["true"]);
    let document = document();
    let mut found = Vec::new();
    for (at, route) in
        routes().filter(|route| !route.is_safe() && !ANOTHER_ACCOUNTS.contains(&route.function)).enumerate()
    {
        let estate = Estate::new(&world, &format!("acme-{at}"), &source).await;
        let (caller, answer) = change(&world, &estate, &route).await;
        let request_id = answer.headers["x-request-id"].to_str().unwrap();
        let of_request = async || -> Vec<_> {
            events(&estate.owner, "").await.into_iter().filter(|event| event["request_id"] == request_id).collect()
        };
        // What a delivery asks for is done after the answer.
        let of_request = match route.function {
            "receive-hook" => {
                let found = async || Some(of_request().await).filter(|found| !found.is_empty());
                eventually("the event of the delivery", found).await
            }
            _ => of_request().await,
        };
        if CHANGES_NOTHING.contains(&route.key().as_str()) {
            assert_eq!(of_request, Vec::<Value>::new(), "{}", route.key());
            continue;
        }
        // A member who is removed leaves their team first.
        let expected = if route.function == "remove-member" { 2 } else { 1 };
        assert_eq!(of_request.len(), expected, "{} wrote {of_request:?}", route.key());
        for event in &of_request {
            match &caller.user_id {
                Some(user) => {
                    assert_eq!(event["actor"]["id"], user.as_str(), "{event}");
                    let of_session = route.function == "end-session";
                    assert_eq!(event["token_id"].is_string(), !of_session, "{event}");
                    assert_eq!(event["session_id"].is_string(), of_session, "{event}");
                }
                None if route.function == "exchange-token" => assert_eq!(event["actor"]["type"], "trust", "{event}"),
                None if route.function == "receive-hook" => assert_eq!(event["actor"]["type"], "hook", "{event}"),
                None => assert_eq!(event["actor"]["id"], answer.body["member"]["id"], "{event}"),
            }
            let by_a_program = ["exchange-token", "receive-hook"].contains(&route.function);
            assert!(by_a_program || event["actor"]["type"] == "user", "{event}");
            assert_eq!(event["source_address"], "127.0.0.1");
            let action = event["action"].as_str().unwrap();
            let schema = format!("/webhooks/{action}/post/requestBody/content/application~1json/schema");
            let message = message(&world, &estate, event).await;
            conforms(&document, document.pointer(&schema).unwrap(), &message, action).unwrap();
            found.push(action.to_owned());
        }
    }
    for action in Action::ALL {
        // Applications, trusts and hooks are handed over when their owner is removed or demoted.
        let otherwise = matches!(
            action,
            Action::AccountCreated
                | Action::MemberLinked
                | Action::ApplicationUpdated
                | Action::TrustUpdated
                | Action::HookUpdated
                | Action::DeploymentRequeued
                | Action::DeploymentStarted
                | Action::DeploymentSucceeded
                | Action::DeploymentFailed
                | Action::DeploymentSuperseded
                | Action::WebhookDisabled
        );
        let by_an_endpoint = !otherwise;
        assert_eq!(found.iter().any(|found| found == action.as_str()), by_an_endpoint, "{}", action.as_str());
    }
    assert!(CHANGES_NOTHING.len() <= 2, "this list only shrinks");
}

#[tokio::test]
async fn an_event_tells_what_changed() {
    let world = World::start_without_queue().await;
    let owner = world.owner("acme").await;
    let member = world.member(&owner, Role::Member).await;
    let path = format!("/v1/members/{}", member.user_id.as_ref().unwrap());
    world.clock.advance(SECOND);
    owner.put(&path, json!({"role": "admin"})).await;
    let event = &events(&owner, "").await[0];
    assert_eq!(event["action"], "member.updated");
    assert_eq!(event["actor"]["name"], "owner@example.com");
    assert_eq!(event["target"]["type"], "member");
    assert_eq!(event["target"]["id"], member.user_id.as_ref().unwrap().as_str());
    assert_eq!(event["changes"], json!([{"field": "role", "from": "member", "to": "admin"}]));
    assert_eq!(event["created_at"], "2026-01-01T12:00:01Z");
    // A refused change and one that changes nothing are no events.
    let before = events(&owner, "").await.len();
    owner.put(&path, json!({"role": "nobody"})).await.refused(400, "invalid_request");
    owner.patch("/v1/account", json!({})).await;
    assert_eq!(events(&owner, "").await.len(), before);
}

#[tokio::test]
async fn an_approval_and_a_rejection_name_what_was_decided_on() {
    let world = World::start_without_queue().await;
    let (owner, _source) = world.app().await;
    let admin = world.member(&owner, Role::Admin).await;
    owner.set("app", "production", json!({"required_approvals": 1})).await;
    for (action, body, changed) in [
        ("approve", None, vec![]),
        ("reject", Some(json!({})), vec![json!({"field": "status", "from": "queued", "to": "failed"})]),
    ] {
        let variables = json!({"LOG_LEVEL": action});
        let body_of_creation = json!({"ref": "main", "environment": "production", "variables": variables});
        let created = owner.deploy("app", body_of_creation).await;
        let body = body.unwrap_or_else(|| tests::approval(&created));
        assert_eq!(admin.act(&created, action, body).await.status, 200);
        let target = created["id"].as_str().unwrap();
        let event = &events(&admin, &format!("&target={target}&actor={}", admin.user_id.as_ref().unwrap())).await[0];
        let same = |field: &str, value: &Value| json!({"field": field, "from": value, "to": value});
        let decided_on = ["environment", "sha", "approval_digest"].map(|field| same(field, &created[field]));
        let expected: Vec<_> = decided_on.into_iter().chain(changed).collect();
        assert_eq!(event["changes"], json!(expected), "{event}");
    }
}

/// Returns the changes of a deployment that the API made by itself, sorted, each as its action and its fields.
async fn by_the_system(owner: &Actor, deployment: &Value) -> Vec<String> {
    let id = deployment["id"].as_str().unwrap();
    let found = events(owner, &format!("&target={id}")).await;
    let field = |change: &Value| match &change["from"] {
        from if *from == change["to"] => format!(" {}={from}", change["field"].as_str().unwrap()),
        from => format!(" {}:{from}→{}", change["field"].as_str().unwrap(), change["to"]),
    };
    let mut changes = Vec::new();
    for event in found.iter().filter(|event| event["actor"]["type"] == "system") {
        assert_eq!(event["actor"], json!({"type": "system", "id": null, "name": "system"}));
        assert_eq!((&event["source_address"], &event["request_id"]), (&Value::Null, &Value::Null));
        assert_eq!(event["repository_id"], deployment["repository_id"]);
        let fields: String = event["changes"].as_array().unwrap().iter().map(field).collect();
        changes.push(format!("{}{fields}", event["action"].as_str().unwrap()).replace('"', ""));
    }
    changes.sort();
    changes
}

#[tokio::test]
async fn what_the_api_does_with_a_deployment_by_itself_is_an_event_without_a_request() {
    let world = World::start_without_queue().await;
    let (owner, _source) = world.app().await;
    let failing = GitRepository::with_commands(&["false"]);
    owner.repository("failing", &failing).await;
    let deploy = async |repository: &str, environment: &str| {
        owner.deploy(repository, json!({"ref": "main", "environment": environment})).await
    };
    let started = |environment: &str, attempt: u32| {
        format!("deployment.started environment={environment} status:queued→in_progress attempt={attempt}")
    };
    for (repository, end) in [("app", "deployment.succeeded"), ("failing", "deployment.failed")] {
        let run = deploy(repository, "preview").await;
        world.deliver(&owner, &run).await;
        let ended = owner.ended(&run).await;
        let status = ended["status"].as_str().unwrap();
        let failure = if status == "failed" { " failure:null→command_failed" } else { "" };
        let end = format!("{end} environment=preview status:in_progress→{status}{failure}");
        let mut expected = [end, started("preview", 1)];
        expected.sort();
        assert_eq!(by_the_system(&owner, &run).await, expected);
    }

    // A user asks a runner to stop that is lost, so another one ends the deployment.
    let canceled = deploy("app", "staging").await;
    world.lose_a_runner(&owner, &canceled).await;
    assert_eq!(owner.act(&canceled, "cancel", json!({})).await.status, 202);
    world.clock.advance(Duration::from_secs(60));
    world.deliver(&owner, &canceled).await;
    owner.ended(&canceled).await;
    let end = "deployment.canceled environment=staging status:in_progress→canceled".to_owned();
    assert_eq!(by_the_system(&owner, &canceled).await, [end, started("staging", 1)]);

    let superseded = deploy("app", "preview").await;
    let newer = deploy("app", "preview").await;
    world.deliver(&owner, &newer).await;
    owner.ended(&newer).await;
    let superseding = ["deployment.superseded environment=preview status:queued→superseded"];
    assert_eq!(by_the_system(&owner, &superseded).await, superseding);

    // The sweep ends one that no runner took, and another whose runners are lost.
    let waiting = deploy("app", "production").await;
    let lost = deploy("failing", "production").await;
    world.lose_a_runner(&owner, &lost).await;
    world.clock.advance(Duration::from_secs(60));
    world.lose_a_runner(&owner, &lost).await;
    world.clock.advance(Duration::from_secs(24 * 60 * 60));
    world.sweep().await.unwrap();
    let end = "deployment.failed environment=production status:queued→failed failure:null→queue_deadline";
    assert_eq!(by_the_system(&owner, &waiting).await, [end]);
    let end = "deployment.failed environment=production status:in_progress→failed failure:null→run_deadline".to_owned();
    let again = "deployment.started environment=production attempt=2".to_owned();
    assert_eq!(by_the_system(&owner, &lost).await, [end, again, started("production", 1)]);
}

#[tokio::test]
async fn events_are_filtered_by_actor_action_target_and_time() {
    let world = World::start_without_queue().await;
    let owner = world.owner("acme").await;
    let admin = world.member(&owner, Role::Admin).await;
    let first = owner.team("first").await;
    world.clock.advance(Duration::from_secs(60));
    let second = admin.team("second").await;
    world.clock.advance(SECOND);
    owner.patch(&format!("/v1/teams/{}", second["id"].as_str().unwrap()), json!({"name": "third"})).await;
    let names = async |query: &str| -> Vec<String> {
        let found = events(&owner, query).await;
        let name = |event: &Value| {
            format!("{} {}", event["action"].as_str().unwrap(), event["target"]["name"].as_str().unwrap())
        };
        found.iter().map(name).collect()
    };
    let (by_admin, of_second) = (admin.user_id.as_ref().unwrap(), second["id"].as_str().unwrap());
    assert_eq!(names(&format!("&actor={by_admin}&action=team.created")).await, ["team.created second"]);
    assert_eq!(names(&format!("&target={of_second}")).await, ["team.updated second", "team.created second"]);
    assert_eq!(names(&format!("&target={of_second}&actor={by_admin}")).await, ["team.created second"]);
    assert_eq!(names("&action=team.created").await, ["team.created second", "team.created first"]);
    assert_eq!(names("&action=team.created&since=2026-01-01T12:01:00Z").await, ["team.created second"]);
    assert_eq!(names("&action=team.created&until=2026-01-01T13:01:00%2B01:00").await, ["team.created first"]);
    assert_eq!(names(&format!("&target={}", first["id"].as_str().unwrap())).await, ["team.created first"]);
    assert_eq!(names("&action=team.deleted").await, Vec::<String>::new());
    for (query, field) in [("since=yesterday", "since"), ("action=team.eaten", "action"), ("actor=bob", "actor")] {
        let refused = owner.get(&format!("/v1/audit_events?{query}")).await;
        refused.refused(400, "invalid_request");
        assert_eq!(refused.body["error"]["details"][0]["field"], field, "{refused:?}");
    }
    owner.get("/v1/audit_events?cursor=AAAA").await.refused(400, "invalid_cursor");
}

#[tokio::test]
async fn events_are_filtered_by_the_repository_that_they_are_about() {
    let world = World::start_without_queue().await;
    let owner = world.owner("acme").await;
    let source = GitRepository::with_commands(&["true"]);
    let (app, web) = (owner.repository("app", &source).await, owner.repository("web", &source).await);
    for path in ["/v1/repositories/app/environments", "/v1/repositories/web/environments"] {
        world.clock.advance(SECOND);
        assert_eq!(owner.post(path, json!({"name": "qa"})).await.status, 201);
    }
    world.clock.advance(SECOND);
    owner.team("platform").await;
    let actions = async |query: String| -> Vec<String> {
        events(&owner, &query).await.iter().map(|event| event["action"].as_str().unwrap().to_owned()).collect()
    };
    for repository in [&app, &web] {
        let id = repository["id"].as_str().unwrap();
        let found = actions(format!("&repository={id}")).await;
        assert_eq!(found, ["environment.created", "repository.created"]);
        let found = actions(format!("&repository={id}&action=environment.created")).await;
        assert_eq!(found, ["environment.created"]);
        let user = owner.user_id.as_ref().unwrap();
        let found = actions(format!("&repository={id}&actor={user}&target={id}%2Fqa")).await;
        assert_eq!(found, ["environment.created"]);
    }
    let refused = owner.get("/v1/audit_events?repository=app").await;
    refused.refused(400, "invalid_request");
    assert_eq!(refused.body["error"]["details"][0]["field"], "repository", "{refused:?}");
}

#[tokio::test]
async fn following_the_cursor_visits_each_event_once() {
    let world = World::start_without_queue().await;
    let owner = world.owner("acme").await;
    for number in 0..25 {
        world.clock.advance(SECOND);
        owner.team(&format!("team-{number}")).await;
    }
    for query in ["", "&action=team.created"] {
        let all = events(&owner, query).await;
        let (mut visited, mut cursor) = (Vec::new(), String::new());
        loop {
            let page = owner.get(&format!("/v1/audit_events?per_page=7{query}{cursor}")).await.body;
            visited.extend(page["data"].as_array().unwrap().clone());
            assert_eq!(page["meta"]["per_page"], 7);
            // An event that comes while somebody reads on is newer than the cursor.
            world.clock.advance(SECOND);
            owner.team(&format!("late-{}{}", visited.len(), query.len())).await;
            match page["meta"]["next_cursor"].as_str() {
                Some(next) => cursor = format!("&cursor={next}"),
                None => break,
            }
        }
        assert_eq!(visited, all, "{query}");
    }
}

#[tokio::test]
async fn owners_and_admins_read_the_events_of_their_own_account_for_400_days() {
    let world = World::start_without_queue().await;
    let owner = world.owner("acme").await;
    let (admin, member) = (world.member(&owner, Role::Admin).await, world.member(&owner, Role::Member).await);
    let rival = world.owner("rival").await;
    member.get("/v1/audit_events").await.refused(403, "insufficient_permission");
    assert_eq!(events(&admin, "").await, events(&owner, "").await);
    let of_rival = events(&rival, "").await;
    assert_eq!(of_rival.len(), 1, "{of_rival:?}");
    assert_eq!(of_rival[0]["action"], "account.created");
    assert_eq!(of_rival[0]["actor"]["type"], "operator");
    let kept = kept(&world, &owner).await;
    assert!(!kept.is_empty());
    assert!(kept.iter().all(|(_, days)| *days == 400.0), "{kept:?}");
}

/// Returns the action of each event of an account with the number of days for which the event is kept.
async fn kept(world: &World, owner: &Actor) -> Vec<(String, f64)> {
    let table = world.stack.app().table();
    let scanned = table.client().scan().table_name(table.name()).send().await.unwrap();
    let partition = format!("ACCT#{}#AUDIT", owner.account_id.as_ref().unwrap());
    let number =
        |item: &HashMap<String, AttributeValue>, name: &str| item[name].as_n().unwrap().parse::<i64>().unwrap();
    let days = |item: &HashMap<String, AttributeValue>| {
        let seconds = number(item, "expires_at") - number(item, "created_at") / 1000;
        (item["action"].as_s().unwrap().clone(), seconds as f64 / (24.0 * 60.0 * 60.0))
    };
    let is_event = |item: &&HashMap<String, AttributeValue>| {
        item["pk"].as_s().unwrap() == &partition && item.contains_key("action")
    };
    scanned.items().iter().filter(is_event).map(days).collect()
}

#[tokio::test]
async fn each_event_of_an_account_with_its_own_time_is_kept_for_it_whoever_makes_the_change() {
    let world = World::start().await;
    let enterprise = json!({
        "account": "acme", "plan": "enterprise", "rate_limit": {"per_minute": 10_000, "burst": 10_000},
        "audit_retention_days": 2555, "owner_email": "owner@example.com",
    });
    let owner = world.bootstrapped(enterprise).await;
    assert_eq!(owner.get("/v1/account").await.body["audit_retention_days"], 2555);
    let source = GitRepository::with_commands(&["true"]);
    owner.repository("app", &source).await;
    let invited = owner.post("/v1/invitations", json!({"email": "ada@example.com", "role": "member"})).await;
    assert_eq!(invited.status, 201, "{invited:?}");
    let accept = format!("/v1/invitations/{}/accept", invited.body["invitation"]["id"].as_str().unwrap());
    let accepted = world.anonymous().post(&accept, json!({"secret": invited.body["secret"]})).await;
    assert_eq!(accepted.status, 200, "{accepted:?}");

    // The runner and the sweep act by themselves.
    let pattern = json!({"name": "review-*", "removed_after_days": 1});
    assert_eq!(owner.post("/v1/repositories/app/environments", pattern).await.status, 201);
    owner.ended(&owner.deploy("app", json!({"ref": "main", "environment": "review-*"})).await).await;
    let hook = owner.post("/v1/repositories/app/hooks", json!({"provider": "deploy"})).await;
    assert_eq!(hook.status, 201, "{hook:?}");
    let path = hook.body["url"].as_str().unwrap().split_once("/v1/").unwrap().1.to_owned();
    assert_eq!(world.anonymous().post(&format!("/v1/{path}"), json!({})).await.status, 202);
    eventually("the end of what the hook deployed", async || {
        let succeeded = owner.get("/v1/repositories/app/deployments?status=succeeded").await;
        (succeeded.body["meta"]["total"] == 2).then_some(())
    })
    .await;
    world.clock.advance(Duration::from_secs(2 * 24 * 60 * 60));
    world.sweep().await.unwrap();

    let kept = kept(&world, &owner).await;
    assert!(kept.iter().all(|(_, days)| *days == 2555.0), "{kept:?}");
    let count = |action: &str| kept.iter().filter(|(found, _)| found == action).count();
    for (action, events) in [
        ("account.created", 1),
        ("repository.created", 1),
        ("invitation.accepted", 1),
        ("deployment.created", 2),
        ("deployment.started", 2),
        ("deployment.succeeded", 2),
        ("environment.deleted", 1),
    ] {
        assert_eq!(count(action), events, "{action}: {kept:?}");
    }
}
