//! Counters are compared with the rows that they count, and repaired.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::time::Duration;

use aws_sdk_dynamodb::types::AttributeValue;
use serde_json::json;
use shared::model::{Finding, Recount, Role};
use shared::settings::QUEUE_URL;
use tests::{Actor, GitRepository, World};

const ROUND: Duration = Duration::from_secs(3600);

type Item = BTreeMap<String, AttributeValue>;

/// Returns the items with these sort keys, by partition.
async fn items(world: &World, sort_keys: &[&str]) -> BTreeMap<String, Item> {
    let table = world.stack.app().table();
    let scanned = table.client().scan().table_name(table.name()).consistent_read(true).send().await.unwrap();
    assert!(scanned.last_evaluated_key().is_none());
    let items = scanned.items.unwrap().into_iter().map(|item| item.into_iter().collect::<Item>());
    let key = |item: &Item| format!("{} {}", item["pk"].as_s().unwrap(), item["sk"].as_s().unwrap());
    let wanted = items.filter(|item| sort_keys.contains(&item["sk"].as_s().unwrap().as_str()));
    wanted.map(|item| (key(&item), item)).collect()
}

async fn counters(world: &World) -> BTreeMap<String, Item> {
    let mut counters = items(world, &["DEPLOYS", "REPOS", "MEMBERS", "TEAMS", "SIZES"]).await;
    for counter in counters.values_mut() {
        counter.remove("changes");
    }
    counters
}

async fn set(world: &World, key: &str, attribute: &str, value: i64) {
    let key = key.split_once(' ').unwrap();
    world.set_attribute(key, attribute, AttributeValue::N(value.to_string())).await;
}

/// Runs a sweep and returns the number of repaired counters. The sweep's messages go to a queue that nothing consumes.
async fn repaired(world: &World) -> u64 {
    let environment = world.environment_with(QUEUE_URL, world.stack.dead_letter_queue());
    let swept = environment.sweep().unwrap().invoke(json!({})).await.unwrap();
    swept["repaired"].as_u64().unwrap()
}

/// Starts a new round.
async fn begin_again(world: &World) {
    let table = world.stack.app().table();
    let key = ["pk", "sk"].map(|name| (name.to_owned(), AttributeValue::S("RECOUNT".to_owned())));
    table.client().delete_item().table_name(table.name()).set_key(Some(key.into())).send().await.unwrap();
}

/// Creates two repositories with deployments in several states, and a team with a member and a repository.
async fn acme(world: &World) -> (Actor, GitRepository) {
    let owner = world.owner("acme").await;
    let source = GitRepository::with_commands(&["true"]);
    for name in ["app", "other"] {
        owner.repository(name, &source).await;
    }
    let deploy =
        async |environment: &str| owner.deploy("app", json!({"ref": "main", "environment": environment})).await;
    let canceled = deploy("staging").await;
    assert_eq!(owner.act(&canceled, "cancel", json!({})).await.status, 200);
    let lost = deploy("production").await;
    world.lose_a_runner(&owner, &lost).await;
    deploy("production").await;
    owner.deploy("other", json!({"ref": "main"})).await;
    let member = world.member(&owner, Role::Member).await;
    let team = owner.team("Core").await;
    owner.add_to_team(&team, &member).await;
    owner.grant(&team, "app", "deploy").await;
    (owner, source)
}

/// Walks one step at a time. Returns the findings and the number of walks in one round.
async fn round(world: &World) -> (Vec<(String, Finding)>, u32) {
    let (app, mut found) = (world.stack.app(), Vec::new());
    for walks in 1.. {
        let first = Cell::new(true);
        let ended = Cell::new(true);
        let once = || first.replace(false) || !ended.replace(false);
        let tell = |counter: &shared::table::Key, finding| found.push((counter.to_string(), finding));
        Recount::walk(app.table(), app.clock().now(), once, tell).await.unwrap();
        if ended.get() {
            return (found, walks);
        }
    }
    unreachable!()
}

#[tokio::test]
async fn a_counter_that_is_right_is_not_touched() {
    let world = World::start_without_queue().await;
    acme(&world).await;
    let before = (counters(&world).await, world.items().await);
    assert_eq!(before.0.len(), 6);
    assert_eq!(repaired(&world).await, 0);
    begin_again(&world).await;
    assert_eq!(repaired(&world).await, 0);
    assert_eq!((counters(&world).await, world.items().await), before);
    assert!(!world.log().iter().any(|line| line["level"] == "WARN" && line.get("counter").is_some()));
}

/// A recount that reads the counter before and the deployment meanwhile must not take the counter for unchanged.
#[tokio::test]
async fn a_counter_whose_numbers_have_come_back_shows_that_it_has_changed() {
    let world = World::start_without_queue().await;
    let (owner, _source) = world.app().await;
    let deployment = owner.deploy("app", json!({"ref": "main"})).await;
    let counter = async || items(&world, &["DEPLOYS"]).await.into_values().next().unwrap();
    let before = counter().await;
    let claimed = world.lose_a_runner(&owner, &deployment).await;
    assert_ne!(counter().await["preview.queued"], before["preview.queued"]);
    claimed.await_capacity(world.stack.app().table(), world.clock.now()).await.unwrap();
    let mut after = counter().await;
    let changes = |item: &Item| item["changes"].as_n().unwrap().parse::<u64>().unwrap();
    assert_eq!(changes(&after), changes(&before) + 2);
    after.retain(|name, _| name != "preview.in_progress");
    after.insert("changes".to_owned(), before["changes"].clone());
    assert_eq!(after, before);
}

#[tokio::test]
async fn a_counter_that_is_wrong_is_set_right_once() {
    let world = World::start_without_queue().await;
    let (owner, _source) = acme(&world).await;
    let before = counters(&world).await;
    let key = |kind: &str| before.keys().find(|key| key.ends_with(kind)).unwrap().as_str();
    let app =
        before.iter().find(|(_, item)| item.get("last_number") == Some(&AttributeValue::N("3".into()))).unwrap().0;
    for (counter, attribute, number) in [
        (app.as_str(), "production.queued", 0),
        (app, "staging.canceled", -4),
        (app, "last_number", 1),
        (key(" REPOS"), "repositories", 100),
        (key(" MEMBERS"), "members", 1),
        (key(" MEMBERS"), "owners", 2),
        (key(" TEAMS"), "teams", 0),
        (key(" SIZES"), "members", 7),
    ] {
        set(&world, counter, attribute, number).await;
    }
    let total =
        async || owner.get("/v1/repositories/app/deployments?status=queued").await.body["meta"]["total"].clone();
    assert_eq!(total().await, 0);
    assert_eq!(repaired(&world).await, 5);
    assert_eq!(counters(&world).await, before);
    assert_eq!(total().await, 1);
    let line = world.log().into_iter().find(|line| line["counter"] == app.as_str()).unwrap();
    assert_eq!(line["level"], "WARN");
    assert_eq!((&line["was"]["staging.canceled"], &line["is"]["staging.canceled"]), (&json!(-4), &json!(1)));
    assert_eq!(owner.deploy("app", json!({"ref": "main", "environment": "staging"})).await["number"], 4);

    world.clock.advance(ROUND);
    assert_eq!(repaired(&world).await, 0, "that was that");
}

#[tokio::test]
async fn rounds_rest_in_between() {
    let world = World::start_without_queue().await;
    acme(&world).await;
    assert_eq!(repaired(&world).await, 0);
    let counters = counters(&world).await;
    let repositories = counters.keys().find(|key| key.ends_with(" REPOS")).unwrap();
    set(&world, repositories, "repositories", 9).await;
    world.clock.advance(ROUND - Duration::from_millis(1));
    assert_eq!(repaired(&world).await, 0);
    world.clock.advance(Duration::from_millis(1));
    assert_eq!(repaired(&world).await, 1);
}

/// Walks through more rows than a page has, one step at a time, and with two concurrent walks.
#[tokio::test]
async fn a_walk_goes_on_where_the_last_one_stopped_and_two_at_once_repair_once() {
    let world = World::start_without_queue().await;
    let (owner, _source) = acme(&world).await;
    owner.set("other", "preview", json!({"concurrency": "queue"})).await;
    // A lane takes at most 100.
    for number in 0..230 {
        let environment = ["preview", "staging", "production"][number % 3];
        owner.deploy("other", json!({"ref": "main", "environment": environment})).await;
    }
    let before = counters(&world).await;
    let other =
        before.iter().find(|(_, item)| item.get("last_number") == Some(&AttributeValue::N("231".into()))).unwrap().0;
    set(&world, other, "preview.queued", 5).await;
    let (found, walks) = round(&world).await;
    let [(counter, Finding::Repaired { was, is })] = &found[..] else { panic!("{found:?}") };
    assert_eq!((counter, was["preview.queued"], is["preview.queued"]), (other, 5, 78));
    assert!(walks > 12, "a page of rows each: {walks}");
    assert_eq!(counters(&world).await, before);

    begin_again(&world).await;
    set(&world, other, "preview.queued", 6).await;
    let (one, two) = tokio::join!(repaired(&world), repaired(&world));
    assert_eq!(one + two, 1);
    assert_eq!(counters(&world).await, before);
}

#[tokio::test]
async fn a_counter_whose_rows_are_not_in_their_index_is_left_and_told_of() {
    let world = World::start_without_queue().await;
    let (owner, _source) = acme(&world).await;
    let first = owner.get("/v1/repositories/app/deployments?direction=asc").await.body["data"][0].clone();
    let pk = format!("ACCT#{}#DEPLOY#{}", owner.account_id.as_ref().unwrap(), first["id"].as_str().unwrap());
    world.set_attribute((&pk, "DEPLOY"), "gsi1pk", AttributeValue::S("NOWHERE".to_owned())).await;
    let before = counters(&world).await;
    assert_eq!(repaired(&world).await, 0);
    assert_eq!(counters(&world).await, before);
    let line = world.log().into_iter().find(|line| line.get("counter").is_some()).unwrap();
    assert!(line["message"].as_str().unwrap().starts_with("a counter was not compared"), "{line}");
}

#[tokio::test]
async fn what_changes_while_it_is_counted_stays_exact() {
    let world = World::start_without_queue().await;
    let (owner, source) = acme(&world).await;
    owner.set("app", "preview", json!({"concurrency": "queue"})).await;
    let change = async {
        for at in 0..30 {
            let created = owner.deploy("app", json!({"ref": "main"})).await;
            if at % 2 == 0 {
                owner.act(&created, "cancel", json!({})).await;
            }
            let team = owner.team(&format!("team {at}")).await;
            owner.delete(&format!("/v1/teams/{}", team["id"].as_str().unwrap())).await;
            owner.repository("short-lived", &source).await;
            owner.deploy("short-lived", json!({"ref": "main"})).await;
            owner.delete("/v1/repositories/short-lived").await;
        }
    };
    let done = Cell::new(false);
    let recount = async {
        let mut found = Vec::new();
        while !done.get() {
            begin_again(&world).await;
            found.extend(round(&world).await.0);
        }
        found
    };
    let ((), found) = tokio::join!(
        async {
            change.await;
            done.set(true)
        },
        recount
    );
    let repaired: Vec<_> = found.iter().filter(|(_, finding)| *finding != Finding::RowsMissing).collect();
    assert!(repaired.is_empty(), "{repaired:?}");
    let listed = owner.get("/v1/repositories/app/deployments?status=queued").await.body;
    assert_eq!(listed["meta"]["total"], 15 + 1);
}

/// The numbers of an environment that was deleted and created again are told apart.
#[tokio::test]
async fn a_counter_with_environments_is_repaired() {
    let world = World::start_without_queue().await;
    let (owner, _source) = world.app().await;
    let environments = "/v1/repositories/app/environments";
    for name in ["review-*", "old"] {
        assert_eq!(owner.post(environments, json!({"name": name})).await.status, 201);
    }
    for _ in 0..2 {
        assert_eq!(owner.post(environments, json!({"name": "qa"})).await.status, 201);
        for environment in ["qa", "qa", "old", "review-1", "staging"] {
            let deployment = owner.deploy("app", json!({"ref": "main", "environment": environment})).await;
            assert_eq!(owner.act(&deployment, "cancel", json!({})).await.status, 200);
        }
        assert_eq!(owner.delete(&format!("{environments}/qa")).await.status, 200);
    }
    assert_eq!(owner.delete(&format!("{environments}/old")).await.status, 200);
    assert_eq!(owner.post(environments, json!({"name": "qa"})).await.status, 201);
    owner.deploy("app", json!({"ref": "main", "environment": "qa"})).await;
    assert_eq!(repaired(&world).await, 0);
    let before = counters(&world).await;
    let key = before.keys().find(|key| key.ends_with(" DEPLOYS")).unwrap();
    assert_eq!(before[key]["#deleted.canceled"], AttributeValue::N("6".to_owned()));
    assert_eq!(before[key]["environments"], AttributeValue::N("3".to_owned()));
    for (attribute, wrong) in [
        ("#deleted.canceled", 9),
        ("environments", 7),
        ("qa.queued", 0),
        ("review-1.canceled", 1),
        ("staging.canceled", 0),
    ] {
        set(&world, key, attribute, wrong).await;
        begin_again(&world).await;
        assert_eq!(repaired(&world).await, 1, "{attribute}");
        assert_eq!(counters(&world).await, before, "{attribute}");
    }
}
